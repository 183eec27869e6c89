//! Which ids were ever used for a run of a cell: most starts are under a new one, and that is told without the store.
//!
//! A Bloom filter (B. H. Bloom, 1970, "Space/time trade-offs in hash coding with allowable errors"): it never calls an id
//! new that was used, and rarely one used that is new; then the store is asked. It is filled from the rows once enough
//! starts have asked the store in vain, and anew when it is full: ids of deleted runs leave it that way.

use std::time::Duration;

use fastbloom::BloomFilter;
use fleetward_store::{CellId, Position, Store};
use parking_lot::{Mutex, MutexGuard};

use super::run::Run;
use crate::fact::Fold;
use crate::id::RunId;
use crate::journal::Positions;
use crate::projector;

/// How many of the new ids are called used while the filter is not full: it takes ten bits an id.
const WRONG: f64 = 0.01;
/// Ids that it has room for beyond twice as many as there are rows.
const ROOM: usize = 65_536;
/// Most that it has room for: 40 MiB. A cell with more runs asks the store.
const ROOM_MAX: usize = 1 << 25;
/// Ids that are read at once.
const PAGE: usize = 1_000;
/// How long the rows may take to contain what began before.
const ROWS_WITHIN: Duration = Duration::from_secs(10);

/// The ids of one cell. `opened` is the head when the life of the cell began whose actor asks.
#[derive(Debug)]
pub struct UsedIds {
    ids: Mutex<Ids>,
    /// So many starts that asked the store in vain let it be filled.
    after: u32,
}

#[derive(Debug, Default)]
struct Ids {
    /// Of which life this is: whoever had the cell before may have begun others.
    opened: Position,
    /// Has all that were used; none: nobody knows.
    filter: Option<Filter>,
    /// Is being filled: has all that were begun since that began.
    next: Option<Filter>,
    /// Whether somebody was told to fill it, and has not ended.
    filling: bool,
    /// Starts that asked the store in vain since it was last tried.
    vain: u32,
    /// How often it was begun to be filled, in any life: who began earlier must not end what began later.
    fills: u64,
}

#[derive(Debug)]
struct Filter {
    bits: BloomFilter,
    room: usize,
}

impl Filter {
    fn new(room: usize) -> Self {
        Self { bits: BloomFilter::with_false_pos(WRONG).expected_items(room), room }
    }

    fn insert(&mut self, id: &str) {
        if !self.bits.insert(id) {
            self.room = self.room.saturating_sub(1);
        }
    }
}

impl UsedIds {
    /// Nothing is known of them until more than `after` starts have asked the store in vain.
    pub fn new(after: u32) -> Self {
        Self { ids: Mutex::default(), after }
    }

    /// Whether an id was certainly never used.
    pub fn is_new(&self, id: &RunId, opened: Position) -> bool {
        let ids = self.of_life(opened);
        ids.filter.as_ref().is_some_and(|filter| !filter.bits.contains(id.as_str()))
    }

    /// A run began, and its event has its position. Whether somebody has to [`fill`](Self::fill) the filter now.
    #[must_use]
    pub fn begun(&self, id: &RunId, opened: Position) -> bool {
        let mut ids = self.of_life(opened);
        let Ids { filter, next, .. } = &mut *ids;
        filter.iter_mut().chain(next).for_each(|filter| filter.insert(id.as_str()));
        let full = ids.filter.as_ref().is_some_and(|filter| filter.room == 0);
        full && !std::mem::replace(&mut ids.filling, true)
    }

    /// The store was asked for an id that was never used. Whether somebody has to [`fill`](Self::fill) the filter now.
    #[must_use]
    pub fn asked_in_vain(&self, opened: Position) -> bool {
        let mut ids = self.of_life(opened);
        if ids.filter.is_some() {
            return false;
        }
        ids.vain = ids.vain.saturating_add(1);
        ids.vain > self.after && !std::mem::replace(&mut ids.filling, true)
    }

