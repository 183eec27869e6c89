//! Definitions drawn at random, what their steps result in, and a plain recursion that says what a run of one comes to: it
//! knows neither events nor time nor that anything can be lost.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use fleetward_actors::fleet::task::Retry;
use fleetward_actors::workflows::definition::{
    Approval, Approvers, Case, Definition, Kind, Node, OnExpiry, OnFailure, Routing, Step,
};
use fleetward_actors::workflows::expression::Expression;
use fleetward_actors::workflows::run::Path;
use fleetward_runtime::testkit::START_WALL_US;
use proptest::prelude::*;
use serde_json::{Value, json};

const EVEN: &str = "previous.n % 2 == 0";
const HIGH: &str = "previous.n > 600";
/// How often a step may fail; one that is flaky fails twice.
const ATTEMPTS: u32 = 3;
/// Who may decide at gates.
pub(super) const PEOPLE: u32 = 3;

/// How often an attempt of a slow step may end without its worker: no move of a test ends more of them.
const PATIENT: u32 = 40;

/// What a worker says of a step.
pub(super) enum Said {
    Value(Value),
    Failed {
        retryable: bool,
    },
    /// Nothing, until the time of the attempt is over.
    Nothing,
}

/// What workers and people do in a run, whoever does it and however often: it follows from where in its definition they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    /// Nodes whose failure is collected.
    collected: BTreeSet<String>,
    /// How often the attempts of steps that have a time may fail.
    timed: BTreeMap<String, u32>,
    /// Somebody has mended whatever failed, unless its failure is collected.
    pub(super) mended: bool,
}

impl Script {
    pub(super) fn of(definition: &Definition) -> Self {
        let mut script = Self::default();
        script.read(&definition.nodes, false);
        script
    }

    fn read(&mut self, nodes: &[Node], collected: bool) {
        for node in nodes {
            if collected {
                self.collected.insert(node.name.clone());
            }
            match &node.kind {
                Kind::Step(step) if step.timeout_ms.is_some() => {
                    self.timed.insert(node.name.clone(), step.retry.max_attempts);
                }
                Kind::Sequence { nodes } | Kind::Loop { nodes, .. } => self.read(nodes, collected),
                Kind::Parallel { branches, on_failure, .. } => {
                    self.read(branches, collected || *on_failure == OnFailure::Collect);
                }
                Kind::Branch { cases, otherwise } => {
                    cases.iter().for_each(|case| self.read(&case.nodes, collected));
                    self.read(otherwise, collected);
                }
                _ => {}
            }
        }
    }

    /// What a step comes to. It follows from its key, its input and the attempt.
    pub(super) fn said(&self, key: &str, input: &Value, attempt: u32) -> Said {
        let name = name(key);
        let number = hash(&(key, plain(input).to_string()));
        let value = || Said::Value(json!({ "n": number / 16 % 1_000 }));
        let timed = self.timed.get(name);
        match number % 16 {
            _ if timed.is_some_and(|attempts| *attempts < PATIENT) => Said::Nothing,
            0 | 1 if self.mended && !self.collected.contains(name) => value(),
            0 => Said::Failed { retryable: false },
            1..=3 if timed.is_some() && attempt < ATTEMPTS => Said::Nothing,
            1 if timed.is_none() => Said::Failed { retryable: true },
            2 | 3 if timed.is_none() && attempt < ATTEMPTS => Said::Failed { retryable: true },
            _ => value(),
        }
    }

    pub(super) fn is_timed(&self, key: &str) -> bool {
        self.timed.contains_key(name(key))
    }

    /// What people come to at a gate, each of them: they are numbered from 0, and one who rejects is enough. Where it has a
    /// time, they say no other than what nobody says.
    pub(super) fn vote(&self, key: &str, gate: &Rules, person: u32) -> bool {
        let approves = match gate.expires {
            true => gate.on_expiry == OnExpiry::Approve,
            false if self.mended && !self.collected.contains(name(key)) => true,
            false => !hash(&key).is_multiple_of(5),
        };
        approves || u64::from(person) != hash(&key) % u64::from(gate.quorum)
    }
}

