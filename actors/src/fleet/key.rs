//! What an enrollment key is and what can happen to it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::fact::{Fold, Stamp};
use crate::id::{KeyId, WorkerId};

/// What a worker that registers with a key is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The project, or none.
    #[serde(default)]
    pub project: Option<String>,
    /// More projects that it takes tasks of.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub shared_with: BTreeSet<String>,
    /// Pools it may stand in; empty: any.
    #[serde(default)]
    pub pools: Vec<String>,
    /// Models it may declare, canonical; empty: any.
    #[serde(default)]
    pub models: Vec<String>,
    /// Labels it gets, whatever it says itself.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Approved at once, without an administrator.
    #[serde(default)]
    pub auto_approve: bool,
}

/// An enrollment key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What its maker calls it.
    pub name: String,
    /// SHA-256 of the key's text, hex.
    pub hash: String,
    /// How many workers may register with it.
    pub max_uses: u32,
    /// How many did.
    pub uses: u32,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
    /// What it binds a worker to.
    pub binding: Binding,
    /// Who took it back, where somebody did.
    #[serde(default)]
    pub revoked_by: Option<String>,
    /// The first worker that registered with it.
    #[serde(default)]
    pub first_worker: Option<WorkerId>,
    /// How often somebody tried to use it after it was used up or taken back.
    #[serde(default)]
    pub overused: u32,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
    /// By whom.
    pub created_by: String,
    /// Position of its first event: lists are in this order.
    #[serde(default)]
    pub created: u64,
    /// Position of its last event.
    pub updated: u64,
}

/// What can happen to an enrollment key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It was made. Its text was shown once and is nowhere.
    #[serde(rename = "key.created")]
    Created {
        /// Its id.
        key: KeyId,
        /// Its name.
        name: String,
        /// SHA-256 of its text, hex.
        hash: String,
        /// How many workers may register with it.
        max_uses: u32,
        /// When it ends, in microseconds UTC.
        expires_at: i64,
        /// What it binds a worker to.
        binding: Binding,
    },
    /// A worker registered with it.
    #[serde(rename = "key.used")]
    Used {
        /// Which.
        worker: WorkerId,
    },
    /// It was taken back.
    #[serde(rename = "key.revoked")]
    Revoked {},
    /// Somebody tried to use it after it was used up or taken back: perhaps it was stolen. At most one a minute.
    #[serde(rename = "key.overused")]
    Overused {
        /// The first worker that registered with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_worker: Option<WorkerId>,
        /// What the one who tried it called itself.
        name: String,
        /// The fingerprint of that one's public key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<String>,
        /// How often it was tried since the event before.
        times: u32,
    },
}

impl Key {
    /// Whether all its uses are spent.
    pub fn is_used_up(&self) -> bool {
        self.uses >= self.max_uses
    }
}

impl Fold for Key {
    type Event = Event;
    const KIND: &'static str = "key";

    fn kind(event: &Event) -> &'static str {
        match event {
            Event::Created { .. } => "key.created",
            Event::Used { .. } => "key.used",
            Event::Revoked {} => "key.revoked",
            Event::Overused { .. } => "key.overused",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let Event::Created { key, name, hash, max_uses, expires_at, binding } = event else {
            return None;
        };
        Some(Self {
            id: *key,
            name: name.clone(),
            hash: hash.clone(),
            max_uses: *max_uses,
            uses: 0,
            expires_at: *expires_at,
            binding: binding.clone(),
            revoked_by: None,
            first_worker: None,
            overused: 0,
            created_at: stamp.at,
            created_by: stamp.by.to_owned(),
            created: stamp.seq,
            updated: stamp.seq,
        })
    }

    fn evolve(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.updated = stamp.seq;
        match event {
            Event::Created { .. } => {}
            Event::Used { worker } => {
                self.uses += 1;
                self.first_worker.get_or_insert(*worker);
            }
            Event::Revoked {} => self.revoked_by = Some(stamp.by.to_owned()),
            Event::Overused { times, .. } => self.overused = self.overused.saturating_add(*times),
        }
    }

    fn open(&self) -> bool {
        self.revoked_by.is_none() && !self.is_used_up()
    }

    fn status(&self) -> &'static str {
        match () {
            () if self.revoked_by.is_some() => "revoked",
            () if self.is_used_up() => "used",
            () => "active",
        }
    }
}
