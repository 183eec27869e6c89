//! The key that signs heads of the record, and how its public half is known. It is made at the first start, kept by the
//! directory, and may be followed by another; its private half is sealed. Those before it sign no more, and what they signed
//! stays what it is: their public halves are kept.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fact::{Fold, Stamp};
use crate::id::OrgId;
use crate::seal::{MasterKey, Purpose, Sealed};

/// The one stream of the key.
pub const SIGNER_ID: &str = "audit";
/// Stands where an organisation's id stands.
const SYSTEM: OrgId = OrgId(uuid::Uuid::nil());
/// Most keys that are remembered besides the one that signs.
const FORMER_MAX: usize = 100;
/// Bytes of a key's hash that name it.
const NAME_BYTES: usize = 8;
/// What stands before the 32 bytes of a key in its usual form (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];

/// An Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// Text that is no public key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an Ed25519 public key: give it as PEM, or its 32 bytes in base64")]
pub struct NoPublicKey;

/// Signs heads.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// A private key that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the key that signs the record")]
pub struct Unusable;

impl Signer {
    /// A new one, and its private half for the store.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn fresh(master: &MasterKey) -> Result<(Self, Sealed), Unusable> {
        let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| Unusable)?;
        let sealed =
            master.seal(Purpose::SigningKey, SYSTEM, SIGNER_ID.as_bytes(), private.as_ref());
        Ok((Self::read(private.as_ref())?, sealed))
    }

    /// The one whose private half was stored.
    ///
    /// # Errors
    /// When it is not one.
    pub fn from_sealed(sealed: &Sealed, master: &MasterKey) -> Result<Self, Unusable> {
        let private = master.open(Purpose::SigningKey, SYSTEM, SIGNER_ID.as_bytes(), sealed);
        Self::read(&private.map_err(|_| Unusable)?)
    }

    fn read(private: &[u8]) -> Result<Self, Unusable> {
        let pair = Ed25519KeyPair::from_pkcs8(private).map_err(|_| Unusable)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| Unusable)?;
        Ok(Self { pair, public: PublicKey(public) })
    }

    /// What anybody checks its signatures with.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public.id())
    }
}

impl PublicKey {
    /// Its short name: the start of its SHA-256, hex.
    pub fn id(&self) -> String {
        hex::encode(&Sha256::digest(self.0)[..NAME_BYTES])
    }

    /// Its 32 bytes, base64.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// As other programs read it, `openssl` among them.
    pub fn to_pem(&self) -> String {
        let der = [&SPKI_PREFIX[..], &self.0[..]].concat();
        let text = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// Whether `signature` over `message` was made by it.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl std::str::FromStr for PublicKey {
    type Err = NoPublicKey;

    fn from_str(text: &str) -> Result<Self, NoPublicKey> {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        let bytes = STANDARD.decode(lines.collect::<String>()).map_err(|_| NoPublicKey)?;
        let key = bytes.strip_prefix(&SPKI_PREFIX[..]).unwrap_or(&bytes);
        key.try_into().map(Self).map_err(|_| NoPublicKey)
    }
}

/// What is stored of the key; its private half is sealed beside the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditKey {
    /// Its 32 bytes, base64.
    pub public_key: String,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
    /// The keys before it, oldest first; at most the last hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<FormerKey>,
}

/// A key that signed before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerKey {
    /// Its 32 bytes, base64.
    pub public_key: String,
    /// When another took its place, in microseconds UTC.
    pub until: i64,
}

/// What can happen to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditKeyEvent {
    /// It was made.
    #[serde(rename = "audit_key.created")]
    Created {
        /// Its 32 bytes, base64.
        public_key: String,
    },
    /// Another one took its place. That one's private half is sealed beside this.
    #[serde(rename = "audit_key.rotated")]
    Rotated {
        /// The 32 bytes of the new one, base64.
        public_key: String,
    },
}

impl Fold for AuditKey {
    type Event = AuditKeyEvent;
    const KIND: &'static str = "audit_key";

    fn kind(event: &AuditKeyEvent) -> &'static str {
        match event {
            AuditKeyEvent::Created { .. } => "audit_key.created",
            AuditKeyEvent::Rotated { .. } => "audit_key.rotated",
        }
    }

    fn begin(event: &AuditKeyEvent, stamp: Stamp<'_>) -> Option<Self> {
        let AuditKeyEvent::Created { public_key } = event else { return None };
        let former = Vec::new();
        Some(Self { public_key: public_key.clone(), created_at: stamp.at, former })
    }

    fn evolve(&mut self, event: &AuditKeyEvent, stamp: Stamp<'_>) {
        let AuditKeyEvent::Rotated { public_key } = event else { return };
        let before = std::mem::replace(&mut self.public_key, public_key.clone());
        self.former.push(FormerKey { public_key: before, until: stamp.at });
        let excess = self.former.len().saturating_sub(FORMER_MAX);
        self.former.drain(..excess);
        self.created_at = stamp.at;
    }

    fn open(&self) -> bool {
        true
    }

    fn status(&self) -> &'static str {
        "active"
    }

    fn keeps_sealed(_event: &AuditKeyEvent) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_survives_its_sealed_form_and_signs_what_it_verifies() {
        let master = MasterKey::fresh();
        let (made, sealed) = Signer::fresh(&master).unwrap();
        let read = Signer::from_sealed(&sealed, &master).unwrap();

        let signature = read.sign(b"abc");

        assert_eq!(read.public(), made.public());
        assert!(made.public().verifies(b"abc", &signature));
        assert!(!made.public().verifies(b"abd", &signature));
        assert!(
            !Signer::fresh(&MasterKey::fresh()).unwrap().0.public().verifies(b"abc", &signature)
        );
    }

    #[test]
    fn public_key_is_read_from_pem_and_from_base64() {
        let key = Signer::fresh(&MasterKey::fresh()).unwrap().0.public();

        assert_eq!(key.to_pem().parse(), Ok(key));
        assert_eq!(key.to_base64().parse(), Ok(key));
        assert_eq!("AAAA".parse::<PublicKey>(), Err(NoPublicKey));
        assert_eq!(key.id().len(), 16);
    }
}
