//! What an operator does with tasks that are there: cancels them, looks at the dead letters, tries those again or lets
//! them go, and asks why one stands where it stands.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use fleetward_store::{Position, Query, ReadLimit};

use super::{Operator, TaskView, shown};
use crate::error::{Error, Refusal};
use crate::fact::Fold;
use crate::fleet::dispatcher::remedy::{self, Remedy};
use crate::fleet::dispatcher::{self, Amended, Known, Subject};
use crate::fleet::input;
use crate::fleet::task::{Failure, Phase, Task};
use crate::id::TaskId;
use crate::plane::Envelope;
use crate::plane::audit::AuditEntry;
use crate::plane::reading::{PAGE_MAX, away, state};
use crate::seal::Purpose;
use crate::system::org::Role;

/// Most tasks of one call.
pub const AMEND_MAX: usize = 1_000;
/// Most dead letters that one question looks at.
pub const DEAD_SCAN: usize = 10_000;
/// How often a task is looked for that is just changing.
const LOOKS: usize = 3;
/// Most events of the history of one task.
const HISTORY: ReadLimit = ReadLimit { events: 1_000, bytes: 16 << 20 };

/// Which dead letters are meant: those that every part of it fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// With this error group.
    pub group: Option<String>,
    /// Of this pool.
    pub pool: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// For this model, in any spelling.
    pub model: Option<String>,
    /// That failed for this reason.
    pub why: Option<Failure>,
}

/// Dead letters that have their error in common.
#[derive(Debug, Clone)]
pub struct DeadGroup {
    /// What names it.
    pub group: Option<String>,
    /// Why they failed.
    pub why: Failure,
    /// How many.
    pub count: usize,
    /// When the newest failed, in microseconds UTC.
    pub newest_at: i64,
    /// The newest.
    pub sample: TaskView,
}

/// Dead letters by what they have in common.
#[derive(Debug, Clone)]
pub struct DeadGroups {
    /// The largest group first.
    pub groups: Vec<DeadGroup>,
    /// There are more dead letters than were looked at.
    pub more: bool,
}

/// A task and why it stands where it stands.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The task.
    pub task: Task,
    /// In words, the most important first.
    pub reasons: Vec<String>,
}

impl DeadLetters {
    /// Whether it says nothing, and so means all of them.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    fn fits(&self, task: &Task) -> bool {
        let Phase::Failed { why, .. } = task.phase else { return false };
        let wants = &task.wants;
        let is = |asked: &Option<String>, has: Option<&String>| {
            asked.as_ref().is_none_or(|asked| Some(asked) == has)
        };
        is(&self.group, task.error_group.as_ref())
            && is(&self.pool, Some(&wants.pool))
            && is(&self.project, wants.project.as_ref())
            && is(&self.model, wants.model.as_ref())
            && self.why.is_none_or(|asked| asked == why)
    }
}

impl Operator {
    /// Does the same with many tasks, in one commit. Each has an answer of its own, in their order.
    ///
    /// # Errors
    /// When nothing was done: there are too many, or there is no room for them.
    pub async fn amend(
        &self,
        tasks: &[TaskId],
        remedy: Remedy,
    ) -> Result<Vec<Result<Task, Error>>, Error> {
        self.may(Role::Operator)?;
        self.amend_as(tasks, remedy).await
    }

