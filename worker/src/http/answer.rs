//! What an HTTP answer means for the worker.

use std::time::Duration;

use fleetward_wire::problem::{Problem, ProblemStatus};
use fleetward_wire::tasks::{Claimed, ReportMany, ReportResult, ReportsAnswer};
use fleetward_wire::workers::WorkerStatus;
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::silence;
use crate::tokens::Issued;
use crate::transport::TransportError;

/// A task carries a payload of up to a megabyte, which may be six once it is escaped.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// Of a problem's text, as much goes into our logs.
const LONGEST_DETAIL: usize = 500;

/// What a request is about, and so what a 404 or a 403 denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The worker as such.
    Worker,
    /// One task: refusing that says nothing about the next one.
    Task,
}

/// The response if it is a success, else what it means.
pub(super) async fn checked(
    sent: reqwest::Result<Response>,
    about: About,
) -> Result<Response, TransportError> {
    let response = sent.map_err(|error| lost(&error))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, retry_after, problem) = problem(response).await;
    Err(meaning(status, retry_after, problem, about))
}

/// What a request for a task token is answered with.
pub(super) async fn token(sent: reqwest::Result<Response>) -> Result<Issued, TransportError> {
    let response = sent.map_err(|error| lost(&error))?;
    if response.status().is_success() {
        return read(response).await.map(Issued::Token);
    }
    let (status, retry_after, problem) = problem(response).await;
    match problem.generation {
        Some(newest) if status == StatusCode::CONFLICT => Ok(Issued::Passed(newest)),
        _ => Err(meaning(status, retry_after, problem, About::Worker)),
    }
}

async fn problem(response: Response) -> (StatusCode, Option<Duration>, Problem) {
    let status = response.status();
    // In seconds: nobody sends us dates, and our clock may differ from theirs.
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().parse().ok())
        .map(Duration::from_secs);
    let body = body(response, LARGEST_ANSWER).await.unwrap_or_default();
    (status, retry_after, serde_json::from_slice(&body).unwrap_or_default())
}

/// The body of a success.
pub(super) async fn read<A: DeserializeOwned>(response: Response) -> Result<A, TransportError> {
    parse(&body(response, LARGEST_ANSWER).await?)
}

/// The tasks that were claimed.
pub(super) async fn tasks(response: Response, most: u32) -> Result<Vec<Claimed>, TransportError> {
    /// With the mark of a control plane from before batches: it answers with the one task itself.
    #[derive(Deserialize)]
    struct Tasks {
        tasks: Option<Vec<Claimed>>,
        run_id: Option<String>,
    }

    let body = body(response, LARGEST_ANSWER.saturating_mul(most as usize)).await?;
    match parse(&body)? {
        Tasks { tasks: Some(tasks), .. } => Ok(tasks),
        // It does not take the reports of this worker either, so the worker must not begin.
        Tasks { tasks: None, run_id: Some(_) } => Err(TransportError::Refused {
            code: "no_batches".to_owned(),
            detail: "the control plane is older than this worker: it does not hand out tasks in \
                     batches; upgrade it first"
                .to_owned(),
        }),
        Tasks { tasks: None, run_id: None } => Err(unreadable("neither tasks nor a task")),
    }
}

/// What became of each of the reports; one that is not answered is to be repeated.
pub(super) fn verdicts(
    reports: &ReportMany,
    answer: ReportsAnswer,
) -> Vec<Result<(), TransportError>> {
    let mut results = answer.results.into_iter();
    let verdict = |run_id: &str| match results.next() {
        Some(result) if result.run_id == run_id => verdict(result),
        _ => Err(unreadable("no result where this report was")),
    };
    reports.reports.iter().map(|report| report.run_id.as_str()).map(verdict).collect()
}

fn verdict(result: ReportResult) -> Result<(), TransportError> {
    // A number that is no status makes as little sense as a broken gateway.
    let status = StatusCode::from_u16(result.status).unwrap_or(StatusCode::BAD_GATEWAY);
    if status.is_success() {
        return Ok(());
    }
    Err(meaning(status, None, result.problem.unwrap_or_default(), About::Task))
}

fn parse<A: DeserializeOwned>(body: &[u8]) -> Result<A, TransportError> {
    // The place only: a parser's message may quote what it read.
    serde_json::from_slice(body)
        .map_err(|error| unreadable(&format!("line {}, column {}", error.line(), error.column())))
}

fn unreadable(place: &str) -> TransportError {
    TransportError::unavailable(format!("unreadable answer: {place}"))
}

