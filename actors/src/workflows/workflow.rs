//! What is known of a workflow: its versions. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use super::definition::Definition;
use crate::fact::{Fold, Stamp};

/// A workflow by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// The version that new runs get.
    pub latest: String,
    /// What that says.
    pub definition: Arc<Definition>,
    /// Every version that it ever had.
    pub versions: BTreeMap<String, Applied>,
    /// Nobody may start runs of it any more.
    #[serde(default)]
    pub retired: bool,
    /// Position of its last event.
    pub updated: Position,
}

/// When a version was applied, the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Position of the event that holds the definition.
    pub seq: Position,
    /// In microseconds UTC.
    pub at: i64,
    /// Who.
    pub by: String,
}

/// What can happen to a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A version of it is what new runs get.
    #[serde(rename = "workflow.applied")]
    Applied {
        /// The hash of the definition.
        version: String,
        /// What it says.
        definition: Arc<Definition>,
        /// Only runs that name it get it: the newest is what it was.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        aside: bool,
    },
    /// No more runs of it are started.
    #[serde(rename = "workflow.retired")]
    Retired {},
}

impl Workflow {
    fn keep(&mut self, version: &str, stamp: Stamp<'_>) {
        let applied = || Applied { seq: stamp.seq, at: stamp.at, by: stamp.by.to_owned() };
        self.versions.entry(version.to_owned()).or_insert_with(applied);
    }

    fn apply(&mut self, version: &str, definition: &Arc<Definition>, stamp: Stamp<'_>) {
        self.keep(version, stamp);
        version.clone_into(&mut self.latest);
        self.definition = definition.clone();
        self.retired = false;
    }
}

impl Fold for Workflow {
    type Event = Event;
    const KIND: &'static str = "workflow";

    fn kind(event: &Event) -> &'static str {
        match event {
            Event::Applied { .. } => "workflow.applied",
            Event::Retired {} => "workflow.retired",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let Event::Applied { version, definition, .. } = event else { return None };
        let mut workflow = Self {
            name: definition.name.clone(),
            latest: String::new(),
            definition: definition.clone(),
            versions: BTreeMap::new(),
            retired: false,
            updated: stamp.seq,
        };
        workflow.apply(version, definition, stamp);
        Some(workflow)
    }

    fn evolve(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.updated = stamp.seq;
        match event {
            Event::Applied { version, aside: true, .. } => self.keep(version, stamp),
            Event::Applied { version, definition, .. } => self.apply(version, definition, stamp),
            Event::Retired {} => self.retired = true,
        }
    }

    fn open(&self) -> bool {
        true
    }

    fn status(&self) -> &'static str {
        if self.retired { "retired" } else { "active" }
    }
}
