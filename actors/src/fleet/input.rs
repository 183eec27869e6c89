//! The limits of what callers may say, checked in their own `Handle` before anything enters a cell. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Kind, Refusal};
use crate::fleet::dispatcher::matcher::WEIGHT_MAX;
use crate::fleet::models;
use crate::fleet::policy::{Capped, Policy, Retention};
use crate::fleet::task::{Condition, Handling, Operator, PRIORITY_MAX, Requirement};

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
/// Most sandbox images of a worker.
pub const IMAGES_MAX: usize = 256;
/// Most handlers of a worker.
pub const HANDLERS_MAX: usize = 512;
/// Most projects that one worker takes tasks of besides its own.
pub const PROJECTS_MAX: usize = 64;
/// Most conditions of a task on labels, and most values of one.
pub const CONDITIONS_MAX: usize = 32;
/// Most caps of a policy.
pub const CAPS_MAX: usize = 256;
/// Most names of models of a policy.
pub const OVERRIDES_MAX: usize = 1_024;
/// Most weights of a policy.
pub const WEIGHTS_MAX: usize = 1_024;
/// Most pools that a policy balances in their own way.
pub const BALANCED_MAX: usize = 256;
/// How long what is over may be kept, in seconds: from a minute to a hundred years.
pub const RETENTION_SECONDS: std::ops::RangeInclusive<u64> = 60..=3_155_760_000;
/// Most attempts that may fail.
pub const ATTEMPTS_MAX: u32 = 100;
/// Longest wait between two attempts, in milliseconds: a day.
pub const BACKOFF_MAX_MS: u64 = 86_400_000;
/// Longest key of tasks that belong together, in bytes.
pub const AFFINITY_KEY_MAX: usize = 256;
/// Longest time that a task waits for the worker that last had its key, in milliseconds.
pub const AFFINITY_MAX_MS: u64 = 300_000;
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
    if let Some(image) = &wants.image {
        printable("image", image, VALUE_MAX)?;
    }
    if let Some(handler) = &wants.handler {
        name("handler", handler)?;
    }
    selector(&wants.selector)?;
    labels(&wants.labels)
}

/// Conditions on labels.
///
/// # Errors
/// Says which one is wrong.
pub fn selector(conditions: &BTreeSet<Condition>) -> Result<(), Refusal> {
    at_most("conditions", conditions.len(), CONDITIONS_MAX)?;
    conditions.iter().try_for_each(condition)
}

fn condition(condition: &Condition) -> Result<(), Refusal> {
    name("a label's name", &condition.key)?;
    at_most("values of a condition", condition.values.len(), CONDITIONS_MAX)?;
    condition.values.iter().try_for_each(|value| printable("a value", value, VALUE_MAX))?;
    let speaks_of_values = matches!(condition.operator, Operator::In | Operator::NotIn);
    if speaks_of_values == condition.values.is_empty() {
        let detail = "the operators in and not_in need values; exists and not_exists take none";
        return Err(Refusal::invalid("invalid_selector", detail));
    }
    Ok(())
}

/// How a task is to be treated, as seen at `now`, in microseconds UTC.
///
/// # Errors
/// Says what is wrong with it.
pub fn handling(handling: &Handling, now: i64) -> Result<(), Refusal> {
    let Handling { priority, not_before, deadline, retry, affinity, .. } = handling;
    if let Some(affinity) = affinity {
        let key = &affinity.key;
        printable("affinity", key, AFFINITY_KEY_MAX)?;
        if key.is_empty() || key.len() > AFFINITY_KEY_MAX {
            let detail = format!("affinity must have 1 to {AFFINITY_KEY_MAX} bytes");
            return Err(Refusal::invalid("invalid_affinity", detail));
        }
    }
    let waits = affinity.as_ref().map_or(1, |affinity| affinity.wait_ms);
    let from = not_before.map_or(now, |at| at.max(now));
    let rules = [
        (
            !(1..=AFFINITY_MAX_MS).contains(&waits),
            "invalid_affinity",
            "affinity_seconds must be more than 0, and 300 at most",
        ),
        (*priority > PRIORITY_MAX, "invalid_priority", "priority must be between 0 and 9"),
        (
            deadline.is_some_and(|deadline| deadline <= from),
            "invalid_deadline",
            "the deadline must lie in the future, and after not_before",
        ),
        (
            !(1..=ATTEMPTS_MAX).contains(&retry.max_attempts),
            "invalid_retry",
            "retry.max_attempts must be between 1 and 100",
        ),
        (
            !(100..=10_000).contains(&retry.factor_percent),
            "invalid_retry",
            "retry.factor must be between 1 and 100",
        ),
        (
            retry.max_ms > BACKOFF_MAX_MS || retry.initial_ms > retry.max_ms,
            "invalid_retry",
            "retry.initial_seconds must not exceed retry.max_seconds, and that not a day",
        ),
    ];
    let broken = rules.into_iter().find(|(broken, ..)| *broken);
    broken.map_or(Ok(()), |(_, code, detail)| Err(Refusal::invalid(code, detail)))
}

/// What an organisation lets run.
///
/// # Errors
/// Says what is wrong with it.
pub fn policy(policy: &Policy) -> Result<(), Refusal> {
    at_most("caps", policy.caps.len(), CAPS_MAX)?;
    at_most("weights", policy.weights.len(), WEIGHTS_MAX)?;
    for cap in &policy.caps {
        match &cap.of {
            Capped::Project(text) => name("project", text)?,
            Capped::Pool(text) => name("pool", text)?,
            Capped::Label { key, value } => labels(&[(key.clone(), value.clone())].into())?,
            Capped::Worker(_) => {}
        }
    }
    at_most("pools in balancing", policy.balancing.len(), BALANCED_MAX)?;
    policy.balancing.keys().try_for_each(|pool| name("pool", pool))?;
    at_most("models", policy.models.len(), OVERRIDES_MAX)?;
    for (spelling, model) in &policy.models {
        name("model", spelling)?;
        name("model", model)?;
        if models::plain(spelling) != *spelling {
            let detail = format!("write {spelling:?} in lower case, with - for gaps");
            return Err(Refusal::invalid("invalid_model_name", detail));
        }
    }
    if let Some((name, least, most)) = policy.anomaly.nonsense() {
        let detail = format!("anomaly.{name} must be between {least} and {most}");
        return Err(Refusal::invalid("invalid_threshold", detail));
    }
    for (project, weight) in &policy.weights {
        name("project", project)?;
        if !(1..=WEIGHT_MAX).contains(weight) {
            let detail = format!("a weight must be between 1 and {WEIGHT_MAX}");
            return Err(Refusal::invalid("invalid_weight", detail));
        }
    }
    Ok(())
}

/// How long what is over is kept.
///
/// # Errors
/// When it is too short or too long to be meant.
pub fn retention(retention: &Retention) -> Result<(), Refusal> {
    let terms =
        [("tasks", retention.tasks), ("runs", retention.runs), ("failed", retention.failed)];
    for (field, seconds) in terms {
        if seconds.is_some_and(|seconds| !RETENTION_SECONDS.contains(&seconds)) {
            let (least, most) = (RETENTION_SECONDS.start(), RETENTION_SECONDS.end());
            let detail = format!("{field} must be {least} to {most} seconds, or absent: for ever");
            return Err(Refusal::invalid("invalid_retention", detail));
        }
    }
    Ok(())
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

/// A list that is not longer than `max`.
///
/// # Errors
/// When it is.
pub fn at_most(field: &str, count: usize, max: usize) -> Result<(), Refusal> {
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
