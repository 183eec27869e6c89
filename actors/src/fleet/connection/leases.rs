//! The clocks of the attempts that one worker holds. Pure: the time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetward_runtime::Moment;

use crate::fleet::task::Ending;
use crate::id::TaskId;
use crate::small;

/// How long attempts last.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// From one sign of life to the next.
    pub lease: Duration,
    /// From the grant to the first sign of life.
    pub start: Duration,
}

/// One attempt and its clock.
#[derive(Debug, Clone)]
struct Clock {
    attempt: u32,
    request: Option<String>,
    /// When it ends unless it is renewed.
    until: Moment,
    /// The length of its present term.
    term: Duration,
    granted: Moment,
    /// The answer was written to the end.
    written: bool,
    /// The worker named it, so it has it.
    shown: bool,
}

/// The attempts of one worker.
#[derive(Debug)]
pub struct Leases {
    terms: Terms,
    clocks: BTreeMap<TaskId, Clock>,
}

/// An attempt whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// Of which task.
    pub task: TaskId,
    /// Which.
    pub attempt: u32,
    /// How it ended.
    pub why: Ending,
}

impl Leases {
    /// None yet.
    pub fn new(terms: Terms) -> Self {
        Self { terms, clocks: BTreeMap::new() }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.clocks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.clocks.is_empty()
    }

    /// An attempt begins: on a start term, until the worker shows that it has it.
    pub fn start(&mut self, task: TaskId, attempt: u32, request: Option<String>, now: Moment) {
        let term = self.terms.start;
        self.clocks.insert(
            task,
            Clock {
                attempt,
                request,
                until: now + term,
                term,
                granted: now,
                written: false,
                shown: false,
            },
        );
    }

    /// The answer went out whole. That is all an older client ever shows, so for it the full term begins.
    pub fn written(&mut self, task: TaskId, attempt: u32, names_tasks: bool, now: Moment) {
        let Some(clock) = self.clocks.get_mut(&task).filter(|clock| clock.attempt == attempt)
        else {
            return;
        };
        clock.written = true;
        if !names_tasks {
            clock.renew(self.terms.lease, now);
        }
    }

    /// A heartbeat that names what the worker has. Answers what it has no right to any more.
    pub fn renew_named(&mut self, held: &[(TaskId, u32)], now: Moment) -> Vec<(TaskId, u32)> {
        let mut lost = Vec::new();
        for (task, attempt) in held {
            match self.clocks.get_mut(task).filter(|clock| clock.attempt == *attempt) {
                Some(clock) => {
                    clock.shown = true;
                    clock.renew(self.terms.lease, now);
                }
                None => lost.push((*task, *attempt)),
            }
        }
        lost
    }

    /// A heartbeat of an older client: it names nothing, so it renews what it surely got.
    pub fn renew_written(&mut self, now: Moment) {
        for clock in self.clocks.values_mut().filter(|clock| clock.written) {
            clock.renew(self.terms.lease, now);
        }
    }

    /// Every attempt gets a whole term from `since`: the clock or the journal was away, not the worker.
    pub fn renew_all(&mut self, since: Moment) {
        for clock in self.clocks.values_mut() {
            clock.renew(clock.term, since);
        }
    }

    /// An attempt is over; a newer one of the same task is not.
    pub fn end(&mut self, task: TaskId, attempt: u32) {
        if self.holds(task, attempt) {
            self.clocks.remove(&task);
            small::trim(&mut self.clocks);
        }
    }

    /// Makes the attempts those that the dispatcher says; unknown ones begin a start term.
    pub fn reconcile(&mut self, held: Vec<(TaskId, u32, Option<String>)>, now: Moment) {
        let mut known = std::mem::take(&mut self.clocks);
        for (task, attempt, request) in held {
            match known.remove(&task).filter(|clock| clock.attempt == attempt) {
                Some(clock) => drop(self.clocks.insert(task, clock)),
                None => self.start(task, attempt, request, now),
            }
        }
    }

    /// Whether the worker holds this attempt.
    pub fn holds(&self, task: TaskId, attempt: u32) -> bool {
        self.clocks.get(&task).is_some_and(|clock| clock.attempt == attempt)
    }

    /// Whether a claim of this name was answered with an attempt that is still held.
    pub fn has_request(&self, request: &str) -> bool {
        self.clocks.values().any(|clock| clock.request.as_deref() == Some(request))
    }

