//! What an organisation lets run: pauses, caps, and the shares of its projects.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::null_is_default;
use crate::suspicions::Thresholds;

/// `GET /api/v1/fleet/policy`; answered by everything that changes it too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyView {
    /// No task of the organisation starts.
    pub paused: bool,
    /// No task of these pools starts.
    pub paused_pools: BTreeSet<String>,
    /// How many tasks may run at once.
    pub caps: Vec<Cap>,
    /// The shares of projects where workers serve several: a project without one has 1.
    pub weights: BTreeMap<String, u32>,
    /// Who of several waiting workers of a pool gets a task; a pool that is not named: `least_loaded`.
    pub balancing: BTreeMap<String, Balancing>,
    /// The organisation's own names of models, and what they mean.
    pub models: BTreeMap<String, String>,
    /// From where on workers are suspicious.
    pub anomaly: Thresholds,
    /// Workers may prove themselves by id and secret; false: only by key pair and task token. Default: true.
    #[serde(default = "yes")]
    pub legacy_headers: bool,
}

fn yes() -> bool {
    true
}

/// `PUT /api/v1/fleet/policy`: all caps, weights, balancing, names of models and thresholds from now on. Pauses stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyChange {
    /// How many tasks may run at once, 256 caps at most.
    #[serde(deserialize_with = "null_is_default")]
    pub caps: Vec<Cap>,
    /// The shares of projects, 1 to 1,000 each.
    #[serde(deserialize_with = "null_is_default")]
    pub weights: BTreeMap<String, u32>,
    /// Who of several waiting workers of a pool gets a task. 256 pools at most.
    #[serde(deserialize_with = "null_is_default")]
    pub balancing: BTreeMap<String, Balancing>,
    /// The organisation's own names of models (in lower case, with `-` for gaps), and what they mean: they win over the
    /// built-in rules and aliases. 1,024 at most.
    #[serde(deserialize_with = "null_is_default")]
    pub models: BTreeMap<String, String>,
    /// From where on workers are suspicious.
    #[serde(deserialize_with = "null_is_default")]
    pub anomaly: Thresholds,
}

/// `PATCH /api/v1/fleet/policy`: changes what is named, and nothing else.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyPatch {
    /// Whether workers may prove themselves by id and secret.
    pub legacy_headers: Option<bool>,
}

/// `GET /api/v1/fleet/models/normalize?name=`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelName {
    /// As it was asked.
    pub name: String,
    /// What it is called here.
    pub canonical: String,
    /// The version of the built-in table of aliases.
    pub table: String,
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

/// How many tasks may run at once: those of one project, of one pool, that ask for one label, or of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// Which tasks.
    #[serde(flatten)]
    pub of: Capped,
    /// How many; 0 lets none start.
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
    /// Those that a worker runs, by its id.
    Worker(String),
}

/// Body of `POST /api/v1/fleet/pause` and `/resume`. Empty: all of the organisation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pause {
    /// Only this pool.
    pub pool: Option<String>,
}
