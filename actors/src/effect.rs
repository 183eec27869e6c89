//! What may happen once events are durable. Effects are data: the journal releases them in order after
//! the commit and knows nothing of what they mean.

use std::sync::Arc;

use fleetward_runtime::{Address, Answer};

use crate::fleet::alert::Alert;
use crate::fleet::alerts;
use crate::fleet::connection;
use crate::fleet::credentials::{Credential, Credentials};
use crate::fleet::models::{ModelNames, Overrides};
use crate::id::WorkerId;
use crate::system::principals::{Change, Principals};
use crate::system::signers::{Signers, SigningSecret};
use crate::system::signing_key::SigningKey;
use crate::workflows::shelf::Shelf;
use crate::workflows::workflow::Workflow;

/// One thing to release.
#[derive(Debug)]
pub enum Effect {
    /// A reply to a caller.
    Answer(Answer),
    /// A task for a parked poll. Derived from the lease in the dispatcher's task: a connection that missed
    /// it learns of the lease when it next reconciles.
    Grant {
        /// The connection of the worker.
        to: Address<connection::Message>,
        /// The task.
        grant: Box<connection::Grant>,
    },
    /// What is known of a worker's credential. Derived from the registry's worker: rebuilt when its cell starts.
    Credential {
        /// The index of its cell.
        index: Arc<Credentials>,
        /// Whose.
        worker: WorkerId,
        /// What is true now.
        credential: Credential,
    },
    /// Whether workers may prove themselves by id and secret. Derived from the registry's policy: rebuilt when its cell
    /// starts.
    LegacyHeaders {
        /// The index of its cell.
        index: Arc<Credentials>,
        /// Whether they may not.
        off: bool,
    },
    /// What an organisation calls models. Derived from the registry's policy: rebuilt when its cell starts.
    ModelNames {
        /// The index of its cell.
        index: Arc<ModelNames>,
        /// What is true now.
        overrides: Arc<Overrides>,
    },
    /// What is known of a workflow. Derived from the catalogue: rebuilt when its cell starts.
    Workflow {
        /// Where everybody reads.
        index: Arc<Shelf>,
        /// What is true now.
        workflow: Arc<Workflow>,
    },
    /// An alert that was raised. Derived from its record: the alerts' actor reads the open ones when it starts.
    Alert {
        /// Who is told.
        to: Address<alerts::Message>,
        /// The alert.
        alert: Box<Alert>,
    },
    /// A change of organisations or operators' tokens. Derived from the directory: rebuilt when it starts.
    Principals {
        /// The index.
        index: Arc<Principals>,
        /// What is true now.
        change: Change,
    },
    /// What is true of a signing key. Derived from the directory: rebuilt when it starts.
    SigningKey {
        /// The index.
        index: Arc<Signers>,
        /// The key.
        key: Box<SigningKey>,
        /// Its private half, where it is new.
        secret: Option<Box<SigningSecret>>,
    },
}

impl Effect {
    /// Lets it happen. A receiver that is gone has nothing to lose: its next life reconciles.
    pub(crate) fn release(self) {
        match self {
            Self::Answer(answer) => answer.release(),
            Self::Grant { to, grant } => {
                if let Err(unavailable) = to.send(connection::Message::Granted { grant }) {
                    tracing::debug!(%unavailable, "a grant found no connection");
                }
            }
            Self::Credential { index, worker, credential } => index.set(worker, credential),
            Self::LegacyHeaders { index, off } => index.set_legacy_headers_off(off),
            Self::ModelNames { index, overrides } => index.set(overrides),
            Self::Workflow { index, workflow } => index.set(workflow),
            Self::Alert { to, alert } => {
                if let Err(unavailable) = to.send(alerts::Message::Raised { alert }) {
                    tracing::debug!(%unavailable, "an alert found nobody to tell");
                }
            }
            Self::Principals { index, change } => index.apply(change),
            Self::SigningKey { index, key, secret } => index.apply(&key, secret.as_deref()),
        }
    }
}
