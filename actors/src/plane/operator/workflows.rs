//! The workflows of an organisation: applied, looked at, retired.

use std::collections::HashSet;
use std::sync::Arc;

use fleetward_runtime::Reply;

use super::Operator;
use crate::error::{Error, Refusal};
use crate::fleet::worker::Worker;
use crate::plane::reading::{PAGE_MAX, state};
use crate::system::org::Role;
use crate::workflows::catalogue::Message;
use crate::workflows::definition::Definition;
use crate::workflows::definition::document::Document;
use crate::workflows::definition::lint::{Lint, Workers};
use crate::workflows::workflow::Workflow;

/// Most workers that a definition is held against.
const WORKERS_MAX: u64 = 20_000;

impl Operator {
    /// Makes this definition what new runs of its workflow get. Runs that exist keep theirs. Applying the same again changes
    /// nothing.
    ///
    /// # Errors
    /// When it makes no sense.
    pub async fn apply_workflow(&self, definition: Definition) -> Result<Arc<Workflow>, Error> {
        self.apply_version(definition, false).await
    }

    /// The same; or `aside`: for runs that name this version, and what others get stays what it was.
    pub(super) async fn apply_version(
        &self,
        definition: Definition,
        aside: bool,
    ) -> Result<Arc<Workflow>, Error> {
        self.may(Role::Operator)?;
        definition.check().map_err(|wrong| {
            let said: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            Refusal::invalid("invalid_workflow", said.join("; "))
        })?;
        let (version, by) = (definition.version(), self.by().clone());
        let bytes = serde_json::to_vec(&definition).map_or(0, |json| json.len());
        let definition = Arc::new(definition);
        let apply = |reply| Message::Apply { definition, version, aside, by, reply };
        self.ask_catalogue(bytes, apply).await?
    }

    /// Nobody may start runs of it any more. Runs that exist go on.
    ///
    /// # Errors
    /// When there is no such workflow.
    pub async fn retire_workflow(&self, name: &str) -> Result<Arc<Workflow>, Error> {
        self.may(Role::Operator)?;
        let (name, by) = (name.to_owned(), self.by().clone());
        self.ask_catalogue(0, |reply| Message::Retire { name, by, reply }).await?
    }

    /// Every workflow, by name.
    ///
    /// # Errors
    /// When the organisation's cell does not run.
    pub async fn workflows(&self) -> Result<Vec<Arc<Workflow>>, Error> {
        Ok(self.cell().await?.workflows.shelf.all())
    }

    /// One workflow.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn workflow(&self, name: &str) -> Result<Arc<Workflow>, Error> {
        let found = self.cell().await?.workflows.shelf.get(name);
        Ok(found.ok_or_else(|| Refusal::not_found("workflow"))?)
    }

    /// What one version of a workflow says; the newest without one. A version may be cut to its first characters.
    ///
    /// # Errors
    /// When there is none.
    pub async fn workflow_version(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<(String, Arc<Definition>), Error> {
        let cell = self.cell().await?;
        let known = cell.workflows.shelf.get(name).ok_or_else(|| Refusal::not_found("workflow"))?;
        let version = match version {
            None => known.latest.clone(),
            Some(cut) => whole_version(&known, cut)?,
        };
        let store = self.plane.shared.store.as_ref();
        let found = cell.workflows.shelf.definition(store, cell.cell, (name, &version)).await?;
        let found = found.ok_or_else(|| Refusal::not_found("workflow"))?;
        Ok((version, found))
    }

    /// What is unwise in a document, and which of its steps no worker that may work could run; and how many such workers
    /// there are. Nothing is applied.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn lint_workflow(&self, document: &Document) -> Result<(Vec<Lint>, u64), Error> {
        let (mut before, mut count, mut offers) = (None, 0, HashSet::new());
        while count < WORKERS_MAX {
            let rows = self.list::<Worker>(Some("approved"), before, PAGE_MAX).await?;
            let Some(last) = rows.last() else { break };
            before = Some(last.created);
            for row in &rows {
                offers.insert(state::<Worker>(row)?.profile);
            }
            count += rows.len() as u64;
        }
        let names = self.cell().await?.models.now();
        let workers = Workers { offers: offers.iter().collect(), names: &names };
        Ok((document.lint(Some(&workers)), count))
    }

    async fn ask_catalogue<T: Send + 'static>(
        &self,
        bytes: usize,
        make: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, Error> {
        let cell = self.cell().await?;
        let permit = self.plane.permit(cell.cell, bytes)?;
        let within = self.plane.shared.config.answer_within;
        Ok(cell.workflows.catalogue.call_with_permit(permit, within, make).await?)
    }
}

pub(super) fn whole_version(known: &Workflow, cut: &str) -> Result<String, Refusal> {
    let mut fits = known.versions.keys().filter(|version| version.starts_with(cut));
    match (fits.next(), fits.next()) {
        (Some(version), None) => Ok(version.clone()),
        (Some(_), Some(_)) => {
            let detail = "several versions begin so; name more of it";
            Err(Refusal::invalid("ambiguous_version", detail))
        }
        (None, _) => Err(Refusal::not_found("version of this workflow")),
    }
}
