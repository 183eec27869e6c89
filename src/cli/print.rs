//! Answers for people (a table) and for programs (the JSON of the server).

use std::io::Write;

use clap::ValueEnum;
use serde_json::Value;

use super::error::Failed;

/// How answers look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

impl Output {
    /// Whether programs read it.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Self::Json)
    }
}

/// Prints a line; a reader that went away (`| head`) is no error.
pub(crate) fn line(text: &str) -> Result<(), Failed> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Prints one thing: as JSON, or its fields one a line.
pub(crate) fn one(output: Output, thing: &Value, fields: &[&str]) -> Result<(), Failed> {
    match output {
        Output::Json => line(&thing.to_string()),
        Output::Table => {
            let width = fields.iter().map(|field| field.len()).max().unwrap_or(0);
            fields
                .iter()
                .try_for_each(|field| line(&format!("{field:width$}  {}", text(&thing[*field]))))
        }
    }
}

/// Prints many things: as the JSON that holds them, or a table of `fields`.
pub(crate) fn many(
    output: Output,
    answer: &Value,
    list: &str,
    fields: &[&str],
) -> Result<(), Failed> {
    if let Output::Json = output {
        return line(&answer.to_string());
    }
    let rows = answer[list].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut table = vec![fields.iter().map(|field| field.to_uppercase()).collect::<Vec<_>>()];
    table.extend(rows.iter().map(|row| fields.iter().map(|field| text(at(row, field))).collect()));
    let width =
        |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..fields.len()).map(width).collect();
    for row in &table {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// A field, or a field of a field: `capabilities.pool`.
fn at<'a>(row: &'a Value, field: &str) -> &'a Value {
    field.split('.').fold(row, |value, part| &value[part])
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
