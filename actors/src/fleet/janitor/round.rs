//! One round of the janitor: rows of what is over, oldest first, page by page; first runs, then tasks, some of which were
//! theirs. Harmless to repeat, and to end anywhere.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Address, Clock};
use fleetward_store::{CellId, Position, Record, Store, Walk};
use futures_util::{StreamExt as _, stream};

use super::Swept;
use super::rules::{Cursors, Fate, RUNS, TASKS, Terms};
use crate::cause::Cause;
use crate::error::Error;
use crate::fact::{Fold, from_record};
use crate::fleet::dispatcher::remedy::Remedy;
use crate::fleet::dispatcher::{self, Amended, Known, Subject};
use crate::fleet::policy::Retention;
use crate::fleet::task::Task;
use crate::id::{RunId, TaskId};
use crate::journal::Positions;
use crate::projector;
use crate::workflows::conductor::{Deletion, Message, Runs, ask};
use crate::workflows::run::Run;

/// Rows that are looked at, and tasks that are deleted, at once.
const PAGE: usize = 500;
/// Runs that are deleted at once: each has an actor for it.
const AT_ONCE: usize = 16;
/// After a page in which something was deleted: others want the store too.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the rows may take to contain what was there when a round began.
const ROWS_WITHIN: Duration = Duration::from_secs(60);

/// Where a round works.
pub(super) struct Ground {
    pub(super) cell: CellId,
    pub(super) dispatcher: Address<dispatcher::Message>,
    pub(super) runs: Runs,
    pub(super) store: Arc<dyn Store>,
    pub(super) projector: projector::Handle,
    pub(super) positions: Arc<Positions>,
    pub(super) clock: Clock,
    pub(super) within: Duration,
}

pub(super) struct Round {
    ground: Ground,
    terms: Terms,
    cursors: Cursors,
    swept: Swept,
    /// Runs of the page at hand that it deleted: the rows may not say so yet.
    gone: HashSet<RunId>,
}

/// Rows of one page, in the order that they were created.
struct Page<F> {
    states: Vec<(Position, F)>,
    last: bool,
}

impl Round {
    pub(super) fn new(ground: Ground, retention: Retention, cursors: Cursors) -> Self {
        let terms = Terms::new(&retention, ground.clock.wall_us());
        let cursors = Cursors { found_for: retention, ..cursors };
        Self { ground, terms, cursors, swept: Swept::default(), gone: HashSet::new() }
    }

    /// A round that does not even begin.
    pub(super) fn held_up(self, why: String) -> (Swept, Cursors) {
        let swept = Swept { at: self.ground.clock.wall_us(), away: Some(why), ..self.swept };
        (swept, self.cursors)
    }

    pub(super) async fn run(mut self) -> (Swept, Cursors) {
        self.swept.away = self.sweep().await.err();
        self.swept.at = self.ground.clock.wall_us();
        metrics::counter!("fleetward_retention_tasks_deleted_total").increment(self.swept.tasks);
        metrics::counter!("fleetward_retention_runs_deleted_total").increment(self.swept.runs);
        (self.swept, self.cursors)
    }

    async fn sweep(&mut self) -> Result<(), String> {
        if self.cursors.found_for.is_for_ever() {
            return Ok(());
        }
        self.ground.rows_are_here().await?;
        for status in RUNS {
            if let Some(before) = self.terms.of_runs(status) {
                self.runs(status, before).await?;
            }
        }
        // Whether a run is there any more, the rows say.
        self.ground.rows_are_here().await?;
        for status in TASKS {
            if let Some(before) = self.terms.latest_task(status) {
                self.tasks(status, before).await?;
            }
        }
        Ok(())
    }

