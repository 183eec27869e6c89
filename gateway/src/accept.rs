//! The accept loop: bounds on connections, heads and time, and an orderly end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use fleetward_actors::ControlPlane;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{Edge, GatewayOptions, edge, routes};

/// Pause after an accept that failed for want of something (file descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `plane` on `listener` until `shutdown` is cancelled; then stops accepting, answers parked polls and
/// waits for what is in flight, at most as long as the options say.
///
/// # Errors
/// When the listener cannot be used at all.
pub async fn serve(
    plane: ControlPlane,
    listener: TcpListener,
    options: GatewayOptions,
    shutdown: CancellationToken,
) -> io::Result<()> {
    listener.local_addr()?;
    let edge = edge(plane.clone(), &options, shutdown.clone());
    let router = routes::router(edge.clone());
    let builder = Arc::new(builder(&options));
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(options.max_connections));
    loop {
        // No room: the next connection waits in the backlog of the socket.
        let permit = tokio::select! {
            () = shutdown.cancelled() => break,
            permit = room.clone().acquire_owned() => permit.map_err(io::Error::other)?,
        };
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    plane.clock().sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let connection = connection(stream, &builder, &router, &graceful);
        let open = edge.clone();
        plane.system().spawn("connection", async move {
            count(&open, 1);
            connection.await;
            count(&open, -1);
            drop(permit);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = plane.clock().sleep(options.drain_within) => {
            tracing::warn!("some requests did not end in time");
        }
    }
    Ok(())
}

fn builder(options: &GatewayOptions) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(options.max_header_bytes.max(8_192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(options.max_header_bytes as u32)
        .keep_alive_interval(Some(Duration::from_secs(20)));
    builder
}

fn connection(
    stream: TcpStream,
    builder: &Arc<Builder<TokioExecutor>>,
    router: &Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let service = TowerToHyperService::new(router.clone());
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let watched = graceful.watch(connection);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection ended badly");
        }
    }
}

fn count(edge: &Edge, change: isize) {
    let open = &edge.connections;
    let now = if change > 0 {
        open.fetch_add(1, Ordering::Relaxed) + 1
    } else {
        open.fetch_sub(1, Ordering::Relaxed) - 1
    };
    metrics::gauge!("fleetward_connections_open").set(now as f64);
}
