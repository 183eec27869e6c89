//! What the memory store holds. Pure: no waiting, no faults.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use crate::{
    error::ProjectError,
    event::{CellId, Position, StoredEvent},
    journal::{CellHead, ReadLimit},
    records::{Due, DueQuery, Projection, Query, Record, Walk},
    sealing::{Resealed, ResealedRow, SealedPage, SealedRow},
};

/// Events in one page of sealed parts.
const SEALED_PAGE: usize = 64;

#[derive(Default)]
pub(super) struct Tables {
    cells: BTreeMap<CellId, Cell>,
}

#[derive(Default)]
struct Cell {
    /// None until an owner opened it: projecting alone does not make a cell.
    head: Option<CellHead>,
    /// The event at position p is at index p - 1.
    events: Vec<StoredEvent>,
    streams: HashMap<Arc<str>, Vec<Position>>,
    position: Position,
    records: BTreeMap<(String, String), Record>,
    /// Kind, time and id of the rows that have a time.
    due: BTreeSet<(String, i64, String)>,
}

impl Tables {
    pub(super) fn open(&mut self, cell: CellId) -> CellHead {
        let head = self.cells.entry(cell).or_default().head.get_or_insert(CellHead::genesis(cell));
        head.epoch += 1;
        *head
    }

    pub(super) fn head(&self, cell: CellId) -> Option<CellHead> {
        self.cells.get(&cell)?.head
    }

    /// The events of all cells, those of one only up to a position, and the rows that contain no more than these.
    pub(super) fn killed_at(&self, cut: CellId, head: Position) -> Self {
        let mut left = Self::default();
        for (&cell, of) in &self.cells {
            let epoch = of.head.map(|head| head.epoch);
            let kept = left.cells.entry(cell).or_default();
            kept.head = epoch.map(|epoch| CellHead { epoch, ..CellHead::genesis(cell) });
            let last = if cell == cut { head } else { Position::MAX };
            if of.position <= last {
                kept.position = of.position;
                (kept.records, kept.due) = (of.records.clone(), of.due.clone());
            }
            of.events.iter().filter(|stored| stored.seq <= last).cloned().for_each(|stored| {
                left.push(stored);
            });
        }
        left
    }

    pub(super) fn cells(&self) -> Vec<CellHead> {
        self.cells.values().filter_map(|cell| cell.head).collect()
    }

    /// The caller has checked that it follows the head.
    pub(super) fn push(&mut self, stored: StoredEvent) {
        let cell = self.cells.entry(stored.cell).or_default();
        if let Some(head) = &mut cell.head {
            (head.head, head.hash) = (stored.seq, stored.hash);
        }
        cell.streams.entry(Arc::clone(&stored.event.stream)).or_default().push(stored.seq);
        cell.events.push(stored);
    }

    pub(super) fn read(&self, cell: CellId, after: Position, limit: ReadLimit) -> Vec<StoredEvent> {
        let events = self.events(cell);
        let first = events.len().min(after as usize);
        take(events[first..].iter(), limit)
    }

    pub(super) fn read_back(
        &self,
        cell: CellId,
        before: Position,
        limit: ReadLimit,
    ) -> Vec<StoredEvent> {
        let events = self.events(cell);
        let end = events.len().min(before.saturating_sub(1) as usize);
        take(events[..end].iter().rev(), limit)
    }

    pub(super) fn read_at(&self, cell: CellId, positions: &[Position]) -> Vec<StoredEvent> {
        let events = self.events(cell);
        let mut positions = positions.to_vec();
        positions.sort_unstable();
        positions.dedup();
        let indices = positions.iter().filter_map(|seq| usize::try_from(seq.checked_sub(1)?).ok());
        indices.filter_map(|index| events.get(index)).cloned().collect()
    }

