//! What a caller is told when something is wrong: RFC 9457, with a stable `code` and the `detail` that older clients read.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fleetward_actors::{Error, Kind, Refusal};
use fleetward_wire::problem::{CONTENT_TYPE, Problem, ProblemStatus};
use fleetward_wire::workers::WorkerStatus;

use crate::request_id;

/// Seconds after which it is worth trying again.
const RETRY_AFTER: &str = "1";

/// An answer that is not a result.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    code: &'static str,
    detail: String,
    standing: Option<WorkerStatus>,
}

/// What a handler answers.
pub(crate) type Answer<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), standing: None }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    pub(crate) fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            Kind::Invalid if refusal.code == "idempotency_key_reused" => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        };
        let standing = refusal.standing.map(|standing| match standing {
            "pending" => WorkerStatus::Pending,
            "rejected" => WorkerStatus::Rejected,
            "revoked" => WorkerStatus::Revoked,
            _ => WorkerStatus::Unknown,
        });
        Self { standing, ..Self::new(status, refusal.code, refusal.detail) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let away = StatusCode::SERVICE_UNAVAILABLE;
        match error {
            Error::Refused(refusal) => refusal.into(),
            Error::Busy => Self::new(away, "busy", detail),
            Error::OverShare => Self::new(StatusCode::TOO_MANY_REQUESTS, "over_share", detail),
            Error::Unavailable(_) => Self::new(away, "unavailable", detail),
            Error::OutcomeUnknown => Self::new(away, "outcome_unknown", detail),
            Error::Internal(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let http = ProblemStatus::Http(self.status.as_u16());
        let problem = Problem {
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.standing.map_or(http, ProblemStatus::Worker),
            code: self.code.to_owned(),
            detail: self.detail,
            request_id: request_id::current(),
            ..Problem::default()
        };
        let mut response = (self.status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
