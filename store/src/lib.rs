//! What is true: the journal of events and the records folded from it.
//!
//! A cell is a totally ordered, hash-chained sequence of events with one owner at a time. Owners
//! [`open`](Journal::open) a cell, which fences every earlier owner, and
//! [`append`](Journal::append) to it; anybody may read. [`Records`] are rows folded from the
//! events, each step of the fold committed together with its position. The crate knows no actor,
//! no clock and no domain word.
//!
//! The databases keep the events in segments, a row for each run that was appended together: the
//! more is appended at once, the less an event costs. No caller sees them.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use fleetward_store::{CellAppend, CellId, Codec, Event, ReadLimit, connect, genesis, verify};
//!
//! let store = connect("memory:").await?;
//! let cell = CellId(1);
//! let head = store.open(cell).await?;
//! let event = Event {
//!     stream: "door/front".into(),
//!     kind: "opened".into(),
//!     version: 1,
//!     codec: Codec::Json,
//!     at: 1_700_000_000_000_000,
//!     by: "ann".into(),
//!     origin: None,
//!     body: r#"{"key":"spare"}"#.into(),
//!     sealed: None,
//! };
//!
//! let answers = store.append(vec![CellAppend { head, events: vec![event].into() }]).await;
//!
//! assert_eq!(answers[0].as_ref().map(|head| head.head).ok(), Some(1));
//! let run = store.read(cell, 0, ReadLimit::default()).await?;
//! verify(cell, 0, genesis(cell), &run)?;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
//! ```

mod attempt;
mod chain;
mod counter;
mod error;
mod event;
mod journal;
pub mod memory;
mod migrations;
mod postgres;
mod records;
mod row;
mod sealing;
mod segment;
mod sqlite;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use chain::{Break, BrokenAt, Hash, chain, genesis, verify};
pub use error::{AppendError, ConnectError, ProjectError, ReadError, Unavailable};
pub use event::{
    CellId, Codec, EVENT_LIMIT_BYTES, Event, NAME_LIMIT_BYTES, Origin, Position, StoredEvent,
};
pub use journal::{CellAppend, CellHead, Journal, ReadLimit};
pub use records::{Due, DueQuery, Projection, Query, Record, Records, Walk};
pub use sealing::{Resealed, ResealedRow, SealedPage, SealedRow, Sealing};
pub use store::{Store, connect};
