//! What may happen while a run goes on, drawn at random.

use proptest::prelude::*;

/// One thing that happens. Numbers choose among what there is, whatever that is then.
///
/// `lost`: whoever asked never learns the answer, so a server that is killed later may have forgotten that it was asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Move {
    /// A worker looks for work.
    Claim {
        worker: usize,
        lost: bool,
    },
    /// A worker says what became of something that it holds.
    Report {
        worker: usize,
        which: usize,
        lost: bool,
    },
    /// It says that again, however late.
    ReportAgain {
        worker: usize,
        which: usize,
    },
    /// It gives something back.
    HandBack {
        worker: usize,
        which: usize,
        lost: bool,
    },
    /// It never speaks of it again.
    Forget {
        worker: usize,
        which: usize,
    },
    /// It shows a sign of life.
    Beat {
        worker: usize,
    },
    /// People decide at a gate that is open.
    Decide {
        which: usize,
        lost: bool,
    },
    /// Somebody sends a signal, whether it is waited for or not.
    Signal {
        which: usize,
        lost: bool,
    },
    Pause,
    Resume,
    /// Nothing happens for so many seconds.
    Pass(u64),
    /// An actor panics at some message, or a message between actors is lost.
    Fault(usize),
    /// The server is stopped, and started.
    Restart,
    /// The server is killed, and started on what was durable: `at` of 255 parts of what nobody was told of.
    Kill {
        at: u8,
    },
    /// A report is all that nobody was told of, with what follows from it.
    KillAtReport {
        worker: usize,
        which: usize,
        at: u8,
    },
    /// A decision is.
    KillAtDecision {
        which: usize,
        at: u8,
    },
}

/// Lists of these.
pub(super) fn moves(most: usize) -> impl Strategy<Value = Vec<Move>> {
    let (worker, which, at) = (|| 0..3_usize, any::<usize>, any::<u8>);
    let lost = || prop::bool::weighted(0.3);
    let one = prop_oneof![
        8 => (worker(), lost()).prop_map(|(worker, lost)| Move::Claim { worker, lost }),
        8 => (worker(), which(), lost())
            .prop_map(|(worker, which, lost)| Move::Report { worker, which, lost }),
        3 => (worker(), which()).prop_map(|(worker, which)| Move::ReportAgain { worker, which }),
        1 => (worker(), which(), lost())
            .prop_map(|(worker, which, lost)| Move::HandBack { worker, which, lost }),
        1 => (worker(), which()).prop_map(|(worker, which)| Move::Forget { worker, which }),
        2 => worker().prop_map(|worker| Move::Beat { worker }),
        2 => (which(), lost()).prop_map(|(which, lost)| Move::Decide { which, lost }),
        2 => (which(), lost()).prop_map(|(which, lost)| Move::Signal { which, lost }),
        1 => Just(Move::Pause),
        1 => Just(Move::Resume),
        4 => (0_u64..70).prop_map(Move::Pass),
        2 => which().prop_map(Move::Fault),
        1 => Just(Move::Restart),
        2 => at().prop_map(|at| Move::Kill { at }),
        3 => (worker(), which(), at())
            .prop_map(|(worker, which, at)| Move::KillAtReport { worker, which, at }),
        1 => (which(), at()).prop_map(|(which, at)| Move::KillAtDecision { which, at }),
    ];
    prop::collection::vec(one, 0..most)
}
