//! Plans against a reference: a plain recursion over the tree that knows neither events nor interruptions.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fact::{Fold, Stamp};
use crate::id::{RunId, TaskId};
use crate::seal::CellKey;
use crate::workflows::definition::Routing;
use crate::workflows::replay::{Fact, Recorded};
use crate::workflows::run::{Event, Scheduled, Seen as Went};

/// What a step results in: always the same for the same key and input. One in eight fails.
fn result(key: &str, input: &Value) -> Result<Value, &'static str> {
    let mut hasher = DefaultHasher::new();
    (key, codes_only(input).to_string()).hash(&mut hasher);
    let number = hasher.finish();
    if number.is_multiple_of(8) { Err("reported") } else { Ok(json!({ "n": number / 8 % 1_000 })) }
}

/// What the conditions of these definitions say.
fn condition(text: &str, value: &Value) -> Result<bool, &'static str> {
    let number = value["n"].as_i64().ok_or("expression_failed")?;
    Ok(if text.contains('%') { number % 2 == 0 } else { number > 600 })
}

const EVEN: &str = "previous.n % 2 == 0";
const HIGH: &str = "previous.n > 600";

fn reference(nodes: &[Node], at: &Path, mut value: Value) -> Result<Value, &'static str> {
    for node in nodes {
        value = match &node.kind {
            Kind::Step(_) => result(at.key(&node.name).as_str(), &value)?,
            Kind::Sequence { nodes } => reference(nodes, at, value)?,
            Kind::Sleep { .. } => value,
            Kind::Parallel { branches, on_failure, .. } => {
                let mut object = serde_json::Map::new();
                let mut failed = None;
                for branch in branches {
                    let one = reference(std::slice::from_ref(branch), at, value.clone());
                    let shown = match (one, on_failure) {
                        (Ok(output), _) => output,
                        (Err(code), OnFailure::Collect) => json!({ "error": code }),
                        (Err(code), OnFailure::FailFast) => {
                            failed = failed.or(Some(code));
                            continue;
                        }
                    };
                    object.insert(branch.name.clone(), shown);
                }
                if let Some(code) = failed {
                    return Err(code);
                }
                Value::Object(object)
            }
            Kind::Branch { cases, otherwise } => {
                let mut taken = otherwise;
                for case in cases {
                    if condition(case.when.text(), &value)? {
                        taken = &case.nodes;
                        break;
                    }
                }
                reference(taken, at, value)?
            }
            Kind::Loop { nodes, until, max, .. } => {
                let mut last = value;
                for time in 1..=*max {
                    last = reference(nodes, &at.inside(&node.name, time), last)?;
                    if let Some(until) = until
                        && condition(until.text(), &last)?
                    {
                        break;
                    }
                }
                last
            }
            _ => unreachable!("none of these is made here"),
        };
    }
    Ok(value)
}

/// The texts of errors are not the reference's concern.
fn codes_only(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            if let Some(code) = object.get("error").and_then(|error| error.get("code")) {
                return json!({ "error": code });
            }
            let each = object.iter().map(|(name, value)| (name.clone(), codes_only(value)));
            Value::Object(each.collect())
        }
        other => other.clone(),
    }
}

/// A run that is played against its plan, what is sealed in it, and its history.
pub(in crate::workflows) struct Play {
    pub(in crate::workflows) run: Run,
    pub(in crate::workflows) sealed: Values,
    pub(in crate::workflows) history: Vec<Fact>,
    pub(in crate::workflows) recorded: Recorded,
    pub(in crate::workflows) key: CellKey,
    seq: u64,
}

impl Play {
    pub(in crate::workflows) fn start(input: Value) -> Self {
        let id: RunId = "r".parse().unwrap();
        let event = Event::Started {
            awaited: false,
            run: id,
            workflow: "w".into(),
            version: "v".into(),
            request: String::new(),
            digest: String::new(),
            parent: None,
            inherited: None,
            schedule: None,
        };
        let run = Run::begin(&event, Stamp { seq: 1, at: 1, by: "t" }).unwrap();
        Self {
            run,
            sealed: Values::from([(1, Arc::new(input))]),
            history: vec![Fact { seq: 1, at: 1, by: "t".into(), event }],
            recorded: Recorded::default(),
            key: CellKey::fresh(),
            seq: 1,
        }
    }

    fn apply(&mut self, event: Event) {
        self.seq += 1;
        let (seq, at) = (self.seq, self.seq as i64);
        self.run.evolve(&event, Stamp { seq, at, by: "t" });
        self.history.push(Fact { seq, at, by: "t".into(), event });
    }

