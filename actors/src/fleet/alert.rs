//! Alerts: what somebody should look at. An alert is made from an event by a table of kinds, and stands in the journal right
//! behind it, in the same commit. Pure.

use std::borrow::Cow;

use fleetward_store::{CellId, Event as Stored, Position};
use serde::{Deserialize, Serialize};

use crate::fact::{Fold, Stamp, split_stream};
use crate::id::AlertId;

/// Most characters of what an alert says.
const WHY_MAX: usize = 2_048;

/// How much an alert matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody should look at it.
    Warning,
    /// Somebody must look at it: something was done without an administrator, or somebody tries something.
    Critical,
}

impl Severity {
    /// The word on the wire and in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id, made from cell and position of the event that it is about.
    pub id: AlertId,
    /// Kind of that event: `worker.suspected`.
    pub about: String,
    /// Its position.
    pub position: Position,
    /// How much it matters.
    pub severity: Severity,
    /// What kind of thing it happened to: `worker`.
    pub subject_kind: String,
    /// The id of that thing.
    pub subject: String,
    /// What happened, in words.
    pub why: String,
    /// When, in microseconds UTC.
    pub raised_at: i64,
    /// When somebody said that it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<i64>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// That person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Position of its first event: lists are in this order.
    pub created: Position,
    /// Position of its last event.
    pub updated: Position,
}

/// What can happen to an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It was raised.
    #[serde(rename = "alert.raised")]
    Raised {
        /// Its id.
        alert: AlertId,
        /// Kind of the event that it is about.
        about: String,
        /// Position of that event.
        position: Position,
        /// How much it matters.
        severity: Severity,
        /// What kind of thing it happened to.
        subject_kind: String,
        /// The id of that thing.
        subject: String,
        /// What happened, in words.
        why: String,
    },
    /// Somebody has seen it.
    #[serde(rename = "alert.acknowledged")]
    Acknowledged {
        /// That person's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
}

/// The alert that an event raises, where it raises one.
pub fn about(cell: CellId, position: Position, event: &Stored) -> Option<Event> {
    let (severity, default) = meaning(&event.kind, &event.by)?;
    let (subject_kind, subject) = split_stream(&event.stream);
    Some(Event::Raised {
        alert: AlertId::of(cell, position),
        about: event.kind.to_string(),
        position,
        severity,
        subject_kind: subject_kind.to_owned(),
        subject: subject.to_owned(),
        why: words(event).unwrap_or_else(|| default.to_owned()),
    })
}

/// Which events raise an alert, how much it matters, and what it says where the event has no words of its own. Whoever
/// decides something without an administrator is `system`.
fn meaning(kind: &str, by: &str) -> Option<(Severity, &'static str)> {
    use Severity::{Critical, Warning};
    // Most events are of tasks.
    if kind.starts_with("task.") {
        return None;
    }
    match kind {
        "worker.suspected" => Some((Warning, "the worker is suspicious")),
        "worker.revoked" if by == "system" => Some((Critical, "the worker was revoked")),
        "worker.quarantined" if by == "system" => Some((Critical, "the worker was quarantined")),
        "worker.locked" => {
            Some((Critical, "an outdated credential of the worker was used; it is locked"))
        }
        "worker.deaf" => Some((Warning, "the worker asks for no work")),
        "worker.mute" => Some((Warning, "the worker sends no heartbeats")),
        "key.overused" => {
            Some((Critical, "somebody tried to register with an enrollment key that is used up"))
        }
        "run.stuck" => Some((Warning, "the run does not go on")),
        "watch.dead_letters" => Some((Warning, "many tasks fail for good")),
        _ => None,
    }
}

