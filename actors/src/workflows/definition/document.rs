//! Definitions as people write them: YAML or JSON, with the position of everything that is wrong. Pure.
//!
//! ```yaml
//! name: article-pipeline
//! steps:
//!   - step: research            # the kind of a node is a key, its name stands behind it
//!   - step: draft
//!     retries: 3
//!     input: '{"topic": input.topic, "findings": previous}'
//!   - approval: review
//!     prompt: '"Publish " + steps.draft.title + "?"'
//! ```
//!
//! `fleetward workflow schema` prints all keys. Expressions are text; `input`, `context` and `output` may also be lists
//! and mappings of them. Durations are text: `1h30m`.

mod duration;
mod json;
mod keys;
mod nodes;
#[cfg(test)]
mod properties;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod tree;
mod write;
mod yaml;

use std::fmt;

use super::{DOCUMENT_MAX, Definition};
pub use duration::read as duration_ms;
use reader::Reader;
pub use schema::schema;
use tree::{Mark, Tree};
pub use write::written;

/// Longest path and longest message of a problem, in characters.
const SAID_MAX: usize = 500;

/// A document that was read.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it defines.
    pub definition: Definition,
    tree: Tree,
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1, where it is known.
    pub line: Option<u32>,
    /// The column, in characters from 1, where it is known.
    pub column: Option<u32>,
    /// What it is about: `steps[1].cases[0].when`; empty for the whole document.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Everything that is wrong with a document, in its order; at most 50 things.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

/// Reads a definition.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str) -> Result<Definition, Problems> {
    read(text).map(|document| document.definition)
}

/// Reads a definition, and keeps where everything stands.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(text: &str) -> Result<Document, Problems> {
    let (text, tree) = tree(text)?;
    let mut reader = Reader::new(text);
    let definition = reader.definition((&tree, String::new()));
    let mut problems = reader.problems;
    if let (Some(definition), true) = (definition, problems.is_empty()) {
        let invalid = match definition.check() {
            Ok(()) => return Ok(Document { definition, tree }),
            Err(invalid) => invalid,
        };
        problems.extend(invalid.into_iter().map(|invalid| {
            let at = tree.locate(&invalid.path);
            Problem::new(Some(at), invalid.path, invalid.message)
        }));
    }
    if problems.is_empty() {
        let message = "this is no definition of a workflow";
        problems.push(Problem::new(Some(tree.at), String::new(), message));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(Problems(problems))
}

fn tree(text: &str) -> Result<(&str, Tree), Problems> {
    let one = |problem| Problems(vec![problem]);
    if text.len() > DOCUMENT_MAX {
        let message = format!("the document is larger than {} KiB", DOCUMENT_MAX >> 10);
        return Err(one(Problem::new(None, String::new(), message)));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match json::read(text) {
        Some(tree) => Ok((text, tree)),
        None => Ok((text, yaml::read(text).map_err(one)?)),
    }
}

/// A document of any kind, as JSON.
///
/// # Errors
/// When it is neither JSON nor YAML.
pub fn json_of(text: &str) -> Result<serde_json::Value, Problems> {
    let (text, tree) = tree(text)?;
    let mut reader = Reader::new(text);
    let value = reader.json(&(&tree, String::new()));
    value.ok_or(Problems(reader.problems))
}

impl Document {
    /// Line and column of what a path names, or of the nearest around it that is written down.
    pub fn place(&self, path: &str) -> (u32, u32) {
        let Mark { line, column } = self.tree.locate(path);
        (line, column)
    }
}

impl Problem {
    fn new(at: Option<Mark>, path: String, message: impl Into<String>) -> Self {
        let (line, column) = (at.map(|at| at.line), at.map(|at| at.column));
        Self { line, column, path: shortened(path), message: shortened(message.into()) }
    }
}

/// Mistakes may be as long as a document, and what is said of them may not.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(SAID_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// `7:12: steps[1].timeout: ...`, as compilers say it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// One a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}
