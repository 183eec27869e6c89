//! The edge: HTTP in front of the control plane of `fleetward-actors`. It decides nothing.
//!
//! [`serve`] is all that a server needs: it accepts connections within limits, proves who asks,
//! turns requests into calls of a [`ControlPlane`] and its answers into JSON or a problem
//! (RFC 9457), and drains. [`router`] is the same without sockets, for tests and for programs
//! that have an HTTP server of their own.

mod accept;
mod auth;
mod body;
mod edge;
mod extract;
pub mod metrics;
mod problem;
mod request_id;
mod routes;
mod socket;
mod source;
mod stream;
mod times;
pub mod tls;
mod trail;
pub mod translate;

use std::time::Duration;

use fleetward_actors::ControlPlane;
use tokio_util::sync::CancellationToken;

pub use accept::serve;
pub use source::{Cidr, NoCidr};
pub use tls::{ClientCerts, Tls, TlsError, TlsFiles};

/// Limits of the edge. What is beyond one is refused or waits; nothing grows without end.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// Connections that are open at once; more wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request, from its first byte (from the
    /// connection itself for the first request).
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request. Longer than clients keep theirs.
    pub idle_timeout: Duration,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// How long a client may read nothing of an answer that waits for it.
    pub write_timeout: Duration,
    /// Largest head of a request, in bytes; at least 8 KiB. Beyond it: 431.
    pub max_header_bytes: usize,
    /// Largest body of a request, in bytes. Beyond it: 413.
    pub max_body_bytes: usize,
    /// Bytes of bodies that are in memory at once, over all connections. Beyond it: 503.
    pub body_memory: usize,
    /// How long a drain waits for what is in flight before it closes the connections.
    pub drain_within: Duration,
    /// Proxies whose `X-Forwarded-For` is believed. From anybody else it is not looked at.
    pub trusted_proxies: Vec<Cidr>,
    /// Speaks TLS, and nothing else. None: plain HTTP.
    pub tls: Option<Tls>,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            max_header_bytes: 32 << 10,
            max_body_bytes: 2 << 20,
            // Parsed JSON takes several times the room of its text.
            body_memory: 64 << 20,
            drain_within: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
            tls: None,
        }
    }
}

/// The routes over `plane`, without an accept loop: only the limits on bodies apply.
pub fn router(plane: ControlPlane, options: GatewayOptions) -> axum::Router {
    routes::router(edge::Edge::new(plane, options, CancellationToken::new()))
}