    async fn runs(&mut self, status: &'static str, before: i64) -> Result<(), String> {
        let mut after = self.cursors.of(Run::KIND, status);
        let mut young = None;
        loop {
            let page = self.ground.page::<Run>(status, after).await?;
            let (mut going, mut ended) = (Vec::new(), page.last);
            for (created, run) in page.states {
                if run.started_at >= before {
                    (young, ended) = (young.or(Some(created)), true);
                    break;
                }
                after = created;
                match self.terms.run(&run) {
                    Fate::Goes => going.push(run),
                    Fate::Young => young = young.or(Some(created)),
                    Fate::Follows | Fate::Stays => {}
                }
            }
            self.delete_runs(going, before).await?;
            if ended {
                break;
            }
        }
        self.cursors.set(Run::KIND, status, young.map_or(after, |first| first - 1));
        Ok(())
    }

    /// Deletes those that belong to no run that is there, and then those that belonged to them.
    async fn delete_runs(&mut self, mut runs: Vec<Run>, before: i64) -> Result<(), String> {
        self.ground.rows_are_here().await?;
        self.gone.clear();
        let parents = runs.iter().filter_map(|run| Some(run.parent.as_ref()?.run.clone()));
        let there = self.ground.there(parents.collect()).await?;
        loop {
            let is_free = |run: &Run| {
                let parent = run.parent.as_ref().map(|parent| &parent.run);
                parent.is_none_or(|of| !there.contains(of) || self.gone.contains(of))
            };
            let (free, bound) = runs.into_iter().partition(is_free);
            if Vec::<Run>::is_empty(&free) {
                return Ok(());
            }
            self.delete_free(free, before).await?;
            runs = bound;
        }
    }

    async fn delete_free(&mut self, runs: Vec<Run>, before: i64) -> Result<(), String> {
        let ground = &self.ground;
        let delete =
            |run: &Run| delete_run(ground.runs.clone(), run.id.clone(), before, ground.within);
        let each: Vec<_> = runs.iter().map(delete).collect();
        let deleted: Vec<_> = stream::iter(each).buffered(AT_ONCE).collect().await;
        let mut failed = None;
        for (run, deleted) in runs.iter().zip(deleted) {
            match deleted {
                Ok(()) => {
                    self.swept.runs += 1;
                    self.gone.insert(run.id.clone());
                    let tasks = run.done.values().filter_map(|done| done.task).collect();
                    self.swept.tasks += ground.delete_tasks(tasks, None, Some(&run.id)).await?;
                }
                // Somebody tried it again or deleted it meanwhile.
                Err(Error::Refused(_)) => {}
                Err(error) => failed = Some(error.to_string()),
            }
        }
        ground.clock.sleep(PAUSE).await;
        failed.map_or(Ok(()), Err)
    }

    async fn tasks(&mut self, status: &'static str, before: i64) -> Result<(), String> {
        let mut after = self.cursors.of(Task::KIND, status);
        let mut young = None;
        loop {
            let page = self.ground.page::<Task>(status, after).await?;
            let (mut going, mut following, mut ended) = (Vec::new(), Vec::new(), page.last);
            for (created, task) in page.states {
                if task.submitted_at >= before {
                    (young, ended) = (young.or(Some(created)), true);
                    break;
                }
                after = created;
                match (self.terms.task(&task), &task.step) {
                    (Fate::Goes, _) => going.push(task.id),
                    (Fate::Young, _) => young = young.or(Some(created)),
                    (Fate::Follows, Some(step)) => following.push((step.run.clone(), task.id)),
                    (Fate::Follows | Fate::Stays, _) => {}
                }
            }
            let runs = following.iter().map(|(run, _)| run.clone()).collect();
            let there = self.ground.there(runs).await?;
            following.retain(|(run, _)| !there.contains(run));
            if !(going.is_empty() && following.is_empty()) {
                let following = following.into_iter().map(|(_, task)| task).collect();
                let by_age = self.terms.of_tasks(status);
                self.swept.tasks += self.ground.delete_tasks(going, by_age, None).await?;
                self.swept.tasks += self.ground.delete_tasks(following, None, None).await?;
                self.ground.clock.sleep(PAUSE).await;
            }
            if ended {
                break;
            }
        }
        self.cursors.set(Task::KIND, status, young.map_or(after, |first| first - 1));
        Ok(())
    }
}

