//! A key that the server signs workers' task tokens with, and what can happen to it. Pure.
//!
//! A key is added, promoted (it signs from then on, and the one before no longer does) and retired (its tokens are no
//! longer good), so that tokens are always signed by one key and checked against several.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Kind, Refusal};
use crate::fact::{Fold, Stamp};
use crate::fleet::public_key::PublicKey;
use crate::id::SigningKeyId;

/// How long after its last token has ended a key is kept: the token's time was read a moment before it was signed.
const MARGIN: Duration = Duration::from_secs(60);

/// A signing key. Its private half is sealed beside its first event and kept with its record until it is retired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// Its id: the `kid` of its tokens.
    pub id: SigningKeyId,
    /// The public half.
    pub public_key: PublicKey,
    /// What it is good for.
    pub state: KeyState,
    /// When it stopped signing, in microseconds UTC.
    #[serde(default)]
    pub demoted_at: Option<i64>,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
    /// By whom.
    pub created_by: String,
}

/// What a signing key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, and not in use yet.
    Added,
    /// Signs; there is one.
    Active,
    /// Its tokens are good, and it signs no more.
    Demoted,
    /// Nothing of it is good. Final.
    Retired,
}

impl KeyState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Active => "active",
            Self::Demoted => "demoted",
            Self::Retired => "retired",
        }
    }
}

/// What can happen to a signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningKeyEvent {
    /// It was made. Its private half is sealed beside it.
    #[serde(rename = "signing_key.added")]
    Added {
        /// Its id.
        key: SigningKeyId,
        /// The public half.
        public_key: PublicKey,
    },
    /// It signs from now on.
    #[serde(rename = "signing_key.promoted")]
    Promoted {},
    /// Another signs from now on.
    #[serde(rename = "signing_key.demoted")]
    Demoted {},
    /// Its tokens are no longer good.
    #[serde(rename = "signing_key.retired")]
    Retired {
        /// Although some might still have been in use.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        forced: bool,
    },
}

/// What promoting a key does: to it, and to the one that signs now.
///
/// # Errors
/// When there is no such key, or it was retired.
pub fn promote(
    keys: &HashMap<SigningKeyId, SigningKey>,
    id: SigningKeyId,
) -> Result<Vec<(SigningKeyId, SigningKeyEvent)>, Refusal> {
    let key = known(keys, id)?;
    if key.state == KeyState::Active {
        return Ok(Vec::new());
    }
    let active = keys.values().filter(|key| key.state == KeyState::Active);
    let demoted = active.map(|key| (key.id, SigningKeyEvent::Demoted {}));
    Ok(demoted.chain([(id, SigningKeyEvent::Promoted {})]).collect())
}

/// Whether a key can be retired at `now`, where tokens are good for at most `longest`.
///
/// # Errors
/// When there is no such key; when it signs; when tokens of it may be in use, unless that is `forced`.
pub fn retire(
    keys: &HashMap<SigningKeyId, SigningKey>,
    id: SigningKeyId,
    (now, longest): (i64, Duration),
    forced: bool,
) -> Result<SigningKeyEvent, Refusal> {
    let key = known(keys, id)?;
    if key.state == KeyState::Active {
        let detail = "the key signs: promote another one first";
        return Err(Refusal::new(Kind::Conflict, "signing_key_active", detail));
    }
    let kept_for = i64::try_from((longest + MARGIN).as_micros()).unwrap_or(i64::MAX);
    let left = key.demoted_at.map_or(0, |at| at.saturating_add(kept_for).saturating_sub(now));
    if left > 0 && !forced {
        let seconds = left / 1_000_000 + 1;
        let detail = format!(
            "tokens that the key signed may be in use for another {seconds} seconds; wait, or force it"
        );
        return Err(Refusal::new(Kind::Conflict, "signing_key_in_use", detail));
    }
    Ok(SigningKeyEvent::Retired { forced: left > 0 })
}

fn known(
    keys: &HashMap<SigningKeyId, SigningKey>,
    id: SigningKeyId,
) -> Result<&SigningKey, Refusal> {
    let key = keys.get(&id).filter(|key| key.state != KeyState::Retired);
    key.ok_or_else(|| Refusal::not_found("signing key"))
}

