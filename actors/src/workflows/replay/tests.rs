//! Histories that the interpreter makes fit their definitions at each of their events; those that somebody changed do not.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::id::TaskId;
use crate::workflows::definition::{Kind, Node};
use crate::workflows::expression::Expression;
use crate::workflows::plan::tests::{Play, defined, kinds};

/// Replays a history, each value read when it is needed first, and asks for the end.
fn replayed<'a>(
    definition: &'a Definition,
    play: &'a Play,
    history: &[Fact],
    mut each: impl FnMut(&Replay<'a>),
) -> Replay<'a> {
    let mut replay = Replay::new(definition, &play.key);
    replay.know(play.recorded.clone());
    let mut values = Values::new();
    let read = |values: &mut Values, missing: BTreeSet<Place>| {
        values.extend(missing.iter().map(|place| (place.at, play.sealed[&place.at].clone())));
    };
    for fact in history {
        while let Err(missing) = replay.take(fact, &values) {
            read(&mut values, missing);
        }
        each(&replay);
    }
    let wanted = loop {
        match replay.wants(&values) {
            Ok(wanted) => break wanted,
            Err(missing) => read(&mut values, missing),
        }
    };
    replay.end(&wanted);
    replay
}

fn parts(replay: &Replay<'_>) -> bool {
    !replay.diverged().0.is_empty()
}

/// Every leaf that is on record under its own name, with its place in the tree.
fn leaves<'d>(nodes: &'d mut [Node], found: &mut Vec<&'d mut Node>) {
    for node in nodes {
        if matches!(node.kind, Kind::Step(_) | Kind::Sleep { .. }) {
            found.push(node);
            continue;
        }
        match &mut node.kind {
            Kind::Sequence { nodes } | Kind::Loop { nodes, .. } => leaves(nodes, found),
            Kind::Parallel { branches, .. } => leaves(branches, found),
            Kind::Branch { cases, otherwise } => {
                cases.iter_mut().for_each(|case| leaves(&mut case.nodes, found));
                leaves(otherwise, found);
            }
            _ => unreachable!("none of these is made here"),
        }
    }
}

