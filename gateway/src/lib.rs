//! The edge: HTTP in front of a [`ControlPlane`]. It authenticates, translates and answers; it decides nothing, and deleting it
//! leaves a working library. [`serve`] runs it on a listener; [`router`] is the service alone.

mod accept;
mod auth;
mod body;
mod extract;
pub mod metrics;
mod problem;
mod request_id;
mod routes;
mod times;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fleetward_actors::ControlPlane;
use tokio_util::sync::CancellationToken;

pub use accept::serve;

/// Limits of the edge.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// Connections at one time; the next ones wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// Largest head of a request, in bytes. At least 8,192.
    pub max_header_bytes: usize,
    /// Largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// How long requests in flight may take to end once the server drains.
    pub drain_within: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            header_timeout: Duration::from_secs(10),
            max_header_bytes: 32 << 10,
            max_body_bytes: 2 << 20,
            drain_within: Duration::from_secs(10),
        }
    }
}

/// What every handler has.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) plane: ControlPlane,
    pub(crate) max_body_bytes: usize,
    /// Cancelled when the server drains: parked polls are answered.
    pub(crate) draining: CancellationToken,
    /// Connections that are open.
    pub(crate) connections: Arc<std::sync::atomic::AtomicUsize>,
}

/// All routes over a control plane, without a listener. Polls are answered early once `draining` is cancelled.
pub fn router(
    plane: ControlPlane,
    options: &GatewayOptions,
    draining: CancellationToken,
) -> Router {
    routes::router(edge(plane, options, draining))
}

pub(crate) fn edge(
    plane: ControlPlane,
    options: &GatewayOptions,
    draining: CancellationToken,
) -> Edge {
    let connections = Arc::default();
    Edge { plane, max_body_bytes: options.max_body_bytes, draining, connections }
}
