//! The names of things: UUIDs with a type each, so that a worker's id cannot stand where a task's is wanted.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use fleetward_store::{CellId, Position};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh id; ids made later sort later (UUID version 7).
            pub fn fresh() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// An organisation: one tenant.
    OrgId
    /// A registered worker.
    WorkerId
    /// A task: one unit of dispatch.
    TaskId
    /// An enrollment key.
    KeyId
    /// An operator's token.
    TokenId
    /// An alert.
    AlertId
    /// Where alerts are sent.
    SinkId
    /// A worker's short-lived task token: its `jti`.
    TaskTokenId
    /// A key that task tokens are signed with: their `kid`.
    SigningKeyId
    /// A schedule of runs. Its name may be another's later.
    ScheduleId
}

/// A run of a workflow: what its starter calls it, or a name that was made. At most [`RunId::MAX`] characters: letters,
/// digits, `-`, `_` and `.`, beginning with a letter or a digit. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Arc<str>);

impl RunId {
    /// Longest id, in characters.
    pub const MAX: usize = 128;

    /// A fresh one of a workflow; those made later sort later.
    pub fn fresh(workflow: &str) -> Self {
        Self::made(&format!("{workflow}-{}", Uuid::now_v7().simple()))
    }

    /// The one that a child run always has, by the time at which the run above it began, in microseconds UTC, and a
    /// digest of its place there; see [`TaskId::from_time_and_digest`].
    pub(crate) fn of_child(at: i64, digest: &[u8; 32]) -> Self {
        Self::made(&format!("child-{}", from_time_and_digest(at, digest).simple()))
    }

    /// One that was put together here.
    pub(crate) fn made(text: &str) -> Self {
        Self(text.into())
    }

    /// No run: what stands in a recipe for conductors.
    pub(crate) fn none() -> Self {
        Self::made("")
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = BadRunId;
    fn from_str(text: &str) -> Result<Self, BadRunId> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric();
        let rest = |byte: u8| letter(byte) || b"-_.".contains(&byte);
        let fits = text.len() <= Self::MAX && text.bytes().all(rest);
        match text.bytes().next() {
            Some(first) if letter(first) && fits => Ok(Self(text.into())),
            _ => Err(BadRunId),
        }
    }
}

/// Text that is no id of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of a run has 1 to 128 letters, digits, `-`, `_` and `.`, and begins with a letter or a digit"
)]
pub struct BadRunId;

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AlertId {
    /// The id of the alert about the event at this position: going over events again gives the same.
    pub fn of(cell: CellId, position: Position) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&cell.0.rotate_left(32).to_be_bytes());
        bytes[8..].copy_from_slice(&position.to_be_bytes());
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl WorkerId {
    /// The id that a key pair always gives, whichever enrollment key it comes with: so the record of a worker that was
    /// revoked is found for ever, with no index of key pairs.
    pub fn from_digest(digest: &[u8; 32]) -> Self {
        Self(from_digest(digest))
    }
}

impl TaskId {
    /// The id that an idempotency key always gives: a repeated submit finds the task it made, with no index.
    pub fn from_digest(digest: &[u8; 32]) -> Self {
        Self(from_digest(digest))
    }

    /// The id that a digest and a time, in microseconds UTC, always give. Like those of version 7 it begins with the
    /// milliseconds, so ids of what begins later sort later and their rows and index entries are written side by side.
    pub fn from_time_and_digest(at: i64, digest: &[u8; 32]) -> Self {
        Self(from_time_and_digest(at, digest))
    }
}

fn from_time_and_digest(at: i64, digest: &[u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&(at / 1_000).to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&digest[..10]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn from_digest(digest: &[u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_time_and_a_digest_sort_by_the_time_and_are_always_the_same() {
        let id = |at, byte| TaskId::from_time_and_digest(at, &[byte; 32]);

        assert_eq!(id(1_700_000_000_000_000, 7), id(1_700_000_000_000_999, 7));
        assert_ne!(id(1_700_000_000_000_000, 7), id(1_700_000_000_000_000, 8));
        assert!(id(1_700_000_000_000_000, 255) < id(1_700_000_000_001_000, 0));
        assert_eq!(id(0, 7).0.get_version_num(), 8);
    }
}
