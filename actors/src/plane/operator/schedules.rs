//! The schedules of an organisation: made, told something else, looked at, paused, run now, deleted.

use bytes::Bytes;
use fleetward_runtime::Reply;
use serde::de::IgnoredAny;

use super::Operator;
use crate::access::Event as Access;
use crate::error::{Error, Refusal};
use crate::fact::Fold;
use crate::fleet::input;
use crate::id::{RunId, ScheduleId};
use crate::plane::Envelope;
use crate::plane::reading::{PAGE_MAX, away, state};
use crate::schedules::schedule::{Occasion, Schedule};
use crate::schedules::scheduler::{Change, Message, Placed, Put, Ran, RunNow};
use crate::schedules::spec::{self, Spec};
use crate::seal::{Purpose, Sealed};
use crate::system::org::Role;
use crate::workflows::expression::meant;
use crate::workflows::run::Run;

/// Ticks to come that are shown of a schedule.
const UPCOMING: usize = 5;
/// How often somebody tries again whose schedule got another id meanwhile.
const TRIES: usize = 3;

/// A schedule as its organisation sees it.
#[derive(Debug, Clone)]
pub struct ScheduleView {
    /// The schedule.
    pub schedule: Schedule,
    /// Its next ticks, and when each fires, in microseconds UTC. None while it is paused.
    pub upcoming: Vec<(i64, i64)>,
    /// Its newest ticks, the newest first, and the status of their runs, where these have begun.
    pub recent: Vec<(Occasion, Option<&'static str>)>,
}

/// Schedules, by name.
#[derive(Debug, Clone)]
pub struct SchedulePage {
    /// The schedules.
    pub schedules: Vec<ScheduleView>,
    /// The name after which the next page begins, if there is one.
    pub next: Option<String>,
}

impl Operator {
    /// Makes a schedule of this name, or tells the one that there is something else. Doing that again changes nothing.
    /// Says whether it is new.
    ///
    /// # Errors
    /// Says what is wrong with it, and what would be right.
    pub async fn put_schedule(
        &self,
        name: &str,
        spec: Spec,
        input: Bytes,
    ) -> Result<(ScheduleView, bool), Error> {
        self.may(Role::Operator)?;
        spec::check_name(name)?;
        json("input", &input, self.plane().shared.config.payload_max)?;
        let spec = self.resolved(spec).await?;
        spec.check(self.plane().shared.clock.wall_us())?;
        let digest = self.known().key.digest(&input);
        for _ in 0..TRIES {
            let known = self.look_schedule(name).await?;
            let id = known.map_or_else(ScheduleId::fresh, |known| known.id);
            let put = Put {
                id,
                name: name.to_owned(),
                spec: Box::new(spec.clone()),
                digest: digest.clone(),
                input: self.seal_schedule_input(id, &input),
            };
            let by = self.by().clone();
            let placed = self.ask_scheduler(input.len(), |reply| Message::Put { put, by, reply });
            match placed.await?? {
                Placed::Created(schedule) => return Ok((self.brief(*schedule), true)),
                Placed::Kept(schedule) => return Ok((self.brief(*schedule), false)),
                Placed::Moved => {}
            }
        }
        Err(Error::Unavailable("the schedule is changing; try again".to_owned()))
    }

    /// Schedules by name, after one, at most so many.
    ///
    /// # Errors
    /// When the organisation's cell does not run.
    pub async fn schedules(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<SchedulePage, Error> {
        let limit = limit.clamp(1, PAGE_MAX);
        let list = |reply| Message::List { after, limit, reply };
        let (schedules, more) = self.ask_scheduler(0, list).await?;
        let next = schedules.last().filter(|_| more).map(|last| last.name.clone());
        let schedules = schedules.into_iter().map(|schedule| self.brief(schedule)).collect();
        Ok(SchedulePage { schedules, next })
    }

    /// One schedule, with what became of its newest ticks.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn schedule(&self, name: &str) -> Result<ScheduleView, Error> {
        let schedule = self.known_schedule(name).await?;
        self.caught_up().await?;
        let ids: Vec<_> = schedule.runs().map(|(_, run)| run.to_string()).collect();
        let rows = self.plane().shared.store.get(self.number(), Run::KIND, &ids).await;
        let rows = rows.map_err(away)?;
        let runs = rows.iter().map(state::<Run>).collect::<Result<Vec<_>, _>>()?;
        let status = |id: &RunId| runs.iter().find(|run| run.id == *id).map(Fold::status);
        let mut view = self.brief(schedule);
        let told = view.schedule.recent.iter().rev();
        view.recent = told.map(|of| (of.clone(), of.run.as_ref().and_then(status))).collect();
        Ok(view)
    }

    /// What runs of a schedule are given.
    ///
    /// # Errors
    /// When there is no such schedule, or it cannot be read.
    pub async fn schedule_input(&self, name: &str) -> Result<Option<Envelope>, Error> {
        let schedule = self.known_schedule(name).await?;
        if self.by().origin().is_some() {
            let schedules = vec![schedule.id];
            let (tasks, runs) = (Vec::new(), Vec::new());
            let read = Access::PayloadRead { tasks, runs, schedules, positions: None };
            self.plane().note(self.number(), read, self.by().clone()).await?;
        }
        let read = self.plane().shared.store.read_at(self.number(), &[schedule.input_at]).await;
        let events = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        let sealed = events.into_iter().next().and_then(|stored| stored.event.sealed);
        let envelope =
            |bytes| Envelope::of_schedule(self.known(), schedule.id, Sealed::from_bytes(bytes));
        Ok(sealed.map(envelope))
    }

