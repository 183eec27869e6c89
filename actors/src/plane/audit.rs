//! The record of what happened, read from the journal itself: page by page in both directions ([`query`]), as it goes on,
//! and whole, with a signed head ([`export`]).

mod export;
mod query;

use std::sync::Arc;
use std::time::Duration;

use fleetward_store::{CellId, Origin, Position, ReadLimit, StoredEvent};

use super::delivery::first_of;
use super::{Caller, ControlPlane, Operator, SYSTEM_CELL};
use crate::cause::Cause;
use crate::error::Error;
use crate::fact::split_stream;
use crate::journal::Positions;
use crate::system::org::Role;
pub use export::Export;
pub use query::{AuditPage, AuditQuery, AuditSpan, KINDS_MAX, Start};

/// What the record of the system is called where an organisation's id would stand.
pub const SYSTEM_RECORD: &str = "system";

/// The record of one organisation, or of the system.
///
/// | what happened | kind |
/// | --- | --- |
/// | a worker registered; was approved, rejected, revoked | `worker.registered`, `.approved`, `.rejected`, `.revoked` |
/// | it was quarantined, paused, let work again | `worker.quarantined`, `.paused`, `.resumed` |
/// | an enrollment key was made, used, taken back | `key.created`, `.used`, `.revoked` |
/// | a task was submitted, claimed, completed, failed for good | `task.submitted`, `.claimed`, `.completed`, `.failed` |
/// | its attempt failed and it is tried again; it was revived by hand | `task.retry_scheduled`, `.revived` |
/// | it was requeued: a lapsed lease (missed heartbeats), hand-back, reboot, revocation; `why` says which | `task.returned` |
/// | it was cancelled, discarded; its worker told of progress; a late report was refused | `task.cancelled`, `.discarded`, `.progressed`, `.report_refused` |
/// | an anomaly was seen; it ended; an administrator reset it | `worker.suspected`, `.suspicion_passed`, `.suspicions_reset` |
/// | a worker only heartbeats, or only polls; neither any more | `worker.deaf`, `.mute`, `.recovered` |
/// | a worker was revoked without an administrator; dead letters are too many; no more | `watch.revoked`, `.dead_letters`, `.dead_letters_over` |
/// | keys of payloads were added, promoted, retained, retired (system) | `payload_key.added`, `.promoted`, `.retained`, `.retired` |
/// | pauses, caps, weights or names of models were changed | `policy.changed` |
/// | an operator's token was made, taken back (in the record of the system) | `token.created`, `.revoked` |
/// | an operator signed in: a token's first use from an address in 12 hours | `token.used` |
/// | an operator was answered with outputs, error texts or progress | `payload.read` |
/// | requests were refused: one event a minute | `request.refused` |
/// | the record was exported | `audit.exported` |
/// | an organisation was made; the key that signs heads was made (system) | `org.created`, `audit_key.created` |
#[derive(Clone)]
pub struct AuditTrail {
    plane: ControlPlane,
    cell: CellId,
    org: String,
    by: Cause,
    positions: Arc<Positions>,
}

/// One event of the record.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// Its position.
    pub seq: Position,
    /// Its kind.
    pub kind: String,
    /// The kind of thing it happened to.
    pub subject_kind: String,
    /// The id of that thing.
    pub subject: String,
    /// When, in microseconds UTC.
    pub at: i64,
    /// Who.
    pub by: String,
    /// By which request, and from where, if it was one.
    pub origin: Option<Arc<Origin>>,
    /// What is in the open.
    pub body: serde_json::Value,
    /// Its hash in the chain, hex.
    pub hash: String,
}

impl std::fmt::Debug for AuditTrail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditTrail({})", self.org)
    }
}

impl Operator {
    /// The record of the organisation.
    ///
    /// # Errors
    /// When its cell does not run.
    pub async fn audit_trail(&self) -> Result<AuditTrail, Error> {
        let cell = self.cell().await?;
        Ok(AuditTrail {
            plane: self.plane().clone(),
            cell: cell.cell,
            org: self.org().id.to_string(),
            by: self.by().clone(),
            positions: cell.positions,
        })
    }

    /// A page of the record of what happened.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, Error> {
        self.audit_trail().await?.page(query).await
    }
}

impl ControlPlane {
    /// The record of the system: organisations, operators' tokens, and callers that nobody knows.
    ///
    /// # Errors
    /// When the caller is no administrator of the system.
    pub fn system_trail(&self, caller: &Caller) -> Result<AuditTrail, Error> {
        caller.role.may(Role::System)?;
        Ok(AuditTrail {
            plane: self.clone(),
            cell: SYSTEM_CELL,
            org: SYSTEM_RECORD.to_owned(),
            by: caller.by.clone(),
            positions: self.shared.system_positions.clone(),
        })
    }
}

impl AuditTrail {
    /// A page, once there is something in it or `wait` is over (cut to the longest wait of a poll). Only a page that
    /// goes forward waits: the past does not change.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn tail(&self, query: &AuditQuery, wait: Duration) -> Result<AuditPage, Error> {
        let clock = &self.plane.shared.clock;
        let until = clock.now() + wait.min(self.plane.shared.config.poll_max);
        let mut query = query.clone();
        loop {
            let page = self.page(&query).await?;
            let (Start::After(_), Some(next)) = (query.start, page.next) else { return Ok(page) };
            let left = until - clock.now();
            if !page.entries.is_empty() || left.is_zero() || page.ended {
                return Ok(page);
            }
            query.start = Start::After(next);
            first_of(self.positions.beyond(next), clock.sleep(left)).await;
        }
    }

    async fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<StoredEvent>, Error> {
        self.plane.shared.store.read(self.cell, after, limit).await.map_err(away)
    }

    /// The event at a position; none where there is none.
    async fn at(&self, position: Position) -> Result<Option<StoredEvent>, Error> {
        let found = self.plane.shared.store.read_at(self.cell, &[position]).await.map_err(away)?;
        Ok(found.into_iter().next())
    }
}

fn away(error: fleetward_store::ReadError) -> Error {
    Error::Unavailable(format!("store: {error}"))
}

impl From<&StoredEvent> for AuditEntry {
    fn from(stored: &StoredEvent) -> Self {
        let event = &stored.event;
        let (subject_kind, subject) = split_stream(&event.stream);
        Self {
            seq: stored.seq,
            kind: event.kind.to_string(),
            subject_kind: subject_kind.to_owned(),
            subject: subject.to_owned(),
            at: event.at,
            by: event.by.to_string(),
            origin: event.origin.clone(),
            body: serde_json::from_slice(&event.body).unwrap_or_default(),
            hash: stored.hash.to_string(),
        }
    }
}
