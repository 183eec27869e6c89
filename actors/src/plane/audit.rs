//! The record of what happened, read from the journal itself: page by page in both directions ([`query`]), as it goes on,
//! and whole, with a signed head ([`export`]).

mod export;
mod keys;
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

/// The record of one organisation, or of the system. It has events of these kinds:
///
#[doc = include_str!("audit/kinds.md")]
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The kinds in backticks of the first column.
    fn documented() -> Vec<String> {
        let table = include_str!("audit/kinds.md").lines().skip(2);
        let column = table.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`'));
        column.filter(|word| word.contains('.')).map(str::to_owned).collect()
    }

    /// What stands between `before` and `after` in the sources of this crate, where it is a kind of event.
    fn written(before: &str, after: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|end| end == "rs") {
                    let text = std::fs::read_to_string(path).unwrap();
                    let parts =
                        text.split(before).skip(1).filter_map(|rest| rest.split(after).next());
                    let is_kind = |word: &&str| {
                        let fits = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
                        word.matches('.').count() == 1 && word.chars().all(fits)
                    };
                    found.extend(parts.filter(is_kind).map(str::to_owned));
                }
            }
        }
        found
    }

    #[test]
    fn every_kind_of_event_that_can_be_written_is_documented() {
        // Each is named where it is written (`Fold::kind`) and where it is read (serde).
        let (named, read) = (written("} => \"", "\","), written("#[serde(rename = \"", "\")]"));
        assert_eq!(named, read);
        assert!(named.len() > 50, "{named:?}");

        let documented = documented();
        let rows: BTreeSet<_> = documented.iter().cloned().collect();
        assert_eq!(rows, named, "the table is `audit/kinds.md`");
        assert_eq!(rows.len(), documented.len(), "a kind stands twice");
    }
}
