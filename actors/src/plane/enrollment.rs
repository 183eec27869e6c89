//! How a process becomes a worker: enrollment keys, and registering with one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_store::{CellId, Origin, Position};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::reading::{away, state};
use super::{ControlPlane, Operator};
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::OrgCell;
use crate::fleet::key::{Binding, Key};
use crate::fleet::registry::{self, Asked, Message, NewKey, rules::Application};
use crate::fleet::task::{Network, Sandbox};
use crate::fleet::worker::Worker;
use crate::fleet::{certificate, credentials, input};
use crate::id::{KeyId, WorkerId};
use crate::seal::CellKey;
use crate::system::org::Role;
use crate::system::principals::KnownOrg;

/// What every enrollment key's text begins with.
const PREFIX: &str = "wrt-1.";
/// Longest text that is looked at.
const TEXT_MAX: usize = 4_096;
/// How long a key is good unless its maker says otherwise: a day.
const DEFAULT_SECONDS: u64 = 24 * 3600;
/// Most uses of one key.
const USES_MAX: u32 = 100_000;

/// An enrollment key to be made.
#[derive(Debug, Clone, Default)]
pub struct NewEnrollmentKey {
    /// What its maker calls it.
    pub name: String,
    /// How many workers may register with it; none: one.
    pub max_uses: Option<u32>,
    /// For how many seconds it is good; none: a day.
    pub expires_in_s: Option<u64>,
    /// What it binds a worker to.
    pub binding: Binding,
}

/// What a process says that wants to be a worker.
#[derive(Debug, Clone)]
pub struct Enrollment {
    /// What it calls itself.
    pub name: String,
    /// The pool it wants to stand in.
    pub pool: String,
    /// The models it can use.
    pub models: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How well it isolates what it runs.
    pub sandbox: Sandbox,
    /// Sandbox images that it can run; one that ends with `*` stands for all that begin so.
    pub images: Vec<String>,
    /// Network policies that it can enforce.
    pub networks: BTreeSet<Network>,
    /// How many tasks at once.
    pub max_concurrent: u32,
    /// By which request it asks.
    pub origin: Option<Arc<Origin>>,
    /// The identity of the client certificate that it comes with: see [`certificate`](crate::fleet::certificate).
    /// It is heard over no other from then on.
    pub certificate: Option<String>,
}

impl Default for Enrollment {
    fn default() -> Self {
        Self {
            name: "worker".to_owned(),
            pool: "default".to_owned(),
            models: Vec::new(),
            labels: BTreeMap::new(),
            sandbox: Sandbox::None,
            images: Vec::new(),
            networks: BTreeSet::new(),
            max_concurrent: 1,
            origin: None,
            certificate: None,
        }
    }
}

/// A worker that has just registered.
#[derive(Clone)]
pub struct Registered {
    /// The worker.
    pub worker: Worker,
    /// Its secret, returned this once.
    pub secret: String,
    /// Its organisation.
    pub org: crate::id::OrgId,
}

/// What a key's text says. It proves itself by its signature, and opens nothing but registration.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    jti: KeyId,
    org: crate::id::OrgId,
    cell: i64,
    exp: i64,
    rnd: String,
}

impl Operator {
    /// Makes an enrollment key. Its text is returned this once.
    ///
    /// # Errors
    /// When the request makes no sense.
    pub async fn create_key(&self, new: NewEnrollmentKey) -> Result<(Key, String), Error> {
        self.may(Role::Admin)?;
        let max_uses = new.max_uses.unwrap_or(1);
        check(&new, max_uses)?;
        let seconds = new.expires_in_s.unwrap_or(DEFAULT_SECONDS);
        let expires_at = self.plane().in_seconds("expires_in", seconds)?;
        let id = KeyId::fresh();
        let text = key_text(id, self.known(), expires_at)?;
        let key = Box::new(NewKey {
            id,
            name: new.name,
            hash: credentials::hash(&text),
            max_uses,
            expires_at,
            binding: new.binding,
        });
        let by = self.by().clone();
        let made = self.ask_registry(0, |reply| Message::CreateKey { key, by, reply }).await??;
        Ok((made, text))
    }

    /// Takes an enrollment key back: nobody registers with it from then on.
    ///
    /// # Errors
    /// When there is no such key.
    pub async fn revoke_key(&self, key: KeyId) -> Result<(), Error> {
        self.may(Role::Admin)?;
        let by = self.by().clone();
        let asked = self.ask_registry(0, |reply| Message::RevokeKey { key, by, reply }).await??;
        match asked {
            Asked::Found(()) => Ok(()),
            // What is not in memory cannot be used any more: to revoke it changes nothing.
            Asked::NotHere => {
                self.caught_up().await?;
                let row = self.plane().row(self.number(), Key::KIND, key.to_string()).await?;
                row.map(drop).ok_or_else(|| Refusal::not_found("enrollment key").into())
            }
        }
    }

    /// Enrollment keys, newest first. `before` is the `created` position of the last one of the page before.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn keys(&self, before: Option<Position>, limit: usize) -> Result<Vec<Key>, Error> {
        self.list::<Key>(None, before, limit).await?.iter().map(state).collect()
    }

    /// How many enrollment keys there are in all.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn count_keys(&self) -> Result<u64, Error> {
        self.plane().shared.store.count(self.number(), Key::KIND, None).await.map_err(away)
    }
}

