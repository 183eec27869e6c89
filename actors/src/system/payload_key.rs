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
    /// Position from which on it seals no more, if it ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained: Option<Position>,
    /// The last re-encryption to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reencryption: Option<Reencryption>,
}

/// How far everything that older keys sealed is sealed with this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reencryption {
    /// When it was asked for, in microseconds UTC.
    pub started_at: i64,
    /// The same as a position in the record of the system.
    #[serde(default)]
    pub started: Position,
    /// When it was done, in microseconds UTC; none: it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<i64>,
    /// Events up to here were looked at: a restart goes on after them.
    pub events: Position,
    /// Values that were sealed again.
    pub resealed: u64,
    /// Values that do not open and were left as they are.
    pub broken: u64,
}

/// What can happen to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What older keys sealed is to be sealed with it.
    #[serde(rename = "payload_key.reencryption_started")]
    ReencryptionStarted {},
    /// So far it is.
    #[serde(rename = "payload_key.reencryption_advanced")]
    ReencryptionAdvanced {
        /// Events up to here were looked at.
        events: Position,
        /// Values that were sealed again, since it started.
        resealed: u64,
    },
    /// It is.
    #[serde(rename = "payload_key.reencryption_finished")]
    ReencryptionFinished {
        /// Values that were sealed again, in all.
        resealed: u64,
        /// Values that do not open.
        broken: u64,
    },
    /// The keys of its ring were given out, to be given to workers.
    #[serde(rename = "payload_key.exported")]
    Exported {
        /// Their numbers.
        keys: Vec<u32>,
    },
    /// Nothing is sealed with it, and nothing will be.
    #[serde(rename = "payload_key.retired")]
    Retired {},
}

impl PayloadKey {
    /// The id of its stream and record.
    pub fn id(org: OrgId, number: u32) -> String {
        format!("{org}.{number}")
    }

    /// Whether a re-encryption to it runs.
    pub fn is_reencrypting(&self) -> bool {
        self.reencryption.as_ref().is_some_and(|known| known.finished_at.is_none())
    }

    /// Whether nothing is sealed with it for certain, as far as its ring knows: it never sealed, or a re-encryption that began
    /// after it had stopped came to its end and left nothing out.
    pub fn is_free(&self, ring: &[Self]) -> bool {
        let done = |retained: Position| {
            let known = ring.iter().filter_map(|key| key.reencryption.as_ref());
            let mut known = known.filter(|known| known.finished_at.is_some() && known.broken == 0);
            known.any(|known| known.started > retained)
        };
        match self.state {
            KeyState::Added | KeyState::Retired => true,
            KeyState::Primary => false,
            KeyState::Retained => self.retained.is_some_and(done),
        }
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
            PayloadKeyEvent::ReencryptionStarted {} => "payload_key.reencryption_started",
            PayloadKeyEvent::ReencryptionAdvanced { .. } => "payload_key.reencryption_advanced",
            PayloadKeyEvent::ReencryptionFinished { .. } => "payload_key.reencryption_finished",
            PayloadKeyEvent::Exported { .. } => "payload_key.exported",
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
            retained: None,
            reencryption: None,
        })
    }

    fn evolve(&mut self, event: &PayloadKeyEvent, stamp: Stamp<'_>) {
        (self.changed_at, self.updated) = (stamp.at, stamp.seq);
        let started_at = stamp.at;
        let begun = Reencryption {
            started_at,
            started: stamp.seq,
            finished_at: None,
            events: 0,
            resealed: 0,
            broken: 0,
        };
        match event {
            PayloadKeyEvent::Added { .. } | PayloadKeyEvent::Exported { .. } => {}
            PayloadKeyEvent::Promoted {} => self.state = KeyState::Primary,
            PayloadKeyEvent::Retained {} => {
                (self.state, self.retained) = (KeyState::Retained, Some(stamp.seq));
            }
            PayloadKeyEvent::Retired {} => self.state = KeyState::Retired,
            PayloadKeyEvent::ReencryptionStarted {} => self.reencryption = Some(begun),
            PayloadKeyEvent::ReencryptionAdvanced { events, resealed } => {
                let known = self.reencryption.get_or_insert(begun);
                (known.events, known.resealed) = (*events, *resealed);
            }
            PayloadKeyEvent::ReencryptionFinished { resealed, broken } => {
                let known = self.reencryption.get_or_insert(begun);
                (known.resealed, known.broken) = (*resealed, *broken);
                known.finished_at = Some(stamp.at);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The ring after these things happened, one after the other, to the keys of these numbers.
    fn ring(story: &[(u32, PayloadKeyEvent)]) -> Vec<PayloadKey> {
        let mut ring: Vec<PayloadKey> = Vec::new();
        for ((number, event), seq) in story.iter().zip(1..) {
            let stamp = Stamp { seq, at: 7, by: "t" };
            match ring.iter_mut().find(|key| key.number == *number) {
                Some(key) => key.evolve(event, stamp),
                None => ring.extend(PayloadKey::begin(event, stamp)),
            }
        }
        ring
    }

    const NONE: [u32; 0] = [];

    #[test]
    fn key_is_free_once_everything_was_looked_at_after_its_last_day() {
        use PayloadKeyEvent::{
            Added, Promoted, ReencryptionFinished, ReencryptionStarted, Retained,
        };
        let added = |number| (number, Added { org: OrgId::fresh(), number, primary: number == 1 });
        let free = |story: &[(u32, PayloadKeyEvent)]| -> Vec<u32> {
            let ring = ring(story);
            ring.iter().filter(|key| key.is_free(&ring)).map(|key| key.number).collect()
        };
        let done = |broken| ReencryptionFinished { resealed: 9, broken };
        let mut story = vec![added(1), added(2)];
        assert_eq!(free(&story), [2], "one that never sealed");
        story.extend([(1, ReencryptionStarted {}), (1, done(0))]);
        story.extend([(1, Retained {}), (2, Promoted {})]);
        assert_eq!(free(&story), NONE, "that was before the first one ended");
        story.push((2, ReencryptionStarted {}));
        assert_eq!(free(&story), NONE, "not yet");
        assert_eq!(free(&[&story[..], &[(2, done(1))]].concat()), NONE, "something does not open");
        story.push((2, done(0)));
        assert_eq!(free(&story), [1]);
        story.extend([added(3), (2, Retained {}), (3, Promoted {})]);
        assert_eq!(free(&story), [1], "whatever became of the second one");
        story.extend([(3, Retained {}), (1, Promoted {}), (1, Retained {}), (2, Promoted {})]);
        assert_eq!(free(&story), NONE, "it was in use again");
    }
}
