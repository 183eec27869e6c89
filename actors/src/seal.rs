//! Payloads, results and error texts on their way through the actors: bytes that nobody can print.
//!
//! A `Sealed` is made and opened in a caller's `Handle`, never in an actor. The first byte names how the
//! rest is written, so that encrypted values can follow plain ones in the same journal.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The rest of the value is the plaintext itself.
const PLAIN: u8 = 0;

/// A value that leaves a cell only towards the one who may read it. It has no `Serialize` and no content in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Bytes);

/// A sealed value that this build cannot read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("sealed value is in format {0:?}, which this build does not know")]
pub struct Unreadable(Option<u8>);

impl Sealed {
    /// Seals `plaintext`.
    pub fn seal(plaintext: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(plaintext.len() + 1);
        bytes.push(PLAIN);
        bytes.extend_from_slice(plaintext);
        Self(bytes.into())
    }

    /// Opens it again.
    ///
    /// # Errors
    /// When a newer build sealed it in a format that is unknown here.
    pub fn open(&self) -> Result<Bytes, Unreadable> {
        match self.0.first() {
            Some(&PLAIN) => Ok(self.0.slice(1..)),
            other => Err(Unreadable(other.copied())),
        }
    }

    /// The bytes for the store.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// What the store gave back.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Size in bytes, as stored.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for a value without even a format byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The secret of one cell: signs claim tokens and enrollment keys, and keys the digests of sealed values.
#[derive(Clone, PartialEq, Eq)]
pub struct CellKey([u8; 32]);

impl CellKey {
    /// A fresh random key.
    pub fn fresh() -> Self {
        Self(rand::random())
    }

    /// The key from its stored form.
    pub fn from_sealed(sealed: &Sealed) -> Option<Self> {
        sealed.open().ok()?.as_ref().try_into().ok().map(Self)
    }

    /// The key in the form that is stored.
    pub fn sealed(&self) -> Sealed {
        Sealed::seal(&self.0)
    }

    /// HMAC-SHA-256 (RFC 2104) over length-prefixed parts, separated by `purpose`.
    pub fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The digest of a plaintext that may stand in the open beside its sealed form: without the key
    /// nobody can test a guess against it.
    pub fn digest(&self, plaintext: &[u8]) -> String {
        hex::encode(self.mac("digest", &[plaintext]))
    }
}

impl fmt::Debug for CellKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CellKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_value_opens_to_what_was_sealed() {
        assert_eq!(Sealed::seal(b"abc").open().unwrap().as_ref(), b"abc");
    }

    #[test]
    fn unknown_format_is_refused() {
        assert_eq!(
            Sealed::from_bytes(Bytes::from_static(&[9, 1])).open(),
            Err(Unreadable(Some(9)))
        );
        assert_eq!(Sealed::from_bytes(Bytes::new()).open(), Err(Unreadable(None)));
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", Sealed::seal(b"hunter2")), "Sealed(8 bytes)");
    }

    #[test]
    fn parts_of_a_mac_do_not_run_together() {
        let key = CellKey([7; 32]);
        assert_ne!(key.mac("p", &[b"ab", b"c"]), key.mac("p", &[b"a", b"bc"]));
    }
}
