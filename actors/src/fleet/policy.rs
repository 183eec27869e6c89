//! What an organisation lets run: pauses, caps, and the shares of its projects; what it calls models, and how long it keeps
//! what is over. Pure.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use super::dispatcher::matcher::Gate;
use super::models::Overrides;
use super::suspicion::Thresholds;
use crate::fact::{Fold, Stamp};
use crate::id::WorkerId;

/// The id of the one policy of a cell: its stream is `policy/dispatch`.
pub const POLICY_ID: &str = "dispatch";

/// What is let run. The default lets everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// No task of the organisation starts.
    pub paused: bool,
    /// No task of these pools starts.
    pub paused_pools: BTreeSet<String>,
    /// How many tasks may run at once.
    pub caps: Vec<Cap>,
    /// The shares of projects where workers serve several: a project without one has 1.
    pub weights: BTreeMap<String, u32>,
    /// Who of several waiting workers of a pool gets a task: [`Balancing::LeastLoaded`] where nothing is said.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub balancing: BTreeMap<String, Balancing>,
    /// Its own names of models: they win over the rules and the table.
    pub models: Overrides,
    /// From where on workers are suspicious.
    pub anomaly: Thresholds,
    /// How long what is over is kept.
    #[serde(skip_serializing_if = "Retention::is_for_ever")]
    pub retention: Retention,
    /// Workers must have a key pair: neither an id with a secret nor a registration without a public key is good.
    pub legacy_headers_off: bool,
    /// True as of this position.
    pub as_of: Position,
}

/// How long what is over is kept, in seconds after its end. Where nothing is said it is for ever.
///
/// What belongs to something goes with it, and not before: the tasks of a run, and the runs that are its children.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Tasks that are completed, cancelled or discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// Runs that are completed, cancelled or discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<u64>,
    /// Dead letters: tasks and runs that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
}

impl Retention {
    /// Whether all is kept.
    pub fn is_for_ever(&self) -> bool {
        *self == Self::default()
    }
}

/// Who of several waiting workers gets a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balancing {
    /// The one with the smallest part of its seats taken; among equals the one that has waited longest.
    #[default]
    LeastLoaded,
    /// Each in turn, however many seats it has.
    RoundRobin,
    /// The one that has waited longest, which gets as many tasks as it asks for.
    LongestWaiting,
}

/// How many of these tasks may run at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// Which tasks.
    #[serde(flatten)]
    pub of: Capped,
    /// How many.
    pub max: u32,
}

/// Which tasks a cap counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capped {
    /// Those of a project.
    Project(String),
    /// Those of a pool.
    Pool(String),
    /// Those that ask for a label with this value.
    Label {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// Those that a worker runs.
    Worker(WorkerId),
}

impl Capped {
    /// What keeps its tasks waiting; none: the seats of the worker do.
    pub fn gate(&self) -> Option<Gate> {
        Some(match self {
            Self::Project(project) => Gate::Project(project.clone()),
            Self::Pool(pool) => Gate::Pool(pool.clone()),
            Self::Label { key, value } => Gate::Label(key.clone(), value.clone()),
            Self::Worker(_) => return None,
        })
    }
}

impl std::fmt::Display for Capped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Project(project) => write!(f, "project:{project}"),
            Self::Pool(pool) => write!(f, "pool:{pool}"),
            Self::Label { key, value } => write!(f, "label:{key}={value}"),
            Self::Worker(worker) => write!(f, "worker:{worker}"),
        }
    }
}

/// What can happen to a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It is this one from now on.
    #[serde(rename = "policy.changed")]
    Changed {
        /// All of it.
        policy: Policy,
    },
}

/// How somebody wants a policy changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Caps, weights, balancing, names of models and thresholds are these; pauses and retention stay.
    Set(Box<Policy>),
    /// Nothing of the organisation starts, or may start again.
    Pause(bool),
    /// Nothing of the pool starts, or may start again.
    PausePool(String, bool),
    /// Workers may prove themselves by id and secret, or only by key pair.
    LegacyHeaders(bool),
    /// What is over is kept so long.
    Retain(Retention),
}

