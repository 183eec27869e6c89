//! A run replayed from the journal: what its events come to, and where they part from a definition. Nothing is written
//! but that it was read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleetward_store::{Position, ReadLimit, StoredEvent};
use serde_json::Value;

use crate::error::{Error, Refusal};
use crate::fact::{self, Fold};
use crate::fleet::task::{Event as TaskEvent, Task};
use crate::id::{RunId, TaskId};
use crate::plane::operator::Operator;
use crate::plane::reading::{away, state};
use crate::workflows::conductor::{read_values, value_of};
use crate::workflows::definition::Definition;
use crate::workflows::plan::{self, Values};
use crate::workflows::replay::{Divergence, Fact, Recorded, Replay, Want, Wanted};
use crate::workflows::run::{Event, Outcome, Place, Run, Wait};

/// Most of a history that is read at once.
const PAGE: ReadLimit = ReadLimit { events: 1_000, bytes: 8 << 20 };
/// Most bytes of payloads that are read at once, to learn what tasks were given.
const PAYLOAD_BYTES: u64 = 16 << 20;
/// Most tasks or runs that are looked up at once.
const LOOK_UP: usize = 500;
/// Bytes of values that are kept beyond what a plan needs.
const VALUE_BYTES: usize = 16 << 20;
/// Bytes of values that are shown.
const SHOWN_BYTES: usize = 1 << 20;
/// Values that are read at once to be shown.
const SHOWN_AT_ONCE: usize = 8;
/// How often, and how long each time, it is waited for what an open run is about to do.
const ABOUT_TO: (u32, Duration) = (5, Duration::from_secs(1));
/// After so many events others have a turn.
const TURN: usize = 64;

/// What the history of a run is held against.
#[derive(Debug, Clone, Default)]
pub enum Against {
    /// The version that it keeps.
    #[default]
    Kept,
    /// The version that new runs get.
    Latest,
    /// A version, or its first characters.
    Version(String),
    /// A definition of the same workflow that may be applied nowhere.
    Definition(Box<Definition>),
}

/// A run as its history says.
pub struct Replayed {
    /// The run at that point.
    pub run: Run,
    /// The version that it was held against.
    pub version: String,
    /// How many events were taken.
    pub events: u64,
    /// What the definition asks for next.
    pub next: Vec<Want>,
    /// Where they part, in order; empty: they do not.
    pub diverged: Vec<Divergence>,
    /// They part in more places.
    pub more: bool,
    /// Why not all of it was compared, if so.
    pub incomplete: Option<String>,
    /// What is there to be used by nodes that come: the input and the outputs of nodes, by name.
    pub values: Vec<ReplayedValue>,
}

/// A value of a run.
pub struct ReplayedValue {
    /// `input`, or the key of a node.
    pub name: String,
    /// Position of the event that it is sealed beside.
    pub at: Position,
    /// The value; none: it is gone, or there is too much of it to be shown.
    pub value: Option<Arc<Value>>,
}

impl Replayed {
    /// Whether all of it was compared, and nothing parts.
    pub fn fits(&self) -> bool {
        self.diverged.is_empty() && self.incomplete.is_none()
    }
}

impl Operator {
    /// Replays a run from the journal alone, to its end or to an event: as it was then, and where its history parts from
    /// what a definition asks for. Changes nothing; that its contents were read is on the record.
    ///
    /// # Errors
    /// When there is no such run or version, or the run had not begun at that event.
    pub async fn replay_run(
        &self,
        id: &RunId,
        against: Against,
        to: Option<Position>,
    ) -> Result<Replayed, Error> {
        let known = self.run_state(id).await?;
        if to.is_some_and(|to| to < known.started) {
            let detail = format!("the run begins with event {}", known.started);
            return Err(Refusal::invalid("before_its_start", detail).into());
        }
        let (version, definition) = self.held_against(&known, &against).await?;
        self.note_run_reads(vec![id.clone()]).await?;
        let replay = Replay::new(&definition, &self.known.key);
        let mut replaying = Replaying {
            operator: self,
            replay,
            values: Values::new(),
            bytes: 0,
            from: known.started.saturating_sub(1),
            events: 0,
        };
        let own = version == known.version;
        replaying.read(id, to, u64::from(known.events)).await?;
        let mut wanted = replaying.wants().await?;
        if to.is_none_or(|to| to >= known.updated) {
            if own {
                wanted = replaying.let_it_do(id, to, wanted).await?;
            }
            replaying.replay.end(&wanted);
        }
        replaying.told(version, &wanted).await
    }

