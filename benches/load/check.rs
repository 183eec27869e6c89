//! Whether what was promised holds: every task that was acknowledged has exactly one result.
//!
//! Looked for twice: in what the clients were answered, and in the journal, read from the store
//! when the server is gone.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use fleetward_actors::id::TaskId;
use fleetward_store::{CellId, ReadLimit, Store, StoredEvent};

use crate::tally::Tally;

/// Events that are read at a time.
const PAGE: ReadLimit = ReadLimit { events: 20_000, bytes: 32 << 20 };
/// The cell of organisations and tokens.
const DIRECTORY: CellId = CellId(0);

/// Results of each task.
#[derive(Default)]
pub(crate) struct Results(HashMap<TaskId, u32>);

/// Fails with what is wrong, and says how many tasks were looked at.
pub(crate) async fn every_task_has_one_result(
    tally: &Tally,
    store: Option<Arc<dyn Store>>,
) -> Result<u64> {
    let (acknowledged, accepted) = tally.ledgers();
    let mut answered = Results::expect(&acknowledged)?;
    accepted.into_iter().try_for_each(|task| answered.add(task))?;
    answered.check("answers to workers")?;
    if let Some(store) = store {
        let mut stored = Results::expect(&acknowledged)?;
        for cell in store.cells().await? {
            if cell.cell != DIRECTORY {
                stored.read(&*store, cell.cell).await?;
            }
        }
        stored.check("the journal")?;
    }
    Ok(acknowledged.len() as u64)
}

impl Results {
    fn expect(tasks: &[TaskId]) -> Result<Self> {
        let results: HashMap<_, _> = tasks.iter().map(|task| (*task, 0)).collect();
        ensure!(results.len() == tasks.len(), "two submits were answered with the same id");
        Ok(Self(results))
    }

    fn add(&mut self, task: TaskId) -> Result<()> {
        match self.0.get_mut(&task) {
            Some(results) => *results += 1,
            None => bail!("task {task} has a result, and its submit was never answered"),
        }
        Ok(())
    }

    async fn read(&mut self, store: &dyn Store, cell: CellId) -> Result<()> {
        let mut after = 0;
        loop {
            let page = store.read(cell, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.seq;
            page.iter().try_for_each(|stored| self.fold(stored))?;
        }
    }

    fn fold(&mut self, stored: &StoredEvent) -> Result<()> {
        let event = &stored.event;
        match (&*event.kind, event.stream.strip_prefix("task/")) {
            ("task.completed", Some(id)) => self.add(id.parse()?),
            ("task.failed", Some(id)) => bail!("task {id} failed"),
            _ => Ok(()),
        }
    }

    fn check(&self, place: &str) -> Result<()> {
        let wrong: Vec<_> = self.0.iter().filter(|(_, results)| **results != 1).collect();
        let Some((task, results)) = wrong.first() else { return Ok(()) };
        bail!(
            "in {place} {} of {} tasks have not exactly one result: {task} has {results}",
            wrong.len(),
            self.0.len()
        )
    }
}
