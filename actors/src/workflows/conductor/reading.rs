//! What a conductor reads: values that it needs, how its tasks and children stand, definitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Address, Context, Reply};
use fleetward_store::{CellId, Position, Store};

use super::act::value_of;
use super::message::{ChildEnded, Message, NewRun, Places, ReadValues, Remedy, Stands, StepEnded};
use super::outbox::Outbox;
use super::{AGAIN, ROWS_WITHIN, Runs, State, hand};
use crate::cause::Cause;
use crate::error::Error;
use crate::fact::{self, Fold};
use crate::fleet::dispatcher;
use crate::fleet::task::{Phase as TaskPhase, Task};
use crate::id::{RunId, TaskId};
use crate::journal::Positions;
use crate::projector;
use crate::seal::{Purpose, Sealed};
use crate::system::principals::KnownOrg;
use crate::workflows::plan;
use crate::workflows::run::{Key, Phase, Place, Run, Seen, What};

/// Bytes of values that one conductor keeps beyond what a plan needs: with more it lets go of all, and reads again what
/// it needs later.
const VALUE_BYTES: usize = 16 << 20;

impl What {
    /// What it was sealed for, and what it is bound to.
    pub(crate) fn bound(&self) -> (Purpose, &[u8]) {
        match self {
            Self::Result { task } => (Purpose::Result, task.0.as_bytes()),
            Self::Error { task } => (Purpose::Error, task.0.as_bytes()),
            Self::Input { run } => (Purpose::RunInput, run.as_str().as_bytes()),
            Self::Output { run } => (Purpose::RunOutput, run.as_str().as_bytes()),
            Self::Failure { run } => (Purpose::RunError, run.as_str().as_bytes()),
            Self::Signal { run } => (Purpose::Signal, run.as_str().as_bytes()),
            Self::Gate { run } => (Purpose::Gate, run.as_str().as_bytes()),
            Self::Checkpoint { task } => (Purpose::Checkpoint, task.0.as_bytes()),
            Self::Asked { task } => (Purpose::Asked, task.0.as_bytes()),
        }
    }
}

impl State {
    /// Opens a value that is at hand.
    pub(super) fn keep(&mut self, place: Place, sealed: &Sealed) {
        let (purpose, bound) = place.what.bound();
        // One that does not open is read from the store when it is needed, and said then.
        let Ok(bytes) = self.known.ring.open(purpose, bound, sealed) else { return };
        self.hold(place.at, value_of(&bytes, plan::is_text(&place)), bytes.len());
    }

    fn hold(&mut self, at: Position, value: Arc<serde_json::Value>, bytes: usize) {
        self.value_bytes += bytes;
        self.values.insert(at, value);
    }

    /// Lets go of values when they are too many: to be called when a plan has had all that it needed.
    pub(super) fn trim_values(&mut self) {
        if self.value_bytes > VALUE_BYTES && !self.reading {
            self.values.clear();
            self.value_bytes = 0;
        }
    }

    /// Reads values; the plan is made again when they are here.
    pub(super) fn fetch(&mut self, missing: Places, cx: &Context<Message>) {
        if missing.is_empty() || self.reading {
            return;
        }
        self.reading = true;
        let (store, cell, known) = (self.args.store.clone(), self.args.cell, self.known.clone());
        let positions = self.log.positions().clone();
        cx.spawn(
            async move {
                // What was decided a moment ago may not be durable yet.
                while let Some(last) = missing.last()
                    && positions.committed() < last.at
                {
                    let _ = positions.beyond(positions.committed()).await;
                }
                read_values(store.as_ref(), cell, &known, missing).await
            },
            |read| Message::Read { read },
        );
    }

    pub(super) fn read(&mut self, read: ReadValues, cx: &Context<Message>) {
        self.reading = false;
        let read = match read {
            Ok(read) => read,
            Err(why) => {
                tracing::debug!(run = %self.args.run, %why, "values of a run cannot be read now");
                self.tend = Some(cx.after(AGAIN, Message::TendDue));
                return;
            }
        };
        for (place, bytes) in read {
            match bytes {
                Ok(bytes) => {
                    self.hold(place.at, value_of(&bytes, plan::is_text(&place)), bytes.len());
                }
                // A text that is gone holds nothing up.
                Err(_) if plan::is_text(&place) => {
                    self.hold(place.at, Arc::new(serde_json::Value::Null), 0);
                }
                Err(why) => {
                    tracing::error!(run = %self.args.run, at = place.at, %why, "a value is lost");
                    self.stuck = Some(format!("the value beside event {} {why}", place.at));
                    return;
                }
            }
        }
        if std::mem::take(&mut self.ask_when_read) {
            self.ask(cx);
        }
        self.go_on(cx);
    }

