//! A client's socket with deadlines: it has to send heads, and read answers, within their times.
//!
//! hyper's own header timeout also runs while a connection rests between two requests, which
//! would cut off every worker that sends a heartbeat as often.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Version;
use fleetward_actors::Moment;
use fleetward_actors::plane::Delivery;
use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;

use crate::edge::Edge;
use crate::stream::Stream;
use crate::tls::Peer;

/// The times of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// For the first head, and for any head from its first byte on.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// Without the client taking a byte of what waits for it.
    pub(crate) write: Duration,
}

/// What is known of a connection beside its bytes; shared with its requests.
#[derive(Default)]
pub(crate) struct Wire {
    /// Who the client is by its certificate, where it showed one.
    pub(crate) guest: Option<Arc<Peer>>,
    in_flight: AtomicUsize,
    begun: AtomicUsize,
    /// HTTP/2: bytes that come between requests may be pings, and are no head.
    multiplexed: AtomicBool,
    blocked: AtomicBool,
    waiting: AtomicWaker,
    /// Who reads: hyper does not look again by itself when a request has ended.
    reader: AtomicWaker,
    /// To be told once everything before was taken by the socket; dropped with the connection.
    deliveries: Mutex<Vec<Delivery>>,
    delivering: AtomicBool,
    peer: Option<IpAddr>,
}

/// Counts one request as in flight until it is dropped.
pub(crate) struct InFlight(Arc<Wire>);

/// The socket.
pub(crate) struct Socket {
    io: TokioIo<Stream>,
    wire: Arc<Wire>,
    edge: Edge,
    times: Times,
    /// Requests that had begun when it was last looked.
    begun: usize,
    stage: Stage,
    /// When the present stage is over.
    deadline: Option<Moment>,
    /// Comes at a deadline, perhaps one that was passed in time: it is moved when it comes, not with every request.
    alarm: Option<(Moment, Timer)>,
    writing: Option<Timer>,
}

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first head has to come.
    First,
    /// A request is in flight: its body has a deadline of its own.
    Served,
    /// Between two requests.
    Idle,
    /// Part of a head has come.
    Head,
}

impl Wire {
    /// Of a connection with this address, and this client where it showed a certificate.
    pub(crate) fn with(address: Option<IpAddr>, guest: Option<Arc<Peer>>) -> Self {
        let peer = address.map(|address| address.to_canonical());
        Self { peer, guest, ..Self::default() }
    }

    /// Whom it is connected with.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Begins a request.
    pub(crate) fn begin(self: &Arc<Self>, version: Version) -> InFlight {
        self.multiplexed.store(version == Version::HTTP_2, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Ready while the client takes what is written.
    pub(crate) fn poll_flowing(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waiting.register(cx.waker());
        if self.blocked.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Whether requests share the connection at the same time.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// Watches over bytes that hyper is about to write.
    pub(crate) fn deliver(&self, delivery: Delivery) {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
        self.delivering.store(true, Ordering::Release);
    }

    /// Everything that was given to the socket was taken by it.
    fn flushed(&self) {
        if self.delivering.swap(false, Ordering::AcqRel) {
            // Taken with its memory: most of the time there is none.
            let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *deliveries).into_iter().for_each(Delivery::written);
        }
    }

    fn set_blocked(&self, blocked: bool) {
        if self.blocked.swap(blocked, Ordering::AcqRel) && !blocked {
            self.waiting.wake();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Release);
        self.0.reader.wake();
    }
}

impl Socket {
    pub(crate) fn new(stream: Stream, wire: Arc<Wire>, edge: Edge, times: Times) -> Self {
        Self {
            io: TokioIo::new(stream),
            wire,
            edge,
            times,
            begun: 0,
            stage: Stage::First,
            deadline: None,
            alarm: None,
            writing: None,
        }
    }

    fn timer(&self, wait: Duration) -> Timer {
        let edge = self.edge.clone();
        Box::pin(async move { edge.sleep(wait).await })
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        let within = match stage {
            Stage::Served => None,
            Stage::Idle => Some(self.times.idle),
            Stage::First | Stage::Head => Some(self.times.head),
        };
        self.deadline = within.map(|within| self.now() + within);
    }

    fn now(&self) -> Moment {
        self.edge.plane.clock().now()
    }

    /// Whether the deadline has passed; if not, the task is woken when it does.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else { return false };
        loop {
            let alarm = self.alarm.take().filter(|(at, _)| *at <= deadline);
            let (at, mut timer) = match alarm {
                Some(alarm) => alarm,
                None => (deadline, self.timer(deadline - self.now())),
            };
            if timer.as_mut().poll(cx).is_pending() {
                self.alarm = Some((at, timer));
                return false;
            }
            if at >= deadline {
                return true;
            }
        }
    }

    /// Whether the client has been silent for too long in its present stage.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        self.wire.reader.register(cx.waker());
        let begun = self.wire.begun.load(Ordering::Relaxed);
        let in_flight = self.wire.in_flight.load(Ordering::Acquire) > 0;
        // One may have come and gone since the last look.
        let served = std::mem::replace(&mut self.begun, begun) != begun;
        match self.stage {
            _ if in_flight => self.enter(Stage::Served),
            Stage::Served => self.enter(Stage::Idle),
            _ if served => self.enter(Stage::Idle),
            Stage::First if self.deadline.is_none() => self.enter(Stage::First),
            Stage::First | Stage::Idle | Stage::Head => {}
        }
        self.poll_deadline(cx)
    }

    /// Passes on the result of a write, and watches the client that does not read.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.wire.set_blocked(result.is_pending());
        if result.is_ready() {
            self.writing = None;
            return result;
        }
        let wait = self.times.write;
        let timer = match self.writing.take() {
            Some(timer) => timer,
            None => self.timer(wait),
        };
        ready!(self.writing.insert(timer).as_mut().poll(cx));
        Poll::Ready(Err(late("the client does not read")))
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_overdue(cx) {
            return Poll::Ready(Err(late("the client does not send a request")));
        }
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        if self.stage == Stage::Idle && !self.wire.multiplexed.load(Ordering::Relaxed) {
            self.enter(Stage::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper asks for this once its own buffers are empty.
        // With TLS what was written may still wait here for a client that does not read.
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        let flushed = self.watch(cx, flushed);
        if let Poll::Ready(Ok(())) = flushed {
            self.wire.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
