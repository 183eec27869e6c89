//! From trees to values, gathering everything that is wrong. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::keys::Key;
use super::tree::{self, Kind, Mark, Style, Tree};
use super::{Problem, duration};
use crate::workflows::expression::{BadExpression, Expression, meant};

/// Most problems that are told at once.
pub(super) const PROBLEMS_MAX: usize = 50;

/// What reads a document. Each method that finds nothing to give has said why.
pub(super) struct Reader<'t> {
    pub(super) problems: Vec<Problem>,
    lines: Vec<&'t str>,
    /// How many nodes were read.
    pub(super) nodes: usize,
    /// The model of the whole document.
    pub(super) model: Option<String>,
}

/// A mapping whose keys are known.
pub(super) struct Fields<'t> {
    pub(super) at: Mark,
    pub(super) path: String,
    entries: &'t [(tree::Key, Tree)],
}

/// A value and its path.
pub(super) type Found<'t> = (&'t Tree, String);

/// The path of a key below another.
pub(super) fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'t> Fields<'t> {
    /// What stands behind a key, unless that is nothing.
    pub(super) fn get(&self, name: &str) -> Option<Found<'t>> {
        let (_, tree) = self.entries.iter().find(|(key, _)| key.name == name)?;
        (!tree.is_null()).then(|| (tree, below(&self.path, name)))
    }

    /// Whether a key stands there with nothing behind it.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, tree)| key.name == name && tree.is_null())
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { problems: Vec::new(), lines: text.split('\n').collect(), nodes: 0, model: None }
    }

    /// Notes what is wrong; gives nothing.
    pub(super) fn wrong<T>(
        &mut self,
        at: Mark,
        path: &str,
        message: impl Into<String>,
    ) -> Option<T> {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem::new(Some(at), path.to_owned(), message));
        }
        None
    }

    fn unfit<T>(&mut self, (tree, path): &Found<'t>, wanted: &str) -> Option<T> {
        self.wrong(tree.at, path, format!("{wanted} is expected here, not {}", tree.word()))
    }

    /// A mapping with these keys and no others, and with those that are required.
    pub(super) fn fields(
        &mut self,
        (tree, path): Found<'t>,
        own: &'static str,
        keys: impl Iterator<Item = &'static Key> + Clone,
    ) -> Option<Fields<'t>> {
        let Kind::Map(entries) = &tree.kind else {
            return self.unfit(&(tree, path), "a mapping");
        };
        for (key, _) in entries {
            let known = key.name == own || keys.clone().any(|known| known.name == key.name);
            if !known {
                let hint = meant(&key.name, keys.clone().map(|known| known.name));
                let hint = if hint.is_empty() { listed(keys.clone()) } else { hint };
                let message = format!("there is no key `{}` here{hint}", key.name);
                self.wrong::<()>(key.at, &below(&path, &key.name), message);
            }
        }
        for required in keys.filter(|key| key.required) {
            match entries.iter().find(|(key, _)| key.name == required.name) {
                None => {
                    let message = format!("the key `{}` is missing", required.name);
                    self.wrong::<()>(tree.at, &path, message);
                }
                Some((key, value)) if value.is_null() => {
                    let message = format!("`{}` has no value", required.name);
                    self.wrong::<()>(key.at, &below(&path, required.name), message);
                }
                Some(_) => {}
            }
        }
        Some(Fields { at: tree.at, path, entries })
    }

    pub(super) fn list(&mut self, found: Found<'t>) -> Option<Vec<Found<'t>>> {
        let Kind::List(items) = &found.0.kind else { return self.unfit(&found, "a list") };
        let paths = items.iter().enumerate();
        Some(paths.map(|(index, item)| (item, format!("{}[{index}]", found.1))).collect())
    }

    /// Text, whatever it would mean elsewhere: `no` and `1.0` are text here.
    pub(super) fn text(&mut self, found: Found<'t>) -> Option<String> {
        match &found.0.kind {
            Kind::Text { text, .. } if !found.0.is_null() => Some(text.clone()),
            _ => self.unfit(&found, "text"),
        }
    }

    pub(super) fn texts(&mut self, found: Found<'t>) -> Option<Vec<String>> {
        let items = self.list(found)?;
        items.into_iter().map(|item| self.text(item)).collect()
    }

    pub(super) fn labels(&mut self, found: Found<'t>) -> Option<BTreeMap<String, String>> {
        let Kind::Map(entries) = &found.0.kind else {
            return self.unfit(&found, "a mapping of labels");
        };
        let labels = entries.iter().map(|(key, value)| {
            let text = self.text((value, below(&found.1, &key.name)))?;
            Some((key.name.clone(), text))
        });
        labels.collect()
    }

    fn plain(found: &Found<'t>) -> Option<&'t str> {
        match &found.0.kind {
            Kind::Text { text, style: Style::Plain } => Some(text),
            _ => None,
        }
    }

    pub(super) fn integer<N: TryFrom<u64>>(&mut self, found: Found<'t>) -> Option<N> {
        let read = Self::plain(&found).and_then(|text| text.parse::<u64>().ok());
        match read.and_then(|number| N::try_from(number).ok()) {
            Some(number) => Some(number),
            None if Self::plain(&found).is_some_and(|text| text.parse::<f64>().is_ok()) => {
                self.wrong(found.0.at, &found.1, "an integer from 0 is expected here")
            }
            None => self.unfit(&found, "an integer, without quotes,"),
        }
    }

    pub(super) fn number(&mut self, found: Found<'t>) -> Option<f64> {
        match Self::plain(&found).and_then(|text| text.parse::<f64>().ok()) {
            Some(number) if number.is_finite() => Some(number),
            _ => self.unfit(&found, "a number, without quotes,"),
        }
    }

    /// A number with at most two decimals, in hundredths.
    pub(super) fn hundredths(&mut self, found: Found<'t>) -> Option<u32> {
        let Some(text) = Self::plain(&found).filter(|text| text.parse::<f64>().is_ok()) else {
            return self.unfit(&found, "a number, without quotes,");
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let read = (fraction.len() <= 2).then(|| format!("{whole}{fraction:0<2}").parse().ok());
        match read.flatten() {
            Some(number) => Some(number),
            None => self.wrong(
                found.0.at,
                &found.1,
                "write this number with at most two decimals: `1.5`",
            ),
        }
    }

    pub(super) fn boolean(&mut self, found: Found<'t>) -> Option<bool> {
        match Self::plain(&found) {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(text @ ("yes" | "no" | "on" | "off" | "True" | "False")) => {
                let message = format!("write `true` or `false`; `{text}` is text");
                self.wrong(found.0.at, &found.1, message)
            }
            _ => self.unfit(&found, "`true` or `false`, without quotes,"),
        }
    }

    pub(super) fn duration(&mut self, found: Found<'t>) -> Option<u64> {
        let (at, path) = (found.0.at, found.1.clone());
        let text = self.text(found)?;
        match duration::read(&text) {
            Ok(ms) => Some(ms),
            Err(message) => self.wrong(at, &path, message),
        }
    }

    /// A duration; true stands for `usual`, and false for none.
    pub(super) fn switch(&mut self, found: Found<'t>, usual: u64) -> Option<Option<u64>> {
        match Self::plain(&found) {
            Some(text) if !text.starts_with(|c: char| c.is_ascii_digit()) => {
                self.boolean(found).map(|wanted| wanted.then_some(usual))
            }
            _ => self.duration(found).map(Some),
        }
    }

    /// One of a set of words, as serde reads it.
    pub(super) fn choice<T: serde::de::DeserializeOwned>(
        &mut self,
        found: Found<'t>,
        words: &'static [&'static str],
    ) -> Option<T> {
        let (at, path) = (found.0.at, found.1.clone());
        let text = self.text(found)?;
        match serde_json::from_value(Value::String(text.clone())) {
            Ok(value) => Some(value),
            Err(_) => {
                let known: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                let message = format!("`{text}` is none of {}", known.join(", "));
                self.wrong(at, &path, message)
            }
        }
    }

    /// Any JSON.
    pub(super) fn json(&mut self, found: &Found<'t>) -> Option<Value> {
        let (tree, path) = found;
        Some(match &tree.kind {
            _ if tree.is_null() => Value::Null,
            Kind::Text { text, style: Style::Plain } => match text.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                // What JSON takes as a number is one; `0x10` and `1_000` are text.
                other => match serde_json::from_str::<serde_json::Number>(other) {
                    Ok(number) => Value::Number(number),
                    Err(_) => Value::String(other.to_owned()),
                },
            },
            Kind::Text { text, .. } => Value::String(text.clone()),
            Kind::List(items) => {
                let items = items.iter().map(|item| self.json(&(item, path.clone())));
                Value::Array(items.collect::<Option<_>>()?)
            }
            Kind::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    Some((key.name.clone(), self.json(&(value, below(path, &key.name)))?))
                });
                Value::Object(entries.collect::<Option<_>>()?)
            }
        })
    }

    pub(super) fn expression(&mut self, found: Found<'t>) -> Option<Expression> {
        let Kind::Text { text, style } = &found.0.kind else {
            return self.unfit(&found, "an expression");
        };
        match Expression::parse(text) {
            Ok(expression) => Some(expression),
            Err(bad) => {
                let (at, message) = self.inside(found.0.at, *style, &bad);
                self.wrong(at, &found.1, message)
            }
        }
    }

    /// An expression, or a list or mapping of them, which is one as well.
    pub(super) fn expressions(&mut self, found: Found<'t>) -> Option<Expression> {
        if let Kind::Text { .. } = &found.0.kind {
            return self.expression(found);
        }
        let source = self.composed(&found)?;
        match Expression::parse(&source) {
            Ok(expression) => Some(expression),
            Err(bad) => self.wrong(found.0.at, &found.1, bad.message),
        }
    }

    fn composed(&mut self, found: &Found<'t>) -> Option<String> {
        let (tree, path) = found;
        match &tree.kind {
            _ if tree.is_null() => Some("null".to_owned()),
            Kind::Text { .. } => {
                let expression = self.expression((tree, path.clone()))?;
                // A comment ends with its line, and what follows is none.
                let end = if expression.text().contains("//") { "\n" } else { "" };
                Some(format!("{}{end}", expression.text()))
            }
            Kind::List(items) => {
                let items = items.iter().enumerate();
                let items =
                    items.map(|(index, item)| self.composed(&(item, format!("{path}[{index}]"))));
                Some(format!("[{}]", items.collect::<Option<Vec<_>>>()?.join(", ")))
            }
            Kind::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    let value = self.composed(&(value, below(path, &key.name)))?;
                    Some(format!("{}: {value}", Value::String(key.name.clone())))
                });
                Some(format!("{{{}}}", entries.collect::<Option<Vec<_>>>()?.join(", ")))
            }
        }
    }

    /// Where something within a text stands in the document, as well as that can be told.
    fn inside(&self, at: Mark, style: Style, bad: &BadExpression) -> (Mark, String) {
        let message = bad.message.clone();
        match style {
            Style::Plain | Style::Quoted if bad.line == 1 => {
                let quote = u32::from(style == Style::Quoted);
                (Mark { column: at.column + quote + bad.column - 1, ..at }, message)
            }
            Style::Block => {
                // The text begins below its `|`, as far to the right as its first line.
                let below = self.lines.iter().skip(at.line as usize);
                let first = below.clone().position(|line| !line.trim().is_empty()).unwrap_or(0);
                let indent = below
                    .clone()
                    .nth(first)
                    .map_or(0, |line| line.chars().take_while(|c| *c == ' ').count());
                let indent = u32::try_from(indent).unwrap_or(0);
                (Mark { line: at.line + bad.line, column: indent + bad.column }, message)
            }
            _ => (at, format!("{message} (line {} of the expression)", bad.line)),
        }
    }
}

/// `; there are ...`, for a key that is like none of them.
fn listed(keys: impl Iterator<Item = &'static Key>) -> String {
    let names: Vec<_> = keys.map(|key| format!("`{}`", key.name)).collect();
    format!("; there are {}", names.join(", "))
}
