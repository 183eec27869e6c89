//! What went wrong with a request: RFC 9457, `application/problem+json`.

use serde::{Deserialize, Serialize};

use crate::workers::WorkerStatus;

/// Media type of a [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The body of every answer from 400 on. Older clients read `detail` and, on a 403, `status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Names the kind of problem.
    pub r#type: String,
    /// The kind of problem, for people.
    pub title: String,
    /// The HTTP status, except on a 403 for a worker: see [`ProblemStatus`].
    pub status: ProblemStatus,
    /// Stable word for programs, such as `outcome_unknown`.
    pub code: String,
    /// This problem, for people: what to do about it. Nothing secret.
    pub detail: String,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Finds the request in the server's logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The newest generation of a worker's tokens, where another was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}

impl Default for Problem {
    fn default() -> Self {
        Self {
            r#type: "about:blank".to_owned(),
            title: String::new(),
            status: ProblemStatus::Http(0),
            code: String::new(),
            detail: String::new(),
            instance: None,
            request_id: None,
            generation: None,
        }
    }
}

/// The member `status`, which has two meanings.
///
/// RFC 9457 wants the HTTP status there. Older workers that are answered 403 want to read where
/// they stand, because only `pending` makes them wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ProblemStatus {
    /// The HTTP status.
    Http(u16),
    /// Where the refused worker stands.
    Worker(WorkerStatus),
}
