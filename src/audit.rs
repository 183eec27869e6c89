//! Checks exports of the record, offline: that nothing in them was changed, left out, moved or cut off, and who says so.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (export, key) = ("", None);
//! let mut verifier = fleetward::audit::Verifier::new(key);
//! for line in export.lines() {
//!     verifier.line(line.as_bytes())?;
//! }
//! # if false {
//! let verified = verifier.finish()?;
//! println!("{} events, signed by {}", verified.events, verified.key.id());
//! # }
//! # Ok(()) }
//! ```

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_actors::system::head::{Head, SignedHead};
pub use fleetward_actors::system::signer::PublicKey;
use fleetward_store::{CellId, Codec, Event, Hash, Origin, chain, genesis};
use fleetward_wire::audit::{AuditHead, ExportEvent, ExportOpening};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of exports that is read here.
const VERSION: u32 = 1;

/// What is wrong with an export, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {reason}", self.position.map(|at| format!(", event {at}")).unwrap_or_default())]
pub struct Bad {
    /// Counted from 1; one past the last where the end is missing.
    pub line: u64,
    /// The event that should stand there.
    pub position: Option<u64>,
    /// In words.
    pub reason: String,
}

/// An export that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What it is a copy of.
    pub head: Head,
    /// Who signed that.
    pub key: PublicKey,
    /// How many events it has.
    pub events: u64,
}

/// Takes an export line by line. What it keeps does not grow with the export.
#[derive(Debug)]
pub struct Verifier {
    pinned: Vec<PublicKey>,
    earlier: Vec<SignedHead>,
    lines: u64,
    known: Option<SignedHead>,
    at: u64,
    hash: Hash,
}

impl Verifier {
    /// Checks against keys that the caller knows; without any the export is believed as to who signed it.
    pub fn new(pinned: impl IntoIterator<Item = PublicKey>) -> Self {
        let pinned = pinned.into_iter().collect();
        let hash = Hash::from_bytes([0; 32]);
        Self { pinned, earlier: Vec::new(), lines: 0, known: None, at: 0, hash }
    }

    /// The record must also go on from what it was then.
    ///
    /// # Errors
    /// When the head itself is not good.
    pub fn since(&mut self, head: &AuditHead) -> Result<(), String> {
        let signed = read_head(head)?;
        self.check_signature(&signed)?;
        self.earlier.push(signed);
        Ok(())
    }

    /// The next line, without its line feed.
    ///
    /// # Errors
    /// When it is not what must stand there.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Bad> {
        self.lines += 1;
        let outcome = match self.known.clone() {
            None => self.open(line),
            Some(signed) => self.event(line, &signed.head),
        };
        outcome.map_err(|reason| self.bad(reason))
    }

    /// There are no more lines.
    ///
    /// # Errors
    /// When there should be.
    pub fn finish(mut self) -> Result<Verified, Bad> {
        self.lines += 1;
        let Some(SignedHead { head, key, .. }) = self.known.clone() else {
            return Err(self.bad("there is nothing: this is no export".to_owned()));
        };
        if self.at < head.position {
            let reason = format!("the end is missing: the record goes on to {}", head.position);
            return Err(self.bad(reason));
        }
        Ok(Verified { events: head.position - head.after, head, key })
    }

    fn bad(&self, reason: String) -> Bad {
        let position = self.known.as_ref().map(|_| self.at + 1);
        Bad { line: self.lines, position, reason }
    }

    fn open(&mut self, line: &[u8]) -> Result<(), String> {
        let opening: ExportOpening = exactly(line)?;
        if opening.fleetward_audit_export != VERSION {
            return Err("a newer build wrote it; verify it with that".to_owned());
        }
        let signed = read_head(&opening.head)?;
        self.check_signature(&signed)?;
        let Head { after, after_hash, cell, position, hash, .. } = &signed.head;
        if *after == 0 && *after_hash != genesis(CellId(*cell)) {
            return Err("its beginning is not that of a record".to_owned());
        }
        if after > position || (after == position && after_hash != hash) {
            return Err("it ends before it begins".to_owned());
        }
        self.earlier(&signed.head, *after, *after_hash)?;
        (self.at, self.hash) = (*after, *after_hash);
        self.known = Some(signed);
        Ok(())
    }

    fn event(&mut self, line: &[u8], head: &Head) -> Result<(), String> {
        if self.at == head.position {
            return Err("there are more lines than the record had events".to_owned());
        }
        let seq = self.at + 1;
        let stored: ExportEvent = exactly(line)?;
        if stored.position != seq {
            let said = stored.position;
            return Err(format!("event {said} stands here: one is missing, moved or doubled"));
        }
        let hash = chain(&self.hash, CellId(head.cell), seq, &event(&stored)?);
        if stored.hash != hash.to_string() {
            return Err("its contents, or its hash, were changed".to_owned());
        }
        if seq == head.position && hash != head.hash {
            return Err("the record ends in another hash than the one that was signed".to_owned());
        }
        self.earlier(head, seq, hash)?;
        (self.at, self.hash) = (seq, hash);
        Ok(())
    }

    /// The heads of earlier days must be of this record, and those that end here must be what was found.
    fn earlier(&self, now: &Head, at: u64, hash: Hash) -> Result<(), String> {
        for SignedHead { head, .. } in &self.earlier {
            let (was, is) = ((&head.org, head.cell), (&now.org, now.cell));
            if was != is {
                return Err(format!("the earlier head is of another record: {}", head.org));
            }
            if head.position > now.position {
                let (was, is) = (head.position, now.position);
                return Err(format!("the record was cut: it had {was} events, and has {is} now"));
            }
            if head.position < now.after {
                let was = head.position;
                return Err(format!("it begins after the earlier head; export from {was} on"));
            }
            if head.position == at && head.hash != hash {
                return Err("the record was written anew since the earlier head".to_owned());
            }
        }
        Ok(())
    }

    fn check_signature(&self, signed: &SignedHead) -> Result<(), String> {
        if !signed.holds() {
            return Err("the signature of the head does not hold".to_owned());
        }
        if self.pinned.is_empty() || self.pinned.contains(&signed.key) {
            return Ok(());
        }
        let expected: Vec<_> = self.pinned.iter().map(PublicKey::id).collect();
        let (is, expected) = (signed.key.id(), expected.join(" or "));
        Err(format!("the head is signed by the key {is}, not by {expected}"))
    }
}

