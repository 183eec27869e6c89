//! What a plan wants next, without borrowing from it, and whether an event is one of these things. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetward_store::Position;
use serde_json::Value;

use super::Recorded;
use crate::seal::CellKey;
use crate::workflows::definition::{Approvers, Kind, OnExpiry};
use crate::workflows::gate::{self, Gate};
use crate::workflows::plan::{Begin, Next, Plan, Waits};
use crate::workflows::run::{EVENTS_MAX, Event, Key, Run, Scheduled, Wait};

/// Everything that a plan wants next.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub(super) begin: BTreeMap<Key, Begins>,
    pub(super) take: BTreeMap<Key, Position>,
    pub(super) drop: BTreeSet<Key>,
    pub(super) end: Option<End>,
}

/// One thing that a plan wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// `step`, `timer`, `signal`, `approval`, `child`, `take`, `drop`, `complete` or `fail`.
    pub what: &'static str,
    /// At which node.
    pub key: Option<Key>,
    /// Of a failure: why, as a stable code.
    pub code: Option<String>,
}

/// A node that begins.
#[derive(Debug, Clone)]
pub(super) enum Begins {
    Step { handler: Option<String>, input: Arc<Value> },
    For(u64),
    Until(i64),
    Signal { name: String, timeout_ms: Option<u64> },
    Gate { rules: Box<Rules>, prompt: String, context: Arc<Value>, input: Arc<Value> },
    Child { workflow: String, input: Arc<Value> },
}

/// Who may decide at a gate, by when.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    approvers: Approvers,
    expires_ms: Option<u64>,
    on_expiry: OnExpiry,
}

/// How a run ends.
#[derive(Debug, Clone)]
pub(super) enum End {
    Completed(Arc<Value>),
    Failed { key: Option<Key>, code: String },
}

