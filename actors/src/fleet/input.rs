//! The limits of what callers may say, checked in their own `Handle` before anything enters a cell. Pure.

use std::collections::BTreeMap;

use crate::error::{Kind, Refusal};
use crate::fleet::task::Requirement;

/// Longest name of anything, in characters.
pub const NAME_MAX: usize = 128;
/// Most labels of a worker, key or task.
pub const LABELS_MAX: usize = 64;
/// Longest value of a label, in characters.
pub const VALUE_MAX: usize = 256;
/// Most models of a worker or key.
pub const MODELS_MAX: usize = 128;
/// Most pools of a key.
pub const POOLS_MAX: usize = 64;
/// Most tasks that a worker runs at once.
pub const SEATS_MAX: u32 = 1_024;
/// Longest reason that an administrator gives, in characters.
pub const REASON_MAX: usize = 1_024;

/// A name for people and machines: not empty, not long, nothing that does not print.
///
/// # Errors
/// Says what is wrong with `field`.
pub fn name(field: &str, text: &str) -> Result<(), Refusal> {
    printable(field, text, NAME_MAX)?;
    if text.trim().is_empty() {
        return Err(Refusal::invalid("invalid_name", format!("{field} must not be empty")));
    }
    Ok(())
}

/// Text without control characters, at most `max` characters.
///
/// # Errors
/// Says what is wrong with `field`.
pub fn printable(field: &str, text: &str, max: usize) -> Result<(), Refusal> {
    if text.chars().count() > max {
        let detail = format!("{field} is longer than {max} characters");
        return Err(Refusal::invalid("too_long", detail));
    }
    if text.chars().any(char::is_control) {
        let detail = format!("{field} contains a control character");
        return Err(Refusal::invalid("control_character", detail));
    }
    Ok(())
}

/// Labels of a task, worker or key.
///
/// # Errors
/// Says which one is wrong.
pub fn labels(labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
    at_most("labels", labels.len(), LABELS_MAX)?;
    labels.iter().try_for_each(|(key, value)| {
        name("a label's name", key)?;
        printable("a label's value", value, VALUE_MAX)
    })
}

/// Names in a list: models, pools.
///
/// # Errors
/// Says which one is wrong.
pub fn names(field: &str, names: &[String], max: usize) -> Result<(), Refusal> {
    at_most(field, names.len(), max)?;
    names.iter().try_for_each(|text| name(field, text))
}

/// What a task asks for.
///
/// # Errors
/// Says what is wrong with it.
pub fn requirement(wants: &Requirement) -> Result<(), Refusal> {
    name("pool", &wants.pool)?;
    if let Some(model) = &wants.model {
        name("model", model)?;
    }
    if let Some(project) = &wants.project {
        name("project", project)?;
    }
    labels(&wants.labels)
}

/// A payload, output or error text.
///
/// # Errors
/// When it is longer than `max` bytes.
pub fn size(field: &str, bytes: usize, max: usize) -> Result<(), Refusal> {
    if bytes <= max {
        return Ok(());
    }
    let detail = format!("{field} has {bytes} bytes; the limit is {max}");
    Err(Refusal::new(Kind::TooLarge, "payload_too_large", detail))
}

/// The seats of a worker.
///
/// # Errors
/// When there is none, or more than one worker can have.
pub fn seats(seats: u32) -> Result<(), Refusal> {
    if (1..=SEATS_MAX).contains(&seats) {
        return Ok(());
    }
    let detail = format!("max_concurrent must be between 1 and {SEATS_MAX}");
    Err(Refusal::invalid("invalid_max_concurrent", detail))
}

/// The canonical name of a model: textual rules only, so that equal models compare equal.
pub fn canonical_model(model: &str) -> String {
    model.trim().to_lowercase()
}

fn at_most(field: &str, count: usize, max: usize) -> Result<(), Refusal> {
    if count <= max {
        return Ok(());
    }
    Err(Refusal::invalid("too_many", format!("more than {max} {field}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_neither_empty_nor_long_nor_unprintable() {
        let long = "x".repeat(NAME_MAX + 1);
        let cases = [
            ("w1", None),
            ("", Some("invalid_name")),
            ("  ", Some("invalid_name")),
            ("a\u{0}b", Some("control_character")),
            ("a\nb", Some("control_character")),
            (long.as_str(), Some("too_long")),
        ];
        for (text, expected) in cases {
            assert_eq!(name("name", text).err().map(|refusal| refusal.code), expected, "{text:?}");
        }
    }

    #[test]
    fn worker_has_at_least_one_seat() {
        assert!(seats(0).is_err());
        assert!(seats(1).is_ok());
        assert!(seats(SEATS_MAX + 1).is_err());
    }
}
