//! Properties: no text makes reading panic, and what is written is read as the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{parse, read, written};
use crate::fleet::task::{Condition, Mode, Network, Operator, Retry, Sandbox};
use crate::workflows::definition::{
    Approval, Approver, Approvers, Case, Definition, Kind, Node, OnExpiry, OnFailure, Routing, Step,
};
use crate::workflows::expression::Expression;

fn expression() -> impl Strategy<Value = Expression> {
    let sources = [
        "input",
        "true",
        "1 + 2",
        "previous.text + \": #\"",
        "'it'",
        "{\"a\": [1, input.b]}",
        "null",
        "input.x ? 1 : 2 // why\n",
        " previous ",
    ];
    prop::sample::select(sources.to_vec()).prop_map(|source| Expression::parse(source).unwrap())
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        Just("no".to_owned()),
        Just("1.0".to_owned()),
        "[a-zé ✓:#'\"-]{0,6}[a-z]"
    ]
}

fn ms() -> impl Strategy<Value = u64> {
    prop_oneof![1_u64..5_000, (1_u64..10_000).prop_map(|minutes| minutes * 60_000)]
}

fn routing() -> impl Strategy<Value = Routing> {
    let selector = prop::option::of((word(), word())).prop_map(|pair| -> BTreeSet<Condition> {
        let condition = |(key, value): (String, String)| Condition {
            key,
            operator: Operator::NotIn,
            values: [value].into(),
        };
        pair.into_iter().map(condition).collect()
    });
    let more = (
        prop::option::of(word()),
        prop::option::of(word()),
        prop::option::of(word()),
        prop::option::of(prop::sample::select(vec![Network::None, Network::Open])),
    );
    let labels = prop::collection::btree_map(word(), word(), 0..3);
    let sandbox = prop::sample::select(vec![Sandbox::None, Sandbox::Vm]);
    (more, labels, selector, sandbox).prop_map(
        |((pool, model, image, network), labels, selector, sandbox)| {
            let labels: BTreeMap<String, String> = labels;
            let project = model.clone();
            let mode = (!sandbox.is_none()).then_some(Mode::Sandboxed);
            Routing { project, pool, model, labels, selector, sandbox, mode, image, network }
        },
    )
}

fn step() -> impl Strategy<Value = Kind> {
    let retry = (1_u32..=100, 0_u64..600_000, 100_u32..=10_000, 0_u64..600_000).prop_map(
        |(max_attempts, initial_ms, factor_percent, more)| Retry {
            max_attempts,
            initial_ms,
            factor_percent,
            max_ms: initial_ms + more,
        },
    );
    let retry = prop_oneof![Just(Retry::default()), retry];
    let handler = prop::option::of(word());
    (handler, retry, prop::option::of(ms()), prop::option::of(0_u8..=9), routing()).prop_map(
        |(handler, retry, timeout_ms, priority, routing)| {
            Kind::Step(Box::new(Step { handler, retry, timeout_ms, priority, routing }))
        },
    )
}

fn approval() -> impl Strategy<Value = Kind> {
    let people = prop::collection::btree_set(word(), 0..3);
    let approvers = (people, 1_u32..4, any::<bool>()).prop_map(|(people, quorum, any)| Approvers {
        role: if any { Approver::Admin } else { Approver::Operator },
        quorum: if people.is_empty() { quorum } else { 1 },
        people,
        requester_may_approve: any,
    });
    let times = (prop::option::of(ms()), prop::option::of(ms()));
    (expression(), prop::option::of(expression()), approvers, times).prop_map(
        |(prompt, context, approvers, (expires_ms, remind_ms))| {
            let on_expiry = if expires_ms.is_some() { OnExpiry::Approve } else { OnExpiry::Reject };
            Kind::Approval(Box::new(Approval {
                prompt,
                context,
                approvers,
                expires_ms,
                on_expiry,
                remind_ms,
            }))
        },
    )
}

