//! Whatever is done to an export is found, and where.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use fleetward_actors::seal::MasterKey;
use fleetward_actors::system::signer::Signer;
use fleetward_gateway::translate::{exported, signed_head};
use fleetward_store::StoredEvent;

use super::*;

const CELL: CellId = CellId(7);

/// A record of so many events, and whoever signs it.
struct Copy {
    events: Vec<StoredEvent>,
    signer: Signer,
}

impl Copy {
    fn of(count: u64) -> Self {
        Self::told(count, "ann")
    }

    fn told(count: u64, by: &str) -> Self {
        let mut hash = genesis(CELL);
        let event = |seq: u64| {
            let source = seq.is_multiple_of(2).then(|| "2001:db8::a".parse().unwrap());
            let origin = Origin { request: format!("r-{seq}").as_str().into(), source };
            Event {
                stream: format!("task/{seq}").as_str().into(),
                kind: "task.submitted".into(),
                version: 1,
                codec: Codec::Json,
                at: 1_800_000_000_000_000 + seq as i64,
                by: by.into(),
                origin: (!seq.is_multiple_of(3)).then(|| origin.into()),
                body: Bytes::from(format!(r#"{{"kind":"task.submitted","text":"é \"{seq}\""}}"#)),
                sealed: Some(Bytes::from_static(b"hidden")),
            }
        };
        let stored = (1..=count).map(|seq| {
            let event = event(seq);
            hash = chain(&hash, CELL, seq, &event);
            StoredEvent { cell: CELL, seq, event, hash }
        });
        Self { events: stored.collect(), signer: Signer::fresh(&MasterKey::fresh()).unwrap().0 }
    }

    fn hash(&self, position: u64) -> Hash {
        match position {
            0 => genesis(CELL),
            _ => self.events[position as usize - 1].hash,
        }
    }

    fn head(&self, after: u64, position: u64) -> AuditHead {
        let head = Head {
            org: "o".into(),
            cell: CELL.0,
            after,
            after_hash: self.hash(after),
            position,
            hash: self.hash(position),
            at: 5,
        };
        signed_head(&head.signed(&self.signer))
    }

    fn export(&self, after: u64, position: u64) -> Vec<u8> {
        let opening = ExportOpening { fleetward_audit_export: 1, head: self.head(after, position) };
        let mut text = serde_json::to_vec(&opening).unwrap();
        for stored in &self.events[after as usize..position as usize] {
            text.push(b'\n');
            text.extend(serde_json::to_vec(&exported(stored)).unwrap());
        }
        text.push(b'\n');
        text
    }
}

/// Reads as `audit verify` does.
fn verify(mut verifier: Verifier, export: &[u8]) -> Result<Verified, Bad> {
    let mut lines: Vec<_> = export.split(|byte| *byte == b'\n').collect();
    let end = lines.pop().unwrap();
    for line in lines {
        verifier.line(line)?;
    }
    if !end.is_empty() {
        verifier.line(end)?;
        let reason = "its last line is cut off".to_owned();
        return Err(Bad { line: 0, position: None, reason });
    }
    verifier.finish()
}

fn bad(export: &[u8]) -> Bad {
    verify(Verifier::new(None), export).unwrap_err()
}

#[test]
fn untouched_export_holds_whole_and_in_parts() {
    let copy = Copy::of(6);
    for (after, position) in [(0, 6), (0, 0), (2, 5), (6, 6)] {
        let pinned = Some(copy.signer.public());
        let verified = verify(Verifier::new(pinned), &copy.export(after, position)).unwrap();

        assert_eq!((verified.events, verified.key), (position - after, copy.signer.public()));
    }
    assert!(!String::from_utf8(copy.export(0, 6)).unwrap().contains("hidden"));
}

#[test]
fn any_byte_that_is_changed_names_its_line() {
    let whole = Copy::of(3).export(0, 3);
    for at in 0..whole.len() {
        for change in [0x01, 0x20, 1 << (at % 8)] {
            let mut damaged = whole.clone();
            damaged[at] ^= change;
            let line = 1 + whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64;

            let found = bad(&damaged);

            assert!([0, line].contains(&found.line), "byte {at} ^ {change}: {found}");
        }
    }
}

#[test]
fn what_is_left_out_moved_or_doubled_names_the_place() {
    let whole = Copy::of(5).export(0, 5);
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 1..lines.len() {
        let mut without = lines.clone();
        without.remove(at);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at]);
        assert_eq!(bad(&without.concat()).line, at as u64 + 1, "without event {at}");
        assert_eq!(bad(&doubled.concat()).line, at as u64 + 2, "twice event {at}");
        if at + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            let found = bad(&swapped.concat());
            assert_eq!((found.line, found.position), (at as u64 + 1, Some(at as u64)));
        }
    }
}

#[test]
fn cut_at_either_end_is_found() {
    let copy = Copy::of(4);
    let whole = copy.export(0, 4);
    for length in 0..whole.len() {
        assert!(verify(Verifier::new(None), &whole[..length]).is_err(), "cut to {length}");
    }
    // A later beginning with a head of its own says so; one that is made up has no signature.
    let mut forged: ExportOpening =
        serde_json::from_slice(whole.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    forged.head.after = 1;
    forged.head.after_hash = copy.hash(1).to_string();
    let mut text = serde_json::to_vec(&forged).unwrap();
    text.push(b'\n');
    text.extend(whole.split_inclusive(|byte| *byte == b'\n').skip(2).flatten());

    assert_eq!(bad(&text).reason, "the signature of the head does not hold");
}

#[test]
fn export_that_somebody_else_signed_is_found() {
    let copy = Copy::of(2);
    let other = Signer::fresh(&MasterKey::fresh()).unwrap().0.public();

    let found = verify(Verifier::new(Some(other)), &copy.export(0, 2)).unwrap_err();

    assert!(found.reason.contains(&copy.signer.public().id()), "{found}");
}

#[test]
fn record_that_was_cut_or_written_anew_since_an_earlier_head_is_found() {
    let copy = Copy::of(6);
    let anew =
        Copy { signer: Signer::fresh(&MasterKey::fresh()).unwrap().0, ..Copy::told(6, "mallory") };
    let since = |head: AuditHead, export: &[u8]| {
        let mut verifier = Verifier::new(None);
        verifier.since(&head).unwrap();
        verify(verifier, export)
    };

    since(copy.head(0, 4), &copy.export(0, 6)).unwrap();
    since(copy.head(0, 4), &copy.export(4, 6)).unwrap();
    since(copy.head(0, 0), &copy.export(0, 6)).unwrap();
    let cut = since(copy.head(0, 6), &copy.export(0, 5)).unwrap_err();
    let gap = since(copy.head(0, 2), &copy.export(3, 6)).unwrap_err();
    let changed = since(copy.head(0, 4), &anew.export(0, 6)).unwrap_err();

    assert!(cut.reason.contains("it had 6 events, and has 5"), "{cut}");
    assert!(gap.reason.contains("export from 2 on"), "{gap}");
    assert_eq!((changed.line, changed.position), (5, Some(4)), "{changed}");
}
