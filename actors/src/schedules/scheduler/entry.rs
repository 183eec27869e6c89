//! One schedule in a scheduler's memory: what it does when its time comes.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_runtime::{Reply, Timer};

use super::message::Ran;
use super::start::Order;
use crate::cause::Cause;
use crate::error::{Error, Refusal};
use crate::fact::Fold;
use crate::id::RunId;
use crate::journal::Draft;
use crate::schedules::calendar::Calendar;
use crate::schedules::policy::{self, Step, View};
use crate::schedules::schedule::{Event, Occasion, Refused, Schedule, StartedFor};
use crate::schedules::spec::Overlap;
use crate::seal::Sealed;
use crate::workflows::shelf::Shelf;

/// Runs of one schedule that may be on their way to their start: fewer than it remembers, so that a crash loses none.
pub(super) const STARTING_MAX: usize = 8;
/// Most that one schedule does at a time; others have their turn then.
const STEPS_MAX: usize = 64;

/// A schedule, and what is known of it that is no event.
pub(super) struct Entry {
    pub(super) schedule: Schedule,
    pub(super) calendar: Calendar,
    /// When it is looked at again.
    pub(super) due: Option<i64>,
    /// Runs that are wanted, and of which it is not known that they began.
    pub(super) starting: BTreeMap<RunId, Starting>,
    /// Whether its runs are being asked after.
    pub(super) looking: bool,
    /// Runs that are closed.
    closed: BTreeSet<RunId>,
}

/// A run that is on its way to its start.
#[derive(Debug, Default)]
pub(super) struct Starting {
    /// Who waits for it.
    pub(super) reply: Option<Reply<Result<Ran, Error>>>,
    /// It is tried again then.
    pub(super) again: Option<Timer>,
}

/// What a schedule comes to at a time.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Runs to be started.
    pub(super) orders: Vec<Order>,
    /// Runs to be asked after.
    pub(super) look: Option<Vec<RunId>>,
}

impl Entry {
    pub(super) fn new(schedule: Schedule) -> Self {
        let calendar = schedule.spec.calendar(schedule.id).unwrap_or_else(|refusal| {
            // It was taken once: this build does not know its zone any more. It waits for another.
            let name = &schedule.name;
            tracing::error!(%name, %refusal, "a schedule cannot be understood, and has no ticks");
            Calendar::never()
        });
        let (starting, closed) = (BTreeMap::new(), BTreeSet::new());
        Self { schedule, calendar, due: None, starting, looking: false, closed }
    }

    /// Applies a fact about the schedule.
    pub(super) fn note(
        &mut self,
        event: &Event,
        by: &Cause,
        sealed: Option<Sealed>,
        draft: &mut Draft<'_>,
    ) {
        let stamp = draft.push::<Schedule>(self.schedule.id, event, by, sealed);
        self.schedule.evolve(event, stamp);
    }

    /// Does what is to be done at `now`, as far as that can be done at once. `open`: those of its runs that are, where
    /// somebody looked a moment ago.
    pub(super) fn go_on(
        &mut self,
        now: i64,
        open: Option<&[RunId]>,
        shelf: &Shelf,
        draft: &mut Draft<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if self.looking || self.schedule.deleted || self.schedule.paused.is_some() {
            self.due = None;
            return outcome;
        }
        let by = Cause::system();
        for _ in 0..STEPS_MAX {
            match policy::next(&self.view(now, open)) {
                Step::Wait(until) => {
                    self.due = until;
                    return outcome;
                }
                Step::Look => {
                    (self.looking, self.due) = (true, None);
                    outcome.look = Some(self.perhaps_open());
                    return outcome;
                }
                Step::Skip { until, why } => {
                    self.note(&Event::Skipped { until, why }, &by, None, draft);
                }
                Step::Buffer { tick } => self.note(&Event::Buffered { tick }, &by, None, draft),
                Step::Fire { tick, buffered, cancel } => {
                    let cancel = open.filter(|_| cancel).unwrap_or_default().to_vec();
                    let order = self.fire((tick, buffered), shelf, draft);
                    outcome.orders.extend(order.map(|order| Order { cancel, ..order }));
                }
            }
        }
        self.due = Some(now);
        outcome
    }

