//! Values while an expression is evaluated: borrowed from outputs wherever they can be. Pure.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;

use super::EvaluationError;

/// A value. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// Only what no `Int` can be, and literals like `1u`.
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    List(List<'a>),
    Map(Map<'a>),
}

#[derive(Debug, Clone)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Made(Rc<str>),
}

#[derive(Debug, Clone)]
pub(super) enum List<'a> {
    Borrowed(&'a [Value]),
    Made(Rc<Vec<Val<'a>>>),
}

#[derive(Debug, Clone)]
pub(super) enum Map<'a> {
    Borrowed(&'a serde_json::Map<String, Value>),
    Made(Rc<BTreeMap<String, Val<'a>>>),
    /// The outputs of nodes.
    Steps(&'a BTreeMap<String, Arc<Value>>),
}

impl<'a> From<&'a Value> for Val<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(int), _, _) => Self::Int(int),
                (_, Some(uint), _) => Self::Uint(uint),
                (_, _, Some(double)) => Self::Double(double),
                (None, None, None) => Self::Null,
            },
            Value::String(text) => Self::Text(Text::Borrowed(text)),
            Value::Array(items) => Self::List(List::Borrowed(items)),
            Value::Object(entries) => Self::Map(Map::Borrowed(entries)),
        }
    }
}

impl<'a> Val<'a> {
    pub(super) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(List::Made(Rc::new(items)))
    }

    pub(super) fn map(entries: BTreeMap<String, Self>) -> Self {
        Self::Map(Map::Made(Rc::new(entries)))
    }

    /// The same, of a value that is not borrowed.
    pub(super) fn owned(value: Value) -> Self {
        match value {
            Value::String(text) => Self::text(text),
            Value::Array(items) => Self::list(items.into_iter().map(Self::owned).collect()),
            Value::Object(entries) => Self::map(
                entries.into_iter().map(|(key, value)| (key, Self::owned(value))).collect(),
            ),
            plain => match Val::from(&plain) {
                Val::Bool(value) => Self::Bool(value),
                Val::Int(value) => Self::Int(value),
                Val::Uint(value) => Self::Uint(value),
                Val::Double(value) => Self::Double(value),
                Val::Null | Val::Text(_) | Val::List(_) | Val::Map(_) => Self::Null,
            },
        }
    }

    /// What it is, in words.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Uint(_) => "an integer",
            Self::Double(_) => "a float",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

/// What a JSON value is, in words.
pub(super) fn word(value: &Value) -> &'static str {
    Val::from(value).word()
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Borrowed(items) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Val<'a>> {
        match self {
            Self::Borrowed(items) => items.get(index).map(Val::from),
            Self::Made(items) => items.get(index).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Val<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> Map<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Borrowed(entries) => entries.len(),
            Self::Made(entries) => entries.len(),
            Self::Steps(entries) => entries.len(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Val<'a>> {
        match self {
            Self::Borrowed(entries) => entries.get(key).map(Val::from),
            Self::Made(entries) => entries.get(key).cloned(),
            Self::Steps(entries) => entries.get(key).map(|value| Val::from(&**value)),
        }
    }

    /// Sorted: a replay walks through them in the same order, whatever made them.
    pub(super) fn keys(&self) -> Vec<Text<'a>> {
        let mut keys: Vec<Text<'a>> = match self {
            Self::Borrowed(entries) => entries.keys().map(|key| Text::Borrowed(key)).collect(),
            Self::Made(entries) => {
                entries.keys().map(|key| Text::Made(key.as_str().into())).collect()
            }
            Self::Steps(entries) => entries.keys().map(|key| Text::Borrowed(key)).collect(),
        };
        keys.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        keys
    }
}

/// JSON of a value, as long as it stays below a size.
pub(super) struct Writer {
    /// How many bytes are left.
    pub(super) left: usize,
}

impl Writer {
    /// The value as JSON.
    ///
    /// # Errors
    /// It is larger than what is left, or holds a number that JSON does not know.
    pub(super) fn json(&mut self, value: &Val<'_>) -> Result<Value, EvaluationError> {
        Ok(match value {
            Val::Null => self.took(4, Value::Null)?,
            Val::Bool(value) => self.took(5, Value::Bool(*value))?,
            Val::Int(value) => self.took(8, (*value).into())?,
            Val::Uint(value) => self.took(8, (*value).into())?,
            Val::Double(value) => match serde_json::Number::from_f64(*value) {
                Some(number) => self.took(8, Value::Number(number))?,
                None => {
                    let why = "it is a number that JSON does not know: infinite, or none at all";
                    return Err(EvaluationError::Wrong(why.to_owned()));
                }
            },
            Val::Text(text) => {
                self.take(text.as_str().len() + 2)?;
                Value::String(text.as_str().to_owned())
            }
            Val::List(List::Borrowed(items)) => {
                Value::Array(items.iter().map(|item| self.copy(item)).collect::<Result<_, _>>()?)
            }
            Val::List(List::Made(items)) => {
                self.take(2)?;
                Value::Array(items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?)
            }
            Val::Map(Map::Borrowed(entries)) => {
                self.object(entries.iter(), |writer, value| writer.copy(value))?
            }
            Val::Map(Map::Made(entries)) => {
                self.object(entries.iter(), |writer, value| writer.json(value))?
            }
            Val::Map(Map::Steps(entries)) => {
                self.object(entries.iter(), |writer, value| writer.copy(value))?
            }
        })
    }

    fn copy(&mut self, value: &Value) -> Result<Value, EvaluationError> {
        self.take(1)?;
        self.json(&Val::from(value))
    }

    fn object<'b, T: 'b>(
        &mut self,
        entries: impl Iterator<Item = (&'b String, &'b T)>,
        mut json: impl FnMut(&mut Self, &T) -> Result<Value, EvaluationError>,
    ) -> Result<Value, EvaluationError> {
        self.take(2)?;
        let mut object = serde_json::Map::new();
        for (key, value) in entries {
            self.take(key.len() + 4)?;
            object.insert(key.clone(), json(self, value)?);
        }
        Ok(Value::Object(object))
    }

    fn took(&mut self, bytes: usize, value: Value) -> Result<Value, EvaluationError> {
        self.take(bytes).map(|()| value)
    }

    fn take(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        self.left = self.left.checked_sub(bytes).ok_or(EvaluationError::TooLarge)?;
        Ok(())
    }
}