/// What an event itself says: `why`, or the `reason` of a decision; of a used-up key who used it first.
fn words(event: &Stored) -> Option<String> {
    #[derive(Deserialize)]
    struct Said<'a> {
        #[serde(borrow)]
        why: Option<Cow<'a, str>>,
        #[serde(borrow)]
        reason: Option<Cow<'a, str>>,
        #[serde(borrow)]
        first_worker: Option<Cow<'a, str>>,
        #[serde(borrow)]
        name: Option<Cow<'a, str>>,
    }
    let said: Said<'_> = serde_json::from_slice(&event.body).ok()?;
    let used = said.first_worker.map(|first| {
        let name = said.name.unwrap_or(Cow::Borrowed("somebody"));
        Cow::Owned(format!(
            "{name} tried to register with an enrollment key that is used up; worker {first} had used it first"
        ))
    });
    let words = said.why.or(said.reason).or(used)?;
    Some(words.chars().take(WHY_MAX).collect())
}

impl Fold for Alert {
    type Event = Event;
    const KIND: &'static str = "alert";

    fn kind(event: &Event) -> &'static str {
        match event {
            Event::Raised { .. } => "alert.raised",
            Event::Acknowledged { .. } => "alert.acknowledged",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let Event::Raised { alert, about, position, severity, subject_kind, subject, why } = event
        else {
            return None;
        };
        Some(Self {
            id: *alert,
            about: about.clone(),
            position: *position,
            severity: *severity,
            subject_kind: subject_kind.clone(),
            subject: subject.clone(),
            why: why.clone(),
            raised_at: stamp.at,
            acknowledged_at: None,
            acknowledged_by: None,
            note: None,
            created: stamp.seq,
            updated: stamp.seq,
        })
    }

    fn evolve(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.updated = stamp.seq;
        match event {
            Event::Raised { .. } => {}
            Event::Acknowledged { note } => {
                self.acknowledged_at = Some(stamp.at);
                self.acknowledged_by = Some(stamp.by.to_owned());
                self.note = note.clone();
            }
        }
    }

    fn open(&self) -> bool {
        self.acknowledged_at.is_none()
    }

    fn status(&self) -> &'static str {
        if self.open() { "open" } else { "acknowledged" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetward_store::Codec;

    fn event(
        stream: &'static str,
        kind: &'static str,
        by: &'static str,
        body: &'static str,
    ) -> Stored {
        Stored {
            stream: stream.into(),
            kind: kind.into(),
            version: 1,
            codec: Codec::Json,
            at: 7,
            by: by.into(),
            origin: None,
            body: body.into(),
            sealed: None,
        }
    }

    #[test]
    fn table_says_which_events_raise_an_alert() {
        let table = [
            ("task/t", "task.failed", "system", "{}", None),
            ("worker/w", "worker.approved", "token:t", "{}", None),
            ("worker/w", "worker.revoked", "token:t", r#"{"reason":"bye"}"#, None),
            ("worker/w", "worker.revoked", "system", r#"{"reason":"two ways"}"#, Some("two ways")),
            (
                "worker/w",
                "worker.suspected",
                "system",
                r#"{"why":"it \"fails\""}"#,
                Some(r#"it "fails""#),
            ),
            (
                "worker/w",
                "worker.locked",
                "system",
                "{}",
                Some("an outdated credential of the worker was used; it is locked"),
            ),
            (
                "key/k",
                "key.overused",
                "system",
                r#"{"first_worker":"w1","name":"eve","times":1}"#,
                Some(
                    "eve tried to register with an enrollment key that is used up; worker w1 had used it first",
                ),
            ),
        ];
        for (stream, kind, by, body, expected) in table {
            let raised = about(CellId(1), 5, &event(stream, kind, by, body));
            let why = raised.as_ref().map(|raised| match raised {
                Event::Raised { why, .. } => why.as_str(),
                Event::Acknowledged { .. } => "no alert",
            });
            assert_eq!(why, expected, "{kind} by {by}");
        }
    }

    #[test]
    fn same_event_is_the_same_alert() {
        assert_eq!(AlertId::of(CellId(1), 5), AlertId::of(CellId(1), 5));
        assert_ne!(AlertId::of(CellId(1), 5), AlertId::of(CellId(1), 6));
        assert_ne!(AlertId::of(CellId(1), 5), AlertId::of(CellId(2), 5));
    }
}