/// How a gate ends.
pub(super) struct Rules {
    pub(super) expires: bool,
    pub(super) on_expiry: OnExpiry,
    pub(super) quorum: u32,
}

impl Rules {
    fn of(gate: &Approval) -> Self {
        let (expires, on_expiry) = (gate.expires_ms.is_some(), gate.on_expiry);
        Self { expires, on_expiry, quorum: gate.approvers.quorum }
    }
}

/// Whether nodes come by other nodes inside of them where they are given something else.
pub(super) fn choose(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| match &node.kind {
        Kind::Branch { .. } | Kind::Loop { .. } => true,
        Kind::Sequence { nodes } => choose(nodes),
        Kind::Parallel { branches, .. } => choose(branches),
        _ => false,
    })
}

/// The name of the node that a key is of.
fn name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// What is sent with a signal.
pub(super) fn payload(signal: &str) -> Value {
    json!({ "n": hash(&signal) % 1_000 })
}

pub(super) fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Which branch of several failed first, and with which words, is not the reference's concern.
pub(super) fn plain(value: &Value) -> Value {
    match value {
        Value::Object(object) if object.contains_key("error") => json!({ "error": null }),
        Value::Object(object) => {
            object.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
        }
        other => other.clone(),
    }
}

/// What a run comes to, and the steps that it may come by.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) result: Result<Value, ()>,
    pub(super) steps: BTreeSet<String>,
}

impl Reference {
    pub(super) fn of(definition: &Definition, script: &Script, input: &Value) -> Self {
        let mut walk = Walk::new(script);
        let result = walk.nodes(&definition.nodes, &Path::default(), input.clone());
        Self { result, steps: walk.steps }
    }

    /// Of a run that begins with what another one had done before its node `at`.
    pub(super) fn of_fork(
        definition: &Definition,
        at: usize,
        (before, old): (&Script, &Value),
        (script, new): (&Script, &Value),
    ) -> Self {
        let (kept, rest) = definition.nodes.split_at(at);
        let mut walk = Walk::new(before);
        let done = walk.nodes(kept, &Path::default(), old.clone());
        // What was done stays; what only hands on its input hands on the new one.
        walk.known = Some(std::mem::take(&mut walk.values));
        let value = done.and_then(|_| walk.nodes(kept, &Path::default(), new.clone()));
        let mut walk = Walk::new(script);
        let result = value.and_then(|value| walk.nodes(rest, &Path::default(), value));
        Self { result, steps: walk.steps }
    }
}

struct Walk<'a> {
    script: &'a Script,
    steps: BTreeSet<String>,
    /// What the nodes that make something came to.
    values: BTreeMap<String, Result<Value, ()>>,
    /// The same of a walk before this one, whose values count.
    known: Option<BTreeMap<String, Result<Value, ()>>>,
}

impl<'a> Walk<'a> {
    fn new(script: &'a Script) -> Self {
        Self { script, steps: BTreeSet::new(), values: BTreeMap::new(), known: None }
    }

    /// What a step or a child comes to.
    fn made(
        &mut self,
        key: &str,
        make: impl FnOnce(&Script) -> Result<Value, ()>,
    ) -> Result<Value, ()> {
        let known = self.known.as_ref().and_then(|known| known.get(key).cloned());
        let made = known.unwrap_or_else(|| make(self.script));
        self.values.insert(key.to_owned(), made.clone());
        made
    }

    fn nodes(&mut self, nodes: &[Node], at: &Path, mut value: Value) -> Result<Value, ()> {
        for one in nodes {
            value = self.node(one, at, value)?;
        }
        Ok(value)
    }

