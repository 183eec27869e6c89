//! Short-lived task tokens: issued to workers that prove their key, looked at and taken back by administrators.

use std::sync::Arc;
use std::time::Duration;

use fleetward_store::Origin;

use super::reading::state;
use super::{ControlPlane, Operator};
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::OrgCell;
use crate::fleet::certificate;
use crate::fleet::input;
use crate::fleet::public_key::token_text;
use crate::fleet::registry::{Asked, Message, NewTaskToken};
use crate::fleet::worker::Worker;
use crate::fleet::worker::tokens::{Issued, TakenBack};
use crate::id::{OrgId, TaskTokenId, WorkerId};
use crate::system::org::Role;
use crate::system::task_token::{Claims, Scopes};

/// Most tokens that one list of those that were taken back names.
pub const REVOKED_TOKENS_MAX: usize = 1_000;

/// A worker's request for a token.
#[derive(Debug, Clone)]
pub struct TaskTokenRequest {
    /// Its organisation.
    pub org: OrgId,
    /// The worker.
    pub worker: WorkerId,
    /// The newest generation that it knows of; 0 for its first token.
    pub generation: u32,
    /// What it signed (see [`token_text`]), in base64url.
    pub signature: String,
    /// What the token is for; none: everything.
    pub scopes: Option<Vec<String>>,
    /// By which request it asks.
    pub origin: Option<Arc<Origin>>,
    /// The identity of the client certificate that it comes with.
    pub certificate: Option<Arc<str>>,
}

/// The text of a token. Nobody can print it.
#[derive(Clone)]
pub struct TokenText(pub String);

impl std::fmt::Debug for TokenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenText")
    }
}

/// A new token.
#[derive(Debug, Clone)]
pub struct IssuedTaskToken {
    /// Its text, returned this once.
    pub text: TokenText,
    /// Its generation.
    pub generation: u32,
    /// How long it is good.
    pub good_for: Duration,
    /// What it is for.
    pub scopes: Scopes,
}

impl ControlPlane {
    /// Issues a token to a worker that may work and proves its key. The one before stays good until this one was used.
    ///
    /// # Errors
    /// Unauthenticated where the signature is not that of the worker's key; a conflict, naming the newest generation, where
    /// that is another than the one signed; forbidden to a worker that may not work.
    pub async fn issue_task_token(
        &self,
        request: TaskTokenRequest,
    ) -> Result<IssuedTaskToken, Error> {
        let scopes = match &request.scopes {
            Some(words) => Scopes::named(words.iter().map(String::as_str))?,
            None => Scopes::all(),
        };
        let known = self.shared.principals.org(request.org).ok_or_else(bad_proof)?;
        let cell = self.cell(&known).await?;
        self.prove(&cell, &request).await?;
        let signer = self.shared.signers.active().ok_or_else(starting)?;
        let (now, good_for) = (self.shared.clock.wall_us(), self.shared.config.task_token_for);
        // Whole seconds, so that the token says what the record says.
        let iat = now / 1_000_000;
        let exp = iat.saturating_add_unsigned(good_for.as_secs().max(1));
        let token = NewTaskToken {
            id: TaskTokenId::fresh(),
            after: request.generation,
            expires_at: exp.saturating_mul(1_000_000),
            signed_by: signer.id,
        };
        let jti = token.id;
        let permit = self.permit(cell.cell, 0)?;
        let (worker, within) = (request.worker, self.shared.config.answer_within);
        let origin = request.origin.clone();
        let issue = |reply| Message::IssueToken { worker, token, origin, reply };
        let worker = match cell.registry.call_with_permit(permit, within, issue).await?? {
            Asked::Found(worker) => worker,
            Asked::NotHere => return Err(self.closed(&cell, worker).await?),
        };
        let generation = worker.tokens.generation;
        let text = signer.sign(Claims {
            iss: String::new(),
            aud: String::new(),
            sub: worker.id,
            org: request.org,
            pool: worker.profile.pool,
            project: worker.profile.project,
            jti,
            generation,
            scopes: scopes.words(),
            iat,
            exp,
        })?;
        let good_for = u64::try_from(exp.saturating_mul(1_000_000) - now).unwrap_or_default();
        let good_for = Duration::from_micros(good_for);
        Ok(IssuedTaskToken { text: TokenText(text), generation, good_for, scopes })
    }