async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, TransportError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
        if body.len() + chunk.len() > most {
            return Err(TransportError::unavailable("answer too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Why the server was not believed, if that is what happened: then nothing was sent to it.
pub(super) fn disbelieved(error: &reqwest::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        match of_tls(error) {
            Some(why @ (rustls::Error::InvalidCertificate(_) | rustls::Error::General(_))) => {
                return Some(why.to_string());
            }
            _ => cause = error.source(),
        }
    }
    None
}

/// An error of TLS, however many errors of the system are around it: these do not name what they hold as their source.
fn of_tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<std::io::Error>() {
        Some(outer) => of_tls(outer.get_ref()?),
        None => error.downcast_ref(),
    }
}

/// No answer: it may or may not have been done.
fn lost(error: &reqwest::Error) -> TransportError {
    TransportError::unavailable(silence::why(error))
}

fn meaning(
    status: StatusCode,
    retry_after: Option<Duration>,
    problem: Problem,
    about: About,
) -> TransportError {
    let detail = detail(&problem, status);
    let rejected = |detail| TransportError::Rejected { status: status.as_u16(), detail };
    match (status.as_u16(), about, problem.status) {
        (408 | 425 | 429 | 500.., ..) => TransportError::Unavailable { detail, retry_after },
        (401, ..) => rejected(detail),
        // Quarantine and a lock are reversible: such a worker waits, as one that is not approved yet.
        (
            403,
            _,
            ProblemStatus::Worker(
                WorkerStatus::Pending | WorkerStatus::Quarantined | WorkerStatus::Locked,
            ),
        ) => TransportError::Pending,
        (403, _, ProblemStatus::Worker(WorkerStatus::Rejected | WorkerStatus::Revoked)) => {
            rejected(detail)
        }
        (403 | 404, About::Worker, _) => rejected(detail),
        (code, ..) => TransportError::Refused {
            code: if problem.code.is_empty() { format!("http_{code}") } else { problem.code },
            detail,
        },
    }
}

/// One line of limited length, whatever the other side wrote.
fn detail(problem: &Problem, status: StatusCode) -> String {
    if problem.detail.is_empty() {
        return format!("HTTP {status}");
    }
    let text = problem.detail.chars().take(LONGEST_DETAIL);
    text.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn overload_and_outage_are_repeated_when_the_server_says() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            let wait = Some(Duration::from_secs(3));

            let error = meaning_of(status, wait, "{}", About::Worker);

            let TransportError::Unavailable { retry_after, .. } = error else { panic!("{error}") };
            assert_eq!(retry_after, wait);
        }
    }

    #[test]
    fn a_worker_waits_while_it_is_pending_quarantined_or_locked() {
        for status in ["pending", "quarantined", "locked"] {
            let body = format!(r#"{{"detail": "not approved", "status": "{status}"}}"#);

            assert_eq!(meaning_of(403, None, &body, About::Worker), TransportError::Pending);
        }
    }

    #[test]
    fn a_worker_that_is_unknown_or_revoked_stops() {
        let revoked = r#"{"detail": "worker is revoked", "status": "revoked"}"#;
        let rejected =
            |status, detail: &str| TransportError::Rejected { status, detail: detail.to_owned() };

        assert_eq!(meaning_of(403, None, revoked, About::Task), rejected(403, "worker is revoked"));
        assert_eq!(
            meaning_of(404, None, r#"{"detail": "unknown worker"}"#, About::Worker),
            rejected(404, "unknown worker")
        );
        assert_eq!(
            meaning_of(401, None, "<html>", About::Task),
            rejected(401, "HTTP 401 Unauthorized")
        );
    }

    #[test]
    fn a_task_that_is_not_ours_does_not_stop_the_worker() {
        let body = r#"{"status": 403, "code": "not_owner", "detail": "attempt 1 is not current"}"#;

        let error = meaning_of(403, None, body, About::Task);

        let TransportError::Refused { code, detail } = error else { panic!("{error}") };
        assert_eq!((&*code, &*detail), ("not_owner", "attempt 1 is not current"));
        assert!(matches!(meaning_of(404, None, "", About::Task), TransportError::Refused { .. }));
    }

    #[test]
    fn what_an_answer_says_cannot_break_a_log_line() {
        let body = format!(r#"{{"detail": "a\nb{}"}}"#, "x".repeat(10_000));

        let TransportError::Refused { detail, code } = meaning_of(422, None, &body, About::Task)
        else {
            panic!("a 422 is refused")
        };

        assert_eq!((detail.len(), &detail[..4], &*code), (LONGEST_DETAIL, "a bx", "http_422"));
    }

    #[test]
    fn each_report_of_many_has_a_verdict_of_its_own() {
        let reports = ["t1", "t2", "t3", "t4", "t5", "t6"].map(|run_id| json!({"run_id": run_id}));
        let reports: ReportMany = serde_json::from_value(json!({"reports": reports})).unwrap();
        let results = json!({"results": [
            {"run_id": "t1", "status": 200},
            {"run_id": "t2", "status": 403, "problem": {"code": "not_owner", "detail": "no"}},
            {"run_id": "t3", "status": 503, "problem": {"detail": "outcome unknown"}},
            {"run_id": "t4", "status": 0},
            {"run_id": "of another", "status": 200},
        ]});

        let verdicts = verdicts(&reports, serde_json::from_value(results).unwrap());

        let refused = TransportError::Refused { code: "not_owner".into(), detail: "no".into() };
        let missing = unreadable("no result where this report was");
        assert_eq!(
            verdicts,
            [
                Ok(()),
                Err(refused),
                Err(TransportError::unavailable("outcome unknown")),
                Err(TransportError::unavailable("HTTP 502 Bad Gateway")),
                Err(missing.clone()),
                Err(missing),
            ]
        );
    }

    fn meaning_of(
        status: u16,
        retry_after: Option<Duration>,
        body: &str,
        about: About,
    ) -> TransportError {
        let status = StatusCode::from_u16(status).unwrap();
        meaning(status, retry_after, serde_json::from_str(body).unwrap_or_default(), about)
    }
}
