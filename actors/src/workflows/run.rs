//! What a run is and what can happen to it. Pure: no clock, no mailbox, no database.
//!
//! A run remembers what became of each node, by its [`Key`], and what it waits for. What it does next is not here: that is
//! [`plan`](super::plan), from the definition and this.

mod event;
mod function;
mod key;
mod parts;
mod phase;
mod place;
mod stuck;

use std::collections::{BTreeMap, BTreeSet};

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use super::gate::Gate;
pub use super::gate::Vote;
use crate::fact::{Fold, Stamp};
use crate::id::{RunId, TaskId};
use crate::schedules::schedule::StartedFor;
pub use event::{Event, Inherited, Scheduled};
pub use function::Function;
pub use key::{Key, Path};
pub use parts::{Arrived, Outstanding, Parent};
pub use phase::{Command, Phase, TRANSITIONS, Verdict, allowed};
pub use place::{Place, What};
pub use stuck::{Stuck, StuckSince};

/// Most events of one run.
pub const EVENTS_MAX: u32 = 10_000;
/// Most signals that wait to be taken.
pub const SIGNALS_MAX: usize = 1_000;

/// A run, without what is sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Where its input is: the position of its first event.
    pub started: Position,
    /// When, in microseconds UTC.
    pub started_at: i64,
    /// Who started it.
    pub by: String,
    /// The name of its workflow.
    pub workflow: String,
    /// The version that it keeps.
    pub version: String,
    /// Digest of the request that started it: the same id with another request is refused.
    pub request: String,
    /// The run and the node that this one is a child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The run that it was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<RunId>,
    /// The tick of a schedule that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Box<StartedFor>>,
    /// Where its input is, where that is not beside its first event.
    pub input: Place,
    /// Where it stands.
    pub phase: Phase,
    /// What became of its nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub done: BTreeMap<Key, Done>,
    /// Steps that are tasks now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scheduled: BTreeMap<Key, Outstanding>,
    /// What it waits for besides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waits: BTreeMap<Key, Wait>,
    /// Steps that are durable functions and have not ended: what they have done.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<Key, Function>,
    /// Signals that nobody has taken, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Arrived>,
    /// Whether nothing is to be done but to wait: then nobody need have it in memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rests: bool,
    /// Of a closed child: whether the run above it has noted that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parent_told: bool,
    /// Child runs that it does not want any more, and that have not been seen to be ended.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub orphans: BTreeSet<RunId>,
    /// Why it does not go on by itself, and since when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<StuckSince>,
    /// How often it was tried again from its failure.
    #[serde(default)]
    pub round: u32,
    /// How many events it has.
    pub events: u32,
    /// Position of its last event.
    pub updated: Position,
    /// When that was, in microseconds UTC.
    pub updated_at: i64,
}

/// What a run waits for, besides tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "for")]
pub enum Wait {
    /// A time.
    Timer {
        /// In microseconds UTC.
        until: i64,
        /// Since when.
        since: i64,
    },
    /// People.
    Gate(Box<Gate>),
    /// A signal.
    Signal {
        /// Its name.
        name: String,
        /// It fails at this time, in microseconds UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<i64>,
        /// Since when.
        since: i64,
    },
    /// Another run.
    Child {
        /// Which.
        run: RunId,
        /// Since when.
        since: i64,
    },
}

/// What became of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// How it ended.
    pub outcome: Outcome,
    /// When it began to wait for work, or for something else, in microseconds UTC.
    pub since: i64,
    /// When its last attempt was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<i64>,
    /// When it ended.
    pub at: i64,
    /// How often it was claimed.
    #[serde(default)]
    pub attempts: u32,
    /// The task that it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Of a gate: who decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
}

/// How a node ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "as")]
pub enum Outcome {
    /// With this output; none: with its input.
    Completed {
        /// Where the output is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Place>,
    },
    /// It failed.
    Failed {
        /// Why, as a stable code.
        code: String,
        /// Where the text is, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Place>,
    },
}

impl Wait {
    /// When it ends by itself, in microseconds UTC.
    pub fn until(&self) -> Option<i64> {
        match self {
            Self::Timer { until, .. } => Some(*until),
            Self::Gate(gate) => gate.next_due(),
            Self::Signal { until, .. } => *until,
            Self::Child { .. } => None,
        }
    }

    /// The other run that is waited for.
    pub fn child(&self) -> Option<&RunId> {
        match self {
            Self::Child { run, .. } => Some(run),
            Self::Timer { .. } | Self::Gate(_) | Self::Signal { .. } => None,
        }
    }

    /// Since when it is waited for, in microseconds UTC.
    pub fn since(&self) -> i64 {
        match self {
            Self::Timer { since, .. } | Self::Signal { since, .. } | Self::Child { since, .. } => {
                *since
            }
            Self::Gate(gate) => gate.opened_at,
        }
    }
}

impl Run {
    /// Whether it ended, if not for ever.
    pub fn is_closed(&self) -> bool {
        self.phase.is_closed()
    }

