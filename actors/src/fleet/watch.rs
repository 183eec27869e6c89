//! What is kept of a fleet as a whole, so that it survives a restart: how many workers were revoked without an
//! administrator within the last hour, and whether dead letters pile up. Pure.

use serde::{Deserialize, Serialize};

use crate::fact::{Fold, Stamp};
use crate::id::WorkerId;

/// The id of the one watch of a cell: its stream is `watch/fleet`.
pub const WATCH_ID: &str = "fleet";
/// Over how long automatic revocations are counted, in microseconds.
const HOUR_US: i64 = 3_600_000_000;
/// So many workers may always be revoked within an hour.
const REVOKED_MIN: usize = 3;
/// Else this part of the fleet.
const REVOKED_PART: usize = 10;

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watch {
    /// When workers were revoked automatically, oldest first: those of the last hour, so never more than a tenth of the
    /// fleet, or three.
    pub revoked: Vec<i64>,
    /// Too many tasks fail for good.
    pub dead_letters: bool,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A worker was revoked without an administrator.
    #[serde(rename = "watch.revoked")]
    Revoked {
        /// Which.
        worker: WorkerId,
    },
    /// Too many tasks fail for good.
    #[serde(rename = "watch.dead_letters")]
    DeadLetters {
        /// How many did.
        count: u32,
        /// Within how many seconds.
        within_seconds: u64,
        /// In words.
        why: String,
    },
    /// Not any more.
    #[serde(rename = "watch.dead_letters_over")]
    DeadLettersOver {},
}

impl Watch {
    /// Whether one more worker of so many may be revoked automatically at `now`: nobody shall be able to talk a fleet
    /// into revoking itself.
    pub fn may_revoke(&self, now: i64, fleet: usize) -> bool {
        let recent = self.revoked.iter().filter(|at| now - **at < HOUR_US).count();
        recent < REVOKED_MIN.max((fleet + recent) / REVOKED_PART)
    }
}

impl Fold for Watch {
    type Event = Event;
    const KIND: &'static str = "watch";

    fn kind(event: &Event) -> &'static str {
        match event {
            Event::Revoked { .. } => "watch.revoked",
            Event::DeadLetters { .. } => "watch.dead_letters",
            Event::DeadLettersOver {} => "watch.dead_letters_over",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let mut watch = Self::default();
        watch.evolve(event, stamp);
        Some(watch)
    }

    fn evolve(&mut self, event: &Event, stamp: Stamp<'_>) {
        match event {
            Event::Revoked { .. } => {
                self.revoked.retain(|at| stamp.at - *at < HOUR_US);
                self.revoked.push(stamp.at);
            }
            Event::DeadLetters { .. } => self.dead_letters = true,
            Event::DeadLettersOver {} => self.dead_letters = false,
        }
    }

    fn open(&self) -> bool {
        true
    }

    fn status(&self) -> &'static str {
        if self.dead_letters { "dead_letters" } else { "quiet" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenth_of_the_fleet_or_three_workers_an_hour_are_revoked() {
        for (fleet, expected) in [(0, 3), (5, 3), (39, 4), (100, 11)] {
            let (mut watch, mut left) = (Watch::default(), fleet);
            let event = Event::Revoked { worker: WorkerId::fresh() };
            while watch.may_revoke(9, left) {
                watch.evolve(&event, Stamp { seq: 1, at: 9, by: "system" });
                left = left.saturating_sub(1);
            }
            assert_eq!(watch.revoked.len(), expected.min(watch.revoked.len()), "{fleet}");
            assert!(watch.revoked.len() >= 3 && watch.revoked.len() <= 3.max(fleet / 10));
            assert!(!watch.may_revoke(9 + HOUR_US - 1, left));
            assert!(watch.may_revoke(9 + HOUR_US, left));
        }
    }
}