    /// Pauses, resumes or deletes a schedule. Its runs go on.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn amend_schedule(&self, name: &str, change: Change) -> Result<ScheduleView, Error> {
        self.may(Role::Operator)?;
        if let Change::Pause { reason: Some(reason) } = &change {
            input::printable("reason", reason, input::REASON_MAX)?;
        }
        let (name, by) = (name.to_owned(), self.by().clone());
        let amend = |reply| Message::Amend { name, change, by, reply };
        let schedule = self.ask_scheduler(0, amend).await??;
        Ok(self.brief(*schedule))
    }

    /// Starts a run of a schedule, whatever time it is, also where it is paused or another run is open: with the input of
    /// the schedule, or with another. Under the same id it starts once.
    ///
    /// # Errors
    /// When there is no such schedule, or its workflow takes no runs.
    pub async fn run_schedule(
        &self,
        name: &str,
        run: Option<RunId>,
        input: Option<Bytes>,
    ) -> Result<Ran, Error> {
        self.may(Role::Operator)?;
        if let Some(input) = &input {
            json("input", input, self.plane().shared.config.payload_max)?;
        }
        let schedule = self.known_schedule(name).await?;
        let id = schedule.id;
        let run = run.unwrap_or_else(|| RunId::fresh(&format!("{name}-now")));
        let bytes = input.as_ref().map_or(0, Bytes::len);
        let input = input.map(|input| self.seal_schedule_input(id, &input));
        let (wanted, by) = (RunNow { id, run, input }, self.by().clone());
        self.ask_scheduler(bytes, |reply| Message::RunNow { wanted, by, reply }).await?
    }

    /// A spec whose workflow is there, and whose version is a whole one.
    async fn resolved(&self, spec: Spec) -> Result<Spec, Error> {
        let shelf = self.cell().await?.workflows.shelf;
        let unknown = |detail| Refusal::invalid("unknown_workflow", detail);
        let Some(known) = shelf.get(&spec.workflow) else {
            let all = shelf.all();
            let names = all.iter().map(|known| known.name.as_str());
            let hint = meant(&spec.workflow, names);
            return Err(unknown(format!("there is no such workflow{hint}")).into());
        };
        if known.retired {
            let detail = "the workflow is retired; apply it again to schedule runs of it";
            return Err(unknown(detail.to_owned()).into());
        }
        let version = match spec.version.as_deref() {
            None => None,
            Some(cut) => Some(super::workflows::whole_version(&known, cut)?),
        };
        Ok(Spec { version, ..spec })
    }

    fn seal_schedule_input(&self, id: ScheduleId, input: &Bytes) -> Sealed {
        self.known().ring.seal(Purpose::ScheduleInput, id.0.as_bytes(), input)
    }

    fn brief(&self, schedule: Schedule) -> ScheduleView {
        let now = self.plane().shared.clock.wall_us();
        let calendar = schedule.spec.calendar(schedule.id).ok();
        let shown = calendar.filter(|_| schedule.paused.is_none() && !schedule.deleted);
        let upcoming = shown.map_or_else(Vec::new, |calendar| {
            // One whose jitter is not over is still to come.
            let ticks = calendar.upcoming(schedule.last, UPCOMING);
            let late = ticks.first().is_some_and(|tick| calendar.fires_at(*tick) <= now);
            let ticks =
                if late { calendar.upcoming(now.max(schedule.last), UPCOMING) } else { ticks };
            ticks.into_iter().map(|tick| (tick, calendar.fires_at(tick))).collect()
        });
        ScheduleView { schedule, upcoming, recent: Vec::new() }
    }

    async fn look_schedule(&self, name: &str) -> Result<Option<Box<Schedule>>, Error> {
        let name = name.to_owned();
        self.ask_scheduler(0, |reply| Message::Look { name, reply }).await
    }

    async fn known_schedule(&self, name: &str) -> Result<Schedule, Error> {
        let found = self.look_schedule(name).await?;
        Ok(*found.ok_or_else(|| Refusal::not_found("schedule"))?)
    }

    async fn ask_scheduler<T: Send + 'static>(
        &self,
        bytes: usize,
        make: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, Error> {
        let cell = self.cell().await?;
        let permit = self.plane().permit(cell.cell, bytes)?;
        let within = self.plane().shared.config.answer_within;
        Ok(cell.workflows.scheduler.call_with_permit(permit, within, make).await?)
    }
}

fn json(field: &str, bytes: &Bytes, most: usize) -> Result<(), Refusal> {
    input::size(field, bytes.len(), most)?;
    serde_json::from_slice::<IgnoredAny>(bytes).map(drop).map_err(|error| {
        Refusal::invalid("invalid_input", format!("the {field} is no JSON: {error}"))
    })
}
