//! Definitions drawn at random, what their steps result in, and a plain recursion that says what a run of one comes to: it
//! knows neither events nor time nor that anything can be lost.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
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

/// What a worker says of a step.
pub(super) enum Said {
    Value(Value),
    Failed { retryable: bool },
}

/// What a step comes to, whoever runs it and however often: it follows from its key, its input and the attempt.
pub(super) fn said(key: &str, input: &Value, attempt: u32) -> Said {
    let number = hash(&(key, plain(input).to_string()));
    let value = || Said::Value(json!({ "n": number / 16 % 1_000 }));
    match number % 16 {
        0 => Said::Failed { retryable: false },
        1 => Said::Failed { retryable: true },
        2 | 3 if attempt < ATTEMPTS => Said::Failed { retryable: true },
        _ => value(),
    }
}

/// What people say at a gate.
pub(super) fn approves(gate: &str) -> bool {
    !hash(&gate).is_multiple_of(5)
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
    pub(super) fn of(definition: &Definition, input: &Value) -> Self {
        let mut steps = BTreeSet::new();
        let result = nodes(&definition.nodes, &Path::default(), input.clone(), &mut steps);
        Self { result, steps }
    }
}

fn nodes(
    nodes: &[Node],
    at: &Path,
    mut value: Value,
    steps: &mut BTreeSet<String>,
) -> Result<Value, ()> {
    for one in nodes {
        value = node(one, at, value, steps)?;
    }
    Ok(value)
}

fn node(one: &Node, at: &Path, value: Value, steps: &mut BTreeSet<String>) -> Result<Value, ()> {
    let key = at.key(&one.name);
    match &one.kind {
        Kind::Step(_) => {
            steps.insert(key.to_string());
            match said(key.as_str(), &value, ATTEMPTS) {
                Said::Value(value) => Ok(value),
                Said::Failed { .. } => Err(()),
            }
        }
        Kind::Sleep { .. } | Kind::SleepUntil { .. } => Ok(value),
        Kind::WaitSignal { signal, .. } => Ok(payload(signal)),
        Kind::Approval(_) => approves(key.as_str()).then_some(value).ok_or(()),
        Kind::Child { workflow, .. } => {
            let inner = inner().into_iter().find(|inner| inner.name == *workflow).unwrap();
            Reference::of(&inner, &value).result
        }
        Kind::Sequence { nodes: inside } => nodes(inside, at, value, steps),
        Kind::Parallel { branches, on_failure, .. } => {
            let mut object = serde_json::Map::new();
            let mut failed = false;
            for branch in branches {
                let output = match node(branch, at, value.clone(), steps) {
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
                    return nodes(&case.nodes, at, value, steps);
                }
            }
            nodes(otherwise, at, value, steps)
        }
        Kind::Loop { nodes: inside, until, max, .. } => {
            let mut last = value;
            for time in 1..=*max {
                last = nodes(inside, &at.inside(&one.name, time), last, steps)?;
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

fn leaf() -> impl Strategy<Value = Kind> {
    let approvers = Approvers { requester_may_approve: true, ..Approvers::default() };
    let gate = Approval {
        prompt: Expression::parse("\"go on?\"").unwrap(),
        context: None,
        approvers,
        expires_ms: None,
        on_expiry: OnExpiry::Reject,
        remind_ms: None,
    };
    let until = |second: i64| {
        let at = Expression::parse(&(START_WALL_US / 1_000_000 + second).to_string()).unwrap();
        Kind::SleepUntil { at }
    };
    let child = |workflow: &str| Kind::Child { workflow: workflow.to_owned(), version: None };
    prop_oneof![
        8 => Just(step()),
        1 => (1_u64..40).prop_map(|seconds| Kind::Sleep { ms: seconds * 1_000 }),
        1 => (0_i64..600).prop_map(until),
        1 => Just(Kind::WaitSignal { signal: String::new(), timeout_ms: None }),
        1 => Just(Kind::Approval(Box::new(gate))),
        1 => Just(child("chain")),
        1 => Just(child("fork")),
        1 => Just(child("ask")),
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
