//! Where alerts are sent: a webhook of an organisation, and how far it has come. Pure.

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use crate::fact::{Fold, Stamp};
use crate::id::{AlertId, SinkId};

/// Most sinks of an organisation.
pub const SINKS_MAX: usize = 16;
/// How long the old secret signs beside a new one, in microseconds: a day.
pub const ROTATION_US: i64 = 86_400_000_000;

/// A webhook. Its address and its secrets are sealed beside its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sink {
    /// Its id.
    pub id: SinkId,
    /// What its maker calls it.
    pub name: String,
    /// Scheme and host of its address: the rest may be secret.
    pub origin: String,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
    /// By whom.
    pub created_by: String,
    /// Alerts up to this position are delivered or given up: in order, one after the other.
    pub cursor: Position,
    /// How many were delivered.
    pub delivered: u64,
    /// How many were given up.
    pub given_up: u64,
    /// When the last one was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<i64>,
    /// Why the last one that was given up could not be delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Until when the secret before this one signs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_until: Option<i64>,
    /// Nothing is sent there any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    /// Position of its first event.
    pub created: Position,
    /// Position of its last event.
    pub updated: Position,
}

/// What can happen to a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It was made. Address and secret are sealed beside it.
    #[serde(rename = "sink.created")]
    Created {
        /// Its id.
        sink: SinkId,
        /// Its name.
        name: String,
        /// Scheme and host of its address.
        origin: String,
    },
    /// It has a new secret; the old one signs too for a while. Address and both are sealed beside it.
    #[serde(rename = "sink.secret_rotated")]
    SecretRotated {
        /// Until when the old one signs, in microseconds UTC.
        old_until: i64,
    },
    /// Nothing is sent there any more.
    #[serde(rename = "sink.removed")]
    Removed {},
    /// An alert was taken there.
    #[serde(rename = "sink.delivered")]
    Delivered {
        /// Which.
        alert: AlertId,
        /// Its position.
        position: Position,
    },
    /// An alert could not be delivered in its time.
    #[serde(rename = "sink.gave_up")]
    GaveUp {
        /// Which.
        alert: AlertId,
        /// Its position.
        position: Position,
        /// What went wrong last.
        error: String,
    },
}

impl Fold for Sink {
    type Event = Event;
    const KIND: &'static str = "sink";

    fn kind(event: &Event) -> &'static str {
        match event {
            Event::Created { .. } => "sink.created",
            Event::SecretRotated { .. } => "sink.secret_rotated",
            Event::Removed {} => "sink.removed",
            Event::Delivered { .. } => "sink.delivered",
            Event::GaveUp { .. } => "sink.gave_up",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let Event::Created { sink, name, origin } = event else { return None };
        Some(Self {
            id: *sink,
            name: name.clone(),
            origin: origin.clone(),
            created_at: stamp.at,
            created_by: stamp.by.to_owned(),
            // What was raised before it was there is not for it.
            cursor: stamp.seq,
            delivered: 0,
            given_up: 0,
            delivered_at: None,
            last_error: None,
            old_until: None,
            removed: false,
            created: stamp.seq,
            updated: stamp.seq,
        })
    }

    fn evolve(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.updated = stamp.seq;
        match event {
            Event::Created { .. } => {}
            Event::SecretRotated { old_until } => self.old_until = Some(*old_until),
            Event::Removed {} => self.removed = true,
            Event::Delivered { position, .. } => {
                self.cursor = self.cursor.max(*position);
                self.delivered += 1;
                self.delivered_at = Some(stamp.at);
            }
            Event::GaveUp { position, error, .. } => {
                self.cursor = self.cursor.max(*position);
                self.given_up += 1;
                self.last_error = Some(error.clone());
            }
        }
    }

    fn open(&self) -> bool {
        !self.removed
    }

    fn status(&self) -> &'static str {
        if self.removed { "removed" } else { "active" }
    }

    fn keeps_sealed(event: &Event) -> bool {
        matches!(event, Event::Created { .. } | Event::SecretRotated { .. })
    }
}
