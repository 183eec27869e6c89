//! What a run does next: a pure function of its definition and of what became of its nodes. Pure.
//!
//! The tree is walked from its root. A node whose end is on record has ended; one that is a task or waits is left alone;
//! the first of the others that its order reaches is what comes next. So a run can be resumed, replayed or forked from
//! its record alone. A value is read when something is made from it: what is not in memory is asked for, and the walk is
//! made again.

pub mod flow;
mod function;
mod next;
mod settled;
#[cfg(test)]
pub(in crate::workflows) mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use fleetward_store::Position;
use serde_json::Value;

use super::definition::{Approval, Case, Definition, Kind, Node, OnFailure};
use super::expression::Expression;
use super::run::{self, Key, Outcome, Path, Place, Run, Wait, What};
use flow::{Flow, Mapped, Seen, Stop};
pub use next::{Begin, Failure, Next, Plan, Rules, Waits};
pub use settled::settled;

/// Most tasks and waits of one run at a time.
pub const FAN_OUT_MAX: usize = 1_000;

/// The code of what is not wanted any more.
const DROPPED: &str = "cancelled";

/// Opened values, by the position that they are sealed beside. Shared: an output may be a megabyte.
pub type Values = HashMap<Position, Arc<Value>>;

/// Where a node stands.
enum Stands<'a> {
    Done(Flow<'a>),
    Waiting,
    Failed(Failure),
}

struct Walk<'a> {
    run: &'a Run,
    values: &'a Values,
    plan: Plan<'a>,
    room: usize,
}

/// What comes next in a run, given the values that are in memory.
pub fn plan<'a>(definition: &'a Definition, run: &'a Run, values: &'a Values) -> Plan<'a> {
    let held = run.scheduled.len() + run.waits.len();
    let room = FAN_OUT_MAX.saturating_sub(held);
    let mut walk = Walk { run, values, plan: Plan::default(), room };
    let input = Flow::At(run.input.clone());
    let mut seen = Seen::default();
    let ended = walk.nodes(&definition.nodes, &Path::default(), input, &mut seen, None);
    match ended {
        Stands::Waiting => {}
        Stands::Failed(failure) => walk.fail(failure),
        Stands::Done(last) => {
            let output = match &definition.output {
                Some(expression) => mapped(expression, last, &seen, None),
                None => last,
            };
            match walk.value(&output) {
                Ok(value) => walk.plan.end = Some(Ok(value)),
                Err(Stop::Missing) => {}
                Err(Stop::Failed(text)) => walk.fail(expression_failed(None, text)),
            }
        }
    }
    walk.plan
}

impl<'a> Walk<'a> {
    fn fail(&mut self, failure: Failure) {
        self.plan.schedule.clear();
        self.plan.wait.clear();
        self.plan.take.clear();
        self.plan.end = Some(Err(failure));
    }

