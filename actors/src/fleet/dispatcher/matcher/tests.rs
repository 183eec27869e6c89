//! Matching, by examples, by counts and against the obvious lists.

use super::*;

const ANYONE: WorkerId = WorkerId(uuid::Uuid::nil());

fn wants(pool: &str, label: Option<(&str, &str)>) -> Arc<Requirement> {
    Arc::new(Requirement {
        pool: pool.into(),
        labels: label.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
        ..Requirement::default()
    })
}

fn profile(pool: &str, labels: &[(&str, &str)]) -> Profile {
    Profile {
        pool: pool.into(),
        labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        ..Profile::default()
    }
}

fn in_line(line: u8, seq: u64) -> Place {
    Place { line, order: Order { rank: i64::from(line), seq } }
}

fn poll(number: u64) -> Poll {
    Poll { worker: WorkerId::fresh(), poll: number, request: None, max: 1, origin: None }
}

#[test]
fn class_is_first_in_first_out_and_a_returned_task_goes_first() {
    let mut matcher = Matcher::default();
    let (a, b, c) = (TaskId::fresh(), TaskId::fresh(), TaskId::fresh());
    let class = wants("p", None);
    for (order, task) in [(2, b), (3, c)] {
        matcher.queue_task(&class, Order::by_age(order), task);
    }
    matcher.queue_task(&class, Order::by_age(1), a);

    let party = profile("p", &[]);
    let taken: Vec<_> = std::iter::from_fn(|| matcher.take_task(&party, ANYONE)).collect();

    assert_eq!(taken, [a, b, c]);
}

#[test]
fn worker_without_the_label_is_never_offered_the_task() {
    let mut matcher = Matcher::default();
    let task = TaskId::fresh();
    matcher.queue_task(&wants("p", Some(("gpu", "true"))), Order::by_age(1), task);

    assert_eq!(matcher.take_task(&profile("p", &[]), ANYONE), None);
    assert_eq!(matcher.take_task(&profile("q", &[("gpu", "true")]), ANYONE), None);
    assert_eq!(
        matcher.take_task(&profile("p", &[("gpu", "true"), ("x", "y")]), ANYONE),
        Some(task)
    );
}

#[test]
fn longest_parked_poll_is_served_first_and_a_left_one_never() {
    let mut matcher = Matcher::default();
    let (one, two) = (profile("p", &[]), profile("p", &[("x", "y")]));
    matcher.park(&one, Place::by_age(1), poll(1));
    matcher.park(&two, Place::by_age(2), poll(2));
    matcher.park(&one, Place::by_age(3), poll(3));
    matcher.unpark(&one, Place::by_age(1));

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
        matcher.queue_task(class, Order::by_age(order as u64), TaskId::fresh());
    }
    let open = wants("p", None);
    matcher.queue_task(&open, Order::by_age(20_000), TaskId::fresh());

    let mut matches = 0;
    for round in 0..4_u64 {
        for (n, profile) in profiles.iter().enumerate() {
            match matcher.take_task(profile, ANYONE) {
                Some(_) => matches += 1,
                None => {
                    let place = in_line((n % 4) as u8, round * 10_000 + n as u64);
                    matcher.park(profile, place, poll(n as u64));
                }
            }
        }
    }
    for order in 0..1_000 {
        matches += u64::from(matcher.take_poll(&open).is_some());
        matcher.queue_task(&open, Order::by_age(30_000 + order), TaskId::fresh());
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
    matcher.queue_task(&wants("q", None), Order::by_age(1), kept);

    for n in 0..IDLE_NODES as u64 + 10 {
        let class = Requirement { model: None, ..(*wants("p", None)).clone() };
        let class = Arc::new(Requirement { labels: [].into(), ..class });
        matcher.class(&wants("p", Some(("n", &n.to_string()))));
        matcher.queue_task(&class, Order::by_age(n), TaskId::fresh());
        assert!(matcher.take_task(&party, ANYONE).is_some());
    }

    assert!(matcher.classes.nodes.len() < IDLE_NODES);
    assert_eq!(matcher.take_task(&profile("q", &[]), ANYONE), Some(kept));
}

#[test]
fn worker_that_shall_not_have_a_task_gets_the_next_one_and_another_gets_it() {
    let mut matcher = Matcher::default();
    let (class, party) = (wants("p", None), profile("p", &[]));
    let (left, right) = (WorkerId::fresh(), WorkerId::fresh());
    let (first, second) = (TaskId::fresh(), TaskId::fresh());
    matcher.avoid(first, &[left].into());
    matcher.queue_task(&class, Order::by_age(1), first);
    matcher.park(&party, Place::by_age(1), Poll { worker: left, ..poll(1) });
    matcher.park(&party, Place::by_age(2), Poll { worker: right, ..poll(2) });

    assert_eq!(matcher.take_poll(&class).map(|poll| poll.worker), Some(right));

    matcher.queue_task(&class, Order::by_age(2), second);
    assert_eq!(matcher.take_task(&party, left), Some(second));
    assert_eq!(matcher.take_task(&party, left), None);
    assert_eq!(matcher.take_task(&party, right), Some(first));
}

