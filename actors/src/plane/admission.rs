//! Lets workers in at a bounded rate when many come at once, as after a start of the server. Pure: the time is an
//! argument.
//!
//! Whoever is refused gets a turn of its own, one interval after the one before it: so those that are refused together
//! do not come back together. Work that was acknowledged never passes here: reports, hand-backs, progress, and
//! heartbeats that name tasks.

use std::time::Duration;

use fleetward_runtime::Moment;
use parking_lot::Mutex;

/// Latest turn that is given: a worker that waits for longer looks dead.
const LATEST: Duration = Duration::from_secs(60);

/// Who is let in when.
#[derive(Debug)]
pub(super) struct Admission {
    /// Between two that are let in.
    interval: Duration,
    /// How far ahead of an even pace they may be: one second's worth come at once.
    burst: Duration,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    /// When the next one would be let in at an even pace.
    due: Moment,
    /// The last turn that was given.
    last_turn: Moment,
}

impl Admission {
    /// Lets `per_second` in, as many of them at once. The first second is full from `now`.
    pub(super) fn new(per_second: u32, now: Moment) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let burst = Duration::from_secs(1).saturating_sub(interval);
        Self { interval, burst, book: Mutex::new(Book { due: now, last_turn: now }) }
    }

    /// Takes a place at `now`.
    ///
    /// # Errors
    /// How long to wait until its turn, where there is none.
    pub(super) fn take(&self, now: Moment) -> Result<(), Duration> {
        let mut book = self.book.lock();
        let early = book.due - now;
        if early <= self.burst {
            book.due = book.due.max(now) + self.interval;
            return Ok(());
        }
        let free = now + (early - self.burst);
        // Beyond the latest turn they begin again: better that some come in vain than all of them late.
        if book.last_turn - now >= LATEST {
            book.last_turn = free;
        }
        book.last_turn = book.last_turn.max(free) + self.interval;
        Err(book.last_turn - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetward_runtime::Clock;

    const FLEET: usize = 10_000;
    const PER_SECOND: u32 = 1_000;

    /// Plays a fleet that comes at once and keeps to its turns: in which second how many were let in, and how often
    /// somebody asked.
    fn play(per_second: u32, fleet: usize) -> (Vec<usize>, usize) {
        let start = Clock::manual(0).now();
        let admission = Admission::new(per_second, start);
        let mut waiting = vec![Duration::ZERO; fleet];
        let (mut let_in, mut asked) = (Vec::new(), 0);
        while !waiting.is_empty() {
            waiting.sort_unstable();
            let mut again = Vec::new();
            for at in waiting {
                asked += 1;
                match admission.take(start + at) {
                    Ok(()) => let_in.push(at),
                    Err(turn) => again.push(at + turn),
                }
            }
            waiting = again;
        }
        let last = let_in.iter().max().map_or(0, Duration::as_secs) as usize;
        let mut seconds = vec![0; last + 1];
        let_in.iter().for_each(|at| seconds[at.as_secs() as usize] += 1);
        (seconds, asked)
    }

    #[test]
    fn fleet_that_comes_at_once_is_let_in_second_by_second_and_asks_twice() {
        let (seconds, asked) = play(PER_SECOND, FLEET);

        assert_eq!(seconds.iter().sum::<usize>(), FLEET);
        assert!(seconds.len() <= FLEET / PER_SECOND as usize + 1, "{seconds:?}");
        let most = 2 * PER_SECOND as usize;
        assert!(seconds.iter().all(|let_in| *let_in <= most), "{seconds:?}");
        assert!(asked <= 2 * FLEET, "{asked}");
    }

    #[test]
    fn turns_are_never_later_than_a_worker_may_wait() {
        let start = Clock::manual(0).now();
        let admission = Admission::new(1, start);

        let turns: Vec<_> = (0..1_000).filter_map(|_| admission.take(start).err()).collect();

        assert_eq!(turns.len(), 999);
        assert!(turns.iter().all(|turn| *turn <= LATEST + Duration::from_secs(1)));
    }

    #[test]
    fn even_pace_is_never_refused() {
        let start = Clock::manual(0).now();
        let admission = Admission::new(10, start);

        let refused = (0..1_000)
            .filter(|n| admission.take(start + Duration::from_millis(100) * *n).is_err())
            .count();

        assert_eq!(refused, 0);
    }
}
