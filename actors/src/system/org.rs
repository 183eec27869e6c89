//! What an organisation is, and the tokens of its operators. Pure.

use fleetward_store::CellId;
use serde::{Deserialize, Serialize};

use crate::error::{Kind, Refusal};
use crate::fact::{Fold, Stamp};
use crate::id::{OrgId, TokenId};

/// One tenant. The secret of its cell is sealed beside its first event and kept with its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Org {
    /// Its id.
    pub id: OrgId,
    /// Its name: unique, lower case, usable in a URL.
    pub name: String,
    /// Its name for people.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Where its events are.
    pub cell: i64,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
    /// By whom.
    pub created_by: String,
}

impl Org {
    /// Where its events are.
    pub fn cell(&self) -> CellId {
        CellId(self.cell)
    }
}

/// What can happen to an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrgEvent {
    /// It was made. The secret of its cell is sealed beside it.
    #[serde(rename = "org.created")]
    Created {
        /// Its id.
        org: OrgId,
        /// Its name.
        name: String,
        /// Its name for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display_name: Option<String>,
        /// Where its events will be.
        cell: i64,
    },
}

impl Fold for Org {
    type Event = OrgEvent;
    const KIND: &'static str = "org";

    fn kind(event: &OrgEvent) -> &'static str {
        match event {
            OrgEvent::Created { .. } => "org.created",
        }
    }

    fn begin(event: &OrgEvent, stamp: Stamp<'_>) -> Option<Self> {
        let OrgEvent::Created { org, name, display_name, cell } = event;
        Some(Self {
            id: *org,
            name: name.clone(),
            display_name: display_name.clone(),
            cell: *cell,
            created_at: stamp.at,
            created_by: stamp.by.to_owned(),
        })
    }

    fn evolve(&mut self, _event: &OrgEvent, _stamp: Stamp<'_>) {}

    fn open(&self) -> bool {
        true
    }

    fn status(&self) -> &'static str {
        "active"
    }

    fn keeps_sealed(_event: &OrgEvent) -> bool {
        true
    }
}

/// What the holder of a token may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See everything in one organisation.
    Viewer,
    /// Submit, cancel, retry and discard tasks, pause and resume.
    Operator,
    /// Keys, workers, tokens and the policy of one organisation.
    Admin,
    /// Everything, in every organisation, and making organisations.
    System,
}

impl Role {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::System => "system",
        }
    }

    /// The role of this name.
    pub fn named(word: &str) -> Option<Self> {
        let all = [Self::Viewer, Self::Operator, Self::Admin, Self::System];
        all.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether it may do what `needed` may.
    ///
    /// # Errors
    /// When it may not.
    pub fn may(self, needed: Self) -> Result<(), Refusal> {
        if self >= needed {
            return Ok(());
        }
        let (needed, has) = (needed.as_str(), self.as_str());
        let detail = format!("this needs a token with the role {needed}; this one is of a {has}");
        Err(Refusal::new(Kind::Forbidden, "role_too_low", detail))
    }
}

/// An operator's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// What its maker calls it.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// In which organisation; none for a system token.
    #[serde(default)]
    pub org: Option<OrgId>,
    /// SHA-256 of its text, hex.
    pub hash: String,
    /// When it ends, in microseconds UTC; none: never.
    #[serde(default)]
    pub expires_at: Option<i64>,
    /// Whether it was taken back.
    #[serde(default)]
    pub revoked: bool,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
    /// By whom.
    pub created_by: String,
}

/// What can happen to a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenEvent {
    /// It was made.
    #[serde(rename = "token.created")]
    Created {
        /// Its id.
        token: TokenId,
        /// Its name.
        name: String,
        /// What its holder may do.
        role: Role,
        /// In which organisation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        org: Option<OrgId>,
        /// SHA-256 of its text, hex.
        hash: String,
        /// When it ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<i64>,
    },
    /// It was taken back.
    #[serde(rename = "token.revoked")]
    Revoked {},
}

impl Fold for Token {
    type Event = TokenEvent;
    const KIND: &'static str = "token";

    fn kind(event: &TokenEvent) -> &'static str {
        match event {
            TokenEvent::Created { .. } => "token.created",
            TokenEvent::Revoked {} => "token.revoked",
        }
    }

    fn begin(event: &TokenEvent, stamp: Stamp<'_>) -> Option<Self> {
        let TokenEvent::Created { token, name, role, org, hash, expires_at } = event else {
            return None;
        };
        Some(Self {
            id: *token,
            name: name.clone(),
            role: *role,
            org: *org,
            hash: hash.clone(),
            expires_at: *expires_at,
            revoked: false,
            created_at: stamp.at,
            created_by: stamp.by.to_owned(),
        })
    }

    fn evolve(&mut self, event: &TokenEvent, _stamp: Stamp<'_>) {
        match event {
            TokenEvent::Created { .. } => {}
            TokenEvent::Revoked {} => self.revoked = true,
        }
    }

    fn open(&self) -> bool {
        !self.revoked
    }

    fn status(&self) -> &'static str {
        if self.revoked { "revoked" } else { "active" }
    }
}
