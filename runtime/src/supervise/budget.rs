//! How many restarts are allowed in how much time, and counting them. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many restarts within so much time; one more, and the supervisor gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Restarts that are allowed within the window; none means that the first crash is the last.
    pub restarts: u32,
    /// The length of the sliding window.
    pub within: Duration,
}

impl Default for Budget {
    /// Five in a minute: a fault that passes is survived, one that stays is noticed soon.
    fn default() -> Self {
        Self { restarts: 5, within: Duration::from_secs(60) }
    }
}

/// The restarts that a budget still remembers.
#[derive(Debug)]
pub(crate) struct Ledger {
    budget: Budget,
    spent: VecDeque<Instant>,
}

impl Ledger {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { budget, spent: VecDeque::new() }
    }

    /// Spends one restart and tells how many came before it within the window, or nothing if the
    /// budget does not allow it.
    pub(crate) fn spend(&mut self, now: Instant) -> Option<u32> {
        let within = self.budget.within;
        while self.spent.front().is_some_and(|then| now.duration_since(*then) >= within) {
            self.spent.pop_front();
        }
        let before = u32::try_from(self.spent.len()).unwrap_or(u32::MAX);
        if before >= self.budget.restarts {
            return None;
        }
        self.spent.push_back(now);
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_forgotten_when_the_window_has_passed() {
        let mut ledger = Ledger::new(Budget { restarts: 2, within: Duration::from_secs(10) });
        let start = Instant::now();

        let spent: Vec<_> =
            [0, 4, 9, 10, 13, 14].map(|s| ledger.spend(start + Duration::from_secs(s))).into();

        assert_eq!(spent, [Some(0), Some(1), None, Some(1), None, Some(1)]);
    }

    #[test]
    fn an_empty_budget_allows_nothing() {
        let mut ledger = Ledger::new(Budget { restarts: 0, within: Duration::from_secs(10) });

        assert_eq!(ledger.spend(Instant::now()), None);
    }
}
