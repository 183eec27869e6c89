//! What is known of a schedule. Pure.

use fleetward_store::Position;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::policy::Why;
use super::spec::Spec;
use crate::fact::{Fold, Stamp};
use crate::id::{RunId, ScheduleId};

/// Ticks that a schedule remembers, the newest.
pub const RECENT: usize = 20;

/// A schedule, without the input of its runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Its name: one schedule has it at a time.
    pub name: String,
    /// What it does, and when.
    pub spec: Spec,
    /// Keyed digest of the input of its runs.
    pub digest: String,
    /// Position of the event that the input is sealed beside.
    pub input_at: Position,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
    /// By whom.
    pub created_by: String,
    /// When it was changed for the last time.
    pub changed_at: i64,
    /// By whom.
    pub changed_by: String,
    /// Nothing fires by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Ticks up to this time are settled.
    pub last: i64,
    /// A tick that waits for the end of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffered: Option<i64>,
    /// What became of its newest ticks, oldest first.
    #[serde(default)]
    pub recent: Vec<Occasion>,
    /// Runs that it wanted so far.
    #[serde(default)]
    pub fired: u64,
    /// Nothing happens to it any more.
    #[serde(default)]
    pub deleted: bool,
    /// Position of its last event.
    pub updated: Position,
}

/// Why nothing fires by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when, in microseconds UTC.
    pub at: i64,
    /// Who said so.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A tick that came, or a run that somebody wanted besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occasion {
    /// The time that it is for, in microseconds UTC.
    pub tick: i64,
    /// When it fired, or was refused.
    pub at: i64,
    /// The run that is wanted for it; none: it was refused before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The version that the run is to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Somebody wanted it, whatever time it was.
    #[serde(default)]
    pub manual: bool,
    /// Position of the event that its input is sealed beside.
    pub input_at: Position,
    /// Why it has no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// Its run was deleted: it began, and shall not begin again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// Why a tick has no run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// As a stable code.
    pub code: String,
    /// In words.
    pub detail: String,
}

/// What a run was started for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedFor {
    /// Which schedule.
    pub schedule: ScheduleId,
    /// Its name then.
    pub name: String,
    /// The time of the tick, in microseconds UTC.
    pub tick: i64,
}

/// What can happen to a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It was made. The input of its runs is sealed beside it.
    #[serde(rename = "schedule.created")]
    Created {
        /// Its id.
        schedule: ScheduleId,
        /// Its name.
        name: String,
        /// What it does, and when.
        spec: Box<Spec>,
        /// Keyed digest of the input.
        digest: String,
        /// Ticks up to here are none of its.
        since: i64,
    },
    /// It was told something else. The input of its runs is sealed beside it.
    #[serde(rename = "schedule.changed")]
    Changed {
        /// What it does, and when.
        spec: Box<Spec>,
        /// Keyed digest of the input.
        digest: String,
        /// Its times are others: ticks up to here are settled.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<i64>,
    },
    /// Nothing fires by itself any more.
    #[serde(rename = "schedule.paused")]
    Paused {
        /// Why, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It goes on. Ticks up to here do not fire.
    #[serde(rename = "schedule.resumed")]
    Resumed {
        /// In microseconds UTC.
        since: i64,
    },
    /// A run is wanted. Where it has an input of its own, that is sealed beside this.
    #[serde(rename = "schedule.fired")]
    Fired {
        /// For which time, in microseconds UTC.
        tick: i64,
        /// Which run: always this one for this tick.
        run: RunId,
        /// The version that it is to keep.
        version: String,
        /// Somebody wanted it, whatever time it was.
        #[serde(default)]
        manual: bool,
        /// The tick had waited for the end of another run.
        #[serde(default)]
        buffered: bool,
        /// Its input is sealed beside this.
        #[serde(default)]
        own_input: bool,
    },
    /// A tick waits for the end of the run that is open.
    #[serde(rename = "schedule.buffered")]
    Buffered {
        /// Which.
        tick: i64,
    },
    /// Ticks up to here do not fire.
    #[serde(rename = "schedule.skipped")]
    Skipped {
        /// The last of them.
        until: i64,
        /// Why.
        why: Why,
    },
    /// A tick has no run.
    #[serde(rename = "schedule.refused")]
    Refused {
        /// Which.
        tick: i64,
        /// The run that was wanted, if it had come to that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
        /// Why.
        #[serde(flatten)]
        why: Refused,
    },
    /// A run that it had wanted was over, and is about to be deleted.
    #[serde(rename = "schedule.run_deleted")]
    RunDeleted {
        /// Which.
        run: RunId,
    },
    /// Nothing happens to it any more.
    #[serde(rename = "schedule.deleted")]
    Deleted {},
}

impl Schedule {
    /// The run of a tick: always the same, and no other tick's.
    pub fn run_of(&self, tick: i64) -> RunId {
        let time = chrono::DateTime::from_timestamp_micros(tick).unwrap_or_default();
        let whole =
            Sha256::new().chain_update(self.id.0.as_bytes()).chain_update(tick.to_be_bytes());
        let digest = hex::encode(&whole.finalize()[..4]);
        RunId::made(&format!("{}-{}-{digest}", self.name, time.format("%Y%m%dT%H%M%SZ")))
    }