/// Changes one leaf that has begun, if there is one.
fn changed(
    definition: &Definition,
    run: &Run,
    pick: usize,
    fits: fn(&Kind) -> bool,
    change: impl FnOnce(&mut Node),
) -> Option<Definition> {
    let mut other = definition.clone();
    let mut found = Vec::new();
    leaves(&mut other.nodes, &mut found);
    let begun = |node: &Node| run.done.keys().any(|key| key.node() == node.name);
    let mut begun: Vec<_> =
        found.into_iter().filter(|node| begun(node) && fits(&node.kind)).collect();
    let at = pick.checked_rem(begun.len())?;
    change(begun.swap_remove(at));
    Some(other)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn history_fits_its_definition_at_each_of_its_events(
        kinds in prop::collection::vec(kinds(), 1..4),
        start in 0_i64..1_000,
        moves in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let definition = defined(kinds);
        let mut play = Play::start(json!({ "n": start }));
        let _ = play.play(&definition, &moves);

        let mut fits = Vec::new();
        let replay = replayed(&definition, &play, &play.history, |replay| {
            fits.push(replay.diverged().0.to_vec());
        });

        prop_assert_eq!(fits.iter().flatten().next(), None);
        prop_assert_eq!(replay.diverged(), (&[][..], false));
        prop_assert_eq!(replay.run(), Some(&play.run));
    }

    #[test]
    fn history_that_was_changed_is_found(
        kinds in prop::collection::vec(kinds(), 1..4),
        start in 0_i64..1_000,
        moves in prop::collection::vec(any::<u8>(), 1..40),
        pick in any::<prop::sample::Index>(),
    ) {
        let definition = defined(kinds);
        let mut play = Play::start(json!({ "n": start }));
        let _ = play.play(&definition, &moves);
        prop_assume!(play.history.len() > 1);
        let at = 1 + pick.index(play.history.len() - 1);
        let found = |history: &[Fact]| parts(&replayed(&definition, &play, history, |_| {}));

        let twice = [&play.history[..=at], &play.history[at..]].concat();
        prop_assert!(found(&twice), "{:?} twice", play.history[at]);
        let without = [&play.history[..at], &play.history[at + 1..]].concat();
        // What ended after something else had failed is wanted by nobody.
        let fatal = play.history.iter().any(|fact| matches!(fact.event, Event::Failed { .. }));
        if !fatal {
            prop_assert!(found(&without), "without {:?}", play.history[at]);
        }
        let mut other = play.history.clone();
        if let Event::StepCompleted { task, .. } = &mut other[at].event {
            *task = TaskId::fresh();
            prop_assert!(found(&other), "of another task: {:?}", play.history[at]);
        }
    }

    #[test]
    fn definition_that_was_changed_is_found(
        kinds in prop::collection::vec(kinds(), 1..4),
        start in 0_i64..1_000,
        moves in prop::collection::vec(any::<u8>(), 1..40),
        pick in any::<usize>(),
    ) {
        let definition = defined(kinds);
        let mut play = Play::start(json!({ "n": start }));
        let completed = play.play(&definition, &moves).is_ok();
        let found = |other: &Definition| parts(&replayed(other, &play, &play.history, |_| {}));
        let any = |_: &Kind| true;
        let step = |kind: &Kind| matches!(kind, Kind::Step(_));

        let renamed = changed(&definition, &play.run, pick, any, |node| node.name.push('x'));
        prop_assert!(renamed.is_none_or(|other| found(&other)), "a node has another name");
        let given = changed(&definition, &play.run, pick, step, |node| {
            node.input = Some(Expression::parse("{'n': 1001}").unwrap());
        });
        prop_assert!(given.is_none_or(|other| found(&other)), "a step is given something else");
        let extra = Node { name: "extra".into(), input: None, kind: Kind::Step(Box::default()) };
        let mut first = definition.clone();
        first.nodes.insert(0, extra.clone());
        prop_assert!(found(&first), "there is a step before all others");
        let mut last = definition.clone();
        last.nodes.push(extra);
        prop_assert_eq!(found(&last), completed, "there is a step behind all others");
        let output = Some(Expression::parse("'nothing of the kind'").unwrap());
        prop_assert_eq!(found(&Definition { output, ..definition.clone() }), completed);
    }
}

#[test]
fn every_way_to_part_says_where_and_what() {
    let definition = defined(vec![Kind::Step(Box::default()), Kind::Sleep { ms: 1 }]);
    let mut play = Play::start(json!({ "n": 1 }));
    play.play(&definition, &[1]).unwrap();
    let told = |definition: &Definition, history: &[Fact]| -> Vec<String> {
        let replay = replayed(definition, &play, history, |_| {});
        let told = |one: &Divergence| format!("{} {} {}", one.at, one.how.as_str(), one.detail);
        replay.diverged().0.iter().map(told).collect()
    };

    assert_eq!(told(&definition, &play.history), [""; 0]);
    let open = &play.history[..3];
    assert_eq!(
        told(&definition, open),
        ["4 never_happened the definition asks for timer n2; the run is running"]
    );
    let twice = [&play.history[..3], &play.history[2..]].concat();
    assert_eq!(told(&definition, &twice), ["4 impossible no task of n1 is open"]);
    let mut longer = definition.clone();
    longer.nodes[1].kind = Kind::Sleep { ms: 2 };
    assert_eq!(
        told(&longer, &play.history),
        ["5 otherwise n2 began to wait for a time; it was to last 2 ms"]
    );
    let mut renamed = definition.clone();
    renamed.nodes[1].name = "nap".into();
    assert_eq!(
        told(&renamed, &play.history),
        [
            "5 not_wanted n2 began to wait for a time; the definition asks for timer nap",
            "7 not_wanted the run completed; the definition asks for timer nap",
        ]
    );
    assert_eq!(
        told(&definition, &play.history[1..]),
        ["2 unreadable the run has no beginning: what came before is gone"]
    );
}
