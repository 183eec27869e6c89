//! What makes a worker suspicious, what was seen of it, and from where on it counts. Pure.

use serde::{Deserialize, Serialize};

/// In what way a worker is suspicious. Two different ones at once are enough to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It asks far more often than it used to, and than the others do.
    RateSpike,
    /// Most of what it runs fails, and others do better.
    ExcessiveFailures,
    /// Its heartbeats stopped.
    MissedHeartbeats,
    /// It reports on tasks for models that it does not have, or says that it used one.
    ModelMismatch,
}

impl Kind {
    /// The word on the wire and in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateSpike => "rate_spike",
            Self::ExcessiveFailures => "excessive_failures",
            Self::MissedHeartbeats => "missed_heartbeats",
            Self::ModelMismatch => "model_mismatch",
        }
    }
}

/// A suspicion as it stands at one look, with its figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// In what way.
    pub suspicion: Kind,
    /// What was counted: requests a minute, percent of failures, missed heartbeats, mismatches.
    pub observed: u64,
    /// From where on that is suspicious.
    pub limit: u64,
    /// On how many observations it rests.
    pub samples: u64,
    /// The same in words.
    pub why: String,
}

/// A suspicion that an administrator has not reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// What was found when it was raised.
    #[serde(flatten)]
    pub finding: Finding,
    /// When, in microseconds UTC.
    pub at: i64,
}

/// What a worker leaves out of the two things that an able one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// It sends heartbeats, and has free seats, but asks for no work.
    Deaf,
    /// It asks for work, but sends no heartbeats.
    Mute,
}

/// From where on a worker is suspicious: of one organisation, part of its policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Whether anybody looks.
    pub enabled: bool,
    /// Whether two suspicions at once revoke or quarantine a worker without an administrator.
    pub automatic: bool,
    /// More missed heartbeats in a row than this are suspicious.
    pub missed_heartbeats: u32,
    /// Reports within ten looks below which a share of failures says nothing.
    pub min_samples: u32,
    /// This share of failed attempts among them is suspicious.
    pub failure_percent: u32,
    /// So many times its own usual rate of requests is suspicious.
    pub spike_factor: u32,
    /// Requests a minute below which no rate is suspicious.
    pub spike_min_per_minute: u32,
    /// So many mismatches of models within ten looks are suspicious.
    pub mismatches: u32,
    /// A worker with free seats that asks for no work for so many seconds is deaf.
    pub deaf_after_seconds: u32,
    /// A worker that polls without heartbeats for so many seconds is mute.
    pub mute_after_seconds: u32,
    /// So many tasks that fail for good within ten looks raise an alert.
    pub dead_letters: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            enabled: true,
            automatic: true,
            missed_heartbeats: 3,
            min_samples: 20,
            failure_percent: 50,
            spike_factor: 5,
            spike_min_per_minute: 600,
            mismatches: 3,
            deaf_after_seconds: 180,
            mute_after_seconds: 180,
            dead_letters: 100,
        }
    }
}

impl Thresholds {
    /// The first number that makes no sense, and between what it must lie.
    pub fn nonsense(&self) -> Option<(&'static str, u32, u32)> {
        /// A day, in seconds.
        const DAY: u32 = 86_400;
        let rules = [
            ("missed_heartbeats", self.missed_heartbeats, 1, 1_000),
            ("min_samples", self.min_samples, 1, 1_000_000),
            ("failure_percent", self.failure_percent, 1, 100),
            ("spike_factor", self.spike_factor, 2, 1_000),
            ("spike_min_per_minute", self.spike_min_per_minute, 1, 10_000_000),
            ("mismatches", self.mismatches, 1, 1_000_000),
            ("deaf_after_seconds", self.deaf_after_seconds, 1, DAY),
            ("mute_after_seconds", self.mute_after_seconds, 1, DAY),
            ("dead_letters", self.dead_letters, 1, 1_000_000),
        ];
        let broken =
            rules.into_iter().find(|(_, value, least, most)| value < least || value > most);
        broken.map(|(name, _, least, most)| (name, least, most))
    }
}