    /// Whether it only waits: for people, signals or times, and for no task.
    pub fn is_asleep(&self) -> bool {
        self.phase == Phase::Running && self.only_waits()
    }

    /// The same, and also when it is paused.
    pub fn only_waits(&self) -> bool {
        let waits = match self.phase {
            Phase::Running => !self.waits.is_empty(),
            Phase::Paused => true,
            _ => false,
        };
        waits && self.scheduled.is_empty()
    }

    /// The run above it, where that has yet to note its end.
    pub fn owes(&self) -> Option<&Parent> {
        self.parent.as_ref().filter(|_| self.is_closed() && !self.parent_told)
    }

    /// When the first of its times comes, in microseconds UTC.
    pub fn due(&self) -> Option<i64> {
        if self.is_closed() {
            return None;
        }
        self.waits.values().filter_map(Wait::until).min()
    }

    /// The output or the error text of a closed one: where it is.
    pub fn result(&self) -> Option<Place> {
        match &self.phase {
            Phase::Completed { output, .. } => Some(output.clone()),
            Phase::Failed { error, .. } => error.clone(),
            _ => None,
        }
    }

    fn end(&mut self, key: &Key, outcome: Outcome, stamp: Stamp<'_>, seen: Option<Seen>) {
        // What is still stuck is found to be so again.
        self.stuck = None;
        let scheduled = self.scheduled.remove(key);
        let wait = self.waits.remove(key);
        let before = self.functions.get(key).filter(|function| function.leg > 0);
        let since = before.map(|function| function.since);
        let since = since.or_else(|| scheduled.as_ref().map(|step| step.since));
        let since = since.or_else(|| wait.as_ref().map(Wait::since)).unwrap_or(stamp.at);
        let (claimed_at, attempts) =
            seen.map_or((None, 0), |seen| (seen.claimed_at, seen.attempts));
        let attempts = attempts + before.map_or(0, |function| function.attempts);
        let task = scheduled.map(|step| step.task);
        let votes = match wait {
            Some(Wait::Gate(gate)) => gate.votes,
            _ => Vec::new(),
        };
        let done = Done { outcome, since, claimed_at, at: stamp.at, attempts, task, votes };
        self.end_function(key, &done.outcome);
        self.done.insert(key.clone(), done);
    }
}

/// What the dispatcher says of a closed task besides its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// How often it was claimed.
    pub attempts: u32,
    /// When the last time, in microseconds UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<i64>,
}

impl Fold for Run {
    type Event = Event;
    const KIND: &'static str = "run";

