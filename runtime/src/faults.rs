//! Triggers by which tests make things go wrong at a chosen place.
//!
//! Always compiled, so that what is tested is what is shipped; while nothing is armed a check is
//! one relaxed load. Actor hosts ask before each message, other code at points it names itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

/// Armed faults, shared by everything that was given a clone.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    armed: AtomicUsize,
    traps: Mutex<Vec<Trap>>,
    fired: Mutex<Vec<String>>,
}

enum Trap {
    Message { fault: Fault, actor_suffix: String, label: String },
    Point(String),
}

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Drop,
    Panic,
}

impl Faults {
    /// The next message called `label` to an actor whose path ends in `actor_suffix` is dropped
    /// unhandled.
    pub fn drop_next(&self, actor_suffix: &str, label: &str) {
        self.arm_message(Fault::Drop, actor_suffix, label);
    }

    /// The next such message makes the handler panic before the actor's own code sees it.
    pub fn panic_next(&self, actor_suffix: &str, label: &str) {
        self.arm_message(Fault::Panic, actor_suffix, label);
    }

    /// The next [`hit`](Self::hit) of `point` panics.
    pub fn panic_at(&self, point: &str) {
        self.arm(Trap::Point(point.to_owned()));
    }

    /// Marks a place in the code where a test may ask for a panic.
    ///
    /// # Panics
    /// Once for every time this point was armed.
    pub fn hit(&self, point: &str) {
        let reached = |trap: &Trap| matches!(trap, Trap::Point(name) if name == point);
        if self.take(reached).is_some() {
            self.record(format!("panic at {point}"));
            panic!("fault: panic at {point}");
        }
    }

    /// What has happened so far, oldest first: `drop PATH LABEL`, `panic PATH LABEL`,
    /// `panic at POINT`.
    #[must_use]
    pub fn fired(&self) -> Vec<String> {
        self.inner.fired.lock().clone()
    }

    /// What is armed for this message, if anything. It fires at most once.
    pub(crate) fn strike(&self, path: &str, label: impl FnOnce() -> &'static str) -> Option<Fault> {
        if self.inner.armed.load(Relaxed) == 0 {
            return None;
        }
        let label = label();
        let trap = self.take(|trap| match trap {
            Trap::Message { actor_suffix, label: wanted, .. } => {
                wanted == label && path_ends_with(path, actor_suffix)
            }
            Trap::Point(_) => false,
        });
        let Some(Trap::Message { fault, .. }) = trap else { return None };
        self.record(format!("{fault} {path} {label}"));
        Some(fault)
    }

    fn arm_message(&self, fault: Fault, actor_suffix: &str, label: &str) {
        let (actor_suffix, label) = (actor_suffix.to_owned(), label.to_owned());
        self.arm(Trap::Message { fault, actor_suffix, label });
    }

    fn arm(&self, trap: Trap) {
        self.inner.traps.lock().push(trap);
        self.inner.armed.fetch_add(1, Relaxed);
    }

    fn take(&self, matches: impl FnMut(&Trap) -> bool) -> Option<Trap> {
        if self.inner.armed.load(Relaxed) == 0 {
            return None;
        }
        let mut traps = self.inner.traps.lock();
        let place = traps.iter().position(matches)?;
        self.inner.armed.fetch_sub(1, Relaxed);
        Some(traps.remove(place))
    }

    fn record(&self, what: String) {
        self.inner.fired.lock().push(what);
    }
}

/// Whether `suffix` is the end of `path`, in whole segments: `patcher` is no end of `dispatcher`.
pub(crate) fn path_ends_with(path: &str, suffix: &str) -> bool {
    path.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Panic => "panic",
        })
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("armed", &self.inner.armed).finish_non_exhaustive()
    }
}