    /// Plays to the end: `moves` choose which step ends next, and when memory is lost.
    pub(in crate::workflows) fn play(
        &mut self,
        definition: &Definition,
        moves: &[u8],
    ) -> Result<Value, String> {
        let mut values = Values::new();
        let mut inputs: HashMap<Key, Arc<Value>> = HashMap::new();
        let mut ends: HashMap<Key, u32> = HashMap::new();
        let mut moves = moves.iter().copied().cycle();
        for round in 0..20_000 {
            let choice = moves.next().unwrap_or_default();
            // Not so often that what is read is never used.
            if round % 16 == 0 && choice % 2 == 0 {
                values.clear();
            }
            let plan = plan(definition, &self.run, &values);
            let (missing, drops) = (plan.missing.clone(), plan.drop.clone());
            if let Some(end) = plan.end {
                let twice = ends.iter().find(|(_, times)| **times > 1);
                assert_eq!(twice, None, "a completion is applied once");
                drops.into_iter().for_each(|key| self.apply(Event::StepDropped { key }));
                return self.over(end);
            }
            let steps: Vec<_> = plan
                .schedule
                .iter()
                .map(|next| Scheduled { key: next.key.clone(), task: TaskId::fresh() })
                .collect();
            for (next, step) in plan.schedule.iter().zip(&steps) {
                let digest = self.key.digest(next.input.to_string().as_bytes());
                self.recorded.tasks.insert(step.task, (None, digest));
            }
            inputs.extend(plan.schedule.iter().map(|next| (next.key.clone(), next.input.clone())));
            let naps: Vec<_> = plan.wait.iter().map(|begin| begin.key.clone()).collect();
            for place in missing {
                values.insert(place.at, self.sealed[&place.at].clone());
            }
            for key in drops {
                self.apply(Event::StepDropped { key });
            }
            if !steps.is_empty() {
                self.apply(Event::Scheduled { steps });
            }
            for key in naps {
                let wait = Wait::Timer { until: 1_000, since: 0 };
                self.apply(Event::Waiting { key, wait, rests: false });
            }
            let asleep: Vec<_> = self.run.waits.keys().cloned().collect();
            for key in asleep {
                self.apply(Event::TimerFired { key });
            }
            let open: Vec<_> = self.run.scheduled.keys().cloned().collect();
            let Some(key) = open.get(choice as usize % open.len().max(1)).cloned() else {
                continue;
            };
            *ends.entry(key.clone()).or_default() += 1;
            self.end(&key, &inputs[&key]);
        }
        panic!("the run does not end: {:?}", self.run);
    }

    fn over(&mut self, end: Result<Arc<Value>, Failure>) -> Result<Value, String> {
        match end {
            Ok(value) => {
                let digest = self.key.digest(value.to_string().as_bytes());
                self.apply(Event::Completed { digest });
                Ok(Value::clone(&value))
            }
            Err(Failure { key, code, .. }) => {
                self.apply(Event::Failed { key, code: code.clone(), group: None, told: false });
                Err(code)
            }
        }
    }

    fn end(&mut self, key: &Key, input: &Value) {
        let task = self.run.scheduled[key].task;
        let (key, seen) = (key.clone(), Went { attempts: 1, claimed_at: None });
        match result(key.as_str(), input) {
            Ok(output) => {
                self.seq += 1;
                let at = self.seq;
                self.sealed.insert(at, Arc::new(output));
                self.apply(Event::StepCompleted { key, task, at, seen });
            }
            Err(code) => {
                let code = code.to_owned();
                self.apply(Event::StepFailed {
                    key,
                    task,
                    at: None,
                    code,
                    seen,
                    steps: Vec::new(),
                });
            }
        }
    }
}

fn leaf() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Step(Box::default())),
        1 => Just(Kind::Sleep { ms: 1 }),
    ]
}

pub(in crate::workflows) fn kinds() -> impl Strategy<Value = Kind> {
    leaf().prop_recursive(3, 24, 4, |inner| {
        let node = inner.prop_map(|kind| Node { name: String::new(), input: None, kind });
        let nodes = prop::collection::vec(node, 1..4);
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

/// A definition of these.
pub(in crate::workflows) fn defined(kinds: Vec<Kind>) -> Definition {
    let mut next = 0;
    let nodes = kinds.into_iter().map(|kind| named(kind, &mut next)).collect();
    let (name, routing) = ("w".into(), Routing::default());
    Definition { name, description: None, routing, sticky_ms: None, nodes, output: None }
}

/// Gives every node a name of its own.
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
        other => other,
    };
    Node { name, input: None, kind }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn run_comes_to_what_its_definition_says_in_whatever_order_and_with_whatever_memory(
        kinds in prop::collection::vec(kinds(), 1..4),
        start in 0_i64..1_000,
        moves in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let definition = defined(kinds);
        let input = json!({ "n": start });
        let expected = reference(&definition.nodes, &Path::default(), input.clone());

        let played = Play::start(input).play(&definition, &moves);

        match (played, expected) {
            (Ok(played), Ok(expected)) => prop_assert_eq!(codes_only(&played), expected),
            (Err(_), Err(_)) => {}
            (played, expected) => prop_assert!(false, "{:?} instead of {:?}", played, expected),
        }
    }
}

#[test]
fn branch_that_was_dropped_is_not_why_the_others_were() {
    let step =
        |name: &str| Node { name: name.into(), input: None, kind: Kind::Step(Box::default()) };
    let parallel = |name: &str, branches, on_failure| {
        let kind = Kind::Parallel { branches, on_failure, limit: None };
        Node { name: name.into(), input: None, kind }
    };
    let inner = parallel("inner", vec![step("slow"), step("bad")], OnFailure::FailFast);
    let mut definition = defined(Vec::new());
    definition.nodes = vec![parallel("outer", vec![inner, step("other")], OnFailure::Collect)];
    let mut play = Play::start(json!({ "n": 1 }));
    let steps = ["slow", "bad", "other"];
    let steps = steps.map(|name| Scheduled { key: name.into(), task: TaskId::fresh() }).to_vec();
    let tasks: Vec<_> = steps.iter().map(|step| step.task).collect();
    let seen = Went { attempts: 1, claimed_at: None };
    play.apply(Event::Scheduled { steps });
    let code = "reported".to_owned();
    let (key, task, steps) = ("bad".into(), tasks[1], Vec::new());
    play.apply(Event::StepFailed { key, task, at: None, code, seen, steps });
    play.apply(Event::StepDropped { key: "slow".into() });
    play.sealed.insert(9, Arc::new(json!("done")));
    play.apply(Event::StepCompleted { key: "other".into(), task: tasks[2], at: 9, seen });

    let end = plan(&definition, &play.run, &play.sealed).end;

    let inner = json!({ "error": { "code": "reported", "message": null } });
    assert_eq!(*end.unwrap().unwrap(), json!({ "inner": inner, "other": "done" }));
}
