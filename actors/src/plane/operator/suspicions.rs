//! Who is suspicious, deaf or mute, and taking that back.

use super::Operator;
use crate::error::Error;
use crate::fleet::input;
use crate::fleet::registry::{Asked, Message};
use crate::fleet::worker::Worker;
use crate::id::WorkerId;
use crate::system::org::Role;

/// Most workers that one list of suspects names.
pub const SUSPECTS_MAX: usize = 1_000;

impl Operator {
    /// Workers that are suspicious, deaf or mute and may still work, those whose state changed last first; at most
    /// [`SUSPECTS_MAX`].
    ///
    /// # Errors
    /// When the organisation's cell does not run.
    pub async fn suspects(&self) -> Result<Vec<Worker>, Error> {
        let mut suspects = self.ask_registry(0, |reply| Message::Suspects { reply }).await?;
        suspects.truncate(SUSPECTS_MAX);
        Ok(suspects)
    }

    /// Says that what was seen of a worker means nothing: its suspicions are gone, and it is watched anew. Once this
    /// returns, that is durable.
    ///
    /// # Errors
    /// When this organisation has no such worker.
    pub async fn reset_suspicions(
        &self,
        worker: WorkerId,
        reason: Option<String>,
    ) -> Result<Worker, Error> {
        self.may(Role::Admin)?;
        if let Some(reason) = &reason {
            input::printable("reason", reason, input::REASON_MAX)?;
        }
        let by = self.by().clone();
        let absolve = |reply| Message::Absolve { worker, reason, by, reply };
        match self.ask_registry(0, absolve).await?? {
            Asked::Found(worker) => Ok(worker),
            // It may not work any more: there is nothing left to take back.
            Asked::NotHere => self.worker_row(worker).await,
        }
    }

    /// Tasks completed and failed as the worker itself counts them, where it says so in its heartbeats. For display: nothing
    /// rests on it.
    ///
    /// # Errors
    /// When the organisation's cell does not run.
    pub async fn own_counts(&self, worker: WorkerId) -> Result<[Option<u64>; 2], Error> {
        let pulse = self.cell().await?.credentials.pulse(worker);
        Ok(pulse.map_or([None, None], |pulse| pulse.said()))
    }
}
