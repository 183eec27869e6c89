//! The names of things: UUIDs with a type each, so that a worker's id cannot stand where a task's is wanted.

use std::fmt;
use std::str::FromStr;

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
}

fn from_digest(digest: &[u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
