//! A key that an organisation's payloads are sealed with. Pure.

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use crate::fact::{Fold, Stamp};
use crate::id::OrgId;
use crate::seal::KeyState;

/// One key of a ring. The key itself is sealed beside its first event, by the master key, and kept with its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadKey {
    /// Whose.
    pub org: OrgId,
    /// Its number: from 1 on, unique in its ring.
    pub number: u32,
    /// Where it stands.
    pub state: KeyState,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
    /// By whom.
    pub created_by: String,
    /// When it came to stand where it stands, in microseconds UTC.
    pub changed_at: i64,
    /// Position of its last event.
    pub updated: Position,
}

/// What can happen to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum PayloadKeyEvent {
    /// It was made. It is sealed beside this.
    #[serde(rename = "payload_key.added")]
    Added {
        /// Whose.
        org: OrgId,
        /// Its number.
        number: u32,
        /// The first key of a ring seals from the start.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        primary: bool,
    },
    /// It seals from now on.
    #[serde(rename = "payload_key.promoted")]
    Promoted {},
    /// Another one seals from now on.
    #[serde(rename = "payload_key.retained")]
    Retained {},
    /// Nothing is sealed with it, and nothing will be.
    #[serde(rename = "payload_key.retired")]
    Retired {},
}

impl PayloadKey {
    /// The id of its stream and record.
    pub fn id(org: OrgId, number: u32) -> String {
        format!("{org}.{number}")
    }

    /// What its sealed form is bound to, besides the organisation.
    pub fn subject(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }
}

impl Fold for PayloadKey {
    type Event = PayloadKeyEvent;
    const KIND: &'static str = "payload_key";

    fn kind(event: &PayloadKeyEvent) -> &'static str {
        match event {
            PayloadKeyEvent::Added { .. } => "payload_key.added",
            PayloadKeyEvent::Promoted {} => "payload_key.promoted",
            PayloadKeyEvent::Retained {} => "payload_key.retained",
            PayloadKeyEvent::Retired {} => "payload_key.retired",
        }
    }

    fn begin(event: &PayloadKeyEvent, stamp: Stamp<'_>) -> Option<Self> {
        let PayloadKeyEvent::Added { org, number, primary } = event else { return None };
        Some(Self {
            org: *org,
            number: *number,
            state: if *primary { KeyState::Primary } else { KeyState::Added },
            created_at: stamp.at,
            created_by: stamp.by.to_owned(),
            changed_at: stamp.at,
            updated: stamp.seq,
        })
    }

    fn evolve(&mut self, event: &PayloadKeyEvent, stamp: Stamp<'_>) {
        (self.changed_at, self.updated) = (stamp.at, stamp.seq);
        match event {
            PayloadKeyEvent::Added { .. } => {}
            PayloadKeyEvent::Promoted {} => self.state = KeyState::Primary,
            PayloadKeyEvent::Retained {} => self.state = KeyState::Retained,
            PayloadKeyEvent::Retired {} => self.state = KeyState::Retired,
        }
    }

    fn open(&self) -> bool {
        // A retired one is known too: its number is not given again.
        true
    }

    fn status(&self) -> &'static str {
        self.state.as_str()
    }

    fn keeps_sealed(event: &PayloadKeyEvent) -> bool {
        matches!(event, PayloadKeyEvent::Added { .. })
    }
}
