//! What a client is told when something went wrong: one shape for every answer from 400 on.
//!
//! A handler returns a [`Problem`]; the outermost layer (`request_id.rs`) writes its body, because
//! only that knows the request's id.

use std::time::Duration;

use axum::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use fleetward_actors::{Error, Kind, Refusal};
use fleetward_wire::problem::{Problem as Wire, ProblemStatus};
use fleetward_wire::workers::WorkerStatus;

/// A problem on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// Stable word for programs.
    pub(crate) code: &'static str,
    /// What to do about it. Nothing secret, nothing of a tenant's task.
    pub(crate) detail: String,
    /// Where the refused worker stands, if that is the reason.
    pub(crate) standing: Option<WorkerStatus>,
    /// After how many seconds to try again, where that helps.
    pub(crate) retry_after: u32,
    /// The newest generation of the worker's tokens, where another was named.
    pub(crate) generation: Option<u32>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            standing: None,
            retry_after: 1,
            generation: None,
        }
    }

    /// The request makes no sense: 400.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// It can be read, and says what cannot be: 422.
    pub(crate) fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// Nobody proved who asks: 401.
    pub(crate) fn unauthenticated(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    /// There is none, or not for who asks: 404.
    pub(crate) fn not_found(what: &str) -> Self {
        Refusal::not_found(what).into()
    }

    /// A bug, to be looked for in the log under `id`: 500.
    pub(crate) fn internal(id: &str) -> Self {
        let detail = format!("internal error {id}; the server's log has more under this id");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// The body.
    pub(crate) fn body(&self, request_id: &str) -> Vec<u8> {
        let wire = self.wire(Some(request_id.to_owned()));
        serde_json::to_vec(&wire).expect("a problem has string keys and no failing parts")
    }

    /// As it is written: alone, or (without an id) as a part of an answer to many requests.
    pub(crate) fn wire(&self, request_id: Option<String>) -> Wire {
        Wire {
            r#type: format!("urn:fleetward:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: self
                .standing
                .map_or_else(|| ProblemStatus::Http(self.status.as_u16()), ProblemStatus::Worker),
            code: self.code.to_owned(),
            detail: self.detail.clone(),
            instance: None,
            request_id,
            generation: self.generation,
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after));
            }
            _ => {}
        }
        headers
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.headers()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            // The name of a use that the drafts of the Idempotency-Key header agree on.
            _ if refusal.code == "idempotency_key_reused" => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        };
        let standing = refusal.standing.map(standing);
        let Refusal { code, detail, generation, .. } = refusal;
        Self { standing, generation, ..Self::new(status, code, detail) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let again = |code| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, text.clone());
        match error {
            Error::Refused(refusal) => refusal.into(),
            Error::Busy => again("busy"),
            Error::Crowded(turn) => Self { retry_after: spread(turn), ..again("crowded") },
            Error::Behind => again("behind"),
            Error::OverShare => Self::new(StatusCode::TOO_MANY_REQUESTS, "over_share", text),
            Error::Unavailable(why) => {
                tracing::debug!(%why, "not available");
                // What follows the colon is the store's own word, which is for the log.
                let part = why.split(':').next().unwrap_or_default();
                let detail = format!("not available, try again: {part}");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            }
            Error::OutcomeUnknown => again("outcome_unknown"),
            Error::Internal(id) => Self::internal(&id),
        }
    }
}

/// Whole seconds until a turn, rounded up or down by chance: those whose turns are close do not all come on the second.
fn spread(turn: Duration) -> u32 {
    let seconds = turn.as_secs_f64() + rand::random::<f64>();
    (seconds as u32).max(1)
}

fn standing(word: &str) -> WorkerStatus {
    match word {
        "pending" => WorkerStatus::Pending,
        "approved" => WorkerStatus::Approved,
        "rejected" => WorkerStatus::Rejected,
        "revoked" => WorkerStatus::Revoked,
        "quarantined" => WorkerStatus::Quarantined,
        "locked" => WorkerStatus::Locked,
        _ => WorkerStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_status_and_a_code() {
        let cases = [
            (Error::Busy, 503, "busy"),
            (Error::Behind, 503, "behind"),
            (Error::Crowded(Duration::from_secs(7)), 503, "crowded"),
            (Error::OverShare, 429, "over_share"),
            (Error::Unavailable("store: secret host".into()), 503, "unavailable"),
            (Error::OutcomeUnknown, 503, "outcome_unknown"),
            (Error::Internal("7".into()), 500, "internal"),
            (Refusal::invalid("idempotency_key_reused", "").into(), 422, "idempotency_key_reused"),
            (Refusal::invalid("too_long", "").into(), 400, "too_long"),
            (Refusal::new(Kind::TooLarge, "large", "").into(), 413, "large"),
        ];
        for (error, status, code) in cases {
            let problem = Problem::from(error);
            let waits = problem.headers().contains_key(RETRY_AFTER);
            assert_eq!((problem.status.as_u16(), problem.code), (status, code));
            assert_eq!(waits, status == 429 || status == 503, "{code}");
            assert!(!problem.detail.contains("secret"));
        }
    }

    #[test]
    fn worker_that_has_to_wait_for_its_turn_is_told_how_long() {
        let seconds = |turn| {
            let headers = Problem::from(Error::Crowded(turn)).headers();
            headers[RETRY_AFTER].to_str().unwrap().parse::<u32>().unwrap()
        };

        assert_eq!(seconds(Duration::from_millis(1)), 1);
        let told: Vec<_> = (0..64).map(|_| seconds(Duration::from_millis(7_500))).collect();
        assert!(told.contains(&7) && told.contains(&8), "{told:?}");
        assert!(told.iter().all(|seconds| (7..=8).contains(seconds)), "{told:?}");
    }

    #[test]
    fn refused_worker_reads_its_standing_where_the_status_would_be() {
        let problem = Problem::from(Refusal::standing("pending"));

        let body: serde_json::Value = serde_json::from_slice(&problem.body("r1")).unwrap();

        assert_eq!(problem.status, 403);
        assert_eq!(body["status"], "pending");
        assert_eq!(body["request_id"], "r1");
    }
}
