//! Organisations and operators' tokens: what administrators of the system, and of an organisation, may do.

use std::sync::Arc;

use super::{AdminToken, Caller, ControlPlane, DEFAULT_ORG, SYSTEM_CELL};
use crate::cause::Cause;
use crate::error::{Error, Refusal};
use crate::fleet::{credentials, input};
use crate::id::{OrgId, TokenId};
use crate::seal::{CellKey, Key, Purpose};
use crate::system::directory::{FIRST_KEY, Message, NewOrg, NewToken};
use crate::system::org::{Org, Role, Token};
use crate::system::payload_key::PayloadKey;

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewOperatorToken {
    /// What its maker calls it.
    pub name: String,
    /// What its holder may do; a system token belongs to no organisation.
    pub role: Role,
    /// For how many seconds it is good; none: until it is revoked.
    pub expires_in_s: Option<u64>,
}

impl ControlPlane {
    /// Makes an organisation with its first administrator's token. The token's text is returned this once.
    ///
    /// # Errors
    /// When the caller is no administrator of the system, or the name cannot be had.
    pub async fn create_org(
        &self,
        caller: &Caller,
        name: &str,
        display_name: Option<String>,
    ) -> Result<(Org, AdminToken), Error> {
        caller.role.may(Role::System)?;
        if let Some(name) = &display_name {
            input::name("display_name", name)?;
        }
        let text = credentials::operator_token();
        let token = Box::new(self.new_token(&text, "first administrator", Role::Admin, None));
        let org = self.send_org((name, display_name), Some(token), &caller.by).await?;
        Ok((org, AdminToken(text)))
    }

    /// The organisations that a caller may see, oldest first.
    ///
    /// # Errors
    /// None yet; callers of one organisation see that one.
    pub fn orgs(&self, caller: &Caller) -> Result<Vec<Org>, Error> {
        let sees = |org: &OrgId| caller.org.is_none() || caller.org.as_ref() == Some(org);
        let orgs = self.shared.principals.orgs();
        Ok(orgs.iter().filter(|k| sees(&k.org.id)).map(|k| k.org.clone()).collect())
    }

    /// Makes a token, of the caller's organisation or of `org`. Its text is returned this once.
    ///
    /// # Errors
    /// When the caller may not, or the request makes no sense.
    pub async fn create_token(
        &self,
        caller: &Caller,
        org: Option<OrgId>,
        new: NewOperatorToken,
    ) -> Result<(Token, AdminToken), Error> {
        caller.role.may(Role::Admin)?;
        input::name("name", &new.name)?;
        let org = self.token_scope(caller, org, new.role)?;
        let text = credentials::operator_token();
        let expires_at =
            new.expires_in_s.map(|seconds| self.in_seconds("expires_in", seconds)).transpose()?;
        let mut token = self.new_token(&text, &new.name, new.role, expires_at);
        token.org = org;
        let made = self.send_token(token, &caller.by).await?;
        Ok((made, AdminToken(text)))
    }

    /// Takes a token back. It is refused from then on.
    ///
    /// # Errors
    /// When there is no such token for this caller.
    pub async fn revoke_token(&self, caller: &Caller, token: TokenId) -> Result<(), Error> {
        caller.role.may(Role::Admin)?;
        let (org, by) = (caller.org, caller.by.clone());
        let permit = self.permit(SYSTEM_CELL, 0)?;
        self.shared
            .directory
            .call_with_permit(permit, self.shared.config.answer_within, |reply| {
                Message::RevokeToken { token, org, by, reply }
            })
            .await?
    }

    /// The good tokens of the caller's organisation, of `org`, or (none) of the system.
    ///
    /// # Errors
    /// When the caller may not see them.
    pub async fn tokens(&self, caller: &Caller, org: Option<OrgId>) -> Result<Vec<Token>, Error> {
        caller.role.may(Role::Admin)?;
        let org = caller.org.or(org);
        let permit = self.permit(SYSTEM_CELL, 0)?;
        let within = self.shared.config.answer_within;
        let directory = &self.shared.directory;
        Ok(directory
            .call_with_permit(permit, within, |reply| Message::Tokens { org, reply })
            .await?)
    }

    pub(super) async fn ensure_default_org(&self) -> Result<(), Error> {
        if self.shared.principals.org_named(DEFAULT_ORG).is_none() {
            self.send_org((DEFAULT_ORG, None), None, &Cause::system()).await?;
        }
        Ok(())
    }