    fn node(&mut self, one: &Node, at: &Path, value: Value) -> Result<Value, ()> {
        let key = at.key(&one.name);
        match &one.kind {
            Kind::Step(_) => {
                self.steps.insert(key.to_string());
                self.made(key.as_str(), |script| {
                    match script.said(key.as_str(), &value, ATTEMPTS) {
                        Said::Value(value) => Ok(value),
                        Said::Failed { .. } | Said::Nothing => Err(()),
                    }
                })
            }
            Kind::Sleep { .. } | Kind::SleepUntil { .. } => Ok(value),
            Kind::WaitSignal { signal, .. } => Ok(payload(signal)),
            Kind::Approval(gate) => {
                let rules = Rules::of(gate);
                let mut votes =
                    (0..rules.quorum).map(|one| self.script.vote(key.as_str(), &rules, one));
                votes.all(|approves| approves).then_some(value).ok_or(())
            }
            Kind::Child { workflow, .. } => {
                let inner = inner().into_iter().find(|inner| inner.name == *workflow).unwrap();
                self.made(key.as_str(), |_| {
                    Reference::of(&inner, &Script::default(), &value).result
                })
            }
            Kind::Sequence { nodes: inside } => self.nodes(inside, at, value),
            Kind::Parallel { branches, on_failure, .. } => {
                let mut object = serde_json::Map::new();
                let mut failed = false;
                for branch in branches {
                    let output = match self.node(branch, at, value.clone()) {
                        Ok(output) => output,
                        Err(()) => {
                            failed |= *on_failure == OnFailure::FailFast;
                            json!({ "error": null })
                        }
                    };
                    object.insert(branch.name.clone(), output);
                }
                if failed { Err(()) } else { Ok(object.into()) }
            }
            Kind::Branch { cases, otherwise } => {
                for case in cases {
                    if holds(&case.when, &value)? {
                        return self.nodes(&case.nodes, at, value);
                    }
                }
                self.nodes(otherwise, at, value)
            }
            Kind::Loop { nodes: inside, until, max, .. } => {
                let mut last = value;
                for time in 1..=*max {
                    last = self.nodes(inside, &at.inside(&one.name, time), last)?;
                    if let Some(until) = until
                        && holds(until, &last)?
                    {
                        break;
                    }
                }
                Ok(last)
            }
        }
    }
}

/// What the two conditions of these definitions say.
fn holds(condition: &Expression, value: &Value) -> Result<bool, ()> {
    let number = value["n"].as_i64().ok_or(())?;
    Ok(if condition.text() == EVEN { number % 2 == 0 } else { number > 600 })
}

/// The workflows of child runs.
pub(super) fn inner() -> Vec<Definition> {
    let nap = Kind::Sleep { ms: 20_000 };
    let both = [step(), step()].map(unnamed).to_vec();
    let parallel = Kind::Parallel { branches: both, on_failure: OnFailure::FailFast, limit: None };
    let word = Kind::WaitSignal { signal: String::new(), timeout_ms: None };
    vec![
        defined("chain", vec![step(), nap, step()]),
        defined("fork", vec![parallel, step()]),
        defined("ask", vec![step(), word]),
    ]
}

fn step() -> Kind {
    let retry = Retry { max_attempts: ATTEMPTS, ..Retry::default() };
    Kind::Step(Box::new(Step { retry, ..Step::default() }))
}

fn unnamed(kind: Kind) -> Node {
    Node { name: String::new(), input: None, kind }
}

/// A step whose attempts have a time.
fn timed(ms: u64, max_attempts: u32) -> Kind {
    let retry = Retry { max_attempts, max_ms: 2_000, ..Retry::default() };
    Kind::Step(Box::new(Step { retry, timeout_ms: Some(ms), ..Step::default() }))
}

fn gate() -> impl Strategy<Value = Kind> {
    let on_expiry = prop_oneof![Just(OnExpiry::Reject), Just(OnExpiry::Approve)];
    let expires_ms = prop::option::of((1_u64..60).prop_map(|seconds| seconds * 1_000));
    (expires_ms, on_expiry, 1_u32..=PEOPLE).prop_map(|(expires_ms, on_expiry, quorum)| {
        let approvers = Approvers { requester_may_approve: true, quorum, ..Approvers::default() };
        Kind::Approval(Box::new(Approval {
            prompt: Expression::parse("\"go on?\"").unwrap(),
            context: None,
            approvers,
            expires_ms,
            on_expiry,
            remind_ms: None,
        }))
    })
}

