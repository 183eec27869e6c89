//! What the directory decides about the keys that task tokens are signed with.

use std::time::Duration;

use fleetward_runtime::Context;

use super::{Message, State};
use crate::cause::Cause;
use crate::effect::Effect;
use crate::error::Error;
use crate::fact::Fold;
use crate::guard::guarded;
use crate::id::SigningKeyId;
use crate::seal::Sealed;
use crate::system::signers::SigningSecret;
use crate::system::signing_key::{self, KeyState, SigningKey, SigningKeyEvent};

impl State {
    /// Adds a key. The first one signs at once; so does one that is to be promoted.
    pub(super) fn add_signing_key(
        &mut self,
        (id, secret, sealed): (SigningKeyId, SigningSecret, Sealed),
        promoted: bool,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<SigningKey, Error> {
        let event = SigningKeyEvent::Added { key: id, public_key: secret.public_key() };
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let stamp = draft.push::<SigningKey>(id, &event, by, Some(sealed));
        let key = SigningKey::begin(&event, stamp).expect("an addition begins a key");
        let (index, secret) = (self.args.signers.clone(), Some(Box::new(secret)));
        draft.allow(Effect::SigningKey { index, key: Box::new(key.clone()), secret });
        self.signing_keys.insert(id, key);
        draft.submit();
        let none_signs = self.signing_keys.values().all(|key| key.state != KeyState::Active);
        if promoted || none_signs {
            self.promote_signing_key(id, by, cx)?;
        }
        Ok(self.signing_keys[&id].clone())
    }

    pub(super) fn promote_signing_key(
        &mut self,
        id: SigningKeyId,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<SigningKey, Error> {
        let promote = || signing_key::promote(&self.signing_keys, id);
        let events = guarded(cx, "decide/signing key", promote)?;
        self.change_signing_keys(&events, by, cx);
        Ok(self.signing_keys[&id].clone())
    }

    pub(super) fn retire_signing_key(
        &mut self,
        id: SigningKeyId,
        (longest, forced): (Duration, bool),
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<SigningKey, Error> {
        let at = (cx.clock().wall_us(), longest);
        let retire = || signing_key::retire(&self.signing_keys, id, at, forced);
        let event = guarded(cx, "decide/signing key", retire)?;
        self.change_signing_keys(&[(id, event)], by, cx);
        let retired = self.signing_keys.remove(&id);
        Ok(retired.expect("it was just changed"))
    }

    /// Those that may be used, oldest first.
    pub(super) fn signing_keys(&self) -> Vec<SigningKey> {
        let mut keys: Vec<_> = self.signing_keys.values().cloned().collect();
        keys.sort_by_key(|key| (key.created_at, key.id));
        keys
    }

    fn change_signing_keys(
        &mut self,
        events: &[(SigningKeyId, SigningKeyEvent)],
        by: &Cause,
        cx: &Context<Message>,
    ) {
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        for (id, event) in events {
            let stamp = draft.push::<SigningKey>(id, event, by, None);
            let Some(key) = self.signing_keys.get_mut(id) else { continue };
            key.evolve(event, stamp);
            let (index, key) = (self.args.signers.clone(), Box::new(key.clone()));
            draft.allow(Effect::SigningKey { index, key, secret: None });
        }
        draft.submit();
    }
}
