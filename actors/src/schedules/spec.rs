//! What a schedule is told to do. Pure.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::calendar::{Calendar, Times};
use super::cron::{self, CronTimes};
use crate::error::Refusal;
use crate::fleet::input;
use crate::id::{RunId, ScheduleId};

/// Longest name, so that the ids of its runs can begin with it.
pub const NAME_MAX: usize = 64;
/// Longest interval, in seconds: ten years.
const EVERY_MAX: i64 = 3_653 * 86_400;
/// Largest jitter, in milliseconds: a day.
const JITTER_MAX_MS: u64 = 86_400_000;
/// Most missed ticks that are caught up at once.
pub const CATCH_UP_MAX: u32 = 1_000;
/// How long ago a tick may be to be caught up, unless that is said: a week.
pub const WINDOW_MS: u64 = 7 * 86_400_000;
/// The same at most: a hundred years.
const WINDOW_MAX_MS: u64 = 36_525 * 86_400_000;
/// How many missed ticks are caught up at most, unless that is said.
pub const CATCH_UP: u32 = 100;

/// What a schedule does, and when. The input of its runs is sealed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The name of the workflow.
    pub workflow: String,
    /// Its version; none: the newest when a tick comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When.
    pub timing: Timing,
    /// A tick fires up to so many milliseconds late, always the same for the same tick.
    #[serde(default)]
    pub jitter_ms: u64,
    /// No tick before, in microseconds UTC; intervals are counted from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// No tick after, in microseconds UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// What is done about ticks that were missed.
    pub catch_up: CatchUp,
    /// What a tick does while a run of the schedule is open.
    pub overlap: Overlap,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// When the ticks are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// By a cron expression.
    Cron {
        /// The expression.
        expression: String,
        /// The name of the zone that it is for.
        zone: String,
    },
    /// Every so many seconds.
    Every {
        /// How many.
        seconds: i64,
    },
}

/// What is done about ticks that were missed: nobody was there, or could write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUp {
    /// Which of them are fired.
    pub policy: Missed,
    /// Only those that are no older than so many milliseconds.
    pub window_ms: u64,
    /// Only the newest, at most so many.
    pub most: u32,
}

/// Which missed ticks are fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// None that is more than a minute late.
    Skip,
    /// The newest.
    Latest,
    /// All.
    All,
}

/// What a tick does while a run of the schedule is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Nothing.
    Skip,
    /// Its run starts when that one has ended. One tick waits so; more are skipped.
    BufferOne,
    /// Its run starts beside.
    Allow,
    /// That one is cancelled.
    CancelOther,
}

impl Default for CatchUp {
    fn default() -> Self {
        Self { policy: Missed::Latest, window_ms: WINDOW_MS, most: CATCH_UP }
    }
}

impl Spec {
    /// One with every policy as it is unless something else is said: of missed ticks the newest is fired, and none while a
    /// run is open.
    pub fn new(workflow: impl Into<String>, timing: Timing) -> Self {
        Self {
            workflow: workflow.into(),
            version: None,
            timing,
            jitter_ms: 0,
            start: None,
            end: None,
            catch_up: CatchUp::default(),
            overlap: Overlap::Skip,
            description: None,
        }
    }

