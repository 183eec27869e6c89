//! The answer to a claim: a body that says whether it was written, by telling or by being dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use fleetward_actors::plane::Delivery;
use hyper::body::Frame;

use crate::socket::Wire;

/// Ends only once everything before its end was taken by the socket. Its size is not announced:
/// hyper would stop asking at the last byte, and nobody would learn that it was written.
pub(crate) struct DeliveryBody {
    answer: Option<Bytes>,
    delivery: Option<Delivery>,
    wire: Option<Arc<Wire>>,
    handed_over: bool,
}

impl DeliveryBody {
    /// `answer`, watched over by `delivery`; `wire` is the connection, where there is one.
    pub(crate) fn new(answer: Bytes, delivery: Delivery, wire: Option<Arc<Wire>>) -> Self {
        Self { answer: Some(answer), delivery: Some(delivery), wire, handed_over: false }
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
            return Poll::Ready(Some(Ok(Frame::data(answer))));
        }
        if !self.handed_over {
            // hyper flushes when a body has nothing more for now, and then looks whether the
            // client is still there.
            self.handed_over = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(wire) = &self.wire
            && wire.poll_flowing(cx).is_pending()
        {
            return Poll::Pending;
        }
        if let Some(delivery) = self.delivery.take() {
            delivery.written();
        }
        Poll::Ready(None)
    }
}
