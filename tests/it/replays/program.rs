//! What random programs are made of, how they run as durable functions, and what they come to when they are run straight
//! through.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fleetward::worker::Ask;
use fleetward::{HandlerError, StepContext};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, select_all};
use proptest::prelude::*;

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Makes a number of the one that there is.
    Step,
    Sleep {
        seconds: u8,
    },
    Signal,
    /// A signal, for so long.
    SignalFor {
        seconds: u8,
    },
    Ask,
}

/// A piece of a program, which makes a number of the one that it is given.
#[derive(Debug, Clone)]
pub(super) enum Op {
    One(Call),
    /// All at once.
    Join(Vec<Call>),
    /// The first that is over; of several, the one that stands first.
    Race(Vec<Call>),
    /// One of two, by the number.
    Branch(Vec<Op>, Vec<Op>),
    /// Several times, unless the number is high.
    Loop(u8, Vec<Op>),
}

/// In which way a program is not what it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    /// At which call.
    pub(super) at: u32,
    /// It ends there, or else it asks for something else.
    pub(super) ends: bool,
}

/// What is known of all attempts of one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// Moments at which an attempt dies; how many of them there were.
    crashes: BTreeSet<u32>,
    moments: u32,
    /// What was asked for at each position.
    calls: BTreeMap<u32, String>,
    /// What steps came to that were kept, by position.
    kept: BTreeMap<u32, u64>,
    /// Which call of a race was over first, by the position of the race's first call.
    first: BTreeMap<u32, usize>,
    /// Whether a signal came in its time, by position.
    came: BTreeMap<u32, bool>,
    pub(super) change: Option<Change>,
}

impl Notes {
    pub(super) fn crashing(crashes: BTreeSet<u32>) -> Self {
        Self { crashes, ..Self::default() }
    }
}

pub(super) fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// What people say when they are asked this.
pub(super) fn agrees(name: &str) -> bool {
    !hash(&name).is_multiple_of(3)
}

fn made(name: &str, number: u64) -> u64 {
    hash(&(name, number)) % 1_000
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![3 => Just(Call::Step), 2 => wait()]
}

fn wait() -> impl Strategy<Value = Call> {
    prop_oneof![
        (1_u8..20).prop_map(|seconds| Call::Sleep { seconds }),
        Just(Call::Signal),
        (1_u8..20).prop_map(|seconds| Call::SignalFor { seconds }),
        Just(Call::Ask),
    ]
}

/// Programs.
pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let several = prop::collection::vec(call(), 1..4);
    let waits = prop::collection::vec(wait(), 1..4);
    let leaf = prop_oneof![
        4 => call().prop_map(Op::One),
        1 => several.prop_map(Op::Join),
        1 => waits.prop_map(Op::Race),
    ];
    let op = leaf.prop_recursive(2, 8, 3, |inside| {
        let ops = prop::collection::vec(inside, 1..4);
        prop_oneof![
            (ops.clone(), ops.clone()).prop_map(|(even, odd)| Op::Branch(even, odd)),
            (1_u8..4, ops).prop_map(|(times, ops)| Op::Loop(times, ops)),
        ]
    });
    prop::collection::vec(op, 1..5)
}

type Number = Result<u64, HandlerError>;

/// One attempt at a program.
pub(super) struct Attempt {
    cx: StepContext,
    notes: Arc<Mutex<Notes>>,
    /// The position of the next call.
    next: Mutex<u32>,
}

impl Attempt {
    pub(super) fn new(cx: StepContext, notes: Arc<Mutex<Notes>>) -> Self {
        Self { cx, notes, next: Mutex::new(0) }
    }

    pub(super) fn run<'a>(&'a self, ops: &'a [Op], mut number: u64) -> BoxFuture<'a, Number> {
        async move {
            for op in ops {
                if self.is_over() {
                    break;
                }
                number = self.op(op, number).await?;
                self.moment()?;
            }
            Ok(number)
        }
        .boxed()
    }

    async fn op(&self, op: &Op, number: u64) -> Number {
        match op {
            Op::One(call) => self.call(*call, number).await,
            Op::Join(calls) => {
                let all = join_all(calls.iter().map(|call| self.call(*call, number)));
                let all: Result<Vec<_>, _> = all.await.into_iter().collect();
                Ok(hash(&all?) % 1_000)
            }
            Op::Race(calls) => {
                let at = *self.next.lock().unwrap();
                let all = calls.iter().map(|call| self.call(*call, number));
                let (first, which, _) = select_all(all).await;
                let first = first?;
                if self.is_over() {
                    return Ok(number);
                }
                let before = self.notes().first.insert(at, which);
                assert!(
                    before.is_none_or(|before| before == which),
                    "{at}: {before:?} and {which}"
                );
                Ok(hash(&(which, first)) % 1_000)
            }
            Op::Branch(even, odd) => {
                self.run(if number.is_multiple_of(2) { even } else { odd }, number).await
            }
            Op::Loop(times, ops) => {
                let mut number = number;
                for _ in 0..*times {
                    if number > 800 || self.is_over() {
                        break;
                    }
                    number = self.run(ops, number).await?;
                }
                Ok(number)
            }
        }
    }