/// One thing that an event says was begun, taken, dropped or ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed<'e> {
    Step(&'e Scheduled),
    Wait(&'e Key, &'e Wait),
    Gate(&'e Key, &'e Gate),
    Take(&'e Key, Position),
    Drop(&'e Key),
    Complete(&'e str),
    Fail(Option<&'e Key>, &'e str),
}

/// Whether a deed was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Wanted,
    /// It was, but not so; in words.
    Otherwise(String),
    NotWanted,
}

impl<'e> Deed<'e> {
    /// What an event says was done because the plan wanted it; none: something came from outside.
    pub(super) fn all(event: &'e Event) -> Vec<Self> {
        match event {
            Event::Scheduled { steps } => steps.iter().map(Self::Step).collect(),
            Event::Waiting { key, wait, .. } => vec![Self::Wait(key, wait)],
            Event::GateOpened { key, gate, .. } => vec![Self::Gate(key, gate)],
            Event::SignalTaken { key, at } => vec![Self::Take(key, *at)],
            Event::StepDropped { key } => vec![Self::Drop(key)],
            Event::Completed { digest } => vec![Self::Complete(digest)],
            Event::Failed { key, code, .. } => vec![Self::Fail(key.as_ref(), code)],
            _ => Vec::new(),
        }
    }

    pub(super) fn key(&self) -> Option<&'e Key> {
        match *self {
            Self::Step(step) => Some(&step.key),
            Self::Wait(key, _) | Self::Gate(key, _) | Self::Take(key, _) | Self::Drop(key) => {
                Some(key)
            }
            Self::Complete(_) => None,
            Self::Fail(key, _) => key,
        }
    }

    /// In words, as what the record says.
    pub(super) fn words(&self) -> String {
        match *self {
            Self::Step(step) => format!("step {} became a task", step.key),
            Self::Wait(key, Wait::Timer { .. }) => format!("{key} began to wait for a time"),
            Self::Wait(key, Wait::Signal { name, .. }) => {
                format!("{key} began to wait for the signal {name}")
            }
            Self::Wait(key, _) => format!("{key} began a child run"),
            Self::Gate(key, _) => format!("people were asked at {key}"),
            Self::Take(key, _) => format!("{key} took a signal"),
            Self::Drop(key) => format!("{key} was dropped"),
            Self::Complete(_) => "the run completed".to_owned(),
            Self::Fail(Some(key), code) => format!("the run failed at {key} ({code})"),
            Self::Fail(None, code) => format!("the run failed ({code})"),
        }
    }
}

impl Wanted {
    /// What a plan wants.
    pub(super) fn of(plan: Plan<'_>) -> Self {
        let end = plan.end.map(|end| match end {
            Ok(value) => End::Completed(value),
            Err(failure) => End::Failed { key: failure.key, code: failure.code },
        });
        let mut begin: BTreeMap<_, _> = plan.schedule.into_iter().map(step).collect();
        begin.extend(plan.wait.into_iter().map(wait));
        Self { begin, take: plan.take.into_iter().collect(), drop: plan.drop, end }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.begin.is_empty() && self.take.is_empty() && self.drop.is_empty() && self.end.is_none()
    }

    /// One by one.
    pub fn list(&self) -> Vec<Want> {
        let want = |what, key: &Key| Want { what, key: Some(key.clone()), code: None };
        let mut all: Vec<_> = self.drop.iter().map(|key| want("drop", key)).collect();
        all.extend(self.take.keys().map(|key| want("take", key)));
        all.extend(self.begin.iter().map(|(key, begins)| want(begins.word(), key)));
        all.extend(self.end.as_ref().map(|end| match end {
            End::Completed(_) => Want { what: "complete", key: None, code: None },
            End::Failed { key, code } => {
                Want { what: "fail", key: key.clone(), code: Some(code.clone()) }
            }
        }));
        all
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        let all: Vec<_> = self.list().iter().map(Want::words).collect();
        match all.as_slice() {
            [] => "nothing".to_owned(),
            all => all.join(", "),
        }
    }

    /// Whether a deed is one of these; it is not wanted again then.
    pub(super) fn judge(
        &mut self,
        deed: Deed<'_>,
        run: &Run,
        (recorded, key): (&Recorded, &CellKey),
    ) -> Verdict {
        let wrong = match deed {
            Deed::Step(step) => match self.begin.get(&step.key) {
                Some(Begins::Step { handler, input }) => {
                    recorded.step(step, (handler.as_ref(), input), key)
                }
                _ => return Verdict::NotWanted,
            },
            Deed::Wait(at, wait) => match self.begin.get(at) {
                Some(begins) => match begins.waits(wait, (recorded, key)) {
                    Some(wrong) => wrong,
                    None => return Verdict::NotWanted,
                },
                None => return Verdict::NotWanted,
            },
            Deed::Gate(at, gate) => match self.begin.get(at) {
                Some(Begins::Gate { rules, prompt, context, input }) => {
                    asks(gate, rules, key.digest(&gate::seen(&gate::asked(prompt, context), input)))
                }
                _ => return Verdict::NotWanted,
            },
            Deed::Take(at, signal) => match self.take.get(at) {
                Some(wanted) if *wanted == signal => None,
                Some(wanted) => Some(format!("it was to take the signal of event {wanted}")),
                None => return Verdict::NotWanted,
            },
            Deed::Drop(at) if self.drop.contains(at) => None,
            Deed::Drop(_) => return Verdict::NotWanted,
            Deed::Complete(digest) => match &self.end {
                Some(End::Completed(value)) => {
                    let bytes = serde_json::to_vec(&**value).expect("JSON is written as JSON");
                    let other = key.digest(&bytes) != digest;
                    other.then(|| "its output was to be another".to_owned())
                }
                _ => return Verdict::NotWanted,
            },
            Deed::Fail(at, code) => {
                if !self.fails(at, code, run) {
                    return Verdict::NotWanted;
                }
                None
            }
        };
        self.done(deed);
        wrong.map_or(Verdict::Wanted, Verdict::Otherwise)
    }

    fn done(&mut self, deed: Deed<'_>) {
        match deed {
            Deed::Step(Scheduled { key, .. }) | Deed::Wait(key, _) | Deed::Gate(key, _) => {
                self.begin.remove(key);
            }
            Deed::Take(key, _) => drop(self.take.remove(key)),
            Deed::Drop(key) => drop(self.drop.remove(key)),
            // What was about to begin does not: the run is over.
            Deed::Complete(_) | Deed::Fail(..) => (self.end, self.begin) = Default::default(),
        }
    }

    /// Whether a failure is the one that is wanted, or that of a limit that what is wanted ran into.
    fn fails(&self, at: Option<&Key>, code: &str, run: &Run) -> bool {
        if let Some(End::Failed { key, code: wanted }) = &self.end
            && (key.as_ref(), wanted.as_str()) == (at, code)
        {
            return true;
        }
        let begins = at.and_then(|at| self.begin.get(at));
        match code {
            "too_many_events" => run.events >= EVENTS_MAX,
            "output_too_large" => matches!(self.end, Some(End::Completed(_))),
            "input_too_large" => matches!(begins, Some(Begins::Step { .. })),
            "prompt_too_large" => matches!(begins, Some(Begins::Gate { .. })),
            "too_deep" => matches!(begins, Some(Begins::Child { .. })),
            _ => false,
        }
    }
}

impl Want {
    /// In words: `step draft`.
    pub fn words(&self) -> String {
        let key = self.key.as_ref().map_or(String::new(), |key| format!(" {key}"));
        let code = self.code.as_ref().map_or(String::new(), |code| format!(" ({code})"));
        format!("{}{key}{code}", self.what)
    }
}

impl Begins {
    fn word(&self) -> &'static str {
        match self {
            Self::Step { .. } => "step",
            Self::For(_) | Self::Until(_) => "timer",
            Self::Signal { .. } => "signal",
            Self::Gate { .. } => "approval",
            Self::Child { .. } => "child",
        }
    }

    /// What is wrong with a wait, if it is of this kind.
    fn waits(&self, wait: &Wait, (recorded, key): (&Recorded, &CellKey)) -> Option<Option<String>> {
        let wrong = match (self, wait) {
            (Self::For(ms), Wait::Timer { until, since }) => {
                let wanted = since.saturating_add_unsigned(ms.saturating_mul(1_000));
                (*until != wanted).then(|| format!("it was to last {ms} ms"))
            }
            (Self::Until(at), Wait::Timer { until, .. }) => {
                (until != at).then(|| "it was to be another time".to_owned())
            }
            (Self::Signal { name, timeout_ms }, Wait::Signal { name: has, until, since }) => {
                let wanted =
                    timeout_ms.map(|ms| since.saturating_add_unsigned(ms.saturating_mul(1_000)));
                if name != has {
                    Some(format!("it was to be the signal {name}"))
                } else {
                    (*until != wanted).then(|| "its time was to end otherwise".to_owned())
                }
            }
            (Self::Child { workflow, input }, Wait::Child { run, .. }) => {
                recorded.child(run, (workflow, input), key)
            }
            _ => return None,
        };
        Some(wrong)
    }
}

