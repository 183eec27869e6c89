//! What is secret on its way through the actors and into the store: encrypted bytes that nobody can print.
//!
//! A [`Sealed`] is made and opened in a caller's handle, never in an actor: payloads, results, error texts and progress
//! with a key of the organisation's [`Ring`], keys themselves with the [`MasterKey`]. It is bound to its organisation,
//! to the thing it belongs to and to its purpose, and opens nowhere else.

mod cell_key;
mod master;
mod ring;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
pub use fleetward_seal::{BadKey, Bound, Key};

pub use cell_key::CellKey;
pub use master::MasterKey;
pub use ring::{KeyChange, KeyState, Ring, RingKey};

/// The rest of the value is the number of a key (4 bytes, the highest first) and a Fernet token without its base64.
const FERNET: u8 = 1;
/// Bytes before the token.
const HEAD: usize = 5;
/// The number that stands for the master key in front of a token. Keys of rings begin at 1.
const MASTER: u32 = 0;

/// A value that leaves a cell only towards the one who may read it. It has no `Serialize` and no content in `Debug`.
#[derive(Clone)]
pub struct Sealed {
    bytes: Bytes,
    /// Counts it as on its way, until it has a position: a key is not retired meanwhile.
    on_its_way: Option<Arc<()>>,
    /// What is inside, and what it is bound to, where a reader is about to get it: that one need not decrypt it.
    plain: Option<(Bound, Bytes)>,
}

/// What a value is for. One that is sealed for one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The secret of a cell.
    CellKey,
    /// A key of a ring.
    PayloadKey,
    /// A key that task tokens are signed with.
    TaskTokenKey,
    /// What signs heads of the record.
    SigningKey,
    /// What a task's worker gets.
    Payload,
    /// The output of a completed task.
    Result,
    /// The error text of a failed attempt.
    Error,
    /// A word of progress.
    Progress,
    /// The address and the secrets of a sink.
    Sink,
    /// The input of a run.
    RunInput,
    /// The output of a run.
    RunOutput,
    /// The error text of a failed run.
    RunError,
    /// The payload of a signal.
    Signal,
    /// What is asked at a gate.
    Gate,
    /// The value of a step of a durable function.
    Checkpoint,
    /// What a durable function asks people.
    Asked,
    /// The input of runs that a schedule starts.
    ScheduleInput,
}

/// A sealed value that does not open here. There is no fallback: whoever meets it answers an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Run the build that wrote it, or a newer one.
    #[error("sealed value is in format {0:?}, which this build does not know")]
    Format(Option<u8>),
    /// The ring has no such key, or it is retired.
    #[error("sealed value needs key {0}, which is retired or not of this organisation")]
    Key(u32),
    /// Another key made it, it was changed, or it was moved here from elsewhere.
    #[error("sealed value does not open with key {0}: it was changed, or belongs elsewhere")]
    Broken(u32),
}

impl Purpose {
    /// The word in what a value is bound to.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CellKey => "cell key",
            Self::PayloadKey => "payload key",
            Self::TaskTokenKey => "task token key",
            Self::SigningKey => "signing key",
            Self::Payload => "payload",
            Self::Result => "result",
            Self::Error => "error",
            Self::Progress => "progress",
            Self::Sink => "sink",
            Self::RunInput => "run input",
            Self::RunOutput => "run output",
            Self::RunError => "run error",
            Self::Signal => "signal",
            Self::Gate => "gate",
            Self::Checkpoint => "checkpoint",
            Self::Asked => "asked",
            Self::ScheduleInput => "schedule input",
        }
    }
}

impl Sealed {
    fn new(number: u32, key: &Key, bound: Bound, value: &[u8]) -> Self {
        Self::from_bytes(written(number, &key.seal(bound, value)))
    }

    fn open(&self, key: &Key, bound: Bound) -> Result<Bytes, Unreadable> {
        let (number, token) = self.token()?;
        key.open(bound, &token).map_err(|_| Unreadable::Broken(number))
    }

    /// The number of its key, and the token as text.
    fn token(&self) -> Result<(u32, String), Unreadable> {
        let number = self.key()?;
        Ok((number, fleetward_seal::to_text(&self.bytes[HEAD..])))
    }

    /// The number of the key that it needs; 0 is the master key.
    ///
    /// # Errors
    /// When a newer build sealed it in a format that is unknown here.
    pub fn key(&self) -> Result<u32, Unreadable> {
        match (self.bytes.first(), self.bytes.get(1..HEAD)) {
            (Some(&FERNET), Some(number)) => {
                Ok(u32::from_be_bytes(number.try_into().expect("four bytes are a number")))
            }
            (format, _) => Err(Unreadable::Format(format.copied())),
        }
    }

    /// The bytes for the store.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The bytes for the store, and what is to be held until they have a position.
    pub(crate) fn into_parts(self) -> (Bytes, Option<Arc<()>>) {
        (self.bytes, self.on_its_way)
    }

    /// What the store gave back.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self { bytes, on_its_way: None, plain: None }
    }

    /// A copy to be kept: it does not hold its key.
    pub fn kept(&self) -> Self {
        Self { on_its_way: None, ..self.clone() }
    }

    /// Size in bytes, as stored.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True for a value without even a format byte.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

fn written(number: u32, token: &str) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD + token.len() / 4 * 3);
    bytes.push(FERNET);
    bytes.extend_from_slice(&number.to_be_bytes());
    assert!(fleetward_seal::append_raw(token, &mut bytes), "a token is base64");
    bytes.into()
}

impl PartialEq for Sealed {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Sealed {}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_format_is_refused() {
        let format = |bytes: &'static [u8]| Sealed::from_bytes(Bytes::from_static(bytes)).key();
        assert_eq!(format(&[0, 1]), Err(Unreadable::Format(Some(0))), "never plain");
        assert_eq!(format(&[9, 1, 1, 1, 1, 1]), Err(Unreadable::Format(Some(9))));
        assert_eq!(format(&[1, 0, 0]), Err(Unreadable::Format(Some(1))));
        assert_eq!(format(&[]), Err(Unreadable::Format(None)));
        assert_eq!(format(&[1, 0, 0, 1, 2]), Ok(258));
    }

    #[test]
    fn debug_shows_no_content() {
        let sealed = Sealed::new(3, &Key::fresh(), Bound::to("p", &[]), b"hunter2");
        assert_eq!(format!("{sealed:?}"), "Sealed(94 bytes)");
        assert!(!sealed.bytes.windows(7).any(|part| part == b"hunter2"));
    }
}
