//! What a value is bound to that is handed to a worker, or comes from one: the attempt, so that it opens for no other.
//!
//! A worker in any language that holds the organisation's key can do the same: the first half of SHA-256 over the word
//! of the part, the organisation's id and the task's id (16 bytes each), and the number of the attempt (4 bytes), each
//! after its length as two bytes, the higher one first, stands before the value inside the Fernet token.

use super::Bound;

/// What is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What to do: JSON.
    Payload,
    /// The result: JSON.
    Output,
    /// Why there is none: text.
    Error,
    /// How far it is: JSON.
    Progress,
    /// What stands at a position of a durable function: JSON, `[index, value]`.
    Checkpoint,
    /// What a durable function asks people: JSON, `[index, {"prompt": ..., "context": ...}]`.
    Asked,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Payload => "attempt payload",
            Self::Output => "attempt output",
            Self::Error => "attempt error",
            Self::Progress => "attempt progress",
            Self::Checkpoint => "attempt checkpoint",
            Self::Asked => "attempt asked",
        }
    }
}

impl Bound {
    /// A part of one attempt of a task of an organisation.
    pub fn to_attempt(part: Part, organisation: &[u8; 16], task: &[u8; 16], attempt: u32) -> Self {
        Self::to(part.word(), &[organisation, task, &attempt.to_be_bytes()])
    }
}