async fn delete_run(runs: Runs, run: RunId, before: i64, within: Duration) -> Result<(), Error> {
    let by = Cause::system();
    let deletion = Deletion { closed_before: Some(before), schedule_knows: false, by };
    ask(&runs, &run, within, |reply| Message::Delete { deletion, reply }).await?
}

impl Ground {
    async fn rows_are_here(&self) -> Result<(), String> {
        let to = self.positions.given();
        let passed = self.projector.passed(self.cell, &self.positions, to, ROWS_WITHIN);
        passed.await.map_err(|behind| behind.to_string())
    }

    async fn page<F: Fold>(
        &self,
        status: &'static str,
        after: Position,
    ) -> Result<Page<F>, String> {
        let (cell, kind) = (self.cell, Cow::Borrowed(F::KIND));
        let walk = Walk { cell, kind, status: Cow::Borrowed(status), after, limit: PAGE };
        let rows = self.store.walk(walk).await.map_err(|error| error.to_string())?;
        let last = rows.len() < PAGE;
        let read = |row: &Record| Ok((row.created, from_record::<F>(row)?));
        let states = rows.iter().map(read).collect::<Result<_, crate::fact::Unfoldable>>();
        Ok(Page { states: states.map_err(|error| error.to_string())?, last })
    }

    /// Those of these runs that are there.
    async fn there(&self, runs: BTreeSet<RunId>) -> Result<BTreeSet<RunId>, String> {
        let ids: Vec<_> = runs.iter().map(ToString::to_string).collect();
        if ids.is_empty() {
            return Ok(runs);
        }
        let rows = self.store.get(self.cell, Run::KIND, &ids).await;
        let rows = rows.map_err(|error| error.to_string())?;
        Ok(rows.iter().filter_map(|row| row.id.parse().ok()).collect())
    }

    async fn delete_tasks(
        &self,
        tasks: Vec<TaskId>,
        closed_before: Option<i64>,
        of_run: Option<&RunId>,
    ) -> Result<u64, String> {
        if tasks.is_empty() {
            return Ok(0);
        }
        // Records from before the last deletion are of no use.
        self.rows_are_here().await?;
        let at = (self.cell, self.store.as_ref(), &self.dispatcher);
        let how = (closed_before, of_run, Cause::system());
        delete_tasks(at, tasks, how, self.within).await.map_err(|error| error.to_string())
    }
}

/// Deletes those of these tasks that are over, and steps of a run where one is named. Answers how many that were. One that
/// changes at this moment stays.
///
/// # Errors
/// When the store or the dispatcher is away; some may be deleted.
pub(crate) async fn delete_tasks(
    (cell, store, dispatcher): (CellId, &dyn Store, &Address<dispatcher::Message>),
    tasks: Vec<TaskId>,
    (closed_before, of_run, by): (Option<i64>, Option<&RunId>, Cause),
    within: Duration,
) -> Result<u64, Error> {
    let mut deleted = 0;
    for tasks in tasks.chunks(PAGE) {
        let ids: Vec<_> = tasks.iter().map(ToString::to_string).collect();
        let read = store.get_with_position(cell, Task::KIND, &ids).await;
        let (as_of, rows) = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        let known = rows.iter().filter_map(|row| from_record::<Task>(row).ok());
        let meant = |task: &Task| {
            let step = task.step.as_ref();
            of_run.is_none_or(|run| step.is_some_and(|step| step.run == *run))
        };
        let subjects: Vec<_> = known
            .filter(|task| task.is_closed() && meant(task))
            .map(|task| {
                let (task, known) = (task.id, Known { task: Box::new(task), as_of });
                Subject { task, known: Some(known) }
            })
            .collect();
        if subjects.is_empty() {
            continue;
        }
        let (remedy, by) = (Remedy::Delete { closed_before }, by.clone());
        let amend = |reply| dispatcher::Message::Amend { subjects, remedy, by, reply };
        let said = dispatcher.call(within, amend).await?;
        deleted += said.iter().filter(|said| matches!(said, Ok(Amended::Done(_)))).count() as u64;
    }
    Ok(deleted)
}
