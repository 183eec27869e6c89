//! The answer to a claim: a body that says whether it was written, by telling or by being dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use fleetward_actors::plane::Delivery;
use hyper::body::{Frame, SizeHint};

use crate::socket::Wire;

/// An answer, watched over by a delivery.
///
/// On a connection with one request at a time the delivery is handed to the connection together
/// with the bytes, and told when the connection has passed on everything that it was given. On one
/// with many, the body ends only once everything before its end was taken by the socket.
pub(crate) struct DeliveryBody {
    answer: Option<Bytes>,
    delivery: Option<Delivery>,
    wire: Option<Arc<Wire>>,
    /// The connection takes the delivery over.
    passed_on: bool,
    handed_over: bool,
}

impl DeliveryBody {
    /// `answer`, watched over by `delivery`; `wire` is the connection, where there is one.
    pub(crate) fn new(answer: Bytes, delivery: Delivery, wire: Option<Arc<Wire>>) -> Self {
        let passed_on = wire.as_ref().is_some_and(|wire| !wire.is_multiplexed());
        let (answer, delivery) = (Some(answer), Some(delivery));
        Self { answer, delivery, wire, passed_on, handed_over: false }
    }
}

impl HttpBody for DeliveryBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(answer) = self.answer.take() {
            if self.passed_on
                && let (Some(wire), Some(delivery)) = (self.wire.clone(), self.delivery.take())
            {
                wire.deliver(delivery);
            }
            return Poll::Ready(Some(Ok(Frame::data(answer))));
        }
        if !self.handed_over && !self.passed_on {
            // hyper flushes when a body has nothing more for now, and then looks whether the
            // client is still there.
            self.handed_over = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(wire) = &self.wire
            && self.delivery.is_some()
            && wire.poll_flowing(cx).is_pending()
        {
            return Poll::Pending;
        }
        if let Some(delivery) = self.delivery.take() {
            delivery.written();
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.passed_on && self.answer.is_none()
    }

    /// Announced only where the connection takes the delivery over: hyper would stop asking at the
    /// last byte, and nobody would learn that it was written.
    fn size_hint(&self) -> SizeHint {
        match &self.answer {
            Some(answer) if self.passed_on => SizeHint::with_exact(answer.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