fn leaf() -> impl Strategy<Value = Kind> {
    let until = |second: i64| {
        let at = Expression::parse(&(START_WALL_US / 1_000_000 + second).to_string()).unwrap();
        Kind::SleepUntil { at }
    };
    let child = |workflow: &str| Kind::Child { workflow: workflow.to_owned(), version: None };
    prop_oneof![
        16 => Just(step()),
        3 => Just(timed(30_000, PATIENT)),
        1 => Just(timed(10_000, 2)),
        2 => (1_u64..40).prop_map(|seconds| Kind::Sleep { ms: seconds * 1_000 }),
        2 => (0_i64..600).prop_map(until),
        2 => Just(Kind::WaitSignal { signal: String::new(), timeout_ms: None }),
        4 => gate(),
        2 => Just(child("chain")),
        2 => Just(child("fork")),
        2 => Just(child("ask")),
    ]
}

fn kinds() -> impl Strategy<Value = Kind> {
    leaf().prop_recursive(3, 10, 3, |inside| {
        let nodes = prop::collection::vec(inside.prop_map(unnamed), 1..4);
        let way = prop_oneof![Just(OnFailure::FailFast), Just(OnFailure::Collect)];
        prop_oneof![
            nodes.clone().prop_map(|nodes| Kind::Sequence { nodes }),
            (nodes.clone(), way, prop::option::of(1_u32..3)).prop_map(
                |(branches, on_failure, limit)| Kind::Parallel { branches, on_failure, limit }
            ),
            (nodes.clone(), nodes.clone()).prop_map(|(nodes, otherwise)| Kind::Branch {
                cases: vec![Case { when: Expression::parse(EVEN).unwrap(), nodes }],
                otherwise,
            }),
            (nodes, 1_u32..4).prop_map(|(nodes, max)| Kind::Loop {
                nodes,
                until: Some(Expression::parse(HIGH).unwrap()),
                max,
                must_hold: false,
            }),
        ]
    })
}

/// Definitions of every kind of node.
pub(super) fn definitions() -> impl Strategy<Value = Definition> {
    prop::collection::vec(kinds(), 1..4).prop_map(|kinds| defined("outer", kinds))
}

fn defined(name: &str, kinds: Vec<Kind>) -> Definition {
    let mut next = 0;
    let nodes = kinds.into_iter().map(|kind| named(kind, &mut next)).collect();
    let (name, routing) = (name.to_owned(), Routing::default());
    Definition { name, description: None, routing, sticky_ms: None, nodes, output: None }
}

/// Gives every node a name of its own, and every signal that of its node.
fn named(kind: Kind, next: &mut u32) -> Node {
    *next += 1;
    let name = format!("n{next}");
    let mut all = |nodes: Vec<Node>| -> Vec<Node> {
        nodes.into_iter().map(|node| named(node.kind, next)).collect()
    };
    let kind = match kind {
        Kind::Sequence { nodes } => Kind::Sequence { nodes: all(nodes) },
        Kind::Parallel { branches, on_failure, limit } => {
            Kind::Parallel { branches: all(branches), on_failure, limit }
        }
        Kind::Branch { cases, otherwise } => {
            let case = |case: Case| Case { when: case.when, nodes: all(case.nodes) };
            let cases = cases.into_iter().map(case).collect();
            Kind::Branch { cases, otherwise: all(otherwise) }
        }
        Kind::Loop { nodes, until, max, must_hold } => {
            Kind::Loop { nodes: all(nodes), until, max, must_hold }
        }
        Kind::WaitSignal { timeout_ms, .. } => {
            Kind::WaitSignal { signal: name.clone(), timeout_ms }
        }
        other => other,
    };
    Node { name, input: None, kind }
}
