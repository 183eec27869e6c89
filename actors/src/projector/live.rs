//! The state of one stream in memory: events are folded into it, and its row is written from it once, however many
//! events that were.

use std::any::Any;
use std::borrow::Cow;

use bytes::Bytes;
use fleetward_store::{CellId, Event, Position, Record};

use crate::access::Access;
use crate::fact::{self, Fold, Stamp, Unfoldable, split_stream, unfoldable};
use crate::fleet::alert::Alert;
use crate::fleet::key::Key;
use crate::fleet::policy::Policy;
use crate::fleet::sink::Sink;
use crate::fleet::task::Task;
use crate::fleet::watch::Watch;
use crate::fleet::worker::Worker;
use crate::schedules::schedule::Schedule;
use crate::system::org::{Org, Token};
use crate::system::payload_key::PayloadKey;
use crate::system::signer::AuditKey;
use crate::system::signing_key::SigningKey;
use crate::workflows::run::Run;
use crate::workflows::workflow::Workflow;

/// Room for the body of a row, in bytes: a task has less, a run of a few steps twice as much.
const ROW: usize = 512;

/// A stream of any kind that this build knows.
pub struct Live(Box<dyn Folding>);

/// A stream's state by its own type.
#[derive(Debug)]
pub struct Folded<F> {
    /// The state.
    pub state: F,
    /// Position of the first event.
    pub created: Position,
    /// The sealed part that its row keeps.
    pub sealed: Option<Bytes>,
}

trait Folding: Any + Send + Sync {
    fn apply(&mut self, seq: Position, event: &Event) -> Result<(), Unfoldable>;
    fn kind(&self) -> &'static str;
    fn id(&self) -> &str;
    fn updated(&self) -> Position;
    fn is_open(&self) -> bool;
    fn is_deleted(&self) -> bool;
    fn row(&self) -> Record;
}

struct Known<F> {
    cell: CellId,
    id: String,
    state: F,
    created: Position,
    updated: Position,
    sealed: Option<Bytes>,
}

/// What a stream was before one of its events: sent along where the row has most likely left memory since it was
/// written, so that it need not be read back.
#[derive(Debug)]
pub struct Before {
    /// The position of that event.
    pub(crate) seq: Position,
    /// The state that it found.
    pub(crate) live: Live,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Live")
    }
}

impl Live {
    /// The state after the first event of a stream.
    ///
    /// # Errors
    /// When the event is of a newer build, or no first one.
    pub fn begin(cell: CellId, seq: Position, event: &Event) -> Result<Self, Unfoldable> {
        match split_stream(&event.stream).0 {
            Task::KIND => Known::<Task>::begin(cell, seq, event),
            Worker::KIND => Known::<Worker>::begin(cell, seq, event),
            Key::KIND => Known::<Key>::begin(cell, seq, event),
            Policy::KIND => Known::<Policy>::begin(cell, seq, event),
            Watch::KIND => Known::<Watch>::begin(cell, seq, event),
            Alert::KIND => Known::<Alert>::begin(cell, seq, event),
            Sink::KIND => Known::<Sink>::begin(cell, seq, event),
            Org::KIND => Known::<Org>::begin(cell, seq, event),
            Token::KIND => Known::<Token>::begin(cell, seq, event),
            PayloadKey::KIND => Known::<PayloadKey>::begin(cell, seq, event),
            Access::KIND => Known::<Access>::begin(cell, seq, event),
            AuditKey::KIND => Known::<AuditKey>::begin(cell, seq, event),
            SigningKey::KIND => Known::<SigningKey>::begin(cell, seq, event),
            Run::KIND => Known::<Run>::begin(cell, seq, event),
            Workflow::KIND => Known::<Workflow>::begin(cell, seq, event),
            Schedule::KIND => Known::<Schedule>::begin(cell, seq, event),
            _ => Err(unfoldable(seq, event, "a stream of an unknown kind")),
        }
    }

    /// The state that a row holds.
    ///
    /// # Errors
    /// When the row is not what this build writes.
    pub fn read(row: Record) -> Result<Self, Unfoldable> {
        match row.kind.as_ref() {
            Task::KIND => Known::<Task>::read(row),
            Worker::KIND => Known::<Worker>::read(row),
            Key::KIND => Known::<Key>::read(row),
            Policy::KIND => Known::<Policy>::read(row),
            Watch::KIND => Known::<Watch>::read(row),
            Alert::KIND => Known::<Alert>::read(row),
            Sink::KIND => Known::<Sink>::read(row),
            Org::KIND => Known::<Org>::read(row),
            Token::KIND => Known::<Token>::read(row),
            PayloadKey::KIND => Known::<PayloadKey>::read(row),
            Access::KIND => Known::<Access>::read(row),
            AuditKey::KIND => Known::<AuditKey>::read(row),
            SigningKey::KIND => Known::<SigningKey>::read(row),
            Run::KIND => Known::<Run>::read(row),
            Workflow::KIND => Known::<Workflow>::read(row),
            Schedule::KIND => Known::<Schedule>::read(row),
            kind => Err(Unfoldable {
                seq: row.updated,
                stream: format!("{kind}/{}", row.id),
                kind: "record".to_owned(),
                version: 0,
                reason: "a row of an unknown kind".to_owned(),
            }),
        }
    }

