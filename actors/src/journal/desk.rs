//! What waits to be written, cell by cell, and how one write is filled from it. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use fleetward_runtime::Address;
use fleetward_store::{CellAppend, CellHead, CellId, Event, Position};

use super::log::Positions;
use crate::effect::Effect;
use crate::fleet::cell::keeper;
use crate::projector::Before;

/// Events that stand or fall together, and what they allow.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) events: Vec<Event>,
    pub(super) effects: Vec<Effect>,
    /// What some of the events find.
    pub(super) before: Vec<Before>,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.events.iter().map(event_bytes).sum()
    }
}

/// The queue of one cell in one of its lives.
#[derive(Debug)]
pub(super) struct Desk {
    /// Which opening of the cell this is; entries of another life are not taken.
    pub(super) life: u64,
    /// What is known to be written.
    pub(super) head: CellHead,
    pub(super) queue: VecDeque<Entry>,
    /// Told when this life ends.
    pub(super) keeper: Address<keeper::Message>,
    positions: Arc<Positions>,
    /// The position of the next event to be queued.
    next: Position,
    /// False once the life ended: nothing more is taken.
    live: bool,
}

impl Desk {
    pub(super) fn new(
        life: u64,
        head: CellHead,
        keeper: Address<keeper::Message>,
        positions: Arc<Positions>,
    ) -> Self {
        let next = head.head + 1;
        Self { life, head, queue: VecDeque::new(), keeper, positions, next, live: true }
    }

    /// Whether this is that life, and it goes on.
    pub(super) fn is(&self, life: u64) -> bool {
        self.life == life && self.live
    }

    pub(super) fn next(&self) -> Position {
        self.next
    }

    pub(super) fn committed(&mut self, head: CellHead) {
        self.positions.commit(head.head);
        self.head = head;
    }
}

/// One cell's part of a write.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) life: u64,
    pub(super) append: CellAppend,
    pub(super) effects: Vec<Effect>,
    pub(super) before: Vec<Before>,
}

/// All desks.
#[derive(Debug, Default)]
pub(super) struct Desks {
    pub(super) cells: HashMap<CellId, Desk>,
    /// Cells with something queued, in the order in which they are served.
    turn: VecDeque<CellId>,
}

