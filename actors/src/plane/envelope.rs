//! Something sealed, with all that it takes to open it: what the control plane hands to those who may read it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Error;
use crate::fleet::task::{Phase, Task};
use crate::id::{ScheduleId, TaskId};
use crate::seal::{Purpose, Sealed, Unreadable};
use crate::system::principals::KnownOrg;
use crate::workflows::run::Place;

/// Something sealed of a task or a run. It has no content in `Debug`.
#[derive(Clone)]
pub struct Envelope {
    known: Arc<KnownOrg>,
    subject: Arc<[u8]>,
    purpose: Purpose,
    sealed: Sealed,
}

impl Envelope {
    pub(super) fn new(
        known: &Arc<KnownOrg>,
        task: TaskId,
        purpose: Purpose,
        sealed: Sealed,
    ) -> Self {
        let subject = task.0.as_bytes().as_slice().into();
        Self { known: known.clone(), subject, purpose, sealed }
    }

    /// A value of a run.
    pub(super) fn of_run(known: &Arc<KnownOrg>, place: &Place, sealed: Sealed) -> Self {
        let (purpose, subject) = place.what.bound();
        Self { known: known.clone(), subject: subject.into(), purpose, sealed }
    }

    /// What runs of a schedule are given.
    pub(super) fn of_schedule(known: &Arc<KnownOrg>, schedule: ScheduleId, sealed: Sealed) -> Self {
        let subject = schedule.0.as_bytes().as_slice().into();
        Self { known: known.clone(), subject, purpose: Purpose::ScheduleInput, sealed }
    }

    /// What a task's row holds: the result of a completed one, else its last error.
    pub(super) fn of(known: &Arc<KnownOrg>, task: &Task, sealed: Sealed) -> Self {
        let purpose = match task.phase {
            Phase::Completed { .. } => Purpose::Result,
            _ => Purpose::Error,
        };
        Self::new(known, task.id, purpose, sealed)
    }

    /// What is inside.
    ///
    /// # Errors
    /// When it does not open: it was changed or moved, or its key is retired. There is no fallback.
    pub fn open(&self) -> Result<Bytes, Unreadable> {
        self.known.ring.open(self.purpose, &self.subject, &self.sealed)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({}, {:?})", self.purpose.as_str(), self.sealed)
    }
}

/// The error for what does not open: said to nobody but the log.
pub(super) fn unreadable(task: TaskId, error: Unreadable) -> Error {
    let id = uuid::Uuid::now_v7().to_string();
    tracing::error!(%id, %task, %error, "what is sealed of a task does not open");
    Error::Internal(id)
}