#[test]
fn cap_holds_tasks_back_until_one_of_them_ends() {
    let mut matcher = Matcher::default();
    let (class, party) = (wants("p", Some(("license", "x"))), profile("p", &[("license", "x")]));
    let gate = Gate::Label("license".into(), "x".into());
    matcher.govern([(gate.clone(), 1)], &BTreeMap::new(), [&*class].into_iter().take(0));
    for order in 1..=3 {
        matcher.queue_task(&class, Order::by_age(order), TaskId::fresh());
    }

    assert!(matcher.take_task(&party, ANYONE).is_some());
    assert_eq!(matcher.take_task(&party, ANYONE), None);
    assert_eq!(matcher.shut(&class), [Limit { gate, most: 1, running: 1 }]);
    matcher.park(&party, Place::by_age(1), poll(1));
    assert_eq!(matcher.take_poll(&class), None);
    assert_eq!(matcher.next_woken(), None);

    matcher.ended(&class);
    assert_eq!(matcher.next_woken(), Some(class.clone()));
    assert_eq!(matcher.take_poll(&class).map(|poll| poll.poll), Some(1));
    assert!(matcher.take_task(&party, ANYONE).is_some());
    assert_eq!(matcher.take_task(&party, ANYONE), None);
}

#[test]
fn pause_stops_a_pool_and_its_end_lets_everything_go_on() {
    let mut matcher = Matcher::default();
    let (class, party) = (wants("p", None), profile("p", &[]));
    let other = wants("q", None);
    let nothing = || std::iter::empty::<&Requirement>();
    matcher.queue_task(&class, Order::by_age(1), TaskId::fresh());
    matcher.queue_task(&other, Order::by_age(2), TaskId::fresh());

    matcher.govern([(Gate::Pool("p".into()), 0)], &BTreeMap::new(), nothing());
    assert_eq!(matcher.take_task(&party, ANYONE), None);
    assert!(matcher.take_task(&profile("q", &[]), ANYONE).is_some());
    while matcher.next_woken().is_some() {}

    matcher.govern([], &BTreeMap::new(), nothing());
    assert_eq!(matcher.next_woken(), Some(class));
    assert!(matcher.take_task(&party, ANYONE).is_some());
}

#[test]
fn projects_that_share_workers_get_their_weight_and_nothing_for_idling() {
    let mut matcher = Matcher::default();
    let of = |project: &str| {
        Arc::new(Requirement { project: Some(project.into()), ..(*wants("p", None)).clone() })
    };
    let (a, b) = (of("a"), of("b"));
    let shared_with = ["b".to_owned()].into();
    let party = Profile { project: Some("a".into()), shared_with, ..profile("p", &[]) };
    matcher.govern([], &[("b".to_owned(), 3)].into(), std::iter::empty());
    let mut names = HashMap::new();
    let mut order = 0;
    let mut queue = |matcher: &mut Matcher, class: &Arc<Requirement>, name, count| {
        for _ in 0..count {
            let task = TaskId::fresh();
            names.insert(task, name);
            order += 1;
            matcher.queue_task(class, Order::by_age(order), task);
        }
    };
    // A flood of one project comes first, and has the workers for itself meanwhile.
    queue(&mut matcher, &a, 'a', 100);
    let alone: Vec<_> = (0..50).filter_map(|_| matcher.take_task(&party, ANYONE)).collect();
    queue(&mut matcher, &b, 'b', 100);
    let mixed: Vec<_> = (0..40).filter_map(|_| matcher.take_task(&party, ANYONE)).collect();

    assert!(alone.iter().all(|task| names[task] == 'a'));
    let share = mixed.iter().filter(|task| names[*task] == 'b').count();
    assert!((29..=31).contains(&share), "{share} of 40 went to the project of weight 3");
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Op {
        Task(u8),
        Poll(u8, u8),
        Leave(u8),
        Take(u8),
        Offer(u8),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = (0..5_u8, 0..6_u8, 0..4_u8).prop_map(|(what, n, line)| match what {
            0 => Op::Task(n),
            1 => Op::Poll(n, line),
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
        /// Against the obvious lists: what fits and comes first is found, and nothing else.
        #[test]
        fn finds_a_match_exactly_when_there_is_one(ops in ops()) {
            let mut matcher = Matcher::default();
            let mut tasks: Vec<(u64, TaskId, u8)> = Vec::new();
            let mut polls: Vec<(Place, u8)> = Vec::new();
            for (order, op) in ops.into_iter().enumerate() {
                let order = order as u64;
                match op {
                    Op::Task(n) => {
                        let task = TaskId::fresh();
                        matcher.queue_task(&class_of(n), Order::by_age(order), task);
                        tasks.push((order, task, n));
                    }
                    Op::Poll(n, line) => {
                        let place = in_line(line, order);
                        matcher.park(&party_of(n), place, poll(order));
                        polls.push((place, n));
                        polls.sort_by_key(|(place, _)| place.order);
                    }
                    Op::Leave(n) => {
                        if let Some(at) = polls.iter().position(|(_, party)| *party == n) {
                            let (place, n) = polls.remove(at);
                            prop_assert!(matcher.unpark(&party_of(n), place).is_some());
                        }
                    }
                    Op::Take(n) => {
                        let party = party_of(n);
                        let best = tasks.iter().position(|(_, _, c)| party.fits(&class_of(*c)));
                        let expected = best.map(|at| tasks.remove(at).1);
                        prop_assert_eq!(matcher.take_task(&party, ANYONE), expected);
                    }
                    Op::Offer(n) => {
                        let class = class_of(n);
                        let best = polls.iter().position(|(_, p)| party_of(*p).fits(&class));
                        let expected = best.map(|at| polls.remove(at).0.order.seq);
                        prop_assert_eq!(matcher.take_poll(&class).map(|p| p.poll), expected);
                    }
                }
                prop_assert_eq!(matcher.waiting().0, tasks.len());
                prop_assert_eq!(matcher.parked(), polls.len());
            }
        }
    }
}
