//! What providers and connections say when there is no answer, and whether it is worth another try.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::agent::error::AgentError;

/// How much of an error's body is read, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// Kinds of errors in a stream that begins well: those that another try would meet again.
const FINAL_KINDS: [&str; 6] = [
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "billing_error",
];

/// The connection did not serve.
pub(super) fn lost(error: &reqwest::Error) -> AgentError {
    let kind = match () {
        () if error.is_builder() => return AgentError::refused("the request cannot be written"),
        () if error.is_connect() => "cannot connect",
        () if error.is_timeout() => "no word for too long",
        () => "the connection was lost",
    };
    // The innermost cause is the system's own word; the outer ones name the URL, which may hold a password.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match std::ptr::addr_eq(cause, error) {
        true => AgentError::unavailable(kind),
        false => AgentError::unavailable(format_args!("{kind}: {cause}")),
    }
}

/// Another status than one of success.
pub(super) async fn answered(mut response: Response) -> AgentError {
    let (status, wait) = (response.status(), retry_after(response.headers()));
    let mut body = Vec::new();
    // What cannot be read any more is left out: the status says enough.
    while body.len() < BODY_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk[..chunk.len().min(BODY_MAX - body.len())]);
    }
    of_status(status, wait, &body)
}

fn of_status(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> AgentError {
    let said = match serde_json::from_slice::<Value>(body) {
        Ok(body) => words(&body),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    let detail = match said.is_empty() {
        true => format!("HTTP {}", status.as_u16()),
        false => format!("HTTP {}: {said}", status.as_u16()),
    };
    let may_pass = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status);
    match AgentError::unavailable(&detail) {
        AgentError::Unavailable { detail, .. } if may_pass => {
            AgentError::Unavailable { detail, retry_after }
        }
        _ => AgentError::refused(detail),
    }
}

/// An error within an answer that began well.
pub(super) fn said(error: &Value) -> AgentError {
    let kind = error.get("type").and_then(Value::as_str).unwrap_or_default();
    match FINAL_KINDS.contains(&kind) {
        true => AgentError::refused(words(error)),
        false => AgentError::unavailable(words(error)),
    }
}

/// A message of an answer.
pub(super) fn json(message: &str) -> Result<Value, AgentError> {
    serde_json::from_str(message)
        .map_err(|_| AgentError::unavailable("a message of its answer is no JSON"))
}

/// What an error says in words, in one of the shapes that they have.
fn words(error: &Value) -> String {
    let shapes = ["/error/message", "/message", "/error", "/detail", ""];
    let said = shapes.into_iter().filter_map(|shape| error.pointer(shape)?.as_str()).next();
    said.map_or_else(|| error.to_string(), str::to_owned)
}

/// How long it asks to wait. (As a date it is passed over: providers send seconds.)
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let millis = number("retry-after-ms").map(|millis| millis / 1000.0);
    let seconds = millis.or_else(|| number(RETRY_AFTER.as_str()))?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn statuses_are_told_apart_and_errors_read_in_every_shape() {
        let table = [
            (429, json!({"error": {"message": "slow"}}), true, "HTTP 429: slow"),
            (503, json!({"message": "down"}), true, "HTTP 503: down"),
            (529, json!({"type": "error", "error": {"message": "full"}}), true, "HTTP 529: full"),
            (408, json!("late"), true, "HTTP 408: late"),
            (400, json!({"error": "no such field"}), false, "HTTP 400: no such field"),
            (401, json!({"detail": "who?"}), false, "HTTP 401: who?"),
            (404, json!({"error": {"message": "no model"}}), false, "HTTP 404: no model"),
            (422, json!([1]), false, "HTTP 422: [1]"),
            (302, json!(""), false, "HTTP 302"),
        ];
        for (status, body, again, words) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let error = of_status(status, None, body.to_string().as_bytes());
            assert_eq!(matches!(error, AgentError::Unavailable { .. }), again, "{status}");
            assert_eq!(error.to_string(), words);
        }
        let html = of_status(StatusCode::BAD_GATEWAY, None, b" <html>\x07bad</html>");
        assert_eq!(html.to_string(), "HTTP 502: <html>bad</html>");
    }

    #[test]
    fn errors_in_a_stream_are_told_apart_by_their_kind() {
        let overloaded = said(&json!({"type": "overloaded_error", "message": "Overloaded"}));
        let invalid = said(&json!({"type": "invalid_request_error", "message": "too long"}));
        let text = said(&json!("model runner has stopped"));

        assert!(matches!(overloaded, AgentError::Unavailable { .. }));
        assert!(matches!(invalid, AgentError::Refused(why) if why == "too long"));
        assert_eq!(text.to_string(), "model runner has stopped");
    }

    #[test]
    fn wait_is_read_in_seconds_and_milliseconds() {
        let table = [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", "0", Some(0)),
            ("retry-after-ms", "20", Some(20)),
            ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("retry-after", "-1", None),
        ];
        for (name, value, wanted) in table {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(retry_after(&headers), wanted.map(Duration::from_millis), "{value}");
        }
    }
}
