//! Everything that happened to a run and to its tasks.

use std::collections::BTreeMap;

use fleetward_store::{ReadLimit, StoredEvent};
use serde_json::Value;

use crate::error::Error;
use crate::fact::Fold;
use crate::fleet::task::Task;
use crate::id::{RunId, TaskId};
use crate::plane::audit::AuditEntry;
use crate::plane::operator::Operator;
use crate::workflows::run::{Key, Run};

/// Most events of the timeline of one run, and of each of its tasks.
const TIMELINE: ReadLimit = ReadLimit { events: 20_000, bytes: 32 << 20 };

/// One line of a run's timeline.
#[derive(Debug, Clone)]
pub struct TimelineEntry {
    /// What happened.
    pub entry: AuditEntry,
    /// To which node, if it is of one.
    pub key: Option<Key>,
}

impl Operator {
    /// Everything that happened to a run and to its tasks, in order.
    ///
    /// # Errors
    /// When this organisation has no such run.
    pub async fn timeline(&self, id: &RunId) -> Result<(Run, Vec<TimelineEntry>), Error> {
        let run = self.run_state(id).await?;
        let store = &self.plane.shared.store;
        let from = run.started.saturating_sub(1);
        let away = |error| Error::Unavailable(format!("store: {error}"));
        let stream = format!("{}/{id}", Run::KIND);
        let read = store.read_stream(self.number(), &stream, from, TIMELINE).await;
        let mut entries: Vec<_> = read.map_err(away)?.iter().map(of_run).collect();
        let tasks = tasks_of(&entries);
        for (task, key) in tasks {
            let stream = format!("{}/{task}", Task::KIND);
            let read = store.read_stream(self.number(), &stream, from, TIMELINE).await;
            let of_task =
                |stored| TimelineEntry { entry: AuditEntry::from(stored), key: Some(key.clone()) };
            entries.extend(read.map_err(away)?.iter().map(of_task));
        }
        entries.sort_by_key(|line| line.entry.seq);
        Ok((run, entries))
    }
}

fn of_run(stored: &StoredEvent) -> TimelineEntry {
    let entry = AuditEntry::from(stored);
    let key = entry.body.get("key").and_then(Value::as_str).map(Key::from);
    TimelineEntry { entry, key }
}

/// The tasks that a run's own events name, with their steps.
fn tasks_of(entries: &[TimelineEntry]) -> BTreeMap<TaskId, Key> {
    let scheduled = entries.iter().filter(|line| line.entry.kind == "run.scheduled");
    let steps = scheduled.filter_map(|line| line.entry.body.get("steps")?.as_array()).flatten();
    let named = steps.filter_map(|step| {
        let task = step.get("task")?.as_str()?.parse().ok()?;
        Some((task, Key::from(step.get("key")?.as_str()?)))
    });
    named.collect()
}
