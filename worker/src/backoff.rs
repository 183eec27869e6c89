//! How long to wait before the same thing is tried again: full jitter over an exponential limit.
//!
//! Full jitter spreads workers that failed together over the whole window, which is what a
//! control plane that just came back needs (AWS, "Exponential Backoff and Jitter").

use std::time::Duration;

/// The window of the first wait.
const FIRST: Duration = Duration::from_millis(100);
/// No window is longer than this.
const LONGEST: Duration = Duration::from_secs(10);
/// A server may ask for more, but a worker that sleeps for hours looks dead.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// A server asks in whole seconds: all whom it told the same number would come in the same instant.
const ROUNDED: Duration = Duration::from_secs(1);

/// The waits of one thing that is tried again and again.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    window: Duration,
    first: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(FIRST, LONGEST)
    }
}

/// Waits of a worker that is not approved: an operator is at work, not a machine.
pub(crate) fn approval_backoff() -> Backoff {
    Backoff::between(Duration::from_secs(1), Duration::from_secs(5))
}

impl Backoff {
    pub(crate) fn between(first: Duration, longest: Duration) -> Self {
        Self { window: first.min(longest), first: first.min(longest), longest }
    }

    /// The next wait: somewhere in the window, which doubles for the one after. If the server
    /// asked for a wait, it comes on top, and the window is at least the second that it rounded to.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let window = if asked.is_some() { self.window.max(ROUNDED) } else { self.window };
        self.window = (self.window * 2).min(self.longest);
        asked.unwrap_or_default().min(LONGEST_ASKED) + window.mul_f64(rand::random::<f64>())
    }

    /// It worked: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.window = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_double_up_to_the_longest() {
        let mut backoff = Backoff::default();

        let windows: Vec<_> = (0..9)
            .map(|_| {
                let window = backoff.window;
                assert!(backoff.next(None) <= window);
                window.as_millis()
            })
            .collect();

        assert_eq!(windows, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn what_the_server_asked_for_is_waited_at_least_and_within_reason() {
        let mut backoff = Backoff::default();

        assert!(backoff.next(Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        assert!(backoff.next(Some(Duration::MAX)) <= LONGEST_ASKED + LONGEST);
    }

    #[test]
    fn those_who_were_asked_to_wait_equally_long_come_back_spread_over_a_second() {
        let asked = Duration::from_secs(3);

        let waits: Vec<_> = (0..1_000).map(|_| Backoff::default().next(Some(asked))).collect();

        let tenths = |at: u32| asked + Duration::from_millis(100) * at;
        for tenth in 0..10 {
            let within = waits.iter().filter(|w| (tenths(tenth)..tenths(tenth + 1)).contains(w));
            assert!((50..=150).contains(&within.count()), "{tenth}");
        }
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.next(None);
        }

        backoff.reset();

        assert!(backoff.next(None) <= FIRST);
    }
}
