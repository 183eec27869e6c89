//! The keeper of a cell: its first child. It opens the cell, folds rows and the events after them once for all
//! of the cell's actors, and hands each its part. Told by the journal when this life must end; then it crashes,
//! and the cell starts again from what is durable.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Context, Crash, Reply, StartError};
use fleetward_store::{CellId, Position, ReadLimit, Record, Store};
use futures_util::future::join;

use crate::fact::{self, Fold, Unfoldable};
use crate::journal::{self, CellLog, End, Positions};
use crate::projector::{self, Progress, Rows, RowsError};

/// Events in one page of the tail.
const PAGE: ReadLimit = ReadLimit { events: 4_096, bytes: 16 << 20 };
/// Open rows in one page.
const OPEN_PAGE: usize = 4_096;
/// From so many rows on, several threads read them: parsing a million takes seconds.
const SHARED_ROWS: usize = 4_096;
/// Most of those threads.
const THREADS_MAX: usize = 8;
/// How long an actor waits for its part: the keeper has it in memory.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(10);

/// The way in, for the actors of the same cell.
#[derive(Debug, Clone)]
pub struct Handle(Address<Message>);

/// What a keeper starts from.
#[derive(Clone)]
pub struct Args {
    /// Which cell.
    pub cell: CellId,
    /// Where it is written.
    pub journal: journal::Handle,
    /// Where it is read.
    pub store: Arc<dyn Store>,
    /// How far it has come.
    pub positions: Arc<Positions>,
    /// Where the projector learns of the cell.
    pub progress: Arc<Progress>,
    /// Follows the cell.
    pub projector: projector::Handle,
    /// Why this server may not own the cell any more: outlives the lives of the keeper.
    pub fate: Fate,
}

/// Set once another server owns the cell: then it stays down here.
#[derive(Debug, Clone, Default)]
pub struct Fate(Arc<Mutex<Option<String>>>);

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From an actor of the cell that starts.
    Take {
        /// The kind of its records.
        kinds: &'static [&'static str],
        /// Its part.
        reply: Reply<Part>,
    },
    /// From the journal: what memory holds is not what will be durable.
    LifeEnded {
        /// Why.
        end: End,
    },
}

/// What one actor begins with.
#[derive(Debug)]
pub struct Part {
    /// Where it writes.
    pub log: CellLog,
    /// What it owns, folded to the head: everything open, and what closed after the rows were written.
    pub records: Vec<Record>,
}

/// Names of streams.
type Streams = HashSet<Arc<str>>;
/// By kind.
type Records = BTreeMap<Cow<'static, str>, Vec<Record>>;

/// The keeper's memory: the parts that are not taken yet.
pub struct State {
    log: CellLog,
    records: Records,
    fate: Fate,
}

impl Fate {
    fn sealed(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn seal(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

impl Handle {
    /// The way to the keeper behind `address`.
    pub fn new(address: Address<Message>) -> Self {
        Self(address)
    }

    /// The part of the actor that owns the streams of these kinds.
    ///
    /// # Errors
    /// When the keeper is gone: the cell is about to start again.
    pub async fn take(&self, kinds: &'static [&'static str]) -> Result<Part, StartError> {
        self.0
            .call(HAND_OVER_WITHIN, |reply| Message::Take { kinds, reply })
            .await
            .map_err(|error| StartError::Unavailable(format!("keeper: {error}")))
    }
}

impl Part {
    /// What is open or closed a moment ago, oldest first.
    ///
    /// # Errors
    /// When a row is not what this build writes: the cell halts.
    pub fn states<F: Fold>(&self) -> Result<Vec<F>, StartError> {
        states_in(&self.records)
    }
}

fn states_in<F: Fold>(records: &[Record]) -> Result<Vec<F>, StartError> {
    let mut rows: Vec<_> = records.iter().filter(|row| row.kind == F::KIND).collect();
    rows.sort_by_key(|row| row.created);
    if rows.len() < SHARED_ROWS {
        return states_of(&rows);
    }
    // Nobody waits for this thread but the cell that starts, and the machine has others.
    let threads =
        thread::available_parallelism().map_or(1, |threads| threads.get().min(THREADS_MAX));
    let parts: Vec<Result<Vec<F>, StartError>> = thread::scope(|scope| {
        let read = |part| scope.spawn(move || states_of(part));
        let parts: Vec<_> = rows.chunks(rows.len().div_ceil(threads)).map(read).collect();
        parts.into_iter().map(|part| part.join().unwrap_or_else(|_| Err(panicked()))).collect()
    });
    let mut states = Vec::with_capacity(rows.len());
    for part in parts {
        states.extend(part?);
    }
    Ok(states)
}

fn states_of<F: Fold>(rows: &[&Record]) -> Result<Vec<F>, StartError> {
    rows.iter().map(|row| fact::from_record(row).map_err(|error| halt(&error))).collect()
}

fn panicked() -> StartError {
    StartError::Failed("reading a row panicked".to_owned())
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        if let Some(why) = args.fate.sealed() {
            return Err(StartError::Halt(why));
        }
        let log =
            args.journal.open(args.cell, cx.address().clone(), args.positions.clone()).await?;
        let head = args.positions.committed();
        let position = args.store.position(args.cell).await.map_err(|error| away(&error))?;
        args.positions.project(position);
        let mut rows = Rows::new(args.store.clone());
        let (last_at, touched) = fold_tail(&args, &mut rows, position, head).await?;
        let records = records(&args, rows, &touched).await?;
        let count: usize = records.values().map(Vec::len).sum();
        tracing::info!(cell = args.cell.0, records = count, position, head, "the cell is read");
        log.not_before(last_at);
        args.progress.insert(args.cell, args.positions.clone());
        args.projector.opened(args.cell);
        Ok(Self { log, records, fate: args.fate })
    }

    fn handle(&mut self, message: Message, _cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Take { kinds, reply } => {
                reply.send(self.part(kinds));
                Ok(())
            }
            Message::LifeEnded { end } => Err(self.end(&end)),
        }
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Take { .. } => "Take",
            Message::LifeEnded { .. } => "LifeEnded",
        }
    }
}

