//! Whether the store takes writes: set by the journal, read at the edge and by the clocks of leases.

use std::sync::{PoisonError, RwLock};

use fleetward_runtime::Moment;

/// The state of the store as the journal last saw it.
#[derive(Debug, Default)]
pub struct Outage(RwLock<Seen>);

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    down: bool,
    up_since: Option<Moment>,
}

impl Outage {
    /// From the first failed write until one succeeds.
    pub fn is_down(&self) -> bool {
        self.seen().down
    }

    /// When the last outage ended.
    pub fn up_since(&self) -> Option<Moment> {
        self.seen().up_since
    }

    pub(super) fn began(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).down = true;
    }

    pub(super) fn ended(&self, now: Moment) {
        let mut seen = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *seen = Seen { down: false, up_since: Some(now) };
    }

    fn seen(&self) -> Seen {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