impl Fold for SigningKey {
    type Event = SigningKeyEvent;
    const KIND: &'static str = "signing-key";

    fn kind(event: &SigningKeyEvent) -> &'static str {
        match event {
            SigningKeyEvent::Added { .. } => "signing_key.added",
            SigningKeyEvent::Promoted {} => "signing_key.promoted",
            SigningKeyEvent::Demoted {} => "signing_key.demoted",
            SigningKeyEvent::Retired { .. } => "signing_key.retired",
        }
    }

    fn begin(event: &SigningKeyEvent, stamp: Stamp<'_>) -> Option<Self> {
        let SigningKeyEvent::Added { key, public_key } = event else { return None };
        Some(Self {
            id: *key,
            public_key: *public_key,
            state: KeyState::Added,
            demoted_at: None,
            created_at: stamp.at,
            created_by: stamp.by.to_owned(),
        })
    }

    fn evolve(&mut self, event: &SigningKeyEvent, stamp: Stamp<'_>) {
        match event {
            SigningKeyEvent::Added { .. } => {}
            SigningKeyEvent::Promoted {} => self.state = KeyState::Active,
            SigningKeyEvent::Demoted {} => {
                self.state = KeyState::Demoted;
                self.demoted_at = Some(stamp.at);
            }
            SigningKeyEvent::Retired { .. } => self.state = KeyState::Retired,
        }
    }

    fn open(&self) -> bool {
        self.state != KeyState::Retired
    }

    fn status(&self) -> &'static str {
        self.state.as_str()
    }

    fn keeps_sealed(event: &SigningKeyEvent) -> bool {
        // The record of a retired key forgets the private half.
        matches!(event, SigningKeyEvent::Added { .. } | SigningKeyEvent::Retired { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(states: &[(KeyState, Option<i64>)]) -> HashMap<SigningKeyId, SigningKey> {
        let key = |(state, demoted_at): &(KeyState, Option<i64>)| {
            let (id, public_key) = (SigningKeyId::fresh(), PublicKey::from_bytes([1; 32]));
            let (state, demoted_at) = (*state, *demoted_at);
            let key = SigningKey {
                id,
                public_key,
                state,
                demoted_at,
                created_at: 0,
                created_by: "t".into(),
            };
            (id, key)
        };
        states.iter().map(key).collect()
    }

    fn of(keys: &HashMap<SigningKeyId, SigningKey>, state: KeyState) -> SigningKeyId {
        keys.values().find(|key| key.state == state).unwrap().id
    }

    #[test]
    fn promoting_one_demotes_the_other() {
        let keys =
            keys(&[(KeyState::Active, None), (KeyState::Added, None), (KeyState::Retired, None)]);
        let (active, added) = (of(&keys, KeyState::Active), of(&keys, KeyState::Added));

        let events = promote(&keys, added).unwrap();

        assert_eq!(
            events,
            [(active, SigningKeyEvent::Demoted {}), (added, SigningKeyEvent::Promoted {})]
        );
        assert_eq!(promote(&keys, active), Ok(Vec::new()));
        assert_eq!(promote(&keys, of(&keys, KeyState::Retired)).unwrap_err().code, "not_found");
    }

    #[test]
    fn key_is_retired_once_its_last_token_is_over_or_by_force() {
        let keys = keys(&[
            (KeyState::Active, None),
            (KeyState::Demoted, Some(0)),
            (KeyState::Added, None),
        ]);
        let longest = Duration::from_secs(900);
        let retired = |state, seconds: i64, forced| {
            let outcome = retire(&keys, of(&keys, state), (seconds * 1_000_000, longest), forced);
            outcome.map_err(|refusal| refusal.code)
        };
        let done = |forced| Ok(SigningKeyEvent::Retired { forced });

        assert_eq!(retired(KeyState::Active, 9_999, true), Err("signing_key_active"));
        assert_eq!(retired(KeyState::Demoted, 959, false), Err("signing_key_in_use"));
        assert_eq!(retired(KeyState::Demoted, 959, true), done(true));
        assert_eq!(retired(KeyState::Demoted, 960, false), done(false));
        assert_eq!(retired(KeyState::Added, 0, false), done(false));
    }
}