/// The head at the beginning of an export, or one that was kept alone.
///
/// # Errors
/// When the text begins with neither.
pub fn head_of(text: &str) -> Result<AuditHead, String> {
    let first = text.lines().next().unwrap_or_default();
    let opening = serde_json::from_str::<ExportOpening>(first).map(|opening| opening.head);
    opening
        .or_else(|_| serde_json::from_str(text))
        .map_err(|_| "there is no head in it; save one with `audit head`".to_owned())
}

fn read_head(wire: &AuditHead) -> Result<SignedHead, String> {
    let key = wire.public_key.parse().map_err(|error| format!("{error}"))?;
    let signature = STANDARD.decode(&wire.signature);
    let signature = signature.map_err(|_| "the signature of the head is not base64".to_owned())?;
    let head = Head {
        org: wire.org.clone(),
        cell: wire.cell,
        after: wire.after,
        after_hash: hash(&wire.after_hash)?,
        position: wire.position,
        hash: hash(&wire.hash)?,
        at: wire.at_us,
    };
    Ok(SignedHead { head, key, signature })
}

/// The event that a line of an export says, without what is sealed beside it.
///
/// # Errors
/// When it says none.
pub fn event(stored: &ExportEvent) -> Result<Event, String> {
    let source = match &stored.source {
        None => None,
        Some(text) => match text.parse::<IpAddr>() {
            Ok(address) if address.to_string() == *text => Some(address),
            _ => return Err("its address is none".to_owned()),
        },
    };
    let origin = match (&stored.request_id, source) {
        (Some(request), source) => Some(Origin { request: request.as_str().into(), source }.into()),
        (None, None) => None,
        (None, Some(_)) => return Err("it has an address and no request".to_owned()),
    };
    Ok(Event {
        stream: stored.stream.as_str().into(),
        kind: stored.r#type.clone().into(),
        version: stored.version,
        codec: match stored.codec {
            1 => Codec::Json,
            _ => return Err("its body is in a codec that is unknown here".to_owned()),
        },
        at: stored.at_us,
        by: stored.by.as_str().into(),
        origin,
        body: stored.body.clone().into(),
        sealed: None,
    })
}

fn hash(text: &str) -> Result<Hash, String> {
    let bytes = hex::decode(text).ok().filter(|_| text.bytes().all(|b| !b.is_ascii_uppercase()));
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(Hash::from_bytes).ok_or_else(|| "a hash of it is none".to_owned())
}

/// Reads a line that is written exactly as we write it: nothing can hide in its spelling.
fn exactly<T: DeserializeOwned + Serialize>(line: &[u8]) -> Result<T, String> {
    let damaged = || "it is damaged, or no line of an export".to_owned();
    let value: T = serde_json::from_slice(line).map_err(|_| damaged())?;
    let again = serde_json::to_vec(&value).map_err(|_| damaged())?;
    if again == line { Ok(value) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests;
