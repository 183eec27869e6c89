//! The key that signs heads: which it is, which were before it, and another in its place.

use std::sync::Arc;

use super::AuditTrail;
use crate::error::Error;
use crate::plane::{Caller, ControlPlane};
use crate::seal::Sealed;
use crate::system::directory::Message;
use crate::system::org::Role;
use crate::system::signer::{AuditKey, Signer};

impl AuditTrail {
    /// The key that signs heads now, and those before it: heads that they signed stay good.
    ///
    /// # Errors
    /// When the directory does not run.
    pub async fn keys(&self) -> Result<AuditKey, Error> {
        let keys = self.plane.ask_directory(|reply| Message::AuditKeys { reply }).await?;
        keys.ok_or_else(|| Error::Unavailable("the directory is starting".to_owned()))
    }
}

impl ControlPlane {
    /// Lets a fresh key sign heads from now on. Once this returns, that is durable.
    ///
    /// # Errors
    /// When the caller is no administrator of the system.
    pub async fn rotate_audit_key(&self, caller: &Caller) -> Result<AuditKey, Error> {
        caller.role.may(Role::System)?;
        let ((signer, sealed), by) = (self.fresh_signer()?, caller.by.clone());
        self.ask_directory(|reply| Message::RotateSigner { signer, sealed, by, reply }).await?
    }

    pub(in crate::plane) fn fresh_signer(&self) -> Result<(Arc<Signer>, Sealed), Error> {
        let (signer, sealed) = Signer::fresh(&self.shared.master).map_err(|error| {
            let id = uuid::Uuid::now_v7().to_string();
            tracing::error!(%id, %error, "the record cannot be signed");
            Error::Internal(id)
        })?;
        Ok((Arc::new(signer), sealed))
    }
}
