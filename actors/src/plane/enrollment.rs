//! Enrollment keys: made, listed and taken back by administrators; what their texts say.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_store::{CellId, Position};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::reading::{away, state};
use super::{ControlPlane, Operator};
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::key::{Binding, Key};
use crate::fleet::registry::{Asked, Message, NewKey};
use crate::fleet::{credentials, input};
use crate::id::KeyId;
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
    /// Whose key this is, if its signature says so too.
    pub(super) fn read_key(&self, text: &str) -> Result<(Arc<KnownOrg>, KeyId), Refusal> {
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

fn bad_key() -> Refusal {
    let detail = "the enrollment key is not valid here; ask an administrator for a new one";
    Refusal::new(Kind::Unauthenticated, "bad_enrollment_key", detail)
}
