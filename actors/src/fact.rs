//! Facts and their folds: how a domain event is written into the journal, read back, and applied.
//!
//! A body is JSON with the event's kind inside, so it reads alone (`fleetward journal cat`) and survives added fields.

mod tagged;

use bytes::Bytes;
use fleetward_store::{Codec, Event, Origin, Position, Record};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;
use tagged::Tagged;

/// The version that bodies are written in. A reader takes its own version and every older one.
const VERSION: u16 = 1;

/// When and where an event stands, and who caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// Its position in the cell.
    pub seq: Position,
    /// Microseconds UTC, by the server's clock; never goes back within a cell.
    pub at: i64,
    /// The actor: `token:<id>`, `worker:<id>`, `key:<id>` or `system`.
    pub by: &'a str,
}

/// A thing whose whole state is a fold over the events of its stream.
///
/// The same value is an actor's memory, the projector's row and what a restart begins from.
pub trait Fold: Serialize + DeserializeOwned + Clone + Send + 'static {
    /// What can happen to it: an enum whose variants are named as [`Fold::kind`] says and have named fields, none of them
    /// `kind`. Persisted: variants and fields are added, never changed.
    type Event: Serialize + DeserializeOwned + std::fmt::Debug + Send;
    /// Kind of its record and first part of its stream's name.
    const KIND: &'static str;

    /// The kind of an event, as stored: `task.claimed`.
    fn kind(event: &Self::Event) -> &'static str;
    /// The state after the first event; `None` when `event` cannot be a first one.
    fn begin(event: &Self::Event, stamp: Stamp<'_>) -> Option<Self>;
    /// Applies a fact. Total: a fact cannot fail.
    fn evolve(&mut self, event: &Self::Event, stamp: Stamp<'_>);
    /// Whether an actor has it in memory: such a record is loaded when its cell starts. Of one that is not open, what
    /// happens to it next begins with reading its record.
    fn open(&self) -> bool;
    /// When something is to happen to it by itself though no actor has it in memory, in microseconds UTC: rows are found
    /// by it.
    fn wakes_at(&self) -> Option<i64> {
        None
    }
    /// Whether it was deleted: its row goes, and its stream may begin anew.
    fn is_deleted(&self) -> bool {
        false
    }
    /// The word that lists filter by.
    fn status(&self) -> &'static str;
    /// Whether the record keeps the sealed part of `event`.
    fn keeps_sealed(_event: &Self::Event) -> bool {
        false
    }
}

/// An event that this build cannot decode, or that does not fit what came before it.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("event {seq} of stream {stream} ({kind} v{version}) cannot be folded: {reason}")]
pub struct Unfoldable {
    /// Position in the cell.
    pub seq: Position,
    /// Its stream.
    pub stream: String,
    /// Its kind.
    pub kind: String,
    /// The version of its body.
    pub version: u16,
    /// What is wrong.
    pub reason: String,
}

/// Encodes an event for the journal.
pub fn encode<F: Fold>(
    id: impl std::fmt::Display,
    event: &F::Event,
    at: i64,
    (by, origin): (Arc<str>, Option<Arc<Origin>>),
    sealed: Option<Bytes>,
) -> Event {
    let kind = F::kind(event);
    Event {
        stream: stream_of(F::KIND, id),
        kind: Cow::Borrowed(kind),
        version: VERSION,
        codec: Codec::Json,
        at,
        by,
        origin,
        body: tagged::write(kind, event),
        sealed,
    }
}

fn stream_of(kind: &str, id: impl std::fmt::Display) -> Arc<str> {
    thread_local! {
        static SCRATCH: RefCell<String> = const { RefCell::new(String::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        write!(scratch, "{kind}/{id}").expect("a string takes everything");
        Arc::from(scratch.as_str())
    })
}

/// As JSON, in a buffer of this size to begin with.
pub(crate) fn json(value: &impl Serialize, bytes: usize) -> Vec<u8> {
    let mut written = Vec::with_capacity(bytes);
    serde_json::to_writer(&mut written, value).expect("facts have string keys only");
    written
}

/// Decodes an event of `F`'s streams.
///
/// # Errors
/// When a newer build wrote it, or its body is not what its kind says.
pub fn decode<F: Fold>(seq: Position, event: &Event) -> Result<F::Event, Unfoldable> {
    if event.version > VERSION || event.codec != Codec::Json {
        return Err(unfoldable(seq, event, "written by a newer build"));
    }
    let fact = Tagged { kind: &event.kind, body: &event.body };
    F::Event::deserialize(fact).map_err(|error| unfoldable(seq, event, &error.to_string()))
}

/// Applies a stored event to what is known of its stream.
///
/// # Errors
/// When the event cannot be decoded, or is not a first one while nothing is known.
pub fn fold<F: Fold>(
    known: &mut Option<F>,
    seq: Position,
    event: &Event,
) -> Result<(), Unfoldable> {
    let fact = decode::<F>(seq, event)?;
    let stamp = Stamp { seq, at: event.at, by: &event.by };
    match known {
        Some(state) => state.evolve(&fact, stamp),
        None => match F::begin(&fact, stamp) {
            Some(state) => *known = Some(state),
            None => return Err(unfoldable(seq, event, "its stream has no beginning")),
        },
    }
    Ok(())
}

/// The kind and the id in a stream's name, `task/0190...`.
pub fn split_stream(stream: &str) -> (&str, &str) {
    stream.split_once('/').unwrap_or((stream, ""))
}

/// The error for an event that does not fit.
pub fn unfoldable(seq: Position, event: &Event, reason: &str) -> Unfoldable {
    Unfoldable {
        seq,
        stream: event.stream.to_string(),
        kind: event.kind.to_string(),
        version: event.version,
        reason: reason.to_owned(),
    }
}

/// Reads the state back from its record.
///
/// # Errors
/// When the body is not what this build writes.
pub fn from_record<F: Fold>(record: &Record) -> Result<F, Unfoldable> {
    serde_json::from_slice(&record.body).map_err(|error| Unfoldable {
        seq: record.updated,
        stream: format!("{}/{}", record.kind, record.id),
        kind: "record".to_owned(),
        version: VERSION,
        reason: error.to_string(),
    })
}