    /// Fills the filter with the ids of all rows, and those that are begun meanwhile. Says how many rows there were; with
    /// so many that there is no room, the store is asked from here on.
    ///
    /// # Errors
    /// When the store is away or the rows are behind: it is tried again after as many starts as before.
    pub async fn fill(
        &self,
        cell: CellId,
        store: &dyn Store,
        projector: &projector::Handle,
        positions: &Positions,
    ) -> Result<u64, String> {
        let opened = positions.opened();
        let filled = self.try_fill(opened, cell, store, projector, positions).await;
        if filled.is_err() {
            self.give_up(opened);
        }
        filled
    }

    async fn try_fill(
        &self,
        opened: Position,
        cell: CellId,
        store: &dyn Store,
        projector: &projector::Handle,
        positions: &Positions,
    ) -> Result<u64, String> {
        let rows = store.count(cell, Run::KIND, None).await.map_err(|away| away.to_string())?;
        let twice = usize::try_from(rows).unwrap_or(usize::MAX).saturating_mul(2);
        let room = twice.saturating_add(ROOM);
        if room > ROOM_MAX {
            self.of_life(opened).filter = None;
            return Ok(rows);
        }
        let fill = self.begin_fill(opened, room);
        // Whoever began before this has its position by now, and a row once the rows contain that.
        let passed = projector.passed(cell, positions, positions.given(), ROWS_WITHIN).await;
        passed.map_err(|behind| behind.to_string())?;
        let mut last = String::new();
        loop {
            let page = store.ids_page(cell, Run::KIND, &last, PAGE).await;
            let page = page.map_err(|away| away.to_string())?;
            let Some(end) = page.last().cloned() else { break };
            self.put(opened, fill, &page)?;
            last = end;
        }
        self.end_fill(opened, fill)?;
        Ok(rows)
    }

    fn begin_fill(&self, opened: Position, room: usize) -> u64 {
        let mut ids = self.of_life(opened);
        ids.next = Some(Filter::new(room));
        ids.fills += 1;
        ids.fills
    }

    fn put(&self, opened: Position, fill: u64, page: &[String]) -> Result<(), String> {
        let mut ids = self.of_life(opened);
        let next = ids.next_of(fill)?;
        page.iter().for_each(|id| next.insert(id));
        Ok(())
    }

    fn end_fill(&self, opened: Position, fill: u64) -> Result<(), String> {
        let mut ids = self.of_life(opened);
        ids.next_of(fill)?;
        (ids.filter, ids.filling) = (ids.next.take(), false);
        Ok(())
    }

    fn give_up(&self, opened: Position) {
        let mut ids = self.of_life(opened);
        (ids.next, ids.filling, ids.vain) = (None, false, 0);
    }

    /// What is known in this life of the cell: nothing of another one.
    fn of_life(&self, opened: Position) -> MutexGuard<'_, Ids> {
        let mut ids = self.ids.lock();
        if ids.opened != opened {
            *ids = Ids { opened, fills: ids.fills, ..Ids::default() };
        }
        ids
    }
}

