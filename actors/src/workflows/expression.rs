//! Conditions and mappings between nodes, in the Common Expression Language. Pure: no clock and no randomness either, so
//! a replay gives the same.
//!
//! An expression sees `input` (the run's), `previous` (the output of the node before it), `steps.NAME` (the output of a
//! node that ended), `iteration` (of the innermost loop, from 1) and `run.id`. Numbers are what they are in JSON:
//! integers stay integers. Beyond the standard, integers and floats mix in arithmetic, and `has(a.b.c)` is false where
//! `a.b` is missing. [`functions`] lists what can be called.
//!
//! The grammar and its macros (`has`, `all`, `exists`, `exists_one`, `filter`, `map`) are the `cel` crate's. Evaluation is
//! ours: it reads outputs of megabytes where they are, instead of copying them first, and it is bounded in steps and
//! memory whatever an expression does to whatever output.

mod evaluate;
mod functions;
mod lower;
mod nearest;
mod operators;
mod program;
#[cfg(test)]
mod properties;
mod syntax;
#[cfg(test)]
mod tests;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use functions::{Signature, functions};
pub(crate) use nearest::meant;
use program::Program;

/// Largest expression without what stands in quotes, in bytes.
pub const CODE_MAX: usize = 4 << 10;
/// Largest expression, in bytes.
pub const SOURCE_MAX: usize = 64 << 10;
/// Largest result, in bytes of JSON.
pub const RESULT_MAX: usize = 1 << 20;
/// Most steps of one evaluation, each the work of some ten nanoseconds: one for each part that is evaluated and each value
/// that is looked at. No actor may be held up longer than that.
pub const STEPS_MAX: u64 = 250_000;
/// Most bytes of text and lists that one evaluation makes on its way.
pub const MADE_MAX: usize = 8 << 20;
/// How much of an expression an error repeats, in characters.
const SHOWN_MAX: usize = 80;

/// An expression: its text, compiled once however often it is cloned. Equal when the texts are.
#[derive(Clone)]
pub struct Expression(Arc<Inner>);

struct Inner {
    source: Box<str>,
    /// What was read from the journal is compiled when it is first needed: it was accepted once.
    program: OnceLock<Result<Program, BadExpression>>,
}

/// What an expression refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// `input`.
    pub input: bool,
    /// `previous`.
    pub previous: bool,
    /// `iteration`.
    pub iteration: bool,
    /// `run`.
    pub run: bool,
    /// `steps` as a whole, or with a name that is computed.
    pub every_step: bool,
    /// The names behind `steps.`.
    pub steps: BTreeSet<String>,
    /// Those of them that are asked for with `has(steps.NAME)` somewhere.
    pub asked_for: BTreeSet<String>,
}

/// What an expression can see.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The input of the run.
    pub input: Arc<Value>,
    /// The output of the node before.
    pub previous: Arc<Value>,
    /// Outputs of nodes that have ended, by name. Those that the expression does not refer to may be left out.
    pub steps: BTreeMap<String, Arc<Value>>,
    /// Which time of the innermost loop it is, from 1; outside of loops `iteration` is null.
    pub iteration: Option<u32>,
    /// The id of the run.
    pub run_id: String,
}

/// Text that is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadExpression {
    /// What is wrong and what would be right.
    pub message: String,
    /// The line within the text, from 1.
    pub line: u32,
    /// The column within that line, in characters from 1.
    pub column: u32,
}

/// Why an expression has no value. Says types and names, and never a value: outputs are sealed, errors are not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// What it asks for is not there, or not of the type that it takes.
    #[error("{0}")]
    Wrong(String),
    /// It takes more than [`STEPS_MAX`].
    #[error("it takes too long: filter or cut what it works on, or let a step do it")]
    TooCostly,
    /// It makes more than [`MADE_MAX`] or results in more than [`RESULT_MAX`].
    #[error("it makes more than is allowed: 1 MiB as its result, 8 MiB on the way")]
    TooLarge,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Says what is wrong and where: syntax, a limit, an unknown variable or function, a wrong number of arguments, a
    /// regular expression that is none.
    pub fn parse(source: &str) -> Result<Self, BadExpression> {
        let expression = Self::unchecked(source);
        expression.check()?;
        Ok(expression)
    }

    fn unchecked(source: &str) -> Self {
        Self(Arc::new(Inner { source: source.into(), program: OnceLock::new() }))
    }

    /// Whether it can be evaluated. Only one that serde read was not asked before.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn check(&self) -> Result<(), BadExpression> {
        self.program().map(drop)
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.0.source
    }

    /// What it refers to; nothing if it is no expression.
    pub fn references(&self) -> &References {
        static NONE: OnceLock<References> = OnceLock::new();
        match self.program() {
            Ok(program) => &program.references,
            Err(_) => NONE.get_or_init(References::default),
        }
    }

    /// Its value.
    ///
    /// # Errors
    /// What it asks for is not there, it is too costly or too large; the same for the same scope, always.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, EvaluationError> {
        let program = self.program().map_err(|bad| self.wrong(bad.message.clone()))?;
        // A bug in evaluation is an error of this one expression.
        let done = catch_unwind(AssertUnwindSafe(|| evaluate::run(program, scope)));
        match done.unwrap_or_else(|_| Err(EvaluationError::Wrong("it cannot be evaluated".into())))
        {
            Err(EvaluationError::Wrong(why)) => Err(self.wrong(why)),
            other => other,
        }
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), and when its value is neither true nor false.
    pub fn holds(&self, scope: &Scope) -> Result<bool, EvaluationError> {
        match self.evaluate(scope)? {
            Value::Bool(holds) => Ok(holds),
            other => {
                let why = format!("it is {}, not true or false", value::word(&other));
                Err(self.wrong(why))
            }
        }
    }

    /// Its value where it refers to nothing and so is always the same: `true`, `1 + 1`.
    pub fn constant(&self) -> Option<Result<Value, EvaluationError>> {
        let constant = self.check().is_ok() && *self.references() == References::default();
        constant.then(|| self.evaluate(&Scope::default()))
    }

    fn program(&self) -> Result<&Program, BadExpression> {
        let program = self.0.program.get_or_init(|| syntax::compile(&self.0.source));
        program.as_ref().map_err(Clone::clone)
    }

    fn wrong(&self, why: String) -> EvaluationError {
        let mut shown: String = self.text().chars().take(SHOWN_MAX).collect();
        if shown.len() < self.text().len() {
            shown.push('…');
        }
        EvaluationError::Wrong(format!("{why} (in `{shown}`)"))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text())
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Expression {}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// Reads its text only, because the journal holds what was accepted. What comes from elsewhere is asked with
/// [`check`](Expression::check), as [`Definition::check`](super::definition::Definition::check) does.
impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|source| Self::unchecked(&source))
    }
}
