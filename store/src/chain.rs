//! The hash chain of a cell: changing, dropping or moving an event breaks it from there on.
//!
//! Pure. The exact layout is fixed for ever: every stored hash depends on it.

use std::{fmt, net::IpAddr};

use sha2::{Digest, Sha256};

use crate::event::{CellId, Event, Position, StoredEvent};

/// Keeps our hashes apart from any other use of SHA-256, and names the layout.
const DOMAIN: &[u8] = b"fleetward journal chain 2";

/// A SHA-256 value. Shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

/// The first event of a run that does not follow from what came before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cell {cell} is broken at event {seq}: {reason}")]
pub struct BrokenAt {
    /// The cell that was read.
    pub cell: CellId,
    /// Where it stops being believable.
    pub seq: Position,
    /// In which way.
    pub reason: Break,
}

/// In which way an event does not follow from the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// It belongs to another cell.
    #[error("it belongs to another cell")]
    ForeignCell,
    /// An event before it is missing or appears twice.
    #[error("the position does not follow the one before")]
    WrongPosition,
    /// Its contents, or those of an event before it, were changed after they were written.
    #[error("the hash does not match the contents")]
    WrongHash,
}

/// The hash that stands before the first event of a cell.
pub fn genesis(cell: CellId) -> Hash {
    let mut digest = Sha256::new();
    digest.update(DOMAIN);
    digest.update(cell.0.to_be_bytes());
    Hash(digest.finalize().into())
}

/// The hash of `event` at position `seq` of `cell`, following `previous`. Covers every field but
/// `sealed`; each is preceded by its length, so that bytes cannot move between fields.
pub fn chain(previous: &Hash, cell: CellId, seq: Position, event: &Event) -> Hash {
    let mut digest = Sha256::new();
    digest.update(previous.0);
    let mut field = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    field(&cell.0.to_be_bytes());
    field(&seq.to_be_bytes());
    field(event.stream.as_bytes());
    field(event.kind.as_bytes());
    field(&event.version.to_be_bytes());
    field(&event.codec.number().to_be_bytes());
    field(&event.at.to_be_bytes());
    field(event.by.as_bytes());
    field(&event.body);
    if let Some(origin) = &event.origin {
        field(origin.request.as_bytes());
        match origin.source {
            None => field(&[]),
            Some(IpAddr::V4(address)) => field(&address.octets()),
            Some(IpAddr::V6(address)) => field(&address.octets()),
        }
    }
    Hash(digest.finalize().into())
}

/// Checks that `run` follows position `after` of `cell`, whose hash is `previous`, without a gap or
/// a change. Answers the hash of the last event, with which the next page is checked.
///
/// # Errors
/// Names the first event that does not follow.
pub fn verify(
    cell: CellId,
    after: Position,
    previous: Hash,
    run: &[StoredEvent],
) -> Result<Hash, BrokenAt> {
    let (mut seq, mut hash) = (after, previous);
    for stored in run {
        seq += 1;
        hash = chain(&hash, cell, seq, &stored.event);
        let reason = match stored {
            stored if stored.cell != cell => Break::ForeignCell,
            stored if stored.seq != seq => Break::WrongPosition,
            stored if stored.hash != hash => Break::WrongHash,
            _ => continue,
        };
        return Err(BrokenAt { cell, seq, reason });
    }
    Ok(hash)
}

impl Hash {
    /// The hash with exactly these bytes, as read from a database or a backup.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes as they are stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{Codec, Origin};

    const CELL: CellId = CellId(7);

    #[test]
    fn layout_of_the_chain_never_changes() {
        let hash = chain(&genesis(CELL), CELL, 1, &event("opened"));

        assert_eq!(
            hash.to_string(),
            "9d17a1ee0299b49907f9e1e095c63b14732488c46d90280ce193a2ef49e8cacc"
        );
    }

    #[test]
    fn sealed_part_is_outside_the_chain() {
        let plain = event("opened");
        let sealed = Event { sealed: Some(Bytes::from_static(b"secret")), ..plain.clone() };

        assert_eq!(chain(&genesis(CELL), CELL, 1, &plain), chain(&genesis(CELL), CELL, 1, &sealed));
    }

    #[test]
    fn bytes_cannot_move_between_fields() {
        let left = Event { stream: "task/1a".into(), kind: "b".into(), ..event("x") };
        let right = Event { stream: "task/1".into(), kind: "ab".into(), ..event("x") };

        assert_ne!(chain(&genesis(CELL), CELL, 1, &left), chain(&genesis(CELL), CELL, 1, &right));
    }

    #[test]
    fn origin_is_covered() {
        let plain = event("opened");
        let from = |request: &str, source: Option<&str>| {
            let source = source.map(|address| address.parse().unwrap());
            let origin = Origin { request: request.into(), source };
            Event { origin: Some(origin.into()), ..plain.clone() }
        };
        let all = [
            plain.clone(),
            from("", None),
            from("r", None),
            from("r", Some("1.2.3.4")),
            from("r", Some("::ffff:1.2.3.4")),
        ];

        let hashes: std::collections::HashSet<_> =
            all.iter().map(|event| chain(&genesis(CELL), CELL, 1, event)).collect();

        assert_eq!(hashes.len(), all.len());
    }

    #[test]
    fn untouched_run_is_whole_from_any_page_on() {
        let run = run(&["a", "b", "c"]);

        let first = verify(CELL, 0, genesis(CELL), &run[..1]).unwrap();
        assert_eq!(verify(CELL, 1, first, &run[1..]), Ok(run[2].hash));
    }

    #[test]
    fn changed_event_is_named() {
        let mut run = run(&["a", "b", "c"]);
        run[1].event.by = "mallory".into();

        assert_eq!(broken(&run), (2, Break::WrongHash));
    }

    #[test]
    fn missing_event_is_named() {
        let mut run = run(&["a", "b", "c"]);
        run.remove(1);

        assert_eq!(broken(&run), (2, Break::WrongPosition));
    }

    #[test]
    fn event_of_another_cell_is_named() {
        let mut run = run(&["a", "b"]);
        run[0].cell = CellId(8);

        assert_eq!(broken(&run), (1, Break::ForeignCell));
    }

    #[track_caller]
    fn broken(run: &[StoredEvent]) -> (Position, Break) {
        let error = verify(CELL, 0, genesis(CELL), run).unwrap_err();
        (error.seq, error.reason)
    }

    fn run(kinds: &[&'static str]) -> Vec<StoredEvent> {
        let mut previous = genesis(CELL);
        let stored = kinds.iter().zip(1..).map(|(kind, seq)| {
            let event = event(kind);
            previous = chain(&previous, CELL, seq, &event);
            StoredEvent { cell: CELL, seq, event, hash: previous }
        });
        stored.collect()
    }

    fn event(kind: &'static str) -> Event {
        Event {
            stream: "task/1".into(),
            kind: kind.into(),
            version: 1,
            codec: Codec::Json,
            at: 1_700_000_000_000_000,
            by: "ann".into(),
            origin: None,
            body: Bytes::from_static(b"{}"),
            sealed: None,
        }
    }
}