fn leaf() -> impl Strategy<Value = Kind> {
    let name = || "[a-z]{1,8}";
    prop_oneof![
        step(),
        approval(),
        ms().prop_map(|ms| Kind::Sleep { ms }),
        expression().prop_map(|at| Kind::SleepUntil { at }),
        (name(), prop::option::of(ms()))
            .prop_map(|(signal, timeout_ms)| Kind::WaitSignal { signal, timeout_ms }),
        (name(), prop::option::of("[0-9a-f]{8,16}"))
            .prop_map(|(workflow, version)| Kind::Child { workflow, version }),
    ]
}

fn named(kind: impl Strategy<Value = Kind>) -> impl Strategy<Value = Node> {
    (prop::option::of(expression()), kind).prop_map(|(input, kind)| Node {
        name: String::new(),
        input,
        kind,
    })
}

fn node() -> impl Strategy<Value = Node> {
    named(leaf()).prop_recursive(4, 24, 3, |inner| {
        let nodes = || prop::collection::vec(inner.clone(), 1..3);
        let cases = prop::collection::vec((expression(), nodes()), 1..3);
        let kind = prop_oneof![
            nodes().prop_map(|nodes| Kind::Sequence { nodes }),
            (nodes(), any::<bool>(), prop::option::of(1_u32..9)).prop_map(
                |(branches, all, limit)| {
                    let on_failure = if all { OnFailure::Collect } else { OnFailure::FailFast };
                    Kind::Parallel { branches, on_failure, limit }
                }
            ),
            (cases, prop::option::of(nodes())).prop_map(|(cases, otherwise)| {
                let cases = cases.into_iter().map(|(when, nodes)| Case { when, nodes }).collect();
                Kind::Branch { cases, otherwise: otherwise.unwrap_or_default() }
            }),
            (nodes(), prop::option::of(expression()), 1_u32..=1_000, any::<bool>()).prop_map(
                |(nodes, until, max, must)| {
                    let must_hold = must && until.is_some();
                    Kind::Loop { nodes, until, max, must_hold }
                }
            ),
        ];
        named(kind)
    })
}

/// Gives each node a name of its own, and some steps their own as their handler.
fn name(nodes: &mut [Node], count: &mut u32) {
    for node in nodes {
        *count += 1;
        node.name = format!("n-{count}");
        match &mut node.kind {
            Kind::Step(step) if count.is_multiple_of(2) => step.handler = Some(node.name.clone()),
            Kind::WaitSignal { signal, .. } if count.is_multiple_of(2) => {
                signal.clone_from(&node.name)
            }
            Kind::Sequence { nodes } | Kind::Loop { nodes, .. } => name(nodes, count),
            Kind::Parallel { branches, .. } => name(branches, count),
            Kind::Branch { cases, otherwise } => {
                cases.iter_mut().for_each(|case| name(&mut case.nodes, count));
                name(otherwise, count);
            }
            _ => {}
        }
    }
}

fn definition() -> impl Strategy<Value = Definition> {
    let text = prop::option::of(word());
    let nodes = prop::collection::vec(node(), 1..4);
    let sticky = prop::option::of(1_u64..=300_000);
    (text, routing(), nodes, prop::option::of(expression()), sticky).prop_map(
        |(description, routing, mut nodes, output, sticky_ms)| {
            name(&mut nodes, &mut 0);
            let name = "random".to_owned();
            Definition { name, description, routing, sticky_ms, nodes, output }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_as_the_same(definition in definition()) {
        prop_assert_eq!(definition.check(), Ok(()));
        let document = written(&definition).to_string();
        let stored = serde_json::to_string(&definition).unwrap();
        prop_assert_eq!(&parse(&document).unwrap(), &definition);
        prop_assert_eq!(&serde_json::from_str::<Definition>(&stored).unwrap(), &definition);
        let lints = read(&document).unwrap().lint(None);
        prop_assert!(lints.iter().all(|lint| lint.place.is_some()));
    }

    #[test]
    fn no_text_makes_reading_panic(
        text in ".{0,80}",
        yaml in "(name: [a-z]\n|steps:\n|  - |step: [a-z]\n|    |[a-z&*!\"'{}\\[\\]:,|> \t\n-]{1,5}){0,30}",
    ) {
        for text in [text, yaml] {
            if let Err(problems) = parse(&text) {
                prop_assert!(!problems.0.is_empty());
            }
        }
    }
}
