//! Values that travel sealed between the control plane and a worker that holds its organisation's key.

use bytes::Bytes;
pub use fleetward_seal::Part;
use fleetward_seal::{Bound, Key};

use super::Session;
use crate::error::{Kind, Refusal};
use crate::id::TaskId;
use crate::seal::KeyState;

/// A value sealed for one attempt.
#[derive(Debug, Clone)]
pub struct Handed {
    /// The number of its key.
    pub key: u32,
    /// A Fernet token.
    pub token: String,
}

impl Session {
    /// Whether one of the keys that the worker holds can be used.
    ///
    /// # Errors
    /// When none can: there is no fallback to plaintext for a worker that asked for sealed values.
    pub fn usable(&self, held: &[u32]) -> Result<u32, Refusal> {
        let keys = self.known.ring.keys().into_iter();
        let usable =
            keys.filter(|key| key.state != KeyState::Retired && held.contains(&key.number));
        let best = usable.max_by_key(|key| (key.state == KeyState::Primary, key.number));
        best.map(|key| key.number).ok_or_else(|| {
            let detail =
                "none of the worker's keys of the organisation is good any more; export them again";
            Refusal::new(Kind::Conflict, "org_keys_outdated", detail)
        })
    }

    /// Seals a value for one attempt, with a key that the worker holds.
    ///
    /// # Errors
    /// As [`usable`](Self::usable).
    pub fn seal_for_worker(
        &self,
        part: Part,
        held: &[u32],
        (task, attempt): (TaskId, u32),
        value: &[u8],
    ) -> Result<Handed, Refusal> {
        let number = self.usable(held)?;
        let key = self.known.ring.key(number).ok_or_else(unreadable)?;
        let bound = self.bound(part, task, attempt);
        Ok(Handed { key: number, token: Key::seal(&key, bound, value) })
    }

    /// Opens what the worker sealed for its attempt.
    ///
    /// # Errors
    /// When it was sealed for something else, or with another key.
    pub fn open_from_worker(
        &self,
        part: Part,
        (task, attempt): (TaskId, Option<u32>),
        said: &Handed,
    ) -> Result<Bytes, Refusal> {
        let attempt = attempt.ok_or_else(unreadable)?;
        let key = self.known.ring.key(said.key).ok_or_else(unreadable)?;
        key.open(self.bound(part, task, attempt), &said.token).map_err(|_| unreadable())
    }

    fn bound(&self, part: Part, task: TaskId, attempt: u32) -> Bound {
        Bound::to_attempt(part, self.known.org.id.0.as_bytes(), task.0.as_bytes(), attempt)
    }
}

fn unreadable() -> Refusal {
    let detail =
        "the sealed value does not open for this task and attempt with a key of the organisation";
    Refusal::invalid("unreadable_value", detail)
}