    /// Makes tasks and children again that nobody knows.
    pub(super) fn want_again(&mut self, absent: &[(Key, Option<Position>)], cx: &Context<Message>) {
        if absent.is_empty() {
            return;
        }
        let Some(definition) = self.definition.clone() else { return };
        let Some(mut run) = self.run.take() else { return };
        // As if they had not been begun: the plan begins them again, with the same ids.
        let mut removed = (BTreeMap::new(), BTreeMap::new());
        for (key, _) in absent {
            removed.0.extend(run.scheduled.remove_entry(key));
            removed.1.extend(run.waits.remove_entry(key));
        }
        let plan = plan::plan(&definition, &run, &self.values);
        let missing = plan.missing.clone();
        let as_of: BTreeMap<_, _> =
            absent.iter().filter_map(|(key, as_of)| Some((key.clone(), (*as_of)?))).collect();
        let mut out = self.again(plan, &definition, &run);
        for task in &mut out.tasks {
            task.absent_at = as_of.get(&task.step.key).copied().unwrap_or(0);
        }
        run.scheduled.extend(removed.0);
        run.waits.extend(removed.1);
        self.run = Some(run);
        // Those whose values are not at hand are looked for once more when these are.
        self.ask_when_read |= !missing.is_empty();
        self.fetch(missing, cx);
        self.send(out, cx);
    }

    pub(super) fn load_definition(
        &mut self,
        (name, version): (String, String),
        (remedy, by, reply): (Remedy, Cause, Reply<Result<Box<Run>, Error>>),
        cx: &Context<Message>,
    ) {
        let (shelf, store, cell) =
            (self.args.shelf.clone(), self.args.store.clone(), self.args.cell);
        let read = async move {
            let found = shelf.definition(store.as_ref(), cell, (&name, &version)).await;
            found.and_then(|found| {
                found.ok_or_else(|| Error::Unavailable(format!("{name} has no version {version}")))
            })
        };
        cx.spawn(read, move |definition| Message::Defined { definition, remedy, by, reply });
    }
}

/// Values at these places, in the open.
pub(crate) async fn read_values(
    store: &dyn Store,
    cell: CellId,
    known: &KnownOrg,
    places: Places,
) -> ReadValues {
    let positions: Vec<_> = places.iter().map(|place| place.at).collect();
    let read = store.read_at(cell, &positions).await.map_err(|error| error.to_string())?;
    let open = |place: Place| {
        let found = read.binary_search_by_key(&place.at, |stored| stored.seq).ok();
        let sealed = found.and_then(|at| read[at].event.sealed.clone());
        let (purpose, bound) = place.what.bound();
        let opened = match sealed {
            None => Err("is gone".to_owned()),
            Some(sealed) => known
                .ring
                .open(purpose, bound, &Sealed::from_bytes(sealed))
                .map_err(|error| format!("does not open: {error}")),
        };
        (place, opened)
    };
    Ok(places.into_iter().map(open).collect())
}

/// Where to look for what a run waits for.
pub(super) struct Look {
    pub(super) dispatcher: Address<dispatcher::Message>,
    pub(super) runs: Option<Runs>,
    pub(super) store: Arc<dyn Store>,
    pub(super) cell: CellId,
    pub(super) projector: projector::Handle,
    pub(super) positions: Arc<Positions>,
    pub(super) within: Duration,
}

impl Look {
    pub(super) async fn all(
        self,
        tasks: Vec<(Key, TaskId)>,
        children: Vec<(Key, RunId)>,
    ) -> Result<Vec<(Key, Stands)>, String> {
        let (mut found, mut absent) = (Vec::new(), Vec::new());
        for (key, task) in tasks {
            let look = |reply| dispatcher::Message::Look { task, reply };
            let known = self.dispatcher.call(self.within, look).await;
            match known.map_err(|error| error.to_string())? {
                Some(task) => found.push((key.clone(), stands(key, &task))),
                None => absent.push((key, task)),
            }
        }
        if !absent.is_empty() {
            found.extend(self.recorded(absent).await?);
        }
        for (key, run) in children {
            let stands = self.child(&key, run).await?;
            found.push((key, stands));
        }
        Ok(found)
    }

    /// What the rows say of tasks that the dispatcher does not have.
    async fn recorded(&self, absent: Vec<(Key, TaskId)>) -> Result<Vec<(Key, Stands)>, String> {
        let ids: Vec<_> = absent.iter().map(|(_, task)| task.to_string()).collect();
        self.rows_are_here().await?;
        let read = self.store.get_with_position(self.cell, Task::KIND, &ids).await;
        let (position, rows) = read.map_err(|error| error.to_string())?;
        let rows: BTreeMap<_, _> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
        let mut found = Vec::new();
        for ((key, _), id) in absent.into_iter().zip(&ids) {
            let stands = match rows.get(id.as_str()) {
                None => Stands::Absent(position),
                Some(row) => {
                    let task = fact::from_record::<Task>(row).map_err(|error| error.to_string())?;
                    stands(key.clone(), &task)
                }
            };
            found.push((key, stands));
        }
        Ok(found)
    }

    /// Rows that are behind would call open what had ended when the server died, and nobody would say it again.
    async fn rows_are_here(&self) -> Result<(), String> {
        let given = self.positions.given();
        let passed = self.projector.passed(self.cell, &self.positions, given, ROWS_WITHIN);
        passed.await.map_err(|behind| behind.to_string())
    }

