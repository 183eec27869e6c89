//! What all units of one system share: its clock, its faults, and the book of lives.
//!
//! Lives enter their beginnings and ends in the book; the system and the test kit read it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;

use crate::life::End;
use crate::{Clock, Faults};

/// Crashes that are remembered: enough for a person or a test, little enough to keep for ever.
const REMEMBERED_CRASHES: usize = 256;

pub(crate) struct Core {
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) lives: Lives,
}

/// One life that ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashRecord {
    /// The path of the actor.
    pub path: String,
    /// Why it ended.
    pub reason: String,
}

/// The book of lives.
#[derive(Default)]
pub(crate) struct Lives {
    alive: AtomicUsize,
    crashes: Mutex<VecDeque<CrashRecord>>,
    cut_off: Mutex<Vec<String>>,
}

impl Lives {
    pub(crate) fn begun(&self) {
        self.alive.fetch_add(1, SeqCst);
    }

    pub(crate) fn ended(&self, path: &str, end: &End) {
        self.alive.fetch_sub(1, SeqCst);
        if let End::Crashed(reason) | End::Hopeless(reason) = end {
            let mut crashes = self.crashes.lock();
            if crashes.len() == REMEMBERED_CRASHES {
                crashes.pop_front();
            }
            crashes.push_back(CrashRecord { path: path.to_owned(), reason: reason.clone() });
        }
    }

    /// An actor was stopped with work in its queue, because its time to drain was over.
    pub(crate) fn cut_off(&self, path: &str) {
        tracing::warn!(actor = path, "cut off while draining");
        self.cut_off.lock().push(path.to_owned());
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(SeqCst)
    }

    pub(crate) fn crashes(&self) -> Vec<CrashRecord> {
        self.crashes.lock().iter().cloned().collect()
    }

    pub(crate) fn all_cut_off(&self) -> Vec<String> {
        self.cut_off.lock().clone()
    }
}
