//! What every handler can reach: the control plane, the limits, and whether the server drains.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use fleetward_actors::ControlPlane;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::GatewayOptions;
use crate::metrics::{self, Handle};

/// One unit of room for bodies.
pub(crate) const ROOM_BYTES: usize = 1 << 10;
/// Dismissed polls come back to whichever server is next: spread over this time.
const DISMISS_WITHIN: Duration = Duration::from_secs(2);

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Edge(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) plane: ControlPlane,
    pub(crate) options: GatewayOptions,
    /// Cancelled when the server begins to drain.
    pub(crate) draining: CancellationToken,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) body_room: Arc<Semaphore>,
    pub(crate) metrics: Handle,
}

impl Edge {
    pub(crate) fn new(
        plane: ControlPlane,
        options: GatewayOptions,
        draining: CancellationToken,
    ) -> Self {
        let most = Semaphore::MAX_PERMITS;
        let connections = Arc::new(Semaphore::new(options.max_connections.min(most)));
        let room = (options.body_memory / ROOM_BYTES).min(most);
        Self(Arc::new(Shared {
            plane,
            options,
            draining,
            connections,
            body_room: Arc::new(Semaphore::new(room)),
            metrics: metrics::install(),
        }))
    }

    /// Connections that are open.
    pub(crate) fn open_connections(&self) -> usize {
        let most = self.options.max_connections.min(Semaphore::MAX_PERMITS);
        most - self.connections.available_permits()
    }

    /// Waits, on the one clock of the server.
    pub(crate) async fn sleep(&self, wait: Duration) {
        self.plane.clock().sleep(wait).await;
    }

    /// Comes when whoever only waits has to be sent away because the server drains.
    pub(crate) async fn dismissed(&self) {
        self.draining.cancelled().await;
        let longest = DISMISS_WITHIN.min(self.options.drain_within / 2);
        // Boxed: every parked poll has room for this.
        Box::pin(self.sleep(longest.mul_f64(rand::random()))).await;
    }
}

impl Deref for Edge {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}
