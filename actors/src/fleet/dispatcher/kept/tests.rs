//! Bounds of what is kept, and that nothing is kept from anybody for longer than it should.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::fact::Stamp;
use crate::fleet::dispatcher::book::{Book, Match, Parked, Served};
use crate::fleet::registry::Seat;
use crate::fleet::task::{Affinity, Ending, Event, Handling, Phase, Profile, Requirement, sample};

fn of(key: &str) -> Task {
    let affinity = Some(Box::new(Affinity::to(key)));
    Task { handling: Handling { affinity, ..Handling::default() }, ..sample() }
}

#[test]
fn keys_are_bounded_and_the_oldest_is_forgotten() {
    let (mut homes, worker) = (Homes::default(), WorkerId::fresh());
    for n in 0..=KEYS_MAX {
        homes.claimed(&of(&n.to_string()), worker);
        homes.returned(&of("1"), worker);
    }

    assert_eq!(homes.of(&of("0")), None);
    assert_eq!(homes.of(&of("2")), Some(worker));
    assert_eq!((homes.known.len(), homes.seen.len()), (KEYS_MAX, KEYS_MAX));
    assert_eq!(homes.of(&sample()), None);
}

#[test]
fn so_many_are_kept_for_a_worker_and_no_more() {
    let (mut kept, worker) = (Kept::default(), WorkerId::fresh());
    let stay = |seq| Stay { worker, until: 1, order: Order::by_age(seq) };
    let first = TaskId::fresh();
    assert!(kept.keep(first, stay(0)));
    (1..KEPT_MAX as u64).for_each(|seq| assert!(kept.keep(TaskId::fresh(), stay(seq))));
    assert!(!kept.keep(TaskId::fresh(), stay(u64::MAX)));

    assert_eq!(kept.remove(first), Some(stay(0)));
    assert_eq!((kept.len(), kept.of(worker).count()), (KEPT_MAX - 1, KEPT_MAX - 1));
    assert!(kept.keep(first, stay(0)));
}

/// What happens to a fleet of three.
#[derive(Debug, Clone)]
enum Op {
    Submit { key: Option<u8>, not_before: u8 },
    Poll(usize),
    Finish(usize),
    Lose(usize),
    Join(usize),
    Leave(usize),
    Cancel(usize),
    Pass(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let worker = || 0..3_usize;
    let op = prop_oneof![
        (prop::option::of(0..4_u8), 0..3_u8)
            .prop_map(|(key, not_before)| Op::Submit { key, not_before }),
        (prop::option::of(0..4_u8), Just(0))
            .prop_map(|(key, not_before)| Op::Submit { key, not_before }),
        worker().prop_map(Op::Poll),
        worker().prop_map(Op::Poll),
        worker().prop_map(Op::Finish),
        worker().prop_map(Op::Lose),
        worker().prop_map(Op::Join),
        worker().prop_map(Op::Leave),
        (0..8_usize).prop_map(Op::Cancel),
        (1..4_u8).prop_map(Op::Pass),
    ];
    prop::collection::vec(op, 1..100)
}

/// The dispatcher without its actor.
struct Desk {
    book: Book,
    workers: Vec<WorkerId>,
    tasks: Vec<TaskId>,
    polls: HashMap<WorkerId, Vec<Parked>>,
    seq: u64,
    now: i64,
}

const SECOND: i64 = 1_000_000;

impl Desk {
    fn new() -> Self {
        let workers = (0..3).map(|_| WorkerId::fresh()).collect();
        let (tasks, polls) = (Vec::new(), HashMap::new());
        let mut desk = Self { book: Book::default(), workers, tasks, polls, seq: 1, now: SECOND };
        (0..3).for_each(|at| desk.join(at));
        desk
    }

    fn apply(&mut self, task: TaskId, event: &Event) {
        self.seq += 1;
        self.book.apply(task, event, Stamp { seq: self.seq, at: self.now, by: "t" });
    }

    fn claim(&mut self, Match { poll, tasks }: Match) {
        let worker = poll.worker;
        for task in tasks {
            let attempt = self.book.task(task).unwrap().attempts() + 1;
            self.apply(task, &Event::Claimed { attempt, worker, request: None });
        }
        self.polls.entry(worker).or_default().retain(|parked| parked.poll != poll.poll);
    }

    fn place(&mut self, tasks: &[TaskId]) {
        tasks.iter().for_each(|task| self.book.queue(*task, self.now));
        for task in tasks {
            while let Some(found) = self.book.match_task(*task, self.now) {
                self.claim(found);
            }
        }
    }

    fn serve(&mut self, worker: WorkerId) {
        while let Served::Match(found) = self.book.serve(worker) {
            self.claim(found);
        }
    }

    fn join(&mut self, at: usize) {
        self.seq += 1;
        let worker = self.workers[at];
        self.polls.remove(&worker);
        self.book.seat(Seat {
            worker,
            profile: Profile { pool: "p".into(), ..Profile::default() },
            seats: at as u32 + 1,
            paused: false,
            gone: Default::default(),
            lacking: Default::default(),
            as_of: self.seq,
        });
    }

    fn end(&mut self, at: usize, event: impl Fn(u32, WorkerId) -> Event) {
        let worker = self.workers[at];
        let Some((task, attempt)) =
            self.book.leases(worker).map(|task| (task.id, task.attempts())).next()
        else {
            return;
        };
        self.apply(task, &event(attempt, worker));
        self.place(&[task]);
        self.serve(worker);
    }

