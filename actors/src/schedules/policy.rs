//! What a schedule does now: which ticks are let go, which fire, and what waits. Pure: time, ticks and open runs come in.

use super::calendar::{Calendar, Due};
use super::spec::{Missed, Overlap, Spec};

/// A tick that is no later than this is not missed, in microseconds: starting anew takes a while.
const LATE: i64 = 60_000_000;
/// Most ticks of the last minute that a schedule fires that does not catch up.
const LATE_MAX: usize = 100;
/// When to look again whether a run is still open that somebody waits for, in microseconds. Mostly it says so itself.
const LOOK_AGAIN: i64 = 30_000_000;

/// What is known.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// What it is told to do.
    pub spec: &'a Spec,
    /// When its ticks are.
    pub calendar: &'a Calendar,
    /// Ticks up to this one are settled.
    pub last: i64,
    /// A tick that waits for the end of a run.
    pub buffered: Option<i64>,
    /// This moment, in microseconds UTC.
    pub now: i64,
    /// Whether a run of it is open; none: nobody has looked.
    pub open: Option<bool>,
    /// How many runs may be on their way to their start, besides those that are.
    pub room: usize,
    /// Whether any is.
    pub starting: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time; none: nothing until something else happens.
    Wait(Option<i64>),
    /// Look whether a run of it is open, and ask again.
    Look,
    /// Ticks up to this one do not fire.
    Skip {
        /// The last of them.
        until: i64,
        /// Why.
        why: Why,
    },
    /// This tick waits for the end of the run that is open.
    Buffer {
        /// Which.
        tick: i64,
    },
    /// This tick fires.
    Fire {
        /// Which.
        tick: i64,
        /// Whether that is the one that waited.
        buffered: bool,
        /// Whether the run that is open is cancelled.
        cancel: bool,
    },
}

/// Why ticks do not fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Their time came when nobody could fire them.
    Missed,
    /// A run of the schedule was open.
    Overlap,
}

/// The next thing to do. Whoever does it asks again.
pub fn next(view: &View<'_>) -> Step {
    let alone = view.spec.overlap != Overlap::Allow;
    if let Some(step) = waiting_one(view) {
        return step;
    }
    let due = due(view);
    if let Some(until) = due.left_out {
        return Step::Skip { until, why: Why::Missed };
    }
    let Some(tick) = due.ticks.first().copied() else {
        let next = view.calendar.next_after(view.last).map(|tick| view.calendar.fires_at(tick));
        let again = view.buffered.map(|_| view.now + LOOK_AGAIN);
        return Step::Wait(next.into_iter().chain(again).min());
    };
    // What has not begun is neither open nor over: the next tick waits for that.
    if view.room == 0 || (alone && view.starting) {
        return Step::Wait(None);
    }
    let fire = |cancel| Step::Fire { tick, buffered: false, cancel };
    match (view.spec.overlap, view.open) {
        (Overlap::Allow, _) => fire(false),
        (_, None) => Step::Look,
        (_, Some(false)) if view.buffered.is_none() => fire(false),
        (Overlap::CancelOther, _) => fire(true),
        (Overlap::BufferOne, _) if view.buffered.is_none() => Step::Buffer { tick },
        (Overlap::BufferOne | Overlap::Skip, _) => {
            let until = due.ticks.last().copied().unwrap_or(tick);
            Step::Skip { until, why: Why::Overlap }
        }
    }
}

/// What becomes of a tick that waits for the end of a run.
fn waiting_one(view: &View<'_>) -> Option<Step> {
    let tick = view.buffered?;
    match view.open {
        _ if view.room == 0 || view.starting => Some(Step::Wait(None)),
        None => Some(Step::Look),
        Some(false) => Some(Step::Fire { tick, buffered: true, cancel: false }),
        // It is not told to wait any more.
        Some(true) if view.spec.overlap != Overlap::BufferOne => {
            let cancel = view.spec.overlap == Overlap::CancelOther;
            Some(Step::Fire { tick, buffered: true, cancel })
        }
        Some(true) => None,
    }
}

/// The ticks that are to fire now, as far as catching up goes.
fn due(view: &View<'_>) -> Due {
    let catch_up = view.spec.catch_up;
    let window = i64::try_from(catch_up.window_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
    let (since, most) = match catch_up.policy {
        Missed::Skip => (LATE, LATE_MAX),
        Missed::Latest => (window, 1),
        Missed::All => (window, catch_up.most as usize),
    };
    let Due { mut ticks, mut left_out } = view.calendar.due(view.last, view.now, most);
    let oldest = view.now.saturating_sub(since);
    // A tick is as late as it fires late: its jitter is no delay.
    let old = ticks.iter().take_while(|tick| view.calendar.fires_at(**tick) < oldest).count();
    left_out = ticks.drain(..old).next_back().or(left_out);
    Due { ticks, left_out }
}

#[cfg(test)]
mod tests;
