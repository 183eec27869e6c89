//! What a plan comes to. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleetward_store::Position;
use serde_json::Value;

use crate::workflows::definition::{Approvers, Node, OnExpiry};
use crate::workflows::run::{Key, Place};

/// What comes next.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Steps that become tasks.
    pub schedule: Vec<Next<'a>>,
    /// Nodes that begin to wait.
    pub wait: Vec<Begin<'a>>,
    /// Nodes that take a signal, and which.
    pub take: Vec<(Key, Position)>,
    /// Tasks and waits that nobody wants any more.
    pub drop: BTreeSet<Key>,
    /// How the run ends.
    pub end: Option<Result<Arc<Value>, Failure>>,
    /// Values that are needed first.
    pub missing: BTreeSet<Place>,
}

/// A step that becomes a task.
#[derive(Debug)]
pub struct Next<'a> {
    /// Its key.
    pub key: Key,
    /// The node; a step.
    pub node: &'a Node,
    /// What it is given.
    pub input: Arc<Value>,
}

/// A node that begins to wait.
#[derive(Debug)]
pub struct Begin<'a> {
    /// Its key.
    pub key: Key,
    /// For what.
    pub what: Waits<'a>,
}

/// What a node begins to wait for.
#[derive(Debug)]
pub enum Waits<'a> {
    /// So long, in milliseconds.
    For(u64),
    /// A time, in microseconds UTC.
    Until(i64),
    /// A signal.
    Signal {
        /// Its name.
        name: &'a str,
        /// At most so long, in milliseconds.
        timeout_ms: Option<u64>,
    },
    /// People.
    Gate {
        /// Who may decide, by when.
        rules: Rules<'a>,
        /// What they are asked.
        prompt: String,
        /// What they are shown besides.
        context: Arc<Value>,
        /// What the gate was given: its output, once it is open.
        input: Arc<Value>,
    },
    /// Another run.
    Child {
        /// The name of its workflow.
        workflow: &'a str,
        /// The version, if it is a certain one.
        version: Option<&'a str>,
        /// What it is given.
        input: Arc<Value>,
    },
}

/// The rules of a gate.
#[derive(Debug)]
pub struct Rules<'a> {
    /// Who may decide.
    pub approvers: &'a Approvers,
    /// How long it waits, in milliseconds; none: as long as it takes.
    pub expires_ms: Option<u64>,
    /// What its expiry means.
    pub on_expiry: OnExpiry,
    /// How often it is said again, in milliseconds; none: never.
    pub remind_ms: Option<u64>,
}

/// Why a node, and so perhaps the run, failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// At which node.
    pub key: Option<Key>,
    /// A stable code.
    pub code: String,
    /// In words, where the plan knows them.
    pub text: Option<String>,
    /// Where they are, where something else failed.
    pub error: Option<Place>,
}
