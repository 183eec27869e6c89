//! Durable functions on a worker: what they have done is kept, and handed to whoever goes on.

use bytes::Bytes;
use fleetward_store::Position;
use serde_json::{Map, Value};

use super::Session;
use crate::error::{Error, Kind, Refusal};
use crate::fleet::dispatcher::{self, report};
use crate::fleet::input;
use crate::fleet::registry::Asked;
use crate::fleet::task::history::{Called, Entry, History, Pending, WAITS_MAX};
use crate::id::TaskId;
use crate::seal::{Purpose, Sealed};
use crate::workflows::run::{Outcome, Place};

/// Values that are read at once, and bytes of them that are answered together: each may have a megabyte.
const READ_AT_ONCE: usize = 8;
const PAGE_BYTES: usize = 1 << 20;

/// A step that a durable function has done.
#[derive(Debug, Clone)]
pub struct NewCheckpoint {
    /// Its position: how many steps and waits the code asked for before it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it resulted in: JSON.
    pub value: Bytes,
    /// How long it took, in milliseconds: to be shown, and used for nothing.
    pub took_ms: Option<u64>,
}

/// What stands at one position of a history.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What, under which name, and how it ended.
    pub entry: Entry,
    /// The value of a step, or the payload of a signal: JSON.
    pub value: Option<Bytes>,
}

/// A stretch of a history.
#[derive(Debug, Clone)]
pub struct RecordedPage {
    /// By their positions.
    pub entries: Vec<Recorded>,
    /// Where the next page begins; none on the last one.
    pub next: Option<u32>,
}

impl Session {
    /// Keeps what a step of a durable function resulted in. Once this returns, the step is done for good: every later attempt
    /// finds its value. Harmless twice.
    ///
    /// # Errors
    /// When the attempt is not the newest or over, another value stands there, or the limits of a function are reached.
    pub async fn checkpoint(
        &self,
        task: TaskId,
        (attempt, claim_token): (Option<u32>, Option<&str>),
        new: NewCheckpoint,
    ) -> Result<(), Error> {
        let cell = self.approved().await?;
        let claimant = self.claimant(task, attempt, claim_token)?;
        let NewCheckpoint { index, name, value, took_ms } = new;
        input::size("value", value.len(), self.plane.shared.config.payload_max)?;
        let checkpoint = dispatcher::Checkpoint {
            index,
            name,
            sealed: self.known.ring.seal(Purpose::Checkpoint, task.0.as_bytes(), &value),
            digest: self.known.key.digest(&value),
            bytes: value.len() as u64,
            took_ms,
        };
        let permit = self.plane.permit(cell.cell, value.len())?;
        let within = self.plane.shared.config.answer_within;
        let origin = self.origin.clone();
        let say =
            |reply| dispatcher::Message::Checkpoint { task, claimant, checkpoint, origin, reply };
        match cell.dispatcher.call_with_permit(permit, within, say).await?? {
            Asked::Found(()) => Ok(()),
            Asked::NotHere => {
                report::owned(&self.closed(&cell, task).await?, claimant)?;
                Err(over().into())
            }
        }
    }

    /// What the durable function of a task has done, from a position on: as much as fits into one answer.
    ///
    /// # Errors
    /// When the attempt is not the newest, or is over.
    pub async fn recorded(
        &self,
        task: TaskId,
        (attempt, claim_token): (Option<u32>, Option<&str>),
        from: u32,
    ) -> Result<RecordedPage, Error> {
        let cell = self.approved().await?;
        let claimant = self.claimant(task, attempt, claim_token)?;
        let within = self.plane.shared.config.answer_within;
        let permit = self.plane.permit(cell.cell, 0)?;
        let look = |reply| dispatcher::Message::Look { task, reply };
        let found = cell.dispatcher.call_with_permit(permit, within, look).await?;
        let known = match found {
            Some(known) => known,
            None => self.closed(&cell, task).await?,
        };
        report::owned(&known, claimant)?;
        if known.is_closed() {
            return Err(over().into());
        }
        let entries = known.history().into_iter().flat_map(History::iter);
        let left: Vec<_> = entries.filter(|entry| entry.index >= from).cloned().collect();
        self.page(left).await
    }

    async fn page(&self, left: Vec<Entry>) -> Result<RecordedPage, Error> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut left = left.into_iter().peekable();
        loop {
            let some: Vec<_> = left.by_ref().take(READ_AT_ONCE).collect();
            if some.is_empty() {
                return Ok(RecordedPage { entries, next: None });
            }
            for (entry, value) in self.values(some).await? {
                bytes += value.as_ref().map_or(0, Bytes::len);
                if bytes > PAGE_BYTES && !entries.is_empty() {
                    return Ok(RecordedPage { entries, next: Some(entry.index) });
                }
                entries.push(Recorded { entry, value });
            }
        }
    }

    /// Entries with their values.
    async fn values(&self, entries: Vec<Entry>) -> Result<Vec<(Entry, Option<Bytes>)>, Error> {
        let mut positions: Vec<Position> =
            entries.iter().filter_map(place).map(|place| place.at).collect();
        positions.sort_unstable();
        positions.dedup();
        let read = self.plane.shared.store.read_at(self.known.org.cell(), &positions).await;
        let read = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        let open = |entry: Entry| {
            let Some(at) = place(&entry) else { return Ok((entry, None)) };
            let found = read.binary_search_by_key(&at.at, |stored| stored.seq).ok();
            let sealed = found.and_then(|at| read[at].event.sealed.clone());
            let (purpose, subject) = at.what.bound();
            let opened = sealed
                .map(|sealed| self.known.ring.open(purpose, subject, &Sealed::from_bytes(sealed)));
            match opened {
                Some(Ok(value)) => Ok((entry, Some(value))),
                Some(Err(error)) => Err(unreadable(at.at, &error.to_string())),
                None => Err(unreadable(at.at, "it is gone")),
            }
        };
        entries.into_iter().map(open).collect()
    }
}

/// Where the value of an entry is.
fn place(entry: &Entry) -> Option<&Place> {
    match &entry.outcome {
        Some(Outcome::Completed { output }) => output.as_ref(),
        _ => None,
    }
}

/// What is sealed of a suspension: what people are asked, by position. The rest goes to `waits`.
///
/// # Errors
/// When a wait makes no sense.
pub(super) fn suspension(
    asked: Vec<(Pending, Option<Value>)>,
    waits: &mut Vec<Pending>,
) -> Result<Bytes, Refusal> {
    if asked.is_empty() || asked.len() > WAITS_MAX {
        let detail = format!("an attempt is suspended for 1 to {WAITS_MAX} waits");
        return Err(Refusal::invalid("invalid_wait", detail));
    }
    let mut texts = Map::new();
    for (wait, text) in asked {
        wait.check()?;
        if waits.iter().any(|known| known.index == wait.index) {
            let detail = format!("position {} is named twice", wait.index);
            return Err(Refusal::invalid("invalid_wait", detail));
        }
        if wait.called() == Called::Approval {
            texts.insert(wait.index.to_string(), text.unwrap_or_default());
        }
        waits.push(wait);
    }
    Ok(Value::Object(texts).to_string().into())
}

fn unreadable(at: Position, why: &str) -> Error {
    let id = uuid::Uuid::now_v7().to_string();
    tracing::error!(%id, at, why, "what a function has done cannot be read");
    Error::Internal(id)
}

fn over() -> Refusal {
    let detail = "the attempt is over; stop working on the task";
    Refusal::new(Kind::Conflict, "attempt_over", detail)
}
