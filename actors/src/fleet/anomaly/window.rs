//! What a worker's reports were within the last looks: a ring of counters, so that the memory is the same whatever
//! happens. Pure.

/// Looks that a window spans.
pub const LOOKS: usize = 10;

/// What was counted between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts that ended with a report.
    pub ended: u32,
    /// Those of them that failed.
    pub failed: u32,
    /// Reports that do not go with the worker's models.
    pub mismatched: u32,
}

/// A sliding window over the last [`LOOKS`] looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    slots: [Counts; LOOKS],
    /// The slot that counts go to now.
    at: usize,
    total: Counts,
}

impl Counts {
    fn plus(self, more: Self) -> Self {
        Self {
            ended: self.ended.saturating_add(more.ended),
            failed: self.failed.saturating_add(more.failed),
            mismatched: self.mismatched.saturating_add(more.mismatched),
        }
    }
}

impl Window {
    /// Counts more, since the last look.
    pub fn add(&mut self, more: Counts) {
        let slot = &mut self.slots[self.at];
        *slot = slot.plus(more);
        self.total = self.total.plus(more);
    }

    /// A look is over: the oldest counts leave.
    pub fn turn(&mut self) {
        self.at = (self.at + 1) % LOOKS;
        self.slots[self.at] = Counts::default();
        // Summed anew rather than subtracted: what saturated would not come back.
        self.total = self.slots.iter().fold(Counts::default(), |sum, slot| sum.plus(*slot));
    }

    /// Everything in the window.
    pub fn total(&self) -> Counts {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The total is what was added since the last so many turns, whatever came before.
        #[test]
        fn window_holds_the_last_looks_and_nothing_else(
            looks in proptest::collection::vec(proptest::collection::vec(0..50_u32, 0..4), 1..40),
        ) {
            let mut window = Window::default();
            for (n, look) in looks.iter().enumerate() {
                if n > 0 {
                    window.turn();
                }
                for ended in look {
                    let counts = Counts { ended: *ended, failed: ended / 2, mismatched: 0 };
                    window.add(counts);
                }
                let recent = looks[..=n].iter().rev().take(LOOKS).flatten();
                let ended: u32 = recent.clone().sum();
                let failed: u32 = recent.map(|ended| ended / 2).sum();
                prop_assert_eq!(window.total(), Counts { ended, failed, mismatched: 0 });
            }
        }
    }
}