    /// The attempt that has been held longest.
    pub fn oldest(&self) -> Option<Over> {
        let (task, clock) = self.clocks.iter().min_by_key(|(_, clock)| clock.granted)?;
        let why = if clock.read() { Ending::Overflow } else { Ending::Unread };
        Some(Over { task: *task, attempt: clock.attempt, why })
    }

    /// All of them, ended for one reason.
    pub fn all(&self, why: Ending) -> Vec<Over> {
        let over =
            |(task, clock): (&TaskId, &Clock)| Over { task: *task, attempt: clock.attempt, why };
        self.clocks.iter().map(over).collect()
    }

    /// The attempts whose time is over. They stay, for another start term, until the dispatcher says that they
    /// are gone: what told it so may have been lost.
    pub fn take_over(&mut self, now: Moment) -> Vec<Over> {
        let start = self.terms.start;
        let due = self.clocks.iter_mut().filter(|(_, clock)| clock.until <= now);
        due.map(|(task, clock)| {
            clock.until = now + start;
            let why = if clock.read() { Ending::Lapsed } else { Ending::Unread };
            Over { task: *task, attempt: clock.attempt, why }
        })
        .collect()
    }

    /// When the next one ends.
    pub fn next(&self) -> Option<Moment> {
        self.clocks.values().map(|clock| clock.until).min()
    }
}

impl Clock {
    fn renew(&mut self, term: Duration, now: Moment) {
        self.term = term;
        self.until = self.until.max(now + term);
    }

    /// Whether the worker may have started on it: then losing it counts.
    fn read(&self) -> bool {
        self.written || self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetward_runtime::Clock as Time;

    const TERMS: Terms = Terms { lease: Duration::from_secs(45), start: Duration::from_secs(15) };

    fn at(start: Moment, seconds: u64) -> Moment {
        start + Duration::from_secs(seconds)
    }

    fn one() -> (Leases, TaskId, Moment) {
        let now = Time::manual(0).now();
        let mut leases = Leases::new(TERMS);
        let task = TaskId::fresh();
        leases.start(task, 1, Some("r".into()), now);
        (leases, task, now)
    }

    #[test]
    fn grant_that_was_never_read_ends_on_the_start_term_and_does_not_count() {
        let (mut leases, task, start) = one();

        assert_eq!(leases.take_over(at(start, 14)), []);
        let over = leases.take_over(at(start, 15));

        assert_eq!(over, [Over { task, attempt: 1, why: Ending::Unread }]);
        assert!(!over[0].why.counts());
    }

    #[test]
    fn older_client_holds_what_was_written_while_it_sends_heartbeats() {
        let (mut leases, task, start) = one();
        leases.renew_written(at(start, 1));
        assert_eq!(leases.next(), Some(at(start, 15)), "not written yet: not renewed");

        leases.written(task, 1, false, at(start, 2));
        leases.renew_written(at(start, 40));

        assert_eq!(leases.take_over(at(start, 84)), []);
        let over = leases.take_over(at(start, 85));
        assert_eq!(over, [Over { task, attempt: 1, why: Ending::Lapsed }]);
    }

    #[test]
    fn heartbeat_renews_only_what_it_names_and_says_what_is_lost() {
        let (mut leases, task, start) = one();
        let foreign = TaskId::fresh();
        leases.written(task, 1, true, start);

        let lost = leases.renew_named(&[(task, 1), (foreign, 3)], at(start, 10));
        assert_eq!(lost, [(foreign, 3)]);
        assert_eq!(leases.renew_named(&[(task, 2)], at(start, 11)), [(task, 2)]);

        assert_eq!(leases.next(), Some(at(start, 55)));
    }

    #[test]
    fn what_ended_is_said_again_until_the_dispatcher_agrees() {
        let (mut leases, task, start) = one();
        assert_eq!(leases.take_over(at(start, 15)).len(), 1);
        assert_eq!(leases.take_over(at(start, 16)), []);
        assert_eq!(leases.take_over(at(start, 30)).len(), 1);

        leases.reconcile(vec![], at(start, 31));

        assert!(leases.is_empty());
        assert!(!leases.has_request("r"));
        leases.reconcile(vec![(task, 2, None)], at(start, 32));
        assert_eq!(leases.next(), Some(at(start, 47)));
    }

    #[test]
    fn outage_gives_every_attempt_a_fresh_term() {
        let (mut leases, task, start) = one();
        leases.written(task, 1, false, start);

        leases.renew_all(at(start, 100));

        assert_eq!(leases.next(), Some(at(start, 145)));
    }
}