impl Policy {
    /// The policy after a change.
    pub fn with(&self, change: Change) -> Self {
        let mut policy = self.clone();
        match change {
            Change::Set(new) => {
                let Self { caps, weights, balancing, models, anomaly, .. } = *new;
                (policy.caps, policy.weights, policy.models) = (caps, weights, models);
                (policy.balancing, policy.anomaly) = (balancing, anomaly);
            }
            Change::Pause(paused) => policy.paused = paused,
            Change::PausePool(pool, true) => drop(policy.paused_pools.insert(pool)),
            Change::PausePool(pool, false) => drop(policy.paused_pools.remove(&pool)),
            Change::LegacyHeaders(allowed) => policy.legacy_headers_off = !allowed,
            Change::Retain(retention) => policy.retention = retention,
        }
        policy
    }

    /// Who of several waiting workers of this pool gets a task.
    pub fn balancing(&self, pool: &str) -> Balancing {
        self.balancing.get(pool).copied().unwrap_or_default()
    }

    /// What may keep tasks waiting, and how many it lets run.
    pub fn gates(&self) -> Vec<(Gate, usize)> {
        let org = self.paused.then_some((Gate::Org, 0));
        let pools = self.paused_pools.iter().map(|pool| (Gate::Pool(pool.clone()), 0));
        let caps = self.caps.iter().filter_map(|cap| Some((cap.of.gate()?, cap.max as usize)));
        org.into_iter().chain(pools).chain(caps).collect()
    }

    /// How many tasks a worker may run at once.
    pub fn seats(&self, worker: WorkerId, declared: u32, paused: bool) -> usize {
        if paused {
            return 0;
        }
        let own = self.caps.iter().filter(|cap| cap.of == Capped::Worker(worker));
        own.map(|cap| cap.max).fold(declared, u32::min) as usize
    }
}

impl Fold for Policy {
    type Event = Event;
    const KIND: &'static str = "policy";

    fn kind(event: &Event) -> &'static str {
        match event {
            Event::Changed { .. } => "policy.changed",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let mut policy = Self::default();
        policy.evolve(event, stamp);
        Some(policy)
    }

    fn evolve(&mut self, event: &Event, stamp: Stamp<'_>) {
        let Event::Changed { policy } = event;
        *self = Self { as_of: stamp.seq, ..policy.clone() };
    }

    fn open(&self) -> bool {
        true
    }

    fn status(&self) -> &'static str {
        if self.paused { "paused" } else { "active" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_written_as_people_write_them() {
        let worker = WorkerId::fresh();
        let text = format!(
            r#"{{"caps": [{{"project": "a", "max": 5}}, {{"pool": "gpu", "max": 2}},
                {{"label": {{"key": "license", "value": "matlab"}}, "max": 1}},
                {{"worker": "{worker}", "max": 3}}], "weights": {{"a": 3}}}}"#
        );

        let policy: Policy = serde_json::from_str(&text).unwrap();

        let gates = [
            (Gate::Project("a".into()), 5),
            (Gate::Pool("gpu".into()), 2),
            (Gate::Label("license".into(), "matlab".into()), 1),
        ];
        assert_eq!(policy.gates(), gates);
        assert_eq!(policy.seats(worker, 8, false), 3);
        assert_eq!(policy.seats(worker, 2, false), 2);
        assert_eq!(policy.seats(worker, 8, true), 0);
        assert_eq!(policy.seats(WorkerId::fresh(), 8, false), 8);
    }

    #[test]
    fn pauses_come_and_go_and_stay_when_caps_change() {
        let paused = Policy::default()
            .with(Change::PausePool("gpu".into(), true))
            .with(Change::Pause(true))
            .with(Change::Set(Box::default()));
        assert_eq!(paused.gates(), [(Gate::Org, 0), (Gate::Pool("gpu".into()), 0)]);

        let resumed = paused.with(Change::Pause(false));
        assert_eq!(resumed.with(Change::PausePool("gpu".into(), false)), Policy::default());
    }
}