    fn kind(event: &Event) -> &'static str {
        event.kind()
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let Event::Started { run, workflow, version, request, parent, inherited, schedule, .. } =
            event
        else {
            return None;
        };
        let own = Place { at: stamp.seq, what: What::Input { run: run.clone() } };
        let mut begun = Self {
            id: run.clone(),
            started: stamp.seq,
            started_at: stamp.at,
            by: stamp.by.to_owned(),
            workflow: workflow.clone(),
            version: version.clone(),
            request: request.clone(),
            parent: parent.clone(),
            forked_from: None,
            schedule: schedule.clone(),
            input: own,
            phase: Phase::Running,
            done: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            waits: BTreeMap::new(),
            functions: BTreeMap::new(),
            signals: Vec::new(),
            rests: false,
            parent_told: false,
            orphans: BTreeSet::new(),
            stuck: None,
            round: 0,
            events: 1,
            updated: stamp.seq,
            updated_at: stamp.at,
        };
        if let Some(Inherited { run, input, done }) = inherited.as_deref() {
            begun.forked_from = Some(run.clone());
            begun.done = done.clone();
            begun.input = input.clone().unwrap_or(begun.input);
        }
        Some(begun)
    }

    fn evolve(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.updated = stamp.seq;
        self.updated_at = stamp.at;
        self.events = self.events.saturating_add(1);
        self.rests = match event {
            Event::Waiting { rests, .. } | Event::GateOpened { rests, .. } => *rests,
            Event::Rested {} => true,
            Event::GateReminded { .. } => self.rests,
            _ => false,
        };
        if matches!(event, Event::Scheduled { .. } | Event::StepSuspended { .. }) {
            self.stuck = None;
        }
        let place = |at, what| Some(Place { at, what });
        match event {
            Event::Started { .. } | Event::Rested {} => {}
            Event::Scheduled { steps } => {
                let outstanding =
                    |step: &Scheduled| Outstanding { task: step.task, since: stamp.at };
                self.scheduled.extend(steps.iter().map(|s| (s.key.clone(), outstanding(s))));
                steps.iter().for_each(|step| self.go_on(&step.key));
            }
            Event::StepCompleted { key, task, at, seen } => {
                let output = place(*at, What::Result { task: *task });
                self.end(key, Outcome::Completed { output }, stamp, Some(*seen));
            }
            Event::StepSuspended { key, task, at, seen, steps, waits } => {
                let asked = Place { at: *at, what: What::Asked { task: *task } };
                self.suspend(key, (asked, *seen), steps, waits);
            }
            Event::StepFailed { key, task, at, code, seen, steps } => {
                self.keep_steps(key, steps);
                let error = at.and_then(|at| place(at, What::Error { task: *task }));
                let outcome = Outcome::Failed { code: code.clone(), error };
                self.end(key, outcome, stamp, Some(*seen));
            }
            Event::StepDropped { key } => {
                self.orphans.extend(self.waits.get(key).and_then(Wait::child).cloned());
                let outcome = Outcome::Failed { code: "cancelled".to_owned(), error: None };
                self.end(key, outcome, stamp, None);
            }
            Event::Waiting { key, wait, .. } => {
                self.waits.insert(key.clone(), wait.clone());
            }
            Event::GateOpened { key, gate, .. } => {
                let gate = Gate { opened: stamp.seq, opened_at: stamp.at, ..(**gate).clone() };
                self.waits.insert(key.clone(), Wait::Gate(Box::new(gate)));
            }
            Event::TimerFired { key } => {
                self.end(key, Outcome::Completed { output: None }, stamp, None);
            }
            Event::GateApproved { key, vote } => self.approved(key, vote, stamp),
            Event::GateRejected { key, vote } => {
                if let Some(Wait::Gate(gate)) = self.waits.get_mut(key) {
                    gate.votes.push(vote.clone());
                }
                let outcome = Outcome::Failed { code: "rejected".to_owned(), error: None };
                self.end(key, outcome, stamp, None);
            }
            Event::GateExpired { key, approved } => {
                let outcome = match approved {
                    true => Outcome::Completed { output: None },
                    false => Outcome::Failed { code: "gate_expired".to_owned(), error: None },
                };
                self.end(key, outcome, stamp, None);
            }
            Event::GateReminded { key } => {
                if let Some(Wait::Gate(gate)) = self.waits.get_mut(key) {
                    gate.reminded_at = Some(stamp.at);
                }
            }
            Event::Signalled { name, .. } => {
                self.signals.push(Arrived { name: name.clone(), at: stamp.seq });
            }
            Event::SignalTaken { key, at } => {
                self.signals.retain(|signal| signal.at != *at);
                let output = place(*at, What::Signal { run: self.id.clone() });
                self.end(key, Outcome::Completed { output }, stamp, None);
            }
            Event::SignalMissed { key } => {
                let outcome = Outcome::Failed { code: "signal_timeout".to_owned(), error: None };
                self.end(key, outcome, stamp, None);
            }
            Event::ChildCompleted { key, run, at } => {
                let output = place(*at, What::Output { run: run.clone() });
                self.end(key, Outcome::Completed { output }, stamp, None);
            }
            Event::ChildFailed { key, run, at, code } => {
                let error = at.and_then(|at| place(at, What::Failure { run: run.clone() }));
                self.end(key, Outcome::Failed { code: code.clone(), error }, stamp, None);
            }
            Event::ParentTold {} => self.parent_told = true,
            Event::OrphanEnded { run } => drop(self.orphans.remove(run)),
            Event::Stuck { reason, why } => {
                let (reason, why) = (*reason, why.clone());
                self.stuck = Some(StuckSince { reason, why, since: stamp.at });
            }
            Event::Unstuck {} => self.stuck = None,
            Event::Revived { settled } => self.start_over(settled),
            Event::Paused { .. }
            | Event::Resumed {}
            | Event::Cancelled { .. }
            | Event::Completed { .. }
            | Event::Failed { .. }
            | Event::Discarded { .. }
            | Event::Deleted {} => self.phase = self.phase.after(event, stamp, &self.id),
        }
        if self.is_closed() {
            self.stuck = None;
            self.scheduled.clear();
            self.orphans.extend(self.waits.values().filter_map(Wait::child).cloned());
            self.waits.clear();
            // A failed one may go on: what its functions have done stays done.
            if !matches!(self.phase, Phase::Failed { .. }) {
                self.functions.clear();
            }
        }
    }

    fn open(&self) -> bool {
        let owes = self.owes().is_some() || !self.orphans.is_empty();
        if self.is_closed() { owes } else { !self.rests }
    }

    fn wakes_at(&self) -> Option<i64> {
        self.due().filter(|_| self.rests)
    }

    fn is_deleted(&self) -> bool {
        self.phase == Phase::Deleted
    }

    fn status(&self) -> &'static str {
        match self.phase {
            Phase::Running if self.is_asleep() => "waiting",
            _ => self.phase.as_str(),
        }
    }

    fn keeps_sealed(event: &Event) -> bool {
        matches!(event, Event::Completed { .. } | Event::Failed { .. } | Event::Revived { .. })
    }
}

impl Run {
    fn approved(&mut self, key: &Key, vote: &Vote, stamp: Stamp<'_>) {
        let Some(Wait::Gate(gate)) = self.waits.get_mut(key) else { return };
        gate.votes.push(vote.clone());
        if gate.is_open() {
            self.end(key, Outcome::Completed { output: None }, stamp, None);
        }
    }
}
