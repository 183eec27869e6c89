//! The definitions of one organisation where everybody of its cell can look: what the catalogue has made durable, and
//! older versions that some run keeps. Changed by effects, read by callers and conductors.

use std::sync::Arc;

use dashmap::DashMap;
use fleetward_store::{CellId, Store};

use super::definition::Definition;
use super::workflow::{Event, Workflow};
use crate::error::Error;
use crate::fact;

/// Most older versions that are kept in memory.
const OLDER_MAX: usize = 1_000;

/// What is on it.
#[derive(Debug, Default)]
pub struct Shelf {
    workflows: DashMap<String, Arc<Workflow>>,
    older: DashMap<(String, String), Arc<Definition>>,
}

impl Shelf {
    /// A workflow, as far as it is durable.
    pub fn get(&self, name: &str) -> Option<Arc<Workflow>> {
        self.workflows.get(name).map(|found| found.clone())
    }

    /// Every workflow, by name.
    pub fn all(&self) -> Vec<Arc<Workflow>> {
        let mut all: Vec<_> = self.workflows.iter().map(|found| found.clone()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    pub(crate) fn set(&self, workflow: Arc<Workflow>) {
        self.workflows.insert(workflow.name.clone(), workflow);
    }

    /// One version of a workflow: from memory, or from the event that brought it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn definition(
        &self,
        store: &dyn Store,
        cell: CellId,
        (name, version): (&str, &str),
    ) -> Result<Option<Arc<Definition>>, Error> {
        let Some(workflow) = self.get(name) else { return Ok(None) };
        if workflow.latest == version {
            return Ok(Some(workflow.definition.clone()));
        }
        let key = (name.to_owned(), version.to_owned());
        if let Some(known) = self.older.get(&key) {
            return Ok(Some(known.clone()));
        }
        let Some(applied) = workflow.versions.get(version) else { return Ok(None) };
        let read = store.read_at(cell, &[applied.seq]).await;
        let read = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        let Some(stored) = read.first() else { return Ok(None) };
        let event = fact::decode::<Workflow>(stored.seq, &stored.event)
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        let Event::Applied { definition, .. } = event else { return Ok(None) };
        if self.older.len() >= OLDER_MAX {
            self.older.clear();
        }
        self.older.insert(key, definition.clone());
        Ok(Some(definition))
    }
}
