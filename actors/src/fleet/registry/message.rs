//! What the registry can be told.

use std::sync::Arc;

use fleetward_runtime::Reply;
use fleetward_store::Origin;

use super::rules::{Application, Verdict};
use super::{Asked, Attempt, Joined, NewKey, NewTaskToken, Roster};
use crate::access;
use crate::cause::Cause;
use crate::error::Error;
use crate::fleet::anomaly::Sighting;
use crate::fleet::key::Key;
use crate::fleet::policy::{Change, Policy};
use crate::fleet::worker::Worker;
use crate::fleet::worker::tokens::TakenBack;
use crate::id::{KeyId, TaskTokenId, WorkerId};

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From an administrator.
    CreateKey {
        /// What to make.
        key: Box<NewKey>,
        /// Who asks.
        by: Cause,
        /// The key as it is now.
        reply: Reply<Result<Key, Error>>,
    },
    /// From an administrator.
    RevokeKey {
        /// Which.
        key: KeyId,
        /// Who asks.
        by: Cause,
        /// Done, or the record says more.
        reply: Reply<Result<Asked<()>, Error>>,
    },
    /// From a process that wants to be a worker.
    Register {
        /// What it comes with.
        attempt: Attempt,
        /// What it says.
        application: Box<Application>,
        /// The worker as it is now.
        reply: Reply<Result<Joined, Error>>,
    },
    /// From the `Handle` of a registration: a key that has left memory was tried again.
    Overused {
        /// As its record says.
        key: Box<Key>,
        /// What the process called itself.
        name: String,
        /// The fingerprint of its public key.
        fingerprint: Option<String>,
        /// By which request.
        origin: Option<Arc<Origin>>,
        /// Noted.
        reply: Reply<()>,
    },
    /// From a worker that proved its key.
    IssueToken {
        /// Which.
        worker: WorkerId,
        /// What it asks for.
        token: NewTaskToken,
        /// By which request.
        origin: Option<Arc<Origin>>,
        /// The worker as it is now, or the record says more.
        reply: Reply<Result<Asked<Worker>, Error>>,
    },
    /// From an administrator.
    RevokeToken {
        /// Which.
        token: TaskTokenId,
        /// Why.
        reason: Option<String>,
        /// Who asks.
        by: Cause,
        /// The worker whose it is.
        reply: Reply<Result<Worker, Error>>,
    },
    /// From the `Handle` of a request with a copy of a token.
    Lock {
        /// Whose.
        worker: WorkerId,
        /// The generation that was shown.
        seen: u32,
        /// The newest that was used.
        used: u32,
        /// By which request.
        origin: Option<Arc<Origin>>,
        /// It is locked, or was.
        reply: Reply<()>,
    },
    /// From an administrator.
    Decide {
        /// About whom.
        worker: WorkerId,
        /// What.
        verdict: Verdict,
        /// Why.
        reason: Option<String>,
        /// Who asks.
        by: Cause,
        /// The worker as it is now, or the record says more.
        reply: Reply<Result<Asked<Worker>, Error>>,
    },
    /// From a worker's `Handle`: it sees other models at its endpoints than before.
    Probed {
        /// Which.
        worker: WorkerId,
        /// The dispatcher was told: what it hears afterwards it hears as of then.
        reply: Reply<()>,
    },
    /// From an administrator.
    Govern {
        /// What shall be different.
        change: Change,
        /// Who asks.
        by: Cause,
        /// The policy as it is now.
        reply: Reply<Policy>,
    },
    /// From the control plane: what changes nothing and is yet on the record.
    Note {
        /// What.
        event: access::Event,
        /// Who, by which request.
        by: Cause,
        /// It is durable.
        reply: Reply<()>,
    },
    /// From a caller that asks for the policy.
    Policy {
        /// As it is now.
        reply: Reply<Policy>,
    },
    /// From the dispatcher when it starts.
    Roster {
        /// Everyone who may work, and the policy.
        reply: Reply<Roster>,
    },
    /// From a connection when it starts, and from callers that ask for one worker.
    Look {
        /// Which.
        worker: WorkerId,
        /// As it is now.
        reply: Reply<Option<Worker>>,
    },
    /// From the anomaly detector.
    Sighted {
        /// What it saw.
        sighting: Box<Sighting>,
    },
    /// From an administrator: what was seen of a worker means nothing.
    Absolve {
        /// Which.
        worker: WorkerId,
        /// Why.
        reason: Option<String>,
        /// Who asks.
        by: Cause,
        /// The worker as it is now, or the record says more.
        reply: Reply<Result<Asked<Worker>, Error>>,
    },
    /// From a caller that asks who is suspicious, deaf or mute.
    Suspects {
        /// All of them, the newest first.
        reply: Reply<Vec<Worker>>,
    },
    /// From a caller that asks which task tokens were taken back.
    RevokedTokens {
        /// With their workers, those that were taken back last first.
        reply: Reply<Vec<(WorkerId, TakenBack)>>,
    },
    /// Timer: tell the dispatcher of everyone again.
    ReconcileDue,
}

impl Message {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::CreateKey { .. } => "CreateKey",
            Self::RevokeKey { .. } => "RevokeKey",
            Self::Register { .. } => "Register",
            Self::Overused { .. } => "Overused",
            Self::IssueToken { .. } => "IssueToken",
            Self::RevokeToken { .. } => "RevokeToken",
            Self::Lock { .. } => "Lock",
            Self::Decide { .. } => "Decide",
            Self::Probed { .. } => "Probed",
            Self::Govern { .. } => "Govern",
            Self::Note { .. } => "Note",
            Self::Policy { .. } => "Policy",
            Self::Roster { .. } => "Roster",
            Self::Look { .. } => "Look",
            Self::Sighted { .. } => "Sighted",
            Self::Absolve { .. } => "Absolve",
            Self::Suspects { .. } => "Suspects",
            Self::RevokedTokens { .. } => "RevokedTokens",
            Self::ReconcileDue => "ReconcileDue",
        }
    }
}
