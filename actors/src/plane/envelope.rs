//! Something sealed, with all that it takes to open it: what the control plane hands to those who may read it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Error;
use crate::fleet::task::{Phase, Task};
use crate::id::TaskId;
use crate::seal::{Purpose, Sealed, Unreadable};
use crate::system::principals::KnownOrg;

/// Something sealed of a task. It has no content in `Debug`.
#[derive(Clone)]
pub struct Envelope {
    known: Arc<KnownOrg>,
    task: TaskId,
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
        Self { known: known.clone(), task, purpose, sealed }
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
        self.known.ring.open(self.purpose, self.task.0.as_bytes(), &self.sealed)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} of {}, {:?})", self.purpose.as_str(), self.task, self.sealed)
    }
}

/// The error for what does not open: said to nobody but the log.
pub(super) fn unreadable(task: TaskId, error: Unreadable) -> Error {
    let id = uuid::Uuid::now_v7().to_string();
    tracing::error!(%id, %task, %error, "what is sealed of a task does not open");
    Error::Internal(id)
}
