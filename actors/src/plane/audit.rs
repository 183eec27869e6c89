//! The record of what happened, read from the journal itself.

use std::sync::Arc;

use bytes::Bytes;
use fleetward_store::{Origin, Position, ReadLimit, StoredEvent};

use super::Operator;
use super::reading::PAGE_MAX;
use crate::error::Error;
use crate::fact::split_stream;
use crate::id::WorkerId;

/// Events that one page of the audit trail looks at.
const AUDIT_SCAN: ReadLimit = ReadLimit { events: 2_000, bytes: 16 << 20 };
/// Pages that one audit question looks at before it answers with what it has.
const AUDIT_PAGES: usize = 20;

/// What is asked of the audit trail.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Only events of this kind, `worker.approved`.
    pub kind: Option<String>,
    /// Only events of, or by, this worker.
    pub worker: Option<WorkerId>,
    /// Only events at or after this time, in microseconds UTC.
    pub since: Option<i64>,
    /// Only events before this position: the cursor.
    pub before: Option<Position>,
    /// Most events.
    pub limit: usize,
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

impl Operator {
    /// The record of what happened, newest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, Error> {
        let limit = query.limit.clamp(1, PAGE_MAX);
        let committed = self.cell().await?.positions.committed() + 1;
        let mut before = query.before.map_or(committed, |before| before.min(committed));
        let mut found = Vec::new();
        for _ in 0..AUDIT_PAGES {
            let page = self
                .plane()
                .shared
                .store
                .read_back(self.number(), before, AUDIT_SCAN)
                .await
                .map_err(|error| Error::Unavailable(format!("store: {error}")))?;
            let Some(last) = page.last().map(|event| (event.seq, event.event.at)) else { break };
            found.extend(page.iter().filter_map(|event| entry(event, query)));
            let older = query.since.is_some_and(|since| last.1 < since);
            if found.len() >= limit || last.0 <= 1 || older {
                break;
            }
            before = last.0;
        }
        found.truncate(limit);
        Ok(found)
    }
}

fn entry(stored: &StoredEvent, query: &AuditQuery) -> Option<AuditEntry> {
    let event = &stored.event;
    let (_, subject) = split_stream(&event.stream);
    let kind_fits = query.kind.as_ref().is_none_or(|kind| *kind == event.kind);
    let time_fits = query.since.is_none_or(|since| event.at >= since);
    let worker_fits = query.worker.is_none_or(|worker| {
        let id = worker.to_string();
        subject == id || *event.by == *format!("worker:{id}") || mentions(&event.body, &id)
    });
    (kind_fits && time_fits && worker_fits).then(|| stored.into())
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

/// Whether the event names this worker as the one it happened to.
fn mentions(body: &Bytes, worker: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Named {
        worker: Option<String>,
    }
    serde_json::from_slice::<Named>(body).is_ok_and(|named| named.worker.as_deref() == Some(worker))
}
