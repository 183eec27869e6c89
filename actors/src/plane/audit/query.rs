//! What is asked of the record, and how a page of answers is found.
//!
//! There is no index: a page looks through a bounded stretch of the journal and says how far it got, so that a filter which
//! finds nothing costs its caller more questions and the server no more than a page each. Times are found by halving.

use std::ops::Range;

use fleetward_store::{Position, ReadLimit, StoredEvent};

use super::{AuditEntry, AuditTrail, away};
use crate::error::Error;
use crate::fact::split_stream;
use crate::id::{TaskId, WorkerId};
use crate::plane::reading::PAGE_MAX;

/// Most kinds that one question names.
pub const KINDS_MAX: usize = 32;
/// Events that one read brings.
const SCAN: ReadLimit = ReadLimit { events: 2_000, bytes: 16 << 20 };
/// Reads of one question before it answers with what it has.
const READS: usize = 20;

/// Where a page begins, and in which direction it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// The newest first.
    #[default]
    Newest,
    /// Before this position, the newest first.
    Before(Position),
    /// After this position, the oldest first; 0 begins with the record.
    After(Position),
}

/// What is asked of the record.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Only events of these kinds; `worker.*` stands for all that begin so. Empty: all.
    pub kinds: Vec<String>,
    /// Only events of, or by, this worker.
    pub worker: Option<WorkerId>,
    /// Only events of this task.
    pub task: Option<TaskId>,
    /// Only what this actor did: `token:<id>`, `worker:<id>`, `key:<id>` or `system`.
    pub by: Option<String>,
    /// Only what came with this request.
    pub request: Option<String>,
    /// When.
    pub span: AuditSpan,
    /// Where to begin.
    pub start: Start,
    /// Most events.
    pub limit: usize,
}

/// A time to look at, in microseconds UTC.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditSpan {
    /// From here on.
    pub since: Option<i64>,
    /// Before this.
    pub until: Option<i64>,
}

/// A page of the record.
#[derive(Debug, Clone)]
pub struct AuditPage {
    /// In the order that was asked for.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins: what `Before` or `After` takes. Going back, none: there is nothing more.
    pub next: Option<Position>,
    /// Going forward: everything later is past the time that was asked for.
    pub ended: bool,
}

impl AuditTrail {
    /// A page. It may be short, even empty, and still have a next one.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn page(&self, query: &AuditQuery) -> Result<AuditPage, Error> {
        let head = self.positions.committed();
        let range = self.range(query.span, head).await?;
        match query.start {
            Start::Newest => self.back(query, range.end, range.start).await,
            Start::Before(before) => self.back(query, before.min(range.end), range.start).await,
            Start::After(after) => {
                let from = after.max(range.start.saturating_sub(1));
                let mut page = self.forth(query, from, range.end).await?;
                page.ended = query.span.until.is_some() && range.end <= head;
                Ok(page)
            }
        }
    }

    /// The positions whose events are of a time.
    async fn range(&self, span: AuditSpan, head: Position) -> Result<Range<Position>, Error> {
        let start = match span.since {
            Some(since) => self.first_since(since, head).await?,
            None => 1,
        };
        let end = match span.until {
            Some(until) => self.first_since(until, head).await?,
            None => head + 1,
        };
        Ok(start..end)
    }

    /// The first position that is not earlier than a time; one past the head if all are. Times never go back.
    async fn first_since(&self, time: i64, head: Position) -> Result<Position, Error> {
        let (mut low, mut high) = (1, head + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.at(middle).await? {
                Some(stored) if stored.event.at >= time => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(low)
    }

    async fn back(
        &self,
        query: &AuditQuery,
        mut before: Position,
        first: Position,
    ) -> Result<AuditPage, Error> {
        let limit = query.limit.clamp(1, PAGE_MAX);
        let mut entries = Vec::new();
        for _ in 0..READS {
            if before <= first {
                break;
            }
            let store = &self.plane.shared.store;
            let page = store.read_back(self.cell, before, SCAN).await.map_err(away)?;
            if page.is_empty() {
                before = first;
            }
            for stored in page.iter().take_while(|stored| stored.seq >= first) {
                before = stored.seq;
                entries.extend(query.picks(stored).then(|| stored.into()));
                if entries.len() == limit {
                    break;
                }
            }
            if entries.len() == limit || page.last().is_some_and(|last| last.seq <= first) {
                break;
            }
        }
        let next = (before > first).then_some(before);
        Ok(AuditPage { entries, next, ended: false })
    }

    async fn forth(
        &self,
        query: &AuditQuery,
        mut after: Position,
        end: Position,
    ) -> Result<AuditPage, Error> {
        let limit = query.limit.clamp(1, PAGE_MAX);
        let mut entries = Vec::new();
        for _ in 0..READS {
            if after + 1 >= end || entries.len() == limit {
                break;
            }
            let page = self.read(after, SCAN).await?;
            if page.is_empty() {
                break;
            }
            // What is stored beyond the head that was committed when it was asked is for the next page.
            for stored in page.iter().take_while(|stored| stored.seq < end) {
                after = stored.seq;
                entries.extend(query.picks(stored).then(|| stored.into()));
                if entries.len() == limit {
                    break;
                }
            }
        }
        Ok(AuditPage { entries, next: Some(after), ended: false })
    }
}

impl AuditQuery {
    /// Whether an event is among those that are asked for; its time was looked at before.
    fn picks(&self, stored: &StoredEvent) -> bool {
        let event = &stored.event;
        let (thing, subject) = split_stream(&event.stream);
        let of_kind = |kind: &String| match kind.strip_suffix('*') {
            Some(start) => event.kind.starts_with(start),
            None => *kind == event.kind,
        };
        let request = event.origin.as_ref().map(|origin| &*origin.request);
        (self.kinds.is_empty() || self.kinds.iter().any(of_kind))
            && self.by.as_ref().is_none_or(|by| **by == *event.by)
            && self.request.as_deref().is_none_or(|asked| request == Some(asked))
            && self.task.is_none_or(|task| thing == "task" && subject == task.to_string())
            && self.worker.is_none_or(|worker| {
                let id = worker.to_string();
                subject == id || *event.by == *format!("worker:{id}") || mentions(&event.body, &id)
            })
    }
}

/// Whether the event names this worker as the one it happened to.
fn mentions(body: &[u8], worker: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Named {
        worker: Option<String>,
    }
    serde_json::from_slice::<Named>(body).is_ok_and(|named| named.worker.as_deref() == Some(worker))
}
