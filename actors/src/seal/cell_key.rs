//! The secret of one cell.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret of one cell: signs claim tokens and enrollment keys, and keys the digests of sealed values.
#[derive(Clone)]
pub struct CellKey {
    bytes: [u8; 32],
    /// What of a MAC depends on the key alone.
    mac: Hmac<Sha256>,
}

impl CellKey {
    /// A fresh random key.
    pub fn fresh() -> Self {
        Self::of(rand::random())
    }

    fn of(bytes: [u8; 32]) -> Self {
        let mac = Hmac::new_from_slice(&bytes).expect("HMAC takes a key of any length");
        Self { bytes, mac }
    }

    /// The key from its bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::of)
    }

    /// Its bytes: to be sealed.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// HMAC-SHA-256 (RFC 2104) over length-prefixed parts, separated by `purpose`.
    pub fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The digest of a plaintext that may stand in the open beside its sealed form: without the key
    /// nobody can test a guess against it.
    pub fn digest(&self, plaintext: &[u8]) -> String {
        // Each payload and each result has one: `hex::encode` puts its text together a character at a time.
        let mut text = vec![0; 64];
        let room = "a MAC of 32 bytes has 64 digits";
        hex::encode_to_slice(self.mac("digest", &[plaintext]), &mut text).expect(room);
        String::from_utf8(text).expect("digits are ASCII")
    }
}

impl PartialEq for CellKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for CellKey {}

impl fmt::Debug for CellKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CellKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_mac_do_not_run_together() {
        let key = CellKey::of([7; 32]);
        assert_ne!(key.mac("p", &[b"ab", b"c"]), key.mac("p", &[b"a", b"bc"]));
    }
}