    /// The same for whoever may do that.
    pub(super) async fn amend_as(
        &self,
        tasks: &[TaskId],
        remedy: Remedy,
    ) -> Result<Vec<Result<Task, Error>>, Error> {
        input::at_most("tasks", tasks.len(), AMEND_MAX)?;
        if let Remedy::Cancel { reason: Some(reason) } | Remedy::Discard { reason: Some(reason) } =
            &remedy
        {
            input::printable("reason", reason, input::REASON_MAX)?;
        }
        let mut answers: Vec<Option<Result<Task, Error>>> = tasks.iter().map(|_| None).collect();
        let mut open: Vec<(usize, Subject)> = tasks
            .iter()
            .enumerate()
            .map(|(place, task)| (place, Subject { task: *task, known: None }))
            .collect();
        // Once for what is in memory, and again with what the records say of the others.
        for _ in 0..=LOOKS {
            if open.is_empty() {
                break;
            }
            let absent = self.send_remedy(open, &remedy, &mut answers).await?;
            open = self.look_up(absent, &remedy, &mut answers).await?;
        }
        let changing = || Err(Error::Unavailable("the task is changing; try again".to_owned()));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(changing)).collect())
    }

    /// Answers those that are not in memory.
    async fn send_remedy(
        &self,
        open: Vec<(usize, Subject)>,
        remedy: &Remedy,
        answers: &mut [Option<Result<Task, Error>>],
    ) -> Result<Vec<(usize, TaskId)>, Error> {
        let cell = self.cell().await?;
        let (places, subjects): (Vec<_>, Vec<_>) = open.into_iter().unzip();
        let ids: Vec<_> = subjects.iter().map(|subject| subject.task).collect();
        let permit = self.plane.permit(cell.cell, 0)?;
        let within = self.plane.shared.config.answer_within;
        let (by, remedy) = (self.by.clone(), remedy.clone());
        let amend = |reply| dispatcher::Message::Amend { subjects, remedy, by, reply };
        let said = cell.dispatcher.call_with_permit(permit, within, amend).await?;
        let mut absent = Vec::new();
        for ((place, id), said) in places.into_iter().zip(ids).zip(said) {
            match said {
                Ok(Amended::Done(task)) => answers[place] = Some(Ok(*task)),
                Ok(Amended::NotHere | Amended::LookAgain) => absent.push((place, id)),
                Err(error) => answers[place] = Some(Err(error)),
            }
        }
        Ok(absent)
    }

    /// What the records say: where that is an answer, it is given; the others go to the dispatcher with it.
    async fn look_up(
        &self,
        absent: Vec<(usize, TaskId)>,
        remedy: &Remedy,
        answers: &mut [Option<Result<Task, Error>>],
    ) -> Result<Vec<(usize, Subject)>, Error> {
        if absent.is_empty() {
            return Ok(Vec::new());
        }
        self.caught_up().await?;
        let ids: Vec<_> = absent.iter().map(|(_, id)| id.to_string()).collect();
        let store = &self.plane.shared.store;
        let (as_of, rows) =
            store.get_with_position(self.number(), Task::KIND, &ids).await.map_err(away)?;
        let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        let mut open = Vec::new();
        for (place, id) in absent {
            let Some(row) = rows.remove(&id.to_string()) else {
                answers[place] = Some(Err(Refusal::not_found("task").into()));
                continue;
            };
            let task = state::<Task>(&row)?;
            match remedy::decide(&task, remedy.clone()) {
                // It is open in its record: it has just come back, or its cell is starting.
                _ if !task.is_closed() => open.push((place, Subject { task: id, known: None })),
                Ok(Some(_)) => {
                    let known = Some(Known { task: Box::new(task), as_of });
                    open.push((place, Subject { task: id, known }));
                }
                Ok(None) => answers[place] = Some(Ok(task)),
                Err(refusal) => answers[place] = Some(Err(refusal.into())),
            }
        }
        Ok(open)
    }

    /// Dead letters, newest task first. `before` is the `submitted` position of the last one of the page before.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn dead_letters(
        &self,
        which: &DeadLetters,
        before: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<TaskView>, bool), Error> {
        let (mut found, which) = (Vec::new(), self.read_names(which).await?);
        let more = self
            .scan_dead(before, |view| {
                if which.fits(&view.task) {
                    found.push(view);
                }
                found.len() < limit
            })
            .await?;
        self.note_reads(shown(&found)).await?;
        Ok((found, more))
    }

    /// Dead letters by what their errors have in common, the largest group first.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn dead_groups(&self, which: &DeadLetters) -> Result<DeadGroups, Error> {
        let mut groups: BTreeMap<(Option<String>, &'static str), DeadGroup> = BTreeMap::new();
        let which = self.read_names(which).await?;
        let more = self
            .scan_dead(None, |view| {
                let Phase::Failed { at, why } = view.task.phase else { return true };
                if which.fits(&view.task) {
                    let group = view.task.error_group.clone();
                    let of = groups.entry((group.clone(), why.as_str())).or_insert_with(|| {
                        DeadGroup { group, why, count: 0, newest_at: at, sample: view.clone() }
                    });
                    of.count += 1;
                    if at > of.newest_at {
                        (of.newest_at, of.sample) = (at, view);
                    }
                }
                true
            })
            .await?;
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse((group.count, group.newest_at)));
        let samples = groups.iter().filter(|group| group.sample.result.is_some());
        let samples: Vec<_> = samples.map(|group| group.sample.task.id).collect();
        self.note_reads(samples).await?;
        Ok(DeadGroups { groups, more })
    }

    async fn read_names(&self, which: &DeadLetters) -> Result<DeadLetters, Error> {
        let models = self.cell().await?.models;
        let model = which.model.as_deref().map(|name| models.canonical(name));
        Ok(DeadLetters { model, ..which.clone() })
    }

    /// Shows dead letters to `take`, newest first, until it has enough. Says whether there may be more.
    async fn scan_dead(
        &self,
        mut before: Option<Position>,
        mut take: impl FnMut(TaskView) -> bool,
    ) -> Result<bool, Error> {
        self.caught_up().await?;
        let mut seen = 0;
        while seen < DEAD_SCAN {
            let query = Query {
                cell: self.number(),
                kind: Cow::Borrowed(Task::KIND),
                status: Some("failed".to_owned()),
                before,
                limit: PAGE_MAX,
            };
            let rows = self.plane.rows(query).await?;
            let Some(last) = rows.last() else { return Ok(false) };
            before = Some(last.created);
            seen += rows.len();
            for row in &rows {
                if !take(self.view(row)?) {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// Why a task stands where it stands.
    ///
    /// # Errors
    /// When this organisation has no such task.
    pub async fn explain(&self, id: TaskId) -> Result<Explanation, Error> {
        let cell = self.cell().await?;
        let permit = self.plane.permit(cell.cell, 0)?;
        let within = self.plane.shared.config.answer_within;
        let ask = |reply| dispatcher::Message::Explain { task: id, reply };
        if let Some((task, reasons)) = cell.dispatcher.call_with_permit(permit, within, ask).await?
        {
            return Ok(Explanation { task, reasons });
        }
        let task = self.look(id).await?.task;
        let reasons = dispatcher::why::closed(&task);
        Ok(Explanation { task, reasons })
    }

    /// Everything that happened to a task, oldest first.
    ///
    /// # Errors
    /// When this organisation has no such task.
    pub async fn history(&self, id: TaskId) -> Result<Vec<AuditEntry>, Error> {
        let task = self.look(id).await?.task;
        let stream = format!("{}/{id}", Task::KIND);
        let from = task.submitted.saturating_sub(1);
        let store = &self.plane.shared.store;
        let events = store
            .read_stream(self.number(), &stream, from, HISTORY)
            .await
            .map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        Ok(events.iter().map(AuditEntry::from).collect())
    }

    /// What a worker last said of how far a task is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn progress(&self, task: &Task) -> Result<Option<Envelope>, Error> {
        match &task.progress {
            Some(progress) => self.sealed_at(progress.seq, task.id, Purpose::Progress).await,
            None => Ok(None),
        }
    }
}
