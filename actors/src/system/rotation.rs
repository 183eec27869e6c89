//! Another master key for a store: everything that the old one sealed in the system's cell is sealed with the new one. It is
//! done with no server on the store, from outside, and can be broken off at any point and begun again: each value is looked
//! at by itself, and one that is sealed with the new key already stays as it is.

use fleetward_store::{AppendError, CellAppend, Position, ReadError, Resealed, ResealedRow, Store};

use crate::access::{ACCESS_ID, Access, Event};
use crate::fact;
use crate::plane::SYSTEM_CELL;
use crate::seal::{MasterKey, Sealed};

/// Rows in one page.
const ROWS: usize = 256;

/// Why it was not done, or not to the end. Nothing is lost: begin again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Look whether the store is there.
    #[error("the store is not available: {0}")]
    Store(String),
    /// Give the key that the store was made with, or the one that it was last rotated to.
    #[error("{0} is sealed with neither of the two keys")]
    Key(String),
    /// Give another one.
    #[error("the new master key is the old one")]
    Same,
    /// Look at the URL.
    #[error("there is nothing in the store")]
    Empty,
    /// Stop it, and begin again.
    #[error("a server runs on the store")]
    Fenced,
}

/// Seals everything anew that `old` sealed; answers how many values of events and rows that were. None of them: it was done
/// before. Whatever server still runs on the store is fenced. `now` is in microseconds UTC.
///
/// # Errors
/// See [`Error`].
pub async fn rotate(
    store: &dyn Store,
    old: &MasterKey,
    new: &MasterKey,
    now: i64,
) -> Result<u64, Error> {
    if old.expose() == new.expose() {
        return Err(Error::Same);
    }
    let keys = Keys { store, old, new };
    // Before anything is changed: all of it must open.
    let (events, rows) = (keys.events().await?, keys.rows().await?);
    let values = (events.len() + rows.len()) as u64;
    if values == 0 {
        return Ok(0);
    }
    keys.note(values, now).await?;
    loop {
        let (events, rows) = (keys.events().await?, keys.rows().await?);
        if events.is_empty() && rows.is_empty() {
            return Ok(values);
        }
        store.reseal(SYSTEM_CELL, events).await.map_err(read)?;
        store.reseal_rows(SYSTEM_CELL, rows).await.map_err(away)?;
    }
}

struct Keys<'a> {
    store: &'a dyn Store,
    old: &'a MasterKey,
    new: &'a MasterKey,
}

impl Keys<'_> {
    /// What of the events is to be sealed again.
    async fn events(&self) -> Result<Vec<Resealed>, Error> {
        let (mut changes, mut at) = (Vec::new(), 0);
        loop {
            let page = self.store.sealed_parts(SYSTEM_CELL, at).await.map_err(read)?;
            let Some(up_to) = page.up_to else { break };
            at = up_to;
            for (seq, old) in page.parts {
                let new = self.again(&old, || format!("what is sealed beside event {seq}"))?;
                changes.extend(new.map(|new| Resealed { seq, old, new }));
            }
        }
        if at == 0 { Err(Error::Empty) } else { Ok(changes) }
    }

    /// What of the rows is to be sealed again.
    async fn rows(&self) -> Result<Vec<ResealedRow>, Error> {
        let mut changes = Vec::new();
        let mut after = (String::new(), String::new());
        loop {
            let page = self.store.sealed_rows(SYSTEM_CELL, (&after.0, &after.1), ROWS).await;
            let page = page.map_err(away)?;
            let Some(last) = page.last() else { return Ok(changes) };
            after = (last.kind.clone(), last.id.clone());
            for row in page {
                let what = || format!("what is sealed in the row of {}/{}", row.kind, row.id);
                let new = self.again(&row.sealed, what)?;
                changes.extend(new.map(|new| ResealedRow { row, new }));
            }
        }
    }

    /// A value sealed with the new key; none: it is already.
    fn again(
        &self,
        bytes: &bytes::Bytes,
        what: impl Fn() -> String,
    ) -> Result<Option<bytes::Bytes>, Error> {
        let sealed = Sealed::from_bytes(bytes.clone());
        if self.new.made(&sealed) == Some(true) {
            return Ok(None);
        }
        let again = self.old.reseal(&sealed, self.new).map_err(|_| Error::Key(what()))?;
        Ok(Some(again.into_bytes()))
    }

    /// Puts it on the record before anything is changed. Opening the cell fences whoever had it.
    async fn note(&self, values: u64, now: i64) -> Result<(), Error> {
        let head = self.store.open(SYSTEM_CELL).await.map_err(away)?;
        let last = self.store.read_at(SYSTEM_CELL, &[head.head as Position]).await.map_err(read)?;
        let at = last.first().map_or(now, |last| now.max(last.event.at));
        let event = Event::MasterKeyRotated { values };
        let by = ("system".into(), None);
        let event = fact::encode::<Access>(ACCESS_ID, &event, at, by, None);
        let append = CellAppend { head, events: [event].into() };
        match self.store.append(vec![append]).await.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err(AppendError::Fenced { .. })) => Err(Error::Fenced),
            Some(Err(error)) => Err(away(error)),
            None => Err(Error::Store("it did not answer".to_owned())),
        }
    }
}

fn away(error: impl std::fmt::Display) -> Error {
    Error::Store(error.to_string())
}

fn read(error: ReadError) -> Error {
    away(error)
}