fn asks(gate: &Gate, rules: &Rules, digest: String) -> Option<String> {
    let ends =
        rules.expires_ms.map(|ms| gate.opened_at.saturating_add_unsigned(ms.saturating_mul(1_000)));
    let wrong = if gate.digest != digest {
        "people were to be asked or shown something else"
    } else if gate.approvers != rules.approvers {
        "other people were to decide"
    } else if (gate.expires_at, gate.on_expiry) != (ends, rules.on_expiry) {
        "its time was to end otherwise"
    } else {
        return None;
    };
    Some(wrong.to_owned())
}

fn step(next: Next<'_>) -> (Key, Begins) {
    let handler = match &next.node.kind {
        Kind::Step(step) => step.handler.clone(),
        _ => None,
    };
    (next.key, Begins::Step { handler, input: next.input })
}

fn wait(begin: Begin<'_>) -> (Key, Begins) {
    let begins = match begin.what {
        Waits::For(ms) => Begins::For(ms),
        Waits::Until(at) => Begins::Until(at),
        Waits::Signal { name, timeout_ms } => Begins::Signal { name: name.to_owned(), timeout_ms },
        Waits::Gate { rules, prompt, context, input } => {
            let rules = Box::new(Rules {
                approvers: rules.approvers.clone(),
                expires_ms: rules.expires_ms,
                on_expiry: rules.on_expiry,
            });
            Begins::Gate { rules, prompt, context, input }
        }
        Waits::Child { workflow, input, .. } => {
            Begins::Child { workflow: workflow.to_owned(), input }
        }
    };
    (begin.key, begins)
}
