//! What the directory decides about the key that signs heads of the record.

use std::sync::Arc;

use fleetward_runtime::Context;

use super::{Message, State};
use crate::cause::Cause;
use crate::error::Error;
use crate::fact::Fold;
use crate::journal::Draft;
use crate::seal::Sealed;
use crate::system::principals::Change;
use crate::system::signer::{AuditKey, AuditKeyEvent, SIGNER_ID, Signer};

impl State {
    /// Signs with this key if there is none yet.
    pub(super) fn ensure_signer(
        &mut self,
        signer: Arc<Signer>,
        sealed: Sealed,
        cx: &Context<Message>,
    ) {
        if self.audit_key.is_some() {
            return;
        }
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let event = AuditKeyEvent::Created { public_key: signer.public().to_base64() };
        let by = Cause::system();
        let stamp = draft.push::<AuditKey>(SIGNER_ID, &event, &by, Some(sealed));
        self.audit_key = AuditKey::begin(&event, stamp);
        self.sign_with(signer, draft);
    }

    /// Signs with this key from now on.
    pub(super) fn rotate_signer(
        &mut self,
        signer: Arc<Signer>,
        sealed: Sealed,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<AuditKey, Error> {
        let Some(key) = self.audit_key.as_mut() else {
            return Err(Error::Unavailable("there is no key to rotate yet".to_owned()));
        };
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let event = AuditKeyEvent::Rotated { public_key: signer.public().to_base64() };
        let stamp = draft.push::<AuditKey>(SIGNER_ID, &event, by, Some(sealed));
        key.evolve(&event, stamp);
        let key = key.clone();
        self.sign_with(signer, draft);
        Ok(key)
    }

    fn sign_with(&self, signer: Arc<Signer>, mut draft: Draft<'_>) {
        self.allow(&mut draft, Change::Signer(signer));
        draft.submit();
    }
}
