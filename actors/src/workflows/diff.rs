//! Two runs side by side: what they were given, what their definitions say, what became of each node, and where they
//! first part. Pure.

mod structure;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::definition::Definition;
use super::run::{Key, Outcome, Place, Run};
use crate::id::WorkerId;
use structure::structure;
pub use structure::{Change, NodeChange};

/// One of the two.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The run.
    pub run: &'a Run,
    /// What its version says.
    pub definition: &'a Definition,
    /// What the record says of its values, by where they are.
    pub told: &'a BTreeMap<Place, Told>,
}

/// What the record says of a value, in the open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Its keyed digest: the same for the same value.
    pub digest: Option<String>,
    /// Who said it.
    pub worker: Option<WorkerId>,
}

/// Where two runs differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Whether they were given the same, if the record still says it.
    pub same_input: Option<bool>,
    /// Where their definitions differ, by the name of the node.
    pub definition: Vec<NodeChange>,
    /// Every node that is on record in one of them, in the order of the first.
    pub nodes: Vec<NodePair>,
    /// Where they first part.
    pub first: Option<First>,
}

/// What became of a node in both.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePair {
    /// Its key.
    pub key: Key,
    /// In the first.
    pub a: Option<NodeSeen>,
    /// In the second.
    pub b: Option<NodeSeen>,
    /// What is not the same, of [`NodeSeen`]'s outcome, output and attempts.
    pub differs: Vec<Aspect>,
}

/// Something that may not be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// One has the node, the other has not.
    Presence,
    /// How it ended, or that it has not.
    Outcome,
    /// What it resulted in.
    Output,
    /// How often it was tried.
    Attempts,
}

/// What became of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSeen {
    /// `completed`, `failed`, `running` or `waiting`.
    pub status: &'static str,
    /// Of a failed one: why, as a stable code.
    pub code: Option<String>,
    /// When it began, in microseconds since the run did.
    pub began_us: i64,
    /// How long it took, in microseconds, with waiting; none: it has not ended.
    pub took_us: Option<i64>,
    /// How long its last attempt took.
    pub ran_us: Option<i64>,
    /// How often it was claimed.
    pub attempts: u32,
    /// Who had it last.
    pub worker: Option<WorkerId>,
    /// Where its output or its error text is.
    pub place: Option<Place>,
    /// The keyed digest of that.
    pub digest: Option<String>,
}

/// Where two runs first part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// They were given something else.
    Input,
    /// At this node.
    Node(Key, Aspect),
    /// The nodes are the same, and what the runs came to is not.
    End,
}

impl Aspect {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Outcome => "outcome",
            Self::Output => "output",
            Self::Attempts => "attempts",
        }
    }
}

/// Every place whose record a comparison asks for.
pub fn places(run: &Run) -> BTreeSet<Place> {
    let ended = run.done.values().filter_map(|done| place(&done.outcome)).cloned();
    ended.chain(std::iter::once(run.input.clone())).chain(run.result()).collect()
}

/// Two runs side by side.
pub fn diff(a: Side<'_>, b: Side<'_>) -> Difference {
    let digest = |side: Side<'_>, place: &Place| side.told.get(place)?.digest.clone();
    let inputs = digest(a, &a.run.input).zip(digest(b, &b.run.input));
    let same_input = inputs.map(|(a, b)| a == b);
    let nodes = pairs(a, b);
    let parts = |pair: &NodePair| {
        // How often something was tried is no way of parting.
        let aspect = pair.differs.iter().find(|aspect| **aspect != Aspect::Attempts)?;
        Some(First::Node(pair.key.clone(), *aspect))
    };
    let ends = || {
        let came_to = |side: Side<'_>| {
            let result = side.run.result().and_then(|place| digest(side, &place));
            (side.run.phase.as_str(), result)
        };
        (came_to(a) != came_to(b)).then_some(First::End)
    };
    let first = match same_input {
        Some(false) => Some(First::Input),
        _ => nodes.iter().find_map(parts).or_else(ends),
    };
    Difference { same_input, definition: structure(a.definition, b.definition), nodes, first }
}

fn pairs(a: Side<'_>, b: Side<'_>) -> Vec<NodePair> {
    let (of_a, of_b) = (seen(a), seen(b));
    let keys: BTreeSet<&Key> = of_a.keys().chain(of_b.keys()).collect();
    let pair = |key: &Key| {
        let (a, b) = (of_a.get(key).cloned(), of_b.get(key).cloned());
        let differs = aspects(a.as_ref(), b.as_ref());
        NodePair { key: key.clone(), a, b, differs }
    };
    let mut pairs: Vec<_> = keys.into_iter().map(pair).collect();
    // What is open comes behind what has ended.
    let ended = |seen: &NodeSeen| {
        let took = seen.took_us.unwrap_or(0);
        (seen.took_us.is_none(), seen.began_us + took, seen.began_us)
    };
    let order = |pair: &NodePair| pair.a.as_ref().or(pair.b.as_ref()).map(ended);
    pairs.sort_by(|x, y| order(x).cmp(&order(y)).then_with(|| x.key.cmp(&y.key)));
    pairs
}

fn aspects(a: Option<&NodeSeen>, b: Option<&NodeSeen>) -> Vec<Aspect> {
    let (Some(a), Some(b)) = (a, b) else { return vec![Aspect::Presence] };
    let mut differs = Vec::new();
    if (a.status, &a.code) != (b.status, &b.code) {
        differs.push(Aspect::Outcome);
    }
    if a.digest != b.digest {
        differs.push(Aspect::Output);
    }
    if a.attempts != b.attempts {
        differs.push(Aspect::Attempts);
    }
    differs
}

fn place(outcome: &Outcome) -> Option<&Place> {
    match outcome {
        Outcome::Completed { output } => output.as_ref(),
        Outcome::Failed { error, .. } => error.as_ref(),
    }
}

fn seen(side: Side<'_>) -> BTreeMap<Key, NodeSeen> {
    let Side { run, told, .. } = side;
    let since = |at: i64| at - run.started_at;
    let open = |status, at| NodeSeen {
        status,
        code: None,
        began_us: since(at),
        took_us: None,
        ran_us: None,
        attempts: 0,
        worker: None,
        place: None,
        digest: None,
    };
    let running =
        run.scheduled.iter().map(|(key, step)| (key.clone(), open("running", step.since)));
    let waiting = run.waits.iter().map(|(key, wait)| (key.clone(), open("waiting", wait.since())));
    let ended = run.done.iter().map(|(key, done)| {
        let place = place(&done.outcome).cloned();
        let told = place.as_ref().and_then(|place| told.get(place)).cloned().unwrap_or_default();
        let (status, code) = match &done.outcome {
            Outcome::Completed { .. } => ("completed", None),
            Outcome::Failed { code, .. } => ("failed", Some(code.clone())),
        };
        let seen = NodeSeen {
            code,
            took_us: Some(done.at - done.since),
            ran_us: done.claimed_at.map(|claimed| done.at - claimed),
            attempts: done.attempts,
            worker: told.worker,
            place,
            digest: told.digest,
            ..open(status, done.since)
        };
        (key.clone(), seen)
    });
    running.chain(waiting).chain(ended).collect()
}
