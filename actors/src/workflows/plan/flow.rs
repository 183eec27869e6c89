//! Values on their way through a plan: where they are, or what makes them, until somebody needs them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::{Failure, Values};
use crate::workflows::expression::{Expression, Scope};
use crate::workflows::run::{Place, Run};

/// A value, or what makes it.
#[derive(Debug, Clone)]
pub enum Flow<'a> {
    /// Sealed somewhere.
    At(Place),
    /// In memory.
    Is(Arc<Value>),
    /// Those of branches, by name.
    Object(Arc<BTreeMap<&'a str, Flow<'a>>>),
    /// What an expression makes of others.
    Mapped(Arc<Mapped<'a>>),
    /// A branch failed, and the others go on.
    Failed(Box<Failure>),
}

/// An expression and what it sees.
pub struct Mapped<'a> {
    expression: &'a Expression,
    previous: Flow<'a>,
    seen: Seen<'a>,
    time: Option<u32>,
    made: OnceLock<Arc<Value>>,
}

/// Outputs of nodes that have ended, by name.
#[derive(Debug, Clone, Default)]
pub struct Seen<'a>(Arc<BTreeMap<&'a str, Flow<'a>>>);

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// It is not in memory; it was asked for.
    Missing,
    /// There will never be one.
    Failed(String),
}

impl fmt::Debug for Mapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapped({})", self.expression.text())
    }
}

impl<'a> Seen<'a> {
    /// A node has ended.
    pub fn add(&mut self, name: &'a str, output: Flow<'a>) {
        Arc::make_mut(&mut self.0).insert(name, output);
    }

    /// What was seen in a branch is seen behind it.
    pub fn merge(&mut self, other: Self) {
        let other = Arc::unwrap_or_clone(other.0);
        Arc::make_mut(&mut self.0).extend(other);
    }
}

impl<'a> Mapped<'a> {
    /// Not made yet.
    pub fn new(
        expression: &'a Expression,
        previous: Flow<'a>,
        seen: Seen<'a>,
        time: Option<u32>,
    ) -> Self {
        Self { expression, previous, seen, time, made: OnceLock::new() }
    }

    fn value(
        &self,
        run: &Run,
        values: &Values,
        missing: &mut BTreeSet<Place>,
    ) -> Result<Arc<Value>, Stop> {
        if let Some(made) = self.made.get() {
            return Ok(made.clone());
        }
        let refers = self.expression.references();
        let mut take = |wanted: bool, flow: &Flow<'a>| match wanted {
            true => flow.value(run, values, missing),
            false => Ok(Arc::default()),
        };
        let input = take(refers.input, &Flow::At(run.input.clone()));
        let previous = take(refers.previous, &self.previous);
        let wanted = |name: &&str| refers.every_step || refers.steps.contains(*name);
        let named = self.seen.0.iter().filter(|(name, _)| wanted(name));
        let steps: Vec<_> =
            named.map(|(name, flow)| ((*name).to_owned(), take(true, flow))).collect();
        // Everything that is missing is asked for at once.
        let steps = steps.into_iter().map(|(name, value)| Ok((name, value?)));
        let scope = Scope {
            steps: steps.collect::<Result<_, Stop>>()?,
            input: input?,
            previous: previous?,
            iteration: self.time,
            run_id: run.id.to_string(),
        };
        let made = self.expression.evaluate(&scope).map_err(|e| Stop::Failed(e.to_string()))?;
        Ok(self.made.get_or_init(|| Arc::new(made)).clone())
    }
}

impl Flow<'_> {
    /// The value; what it takes and is not in memory is added to `missing`.
    ///
    /// # Errors
    /// When it is not here yet, or never will be.
    pub fn value(
        &self,
        run: &Run,
        values: &Values,
        missing: &mut BTreeSet<Place>,
    ) -> Result<Arc<Value>, Stop> {
        match self {
            Self::Is(value) => Ok(value.clone()),
            Self::At(place) => values.get(&place.at).cloned().ok_or_else(|| {
                missing.insert(place.clone());
                Stop::Missing
            }),
            Self::Mapped(mapped) => mapped.value(run, values, missing),
            Self::Object(branches) => {
                let made: Vec<_> = branches
                    .iter()
                    .map(|(name, flow)| (*name, flow.value(run, values, missing)))
                    .collect();
                let made = made
                    .into_iter()
                    .map(|(name, value)| Ok((name.to_owned(), Value::clone(&*value?))));
                Ok(Arc::new(Value::Object(made.collect::<Result<_, Stop>>()?)))
            }
            Self::Failed(failure) => {
                let text = match (&failure.text, &failure.error) {
                    (Some(text), _) => Value::String(text.clone()),
                    (None, Some(place)) => {
                        Value::clone(&*Flow::At(place.clone()).value(run, values, missing)?)
                    }
                    (None, None) => Value::Null,
                };
                let error = json!({ "code": failure.code, "message": text });
                Ok(Arc::new(json!({ "error": error })))
            }
        }
    }
}

/// A time, in microseconds UTC, from text in RFC 3339 or from seconds since 1970.
///
/// # Errors
/// When it is none, in words.
pub fn moment(value: &Value) -> Result<i64, String> {
    let parsed = match value {
        Value::String(text) => {
            let parsed = chrono::DateTime::parse_from_rfc3339(text);
            parsed.ok().map(|at| at.timestamp_micros())
        }
        Value::Number(number) => number.as_f64().map(|seconds| (seconds * 1e6) as i64),
        _ => None,
    };
    parsed.ok_or_else(|| {
        let kind = kind(value);
        format!("{kind} is no time; give text such as 2027-01-31T09:00:00Z, or seconds since 1970")
    })
}

/// What kind of JSON a value is, in words: values themselves are in no error text.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
