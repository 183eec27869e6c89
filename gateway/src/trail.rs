//! What is to be remembered of a request while it is served: its id and where it came from. Its events carry it.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::http::request::Parts;
use fleetward_actors::Origin;
use fleetward_store::CellId;

/// Shared by whoever works on the request.
#[derive(Debug)]
pub(crate) struct Trail {
    origin: Arc<Origin>,
    /// The cell of whoever proved who they are.
    cell: OnceLock<CellId>,
}

impl Trail {
    pub(crate) fn new(id: String, source: Option<IpAddr>) -> Arc<Self> {
        Arc::new(Self {
            origin: Arc::new(Origin { request: id.into(), source }),
            cell: OnceLock::new(),
        })
    }

    /// The trail of a request; each has one from the outermost layer on.
    pub(crate) fn of(parts: &Parts) -> Option<&Arc<Self>> {
        parts.extensions.get()
    }

    /// The request's id.
    pub(crate) fn id(&self) -> &str {
        &self.origin.request
    }

    /// It proved to be of this cell.
    pub(crate) fn proved(&self, cell: CellId) {
        // The first proof counts: a request has one caller.
        let _ = self.cell.set(cell);
    }

    /// The cell of its caller, if it proved to have one.
    pub(crate) fn cell(&self) -> Option<CellId> {
        self.cell.get().copied()
    }

    /// Where it came from.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.origin.source
    }

    /// What events that it causes say of it.
    pub(crate) fn origin(&self) -> Arc<Origin> {
        Arc::clone(&self.origin)
    }
}

/// The request proved to be of this cell.
pub(crate) fn proved(parts: &Parts, cell: CellId) {
    if let Some(trail) = Trail::of(parts) {
        trail.proved(cell);
    }
}

/// What the events that a request causes say of it.
pub(crate) fn origin(parts: &Parts) -> Option<Arc<Origin>> {
    Trail::of(parts).map(|trail| trail.origin())
}