/// How much one write may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Desks {
    pub(super) fn push(&mut self, cell: CellId, entry: Entry) {
        let desk = self.cells.get_mut(&cell).expect("only live desks are pushed to");
        if desk.queue.is_empty() {
            self.turn.push_back(cell);
        }
        desk.next += entry.events.len() as u64;
        desk.queue.push_back(entry);
    }

    /// Ends the life of a cell: what it queued is dropped, and none of its effects happens.
    pub(super) fn end(&mut self, cell: CellId) -> Vec<Entry> {
        self.turn.retain(|queued| *queued != cell);
        self.cells.get_mut(&cell).map_or_else(Vec::new, |desk| {
            desk.live = false;
            desk.queue.drain(..).collect()
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turn.is_empty()
    }

    pub(super) fn queued_entries(&self) -> usize {
        self.cells.values().map(|desk| desk.queue.len()).sum()
    }

    /// Fills one write, an entry per cell and turn, so that a busy cell delays no other by more than
    /// one of its entries. The first entry always fits, however large.
    pub(super) fn fill(&mut self, bounds: Bounds) -> Vec<Part> {
        let mut parts: BTreeMap<CellId, Entry> = BTreeMap::new();
        let (mut events, mut bytes) = (0, 0);
        while let Some(cell) = self.turn.pop_front() {
            let desk = self.cells.get_mut(&cell).expect("a cell with a turn has a desk");
            let entry = desk.queue.pop_front().expect("a cell with a turn has an entry");
            let over =
                events + entry.events.len() > bounds.events || bytes + entry.bytes() > bounds.bytes;
            if over && events > 0 {
                desk.queue.push_front(entry);
                self.turn.push_front(cell);
                break;
            }
            events += entry.events.len();
            bytes += entry.bytes();
            let part = parts.entry(cell).or_default();
            part.events.extend(entry.events);
            part.effects.extend(entry.effects);
            part.before.extend(entry.before);
            if !desk.queue.is_empty() {
                self.turn.push_back(cell);
            }
        }
        parts.into_iter().map(|(cell, entry)| self.part(cell, entry)).collect()
    }

    fn part(&self, cell: CellId, entry: Entry) -> Part {
        let Entry { events, effects, before } = entry;
        let desk = &self.cells[&cell];
        let append = CellAppend { head: desk.head, events: Arc::from(events) };
        Part { life: desk.life, append, effects, before }
    }
}

fn event_bytes(event: &Event) -> usize {
    event.body.len() + event.sealed.as_ref().map_or(0, bytes::Bytes::len) + event.stream.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetward_store::{Codec, Hash};
    use proptest::prelude::*;

    fn desks(cells: i64) -> Desks {
        let mut desks = Desks::default();
        for cell in (0..cells).map(CellId) {
            let head = CellHead { cell, epoch: 1, head: 0, hash: Hash::from_bytes([0; 32]) };
            let desk = Desk::new(1, head, Address::new("keeper"), Default::default());
            desks.cells.insert(cell, desk);
        }
        desks
    }

    fn entry(tag: usize, events: usize) -> Entry {
        let event = |n: usize| Event {
            stream: format!("s/{tag}").into(),
            kind: "k".into(),
            version: 1,
            codec: Codec::Json,
            at: n as i64,
            by: "b".into(),
            origin: None,
            body: vec![0; 10].into(),
            sealed: None,
        };
        Entry { events: (0..events).map(event).collect(), ..Entry::default() }
    }

    #[test]
    fn busy_cell_does_not_keep_a_quiet_one_waiting() {
        let mut desks = desks(2);
        (0..1_000).for_each(|tag| desks.push(CellId(0), entry(tag, 1)));
        desks.push(CellId(1), entry(7, 1));

        let parts = desks.fill(Bounds { events: 10, bytes: 1 << 20 });

        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].append.events.len() + parts[1].append.events.len(), 10);
    }

    #[test]
    fn entry_larger_than_a_write_goes_alone() {
        let mut desks = desks(1);
        desks.push(CellId(0), entry(1, 50));
        desks.push(CellId(0), entry(2, 1));

        let first = desks.fill(Bounds { events: 10, bytes: 100 });

        assert_eq!(first[0].append.events.len(), 50);
        assert!(!desks.is_empty());
    }

    #[test]
    fn ended_cell_is_passed_over() {
        let mut desks = desks(2);
        desks.push(CellId(0), entry(1, 1));
        desks.push(CellId(1), entry(2, 1));

        assert_eq!(desks.end(CellId(0)).len(), 1);

        let parts = desks.fill(Bounds { events: 10, bytes: 1 << 20 });
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].append.head.cell, CellId(1));
    }

    proptest! {
        /// Every entry is written once, in its cell's order, and an entry is never cut in two.
        #[test]
        fn fills_write_everything_once_and_in_order(
            pushes in proptest::collection::vec((0..3_i64, 1..6_usize), 0..60),
            bound in 1..20_usize,
        ) {
            let mut desks = desks(3);
            let mut expected: HashMap<CellId, Vec<(String, i64)>> = HashMap::new();
            for (tag, (cell, events)) in pushes.into_iter().enumerate() {
                let entry = entry(tag, events);
                let names = entry.events.iter().map(|e| (e.stream.to_string(), e.at));
                expected.entry(CellId(cell)).or_default().extend(names);
                desks.push(CellId(cell), entry);
            }
            let mut written: HashMap<CellId, Vec<(String, i64)>> = HashMap::new();
            while !desks.is_empty() {
                for part in desks.fill(Bounds { events: bound, bytes: 1 << 20 }) {
                    let names = part.append.events.iter().map(|e| (e.stream.to_string(), e.at));
                    written.entry(part.append.head.cell).or_default().extend(names);
                }
            }
            prop_assert_eq!(written, expected);
        }
    }
}