    pub(super) fn read_stream(
        &self,
        cell: CellId,
        stream: &str,
        after: Position,
        limit: ReadLimit,
    ) -> Vec<StoredEvent> {
        let Some(cell) = self.cells.get(&cell) else { return Vec::new() };
        let positions = cell.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let first = positions.partition_point(|seq| *seq <= after);
        take(positions[first..].iter().map(|seq| &cell.events[*seq as usize - 1]), limit)
    }

    pub(super) fn position(&self, cell: CellId) -> Position {
        self.cells.get(&cell).map_or(0, |cell| cell.position)
    }

    pub(super) fn project(&mut self, projection: &Projection) -> Result<(), ProjectError> {
        if let Some(reason) = projection.unstorable() {
            return Err(ProjectError::Refused { reason });
        }
        let cell = self.cells.entry(projection.cell).or_default();
        if cell.position != projection.from {
            return Err(ProjectError::Moved { found: cell.position });
        }
        projection.removals.iter().for_each(|(kind, id)| cell.remove(kind, id));
        projection.upserts.iter().for_each(|row| cell.put(row));
        cell.position = projection.to;
        Ok(())
    }

    pub(super) fn get(&self, cell: CellId, kind: &str, ids: &[String]) -> Vec<Record> {
        let ids: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let mut rows = self.rows(cell, |row| row.kind == kind && ids.contains(row.id.as_str()));
        rows.sort_by_key(|row| row.created);
        rows
    }

    pub(super) fn list(&self, query: &Query) -> Vec<Record> {
        let mut rows = self.rows(query.cell, |row| {
            row.kind == query.kind
                && query.status.as_ref().is_none_or(|status| row.status == *status)
                && query.before.is_none_or(|before| row.created < before)
        });
        rows.sort_by_key(|row| std::cmp::Reverse(row.created));
        rows.truncate(query.limit);
        rows
    }

    pub(super) fn walk(&self, walk: &Walk) -> Vec<Record> {
        let Some(cell) = self.cells.get(&walk.cell) else { return Vec::new() };
        let wanted = |row: &&Record| {
            row.kind == walk.kind && row.status == walk.status && row.created > walk.after
        };
        // A walk goes over all of them page by page: a page is all that is copied.
        let mut rows: Vec<_> = cell.records.values().filter(wanted).collect();
        rows.sort_unstable_by_key(|row| row.created);
        rows.into_iter().take(walk.limit).cloned().collect()
    }

    pub(super) fn open_page(&self, cell: CellId, after: Position, limit: usize) -> Vec<Record> {
        let mut rows = self.rows(cell, |row| row.open && row.created > after);
        rows.sort_by_key(|row| row.created);
        rows.truncate(limit);
        rows
    }

    pub(super) fn due_page(&self, query: &DueQuery) -> Vec<Due> {
        let Some(cell) = self.cells.get(&query.cell) else { return Vec::new() };
        let kind = query.kind.to_string();
        let (at, id) = query.behind();
        let behind = Bound::Excluded((kind.clone(), at, id.to_owned()));
        let due = cell.due.range((behind, Bound::Unbounded));
        due.take_while(|(of, at, _)| *of == kind && *at <= query.until)
            .map(|(_, at, id)| Due { at: *at, id: id.clone() })
            .take(query.limit)
            .collect()
    }

    pub(super) fn ids_page(
        &self,
        cell: CellId,
        kind: &str,
        after: &str,
        limit: usize,
    ) -> Vec<String> {
        let Some(cell) = self.cells.get(&cell) else { return Vec::new() };
        let behind = Bound::Excluded((kind.to_owned(), after.to_owned()));
        let rows = cell.records.range((behind, Bound::Unbounded));
        rows.take_while(|((of, _), _)| of == kind)
            .map(|((_, id), _)| id.clone())
            .take(limit)
            .collect()
    }