    /// Nodes one after the other.
    fn nodes(
        &mut self,
        nodes: &'a [Node],
        at: &Path,
        input: Flow<'a>,
        seen: &mut Seen<'a>,
        time: Option<u32>,
    ) -> Stands<'a> {
        let mut previous = input;
        for node in nodes {
            match self.node(node, at, previous, seen, time) {
                Stands::Done(output) => {
                    seen.add(&node.name, output.clone());
                    previous = output;
                }
                other => return other,
            }
        }
        Stands::Done(previous)
    }

    fn node(
        &mut self,
        node: &'a Node,
        at: &Path,
        previous: Flow<'a>,
        seen: &mut Seen<'a>,
        time: Option<u32>,
    ) -> Stands<'a> {
        let input = match &node.input {
            Some(expression) => mapped(expression, previous, seen, time),
            None => previous,
        };
        match &node.kind {
            Kind::Sequence { nodes } => self.nodes(nodes, at, input, seen, time),
            Kind::Parallel { branches, on_failure, limit } => {
                self.parallel((node, branches), (*on_failure, *limit), at, input, (seen, time))
            }
            Kind::Branch { cases, otherwise } => {
                self.branch(node, (cases, otherwise), at, input, (seen, time))
            }
            Kind::Loop { nodes, until, max, must_hold } => {
                let rule = (until.as_ref(), *max, *must_hold);
                self.repeat((node, nodes), rule, at, input, seen)
            }
            _ => self.leaf(node, at, input, seen, time),
        }
    }

    /// A node that is on record by a key of its own.
    fn leaf(
        &mut self,
        node: &'a Node,
        at: &Path,
        input: Flow<'a>,
        seen: &Seen<'a>,
        time: Option<u32>,
    ) -> Stands<'a> {
        let key = at.key(&node.name);
        if let Some(done) = self.run.done.get(&key) {
            return match &done.outcome {
                Outcome::Completed { output: Some(place) } => Stands::Done(Flow::At(place.clone())),
                Outcome::Completed { output: None } => Stands::Done(input),
                Outcome::Failed { code, error } => Stands::Failed(Failure {
                    key: Some(key),
                    code: code.clone(),
                    text: None,
                    error: error.clone(),
                }),
            };
        }
        if let Some(Wait::Signal { name, .. }) = self.run.waits.get(&key) {
            self.take(key, name);
            return Stands::Waiting;
        }
        let begun = self.run.scheduled.contains_key(&key)
            || self.run.waits.contains_key(&key)
            || self.is_suspended(&key);
        if begun || self.room == 0 {
            return Stands::Waiting;
        }
        match self.begin(node, key.clone(), input, seen, time) {
            Ok(()) => {
                self.room -= 1;
                Stands::Waiting
            }
            Err(Stop::Missing) => Stands::Waiting,
            Err(Stop::Failed(text)) => Stands::Failed(expression_failed(Some(key), text)),
        }
    }

    fn begin(
        &mut self,
        node: &'a Node,
        key: Key,
        input: Flow<'a>,
        seen: &Seen<'a>,
        time: Option<u32>,
    ) -> Result<(), Stop> {
        let what = match &node.kind {
            Kind::Step(_) => {
                let input = self.value(&input)?;
                self.plan.schedule.push(Next { key, node, input });
                return Ok(());
            }
            Kind::Sleep { ms } => Waits::For(*ms),
            Kind::SleepUntil { at } => {
                let at = self.value(&mapped(at, input, seen, time))?;
                Waits::Until(flow::moment(&at).map_err(Stop::Failed)?)
            }
            Kind::WaitSignal { signal, timeout_ms } => {
                if self.take(key.clone(), signal) {
                    return Ok(());
                }
                Waits::Signal { name: signal, timeout_ms: *timeout_ms }
            }
            Kind::Approval(approval) => {
                let prompt = self.value(&mapped(&approval.prompt, input.clone(), seen, time))?;
                let prompt = match &*prompt {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let input = self.value(&input)?;
                let context = match &approval.context {
                    None => input.clone(),
                    Some(context) => {
                        self.value(&mapped(context, Flow::Is(input.clone()), seen, time))?
                    }
                };
                let Approval { approvers, expires_ms, on_expiry, remind_ms, .. } = &**approval;
                let rules = Rules {
                    approvers,
                    expires_ms: *expires_ms,
                    on_expiry: *on_expiry,
                    remind_ms: *remind_ms,
                };
                Waits::Gate { rules, prompt, context, input }
            }
            Kind::Child { workflow, version } => {
                let input = self.value(&input)?;
                Waits::Child { workflow, version: version.as_deref(), input }
            }
            // The others have no key of their own.
            Kind::Sequence { .. }
            | Kind::Parallel { .. }
            | Kind::Branch { .. }
            | Kind::Loop { .. } => return Ok(()),
        };
        self.plan.wait.push(Begin { key, what });
        Ok(())
    }

    /// The oldest signal of a name goes to a node, if there is one.
    fn take(&mut self, key: Key, name: &str) -> bool {
        let taken: Vec<_> = self.plan.take.iter().map(|(_, at)| *at).collect();
        let mut arrived = self.run.signals.iter();
        let found = arrived.find(|s| s.name == name && !taken.contains(&s.at));
        self.plan.take.extend(found.map(|signal| (key, signal.at)));
        found.is_some()
    }

    fn parallel(
        &mut self,
        (node, branches): (&'a Node, &'a [Node]),
        (on_failure, limit): (OnFailure, Option<u32>),
        at: &Path,
        input: Flow<'a>,
        (seen, time): (&mut Seen<'a>, Option<u32>),
    ) -> Stands<'a> {
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let (mut outputs, mut all) = (BTreeMap::new(), Vec::new());
        let (mut running, mut failed) = (0, None::<Failure>);
        for branch in branches {
            if running >= limit {
                break;
            }
            // What another branch says is not seen: it may not have said it yet.
            let mut own = seen.clone();
            match self.node(branch, at, input.clone(), &mut own, time) {
                Stands::Waiting => running += 1,
                Stands::Done(output) => {
                    own.add(&branch.name, output.clone());
                    outputs.insert(branch.name.as_str(), output);
                    all.push(own);
                }
                Stands::Failed(failure) if on_failure == OnFailure::Collect => {
                    let output = Flow::Failed(Box::new(failure));
                    own.add(&branch.name, output.clone());
                    outputs.insert(branch.name.as_str(), output);
                    all.push(own);
                }
                Stands::Failed(failure) => {
                    // What was dropped did not fail by itself.
                    let better = |was: &Failure| was.code == DROPPED && failure.code != DROPPED;
                    if failed.as_ref().is_none_or(better) {
                        failed = Some(failure);
                    }
                }
            }
        }
        if let Some(failure) = failed {
            self.drop_all(branches, at);
            return Stands::Failed(Failure {
                key: failure.key.clone().or(Some(at.key(&node.name))),
                ..failure
            });
        }
        if outputs.len() < branches.len() {
            return Stands::Waiting;
        }
        all.into_iter().for_each(|own| seen.merge(own));
        Stands::Done(Flow::Object(Arc::new(outputs)))
    }

    /// What was begun under these nodes is not wanted any more.
    fn drop_all(&mut self, branches: &'a [Node], at: &Path) {
        let mut names = BTreeSet::new();
        branches.iter().for_each(|branch| own_keys(branch, &mut names));
        let under = |key: &Key| names.iter().any(|name| at.holds(key, name));
        let begun = self.run.scheduled.keys().chain(self.run.waits.keys());
        self.plan.drop.extend(begun.filter(|key| under(key)).cloned());
        self.plan.schedule.retain(|next| !under(&next.key));
        self.plan.wait.retain(|begin| !under(&begin.key));
        self.plan.take.retain(|(key, _)| !under(key));
    }

    fn branch(
        &mut self,
        node: &'a Node,
        (cases, otherwise): (&'a [Case], &'a [Node]),
        at: &Path,
        input: Flow<'a>,
        (seen, time): (&mut Seen<'a>, Option<u32>),
    ) -> Stands<'a> {
        for case in cases {
            match self.holds(&case.when, input.clone(), seen, time) {
                Ok(true) => return self.nodes(&case.nodes, at, input, seen, time),
                Ok(false) => {}
                Err(Stop::Missing) => return Stands::Waiting,
                Err(Stop::Failed(text)) => {
                    return Stands::Failed(expression_failed(Some(at.key(&node.name)), text));
                }
            }
        }
        self.nodes(otherwise, at, input, seen, time)
    }

    fn repeat(
        &mut self,
        (node, nodes): (&'a Node, &'a [Node]),
        (until, max, must_hold): (Option<&'a Expression>, u32, bool),
        at: &Path,
        input: Flow<'a>,
        seen: &mut Seen<'a>,
    ) -> Stands<'a> {
        let mut previous = input;
        for time in 1..=max {
            let inside = at.inside(&node.name, time);
            match self.nodes(nodes, &inside, previous, seen, Some(time)) {
                Stands::Done(output) => previous = output,
                other => return other,
            }
            // A time that has begun shows that it did not hold.
            let next = at.inside(&node.name, time + 1);
            let begun = time < max && self.has_begun(&next);
            let Some(until) = until.filter(|_| !begun) else { continue };
            match self.holds(until, previous.clone(), seen, Some(time)) {
                Ok(true) => return Stands::Done(previous),
                Ok(false) => {}
                Err(Stop::Missing) => return Stands::Waiting,
                Err(Stop::Failed(text)) => {
                    return Stands::Failed(expression_failed(Some(at.key(&node.name)), text));
                }
            }
        }
        if must_hold {
            let code = "loop_exhausted".to_owned();
            let text = Some(format!("the condition did not hold after {max} times"));
            let key = Some(at.key(&node.name));
            return Stands::Failed(Failure { key, code, text, error: None });
        }
        Stands::Done(previous)
    }

    fn has_begun(&self, path: &Path) -> bool {
        let from = path.key("");
        let first = |keys: Option<&Key>| keys.is_some_and(|key| path.begins(key));
        first(self.run.done.range(from.clone()..).next().map(|(key, _)| key))
            || first(self.run.scheduled.range(from.clone()..).next().map(|(key, _)| key))
            || first(self.run.waits.range(from..).next().map(|(key, _)| key))
    }

    fn holds(
        &mut self,
        expression: &'a Expression,
        previous: Flow<'a>,
        seen: &Seen<'a>,
        time: Option<u32>,
    ) -> Result<bool, Stop> {
        match &*self.value(&mapped(expression, previous, seen, time))? {
            Value::Bool(holds) => Ok(*holds),
            other => {
                let kind = flow::kind(other);
                Err(Stop::Failed(format!("`{}` is {kind}, not true or false", expression.text())))
            }
        }
    }

    fn value(&mut self, flow: &Flow<'a>) -> Result<Arc<Value>, Stop> {
        flow.value(self.run, self.values, &mut self.plan.missing)
    }
}

