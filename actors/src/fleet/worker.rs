//! What a worker is, as the control plane knows it, and what can happen to it. Pure.

pub mod generation;
pub mod tokens;

use serde::{Deserialize, Serialize};

use super::public_key::PublicKey;
use super::suspicion::{self, Finding, Silence, Suspicion};
use super::task::Profile;
use crate::fact::{Fold, Stamp};
use crate::id::{KeyId, SigningKeyId, TaskTokenId, WorkerId};
use tokens::{Issued, Tokens};

/// Whether a worker may work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Registered, waiting for an administrator.
    Pending,
    /// May claim tasks.
    Approved,
    /// Under suspicion: gets no new tasks until somebody decides; what it has runs on.
    Quarantined,
    /// A copy of one of its tokens was seen: it gets nothing, and what it had is given to others, until somebody unlocks it.
    Locked,
    /// Refused before it ever worked. Final.
    Rejected,
    /// May not work any more. Final.
    Revoked,
}

impl Standing {
    /// The word on the wire and in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Quarantined => "quarantined",
            Self::Locked => "locked",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
        }
    }

    /// Whether it may speak for what it holds: claim (though it may get nothing), report, renew.
    pub fn may_work(self) -> bool {
        matches!(self, Self::Approved | Self::Quarantined)
    }

    /// Whether no later event can change it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Rejected | Self::Revoked)
    }
}

/// A registered worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// What it calls itself.
    pub name: String,
    /// The enrollment key it came with.
    pub key: KeyId,
    /// What that key is called.
    #[serde(default)]
    pub key_name: Option<String>,
    /// What it may and can run.
    pub profile: Profile,
    /// The model names as it declared them.
    pub declared_models: Vec<String>,
    /// How many tasks it runs at once.
    pub seats: u32,
    /// SHA-256 of its secret, hex; empty for one with a key pair, which has none.
    pub secret_hash: String,
    /// The identity of the client certificate that it registered with: it is heard over no other from then on.
    /// None: it came without one, and is bound to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The public half of its key pair.
    #[serde(default)]
    pub public_key: Option<PublicKey>,
    /// It runs in the process of the control plane.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_process: bool,
    /// Its task tokens.
    #[serde(default)]
    pub tokens: Tokens,
    /// What it was before it was locked.
    #[serde(default)]
    pub locked_from: Option<Standing>,
    /// Whether it may work.
    pub standing: Standing,
    /// When it registered, in microseconds UTC.
    pub registered_at: i64,
    /// When its standing last changed.
    #[serde(default)]
    pub decided_at: Option<i64>,
    /// Who changed it.
    #[serde(default)]
    pub decided_by: Option<String>,
    /// Why, in that person's words.
    #[serde(default)]
    pub reason: Option<String>,
    /// It gets no new tasks for now; what it has runs on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// What is suspicious of it, until an administrator resets that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspicions: Vec<Suspicion>,
    /// Since when it sends heartbeats and asks for no work, though it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deaf_since: Option<i64>,
    /// Since when it asks for work and sends no heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute_since: Option<i64>,
    /// Position of its first event: lists are in this order.
    #[serde(default)]
    pub created: u64,
    /// Position of its last event: what is known of it is known as of there.
    pub updated: u64,
}

