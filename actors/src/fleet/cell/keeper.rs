//! The keeper of a cell: its first child. It opens the cell, folds rows and the events after them once for all
//! of the cell's actors, and hands each its part. Told by the journal when this life must end; then it crashes,
//! and the cell starts again from what is durable.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Context, Crash, Reply, StartError};
use fleetward_store::{CellId, Position, ReadLimit, Record, Store};
use tokio::task::JoinHandle;

use crate::fact::{Fold, Unfoldable};
use crate::fleet::alerts;
use crate::journal::{self, CellLog, End, Positions};
use crate::projector::{self, Folded, Live, Progress, Rows, RowsError, numbered};

/// Events in one page of the tail.
const PAGE: ReadLimit = ReadLimit { events: 4_096, bytes: 16 << 20 };
/// Open rows in one page.
const OPEN_PAGE: usize = 4_096;
/// Most pages that are understood while the next is on its way.
const READERS: usize = 4;
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
    /// Told of alerts; none: the cell raises none.
    pub alarm: Option<Address<alerts::Message>>,
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
    /// What it owns, folded to the head: everything open.
    rows: Vec<Live>,
}

/// Names of streams.
type Streams = HashSet<Arc<str>>;

/// The keeper's memory: the parts that are not taken yet.
pub struct State {
    log: CellLog,
    rows: BTreeMap<&'static str, Vec<Live>>,
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
    /// What of this type is open, oldest first. It leaves the part.
    pub fn states<F: Fold + Sync>(&mut self) -> Vec<F> {
        self.folded().into_iter().map(|folded| folded.state).collect()
    }

    /// The same with the sealed parts of the rows.
    pub fn folded<F: Fold + Sync>(&mut self) -> Vec<Folded<F>> {
        take(&mut self.rows)
    }
}

/// Those of one type, oldest first.
fn take<F: Fold + Sync>(rows: &mut Vec<Live>) -> Vec<Folded<F>> {
    let mut found = Vec::new();
    for row in std::mem::take(rows) {
        match row.into_state::<F>() {
            Ok(folded) => found.push(folded),
            Err(other) => rows.push(other),
        }
    }
    found.sort_by_key(|folded| folded.created);
    found
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
        let log = log.alarming(args.alarm.clone());
        let head = args.positions.committed();
        let position = args.store.position(args.cell).await.map_err(|error| away(&error))?;
        args.positions.project(position);
        let mut rows = Rows::unwritten(args.store.clone());
        let (last_at, touched) = fold_tail(&args, &mut rows, position, head).await?;
        let mut read = open_rows(&args, touched).await?;
        let tail = rows.into_live().map_err(|error| halt(&error))?;
        read.extend(tail.into_iter().filter(Live::is_open));
        tracing::info!(cell = args.cell.0, rows = read.len(), position, head, "the cell is read");
        let mut rows: BTreeMap<_, Vec<Live>> = BTreeMap::new();
        read.into_iter().for_each(|row| rows.entry(row.kind()).or_default().push(row));
        log.not_before(last_at);
        args.progress.insert(args.cell, args.positions.clone());
        args.projector.opened(args.cell);
        Ok(Self { log, rows, fate: args.fate })
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
    fn part(&mut self, kinds: &[&'static str]) -> Part {
        let mine = kinds.iter().filter_map(|kind| self.rows.remove(kind));
        Part { log: self.log.clone(), rows: mine.flatten().collect() }
    }

    fn end(&self, end: &End) -> Crash {
        if let End::Fenced { .. } = end {
            self.fate.seal(end.to_string());
        }
        Crash::new(end)
    }
}

/// The open rows of all streams that the tail did not touch: those hold every event of theirs. (A row of one that it
/// closed may still say that it is open.) What is read is understood by other threads while the store looks for the
/// next page: for a million rows that takes longer than anything else here.
async fn open_rows(args: &Args, touched: Streams) -> Result<Vec<Live>, StartError> {
    let touched = Arc::new(touched);
    let mut rows = Vec::new();
    let mut reading = VecDeque::new();
    let mut after = 0;
    loop {
        let page = args.store.open_page(args.cell, after, OPEN_PAGE).await;
        let page = page.map_err(|error| away(&error))?;
        let Some(last) = page.last() else { break };
        after = last.created;
        if page.len() < OPEN_PAGE {
            // Not worth a thread, and mostly the only one.
            rows.append(&mut understood(page, &touched).map_err(|error| halt(&error))?);
            continue;
        }
        let touched = touched.clone();
        reading.push_back(tokio::task::spawn_blocking(move || understood(page, &touched)));
        if reading.len() > READERS
            && let Some(oldest) = reading.pop_front()
        {
            rows.append(&mut joined(oldest).await?);
        }
    }
    for page in reading {
        rows.append(&mut joined(page).await?);
    }
    Ok(rows)
}

type Understood = Result<Vec<Live>, Unfoldable>;

fn understood(page: Vec<Record>, touched: &Streams) -> Understood {
    let is_touched = |row: &Record| {
        !touched.is_empty() && touched.contains(&*format!("{}/{}", row.kind, row.id))
    };
    page.into_iter().filter(|row| !is_touched(row)).map(Live::read).collect()
}

async fn joined(page: JoinHandle<Understood>) -> Result<Vec<Live>, StartError> {
    let read =
        page.await.map_err(|error| StartError::Failed(format!("a page of rows: {error}")))?;
    read.map_err(|error| halt(&error))
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
        rows.apply(args.cell, &numbered(&page)).await.map_err(|error| match error {
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
    use crate::fleet::worker::Worker;
    use std::borrow::Cow;

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
            due: None,
        }
    }

    #[test]
    fn rows_are_handed_over_by_type_and_in_order_and_a_bad_one_is_an_error() {
        let tasks: Vec<Task> = (0..9).map(|submitted| Task { submitted, ..sample() }).collect();
        let mut page: Vec<_> = tasks.iter().map(|task| row(task, task.submitted)).collect();
        page.reverse();
        let touched = Streams::new();

        let mut rows = understood(page.clone(), &touched).unwrap();
        assert!(take::<Worker>(&mut rows).is_empty());
        let taken = take::<Task>(&mut rows).into_iter().map(|folded| folded.state);
        assert_eq!(taken.collect::<Vec<_>>(), tasks);
        assert!(rows.is_empty());

        page[7].body = "no task".into();
        assert!(understood(page, &touched).is_err());
    }
}