    fn submit(&mut self, key: Option<u8>, not_before: u8) {
        let task = TaskId::fresh();
        let affinity = |key: u8| Box::new(Affinity { key: key.to_string(), wait_ms: 3_000 });
        let later = self.now + i64::from(not_before) * SECOND;
        let handling = Handling {
            affinity: key.map(affinity),
            not_before: (not_before > 0).then_some(later),
            ..Handling::default()
        };
        let event = Event::Submitted {
            task,
            wants: Arc::new(Requirement { pool: "p".into(), ..Requirement::default() }),
            request: None,
            digest: String::new(),
            payload_bytes: 0,
            handling,
            step: None,
            history: Vec::new(),
        };
        self.apply(task, &event);
        self.tasks.push(task);
        self.place(&[task]);
    }

    fn does(&mut self, op: Op) {
        match op {
            Op::Submit { key, not_before } => self.submit(key, not_before),
            Op::Poll(at) => {
                let worker = self.workers[at];
                self.seq += 1;
                let poll = self.seq;
                let parked = Parked { poll, request: None, once: false, max: 2, origin: None };
                let polls = self.polls.entry(worker).or_default();
                if polls.len() < 4 {
                    polls.push(parked);
                }
                self.book.set_polls(worker, &polls.clone());
                self.serve(worker);
            }
            Op::Finish(at) => self.end(at, |attempt, worker| Event::Completed {
                attempt,
                worker,
                digest: String::new(),
            }),
            Op::Lose(at) => self.end(at, |attempt, worker| Event::Returned {
                attempt,
                worker,
                why: Ending::HandedBack,
            }),
            Op::Join(at) => self.join(at),
            Op::Leave(at) => {
                self.seq += 1;
                let worker = self.workers[at];
                self.polls.remove(&worker);
                for (task, attempt) in self.book.unseat(worker, self.seq) {
                    let why = Ending::Revoked;
                    self.apply(task, &Event::Returned { attempt, worker, why });
                    self.place(&[task]);
                }
            }
            Op::Cancel(at) => {
                let waits = |task: &&TaskId| self.book.ready(**task, self.now).is_some();
                if let Some(task) = self.tasks.iter().filter(waits).nth(at).copied() {
                    self.apply(task, &Event::Cancelled { reason: None });
                }
            }
            Op::Pass(seconds) => {
                self.now += i64::from(seconds) * SECOND;
                while let Some(task) = self.book.take_due(self.now) {
                    self.place(&[task]);
                }
            }
        }
        let released = self.book.take_released();
        self.place(&released);
    }

    /// Nothing waits beside a poll that may have it, but for the worker that it is kept for, and not for longer than it may.
    fn check(&self) {
        let waiting = |task: &&TaskId| self.book.ready(**task, self.now).is_some();
        let waiting: Vec<_> = self.tasks.iter().filter(waiting).collect();
        let depth = self.book.depth();
        assert_eq!(depth.waiting, waiting.len());
        for task in waiting {
            match self.book.stay(*task) {
                None => assert_eq!(depth.parked, 0, "a poll waits beside a task"),
                Some(stay) => {
                    let mut seated = self.book.sittings().filter(|s| s.worker == stay.worker);
                    let able = |seated: Option<crate::fleet::dispatcher::book::Seated<'_>>| {
                        seated.is_some_and(|s| s.polls == 0 || s.leases == s.seats)
                    };
                    assert!(able(seated.next()), "kept for somebody who waits, or is not there");
                    assert!(stay.until > self.now, "kept for too long");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_kept_from_anybody_for_longer_than_it_may_and_nothing_is_lost(ops in ops()) {
        let mut desk = Desk::new();
        for op in ops {
            desk.does(op);
            desk.check();
        }
        desk.does(Op::Pass(10));
        (0..3).for_each(|at| desk.does(Op::Join(at)));
        for _ in 0..100 {
            for at in 0..3 {
                desk.does(Op::Poll(at));
                desk.does(Op::Finish(at));
            }
        }
        for task in &desk.tasks {
            prop_assert!(desk.book.task(*task).unwrap().is_closed());
        }
    }
}

#[test]
fn task_goes_to_the_worker_that_had_its_key_and_to_no_other_before_its_time() {
    let mut desk = Desk::new();
    let holder = |desk: &Desk, task: usize| {
        let task = desk.book.task(desk.tasks[task]).unwrap();
        (task.phase == Phase::Leased).then(|| task.lease().unwrap().worker)
    };
    desk.does(Op::Poll(1));
    (0..2).for_each(|_| desk.submit(Some(7), 0));
    desk.does(Op::Poll(0));
    assert_eq!((holder(&desk, 0), holder(&desk, 1)), (Some(desk.workers[1]), None));

    // Older work of another kind waits for it no less.
    desk.does(Op::Poll(1));
    assert_eq!(holder(&desk, 1), Some(desk.workers[1]));

    desk.submit(Some(7), 0);
    desk.does(Op::Pass(2));
    assert_eq!(holder(&desk, 2), None);
    desk.does(Op::Pass(1));
    assert_eq!(holder(&desk, 2), Some(desk.workers[0]));
}