    async fn held_against(
        &self,
        run: &Run,
        against: &Against,
    ) -> Result<(String, Arc<Definition>), Error> {
        let version = match against {
            Against::Kept => Some(run.version.as_str()),
            Against::Latest => None,
            Against::Version(version) => Some(version.as_str()),
            Against::Definition(definition) => {
                if definition.name != run.workflow {
                    let (its, other) = (&run.workflow, &definition.name);
                    let detail =
                        format!("the run is of {its}, and this is a definition of {other}");
                    return Err(Refusal::invalid("another_workflow", detail).into());
                }
                return Ok((definition.version(), Arc::new((**definition).clone())));
            }
        };
        self.workflow_version(&run.workflow, version).await
    }
}

/// A replay that is under way.
struct Replaying<'a> {
    operator: &'a Operator,
    replay: Replay<'a>,
    values: Values,
    bytes: usize,
    /// The last event that was read.
    from: Position,
    events: u64,
}

impl Replaying<'_> {
    /// Reads and takes events, up to `to`, until there are so many.
    async fn read(&mut self, id: &RunId, to: Option<Position>, events: u64) -> Result<(), Error> {
        let stream = format!("{}/{id}", Run::KIND);
        let store = self.operator.plane.shared.store.clone();
        while self.events < events {
            // The last event is known: nothing behind it is looked through.
            let left = usize::try_from(events - self.events).unwrap_or(usize::MAX);
            let limit = ReadLimit { events: PAGE.events.min(left), ..PAGE };
            let cell = self.operator.number();
            let read = store.read_stream(cell, &stream, self.from, limit).await;
            let mut read = read.map_err(|error| Error::Unavailable(format!("store: {error}")))?;
            read.retain(|stored| to.is_none_or(|to| stored.seq <= to));
            let Some(last) = read.last() else { return Ok(()) };
            self.from = last.seq;
            self.events += read.len() as u64;
            let Some(facts) = self.facts(&read) else { return Ok(()) };
            let recorded = self.recorded(&facts).await?;
            self.replay.know(recorded);
            for (count, fact) in facts.iter().enumerate() {
                self.take(fact).await?;
                if count % TURN == TURN - 1 {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    /// The events, as far as they can be read.
    fn facts(&mut self, read: &[StoredEvent]) -> Option<Vec<Fact>> {
        let mut facts = Vec::with_capacity(read.len());
        for stored in read {
            let (seq, event) = (stored.seq, &stored.event);
            match fact::decode::<Run>(seq, event) {
                Ok(fact) => {
                    let by = event.by.to_string();
                    facts.push(Fact { seq, at: event.at, by, event: fact });
                }
                Err(error) => {
                    self.replay.unreadable(seq, &event.kind, error.reason);
                    return None;
                }
            }
        }
        Some(facts)
    }

    async fn take(&mut self, fact: &Fact) -> Result<(), Error> {
        while let Err(missing) = self.replay.take(fact, &self.values) {
            self.load(missing, true).await?;
        }
        if self.bytes > VALUE_BYTES {
            self.values.clear();
            self.bytes = 0;
        }
        Ok(())
    }

    async fn wants(&mut self) -> Result<Wanted, Error> {
        loop {
            match self.replay.wants(&self.values) {
                Ok(wanted) => return Ok(wanted),
                Err(missing) => self.load(missing, true).await?,
            }
        }
    }

    /// An open run may just be reading what it needs for what it is about to do.
    async fn let_it_do(
        &mut self,
        id: &RunId,
        to: Option<Position>,
        mut wanted: Wanted,
    ) -> Result<Wanted, Error> {
        for _ in 0..ABOUT_TO.0 {
            let Some(last) = self.replay.run().map(|run| run.updated) else { break };
            if wanted.is_empty() || to.is_some_and(|to| to > last) {
                break;
            }
            let now = self.operator.run_past(id, last, ABOUT_TO.1).await?.run;
            if now.updated == last {
                break;
            }
            self.read(id, to, u64::from(now.events)).await?;
            wanted = self.wants().await?;
        }
        Ok(wanted)
    }

    /// Opens values; where they are `needed` to compare, one that is gone ends that.
    async fn load(&mut self, missing: BTreeSet<Place>, needed: bool) -> Result<(), Error> {
        let operator = self.operator;
        let store = operator.plane.shared.store.as_ref();
        let read = read_values(store, operator.number(), &operator.known, missing).await;
        for (place, opened) in
            read.map_err(|error| Error::Unavailable(format!("store: {error}")))?
        {
            let is_text = plan::is_text(&place);
            let value = match opened {
                Ok(bytes) => {
                    self.bytes += bytes.len();
                    value_of(&bytes, is_text)
                }
                // As its conductor does: a text that is gone holds nothing up.
                Err(_) if is_text => Arc::default(),
                Err(why) if needed => {
                    self.replay.lose(format!("the value beside event {} {why}", place.at));
                    Arc::default()
                }
                Err(_) => Arc::default(),
            };
            self.values.insert(place.at, value);
        }
        Ok(())
    }

    /// What the record says of the tasks and children that these events speak of.
    async fn recorded(&self, facts: &[Fact]) -> Result<Recorded, Error> {
        let mut recorded = Recorded::default();
        let scheduled = facts.iter().filter_map(|fact| match &fact.event {
            Event::Scheduled { steps } => Some(steps.iter().map(|step| step.task)),
            _ => None,
        });
        let tasks: Vec<TaskId> = scheduled.flatten().collect();
        for tasks in tasks.chunks(LOOK_UP) {
            let ids = tasks.iter().map(ToString::to_string).collect();
            let rows: Vec<Task> = self.rows(ids).await?;
            // So many at once as their payloads allow.
            let (mut bytes, mut at) = (0, Vec::new());
            for task in rows {
                at.push(task.submitted);
                bytes += task.payload_bytes;
                if bytes >= PAYLOAD_BYTES {
                    self.tasks(&at, &mut recorded).await?;
                    (bytes, at) = (0, Vec::new());
                }
            }
            self.tasks(&at, &mut recorded).await?;
        }
        let begun = facts.iter().filter_map(|fact| match &fact.event {
            Event::Waiting { wait: Wait::Child { run, .. }, .. } => Some(run.to_string()),
            _ => None,
        });
        let children: Vec<_> = begun.collect();
        for children in children.chunks(SHOWN_AT_ONCE) {
            let rows: Vec<Run> = self.rows(children.to_vec()).await?;
            let at: Vec<_> = rows.iter().map(|run| run.started).collect();
            for stored in self.at(&at).await? {
                if let Ok(Event::Started { run, workflow, digest, .. }) =
                    fact::decode::<Run>(stored.seq, &stored.event)
                {
                    recorded.children.insert(run, (workflow, digest));
                }
            }
        }
        Ok(recorded)
    }

    async fn tasks(&self, at: &[Position], recorded: &mut Recorded) -> Result<(), Error> {
        for stored in self.at(at).await? {
            if let Ok(TaskEvent::Submitted { task, wants, digest, .. }) =
                fact::decode::<Task>(stored.seq, &stored.event)
            {
                recorded.tasks.insert(task, (wants.handler.clone(), digest));
            }
        }
        Ok(())
    }

    async fn at(&self, at: &[Position]) -> Result<Vec<StoredEvent>, Error> {
        let operator = self.operator;
        let read = operator.plane.shared.store.read_at(operator.number(), at).await;
        read.map_err(|error| Error::Unavailable(format!("store: {error}")))
    }

    async fn rows<F: Fold>(&self, ids: Vec<String>) -> Result<Vec<F>, Error> {
        let operator = self.operator;
        operator.caught_up().await?;
        let store = &operator.plane.shared.store;
        let rows = store.get(operator.number(), F::KIND, &ids).await.map_err(away)?;
        rows.iter().map(state).collect()
    }

    async fn told(mut self, version: String, wanted: &Wanted) -> Result<Replayed, Error> {
        let run = self.replay.run().cloned();
        let run = run.ok_or_else(|| {
            let detail = "the journal has no beginning of this run any more";
            Refusal::new(crate::Kind::Conflict, "history_gone", detail)
        })?;
        let values = self.shown(&run).await?;
        let (diverged, more) = self.replay.diverged();
        Ok(Replayed {
            version,
            events: self.events,
            next: wanted.list(),
            diverged: diverged.to_vec(),
            more,
            incomplete: self.replay.lost().map(str::to_owned),
            values,
            run,
        })
    }

    /// The values that nodes to come can be given, as far as they are to be shown.
    async fn shown(&mut self, run: &Run) -> Result<Vec<ReplayedValue>, Error> {
        let outputs = run.done.iter().filter_map(|(key, done)| match &done.outcome {
            Outcome::Completed { output: Some(place) } => Some((key.to_string(), place.clone())),
            _ => None,
        });
        let all: Vec<_> =
            std::iter::once(("input".to_owned(), run.input.clone())).chain(outputs).collect();
        let (mut shown, mut bytes) = (Vec::with_capacity(all.len()), 0);
        for some in all.chunks(SHOWN_AT_ONCE) {
            let absent = |place: &&Place| !self.values.contains_key(&place.at);
            let missing = some.iter().map(|(_, place)| place).filter(absent).cloned().collect();
            if bytes < SHOWN_BYTES {
                self.load(missing, false).await?;
            }
            for (name, place) in some {
                let value = self.values.get(&place.at).filter(|_| bytes < SHOWN_BYTES).cloned();
                bytes += value.as_ref().map_or(0, |value| value.to_string().len());
                let value = value.filter(|_| bytes <= SHOWN_BYTES);
                shown.push(ReplayedValue { name: name.clone(), at: place.at, value });
            }
        }
        Ok(shown)
    }
}
