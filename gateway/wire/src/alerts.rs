//! Alerts, and the sinks that they are sent to.

use serde::{Deserialize, Serialize};

use crate::{Secret, Timestamp};

/// One alert.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AlertView {
    /// Its id; `webhook-id` where it is delivered.
    pub id: String,
    /// Kind of the event that it is about: `worker.suspected`.
    pub kind: String,
    /// `warning` or `critical`.
    pub severity: String,
    /// What kind of thing it happened to: `worker`, `key`.
    pub subject_kind: String,
    /// The id of that thing.
    pub subject: String,
    /// What happened, in words.
    pub why: String,
    /// When.
    pub raised_at: Timestamp,
    /// When somebody said that it was seen.
    pub acknowledged_at: Option<Timestamp>,
    /// Who.
    pub acknowledged_by: Option<String>,
    /// That person's words.
    pub note: Option<String>,
}

/// `GET /api/v1/fleet/alerts`, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AlertList {
    /// One page.
    pub alerts: Vec<AlertView>,
    /// Where the next page begins (`?before=`); none on the last one.
    #[serde(default)]
    pub next: Option<u64>,
}

/// Body of `POST /api/v1/fleet/alerts/{id}/acknowledge`. May be empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Acknowledge {
    /// What was found, for the record.
    pub note: Option<String>,
}

/// `POST /api/v1/fleet/sinks`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkCreate {
    /// A name for people.
    pub name: String,
    /// Where alerts are posted to, by the rules of Standard Webhooks. Kept secret: lists show scheme and host.
    pub url: Secret,
}

/// The answer to [`SinkCreate`], 201, and to `POST /api/v1/fleet/sinks/{id}/rotate`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkCreated {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What signs its messages, `whsec_...`; shown this once.
    pub secret: Secret,
}

/// One sink.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkView {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Scheme and host of its address.
    pub origin: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// How many alerts were delivered.
    pub delivered: u64,
    /// How many could not be delivered in their time.
    pub given_up: u64,
    /// When the last one was delivered.
    pub delivered_at: Option<Timestamp>,
    /// Why the last one that was given up could not be delivered.
    pub last_error: Option<String>,
    /// Until when the secret before this one signs too.
    pub old_secret_until: Option<Timestamp>,
}

/// `GET /api/v1/fleet/sinks`, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkList {
    /// All of them.
    pub sinks: Vec<SinkView>,
}

/// The answer to `POST /api/v1/fleet/sinks/{id}/test`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkTested {
    /// Whether it was taken.
    pub delivered: bool,
    /// What went wrong.
    pub error: Option<String>,
}
