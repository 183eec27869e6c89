//! How far one cell is folded, what was heard of it since, and who waits for its rows. Pure: an answer is all that
//! leaves it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fleetward_runtime::Reply;
use fleetward_store::{CellId, Event, Position};

use super::Behind;
use super::batch::Work;
use super::live::Before;

/// Events, by count and by bytes.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Size {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

#[derive(Default)]
pub(super) struct Follow {
    /// Up to where the rows go; unknown until the store said it.
    pub(super) position: Option<Position>,
    /// Later events that were heard of, without gaps among them; perhaps not the next ones.
    pub(super) heard: VecDeque<(Position, Arc<[Event]>)>,
    pub(super) held: Size,
    /// What some of these events find.
    pub(super) before: Vec<Before>,
    /// Events may be in the store that were not heard of.
    pub(super) behind: bool,
    pub(super) halted: Option<String>,
    pub(super) waiting: BTreeMap<Position, Vec<Reply<Result<(), Behind>>>>,
}

impl Follow {
    /// Keeps what was committed, within `most`: what does not fit is read back from the store.
    pub(super) fn hear(&mut self, first: Position, events: Arc<[Event]>, most: Size) {
        let next = self.heard.back().map(|(first, events)| first + events.len() as u64);
        let size = Size::of(&events);
        if next.is_some_and(|next| next != first) || !self.held.and(size).within(most) {
            self.heard.clear();
            self.before.clear();
            self.held = Size::default();
            self.behind = true;
        }
        if size.within(most) {
            self.held = self.held.and(size);
            self.heard.push_back((first, events));
        }
    }

    /// What the next batch should fold of this cell: what was heard of, where it follows on, else what the store has.
    pub(super) fn work(&mut self, cell: CellId) -> Option<Work> {
        if self.halted.is_some() || (self.heard.is_empty() && !self.behind) {
            return None;
        }
        self.behind = false;
        let heard = if self.follows() {
            self.held = Size::default();
            std::mem::take(&mut self.heard).into()
        } else {
            Vec::new()
        };
        let before = std::mem::take(&mut self.before);
        Some(Work { cell, position: self.position, heard, before })
    }

    fn follows(&self) -> bool {
        let first = self.heard.front().map(|(first, _)| *first);
        self.position.zip(first).is_some_and(|(position, first)| first <= position + 1)
    }

    pub(super) fn pass(&mut self, to: Position, more: bool) {
        self.position = Some(to);
        while let Some((first, events)) = self.heard.front()
            && first + events.len() as u64 <= to + 1
        {
            self.held = self.held.without(Size::of(events));
            self.heard.pop_front();
        }
        self.behind |= more || !(self.heard.is_empty() || self.follows());
        let later = self.waiting.split_off(&(to + 1));
        for reply in std::mem::replace(&mut self.waiting, later).into_values().flatten() {
            reply.send(Ok(()));
        }
    }

    pub(super) fn halt(&mut self, why: &str) {
        self.halted = Some(why.to_owned());
        for reply in std::mem::take(&mut self.waiting).into_values().flatten() {
            reply.send(Err(Behind::Halted(why.to_owned())));
        }
    }
}

impl Size {
    fn of(events: &[Event]) -> Self {
        Self { events: events.len(), bytes: events.iter().map(Event::size).sum() }
    }

    fn and(self, more: Self) -> Self {
        Self { events: self.events + more.events, bytes: self.bytes + more.bytes }
    }

    fn without(self, less: Self) -> Self {
        Self { events: self.events - less.events, bytes: self.bytes - less.bytes }
    }

    fn within(self, most: Self) -> bool {
        self.events <= most.events && self.bytes <= most.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetward_store::Codec;

    const CELL: CellId = CellId(1);
    const MOST: Size = Size { events: 100, bytes: 1_000 };

    fn events(count: usize) -> Arc<[Event]> {
        let event = Event {
            stream: "s/1".into(),
            kind: "k".into(),
            version: 1,
            codec: Codec::Json,
            at: 0,
            by: "b".into(),
            origin: None,
            body: Default::default(),
            sealed: None,
        };
        vec![event; count].into()
    }

    fn at(position: Position) -> Follow {
        Follow { position: Some(position), ..Follow::default() }
    }

    fn heard(work: &Work) -> Vec<Position> {
        work.heard.iter().map(|(first, _)| *first).collect()
    }

    #[test]
    fn what_comes_while_a_batch_is_in_flight_is_not_read_back() {
        let mut follow = at(10);
        follow.hear(11, events(3), MOST);
        assert_eq!(heard(&follow.work(CELL).unwrap()), [11]);

        follow.hear(14, events(2), MOST);
        follow.hear(16, events(1), MOST);
        follow.pass(13, false);

        assert_eq!(heard(&follow.work(CELL).unwrap()), [14, 16]);
        follow.pass(16, false);
        assert!(follow.work(CELL).is_none());
    }

    #[test]
    fn what_was_missed_is_read_until_what_was_heard_follows_on() {
        let mut follow = at(10);
        follow.hear(15, events(2), MOST);
        assert_eq!(heard(&follow.work(CELL).unwrap()), [] as [Position; 0], "11 to 14 are read");

        follow.pass(12, true);
        assert_eq!(heard(&follow.work(CELL).unwrap()), [] as [Position; 0]);
        follow.pass(15, true);

        let last = follow.work(CELL).unwrap();
        assert_eq!(
            (last.position, heard(&last)),
            (Some(15), vec![15]),
            "from inside of what was heard"
        );
    }

    #[test]
    fn more_than_fits_is_read_back() {
        let mut follow = at(0);
        follow.hear(1, events(60), MOST);
        follow.hear(61, events(60), MOST);

        let work = follow.work(CELL).unwrap();

        assert!(work.heard.is_empty());
        follow.pass(60, true);
        assert_eq!(heard(&follow.work(CELL).unwrap()), [61]);
    }
}
