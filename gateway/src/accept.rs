//! The accept loop: takes connections within limits, serves them, and ends them in good order.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use fleetward_actors::ControlPlane;
use futures_util::FutureExt;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::GatewayOptions;
use crate::edge::Edge;
use crate::metrics;
use crate::routes::Routes;
use crate::socket::{Socket, Times, Wire};
use crate::stream::Stream;
use crate::tls::{Guest, Peer, Secured, Tls};

/// When the process has no descriptors left, others have to be closed first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Requests that one HTTP/2 connection may have in flight.
const STREAMS_MAX: u32 = 256;
/// Finds an HTTP/2 client that is gone without a word.
const PING_EVERY: Duration = Duration::from_secs(20);
/// hyper's lower limit for its read buffer.
const LEAST_HEADER_BYTES: usize = 8 << 10;
/// How a client begins that speaks HTTP/2 and knows that we do; no method of HTTP/1 begins so.
const HTTP2: &[u8] = b"PRI";
/// How a client begins that speaks TLS.
const HANDSHAKE: u8 = 0x16;
/// What one is told that does not, where it should.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\
content-length: 145\r\n\r\n{\"type\":\"urn:fleetward:problem:tls_required\",\"title\":\"Bad Request\",\"status\":400,\
\"code\":\"tls_required\",\"detail\":\"this port speaks TLS: use https\"}";

/// Serves until `shutdown` is cancelled, then drains: stops accepting, answers parked polls with
/// 204, finishes what is in flight, and closes whatever is left at `options.drain_within`.
///
/// Connections run beside the tree of `plane`, so drain this first and the plane after it.
///
/// # Errors
/// None at present: what fails, fails for one connection.
pub async fn serve(
    plane: ControlPlane,
    listener: TcpListener,
    options: GatewayOptions,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let draining = CancellationToken::new();
    let edge = Edge::new(plane, options, draining.clone());
    let desk = Desk {
        routes: Routes::new(edge.clone()),
        protocols: Protocols::new(&edge.options),
        edge: edge.clone(),
    };
    let server = Server {
        desk: Arc::new(desk),
        open: TaskTracker::new(),
        cut_off: CancellationToken::new(),
        edge,
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = server.accept(&listener) => {}
        () = metrics::upkeep(&server.edge) => {}
        () = files(&server.edge) => {}
    }
    drop(listener);
    draining.cancel();
    server.drain().await;
    Ok(())
}

/// Keeps what TLS was made of as new as its files.
async fn files(edge: &Edge) {
    match &edge.options.tls {
        Some(tls) => tls.upkeep(edge).await,
        None => std::future::pending().await,
    }
}

struct Server {
    edge: Edge,
    desk: Arc<Desk>,
    open: TaskTracker,
    /// Ends what a drain has waited for long enough.
    cut_off: CancellationToken,
}

/// How connections are served.
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    fn new(options: &GatewayOptions) -> Self {
        let header_bytes = options.max_header_bytes.max(LEAST_HEADER_BYTES);
        let mut http1 = http1::Builder::new();
        // The socket has its own deadline for heads.
        http1.header_read_timeout(None).max_buf_size(header_bytes);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX));
        Self { http1, http2 }
    }
}

impl Server {
    /// Accepts for ever.
    async fn accept(&self, listener: &TcpListener) {
        loop {
            // Beyond the limit clients wait in the listener's own queue.
            let Ok(permit) = self.edge.connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => self.take(stream, permit),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    self.edge.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        // Answers are whole when they are written: waiting for more gains nothing.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a socket without TCP_NODELAY");
        }
        let desk = self.desk.clone();
        let (cut_off, token) = (self.cut_off.clone(), self.open.token());
        self.edge.plane.system().spawn("connection", async move {
            let _held = (permit, token);
            tokio::select! {
                () = desk.serve(stream) => {}
                () = cut_off.cancelled() => {}
            }
        });
    }

    async fn drain(&self) {
        self.open.close();
        tracing::info!(connections = self.open.len(), "draining");
        tokio::select! {
            () = self.open.wait() => {}
            () = self.edge.sleep(self.edge.options.drain_within) => {
                tracing::warn!(connections = self.open.len(), "closing what is still open");
                self.cut_off.cancel();
                self.open.wait().await;
            }
        }
    }
}

/// Boxed: most connections have none.
type Expiry = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What serves every connection.
struct Desk {
    protocols: Protocols,
    routes: Routes,
    edge: Edge,
}