impl Ids {
    fn next_of(&mut self, fill: u64) -> Result<&mut Filter, String> {
        let next = self.next.as_mut().filter(|_| self.fills == fill);
        next.ok_or_else(|| "it was begun anew since".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const AFTER: u32 = 3;

    /// What may happen, in any order: as many fillings as it likes, in as many lives.
    #[derive(Debug, Clone)]
    enum Step {
        Begin(u8),
        Fill,
        /// The next page of the filling that began so many before the last.
        Page(usize),
        End(usize),
        GiveUp,
        /// The next life begins; somebody else may have begun runs before it.
        Live(Vec<u8>),
        /// The same, but nothing was appended since this one began.
        LiveAgain,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => any::<u8>().prop_map(Step::Begin),
            3 => Just(Step::Fill),
            6 => (0_usize..3).prop_map(Step::Page),
            4 => (0_usize..3).prop_map(Step::End),
            1 => Just(Step::GiveUp),
            1 => prop::collection::vec(any::<u8>(), 0..4).prop_map(Step::Live),
            1 => Just(Step::LiveAgain),
        ]
    }

    fn id(n: u8) -> RunId {
        format!("run-{n}").parse().expect("it is one")
    }

    /// A filling that goes on: its token, its life, and what it has yet to read.
    struct Reader {
        fill: u64,
        opened: Position,
        rows: Vec<String>,
    }

    proptest! {
        #[test]
        fn id_that_was_used_is_never_called_new(steps in prop::collection::vec(step(), 1..80)) {
            let known = UsedIds::new(AFTER);
            let (mut used, mut readers) = (BTreeSet::new(), Vec::<Reader>::new());
            let (mut opened, mut head) = (7, 7);
            for step in steps {
                match step {
                    Step::Begin(n) => {
                        head += 1;
                        used.insert(n);
                        let _ = known.begun(&id(n), opened);
                    }
                    Step::Fill => {
                        let fill = known.begin_fill(opened, 64);
                        let rows = used.iter().map(|n| id(*n).to_string()).collect();
                        readers.push(Reader { fill, opened, rows });
                    }
                    Step::Page(back) => {
                        let Some(reader) = nth_back(&mut readers, back) else { continue };
                        let page = reader.rows.split_off(reader.rows.len() / 2);
                        if reader.opened == opened {
                            let _ = known.put(opened, reader.fill, &page);
                        }
                    }
                    Step::End(back) => {
                        let Some(reader) = nth_back(&mut readers, back) else { continue };
                        if reader.rows.is_empty() && reader.opened == opened {
                            let _ = known.end_fill(opened, reader.fill);
                        }
                    }
                    Step::GiveUp => known.give_up(opened),
                    Step::Live(others) => {
                        head += 1 + others.len() as Position;
                        used.extend(others);
                        opened = head;
                    }
                    Step::LiveAgain => head = opened,
                }
                for n in &used {
                    prop_assert!(!known.is_new(&id(*n), opened), "{n} was used");
                }
            }
        }
    }

    fn nth_back(readers: &mut [Reader], back: usize) -> Option<&mut Reader> {
        readers.iter_mut().rev().nth(back)
    }

    #[test]
    fn new_ids_are_told_once_the_filter_is_filled_and_until_another_life_begins() {
        let known = UsedIds::new(AFTER);
        assert!(!known.is_new(&id(1), 5), "nobody knows");
        let due: Vec<_> = (0..6).map(|_| known.asked_in_vain(5)).collect();
        assert_eq!(due, [false, false, false, true, false, false], "one is told to fill it");

        let fill = known.begin_fill(5, 8);
        known.put(5, fill, &[id(1).to_string()]).expect("it is the one");
        assert!(!known.is_new(&id(2), 5), "it is not filled yet");
        known.end_fill(5, fill).expect("it is the one");

        assert!(known.is_new(&id(2), 5) && !known.is_new(&id(1), 5));
        assert!(!known.is_new(&id(2), 6), "another life knows nothing");
        assert!(!known.is_new(&id(2), 5), "and of this one it is forgotten");
    }

    #[test]
    fn full_filter_is_filled_anew_by_one_and_goes_on_until_then() {
        let known = UsedIds::new(0);
        let fill = known.begin_fill(5, 3);
        known.end_fill(5, fill).expect("it is the one");

        let due: Vec<_> = (1..=5).map(|n| known.begun(&id(n), 5)).collect();

        assert_eq!(due.iter().filter(|due| **due).count(), 1, "{due:?}");
        assert!((1..=5).all(|n| !known.is_new(&id(n), 5)));
        known.give_up(5);
        assert!(known.begun(&id(6), 5), "it is still full");
    }

    #[test]
    fn filling_that_another_one_overtook_ends_nothing() {
        let known = UsedIds::new(0);
        let early = known.begin_fill(5, 8);
        let late = known.begin_fill(5, 8);

        assert!(known.put(5, early, &[]).is_err() && known.end_fill(5, early).is_err());
        assert!(!known.is_new(&id(1), 5));
        known.end_fill(5, late).expect("it is the one");
        assert!(known.is_new(&id(1), 5));
    }
}