    pub(super) fn count(&self, cell: CellId, kind: &str, status: Option<&str>) -> u64 {
        let wanted =
            |row: &&Record| row.kind == kind && status.is_none_or(|status| row.status == status);
        let Some(cell) = self.cells.get(&cell) else { return 0 };
        cell.records.values().filter(wanted).count() as u64
    }

    pub(super) fn sealed_parts(&self, cell: CellId, after: Position) -> SealedPage {
        let page: Vec<_> = self.events(cell).iter().filter(|event| event.seq > after).collect();
        let page = &page[..page.len().min(SEALED_PAGE)];
        let part = |event: &&StoredEvent| Some((event.seq, event.event.sealed.clone()?));
        let parts = page.iter().filter_map(part).collect();
        SealedPage { parts, up_to: page.last().map(|event| event.seq) }
    }

    pub(super) fn reseal(&mut self, cell: CellId, changes: Vec<Resealed>) -> u64 {
        let Some(cell) = self.cells.get_mut(&cell) else { return 0 };
        let mut replaced = 0;
        for Resealed { seq, old, new } in changes {
            let index = seq.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            let event = index.and_then(|index| cell.events.get_mut(index));
            let part = event.and_then(|stored| stored.event.sealed.as_mut());
            if let Some(part) = part.filter(|part| **part == old) {
                *part = new;
                replaced += 1;
            }
        }
        replaced
    }

    pub(super) fn sealed_rows(
        &self,
        cell: CellId,
        after: (&str, &str),
        limit: usize,
    ) -> Vec<SealedRow> {
        let Some(cell) = self.cells.get(&cell) else { return Vec::new() };
        let after = (after.0.to_owned(), after.1.to_owned());
        let rows = cell.records.range((Bound::Excluded(after), Bound::Unbounded));
        let sealed = |((kind, id), row): (&(String, String), &Record)| {
            let sealed = row.sealed.clone()?;
            Some(SealedRow { kind: kind.clone(), id: id.clone(), sealed })
        };
        rows.filter_map(sealed).take(limit).collect()
    }

    pub(super) fn reseal_rows(&mut self, cell: CellId, changes: Vec<ResealedRow>) -> u64 {
        let Some(cell) = self.cells.get_mut(&cell) else { return 0 };
        let mut replaced = 0;
        for ResealedRow { row: SealedRow { kind, id, sealed }, new } in changes {
            let found = cell.records.get_mut(&(kind, id)).and_then(|row| row.sealed.as_mut());
            if let Some(part) = found.filter(|part| **part == sealed) {
                *part = new;
                replaced += 1;
            }
        }
        replaced
    }

    fn events(&self, cell: CellId) -> &[StoredEvent] {
        self.cells.get(&cell).map_or(&[], |cell| &cell.events)
    }

    fn rows(&self, cell: CellId, wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
        let Some(cell) = self.cells.get(&cell) else { return Vec::new() };
        cell.records.values().filter(|row| wanted(row)).cloned().collect()
    }
}

impl Cell {
    fn put(&mut self, row: &Record) {
        self.remove(&row.kind, &row.id);
        self.due.extend(due(row));
        self.records.insert((row.kind.to_string(), row.id.clone()), row.clone());
    }

    fn remove(&mut self, kind: &str, id: &str) {
        let before = self.records.remove(&(kind.to_owned(), id.to_owned()));
        if let Some(gone) = before.as_ref().and_then(due) {
            self.due.remove(&gone);
        }
    }
}

/// Where a row stands among those that have a time.
fn due(row: &Record) -> Option<(String, i64, String)> {
    Some((row.kind.to_string(), row.due?, row.id.clone()))
}

/// As many as the limit allows, and always the first.
fn take<'a>(events: impl Iterator<Item = &'a StoredEvent>, limit: ReadLimit) -> Vec<StoredEvent> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for stored in events.take(limit.events) {
        bytes += stored.event.size();
        if bytes > limit.bytes && !taken.is_empty() {
            break;
        }
        taken.push(stored.clone());
    }
    taken
}