/// What can happen to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It came with a valid enrollment key.
    #[serde(rename = "worker.registered")]
    Registered {
        /// Its id.
        worker: WorkerId,
        /// What it calls itself.
        name: String,
        /// With which key.
        key: KeyId,
        /// What it may and can run: its declaration narrowed by the key.
        profile: Box<Profile>,
        /// The model names as it declared them.
        declared_models: Vec<String>,
        /// How many tasks at once.
        seats: u32,
        /// SHA-256 of its secret, hex; empty for one with a key pair.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        secret_hash: String,
        /// The identity of its client certificate, where it came with one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<String>,
        /// The public half of its key pair.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public_key: Option<PublicKey>,
        /// What the enrollment key is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_name: Option<String>,
        /// It runs in the process of the control plane.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_process: bool,
    },
    /// It may work.
    #[serde(rename = "worker.approved")]
    Approved {
        /// Why, where somebody said it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It may not join.
    #[serde(rename = "worker.rejected")]
    Rejected {
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It may not work any more.
    #[serde(rename = "worker.revoked")]
    Revoked {
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It is under suspicion.
    #[serde(rename = "worker.quarantined")]
    Quarantined {
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It gets no new tasks for now.
    #[serde(rename = "worker.paused")]
    Paused {
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It gets tasks again.
    #[serde(rename = "worker.resumed")]
    Resumed {},
    /// It is suspicious in one more way.
    #[serde(rename = "worker.suspected")]
    Suspected {
        /// In what way, with figures.
        #[serde(flatten)]
        finding: Finding,
    },
    /// It is not suspicious in this way any more, without anybody's doing: it is heard again.
    #[serde(rename = "worker.suspicion_passed")]
    SuspicionPassed {
        /// In what way.
        suspicion: suspicion::Kind,
    },
    /// An administrator says that it is not suspicious.
    #[serde(rename = "worker.suspicions_reset")]
    SuspicionsReset {
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It sends heartbeats, and asks for no work though it could.
    #[serde(rename = "worker.deaf")]
    TurnedDeaf {
        /// Since when, in microseconds UTC.
        since: i64,
        /// In words.
        why: String,
    },
    /// It asks for work, and sends no heartbeats.
    #[serde(rename = "worker.mute")]
    TurnedMute {
        /// Since when, in microseconds UTC.
        since: i64,
        /// In words.
        why: String,
    },
    /// It does again what it left out.
    #[serde(rename = "worker.recovered")]
    Recovered {
        /// What it had been.
        from: Silence,
    },
    /// It proved its key and got a task token.
    #[serde(rename = "worker.token_issued")]
    TokenIssued {
        /// The token's id.
        token: TaskTokenId,
        /// Its generation.
        generation: u32,
        /// The newest generation that was used until then.
        used: u32,
        /// When the token ends, in microseconds UTC.
        expires_at: i64,
        /// Which key signed it.
        signed_by: SigningKeyId,
    },
    /// One of its tokens was taken back.
    #[serde(rename = "worker.token_revoked")]
    TokenRevoked {
        /// The token's id.
        token: TaskTokenId,
        /// When it would have ended, in microseconds UTC.
        expires_at: i64,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A token of an older generation was shown after a newer one was used: there is a copy of it.
    #[serde(rename = "worker.locked")]
    Locked {
        /// The generation that was shown.
        seen: u32,
        /// The newest that was used.
        used: u32,
        /// What that means.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// An administrator looked at it: it is what it was before.
    #[serde(rename = "worker.unlocked")]
    Unlocked {
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl Worker {
    /// Whether it gets no new tasks, though it may work.
    pub fn rests(&self) -> bool {
        self.paused || self.standing == Standing::Quarantined
    }

    fn decide_on(&mut self, standing: Standing, reason: Option<&String>, stamp: Stamp<'_>) {
        self.standing = standing;
        self.decided_at = Some(stamp.at);
        self.decided_by = Some(stamp.by.to_owned());
        self.reason = reason.cloned();
    }
}

impl Fold for Worker {
    type Event = Event;
    const KIND: &'static str = "worker";

    fn kind(event: &Event) -> &'static str {
        match event {
            Event::Registered { .. } => "worker.registered",
            Event::Approved { .. } => "worker.approved",
            Event::Rejected { .. } => "worker.rejected",
            Event::Revoked { .. } => "worker.revoked",
            Event::Quarantined { .. } => "worker.quarantined",
            Event::Paused { .. } => "worker.paused",
            Event::Resumed {} => "worker.resumed",
            Event::Suspected { .. } => "worker.suspected",
            Event::SuspicionPassed { .. } => "worker.suspicion_passed",
            Event::SuspicionsReset { .. } => "worker.suspicions_reset",
            Event::TurnedDeaf { .. } => "worker.deaf",
            Event::TurnedMute { .. } => "worker.mute",
            Event::Recovered { .. } => "worker.recovered",
            Event::TokenIssued { .. } => "worker.token_issued",
            Event::TokenRevoked { .. } => "worker.token_revoked",
            Event::Locked { .. } => "worker.locked",
            Event::Unlocked { .. } => "worker.unlocked",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let Event::Registered {
            worker,
            name,
            key,
            profile,
            declared_models,
            seats,
            secret_hash,
            certificate,
            public_key,
            key_name,
            in_process,
        } = event
        else {
            return None;
        };
        Some(Self {
            id: *worker,
            name: name.clone(),
            key: *key,
            key_name: key_name.clone(),
            profile: (**profile).clone(),
            declared_models: declared_models.clone(),
            seats: *seats,
            secret_hash: secret_hash.clone(),
            certificate: certificate.clone(),
            public_key: *public_key,
            in_process: *in_process,
            tokens: Tokens::default(),
            locked_from: None,
            standing: Standing::Pending,
            registered_at: stamp.at,
            decided_at: None,
            decided_by: None,
            reason: None,
            paused: false,
            suspicions: Vec::new(),
            deaf_since: None,
            mute_since: None,
            created: stamp.seq,
            updated: stamp.seq,
        })
    }

    fn evolve(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.updated = stamp.seq;
        match event {
            Event::Registered { .. } => {}
            Event::Approved { reason } => {
                self.decide_on(Standing::Approved, reason.as_ref(), stamp);
                // Whoever lets it work again has looked at them.
                self.suspicions.clear();
            }
            Event::Rejected { reason } => {
                self.decide_on(Standing::Rejected, reason.as_ref(), stamp);
            }
            Event::Revoked { reason } => self.decide_on(Standing::Revoked, reason.as_ref(), stamp),
            Event::Quarantined { reason } => {
                self.decide_on(Standing::Quarantined, reason.as_ref(), stamp);
            }
            Event::Paused { reason } => {
                self.decide_on(self.standing, reason.as_ref(), stamp);
                self.paused = true;
            }
            Event::Resumed {} => {
                self.decide_on(self.standing, None, stamp);
                self.paused = false;
            }
            Event::Suspected { finding } => {
                let suspicion = Suspicion { finding: finding.clone(), at: stamp.at };
                self.suspicions.retain(|known| known.finding.suspicion != finding.suspicion);
                self.suspicions.push(suspicion);
            }
            Event::SuspicionPassed { suspicion } => {
                self.suspicions.retain(|known| known.finding.suspicion != *suspicion);
            }
            Event::SuspicionsReset { .. } => self.suspicions.clear(),
            Event::TurnedDeaf { since, .. } => self.deaf_since = Some(*since),
            Event::TurnedMute { since, .. } => self.mute_since = Some(*since),
            Event::Recovered { from: Silence::Deaf } => self.deaf_since = None,
            Event::Recovered { from: Silence::Mute } => self.mute_since = None,
            Event::TokenIssued { token, generation, used, expires_at, signed_by } => {
                let (id, generation, signed_by) = (*token, *generation, *signed_by);
                let (at, expires_at) = (stamp.at, *expires_at);
                self.tokens.issue(Issued { id, generation, at, expires_at, signed_by }, *used);
            }
            Event::TokenRevoked { token, expires_at, .. } => {
                self.tokens.take_back(*token, *expires_at, stamp.at);
            }
            Event::Locked { used, reason, .. } => {
                self.locked_from = Some(self.standing);
                self.tokens.used = self.tokens.used.max(*used);
                self.decide_on(Standing::Locked, reason.as_ref(), stamp);
            }
            Event::Unlocked { reason } => {
                let standing = self.locked_from.take().unwrap_or(Standing::Approved);
                self.decide_on(standing, reason.as_ref(), stamp);
            }
        }
    }

    fn open(&self) -> bool {
        !self.standing.is_final()
    }

    fn status(&self) -> &'static str {
        self.standing.as_str()
    }
}
