//! What a scheduler does beside itself: starts runs, cancels them, looks whether they are open or ever began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::Reply;
use fleetward_store::{CellId, Position, Store};
use serde_json::Value;

use crate::cause::Cause;
use crate::error::{Error, Refusal};
use crate::fact::{self, Fold};
use crate::id::{RunId, ScheduleId};
use crate::journal::Positions;
use crate::schedules::schedule::StartedFor;
use crate::seal::{Purpose, Sealed};
use crate::system::principals::{KnownOrg, Principals};
use crate::workflows::conductor::{Begun, Message, NewRun, Remedy, Runs};
use crate::workflows::run::Run;
use crate::workflows::shelf::Shelf;

/// Rows in one look.
const PAGE: usize = 500;

/// Where runs are started.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) cell: CellId,
    pub(super) runs: Runs,
    pub(super) shelf: Arc<Shelf>,
    pub(super) principals: Arc<Principals>,
    pub(super) store: Arc<dyn Store>,
    pub(super) positions: Arc<Positions>,
    pub(super) within: Duration,
}

/// A run that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) run: RunId,
    pub(super) workflow: String,
    pub(super) version: String,
    /// Position of the event that the input is sealed beside.
    pub(super) input_at: Position,
    pub(super) started_for: StartedFor,
    /// Runs that are cancelled first.
    pub(super) cancel: Vec<RunId>,
}

impl Ground {
    /// Starts a run, or finds that it was started. Harmless twice.
    pub(super) async fn start(self, order: Order) -> Result<Begun, Error> {
        let away = |what: &str| Error::Unavailable(what.to_owned());
        let known = self.principals.org_of(self.cell).ok_or_else(|| away("no organisation"))?;
        let by = Cause::of(format!("schedule:{}", order.started_for.name));
        for run in order.cancel {
            self.cancel(run, by.clone()).await?;
        }
        let named = (order.workflow.as_str(), order.version.as_str());
        let definition = self.shelf.definition(self.store.as_ref(), self.cell, named).await?;
        let definition = definition.ok_or_else(|| {
            let detail = format!("there is no version {} of {}", order.version, order.workflow);
            Refusal::invalid("no_such_version", detail)
        })?;
        let schedule = order.started_for.schedule;
        let input = self.input(&known, schedule, order.input_at).await?;
        let value: Value = serde_json::from_slice(&input).map_err(|error| {
            Refusal::invalid("invalid_input", format!("the input is no JSON: {error}"))
        })?;
        let tick = order.started_for.tick.to_be_bytes();
        let request = known.key.mac("scheduled run", &[schedule.0.as_bytes(), &tick]);
        let new = Box::new(NewRun {
            id: order.run.clone(),
            version: order.version,
            definition,
            request: hex::encode(request),
            input: known.ring.seal(Purpose::RunInput, order.run.as_str().as_bytes(), &input),
            digest: known.key.digest(&input),
            value: Arc::new(value),
            parent: None,
            inherited: None,
            awaited: false,
            schedule: Some(Box::new(order.started_for)),
        });
        let conductor = self.runs.get_or_start(order.run).await;
        let conductor = conductor.map_err(|error| away(&error.to_string()))?;
        let (reply, answered) = Reply::channel();
        conductor
            .send(Message::Start { new, by, reply })
            .map_err(|_| away("the conductor is between two lives"))?;
        answered.await.map_err(|_| away("the conductor is gone"))?
    }

    /// What runs of a schedule are given.
    async fn input(
        &self,
        known: &KnownOrg,
        schedule: ScheduleId,
        at: Position,
    ) -> Result<bytes::Bytes, Error> {
        // What was decided a moment ago may not be durable yet.
        while self.positions.committed() < at {
            let _ = self.positions.beyond(self.positions.committed()).await;
        }
        let read = self.store.read_at(self.cell, &[at]).await;
        let read = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        let sealed = read.into_iter().next().and_then(|stored| stored.event.sealed);
        let lost = |why: &str| Refusal::invalid("input_lost", format!("the input {why}"));
        let sealed = sealed.ok_or_else(|| lost("is gone; give the schedule another"))?;
        let bound = schedule.0.as_bytes().as_slice();
        let opened = known.ring.open(Purpose::ScheduleInput, bound, &Sealed::from_bytes(sealed));
        Ok(opened.map_err(|error| lost(&format!("does not open: {error}")))?)
    }

    /// Ends a run. One that has ended is none of its business.
    async fn cancel(&self, run: RunId, by: Cause) -> Result<(), Error> {
        let conductor = self.runs.get_or_start(run).await;
        let conductor = conductor.map_err(|error| Error::Unavailable(error.to_string()))?;
        let reason = Some("the next run of its schedule takes its place".to_owned());
        let remedy = Remedy::Cancel { reason };
        let (reply, answered) = Reply::channel();
        let amend = Message::Amend { remedy, by, reply };
        let away = || Error::Unavailable("the conductor is away".to_owned());
        conductor.send(amend).map_err(|_| away())?;
        match answered.await {
            Ok(Ok(_) | Err(Error::Refused(_))) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(away()),
        }
    }

    /// Those of these runs that are open.
    pub(super) async fn open(self, asked: Vec<RunId>) -> Result<Vec<RunId>, String> {
        let (mut open, mut absent) = (Vec::new(), Vec::new());
        for run in asked {
            let Some(conductor) = self.runs.get(&run) else {
                absent.push(run);
                continue;
            };
            let look = |reply| Message::Look { reply };
            match conductor.call(self.within, look).await {
                Ok(Some(known)) if known.is_closed() => {}
                Ok(Some(_)) => open.push(run),
                Ok(None) | Err(_) => absent.push(run),
            }
        }
        let rows = self.rows(&absent).await?;
        let is_open = |run: &RunId| rows.get(run).copied().unwrap_or(false);
        open.extend(absent.into_iter().filter(is_open));
        Ok(open)
    }

    /// Those of these runs that began, as far as the rows tell.
    pub(super) async fn begun(self, wanted: Vec<RunId>) -> Result<BTreeSet<RunId>, String> {
        Ok(self.rows(&wanted).await?.into_keys().collect())
    }

    /// Runs that have a row, and whether they are open.
    async fn rows(&self, runs: &[RunId]) -> Result<BTreeMap<RunId, bool>, String> {
        let mut found = BTreeMap::new();
        for page in runs.chunks(PAGE) {
            let ids: Vec<_> = page.iter().map(ToString::to_string).collect();
            let rows = self.store.get(self.cell, Run::KIND, &ids).await;
            for row in rows.map_err(|error| error.to_string())? {
                let run = fact::from_record::<Run>(&row).map_err(|error| error.to_string())?;
                found.insert(run.id.clone(), !run.is_closed());
            }
        }
        Ok(found)
    }
}