    /// Whether the request was signed by the worker's key.
    async fn prove(&self, cell: &OrgCell, request: &TaskTokenRequest) -> Result<(), Error> {
        let known = cell.credentials.get(request.worker);
        let (key, standing) = match &known {
            Some(known) => (known.credential.public_key, known.credential.standing),
            None => {
                let worker = self.recorded(cell, request.worker).await?;
                let worker = worker.ok_or_else(bad_proof)?;
                (worker.public_key, worker.standing)
            }
        };
        let text = token_text(request.org, request.worker, request.generation);
        let proved = key.is_some_and(|key| key.check(&text, &request.signature).is_ok());
        match known {
            _ if !proved => Err(bad_proof().into()),
            Some(known) => {
                let bound = known.credential.certificate.as_deref();
                certificate::check(bound, request.certificate.as_deref())?;
                known.pulse.touch(self.shared.clock.wall_us());
                Ok(())
            }
            None if standing.is_final() => Err(Refusal::standing(standing.as_str()).into()),
            None => Err(starting()),
        }
    }

    async fn recorded(&self, cell: &OrgCell, worker: WorkerId) -> Result<Option<Worker>, Error> {
        self.caught_up(cell.cell, &cell.positions).await?;
        let row = self.row(cell.cell, Worker::KIND, worker.to_string()).await?;
        row.as_ref().map(state::<Worker>).transpose()
    }

    /// What to say to a worker that has left memory since it proved its key.
    async fn closed(&self, cell: &OrgCell, worker: WorkerId) -> Result<Error, Error> {
        let standing = self.recorded(cell, worker).await?.map(|worker| worker.standing);
        Ok(match standing {
            Some(standing) if standing.is_final() => Refusal::standing(standing.as_str()).into(),
            _ => starting(),
        })
    }
}

impl Operator {
    /// The tokens of a worker that may be good, oldest first, each with whether it was taken back.
    ///
    /// # Errors
    /// When this organisation has no such worker.
    pub async fn task_tokens(&self, worker: WorkerId) -> Result<Vec<(Issued, bool)>, Error> {
        let (worker, _) = self.worker(worker).await?;
        let (now, tokens) = (self.plane().shared.clock.wall_us(), &worker.tokens);
        let good = tokens.issued.iter().filter(|token| token.expires_at > now);
        Ok(good.map(|token| (token.clone(), tokens.is_taken_back(token.id))).collect())
    }

    /// The tokens of all workers that were taken back and would still be good, those of last first; at most
    /// [`REVOKED_TOKENS_MAX`]. Tokens of workers that may not come any more are worth nothing as they are.
    ///
    /// # Errors
    /// When the organisation's cell does not run.
    pub async fn revoked_task_tokens(&self) -> Result<Vec<(WorkerId, TakenBack)>, Error> {
        let mut tokens = self.ask_registry(0, |reply| Message::RevokedTokens { reply }).await?;
        tokens.truncate(REVOKED_TOKENS_MAX);
        Ok(tokens)
    }

    /// Takes a token back at once. Its worker goes on with the next one, for which it has to prove its key.
    ///
    /// # Errors
    /// When no worker of this organisation has such a token, or it is over.
    pub async fn revoke_task_token(
        &self,
        token: TaskTokenId,
        reason: Option<String>,
    ) -> Result<WorkerId, Error> {
        self.may(Role::Admin)?;
        if let Some(reason) = &reason {
            input::printable("reason", reason, input::REASON_MAX)?;
        }
        let by = self.by().clone();
        let revoke = |reply| Message::RevokeToken { token, reason, by, reply };
        Ok(self.ask_registry(0, revoke).await??.id)
    }
}

fn bad_proof() -> Refusal {
    let detail = "the worker is not known here, or the request was not signed by its key";
    Refusal::new(Kind::Unauthenticated, "unknown_worker", detail)
}

fn starting() -> Error {
    Error::Unavailable("the organisation is starting".to_owned())
}
