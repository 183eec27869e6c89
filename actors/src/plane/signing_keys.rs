//! The keys that task tokens are signed with, as administrators of the system change them, and as everybody may read
//! their public halves.

use super::{Caller, ControlPlane, SYSTEM_CELL};
use crate::cause::Cause;
use crate::error::Error;
use crate::fleet::public_key::PublicKey;
use crate::id::SigningKeyId;
use crate::system::directory::Message;
use crate::system::org::Role;
use crate::system::signers::SigningSecret;
use crate::system::signing_key::SigningKey;

impl ControlPlane {
    /// Adds a signing key; it signs from now on if it is to be `promoted`.
    ///
    /// # Errors
    /// When the caller is no administrator of the system.
    pub async fn add_signing_key(
        &self,
        caller: &Caller,
        promoted: bool,
    ) -> Result<SigningKey, Error> {
        caller.role.may(Role::System)?;
        self.send_signing_key(promoted, caller.by.clone()).await
    }

    /// Lets a key sign from now on; the one before no longer does, and its tokens stay good.
    ///
    /// # Errors
    /// When the caller is no administrator of the system, or there is no such key.
    pub async fn promote_signing_key(
        &self,
        caller: &Caller,
        id: SigningKeyId,
    ) -> Result<SigningKey, Error> {
        caller.role.may(Role::System)?;
        let by = caller.by.clone();
        self.ask_directory(|reply| Message::PromoteSigningKey { id, by, reply }).await?
    }

    /// Ends a key: its tokens are no longer good.
    ///
    /// # Errors
    /// When the caller is no administrator of the system, or there is no such key; when it signs; when tokens of it may be in use,
    /// unless that is `forced`.
    pub async fn retire_signing_key(
        &self,
        caller: &Caller,
        id: SigningKeyId,
        forced: bool,
    ) -> Result<SigningKey, Error> {
        caller.role.may(Role::System)?;
        let (by, longest) = (caller.by.clone(), self.shared.config.task_token_for);
        self.ask_directory(|reply| Message::RetireSigningKey { id, longest, forced, by, reply })
            .await?
    }

    /// The signing keys that may be used, oldest first.
    ///
    /// # Errors
    /// When the caller is no administrator of the system.
    pub async fn signing_keys(&self, caller: &Caller) -> Result<Vec<SigningKey>, Error> {
        caller.role.may(Role::System)?;
        self.ask_directory(|reply| Message::SigningKeys { reply }).await
    }

    /// The public halves of the signing keys whose tokens may be good.
    pub fn published_keys(&self) -> Vec<(SigningKeyId, PublicKey)> {
        self.shared.signers.published()
    }

    /// A store that has no signing key yet gets one.
    pub(super) async fn ensure_signing_key(&self) -> Result<(), Error> {
        if self.shared.signers.active().is_none() {
            self.send_signing_key(true, Cause::system()).await?;
        }
        Ok(())
    }

    async fn send_signing_key(&self, promoted: bool, by: Cause) -> Result<SigningKey, Error> {
        let (id, secret) = (SigningKeyId::fresh(), Box::new(SigningSecret::fresh()));
        let sealed = secret.sealed(&self.shared.master, id);
        let add = |reply| Message::AddSigningKey { id, secret, sealed, promoted, by, reply };
        self.ask_directory(add).await?
    }

    pub(super) async fn ask_directory<T: Send + 'static>(
        &self,
        make: impl FnOnce(fleetward_runtime::Reply<T>) -> Message,
    ) -> Result<T, Error> {
        let permit = self.permit(SYSTEM_CELL, 0)?;
        let within = self.shared.config.answer_within;
        Ok(self.shared.directory.call_with_permit(permit, within, make).await?)
    }
}
