//! What a worker proves itself with, id and secret or a task token, and what each request checks of it.

use std::sync::Arc;

use fleetward_store::Origin;
use subtle::ConstantTimeEq;

use super::{Session, unknown_worker};
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::OrgCell;
use crate::fleet::certificate;
use crate::fleet::credentials::{Credentials, Known};
use crate::fleet::registry;
use crate::fleet::worker::generation::Meaning;
use crate::fleet::worker::{Standing, Worker};
use crate::plane::ControlPlane;
use crate::plane::reading::state;
use crate::system::task_token::{Scope, TaskToken};

/// How a worker proved who it is.
#[derive(Clone)]
pub(super) enum Proof {
    /// By its secret; this is the SHA-256 of it, hex.
    Secret(Arc<str>),
    /// By a task token whose signature was checked.
    Token(Arc<TaskToken>),
}

impl ControlPlane {
    /// Checks a worker's task token, shown by this request, over a connection with a client certificate of this identity.
    ///
    /// # Errors
    /// Unauthenticated when it is none of ours, has ended or was taken back, or a newer one may have been used; then a
    /// new one is to be asked for. A copy, shown after a newer token was used, locks the worker. Forbidden when the worker is locked,
    /// rejected or revoked; unavailable while its organisation starts.
    pub async fn session_by_token(
        &self,
        text: &str,
        origin: Option<Arc<Origin>>,
        certificate: Option<Arc<str>>,
    ) -> Result<Session, Error> {
        let token = self.shared.signers.read(text, self.shared.clock.wall_us())?;
        let known = self.shared.principals.org(token.org).ok_or_else(unknown_worker)?;
        let worker = token.worker;
        let proof = Proof::Token(token.clone());
        let session = Session { plane: self.clone(), known, worker, proof, certificate, origin };
        let (cell, known) = session.enter().await?;
        // Only here: what a request does after it came in is not disturbed by a newer token.
        match known.show(token.generation) {
            Meaning::Good => Ok(session),
            Meaning::Copied => Err(session.lock(&cell, token.generation, known.used()).await?),
            Meaning::Unsure | Meaning::Unknown => Err(superseded().into()),
        }
    }
}

impl Proof {
    /// Whether it is good for this. A secret is good for everything.
    pub(super) fn allows(&self, scope: Scope) -> Result<(), Refusal> {
        match self {
            Self::Secret(_) => Ok(()),
            Self::Token(token) if token.scopes.contains(scope) => Ok(()),
            Self::Token(_) => {
                let detail = format!("the token does not have the scope {}", scope.as_str());
                Err(Refusal::new(Kind::Forbidden, "missing_scope", detail))
            }
        }
    }
}

impl Session {
    /// The cell in its present life, and what is true of the worker there.
    pub(super) async fn enter(&self) -> Result<(OrgCell, Arc<Known>), Error> {
        let cell = self.plane.cell(&self.known).await?;
        let Some(known) = cell.credentials.get(self.worker) else {
            return Err(self.refuse_from_record(&cell).await?);
        };
        let now = self.plane.shared.clock.wall_us();
        self.check(&cell.credentials, &known, now)?;
        let bound = known.credential.certificate.as_deref();
        certificate::check(bound, self.certificate.as_deref())?;
        known.pulse.touch(now);
        Ok((cell, known))
    }

    fn check(&self, index: &Credentials, known: &Known, now: i64) -> Result<(), Refusal> {
        let credential = &known.credential;
        match &self.proof {
            Proof::Secret(hash) if !same(&credential.secret_hash, hash) => {
                return Err(unknown_worker());
            }
            Proof::Secret(_) if index.are_legacy_headers_off() && !credential.in_process => {
                let detail = "this organisation takes task tokens only, no X-Worker-Secret: \
                              register anew with a key pair";
                return Err(Refusal::new(Kind::Forbidden, "legacy_headers_off", detail));
            }
            Proof::Secret(_) => {}
            Proof::Token(token) => {
                token.check(now)?;
                if credential.tokens.is_taken_back(token.id) {
                    let detail = "the token was revoked; ask for a new one";
                    return Err(Refusal::new(Kind::Unauthenticated, "token_revoked", detail));
                }
            }
        }
        match credential.standing {
            Standing::Locked => Err(Refusal::standing(Standing::Locked.as_str())),
            _ => Ok(()),
        }
    }

    /// What to say to a worker that is not in the index: only its record may say no for good.
    async fn refuse_from_record(&self, cell: &OrgCell) -> Result<Error, Error> {
        self.plane.caught_up(cell.cell, &cell.positions).await?;
        let row = self.plane.row(cell.cell, Worker::KIND, self.worker.to_string()).await?;
        let Some(worker) = row.as_ref().map(state::<Worker>).transpose()? else {
            return Ok(unknown_worker().into());
        };
        let is_proved = match &self.proof {
            Proof::Secret(hash) => same(&worker.secret_hash, hash),
            Proof::Token(_) => true,
        };
        Ok(match worker.standing {
            _ if !is_proved => unknown_worker().into(),
            standing if standing.is_final() => Refusal::standing(standing.as_str()).into(),
            _ => Error::Unavailable("the organisation is starting".to_owned()),
        })
    }

    /// Somebody has a copy of a token of this worker. Which of the two asks is not known, so neither gets anything.
    async fn lock(&self, cell: &OrgCell, seen: u32, used: u32) -> Result<Error, Error> {
        let permit = self.plane.permit(cell.cell, 0)?;
        let (worker, within) = (self.worker, self.plane.shared.config.answer_within);
        let origin = self.origin.clone();
        let lock = |reply| registry::Message::Lock { worker, seen, used, origin, reply };
        cell.registry.call_with_permit(permit, within, lock).await?;
        let detail = "a newer token of this worker was used before: one of the two is a copy, and the \
                      worker is locked until an administrator unlocks it";
        Ok(Refusal::new(Kind::Unauthenticated, "token_reused", detail).into())
    }
}

/// Compares hashes in constant time. A worker without a secret has an empty one, which is no hash.
fn same(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

fn superseded() -> Refusal {
    let detail = "a newer token of this worker may have been used; ask for a new one";
    Refusal::new(Kind::Unauthenticated, "token_superseded", detail)
}
