//! The body of a claim's answer: it says so when it was written whole, and when it was not.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use fleetward_actors::plane::Delivery;
use http_body::{Body, Frame, SizeHint};

/// Bytes and what is to be told of them. Dropped before the end, the attempt goes back to its queue.
pub(crate) struct Delivered {
    bytes: Option<Bytes>,
    delivery: Option<Delivery>,
}

impl Delivered {
    pub(crate) fn new(bytes: Bytes, delivery: Delivery) -> Self {
        Self { bytes: Some(bytes), delivery: Some(delivery) }
    }
}

impl Body for Delivered {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = self.bytes.take().map(|bytes| Ok(Frame::data(bytes)));
        if frame.is_none()
            && let Some(delivery) = self.delivery.take()
        {
            delivery.written();
        }
        Poll::Ready(frame)
    }

    // Never claimed to be at its end before it was asked once more: that last question comes
    // after the bytes went out.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        // Without a length the answer is chunked, and its end is asked for after its bytes were taken.
        SizeHint::default()
    }
}
