//! The worker's own key pair (Ed25519): it never leaves the machine, and signs what proves who the worker is.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_wire::Secret;
use fleetward_wire::task_tokens::{registration_text, token_text};

/// A key pair. Nobody can print the private half.
pub struct KeyPair {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
}

impl KeyPair {
    /// A fresh random one.
    pub fn generate() -> Self {
        Self::of(rand::random())
    }

    /// The one that [`private`](Self::private) gave; `None` where the text is something else.
    pub fn read(private: &Secret) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(private.expose()).ok()?;
        bytes.try_into().ok().map(Self::of)
    }

    fn of(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        Self { pair: pair.expect("any 32 bytes are a seed of Ed25519"), seed }
    }

    /// The private half, to be kept where nobody else can read it.
    pub fn private(&self) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(self.seed))
    }

    /// The public half, as it is sent.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key())
    }

    /// Signs a registration with this enrollment key.
    pub fn sign_registration(&self, enrollment_key: &str) -> String {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, enrollment_key.as_bytes());
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.sign(&registration_text(&hex, &self.public()))
    }

    /// Signs a request for the task token after `generation`.
    pub fn sign_token(&self, org_id: &str, worker_id: &str, generation: u32) -> String {
        self.sign(&token_text(org_id, worker_id, generation))
    }

    fn sign(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(text.as_bytes()))
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_is_the_same_after_it_was_kept_and_shows_only_its_public_half() {
        let pair = KeyPair::generate();

        let again = KeyPair::read(&pair.private()).unwrap();

        assert_eq!(again.public(), pair.public());
        assert_eq!(again.sign_token("o", "w", 1), pair.sign_token("o", "w", 1));
        assert!(!format!("{pair:?}").contains(pair.private().expose().as_str()));
        assert!(KeyPair::read(&"short".into()).is_none());
    }
}