    /// The state of a stream whose row keeps nothing sealed, as an actor has it.
    pub(crate) fn known<F: Fold + Sync>(
        cell: CellId,
        id: impl std::fmt::Display,
        state: F,
        (created, updated): (Position, Position),
    ) -> Self {
        Self(Box::new(Known { cell, id: id.to_string(), state, created, updated, sealed: None }))
    }

    /// Applies one more event; one that the state contains already changes nothing.
    ///
    /// # Errors
    /// When the event is of a newer build.
    pub fn apply(&mut self, seq: Position, event: &Event) -> Result<(), Unfoldable> {
        self.0.apply(seq, event)
    }

    /// The kind of its stream.
    pub fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// Position of the last event in it.
    pub(crate) fn updated(&self) -> Position {
        self.0.updated()
    }

    /// The name of its stream.
    pub(crate) fn stream(&self) -> String {
        format!("{}/{}", self.0.kind(), self.0.id())
    }

    /// Whether an actor has it in memory.
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Whether its row is to go, and its stream may begin anew.
    pub fn is_deleted(&self) -> bool {
        self.0.is_deleted()
    }

    /// The row to be written.
    pub fn row(&self) -> Record {
        self.0.row()
    }

    /// The state, if it is of this type; else everything as it was.
    ///
    /// # Errors
    /// Itself, when it is of another type.
    pub fn into_state<F: Fold + Sync>(self) -> Result<Folded<F>, Self> {
        if !(&*self.0 as &dyn Any).is::<Known<F>>() {
            return Err(self);
        }
        let known: Box<dyn Any> = self.0;
        let known = known.downcast::<Known<F>>().expect("asked a moment ago");
        let Known { state, created, sealed, .. } = *known;
        Ok(Folded { state, created, sealed })
    }
}

impl<F: Fold + Sync> Known<F> {
    fn begin(cell: CellId, seq: Position, event: &Event) -> Result<Live, Unfoldable> {
        let fact = fact::decode::<F>(seq, event)?;
        let state = F::begin(&fact, stamp(seq, event))
            .ok_or_else(|| unfoldable(seq, event, "its stream has no beginning"))?;
        let id = split_stream(&event.stream).1.to_owned();
        let (created, updated) = (seq, seq);
        let sealed = event.sealed.clone().filter(|_| F::keeps_sealed(&fact));
        Ok(Live(Box::new(Self { cell, id, state, created, updated, sealed })))
    }

    fn read(row: Record) -> Result<Live, Unfoldable> {
        let state = fact::from_record::<F>(&row)?;
        let Record { cell, id, created, updated, sealed, .. } = row;
        Ok(Live(Box::new(Self { cell, id, state, created, updated, sealed })))
    }
}

impl<F: Fold + Sync> Folding for Known<F> {
    fn apply(&mut self, seq: Position, event: &Event) -> Result<(), Unfoldable> {
        if self.updated >= seq {
            return Ok(());
        }
        let fact = fact::decode::<F>(seq, event)?;
        self.state.evolve(&fact, stamp(seq, event));
        self.updated = seq;
        if F::keeps_sealed(&fact) {
            self.sealed = event.sealed.clone();
        }
        Ok(())
    }

    fn kind(&self) -> &'static str {
        F::KIND
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn updated(&self) -> Position {
        self.updated
    }

    fn is_open(&self) -> bool {
        self.state.open()
    }

    fn is_deleted(&self) -> bool {
        self.state.is_deleted()
    }

    fn row(&self) -> Record {
        Record {
            cell: self.cell,
            kind: Cow::Borrowed(F::KIND),
            id: self.id.clone(),
            created: self.created,
            updated: self.updated,
            open: self.state.open(),
            status: self.state.status().to_owned(),
            body: fact::json(&self.state, ROW).into(),
            sealed: self.sealed.clone(),
            due: self.state.wakes_at(),
        }
    }
}

fn stamp(seq: Position, event: &Event) -> Stamp<'_> {
    Stamp { seq, at: event.at, by: &event.by }
}
