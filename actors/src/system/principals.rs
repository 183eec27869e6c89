//! Who may ask for what: the organisations and the operators' tokens, as every request is checked against
//! them. Loaded when the directory starts, changed only by its effects.

use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;
use fleetward_store::CellId;

use super::org::{Org, Token};
use super::signer::Signer;
use crate::fleet::credentials;
use crate::id::OrgId;
use crate::seal::{CellKey, KeyChange, Ring};

/// An organisation and the secret of its cell.
#[derive(Debug, Clone)]
pub struct KnownOrg {
    /// The organisation.
    pub org: Org,
    /// The secret of its cell.
    pub key: CellKey,
    /// What its payloads are sealed with.
    pub ring: Arc<Ring>,
}

/// What is true now.
#[derive(Debug)]
pub enum Change {
    /// Of an organisation.
    Org(Box<KnownOrg>),
    /// Of a token.
    Token(Box<Token>),
    /// Of keys of an organisation's ring, all at once.
    PayloadKeys {
        /// Whose.
        org: OrgId,
        /// What became of them.
        keys: Vec<KeyChange>,
    },
    /// Of the key that signs heads of the record.
    Signer(Arc<Signer>),
}

/// The index.
#[derive(Debug, Default)]
pub struct Principals {
    orgs: DashMap<OrgId, Arc<KnownOrg>>,
    cells: DashMap<CellId, OrgId>,
    names: DashMap<String, OrgId>,
    tokens: DashMap<String, Arc<Token>>,
    signer: RwLock<Option<Arc<Signer>>>,
}

impl Principals {
    /// The holder of a token, if it is good at `now` (microseconds UTC).
    pub fn token(&self, text: &str, now: i64) -> Option<Arc<Token>> {
        let token = self.tokens.get(&credentials::hash(text)).map(|token| token.clone())?;
        token.expires_at.is_none_or(|end| now < end).then_some(token)
    }

    /// An organisation.
    pub fn org(&self, id: OrgId) -> Option<Arc<KnownOrg>> {
        self.orgs.get(&id).map(|org| org.clone())
    }

    /// An organisation by its name.
    pub fn org_named(&self, name: &str) -> Option<Arc<KnownOrg>> {
        let id = self.names.get(name).map(|id| *id)?;
        self.org(id)
    }

    /// The organisation of a cell.
    pub fn org_of(&self, cell: CellId) -> Option<Arc<KnownOrg>> {
        let id = self.cells.get(&cell).map(|id| *id)?;
        self.org(id)
    }

    /// All organisations, oldest first.
    pub fn orgs(&self) -> Vec<Arc<KnownOrg>> {
        let mut orgs: Vec<_> = self.orgs.iter().map(|org| org.value().clone()).collect();
        orgs.sort_by_key(|known| known.org.cell);
        orgs
    }

    /// What signs heads of the record, once there is a key.
    pub fn signer(&self) -> Option<Arc<Signer>> {
        self.signer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn apply(&self, change: Change) {
        match change {
            Change::Org(known) => {
                let mut known = *known;
                let id = known.org.id;
                if let Some(earlier) = self.org(id) {
                    // The directory started anew. Whoever holds the ring goes on holding the one that changes.
                    earlier.ring.apply(known.ring.changes());
                    known.ring = earlier.ring.clone();
                }
                let known = Arc::new(known);
                self.orgs.insert(id, known.clone());
                self.cells.insert(known.org.cell(), id);
                self.names.insert(known.org.name.clone(), id);
            }
            Change::PayloadKeys { org, keys } => {
                if let Some(known) = self.org(org) {
                    known.ring.apply(keys);
                }
            }
            Change::Signer(signer) => {
                *self.signer.write().unwrap_or_else(PoisonError::into_inner) = Some(signer);
            }
            Change::Token(token) => {
                if token.revoked {
                    self.tokens.remove(&token.hash);
                } else {
                    self.tokens.insert(token.hash.clone(), Arc::new(*token));
                }
            }
        }
    }
}
