//! How a task is to be treated: in which order, when, how often, by when. Pure.

use serde::{Deserialize, Serialize};

/// The most urgent priority; 0 is the least.
pub const PRIORITY_MAX: u8 = 9;
/// The priority of a task that names none.
pub const PRIORITY_DEFAULT: u8 = 5;
/// How long a task waits for the worker that last had its key, where nothing is said, in milliseconds.
pub const AFFINITY_DEFAULT_MS: u64 = 5_000;

/// What a submitter says of a task besides what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handling {
    /// 0 to 9, the highest first.
    #[serde(skip_serializing_if = "is_default_priority")]
    pub priority: u8,
    /// Not before this time, in microseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<i64>,
    /// It fails unless it is done by this time, in microseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<i64>,
    /// How long one attempt may take, in milliseconds; then it counts as failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What happens when an attempt fails.
    #[serde(skip_serializing_if = "Retry::is_default")]
    pub retry: Retry,
    /// A worker whose attempt failed or was lost shall not get it next.
    #[serde(skip_serializing_if = "is_false")]
    pub spread: bool,
    /// It would rather go to the worker that had its like before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Box<Affinity>>,
}

/// What makes tasks go to one worker, where that can be had: a hint, which never keeps a task waiting for long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// Tasks with the same key belong together.
    pub key: String,
    /// How long such a task waits for the worker that last had the key, in milliseconds.
    pub wait_ms: u64,
}

impl Affinity {
    /// With the usual wait, five seconds.
    pub fn to(key: impl Into<String>) -> Self {
        Self { key: key.into(), wait_ms: AFFINITY_DEFAULT_MS }
    }
}

/// How often a task is tried whose attempts are reported as failed. Attempts that are lost have a cap of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Attempts that may fail, with the first: 1 means that it is not tried again.
    pub max_attempts: u32,
    /// Longest wait before the second attempt, in milliseconds.
    pub initial_ms: u64,
    /// What the longest wait is multiplied by for each further one, in hundredths.
    pub factor_percent: u32,
    /// What the longest wait does not grow beyond, in milliseconds.
    pub max_ms: u64,
}

impl Default for Handling {
    fn default() -> Self {
        Self {
            priority: PRIORITY_DEFAULT,
            not_before: None,
            deadline: None,
            timeout_ms: None,
            retry: Retry::default(),
            spread: false,
            affinity: None,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 1, initial_ms: 1_000, factor_percent: 200, max_ms: 300_000 }
    }
}

impl Handling {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Retry {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How long to wait before the next attempt, in microseconds, after `failures` failed ones; `None` when there is
    /// no next one. `roll` is a random number of 0 to 1: the wait is drawn between zero and the longest, "full
    /// jitter" as Brooker names it (Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
    pub fn wait_us(&self, failures: u32, roll: f64) -> Option<i64> {
        if failures >= self.max_attempts {
            return None;
        }
        let factor = f64::from(self.factor_percent) / 100.0;
        let steps = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let longest = (self.initial_ms as f64 * factor.powi(steps)).min(self.max_ms as f64);
        Some((longest * 1_000.0 * roll.clamp(0.0, 1.0)) as i64)
    }
}

fn is_default_priority(priority: &u8) -> bool {
    *priority == PRIORITY_DEFAULT
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_grows_to_its_most_and_ends_with_the_last_attempt() {
        let retry =
            Retry { max_attempts: 5, initial_ms: 1_000, factor_percent: 300, max_ms: 5_000 };
        let table = [
            // failures, roll, wait in ms
            (1, 1.0, Some(1_000)),
            (1, 0.5, Some(500)),
            (1, 0.0, Some(0)),
            (2, 1.0, Some(3_000)),
            (3, 1.0, Some(5_000)),
            (4, 1.0, Some(5_000)),
            (5, 1.0, None),
            (6, 1.0, None),
        ];
        for (failures, roll, expected) in table {
            let wait = retry.wait_us(failures, roll).map(|us| us / 1_000);
            assert_eq!(wait, expected, "after {failures} failures, roll {roll}");
        }
        let often = Retry { max_attempts: u32::MAX, ..retry };
        assert_eq!(often.wait_us(u32::MAX - 1, 1.0), Some(5_000_000));
    }

    #[test]
    fn what_is_not_said_is_not_stored() {
        assert_eq!(serde_json::to_string(&Handling::default()).unwrap(), "{}");
        let read: Handling = serde_json::from_str(r#"{"priority": 9}"#).unwrap();
        assert_eq!(read, Handling { priority: 9, ..Handling::default() });
    }
}