impl Desk {
    /// Serves one until it ends.
    ///
    /// The protocol is looked at without being read: what hyper's own detection reads before makes its buffer grow to
    /// twice the size, and its connection has room for both protocols. A parked worker keeps all of that.
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        // Boxed, as the handshake is: a connection keeps no room for what comes before its first request.
        let Some(first) = Box::pin(self.look(&stream)).await else { return };
        match &self.edge.options.tls {
            None => self.converse(Stream::Plain(stream), first == HTTP2, None).await,
            Some(tls) => Box::pin(self.secure(tls, stream, first[0])).await,
        }
    }

    /// How the client begins, if it does in time.
    async fn look(&self, stream: &TcpStream) -> Option<[u8; HTTP2.len()]> {
        let mut first = [0; HTTP2.len()];
        tokio::select! {
            // Who sends less or hangs up is found out by whoever reads.
            _ = stream.peek(&mut first) => Some(first),
            () = self.edge.sleep(self.edge.options.header_timeout) => None,
            () = self.edge.draining.cancelled() => None,
        }
    }

    /// Serves one over TLS for as long as the client is believed.
    async fn secure(&self, tls: &Tls, mut stream: TcpStream, first: u8) {
        if first != HANDSHAKE {
            let _ = stream.write_all(NOT_TLS).await;
            return;
        }
        let secured = tokio::select! {
            secured = tls.accept(stream) => secured,
            () = self.edge.sleep(self.edge.options.header_timeout) => return,
            () = self.edge.draining.cancelled() => return,
        };
        let Secured { stream, http2, guest } = match secured {
            Ok(secured) => secured,
            Err(error) => return tls.refused(&error),
        };
        let Some(guest) = guest else { return self.converse(stream, http2, None).await };
        let peer = guest.peer.clone();
        tokio::select! {
            () = self.converse(stream, http2, Some(peer.clone())) => {}
            () = Guest::distrusted(guest) => {
                tracing::info!(identity = %peer.identity, "closed: its certificate is not believed any more");
            }
        }
    }

    /// Answers requests until the connection ends.
    async fn converse(&self, stream: Stream, http2: bool, peer: Option<Arc<Peer>>) {
        let expired = peer.as_ref().map(|peer| self.expired(peer));
        let (socket, wire) = self.socket(stream, peer);
        let service = service_fn(|request| answer(&self.routes, &wire, request));
        let Protocols { http1, http2: multiplexed } = &self.protocols;
        let ended = if http2 {
            let connection = Box::pin(multiplexed.serve_connection(socket, service));
            self.until_drained(connection, expired).await
        } else {
            let connection = Box::pin(http1.serve_connection(socket, service));
            self.until_drained(connection, expired).await
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }

    /// Comes when the client's certificate has expired.
    fn expired(&self, peer: &Peer) -> Expiry {
        let left = peer.good_for(self.edge.plane.clock().wall_us());
        let edge = self.edge.clone();
        Box::pin(async move { edge.sleep(left).await })
    }

    /// Drives it to its end; on a drain, or when the client has to show a new certificate, that is the end of what is in
    /// flight.
    async fn until_drained<C: GracefulConnection>(
        &self,
        mut connection: Pin<Box<C>>,
        expired: Option<Expiry>,
    ) -> Result<(), C::Error> {
        let expired = expired.map_or_else(|| Either::Left(pending()), Either::Right);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = self.edge.draining.cancelled() => connection.as_mut().graceful_shutdown(),
            () = expired => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    fn socket(&self, stream: Stream, peer: Option<Arc<Peer>>) -> (Socket, Arc<Wire>) {
        let options = &self.edge.options;
        let times = Times {
            head: options.header_timeout,
            idle: options.idle_timeout,
            write: options.write_timeout,
        };
        let address = stream.address().map(|address| address.ip());
        let wire = Arc::new(Wire::with(address, peer));
        (Socket::new(stream, Arc::clone(&wire), self.edge.clone(), times), wire)
    }
}

/// Answers one request of a connection.
fn answer(
    routes: &Routes,
    wire: &Arc<Wire>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    let in_flight = wire.begin(request.version());
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Arc::clone(wire));
    // By a combinator: an async block would have room for the answer's future twice.
    routes.clone().answer(request).map(move |answer| {
        drop(in_flight);
        answer
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room<A, B, R>(_: impl Fn(A, B) -> R) -> usize {
        size_of::<R>()
    }

    /// A server of ten thousand parked workers has these ten thousand times (`benches/RESULTS.md`).
    #[test]
    fn connection_without_tls_has_room_for_little() {
        let connection = room(Desk::serve);
        assert!(connection <= 512, "{connection} bytes");
    }
}
