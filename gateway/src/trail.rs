//! What is to be remembered of a request while it is served: its id and where it came from. Its events carry it.

use std::sync::Arc;

use axum::http::request::Parts;
use fleetward_actors::Origin;
use std::net::IpAddr;

/// Shared by whoever works on the request.
#[derive(Debug)]
pub(crate) struct Trail {
    origin: Arc<Origin>,
}

impl Trail {
    pub(crate) fn new(id: String, source: Option<IpAddr>) -> Arc<Self> {
        Arc::new(Self { origin: Arc::new(Origin { request: id.into(), source }) })
    }

    /// The trail of a request; each has one from the outermost layer on.
    pub(crate) fn of(parts: &Parts) -> Option<&Arc<Self>> {
        parts.extensions.get()
    }

    /// The request's id.
    pub(crate) fn id(&self) -> &str {
        &self.origin.request
    }

    /// What events that it causes say of it.
    pub(crate) fn origin(&self) -> Arc<Origin> {
        Arc::clone(&self.origin)
    }
}

/// What the events that a request causes say of it.
pub(crate) fn origin(parts: &Parts) -> Option<Arc<Origin>> {
    Trail::of(parts).map(|trail| trail.origin())
}
