//! Schedules of runs, as operators make, see and decide about them.

use serde::{Deserialize, Serialize};

use crate::{Raw, Secret, Timestamp};

/// `PUT /api/v1/schedules/{name}`: when runs of a workflow start by themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default"))]
pub struct ScheduleSet<V = Raw> {
    /// The name of the workflow.
    pub workflow: String,
    /// Its version, or its first characters. Absent: the newest at each tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What each run is given.
    #[serde(default)]
    pub input: Secret<V>,
    /// A cron expression: five fields, or six with seconds in front. Either this or `every_seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The zone that `cron` is for, by its IANA name. Absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// An interval in whole seconds, counted from `start`, or from the beginning of 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<f64>,
    /// A tick fires up to so many seconds late, and before the next one; always the same for the same tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_seconds: Option<f64>,
    /// No tick before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// No tick after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Which missed ticks are fired: `skip` (none that is over a minute late), `latest` (the default) or `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<String>,
    /// Only those that are no older than so many seconds. Absent: a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_window_seconds: Option<f64>,
    /// Of `all` only the newest, at most so many, up to 1000. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_max: Option<u32>,
    /// What a tick does while a run of the schedule is open: `skip` (the default), `buffer_one`, `allow` or `cancel_other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A schedule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// `active`, `paused`, or `deleted` in the answer to that.
    pub status: String,
    /// The name of the workflow.
    pub workflow: String,
    /// Its version, where that is fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The cron expression, if it goes by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The zone that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The interval in seconds, if it goes by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<f64>,
    /// How late a tick fires at most, in seconds.
    pub jitter_seconds: f64,
    /// No tick before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// No tick after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Which missed ticks are fired.
    pub catch_up: String,
    /// How old they may be, in seconds.
    pub catch_up_window_seconds: f64,
    /// How many at most.
    pub catch_up_max: u32,
    /// What a tick does while a run is open.
    pub overlap: String,
    /// When it was made, and by whom.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it was changed for the last time.
    pub changed_at: Timestamp,
    /// By whom.
    pub changed_by: String,
    /// Of a paused one: since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_reason: Option<String>,
    /// The tick that waits for the end of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffered: Option<Timestamp>,
    /// Runs that it wanted so far.
    pub fired: u64,
    /// The ticks to come, at most five; none while it is paused.
    pub next: Vec<UpcomingTick>,
    /// What became of the newest ticks, the newest first; only where one schedule is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<TickView>,
}

/// A tick to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpcomingTick {
    /// The time that it is for.
    pub tick: Timestamp,
    /// When it fires: later by its jitter.
    pub fires_at: Timestamp,
}

/// What became of a tick.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TickView {
    /// The time that it is for.
    pub tick: Timestamp,
    /// When it fired, or was refused.
    pub at: Timestamp,
    /// Whether somebody wanted it, whatever time it was.
    pub manual: bool,
    /// Its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The status of the run; `refused` where there is none, `deleted` where there is none any more; none while it is about
    /// to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why there is no run, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `GET /api/v1/schedules`, by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScheduleList {
    /// One page.
    pub schedules: Vec<ScheduleView>,
    /// The name after which the next page begins (`?after=`); none on the last one.
    #[serde(default)]
    pub next: Option<String>,
}

/// `POST /api/v1/schedules/{name}/run`: answered as the start of a run is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "V: Deserialize<'de>"))]
pub struct ScheduleRun<V = Raw> {
    /// The id of the run: wanting it again under this id starts it once. Absent: a fresh one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Another input than that of the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Secret<V>>,
}

impl<V> Default for ScheduleRun<V> {
    fn default() -> Self {
        Self { run_id: None, input: None }
    }
}
