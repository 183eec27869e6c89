//! Stretches of an organisation's record with what is sealed beside the events opened: payloads, results, error texts and
//! progress. What was opened is on the record before it is answered, each time. Secrets of sinks and keys stay sealed.

use fleetward_store::{Position, ReadLimit, StoredEvent};

use super::Operator;
use crate::access::{Event as Access, Stretch};
use crate::error::Error;
use crate::fact::{Fold, split_stream};
use crate::fleet::task::Task;
use crate::id::{RunId, ScheduleId, TaskId};
use crate::schedules::schedule::Schedule;
use crate::seal::{Purpose, Ring, Sealed, Unreadable};
use crate::system::org::Role;
use crate::workflows::run::Run;

/// Most events of one page.
pub const UNSEALED_MAX: usize = 200;
/// Bytes after which a page ends, sealed parts among them: four of the largest payloads.
const PAGE_BYTES: usize = 4 << 20;

/// What stands sealed beside an event.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Nothing,
    /// A key, or the address and the secrets of a sink: never opened for anybody to look at.
    Secret,
    /// What a task was given, or what came of it.
    Open(bytes::Bytes),
    /// It does not open. There is no fallback.
    Unreadable(Unreadable),
}

/// An event with what is sealed beside it.
#[derive(Debug, Clone)]
pub struct Unsealed {
    /// The event.
    pub stored: StoredEvent,
    /// What is inside.
    pub content: Content,
}

/// Some events, the oldest first.
#[derive(Debug, Clone)]
pub struct UnsealedPage {
    /// The events.
    pub events: Vec<Unsealed>,
    /// The position after which the next page begins; none: these were all.
    pub next: Option<Position>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Secret => "Secret",
            Self::Open(_) => "Open",
            Self::Unreadable(_) => "Unreadable",
        })
    }
}

/// Opens what is sealed beside an event with the keys of its organisation.
pub fn open(ring: &Ring, stored: &StoredEvent) -> Content {
    let Some(bytes) = stored.event.sealed.clone() else { return Content::Nothing };
    let Some((whose, purpose)) = readable(stored) else { return Content::Secret };
    let subject = match &whose {
        Whose::Task(task) => task.0.as_bytes().as_slice(),
        Whose::Run(run) => run.as_str().as_bytes(),
        Whose::Schedule(schedule) => schedule.0.as_bytes(),
    };
    match ring.open(purpose, subject, &Sealed::from_bytes(bytes)) {
        Ok(content) => Content::Open(content),
        Err(error) => Content::Unreadable(error),
    }
}

/// Whose content is sealed beside an event.
enum Whose {
    Task(TaskId),
    Run(RunId),
    Schedule(ScheduleId),
}

/// Whose content is sealed beside an event, and what it is for.
fn readable(stored: &StoredEvent) -> Option<(Whose, Purpose)> {
    let purpose = match stored.event.kind.as_ref() {
        "task.submitted" => Purpose::Payload,
        "task.completed" => Purpose::Result,
        "task.failed" | "task.retry_scheduled" => Purpose::Error,
        "task.progressed" => Purpose::Progress,
        "task.checkpointed" => Purpose::Checkpoint,
        "task.suspended" => Purpose::Asked,
        "run.started" => Purpose::RunInput,
        "run.completed" => Purpose::RunOutput,
        "run.failed" => Purpose::RunError,
        "run.signalled" => Purpose::Signal,
        "run.gate_opened" => Purpose::Gate,
        "schedule.created" | "schedule.changed" | "schedule.fired" => Purpose::ScheduleInput,
        _ => return None,
    };
    let (kind, id) = split_stream(&stored.event.stream);
    let whose = match kind {
        Task::KIND => Whose::Task(id.parse().ok()?),
        Run::KIND => Whose::Run(id.parse().ok()?),
        Schedule::KIND => Whose::Schedule(id.parse().ok()?),
        _ => return None,
    };
    Some((whose, purpose))
}

impl Operator {
    /// Events after a position, at most `limit` of them (1 to [`UNSEALED_MAX`]) and a few MiB, with what is sealed beside
    /// them. Whoever asks, and however often: what is opened is on the record before this returns.
    ///
    /// # Errors
    /// When the caller may not, or the journal cannot be read or written.
    pub async fn unsealed(&self, after: Position, limit: usize) -> Result<UnsealedPage, Error> {
        self.may(Role::Admin)?;
        let plane = self.plane();
        let committed = self.cell().await?.positions.committed();
        let limit = ReadLimit { events: limit.clamp(1, UNSEALED_MAX), bytes: PAGE_BYTES };
        let read = plane.shared.store.read(self.number(), after, limit).await;
        let mut page = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        // What the store has beyond that was not acknowledged when this was asked.
        page.retain(|stored| stored.seq <= committed);
        self.note_unsealed(&page).await?;
        let next = page.last().map(|last| last.seq).filter(|last| *last < committed);
        let opened = |stored| Unsealed { content: open(&self.known().ring, &stored), stored };
        Ok(UnsealedPage { events: page.into_iter().map(opened).collect(), next })
    }

    async fn note_unsealed(&self, page: &[StoredEvent]) -> Result<(), Error> {
        let sealed = page.iter().filter(|stored| stored.event.sealed.is_some());
        let (mut tasks, mut runs, mut schedules) = (Vec::new(), Vec::new(), Vec::new());
        for (whose, _) in sealed.filter_map(readable) {
            match whose {
                Whose::Task(task) => tasks.push(task),
                Whose::Run(run) => runs.push(run),
                Whose::Schedule(schedule) => schedules.push(schedule),
            }
        }
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(()) };
        if tasks.is_empty() && runs.is_empty() && schedules.is_empty() {
            return Ok(());
        }
        tasks.sort_unstable();
        tasks.dedup();
        runs.sort_unstable();
        runs.dedup();
        schedules.sort_unstable();
        schedules.dedup();
        let positions = Some(Stretch { first: first.seq, last: last.seq });
        let event = Access::PayloadRead { tasks, runs, schedules, positions };
        self.plane().note(self.number(), event, self.by().clone()).await
    }
}