    /// The record can be signed from the start.
    pub(super) async fn ensure_signer(&self) -> Result<(), Error> {
        if self.shared.principals.signer().is_some() {
            return Ok(());
        }
        let (signer, sealed) = self.fresh_signer()?;
        self.ask_directory(|reply| Message::EnsureSigner { signer, sealed, reply }).await
    }

    pub(super) async fn ensure_admin_token(&self, text: &str) -> Result<(), Error> {
        let token = self.new_token(text, "administrator", Role::System, None);
        self.send_token(token, &Cause::system()).await.map(drop)
    }

    /// A system token for a store that has none, so that somebody can begin. Its text is returned this once.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn first_admin_token(&self) -> Result<Option<AdminToken>, Error> {
        let permit = self.permit(SYSTEM_CELL, 0)?;
        let within = self.shared.config.answer_within;
        let ask = |reply| Message::Tokens { org: None, reply };
        if !self.shared.directory.call_with_permit(permit, within, ask).await?.is_empty() {
            return Ok(None);
        }
        let text = credentials::operator_token();
        self.ensure_admin_token(&text).await?;
        Ok(Some(AdminToken(text)))
    }

    /// The moment so many seconds from now, in microseconds UTC.
    pub(super) fn in_seconds(&self, field: &str, seconds: u64) -> Result<i64, Error> {
        /// A hundred years: beyond it a date is a mistake.
        const MOST: u64 = 100 * 366 * 24 * 3600;
        if seconds == 0 || seconds > MOST {
            let detail = format!("{field} must be between 1 and {MOST} seconds");
            return Err(Refusal::invalid("invalid_expiry", detail).into());
        }
        Ok(self.shared.clock.wall_us() + seconds as i64 * 1_000_000)
    }

    fn token_scope(
        &self,
        caller: &Caller,
        org: Option<OrgId>,
        role: Role,
    ) -> Result<Option<OrgId>, Error> {
        if role == Role::System {
            caller.role.may(Role::System)?;
            return Ok(None);
        }
        let default = || self.shared.principals.org_named(DEFAULT_ORG).map(|known| known.org.id);
        let org = caller.org.or(org).or_else(default);
        let known = org.and_then(|org| self.shared.principals.org(org));
        Ok(Some(known.ok_or_else(|| Refusal::not_found("organisation"))?.org.id))
    }

    fn new_token(&self, text: &str, name: &str, role: Role, expires_at: Option<i64>) -> NewToken {
        let (id, hash) = (TokenId::fresh(), credentials::hash(text));
        NewToken { id, name: name.to_owned(), role, org: None, hash, expires_at }
    }

    async fn send_token(&self, token: NewToken, by: &Cause) -> Result<Token, Error> {
        let (token, by) = (Box::new(token), by.clone());
        let permit = self.permit(SYSTEM_CELL, 0)?;
        self.shared
            .directory
            .call_with_permit(permit, self.shared.config.answer_within, |reply| {
                Message::CreateToken { token, by, reply }
            })
            .await?
    }

    async fn send_org(
        &self,
        (name, display_name): (&str, Option<String>),
        token: Option<Box<NewToken>>,
        by: &Cause,
    ) -> Result<Org, Error> {
        let (by, new) = (by.clone(), Box::new(self.new_org(name, display_name)));
        let permit = self.permit(SYSTEM_CELL, 0)?;
        self.shared
            .directory
            .call_with_permit(permit, self.shared.config.answer_within, |reply| {
                Message::CreateOrg { new, token, by, reply }
            })
            .await?
    }

    /// An organisation with fresh keys.
    fn new_org(&self, name: &str, display_name: Option<String>) -> NewOrg {
        let (id, key, payload_key) = (OrgId::fresh(), CellKey::fresh(), Key::fresh());
        let master = &self.shared.master;
        let (purpose, subject) = (Purpose::PayloadKey, PayloadKey::subject(FIRST_KEY));
        let text = payload_key.expose().as_bytes();
        NewOrg {
            id,
            name: name.to_owned(),
            display_name,
            sealed_key: master.seal(Purpose::CellKey, id, &[], key.as_bytes()),
            key,
            sealed_payload_key: master.seal(purpose, id, &subject, text),
            payload_key: Arc::new(payload_key),
        }
    }
}
