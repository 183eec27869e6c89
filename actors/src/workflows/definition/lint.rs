//! What is unwise in a definition that can run: nodes that nothing reaches, references to what has not run, steps that no
//! worker could run. Pure.

mod order;
mod workers;

use std::fmt;

use serde_json::Value;

use super::check::below;
use super::document::Document;
use super::{Approval, Case, Definition, Kind, Node, OnExpiry, Step};
use crate::workflows::expression::Expression;
pub use workers::Workers;

/// Most lints that are told at once.
const LINTS_MAX: usize = 100;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It fails whenever it is reached.
    Error,
    /// It may fail, or it has no effect.
    Warning,
}

/// One thing that is unwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// How bad it is.
    pub level: Level,
    /// What it is about: `steps[1].cases[0].when`.
    pub path: String,
    /// Line and column in the document, from 1, where there is one.
    pub place: Option<(u32, u32)>,
    /// What is unwise, and what would be better.
    pub message: String,
}

/// What is unwise in a definition; with `workers` also what none of them could run.
pub fn lint(definition: &Definition, workers: Option<&Workers<'_>>) -> Vec<Lint> {
    let mut linter = Linter { found: Vec::new() };
    linter.nodes(&definition.nodes, "steps");
    order::lint(definition, &mut linter);
    if let Some(workers) = workers {
        workers.lint(definition, &mut linter);
    }
    linter.found
}

impl Document {
    /// What is unwise in it, in its order; with `workers` also what none of them could run.
    pub fn lint(&self, workers: Option<&Workers<'_>>) -> Vec<Lint> {
        let mut found = lint(&self.definition, workers);
        found.iter_mut().for_each(|lint| lint.place = Some(self.place(&lint.path)));
        found.sort_by_key(|lint| lint.place);
        found
    }
}

/// `7:12: warning: steps[1].when: ...`, as compilers say it.
impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        write!(f, "{}: {}: {}", self.level.as_str(), self.path, self.message)
    }
}

impl Level {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What gathers lints.
struct Linter {
    found: Vec<Lint>,
}

impl Linter {
    fn say(&mut self, level: Level, path: String, message: impl Into<String>) {
        if self.found.len() < LINTS_MAX {
            self.found.push(Lint { level, path, place: None, message: message.into() });
        }
    }

    fn warn(&mut self, unwise: bool, path: &str, key: &str, message: impl Into<String>) {
        if unwise {
            self.say(Level::Warning, below(path, key), message);
        }
    }

    fn nodes(&mut self, nodes: &[Node], path: &str) {
        for (index, node) in nodes.iter().enumerate() {
            self.node(node, &format!("{path}[{index}]"));
        }
    }

    fn node(&mut self, node: &Node, path: &str) {
        match &node.kind {
            Kind::Step(step) => self.step(step, path),
            Kind::Sequence { nodes } => self.nodes(nodes, &below(path, "steps")),
            Kind::Parallel { branches, limit, .. } => {
                let all = limit.is_some_and(|limit| limit as usize >= branches.len());
                self.warn(all, path, "limit", "it limits nothing: there are no more branches");
                self.nodes(branches, &below(path, "branches"));
            }
            Kind::Branch { cases, otherwise } => self.branch(cases, otherwise, path),
            Kind::Loop { nodes, until, max, .. } => {
                self.warn(*max == 1, path, "max", "it runs once, as a sequence does");
                match until.as_ref().and_then(|until| self.constant(until, &below(path, "until"))) {
                    Some(true) => self.warn(true, path, "until", "it always holds: it runs once"),
                    Some(false) => {
                        self.warn(true, path, "until", "it never holds: it runs `max` times");
                    }
                    None => {}
                }
                self.nodes(nodes, &below(path, "steps"));
            }
            Kind::Approval(approval) => self.approval(approval, path),
            Kind::SleepUntil { at } => self.time(at, &below(path, "at")),
            Kind::Sleep { .. } | Kind::WaitSignal { .. } | Kind::Child { .. } => {}
        }
    }

    fn step(&mut self, step: &Step, path: &str) {
        let usual = crate::fleet::task::Retry::default();
        let idle = step.retry.max_attempts == 1;
        let keys = [
            ("retry_delay", step.retry.initial_ms != usual.initial_ms),
            ("backoff", step.retry.factor_percent != usual.factor_percent),
        ];
        for (key, given) in keys {
            self.warn(idle && given, path, key, "it has no effect without `retries`");
        }
    }

    fn branch(&mut self, cases: &[Case], otherwise: &[Node], path: &str) {
        let mut always = None;
        for (index, case) in cases.iter().enumerate() {
            let path = format!("{path}.cases[{index}]");
            if let Some(first) = always {
                let message = format!("it is never reached: case {first} always holds");
                self.warn(true, &path, "when", message);
            }
            match self.constant(&case.when, &below(&path, "when")) {
                Some(true) => always = always.or(Some(index)),
                Some(false) => {
                    self.warn(true, &path, "when", "it never holds: its nodes are never reached");
                }
                None => {}
            }
            self.nodes(&case.nodes, &below(&path, "steps"));
        }
        if let (Some(first), false) = (always, otherwise.is_empty()) {
            let message = format!("it is never reached: case {first} always holds");
            self.warn(true, path, "otherwise", message);
        }
        self.nodes(otherwise, &below(path, "otherwise"));
    }

    /// Whether a condition is always the same; that it is no condition is said.
    fn constant(&mut self, condition: &Expression, path: &str) -> Option<bool> {
        let message = match condition.constant()? {
            Ok(Value::Bool(holds)) => return Some(holds),
            Ok(_) => "it is neither true nor false".to_owned(),
            Err(error) => error.to_string(),
        };
        self.say(Level::Error, path.to_owned(), message);
        None
    }

    fn approval(&mut self, approval: &Approval, path: &str) {
        let Approval { expires_ms, on_expiry, remind_ms, .. } = approval;
        let never = expires_ms.is_none() && *on_expiry == OnExpiry::Approve;
        self.warn(never, path, "on_expiry", "it has no effect without `expires`");
        let late = matches!((remind_ms, expires_ms), (Some(remind), Some(end)) if remind >= end);
        self.warn(late, path, "remind", "it expires before anybody is reminded");
    }

    fn time(&mut self, at: &Expression, path: &str) {
        let message = match at.constant() {
            None | Some(Ok(Value::Number(_))) => return,
            Some(Ok(Value::String(text))) => {
                if chrono::DateTime::parse_from_rfc3339(&text).is_ok() {
                    return;
                }
                format!("`{text}` is no time; write 2027-01-31T09:00:00Z")
            }
            Some(Ok(_)) => "it is no time; write \"2027-01-31T09:00:00Z\"".to_owned(),
            Some(Err(error)) => error.to_string(),
        };
        self.say(Level::Error, path.to_owned(), message);
    }
}

#[cfg(test)]
mod tests;