/// The names under which what is begun below a node is on record, beside loops.
fn own_keys<'a>(node: &'a Node, names: &mut BTreeSet<&'a str>) {
    match &node.kind {
        Kind::Sequence { nodes } => nodes.iter().for_each(|node| own_keys(node, names)),
        Kind::Parallel { branches, .. } => branches.iter().for_each(|node| own_keys(node, names)),
        Kind::Branch { cases, otherwise } => {
            let of_cases = cases.iter().flat_map(|case| &case.nodes);
            of_cases.chain(otherwise).for_each(|node| own_keys(node, names));
        }
        _ => {
            names.insert(&node.name);
        }
    }
}

/// The names under which everything that comes before a node of the top level is on record; none: there is no such node.
pub fn names_before<'a>(definition: &'a Definition, node: &str) -> Option<BTreeSet<&'a str>> {
    let at = definition.nodes.iter().position(|known| known.name == node)?;
    let mut names = BTreeSet::new();
    definition.nodes[..at].iter().for_each(|node| own_keys(node, &mut names));
    Some(names)
}

fn mapped<'a>(
    expression: &'a Expression,
    previous: Flow<'a>,
    seen: &Seen<'a>,
    time: Option<u32>,
) -> Flow<'a> {
    Flow::Mapped(Arc::new(Mapped::new(expression, previous, seen.clone(), time)))
}

fn expression_failed(key: Option<Key>, text: String) -> Failure {
    Failure { key, code: "expression_failed".to_owned(), text: Some(text), error: None }
}

/// Where the text of a failure is, and what it is bound to.
pub fn error_place(done: &run::Done) -> Option<&Place> {
    match &done.outcome {
        Outcome::Failed { error, .. } => error.as_ref(),
        Outcome::Completed { .. } => None,
    }
}

/// Whether a value is text beside an event, and no JSON.
pub fn is_text(place: &Place) -> bool {
    matches!(place.what, What::Error { .. } | What::Failure { .. })
}
