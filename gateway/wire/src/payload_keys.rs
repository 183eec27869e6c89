//! The keys that payloads are encrypted with. No answer here contains a key itself but that of an export.

use serde::{Deserialize, Serialize};

use crate::{Secret, Timestamp};

/// One key of an organisation's ring.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PayloadKeyView {
    /// Its number: from 1 on.
    pub number: u32,
    /// `added`, `primary`, `retained` or `retired`.
    pub state: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Since when it is in this state, or a re-encryption to it last moved.
    pub changed_at: Timestamp,
    /// The last re-encryption to this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reencryption: Option<ReencryptionView>,
}

/// How far a re-encryption is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReencryptionView {
    /// `running` or `done`.
    pub state: String,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Events that it has looked at.
    pub events: u64,
    /// Events that there are.
    pub of_events: u64,
    /// Values that it has sealed again.
    pub resealed: u64,
    /// Values that do not open and were left as they are; the log names them.
    pub broken: u64,
}

/// `GET /api/v1/fleet/payload-keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PayloadKeyList {
    /// By number.
    pub keys: Vec<PayloadKeyView>,
}

/// A value encrypted with a key of the organisation for one attempt of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedValue {
    /// The number of the key.
    pub key: u32,
    /// A Fernet token: inside, 16 bytes that bind it to the attempt, then the value.
    pub token: String,
}

/// The answer to `POST /api/v1/fleet/payload-keys/export`: for workers that shall get payloads encrypted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PayloadKeyExport {
    /// The organisation.
    pub org_id: String,
    /// Its keys that are not retired, by number.
    pub keys: Vec<ExportedKey>,
}

/// One key, itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportedKey {
    /// Its number.
    pub number: u32,
    /// A Fernet key.
    pub key: Secret,
}