    fn view<'a>(&'a self, now: i64, open: Option<&[RunId]>) -> View<'a> {
        View {
            spec: &self.schedule.spec,
            calendar: &self.calendar,
            last: self.schedule.last,
            buffered: self.schedule.buffered,
            now,
            open: open.map(|open| !open.is_empty()),
            room: STARTING_MAX.saturating_sub(self.starting.len()),
            starting: !self.starting.is_empty(),
        }
    }

    /// A tick fires, or is refused.
    fn fire(
        &mut self,
        (tick, buffered): (i64, bool),
        shelf: &Shelf,
        draft: &mut Draft<'_>,
    ) -> Option<Order> {
        let by = Cause::system();
        let version = match self.version(shelf) {
            Ok(version) => version,
            Err(refusal) => {
                let why = refused(&refusal);
                self.note(&Event::Refused { tick, run: None, why }, &by, None, draft);
                return None;
            }
        };
        let run = self.schedule.run_of(tick);
        let fired = Event::Fired {
            tick,
            run: run.clone(),
            version,
            manual: false,
            buffered,
            own_input: false,
        };
        self.note(&fired, &by, None, draft);
        metrics::counter!("fleetward_schedules_fired_total").increment(1);
        self.starting.insert(run.clone(), Starting::default());
        self.order(&run)
    }

    /// The version that a run is to keep.
    pub(super) fn version(&self, shelf: &Shelf) -> Result<String, Refusal> {
        let spec = &self.schedule.spec;
        let conflict = |code, detail| Refusal::new(crate::Kind::Conflict, code, detail);
        let known = shelf.get(&spec.workflow).ok_or_else(|| {
            let detail = format!("there is no workflow {}; apply it", spec.workflow);
            conflict("no_such_workflow", detail)
        })?;
        if known.retired {
            let detail = format!("the workflow {} is retired; apply it again", spec.workflow);
            return Err(conflict("workflow_retired", detail));
        }
        Ok(spec.version.clone().unwrap_or_else(|| known.latest.clone()))
    }

    /// What is to be started for a run that is wanted.
    pub(super) fn order(&self, run: &RunId) -> Option<Order> {
        let schedule = &self.schedule;
        let (Occasion { tick, version, input_at, .. }, _) =
            schedule.runs().find(|(_, wanted)| *wanted == run)?;
        let started_for =
            StartedFor { schedule: schedule.id, name: schedule.name.clone(), tick: *tick };
        Some(Order {
            run: run.clone(),
            workflow: schedule.spec.workflow.clone(),
            version: version.clone()?,
            input_at: *input_at,
            started_for,
            cancel: Vec::new(),
        })
    }

    /// The same once more: which runs were to be cancelled before is not on record.
    pub(super) fn order_again(&self, run: &RunId) -> Option<Order> {
        let order = self.order(run)?;
        let cancel = match self.schedule.spec.overlap {
            Overlap::CancelOther => {
                let earlier = self.schedule.runs().map(|(_, wanted)| wanted);
                earlier.take_while(|wanted| *wanted != run).cloned().collect()
            }
            _ => Vec::new(),
        };
        Some(Order { cancel, ..order })
    }

    /// Runs that were wanted last: in an earlier life some of them may not have begun.
    pub(super) fn last_wanted(&self) -> Vec<RunId> {
        self.schedule.runs().rev().take(STARTING_MAX).map(|(_, run)| run.clone()).collect()
    }

    /// Runs of which it is not known that they are closed.
    fn perhaps_open(&self) -> Vec<RunId> {
        let runs = self.schedule.runs().map(|(_, run)| run);
        runs.filter(|run| !self.closed.contains(*run)).cloned().collect()
    }

    /// These runs are closed.
    pub(super) fn ended(&mut self, runs: impl IntoIterator<Item = RunId>) {
        self.closed.extend(runs);
        let known: BTreeSet<_> = self.schedule.runs().map(|(_, run)| run.clone()).collect();
        self.closed.retain(|run| known.contains(run));
    }
}

/// What the record keeps of a refusal.
pub(super) fn refused(refusal: &Refusal) -> Refused {
    Refused { code: refusal.code.to_owned(), detail: refusal.detail.clone() }
}
