//! Events: what happened, as its author made it and as it stands in the journal.

use std::{borrow::Cow, fmt, net::IpAddr, sync::Arc};

use bytes::Bytes;

use crate::chain::Hash;

/// The largest `body` plus `sealed` of one event, in bytes. A payload may be 1 MiB before it is
/// encrypted and described; four times that is far from anything a caller is allowed to send.
pub const EVENT_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// The longest name (stream, kind, author, id, status), in bytes. Names stand in indexes, and an
/// index entry of PostgreSQL holds about 2,700 bytes.
pub const NAME_LIMIT_BYTES: usize = 1024;

/// The place of an event in its cell: 1 is the first, 0 stands for "before the first".
pub type Position = u64;

/// The unit of ordering, ownership and failure: events of one cell are one total order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CellId(pub i64);

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the bytes of a body are to be read. The number is what the database holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i16)]
pub enum Codec {
    /// Self-describing: the default for everything that must survive a new build.
    Json = 1,
    /// Only where both ends are the same build.
    Bincode = 2,
}

impl Codec {
    pub(crate) fn number(self) -> i16 {
        self as i16
    }

    pub(crate) fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Json),
            2 => Some(Self::Bincode),
            _ => None,
        }
    }
}

/// The request from outside that made an event happen. Covered by the chain. Events of one request share it, and
/// cost one byte each for that.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// The id of the request.
    pub request: Box<str>,
    /// The address that it came from, as far as the author knows.
    pub source: Option<IpAddr>,
}

/// An event as its author made it.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The thing it happened to, unique inside the cell; one actor writes one stream.
    pub stream: Arc<str>,
    /// What happened, as a stable name.
    pub kind: Cow<'static, str>,
    /// Which shape of that kind the body has.
    pub version: u16,
    /// How to read the body.
    pub codec: Codec,
    /// Microseconds since 1970 UTC, chosen by the author; never goes back inside a cell. The store
    /// does not check it.
    pub at: i64,
    /// Who made it happen.
    pub by: Arc<str>,
    /// By which request, if it was one.
    pub origin: Option<Arc<Origin>>,
    /// What is covered by the chain.
    pub body: Bytes,
    /// Encrypted part. Outside the chain, so that it can be encrypted again or expire.
    pub sealed: Option<Bytes>,
}

/// An event in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// The cell it belongs to.
    pub cell: CellId,
    /// Its position: positions of a cell have no gaps.
    pub seq: Position,
    /// What the author wrote.
    pub event: Event,
    /// The chain up to and with this event.
    pub hash: Hash,
}

impl Event {
    /// What the event counts against limits in bytes: its body and its sealed part.
    pub fn size(&self) -> usize {
        self.body.len() + self.sealed.as_ref().map_or(0, Bytes::len)
    }

    /// Why no backend can ever store this event; `None` is the normal case. The same answer from
    /// every backend, so that what was tried in memory also holds on PostgreSQL.
    pub fn unstorable(&self) -> Option<String> {
        if self.size() > EVENT_LIMIT_BYTES {
            return Some(format!(
                "body and sealed part are {} bytes, the limit is {EVENT_LIMIT_BYTES}",
                self.size()
            ));
        }
        let request = self.origin.as_ref().map_or("", |origin| &origin.request);
        let names = [
            ("stream", &*self.stream),
            ("kind", &*self.kind),
            ("by", &*self.by),
            ("request", request),
        ];
        names.into_iter().find_map(|(field, name)| unstorable_name(field, name))
    }
}

/// Why a name can never be stored.
pub(crate) fn unstorable_name(field: &str, name: &str) -> Option<String> {
    if name.len() > NAME_LIMIT_BYTES {
        return Some(format!("`{field}` is {} bytes, the limit is {NAME_LIMIT_BYTES}", name.len()));
    }
    // PostgreSQL text cannot hold it.
    name.contains('\0').then(|| format!("`{field}` contains a zero character"))
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("stream", &self.stream)
            .field("kind", &self.kind)
            .field("version", &self.version)
            .field("codec", &self.codec)
            .field("at", &self.at)
            .field("by", &self.by)
            .field("origin", &self.origin)
            .field("body", &Length(Some(&self.body)))
            .field("sealed", &Length(self.sealed.as_ref()))
            .finish()
    }
}

/// Stands in for contents that must not reach a log.
pub(crate) struct Length<'a>(pub(crate) Option<&'a Bytes>);

impl fmt::Debug for Length<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{} bytes", bytes.len()),
            None => f.write_str("none"),
        }
    }
}