impl ControlPlane {
    /// Makes a worker of a process that has an enrollment key.
    ///
    /// # Errors
    /// When the key is not good, or does not allow what the process declares.
    pub async fn register(&self, key: &str, enrollment: Enrollment) -> Result<Registered, Error> {
        check_enrollment(&enrollment)?;
        let (known, id) = self.read_key(key)?;
        if let Some(identity) = &enrollment.certificate {
            certificate::of_org(identity, &known.org)?;
        }
        self.admit_one()?;
        let cell = self.cell(&known).await?;
        let (worker, secret) = (WorkerId::fresh(), credentials::worker_secret(cell.cell));
        let application = Box::new(Application {
            worker,
            name: enrollment.name,
            pool: enrollment.pool,
            models: enrollment.models,
            labels: enrollment.labels,
            sandbox: enrollment.sandbox,
            images: enrollment.images,
            networks: enrollment.networks,
            seats: enrollment.max_concurrent,
            secret_hash: credentials::hash(&secret),
            certificate: enrollment.certificate,
        });
        let hash = credentials::hash(key);
        let permit = self.permit(cell.cell, 0)?;
        let within = self.shared.config.answer_within;
        let (asked, origin) = (hash.clone(), enrollment.origin);
        let register =
            |reply| Message::Register { key: id, hash: asked, application, origin, reply };
        match cell.registry.call_with_permit(permit, within, register).await?? {
            Asked::Found(worker) => {
                // It waited for its turn just now.
                if let Some(known) = cell.credentials.get(worker.id) {
                    known.presence.admit();
                }
                Ok(Registered { worker, secret, org: known.org.id })
            }
            Asked::NotHere => Err(self.refuse_key(&cell, id, &hash).await?.into()),
        }
    }

    async fn refuse_key(&self, cell: &OrgCell, id: KeyId, hash: &str) -> Result<Refusal, Error> {
        self.caught_up(cell.cell, &cell.positions).await?;
        let row = self.row(cell.cell, Key::KIND, id.to_string()).await?;
        let key = row.as_ref().map(state::<Key>).transpose()?;
        Ok(registry::refuse_from_record(key, hash, self.shared.clock.wall_us()))
    }

    /// Whose key this is, if its signature says so too.
    fn read_key(&self, text: &str) -> Result<(Arc<KnownOrg>, KeyId), Refusal> {
        let token = text.strip_prefix(PREFIX).filter(|_| text.len() <= TEXT_MAX);
        let claimed = token.and_then(unverified_cell);
        let known = claimed.and_then(|cell| self.shared.principals.org_of(cell));
        let (Some(token), Some(known)) = (token, known) else { return Err(bad_key()) };
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_issuer(&["fleetward"]);
        rules.set_required_spec_claims(&["iss", "sub", "exp"]);
        rules.sub = Some("enrollment".to_owned());
        // The registry decides by the server's own clock, and says why.
        rules.validate_exp = false;
        let secret = DecodingKey::from_secret(&signing_secret(&known.key));
        let claims =
            jsonwebtoken::decode::<Claims>(token, &secret, &rules).map_err(|_| bad_key())?;
        let claims = claims.claims;
        if claims.org != known.org.id {
            return Err(bad_key());
        }
        Ok((known, claims.jti))
    }
}

fn key_text(id: KeyId, known: &KnownOrg, expires_at: i64) -> Result<String, Error> {
    let claims = Claims {
        iss: "fleetward".to_owned(),
        sub: "enrollment".to_owned(),
        jti: id,
        org: known.org.id,
        cell: known.org.cell,
        exp: expires_at / 1_000_000,
        rnd: credentials::random_text(),
    };
    let secret = EncodingKey::from_secret(&signing_secret(&known.key));
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret);
    token.map(|token| format!("{PREFIX}{token}")).map_err(|error| {
        let id = uuid::Uuid::now_v7().to_string();
        tracing::error!(%id, %error, "an enrollment key cannot be signed");
        Error::Internal(id)
    })
}

fn signing_secret(key: &CellKey) -> [u8; 32] {
    key.mac("enrollment", &[])
}

/// The cell that a key's text names, before anything is proved: it only says which secret to check with.
fn unverified_cell(token: &str) -> Option<CellId> {
    #[derive(Deserialize)]
    struct Named {
        cell: i64,
    }
    let body = token.split('.').nth(1)?;
    let json = URL_SAFE_NO_PAD.decode(body).ok()?;
    serde_json::from_slice::<Named>(&json).ok().map(|named| CellId(named.cell))
}

fn check(new: &NewEnrollmentKey, max_uses: u32) -> Result<(), Refusal> {
    input::name("name", &new.name)?;
    if !(1..=USES_MAX).contains(&max_uses) {
        let detail = format!("max_uses must be between 1 and {USES_MAX}");
        return Err(Refusal::invalid("invalid_max_uses", detail));
    }
    let binding = &new.binding;
    input::names("pools", &binding.pools, input::POOLS_MAX)?;
    input::names("models", &binding.models, input::MODELS_MAX)?;
    input::labels(&binding.labels)?;
    input::at_most("shared_with", binding.shared_with.len(), input::PROJECTS_MAX)?;
    let projects = binding.project.iter().chain(&binding.shared_with);
    projects.into_iter().try_for_each(|project| input::name("project_id", project))
}

fn check_enrollment(enrollment: &Enrollment) -> Result<(), Refusal> {
    input::name("name", &enrollment.name)?;
    input::name("pool", &enrollment.pool)?;
    input::names("models", &enrollment.models, input::MODELS_MAX)?;
    input::labels(&enrollment.labels)?;
    input::names("images", &enrollment.images, input::IMAGES_MAX)?;
    if let Some(identity) = &enrollment.certificate {
        certificate::usable(identity)?;
    }
    input::seats(enrollment.max_concurrent)
}

fn bad_key() -> Refusal {
    let detail = "the enrollment key is not valid here; ask an administrator for a new one";
    Refusal::new(Kind::Unauthenticated, "bad_enrollment_key", detail)
}