    async fn child(&self, key: &Key, run: RunId) -> Result<Stands, String> {
        if let Some(child) = self.runs.as_ref().and_then(|runs| runs.get(&run)) {
            let look = |reply| Message::Look { reply };
            let known = child.call(self.within, look).await;
            if let Some(known) = known.map_err(|error| error.to_string())? {
                return Ok(child_stands(key, &known));
            }
        }
        self.rows_are_here().await?;
        let rows = self.store.get(self.cell, Run::KIND, &[run.to_string()]).await;
        let rows = rows.map_err(|error| error.to_string())?;
        match rows.first() {
            None => Ok(Stands::NoChild),
            Some(row) => {
                let known = fact::from_record::<Run>(row).map_err(|error| error.to_string())?;
                if known.open()
                    && let Some(runs) = &self.runs
                {
                    runs.start(run);
                }
                Ok(child_stands(key, &known))
            }
        }
    }
}

/// What a task says of the step that it is.
fn stands(key: Key, task: &Task) -> Stands {
    let failed = match &task.phase {
        TaskPhase::Waiting if task.attempts() == 0 => return Stands::Unclaimed,
        TaskPhase::Waiting | TaskPhase::Leased => return Stands::Open,
        TaskPhase::Completed { .. } | TaskPhase::Suspended { .. } => None,
        TaskPhase::Failed { why, .. } => Some(why.as_str().to_owned()),
        TaskPhase::Cancelled { .. } => Some("cancelled".to_owned()),
        TaskPhase::Discarded { .. } => Some("discarded".to_owned()),
        TaskPhase::Deleted => Some("deleted".to_owned()),
    };
    let claimed_at = task.attempt.as_ref().map(|attempt| attempt.claimed_at);
    let seen = Seen { attempts: task.attempts(), claimed_at };
    let at = task.ended;
    let (steps, waits) = (task.own_steps(), task.suspension());
    let ended = StepEnded { key, task: task.id, failed, at, sealed: None, seen, steps, waits };
    Stands::Ended(Box::new(ended))
}

fn child_stands(key: &Key, run: &Run) -> Stands {
    match run.is_closed() {
        false => Stands::Open,
        true => Stands::ChildEnded(Box::new(ended(key, run))),
    }
}

/// What a closed child says of its end.
pub(super) fn ended(key: &Key, run: &Run) -> ChildEnded {
    let (failed, at) = match &run.phase {
        Phase::Running | Phase::Paused => (Some("open".to_owned()), None),
        Phase::Completed { output, .. } => (None, Some(output.at)),
        Phase::Failed { code, error, .. } => {
            (Some(code.clone()), error.as_ref().map(|place| place.at))
        }
        Phase::Cancelled { .. } => (Some("cancelled".to_owned()), None),
        Phase::Discarded { .. } => (Some("discarded".to_owned()), None),
        Phase::Deleted => (Some("deleted".to_owned()), None),
    };
    ChildEnded { key: key.clone(), run: run.id.clone(), failed, at }
}

/// What is found of a child that cannot begin.
pub(super) fn child_failed(
    key: &Key,
    run: &RunId,
    code: &str,
) -> Result<Vec<(Key, Stands)>, String> {
    let failed = Some(code.to_owned());
    let ended = ChildEnded { key: key.clone(), run: run.clone(), failed, at: None };
    Ok(vec![(key.clone(), Stands::ChildEnded(Box::new(ended)))])
}

/// Begins a child run; harmless twice.
pub(super) async fn start_child(
    runs: &Runs,
    key: &Key,
    id: RunId,
    new: Box<NewRun>,
    by: Cause,
) -> Result<Vec<(Key, Stands)>, String> {
    let (reply, answered) = Reply::channel();
    let start = Message::Start { new, by, reply };
    hand(runs, &id, start).await.map_err(|error| format!("the child is away: {error}"))?;
    match answered.await {
        Ok(Ok(_)) => Ok(vec![(key.clone(), Stands::Born(id))]),
        Ok(Err(Error::Refused(refusal))) => child_failed(key, &id, refusal.code),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the child is away".to_owned()),
    }
}

/// Ends a child run that nobody wants any more.
pub(super) fn cancel_child(runs: Runs, run: RunId, cx: &Context<Message>) {
    let child = run.clone();
    let cancelled = async move {
        let remedy = Remedy::Cancel { reason: Some("the run above it goes on without it".into()) };
        let (reply, answered) = Reply::channel();
        let amend = Message::Amend { remedy, by: Cause::system(), reply };
        hand(&runs, &child, amend).await.ok()?;
        answered.await.ok()
    };
    // Whether it was open, closed, or never there: it is not open now.
    cx.spawn(cancelled, |said| Message::OrphanTold {
        run,
        told: matches!(said, Some(Ok(_) | Err(Error::Refused(_)))),
    });
}

impl Outbox {
    /// Both together.
    pub(super) fn take(&mut self, other: Self) {
        self.tasks.extend(other.tasks);
        self.unwanted.extend(other.unwanted);
        self.children.extend(other.children);
        self.orphans.extend(other.orphans);
        self.ended |= other.ended;
    }
}
