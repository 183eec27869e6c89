//! How tasks spread over workers that wait, by rules against a fleet of counters.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;

use super::LEVELS;
use crate::fact::Stamp;
use crate::fleet::dispatcher::book::{Book, Parked, Served};
use crate::fleet::policy::{Balancing, Policy};
use crate::fleet::registry::Seat;
use crate::fleet::task::{Event, Handling, Profile, Requirement};
use crate::id::{TaskId, WorkerId};

/// Workers that poll whenever they have a free seat.
struct Fleet {
    book: Book,
    seats: Vec<(WorkerId, u32)>,
    /// Each claims with one poll for all of its free seats, or else with one for each.
    one_poll: bool,
    held: HashMap<WorkerId, Vec<TaskId>>,
    seq: u64,
    poll: u64,
    parked: HashMap<WorkerId, Vec<Parked>>,
}

impl Fleet {
    fn new(how: Balancing, seats: &[u32], one_poll: bool) -> Self {
        let mut book = Book::default();
        let balancing = BTreeMap::from([("p".to_owned(), how)]);
        book.govern(Policy { balancing, ..Policy::default() });
        let seats: Vec<_> = seats.iter().map(|seats| (WorkerId::fresh(), *seats)).collect();
        for (worker, seats) in &seats {
            book.seat(Seat {
                worker: *worker,
                profile: Profile { pool: "p".into(), ..Profile::default() },
                seats: *seats,
                paused: false,
                gone: Default::default(),
                lacking: Default::default(),
                as_of: 1,
            });
        }
        let (held, parked) = (HashMap::new(), HashMap::new());
        let mut fleet = Self { book, seats, one_poll, held, seq: 1, poll: 0, parked };
        fleet.seats.clone().iter().for_each(|(worker, _)| fleet.ask(*worker));
        fleet
    }

    fn load(&self, worker: WorkerId) -> usize {
        self.held.get(&worker).map_or(0, Vec::len)
    }

    fn free(&self) -> Vec<(WorkerId, u32)> {
        let has_room = |(worker, seats): &&(WorkerId, u32)| self.load(*worker) < *seats as usize;
        self.seats.iter().filter(has_room).copied().collect()
    }

    /// A worker polls for its free seats.
    fn ask(&mut self, worker: WorkerId) {
        let seats = self.seats.iter().find(|(known, _)| *known == worker).unwrap().1 as usize;
        let free = seats - self.load(worker);
        let parked = self.parked.entry(worker).or_default();
        let wanted = if self.one_poll { free.min(1) } else { free };
        while parked.len() < wanted {
            self.poll += 1;
            let max = if self.one_poll { free } else { 1 };
            parked.push(Parked { poll: self.poll, request: None, once: false, max, origin: None });
        }
        self.book.set_polls(worker, &parked.clone());
        assert!(matches!(self.book.serve(worker), Served::Empty(_)));
    }

    fn apply(&mut self, task: TaskId, event: &Event) {
        self.seq += 1;
        self.book.apply(task, event, Stamp { seq: self.seq, at: 0, by: "t" });
    }

    /// Tasks come together; answers who has got how many, in this order.
    fn submit(&mut self, count: usize) -> Vec<(WorkerId, usize)> {
        let wants = Arc::new(Requirement { pool: "p".into(), ..Requirement::default() });
        for _ in 0..count {
            let task = TaskId::fresh();
            let submitted = Event::Submitted {
                task,
                wants: wants.clone(),
                request: None,
                digest: String::new(),
                payload_bytes: 0,
                handling: Handling::default(),
                step: None,
                history: Vec::new(),
            };
            self.apply(task, &submitted);
            self.book.queue(task, 0);
        }
        let mut given = Vec::new();
        let mut left = count;
        while left > 0
            && let Some(found) = self.book.match_for(&wants)
        {
            let worker = found.poll.worker;
            for task in &found.tasks {
                self.apply(*task, &Event::Claimed { attempt: 1, worker, request: None });
                self.held.entry(worker).or_default().push(*task);
            }
            self.parked.entry(worker).or_default().retain(|poll| poll.poll != found.poll.poll);
            given.push((worker, found.tasks.len()));
            left -= found.tasks.len();
        }
        given.iter().for_each(|(worker, _)| self.ask(*worker));
        given
    }

    fn finish(&mut self, worker: WorkerId) {
        let Some(task) = self.held.get_mut(&worker).and_then(Vec::pop) else { return };
        self.apply(task, &Event::Completed { attempt: 1, worker, digest: String::new() });
        self.ask(worker);
    }
}

