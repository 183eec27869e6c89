//! The record as a whole: a signed head of a stretch of it, and the events of that stretch page by page, so that what is
//! in memory does not grow with the record.

use fleetward_store::{Position, ReadLimit, StoredEvent, genesis};

use super::AuditTrail;
use crate::access::Event;
use crate::error::{Error, Refusal};
use crate::system::head::{Head, SignedHead};
use crate::system::signer::Signer;
use std::sync::Arc;

/// Events of one page.
const PAGE: ReadLimit = ReadLimit { events: 1_000, bytes: 1 << 20 };

/// A stretch of the record on its way out.
#[derive(Debug)]
pub struct Export {
    trail: AuditTrail,
    head: SignedHead,
    /// The last position that was read.
    at: Position,
}

impl AuditTrail {
    /// What the whole record is now, signed.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn head(&self) -> Result<SignedHead, Error> {
        self.signed(0, None).await
    }

    /// The record after a position (0: all of it) up to and with another (none: as it is now).
    ///
    /// # Errors
    /// When the record has no such stretch, or the journal cannot be read.
    pub async fn export(&self, after: Position, until: Option<Position>) -> Result<Export, Error> {
        let head = self.signed(after, until).await?;
        let position = head.head.position;
        if self.by.origin().is_some() {
            let event = Event::Exported { after, position };
            self.plane.note(self.cell, event, self.by.clone()).await?;
        }
        Ok(Export { trail: self.clone(), head, at: after })
    }

    async fn signed(&self, after: Position, until: Option<Position>) -> Result<SignedHead, Error> {
        let committed = self.positions.committed();
        let position = until.unwrap_or(committed);
        if position > committed || after > position {
            let detail = format!("the record has positions 1 to {committed}");
            return Err(Refusal::invalid("invalid_position", detail).into());
        }
        let signer = self.signer()?;
        let head = Head {
            org: self.org.clone(),
            cell: self.cell.0,
            after,
            after_hash: self.hash_at(after).await?,
            position,
            hash: self.hash_at(position).await?,
            at: self.plane.shared.clock.wall_us(),
        };
        Ok(head.signed(&signer))
    }

    async fn hash_at(&self, position: Position) -> Result<fleetward_store::Hash, Error> {
        if position == 0 {
            return Ok(genesis(self.cell));
        }
        let stored = self.at(position).await?;
        let missing = || Error::Unavailable(format!("store: event {position} is missing"));
        stored.map(|stored| stored.hash).ok_or_else(missing)
    }

    fn signer(&self) -> Result<Arc<Signer>, Error> {
        let missing = || Error::Unavailable("the directory is starting or halted".to_owned());
        self.plane.shared.principals.signer().ok_or_else(missing)
    }
}

impl Export {
    /// What it is a copy of.
    pub fn head(&self) -> &SignedHead {
        &self.head
    }

    /// The next events; none: these were all.
    ///
    /// # Errors
    /// When the journal cannot be read. Asking again goes on where it was.
    pub async fn next_page(&mut self) -> Result<Vec<StoredEvent>, Error> {
        let last = self.head.head.position;
        if self.at >= last {
            return Ok(Vec::new());
        }
        let mut page = self.trail.read(self.at, PAGE).await?;
        page.retain(|stored| stored.seq <= last);
        match page.last() {
            Some(stored) => self.at = stored.seq,
            // Less than what was promised: whoever checks it will see that.
            None => self.at = last,
        }
        Ok(page)
    }
}