    /// When its ticks are.
    ///
    /// # Errors
    /// Says what is wrong with it, and what would be right.
    pub fn calendar(&self, id: ScheduleId) -> Result<Calendar, Refusal> {
        let times = match &self.timing {
            Timing::Cron { expression, zone } => {
                let zone: Tz = cron::zone(zone)
                    .map_err(|bad| Refusal::invalid("unknown_timezone", bad.to_string()))?;
                let times = CronTimes::parse(expression, zone)
                    .map_err(|bad| Refusal::invalid("invalid_cron", bad.to_string()))?;
                Times::Cron(Box::new(times))
            }
            Timing::Every { seconds } if (1..=EVERY_MAX).contains(seconds) => {
                Times::Every(*seconds)
            }
            Timing::Every { .. } => {
                let detail = "an interval is at least 1s, at most 3653d, and whole seconds";
                return Err(Refusal::invalid("invalid_interval", detail));
            }
        };
        let jitter = i64::try_from(self.jitter_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        let seed = *id.0.as_bytes();
        Ok(Calendar { times, from: self.start, until: self.end, jitter, seed })
    }

    /// Refuses what makes no sense at `now`.
    ///
    /// # Errors
    /// Says what is wrong with it, and what would be right.
    pub fn check(&self, now: i64) -> Result<(), Refusal> {
        input::name("workflow", &self.workflow)?;
        if let Some(text) = &self.description {
            input::printable("description", text, input::REASON_MAX)?;
        }
        let CatchUp { window_ms, most, .. } = self.catch_up;
        let rules = [
            (self.jitter_ms > JITTER_MAX_MS, "invalid_jitter", "jitter is at most 24h"),
            (
                self.start.zip(self.end).is_some_and(|(start, end)| start >= end),
                "invalid_end",
                "the end must lie behind the start",
            ),
            (
                self.end.is_some_and(|end| end <= now),
                "invalid_end",
                "the end lies in the past: no tick would ever come",
            ),
            (
                window_ms == 0 || window_ms > WINDOW_MAX_MS,
                "invalid_catch_up",
                "the window of catching up is longer than nothing and at most 36525d",
            ),
            (
                !(1..=CATCH_UP_MAX).contains(&most),
                "invalid_catch_up",
                "between 1 and 1000 missed ticks can be caught up at once",
            ),
        ];
        if let Some((_, code, detail)) = rules.into_iter().find(|(broken, ..)| *broken) {
            return Err(Refusal::invalid(code, detail));
        }
        let calendar = self.calendar(ScheduleId(uuid::Uuid::nil()))?;
        if calendar.next_after(now).is_none() {
            let detail = "no tick would ever come: there is no such day, or none before the end";
            return Err(Refusal::invalid("no_ticks", detail));
        }
        Ok(())
    }
}

/// Refuses what cannot be the name of a schedule.
///
/// # Errors
/// Says what can.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    if name.len() <= NAME_MAX && name.parse::<RunId>().is_ok() {
        return Ok(());
    }
    let detail = format!(
        "the name of a schedule has 1 to {NAME_MAX} letters, digits, `-`, `_` and `.`, and begins with a letter or a digit"
    );
    Err(Refusal::invalid("invalid_name", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    fn cron(expression: &str) -> Spec {
        let (expression, zone) = (expression.to_owned(), "UTC".to_owned());
        Spec::new("w", Timing::Cron { expression, zone })
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let every = |seconds| Spec::new("w", Timing::Every { seconds });
        let catch_up = |most| CatchUp { most, ..CatchUp::default() };
        let table = [
            (cron("0 9 * * *"), None),
            (every(1), None),
            (every(0), Some("invalid_interval")),
            (every(EVERY_MAX + 1), Some("invalid_interval")),
            (cron("0 0 30 2 *"), Some("no_ticks")),
            (cron("0 0 * *"), Some("invalid_cron")),
            (Spec { end: Some(NOW), ..every(1) }, Some("invalid_end")),
            (Spec { start: Some(NOW + 9), end: Some(NOW + 9), ..every(1) }, Some("invalid_end")),
            (Spec { end: Some(NOW + 5_000_000), ..every(3_600) }, Some("no_ticks")),
            (Spec { jitter_ms: JITTER_MAX_MS + 1, ..every(1) }, Some("invalid_jitter")),
            (Spec { catch_up: catch_up(0), ..every(1) }, Some("invalid_catch_up")),
            (Spec { catch_up: catch_up(1_001), ..every(1) }, Some("invalid_catch_up")),
            (Spec { workflow: String::new(), ..every(1) }, Some("invalid_name")),
        ];
        for (spec, expected) in table {
            assert_eq!(spec.check(NOW).err().map(|refusal| refusal.code), expected, "{spec:?}");
        }
    }

    #[test]
    fn name_begins_the_ids_of_its_runs() {
        assert!(check_name("nightly.report-2").is_ok());
        for bad in ["", "-x", "a b", "ä", &"n".repeat(65)] {
            assert_eq!(check_name(bad).unwrap_err().code, "invalid_name", "{bad}");
        }
    }
}
