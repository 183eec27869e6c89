//! Task tokens: what a worker shows with each request instead of a secret. A JWT, good for minutes. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::signers::Signer;
use crate::error::{Kind, Refusal};
use crate::id::{OrgId, TaskTokenId, WorkerId};

/// Who issues them. Nothing else is signed under this name, and this only by Ed25519.
pub(super) const ISSUER: &str = "fleetward/task-tokens";
/// What they are for.
pub(super) const AUDIENCE: &str = "fleetward/fleet";

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Signs of life.
    Heartbeat,
    /// Claims, and what becomes of what was claimed: reports, progress, hand-backs.
    Claim,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Heartbeat, Self::Claim];

    /// The word in tokens and requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Heartbeat => "worker:heartbeat",
            Self::Claim => "worker:claim",
        }
    }
}

/// Several scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// All of them.
    pub fn all() -> Self {
        Self(Scope::ALL.to_vec())
    }

    /// Those of these names, at least one.
    ///
    /// # Errors
    /// When there is none, or one that is not known.
    pub fn named<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, Refusal> {
        let known = |word: &str| Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
        let scopes: Option<Vec<_>> = words.map(known).collect();
        scopes.filter(|scopes| !scopes.is_empty()).map(Self).ok_or_else(|| {
            let all = Scope::ALL.map(Scope::as_str).join(", ");
            Refusal::invalid("invalid_scope", format!("scopes must be some of {all}"))
        })
    }

    /// Whether this one is among them.
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Their names.
    pub fn words(&self) -> Vec<String> {
        self.0.iter().map(|scope| scope.as_str().to_owned()).collect()
    }
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: WorkerId,
    pub(crate) org: OrgId,
    pub(crate) pool: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<String>,
    pub(crate) jti: TaskTokenId,
    #[serde(rename = "gen")]
    pub(crate) generation: u32,
    pub(crate) scopes: Vec<String>,
    /// Seconds UTC, as the standard wants them.
    pub(crate) iat: i64,
    pub(crate) exp: i64,
}

/// A token whose signature was checked.
#[derive(Debug)]
pub struct TaskToken {
    /// Its id, the `jti`.
    pub id: TaskTokenId,
    /// Whose it is.
    pub worker: WorkerId,
    /// Where that one works.
    pub org: OrgId,
    /// Its generation.
    pub generation: u32,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
    signer: Arc<Signer>,
}

impl TaskToken {
    pub(super) fn new(claims: &Claims, signer: Arc<Signer>) -> Result<Self, Refusal> {
        Ok(Self {
            id: claims.jti,
            worker: claims.sub,
            org: claims.org,
            generation: claims.generation,
            scopes: Scopes::named(claims.scopes.iter().map(String::as_str))?,
            expires_at: claims.exp.saturating_mul(1_000_000),
            signer,
        })
    }

    /// Whether it is over at `now` (microseconds UTC), or its key was retired.
    ///
    /// # Errors
    /// When it is.
    pub fn check(&self, now: i64) -> Result<(), Refusal> {
        if self.signer.is_retired() {
            return Err(bad_token());
        }
        if now >= self.expires_at {
            let detail = "the token has expired; ask for a new one";
            return Err(Refusal::new(Kind::Unauthenticated, "token_expired", detail));
        }
        Ok(())
    }
}

/// The one answer to whatever is no token of ours.
pub(super) fn bad_token() -> Refusal {
    let detail = "the bearer token is none of a worker that is known here";
    Refusal::new(Kind::Unauthenticated, "bad_token", detail)
}