/// More than there are levels, too.
fn seats() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(prop_oneof![1..12_u32, 1..12_u32, 12..90_u32], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever ended and began before: a task goes to a worker that has no more of its seats taken than any other.
    #[test]
    fn least_loaded_worker_gets_the_task(
        seats in seats(),
        one_poll: bool,
        ends in proptest::collection::vec(proptest::option::of(0..8_usize), 1..80),
    ) {
        let mut fleet = Fleet::new(Balancing::LeastLoaded, &seats, one_poll);
        for end in ends {
            match end {
                Some(at) => {
                    let worker = fleet.seats[at % fleet.seats.len()].0;
                    fleet.finish(worker);
                }
                None if fleet.free().is_empty() => {}
                None => {
                    let level = |(worker, seats): &(WorkerId, u32)| {
                        fleet.load(*worker) as u64 * LEVELS / u64::from(*seats)
                    };
                    let least = fleet.free().iter().map(level).min();
                    let levels: HashMap<_, _> =
                        fleet.free().iter().map(|free| (free.0, level(free))).collect();
                    let given = fleet.submit(1);
                    prop_assert_eq!(given.first().map(|(worker, _)| levels[worker]), least);
                }
            }
        }
    }

    /// Tasks that only begin: no worker is more than one seat and one level ahead of another.
    #[test]
    fn load_is_even_to_a_seat(
        seats in seats(),
        one_poll: bool,
        part in 0.0..1.0_f64,
    ) {
        let mut fleet = Fleet::new(Balancing::LeastLoaded, &seats, one_poll);
        let all: u32 = seats.iter().sum();
        (0..(f64::from(all) * part) as u32).for_each(|_| drop(fleet.submit(1)));
        for (one, has) in &fleet.seats {
            for (other, had) in &fleet.seats {
                let [load, less] = [(one, has), (other, had)]
                    .map(|(worker, seats)| fleet.load(*worker) as f64 / f64::from(*seats));
                let most = less + 1.0 / f64::from(*has) + 1.0 / LEVELS as f64 + 1e-9;
                prop_assert!(load <= most, "{load} beside {less}");
            }
        }
    }

    /// While all wait, none has had two tasks more than another.
    #[test]
    fn workers_take_turns(
        seats in seats(),
        one_poll: bool,
        tasks in 1..120_usize,
    ) {
        let mut fleet = Fleet::new(Balancing::RoundRobin, &seats, one_poll);
        let mut had: HashMap<_, usize> = fleet.seats.iter().map(|seat| (seat.0, 0)).collect();
        for _ in 0..tasks {
            let (worker, _) = fleet.submit(1)[0];
            *had.get_mut(&worker).unwrap() += 1;
            prop_assert!(had.values().max().unwrap() - had.values().min().unwrap() <= 1, "{had:?}");
            fleet.finish(worker);
        }
    }
}

#[test]
fn worker_that_waits_gets_all_that_it_asks_for_where_age_decides() {
    let mut fleet = Fleet::new(Balancing::LongestWaiting, &[4, 4], true);
    let first = fleet.seats[0].0;

    assert_eq!(fleet.submit(4), [(first, 4)]);
}

#[test]
fn what_comes_together_is_spread_over_those_that_wait() {
    for how in [Balancing::LeastLoaded, Balancing::RoundRobin] {
        let mut fleet = Fleet::new(how, &[8, 8, 8], true);
        let counts: Vec<_> = fleet.submit(8).iter().map(|(_, count)| *count).collect();

        assert_eq!(counts, [3, 3, 2], "{how:?}");
    }
}

#[test]
fn worker_that_sat_aside_is_owed_no_turns_and_another_policy_counts_at_once() {
    let mut fleet = Fleet::new(Balancing::RoundRobin, &[4, 4], true);
    let [first, second] = [fleet.seats[0].0, fleet.seats[1].0];
    fleet.book.set_polls(second, &[]);
    fleet.parked.clear();
    fleet.ask(first);
    for _ in 0..10 {
        assert_eq!(fleet.submit(1), [(first, 1)]);
        fleet.finish(first);
    }
    fleet.ask(second);
    let turns: Vec<_> = (0..4)
        .map(|_| {
            let (worker, _) = fleet.submit(1)[0];
            fleet.finish(worker);
            worker
        })
        .collect();
    assert_eq!(turns.iter().filter(|worker| **worker == second).count(), 2, "{turns:?}");

    // The second has the longer wait, and then the higher load.
    fleet.submit(1);
    fleet.submit(1);
    fleet.finish(first);
    fleet.book.govern(Policy::default());
    assert_eq!(fleet.submit(1), [(first, 1)]);
}