    /// Asks at once, before it is waited for.
    fn call(&self, call: Call, number: u64) -> BoxFuture<'_, Number> {
        let at = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next - 1
        };
        let name = name(call, at);
        let is_past = |change: &Change| change.at == at || change.ends && change.at < at;
        let changed = self.notes().change.filter(is_past);
        match changed {
            Some(Change { ends: true, .. }) => return async move { Ok(number) }.boxed(),
            Some(_) => {
                let other = self.cx.step(&format!("not {name}"), || async { Ok(0_u64) });
                return other.boxed();
            }
            None => {}
        }
        let before = self.notes().calls.insert(at, name.clone());
        assert!(before.as_ref().is_none_or(|before| *before == name), "{before:?}, then {name}");
        match call {
            Call::Step => self.step(at, name, number),
            Call::Sleep { seconds } => {
                let slept = self.cx.sleep(Duration::from_secs(seconds.into()));
                async move { slept.await.map(|()| number) }.boxed()
            }
            Call::Signal => self.cx.wait_signal::<u64>(&name).boxed(),
            Call::SignalFor { seconds } => {
                let time = Duration::from_secs(seconds.into());
                let came = self.cx.wait_signal_for::<u64>(&name, time);
                async move {
                    let came = came.await?;
                    let before = self.notes().came.insert(at, came.is_some());
                    assert!(before.is_none_or(|before| before == came.is_some()), "{before:?}");
                    Ok(came.unwrap_or(number))
                }
                .boxed()
            }
            Call::Ask => {
                let asked = self.cx.decision(&name, Ask::new("?").requester_may_approve());
                async move { Ok(number + u64::from(asked.await?.approved)) }.boxed()
            }
        }
    }

    fn step(&self, at: u32, name: String, number: u64) -> BoxFuture<'_, Number> {
        let notes = self.notes.clone();
        let step = self.cx.step(&name.clone(), move || async move {
            let known = notes.lock().unwrap().kept.get(&at).copied();
            assert_eq!(known, None, "what was kept of {name} is done again");
            moment(&notes)?;
            Ok(made(&name, number))
        });
        async move {
            let value = step.await?;
            let before = self.notes().kept.insert(at, value);
            assert!(before.is_none_or(|before| before == value), "{before:?}, then {value}");
            Ok(value)
        }
        .boxed()
    }

    /// Whether the program was changed to end before now.
    fn is_over(&self) -> bool {
        let next = *self.next.lock().unwrap();
        self.notes().change.is_some_and(|change| change.ends && change.at < next)
    }

    fn moment(&self) -> Result<(), HandlerError> {
        moment(&self.notes)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }
}

/// The attempt may die here: it fails, or its code panics.
fn moment(notes: &Mutex<Notes>) -> Result<(), HandlerError> {
    let moment = {
        let mut notes = notes.lock().unwrap();
        notes.moments += 1;
        let moment = notes.moments;
        notes.crashes.contains(&moment).then_some(moment)
    };
    match moment {
        None => Ok(()),
        Some(moment) if moment.is_multiple_of(2) => {
            Err(HandlerError::retryable(std::io::Error::other("it dies")))
        }
        Some(_) => std::panic::panic_any("it dies"),
    }
}

/// The name of a call, which no other call of its run has.
fn name(call: Call, at: u32) -> String {
    match call {
        Call::Sleep { .. } => "sleep".to_owned(),
        Call::Step => format!("step{at}"),
        Call::Signal | Call::SignalFor { .. } => format!("signal{at}"),
        Call::Ask => format!("ask{at}"),
    }
}

/// What a program comes to when nothing dies, and nothing is waited for; which call of a race is over first, and whether a
/// signal comes in its time, is not for it to say.
pub(super) fn straight(ops: &[Op], input: u64, notes: &Notes) -> u64 {
    Straight { notes, next: 0 }.run(ops, input)
}

struct Straight<'a> {
    notes: &'a Notes,
    next: u32,
}

impl Straight<'_> {
    fn run(&mut self, ops: &[Op], input: u64) -> u64 {
        ops.iter().fold(input, |number, op| self.op(op, number))
    }

    fn op(&mut self, op: &Op, number: u64) -> u64 {
        match op {
            Op::One(call) => self.call(*call, number),
            Op::Join(calls) => {
                let all: Vec<_> = calls.iter().map(|call| self.call(*call, number)).collect();
                hash(&all) % 1_000
            }
            Op::Race(calls) => {
                let which = self.notes.first[&self.next];
                let all: Vec<_> = calls.iter().map(|call| self.call(*call, number)).collect();
                hash(&(which, all[which])) % 1_000
            }
            Op::Branch(even, odd) => {
                self.run(if number.is_multiple_of(2) { even } else { odd }, number)
            }
            Op::Loop(times, ops) => {
                (0..*times).fold(
                    number,
                    |number, _| {
                        if number > 800 { number } else { self.run(ops, number) }
                    },
                )
            }
        }
    }

    fn call(&mut self, call: Call, number: u64) -> u64 {
        let at = self.next;
        self.next += 1;
        let name = name(call, at);
        match call {
            Call::Step => made(&name, number),
            Call::Sleep { .. } => number,
            Call::Signal => hash(&name) % 1_000,
            Call::SignalFor { .. } if self.notes.came.get(&at) == Some(&true) => {
                hash(&name) % 1_000
            }
            Call::SignalFor { .. } => number,
            Call::Ask => number + u64::from(agrees(&name)),
        }
    }
}