    /// Runs that it wanted, among its newest ticks, oldest first; not those that were deleted since.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = (&Occasion, &RunId)> {
        let wanted = |of: &&Occasion| of.refused.is_none() && !of.deleted;
        let wanted = self.recent.iter().filter(wanted);
        wanted.filter_map(|occasion| Some((occasion, occasion.run.as_ref()?)))
    }

    fn remember(&mut self, occasion: Occasion) {
        // Many refusals for one reason are one: they push no run out.
        let code = |of: &Occasion| {
            let refused = of.refused.as_ref().filter(|_| of.run.is_none());
            refused.map(|refused| refused.code.clone())
        };
        if let Some(last) = self.recent.last_mut()
            && code(last).is_some_and(|last| code(&occasion) == Some(last))
        {
            *last = occasion;
            return;
        }
        if self.recent.len() >= RECENT {
            self.recent.remove(0);
        }
        self.recent.push(occasion);
    }

    fn refused(&mut self, tick: i64, run: Option<&RunId>, why: &Refused, stamp: Stamp<'_>) {
        let wanted = |occasion: &&mut Occasion| run.is_some() && occasion.run.as_ref() == run;
        if let Some(occasion) = self.recent.iter_mut().find(wanted) {
            occasion.refused = Some(why.clone());
            return;
        }
        self.last = self.last.max(tick);
        self.remember(Occasion {
            tick,
            at: stamp.at,
            run: run.cloned(),
            version: None,
            manual: false,
            input_at: self.input_at,
            refused: Some(why.clone()),
            deleted: false,
        });
    }
}

impl Fold for Schedule {
    type Event = Event;
    const KIND: &'static str = "schedule";

    fn kind(event: &Event) -> &'static str {
        match event {
            Event::Created { .. } => "schedule.created",
            Event::Changed { .. } => "schedule.changed",
            Event::Paused { .. } => "schedule.paused",
            Event::Resumed { .. } => "schedule.resumed",
            Event::Fired { .. } => "schedule.fired",
            Event::Buffered { .. } => "schedule.buffered",
            Event::Skipped { .. } => "schedule.skipped",
            Event::Refused { .. } => "schedule.refused",
            Event::RunDeleted { .. } => "schedule.run_deleted",
            Event::Deleted {} => "schedule.deleted",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let Event::Created { schedule, name, spec, digest, since } = event else { return None };
        Some(Self {
            id: *schedule,
            name: name.clone(),
            spec: (**spec).clone(),
            digest: digest.clone(),
            input_at: stamp.seq,
            created_at: stamp.at,
            created_by: stamp.by.to_owned(),
            changed_at: stamp.at,
            changed_by: stamp.by.to_owned(),
            paused: None,
            last: *since,
            buffered: None,
            recent: Vec::new(),
            fired: 0,
            deleted: false,
            updated: stamp.seq,
        })
    }

    fn evolve(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.updated = stamp.seq;
        match event {
            Event::Created { .. } => {}
            Event::Changed { spec, digest, since } => {
                self.spec = (**spec).clone();
                self.digest = digest.clone();
                self.input_at = stamp.seq;
                (self.changed_at, self.changed_by) = (stamp.at, stamp.by.to_owned());
                self.last = since.map_or(self.last, |since| self.last.max(since));
            }
            Event::Paused { reason } => {
                let (at, by) = (stamp.at, stamp.by.to_owned());
                self.paused = Some(Paused { at, by, reason: reason.clone() });
            }
            Event::Resumed { since } => {
                self.paused = None;
                self.last = self.last.max(*since);
            }
            Event::Fired { tick, run, version, manual, buffered, own_input } => {
                if *buffered {
                    self.buffered = None;
                } else if !manual {
                    self.last = self.last.max(*tick);
                }
                self.fired += 1;
                self.remember(Occasion {
                    tick: *tick,
                    at: stamp.at,
                    run: Some(run.clone()),
                    version: Some(version.clone()),
                    manual: *manual,
                    input_at: if *own_input { stamp.seq } else { self.input_at },
                    refused: None,
                    deleted: false,
                });
            }
            Event::Buffered { tick } => {
                self.buffered = Some(*tick);
                self.last = self.last.max(*tick);
            }
            Event::Skipped { until, .. } => self.last = self.last.max(*until),
            Event::Refused { tick, run, why } => {
                if self.buffered == Some(*tick) {
                    self.buffered = None;
                }
                self.refused(*tick, run.as_ref(), why, stamp);
            }
            Event::RunDeleted { run } => {
                let of_run = self.recent.iter_mut().filter(|of| of.run.as_ref() == Some(run));
                of_run.for_each(|occasion| occasion.deleted = true);
            }
            Event::Deleted {} => self.deleted = true,
        }
    }

    fn open(&self) -> bool {
        !self.deleted
    }

    fn status(&self) -> &'static str {
        match (self.deleted, &self.paused) {
            (true, _) => "deleted",
            (_, Some(_)) => "paused",
            _ => "active",
        }
    }
}
