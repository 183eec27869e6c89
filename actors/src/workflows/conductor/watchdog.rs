//! Whether a run goes on: who has something to do and does not is said to be stuck, on record and once. What nothing is to be
//! done for but to wait is not.

use chrono::{DateTime, SecondsFormat};
use fleetward_runtime::Context;

use super::State;
use super::message::{Message, Stands};
use crate::cause::Cause;
use crate::workflows::run::{Event, Key, Phase, Run, Stuck};

/// A run that is counted as stuck, for as long as its conductor lives and says so.
pub(super) struct Counted(Stuck);

impl Counted {
    fn new(reason: Stuck) -> Self {
        metrics::gauge!("fleetward_runs_stuck", "reason" => reason.as_str()).increment(1);
        Self(reason)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("fleetward_runs_stuck", "reason" => self.0.as_str()).decrement(1);
    }
}

impl State {
    /// Puts on record whether it is stuck, where that has changed. `found`: how its tasks stand.
    pub(super) fn watch_over(&mut self, found: &[(Key, Stands)], cx: &Context<Message>) {
        let Some(run) = self.run.as_ref().filter(|run| !run.is_closed()) else { return };
        let now = cx.clock().wall_us();
        let known = run.stuck.as_ref().map(|stuck| stuck.reason);
        let event = match self.why_stuck(run, found, now) {
            Some((reason, why)) if known != Some(reason) => Event::Stuck { reason, why },
            None if known.is_some() => Event::Unstuck {},
            _ => return,
        };
        let log = self.log.clone();
        let mut draft = log.begin(now);
        self.note(&event, &Cause::system(), None, &mut draft);
        draft.submit();
    }

    fn why_stuck(&self, run: &Run, found: &[(Key, Stands)], now: i64) -> Option<(Stuck, String)> {
        if let Some(why) = &self.stuck {
            let lost =
                if self.definition.is_none() { Stuck::NoDefinition } else { Stuck::ValueLost };
            return Some((lost, why.clone()));
        }
        let bound = i64::try_from(self.args.config.stuck_after.as_micros()).unwrap_or(i64::MAX);
        let long = |since: i64| now.saturating_sub(since) >= bound;
        let unclaimed = |(key, stands): &(Key, Stands)| {
            let step = run.scheduled.get(key)?;
            let waits = matches!(stands, Stands::Unclaimed) && long(step.since);
            waits.then(|| (key.clone(), step.since))
        };
        if let Some((key, since)) = found.iter().find_map(unclaimed) {
            let why = format!("no worker has taken {key} since {}", time(since));
            return Some((Stuck::Unclaimed, why));
        }
        let waits = !run.scheduled.is_empty() || !run.waits.is_empty();
        let idle = run.phase == Phase::Running && !waits && long(run.updated_at);
        idle.then(|| {
            let why =
                format!("it waits for nothing, and nothing happens since {}", time(run.updated_at));
            (Stuck::Idle, why)
        })
    }

    /// Keeps the count in step with the record.
    pub(super) fn count_stuck(&mut self) {
        let reason = self.run.as_ref().and_then(|run| Some(run.stuck.as_ref()?.reason));
        if self.counted.as_ref().map(|counted| counted.0) != reason {
            self.counted = reason.map(Counted::new);
        }
    }
}

fn time(us: i64) -> String {
    DateTime::from_timestamp_micros(us)
        .map_or_else(|| us.to_string(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