impl State {
    fn part(&mut self, kinds: &[&str]) -> Part {
        let mine = kinds.iter().filter_map(|kind| self.records.remove(*kind));
        Part { log: self.log.clone(), records: mine.flatten().collect() }
    }

    fn end(&self, end: &End) -> Crash {
        if let End::Fenced { .. } = end {
            self.fate.seal(end.to_string());
        }
        Crash::new(end)
    }
}

/// What the tail left open, and the open rows of all streams that it did not touch: those hold every event of theirs.
/// (A row of one that it closed may still say that it is open.)
async fn records(args: &Args, rows: Rows, touched: &Streams) -> Result<Records, StartError> {
    let page = |after| args.store.open_page(args.cell, after, OPEN_PAGE);
    let mut records = Records::new();
    let mut next = page(0).await.map_err(|error| away(&error))?;
    while let Some(last) = next.last() {
        let after = last.created;
        let read = std::mem::take(&mut next);
        let sort = async {
            let is_touched = |row: &Record| {
                !touched.is_empty() && touched.contains(&*format!("{}/{}", row.kind, row.id))
            };
            let untouched = read.into_iter().filter(|row| !is_touched(row));
            untouched.for_each(|row| records.entry(row.kind.clone()).or_default().push(row));
        };
        // The store looks for the next page while this one is sorted.
        next = join(page(after), sort).await.0.map_err(|error| away(&error))?;
    }
    for row in rows.into_rows() {
        records.entry(row.kind.clone()).or_default().push(row);
    }
    Ok(records)
}

/// Applies the events between the rows and the head; answers the time of the last event, and whose they were.
async fn fold_tail(
    args: &Args,
    rows: &mut Rows,
    mut position: Position,
    head: Position,
) -> Result<(i64, Streams), StartError> {
    let mut touched = Streams::new();
    while position < head {
        let page =
            args.store.read(args.cell, position, PAGE).await.map_err(|error| away(&error))?;
        let Some(last) = page.last() else {
            let why = format!("cell {} has no event {}", args.cell, position + 1);
            return Err(StartError::Halt(why));
        };
        position = last.seq;
        touched.extend(page.iter().map(|stored| stored.event.stream.clone()));
        rows.apply(args.cell, &page).await.map_err(|error| match error {
            RowsError::Away(why) => StartError::Unavailable(why),
            RowsError::Unfoldable(error) => halt(&error),
        })?;
    }
    let last = args.store.read_at(args.cell, &[head]).await.map_err(|error| away(&error))?;
    Ok((last.first().map_or(0, |stored| stored.event.at), touched))
}

fn away(error: &dyn std::fmt::Display) -> StartError {
    StartError::Unavailable(format!("store: {error}"))
}

fn halt(error: &Unfoldable) -> StartError {
    StartError::Halt(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::task::{Task, sample};

    fn row(task: &Task, created: Position) -> Record {
        Record {
            cell: CellId(1),
            kind: Cow::Borrowed(Task::KIND),
            id: task.id.to_string(),
            created,
            updated: created,
            open: true,
            status: "pending".to_owned(),
            body: serde_json::to_vec(task).unwrap().into(),
            sealed: None,
        }
    }

    #[test]
    fn many_rows_are_read_in_order_and_a_bad_one_halts() {
        let tasks: Vec<Task> =
            (0..SHARED_ROWS as u64 + 9).map(|submitted| Task { submitted, ..sample() }).collect();
        let mut rows: Vec<_> = tasks.iter().map(|task| row(task, task.submitted)).collect();
        rows.reverse();

        assert_eq!(states_in::<Task>(&rows).unwrap(), tasks);
        rows[7].body = "no task".into();
        assert!(matches!(states_in::<Task>(&rows), Err(StartError::Halt(_))));
    }
}
