//! Generations of a worker's task tokens: which are good, and which show that a token was copied. Pure.
//!
//! Each refresh begins a generation. The one before stays good until the new one was used, so an answer that was lost
//! locks nobody out. Whoever shows an older one after that has a copy. That a generation was used is known in memory at
//! once, and in the journal from the next refresh on; what a restart forgot in between is neither let in nor
//! taken for a copy: its holder has to refresh, which takes the worker's private key.

/// What is known of one worker's generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generations {
    /// The newest one that was issued; 0: none.
    pub issued: u32,
    /// The newest one that is known to have been used.
    pub used: u32,
    /// The newest one that this server found when it started: what was used before then is known only as far as `used`
    /// says. 0 for a worker that registered since.
    pub found: u32,
}

/// What a token of some generation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It is good. Its generation counts as used from now on.
    Good,
    /// A newer one may have been used before the restart: refresh.
    Unsure,
    /// A newer one was used: somebody has a copy.
    Copied,
    /// There is no such generation.
    Unknown,
}

impl Generations {
    /// What a token of this generation means now.
    pub fn meaning_of(self, seen: u32) -> Meaning {
        match seen {
            0 => Meaning::Unknown,
            _ if seen > self.issued => Meaning::Unknown,
            _ if seen == self.issued => Meaning::Good,
            _ if seen < self.used => Meaning::Copied,
            _ if seen < self.found => Meaning::Unsure,
            _ => Meaning::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table() {
        let at = |issued, used, found| Generations { issued, used, found };
        let table = [
            // A refresh whose answer was lost: the token before it goes on.
            (at(2, 1, 0), 1, Meaning::Good),
            (at(2, 1, 0), 2, Meaning::Good),
            // Lost twice.
            (at(3, 1, 0), 1, Meaning::Good),
            // The new one was used.
            (at(2, 2, 0), 1, Meaning::Copied),
            (at(2, 2, 2), 1, Meaning::Copied),
            // Nobody knows whether it was, since the server started anew; not even after the next refresh.
            (at(2, 1, 2), 1, Meaning::Unsure),
            (at(3, 1, 2), 1, Meaning::Unsure),
            (at(2, 1, 2), 2, Meaning::Good),
            (at(3, 1, 2), 2, Meaning::Good),
            (at(0, 0, 0), 0, Meaning::Unknown),
            (at(2, 1, 0), 3, Meaning::Unknown),
        ];
        for (known, seen, expected) in table {
            assert_eq!(known.meaning_of(seen), expected, "{known:?} {seen}");
        }
    }

    /// What can happen to the tokens of a worker.
    #[derive(Debug, Clone, Copy)]
    enum Op {
        /// The worker refreshes; the answer may be lost.
        Refresh { lost: bool },
        /// It uses the newest token that it got.
        Use,
        /// Somebody copies the token that it has.
        Copy,
        /// The copy is shown.
        ShowCopy,
        /// The server starts anew.
        Restart,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            3 => any::<bool>().prop_map(|lost| Op::Refresh { lost }),
            4 => Just(Op::Use),
            1 => Just(Op::Copy),
            2 => Just(Op::ShowCopy),
            2 => Just(Op::Restart),
        ];
        proptest::collection::vec(op, 1..60)
    }

    proptest! {
        #[test]
        fn worker_is_never_locked_without_a_copy_and_a_copy_never_outlives_its_successor(ops in ops()) {
            let mut known = Generations { issued: 0, used: 0, found: 0 };
            let mut stored_used = 0;
            let (mut held, mut copy, mut really_used) = (0, 0, 0);
            for op in ops {
                match op {
                    Op::Refresh { lost } => {
                        stored_used = known.used;
                        known = Generations { issued: known.issued + 1, ..known };
                        if !lost {
                            held = known.issued;
                        }
                    }
                    Op::Use if held > 0 => match known.meaning_of(held) {
                        Meaning::Good => {
                            known.used = known.used.max(held);
                            really_used = really_used.max(held);
                        }
                        // It proves its key and goes on.
                        Meaning::Unsure => {
                            stored_used = known.used;
                            known = Generations { issued: known.issued + 1, ..known };
                            held = known.issued;
                        }
                        meaning => prop_assert!(false, "the worker itself is told {meaning:?}"),
                    },
                    Op::Copy => copy = held,
                    Op::ShowCopy if copy > 0 && copy < really_used => {
                        prop_assert_ne!(known.meaning_of(copy), Meaning::Good);
                    }
                    Op::Restart => {
                        known = Generations { used: stored_used, found: known.issued, ..known };
                    }
                    Op::Use | Op::ShowCopy => {}
                }
            }
        }
    }
}
