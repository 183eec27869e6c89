//! What is suspicious of workers, and from where on it is.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// One suspicion of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspicionView {
    /// `rate_spike`, `excessive_failures`, `missed_heartbeats` or `model_mismatch`.
    pub kind: String,
    /// In words.
    pub why: String,
    /// What was counted: requests a minute, percent of failures, heartbeats, reports.
    pub observed: u64,
    /// From where on that is suspicious.
    pub limit: u64,
    /// On how many observations it rests.
    pub samples: u64,
    /// When it was raised.
    pub at: Timestamp,
}

/// A worker that is suspicious, deaf or mute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SuspectView {
    /// Its id.
    pub worker_id: String,
    /// Its name for people.
    pub name: String,
    /// Where it stands.
    pub status: crate::workers::WorkerStatus,
    /// What is suspicious of it.
    pub suspicions: Vec<SuspicionView>,
    /// Since when it sends heartbeats and asks for no work, though it could.
    pub deaf_since: Option<Timestamp>,
    /// Since when it asks for work and sends no heartbeats.
    pub mute_since: Option<Timestamp>,
}

/// `GET /api/v1/fleet/suspicions`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SuspectList {
    /// Those that may still work; whose state changed last comes first. At most 1,000.
    pub workers: Vec<SuspectView>,
}

/// From where on workers are suspicious: `anomaly` of a policy. What is absent is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Whether anybody looks. Default: true.
    pub enabled: Option<bool>,
    /// Whether two suspicions at once revoke or quarantine a worker without an administrator. Default: true.
    pub automatic: Option<bool>,
    /// More missed heartbeats in a row than this are suspicious. Default: 3.
    pub missed_heartbeats: Option<u32>,
    /// Reports within ten looks below which a share of failures says nothing. Default: 20.
    pub min_samples: Option<u32>,
    /// This share of failed attempts among them is suspicious, where the others do better. Default: 50.
    pub failure_percent: Option<u32>,
    /// So many times its own usual rate of requests, and that of the others, is suspicious. Default: 5.
    pub spike_factor: Option<u32>,
    /// Requests a minute below which no rate is suspicious. Default: 600.
    pub spike_min_per_minute: Option<u32>,
    /// So many mismatches of models within ten looks are suspicious. Default: 3.
    pub mismatches: Option<u32>,
    /// A worker with free seats that asks for no work for so many seconds is deaf. Default: 180.
    pub deaf_after_seconds: Option<u32>,
    /// A worker that asks for work without heartbeats for so many seconds is mute. Default: 180.
    pub mute_after_seconds: Option<u32>,
    /// So many tasks that fail for good within ten looks raise an alert. Default: 100.
    pub dead_letters: Option<u32>,
}
