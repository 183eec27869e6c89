//! How many statements were sent to the database, so that a test can show that waiting costs none.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Shared by all connections of a store.
#[derive(Clone, Default)]
pub(crate) struct Statements(Arc<AtomicU64>);

impl Statements {
    pub(crate) fn count(&self) {
        // Nothing is ordered by this number.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
