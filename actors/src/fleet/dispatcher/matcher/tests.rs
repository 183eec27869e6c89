//! Matching, by examples, by counts and against the obvious lists.

use super::*;

fn wants(pool: &str, label: Option<(&str, &str)>) -> Arc<Requirement> {
    Arc::new(Requirement {
        project: None,
        pool: pool.into(),
        model: None,
        labels: label.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
    })
}

fn profile(pool: &str, labels: &[(&str, &str)]) -> Profile {
    Profile {
        project: None,
        pool: pool.into(),
        models: Default::default(),
        labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
    }
}

fn poll(number: u64) -> Poll {
    Poll { worker: WorkerId::fresh(), poll: number, request: None, max: 1 }
}

#[test]
fn class_is_first_in_first_out_and_a_returned_task_goes_first() {
    let mut matcher = Matcher::default();
    let (a, b, c) = (TaskId::fresh(), TaskId::fresh(), TaskId::fresh());
    let class = wants("p", None);
    for (order, task) in [(2, b), (3, c)] {
        matcher.queue_task(&class, order, task);
    }
    matcher.queue_task(&class, 1, a);

    let party = profile("p", &[]);
    let taken: Vec<_> = std::iter::from_fn(|| matcher.take_task(&party)).collect();

    assert_eq!(taken, [a, b, c]);
}

#[test]
fn worker_without_the_label_is_never_offered_the_task() {
    let mut matcher = Matcher::default();
    let task = TaskId::fresh();
    matcher.queue_task(&wants("p", Some(("gpu", "true"))), 1, task);

    assert_eq!(matcher.take_task(&profile("p", &[])), None);
    assert_eq!(matcher.take_task(&profile("q", &[("gpu", "true")])), None);
    assert_eq!(matcher.take_task(&profile("p", &[("gpu", "true"), ("x", "y")])), Some(task));
}

#[test]
fn longest_parked_poll_is_served_first_and_a_left_one_never() {
    let mut matcher = Matcher::default();
    let (one, two) = (profile("p", &[]), profile("p", &[("x", "y")]));
    matcher.park(&one, 1, poll(1));
    matcher.park(&two, 2, poll(2));
    matcher.park(&one, 3, poll(3));
    matcher.unpark(&one, 1);

    let class = wants("p", None);
    let served: Vec<_> =
        std::iter::from_fn(|| matcher.take_poll(&class)).map(|poll| poll.poll).collect();

    assert_eq!(served, [2, 3]);
}

/// Cost is counted in hints, with 10,000 classes and 5,000 distinct profiles.
#[test]
fn cost_of_a_match_grows_with_neither_classes_nor_profiles() {
    let mut matcher = Matcher::default();
    let profiles: Vec<_> = (0..5_000).map(|n| profile("p", &[("n", &n.to_string())])).collect();
    let classes: Vec<_> =
        (0..10_000).map(|n| wants("p", Some(("n", &(n % 5_000).to_string())))).collect();
    profiles.iter().for_each(|profile| matcher.join(profile));
    for (order, class) in classes.iter().enumerate() {
        matcher.queue_task(class, order as u64, TaskId::fresh());
    }
    let open = wants("p", None);
    matcher.queue_task(&open, 20_000, TaskId::fresh());

    let mut matches = 0;
    for round in 0..4_u64 {
        for (n, profile) in profiles.iter().enumerate() {
            match matcher.take_task(profile) {
                Some(_) => matches += 1,
                None => matcher.park(profile, round * 10_000 + n as u64, poll(n as u64)),
            }
        }
    }
    for order in 0..1_000 {
        matches += u64::from(matcher.take_poll(&open).is_some());
        matcher.queue_task(&open, 30_000 + order, TaskId::fresh());
    }

    assert_eq!(matches, 10_001 + 1_000);
    assert!(matcher.steps() < 8 * 21_000, "{} hints looked at", matcher.steps());
}

#[test]
fn made_up_classes_do_not_pile_up() {
    let mut matcher = Matcher::default();
    let party = profile("p", &[]);
    matcher.join(&party);
    let kept = TaskId::fresh();
    matcher.queue_task(&wants("q", None), 1, kept);

    for n in 0..IDLE_NODES as u64 + 10 {
        let class = Requirement { model: None, ..(*wants("p", None)).clone() };
        let class = Arc::new(Requirement { labels: [].into(), ..class });
        matcher.class(&wants("p", Some(("n", &n.to_string()))));
        matcher.queue_task(&class, n, TaskId::fresh());
        assert!(matcher.take_task(&party).is_some());
    }

    assert!(matcher.classes.nodes.len() < IDLE_NODES);
    assert_eq!(matcher.take_task(&profile("q", &[])), Some(kept));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Op {
        Task(u8),
        Poll(u8),
        Leave(u8),
        Take(u8),
        Offer(u8),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = (0..5_u8, 0..6_u8).prop_map(|(what, n)| match what {
            0 => Op::Task(n),
            1 => Op::Poll(n),
            2 => Op::Leave(n),
            3 => Op::Take(n),
            _ => Op::Offer(n),
        });
        proptest::collection::vec(op, 1..120)
    }

    fn class_of(n: u8) -> Arc<Requirement> {
        let label = n % 3;
        wants(
            if n < 3 { "p" } else { "q" },
            (label > 0).then_some(("l", ["", "a", "b"][label as usize])),
        )
    }

    fn party_of(n: u8) -> Profile {
        let labels: &[_] = match n % 3 {
            0 => &[],
            1 => &[("l", "a")],
            _ => &[("l", "b")],
        };
        profile(if n < 3 { "p" } else { "q" }, labels)
    }

    proptest! {
        /// Against the obvious lists: whatever fits is found, and nothing else.
        #[test]
        fn finds_a_match_exactly_when_there_is_one(ops in ops()) {
            let mut matcher = Matcher::default();
            let mut tasks: Vec<(u64, TaskId, u8)> = Vec::new();
            let mut polls: Vec<(u64, u8)> = Vec::new();
            for (order, op) in ops.into_iter().enumerate() {
                let order = order as u64;
                match op {
                    Op::Task(n) => {
                        let task = TaskId::fresh();
                        matcher.queue_task(&class_of(n), order, task);
                        tasks.push((order, task, n));
                    }
                    Op::Poll(n) => {
                        matcher.park(&party_of(n), order, poll(order));
                        polls.push((order, n));
                    }
                    Op::Leave(n) => {
                        if let Some(at) = polls.iter().position(|(_, party)| *party == n) {
                            let (order, n) = polls.remove(at);
                            matcher.unpark(&party_of(n), order);
                        }
                    }
                    Op::Take(n) => {
                        let party = party_of(n);
                        let best = tasks.iter().position(|(_, _, c)| party.fits(&class_of(*c)));
                        let expected = best.map(|at| tasks.remove(at).1);
                        prop_assert_eq!(matcher.take_task(&party), expected);
                    }
                    Op::Offer(n) => {
                        let class = class_of(n);
                        let best = polls.iter().position(|(_, p)| party_of(*p).fits(&class));
                        let expected = best.map(|at| polls.remove(at).0);
                        prop_assert_eq!(matcher.take_poll(&class).map(|p| p.poll), expected);
                    }
                }
                prop_assert_eq!(matcher.waiting().0, tasks.len());
                prop_assert_eq!(matcher.parked(), polls.len());
            }
        }
    }
}
