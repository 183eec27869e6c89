//! The public half of the key pair (Ed25519) that a worker proves itself with, and the texts that it signs. Pure.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::error::{Kind, Refusal};
use crate::id::{OrgId, WorkerId};

/// Longest signature that is looked at, as text.
const SIGNATURE_MAX: usize = 128;

/// A public key: 32 bytes, written in base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a key.
    ///
    /// # Errors
    /// When the text is not 32 bytes in base64url without padding.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| {
            let detail = "public_key must be the 32 bytes of an Ed25519 key in base64url";
            Refusal::invalid("invalid_public_key", detail)
        })
    }

    /// The key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What people compare: `sha256:` and the SHA-256 of its bytes, hex.
    pub fn fingerprint(&self) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(self.0)))
    }

    /// Checks that the holder of the private half signed `text`; the signature is base64url.
    ///
    /// # Errors
    /// When it did not.
    pub fn check(&self, text: &str, signature: &str) -> Result<(), Refusal> {
        let bytes = Some(signature).filter(|text| text.len() <= SIGNATURE_MAX);
        let bytes = bytes.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        match bytes.map(|bytes| key.verify(text.as_bytes(), &bytes)) {
            Some(Ok(())) => Ok(()),
            _ => {
                let detail = "the signature is not one of the worker's key over this request";
                Err(Refusal::new(Kind::Unauthenticated, "bad_signature", detail))
            }
        }
    }
}

/// What a process signs that registers with an enrollment key: it says whose key pair it is, and for which key.
pub fn registration_text(enrollment_key_hash: &str, key: &PublicKey) -> String {
    format!("fleetward registration\n{enrollment_key_hash}\n{key}")
}

/// What a worker signs that asks for a task token. `generation` is the newest that it knows of: each is answered
/// once, so nobody can repeat the request, and no clocks are compared.
pub fn token_text(org: OrgId, worker: WorkerId, generation: u32) -> String {
    format!("fleetward task token\n{org}\n{worker}\n{generation}")
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    #[test]
    fn only_the_private_half_signs_and_only_this_text() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = PublicKey::from_bytes(pair.public_key().as_ref().try_into().unwrap());
        let sign =
            |pair: &Ed25519KeyPair, text: &str| URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes()));
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();

        assert_eq!(PublicKey::parse(&key.to_string()), Ok(key));
        assert!(key.check("text", &sign(&pair, "text")).is_ok());
        for wrong in [sign(&pair, "text 2"), sign(&other, "text"), String::new(), "=".repeat(999)] {
            assert_eq!(key.check("text", &wrong).unwrap_err().code, "bad_signature");
        }
        assert!(PublicKey::parse("AAAA").is_err() && PublicKey::parse("?").is_err());
        assert_eq!(key.fingerprint().len(), "sha256:".len() + 64);
    }
}
