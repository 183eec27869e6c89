//! The tree as observers see it: a node for every unit, kept up to date by its supervisor.
//!
//! Reading it sends no message and waits for no actor, so it works when everything else is stuck.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Serialize, Serializer};

use crate::mailbox::Gauge;

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitKind {
    /// Handles messages.
    Actor,
    /// Keeps a fixed list of children.
    Supervisor,
    /// Keeps children by key.
    Family,
}

/// Where a unit stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum LifeState {
    /// A life has been ordered and does not run yet.
    Starting,
    /// A life runs.
    Running,
    /// Between lives: the back-off passes.
    Waiting {
        /// Why the last life ended.
        reason: String,
    },
    /// It is not meant to run, or not now.
    Stopped,
    /// It stays down until somebody intervenes.
    Halted {
        /// Why it is kept down.
        reason: String,
    },
}

/// One unit of the tree at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Where it is in the tree, `system/cells/3/dispatcher`.
    pub path: String,
    /// What it is.
    pub kind: UnitKind,
    /// Where it stands.
    pub state: LifeState,
    /// Messages sent to it and not finished, including the one it handles.
    pub waiting: usize,
    /// How long the oldest of those has waited. Milliseconds when serialised.
    #[serde(rename = "oldest_ms", serialize_with = "as_millis")]
    pub oldest: Option<Duration>,
    /// Lives after the first.
    pub restarts: u64,
    /// Messages handled to the end, over all lives.
    pub handled: u64,
}

pub(crate) struct Node {
    path: Arc<str>,
    /// What it is called in metrics: its name, or its family's, so that keys never become labels.
    class: Arc<str>,
    kind: UnitKind,
    state: Mutex<LifeState>,
    lives: AtomicU64,
    gauge: Option<Arc<Gauge>>,
    children: Mutex<BTreeMap<u64, Arc<Node>>>,
}

impl Node {
    pub(crate) fn root(name: &str) -> Arc<Self> {
        Arc::new(Self::new(name.into(), name.into(), UnitKind::Supervisor, None))
    }

    fn new(path: Arc<str>, class: Arc<str>, kind: UnitKind, gauge: Option<Arc<Gauge>>) -> Self {
        let (state, lives) = (Mutex::new(LifeState::Stopped), AtomicU64::new(0));
        Self { path, class, kind, state, lives, gauge, children: Mutex::default() }
    }

    /// A node below this one; `adopt` makes it visible.
    pub(crate) fn below(
        &self,
        name: &Arc<str>,
        kind: UnitKind,
        gauge: Option<Arc<Gauge>>,
    ) -> Arc<Self> {
        let path = format!("{}/{name}", self.path).into();
        let of_family = self.kind == UnitKind::Family;
        let class = if of_family { Arc::clone(&self.class) } else { Arc::clone(name) };
        Arc::new(Self::new(path, class, kind, gauge))
    }

    /// The child at `place`. It is made once: what it has counted survives its supervisor.
    pub(crate) fn child(&self, place: u64, make: impl FnOnce() -> Arc<Self>) -> Arc<Self> {
        Arc::clone(self.children.lock().entry(place).or_insert_with(make))
    }

    pub(crate) fn forget(&self, place: u64) {
        self.children.lock().remove(&place);
    }

    pub(crate) fn forget_all(&self) {
        self.children.lock().clear();
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn kind(&self) -> UnitKind {
        self.kind
    }

    pub(crate) fn class(&self) -> &Arc<str> {
        &self.class
    }

    pub(crate) fn state(&self) -> LifeState {
        self.state.lock().clone()
    }

    pub(crate) fn set(&self, state: LifeState) {
        *self.state.lock() = state;
    }

    /// Another life has been ordered.
    pub(crate) fn starting(&self) {
        self.lives.fetch_add(1, Relaxed);
        self.set(LifeState::Starting);
    }

    /// How many lives it has had, which is the number of the current one.
    pub(crate) fn lives(&self) -> u64 {
        self.lives.load(Relaxed)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.gauge.as_ref().map_or(0, |gauge| gauge.waiting())
    }

    pub(crate) fn observe(&self, into: &mut Vec<Snapshot>) {
        into.push(self.snapshot());
        // Cloned out, so that no lock is held while the children are asked.
        let children: Vec<_> = self.children.lock().values().cloned().collect();
        children.iter().for_each(|child| child.observe(into));
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            path: self.path.to_string(),
            kind: self.kind,
            state: self.state(),
            waiting: self.waiting(),
            oldest: self.gauge.as_ref().and_then(|gauge| gauge.oldest()),
            restarts: self.lives().saturating_sub(1),
            handled: self.gauge.as_ref().map_or(0, |gauge| gauge.handled()),
        }
    }
}

fn as_millis<S: Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}
