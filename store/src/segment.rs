//! Segments: runs of consecutive events of one cell, each one row of the database.
//!
//! Pure. A row and its index entry cost the same for one event as for fifty, so a run is cut into
//! as few rows as the database holds well. The layout, with numbers as `number` writes them:
//!
//! - `body`: the format byte, then per event: stream, kind, version, codec, `at`, by, origin, length of the
//!   body, the body, and the chain up to and with the event (32 bytes), so that a broken chain
//!   names the event and not the segment.
//! - A name (stream, kind, by) is `2 * length` and its bytes where it first appears, and
//!   `2 * n + 1` after that, `n` counting the names of the segment in the order they appeared. So
//!   every name of a segment stands in it once, in plain bytes: a search for those finds it.
//! - `at` is the difference to the event before, 0 before the first; `2 * d` if it is not negative
//!   and `-2 * d - 1` if it is.
//! - An origin is 0 for none, 1 for the last one of the segment before this event, 2 for a request whose id is a
//!   UUID (16 bytes), 3 for any other id (length and bytes). After 2 and 3 comes the address: its length
//!   (0, 4 or 16) and its bytes.
//! - `sealed`: per event 0 if it has none, else its length plus one and its bytes. Nothing at all
//!   if no event has one. Apart from `body`, because only this part ever changes.

mod decode;
mod encode;
mod number;
mod origin;
mod page;
mod sealed;

use bytes::Bytes;

pub(crate) use self::{
    encode::cut,
    page::{Page, Wanted},
    sealed::sealed_page,
};
use crate::event::Position;

/// The first byte of every body. Another layout gets another number.
const FORMAT: u8 = 2;

/// A row of `segments`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) body: Bytes,
    pub(crate) sealed: Option<Bytes>,
}

impl Segment {
    /// How many events it holds.
    pub(crate) fn count(&self) -> usize {
        (self.last - self.first + 1) as usize
    }

    /// Bytes of the row. Never less than what its events count against limits.
    pub(crate) fn len(&self) -> usize {
        self.body.len() + self.sealed.as_ref().map_or(0, Bytes::len)
    }
}

#[cfg(test)]
mod tests;
