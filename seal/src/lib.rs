//! Keys, and what they seal: Fernet tokens (<https://github.com/fernet/spec>) that open only for what they were made
//! for. Used where values are stored and where they are handed out; knows neither of the two, no ring and no file.
//!
//! A token's plaintext is [`Bound`] (16 bytes) and then the value, so that a token that is moved to another place does
//! not open there, though its key is right.

mod attempt;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use fernet::Fernet;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use attempt::Part;

/// Bytes of what a token is bound to.
const BOUND_BYTES: usize = 16;
/// The moment at which stored tokens are opened: later than any. What is at rest does not expire, and the other check
/// that Fernet makes, that a token is not of the future, would hide everything from a server whose clock was set back.
const WHENEVER: u64 = u64::MAX - 60;

/// A Fernet key. It has no `Debug`, `Display` or `Serialize` content, and is overwritten when it is dropped.
#[derive(Clone)]
pub struct Key {
    fernet: Fernet,
    text: Zeroizing<String>,
}

/// What a sealed value belongs to: the first half of SHA-256 over the purpose and the parts, each after its length as
/// two bytes, the higher one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound([u8; BOUND_BYTES]);

/// Not a Fernet key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 32 bytes as URL-safe base64 (44 characters)")]
pub struct BadKey;

/// The token was not made with this key, was changed, or was made for something else. Which of these is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key does not open it, it was changed, or it belongs elsewhere")]
pub struct CannotOpen;

impl Key {
    /// A fresh key from the operating system's random numbers.
    pub fn fresh() -> Self {
        Self::parse(&Zeroizing::new(Fernet::generate_key())).expect("a generated key is a key")
    }

    /// The key that a text spells.
    ///
    /// # Errors
    /// When it spells none.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        let fernet = Fernet::new(text).ok_or(BadKey)?;
        Ok(Self { fernet, text: Zeroizing::new(text.to_owned()) })
    }

    /// The key as text: for its owner alone.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Seals a value: a token as text.
    pub fn seal(&self, bound: Bound, value: &[u8]) -> String {
        let mut plain = Zeroizing::new(Vec::with_capacity(BOUND_BYTES + value.len()));
        plain.extend_from_slice(&bound.0);
        plain.extend_from_slice(value);
        self.fernet.encrypt(&plain)
    }

    /// Opens a token, whenever it was made.
    ///
    /// # Errors
    /// When it is not of this key, was changed, or is bound to something else.
    pub fn open(&self, bound: Bound, token: &str) -> Result<Bytes, CannotOpen> {
        let plain = self.decrypt(token)?;
        if !plain.starts_with(&bound.0) {
            return Err(CannotOpen);
        }
        Ok(Bytes::from(plain).slice(BOUND_BYTES..))
    }

    /// Seals a token again with another key. What it is bound to stays as it is and is not looked at.
    ///
    /// # Errors
    /// When it is not of this key, or was changed.
    pub fn reseal(&self, token: &str, with: &Self) -> Result<String, CannotOpen> {
        Ok(with.fernet.encrypt(&Zeroizing::new(self.decrypt(token)?)))
    }

    /// Whether this key made a token, whatever it is bound to.
    pub fn made(&self, token: &str) -> bool {
        self.decrypt(token).is_ok()
    }

    fn decrypt(&self, token: &str) -> Result<Vec<u8>, CannotOpen> {
        self.fernet.decrypt_at_time(token, None, WHENEVER).map_err(|_| CannotOpen)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Bound {
    /// What belongs to these parts, for this purpose. Parts are ids and numbers: the first 65,535 bytes of each count.
    pub fn to(purpose: &str, parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
            digest.update(length.to_be_bytes());
            digest.update(&part[..usize::from(length)]);
        }
        let mut bound = [0; BOUND_BYTES];
        bound.copy_from_slice(&digest.finalize()[..BOUND_BYTES]);
        Self(bound)
    }
}

/// A token without its base64, a quarter smaller, behind what is in `bytes`. Tells whether the token is base64.
#[must_use]
pub fn append_raw(token: &str, bytes: &mut Vec<u8>) -> bool {
    URL_SAFE.decode_vec(token, bytes).is_ok()
}

/// The token again.
pub fn to_text(raw: &[u8]) -> String {
    URL_SAFE.encode(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The secret of all vectors of the specification (fernet/spec on GitHub, `generate.json`, `verify.json` and
    // `invalid.json`), as stated there.
    const SECRET: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    /// 1985-10-26T01:20:00-07:00.
    const NOW: u64 = 499_162_800;

    fn opens_at(token: &str, ttl: u64, now: u64) -> Option<Vec<u8>> {
        Key::parse(SECRET).unwrap().fernet.decrypt_at_time(token, Some(ttl), now).ok()
    }

    #[test]
    fn valid_vector_of_the_specification_opens() {
        let token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
        assert_eq!(opens_at(token, 60, NOW + 1), Some(b"hello".to_vec()));
        assert_eq!(
            Key::parse(SECRET).unwrap().decrypt(token),
            Ok(b"hello".to_vec()),
            "at any time"
        );
    }

    #[test]
    fn invalid_vectors_of_the_specification_do_not_open() {
        let table = [
            (
                "incorrect mac",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
                1,
            ),
            ("too short", "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==", 1),
            (
                "invalid base64",
                "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
                1,
            ),
            (
                "no whole block",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
                1,
            ),
            (
                "padding",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
                1,
            ),
            (
                "of the future",
                "gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==",
                1,
            ),
            (
                "expired",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
                91,
            ),
            (
                "incorrect IV",
                "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
                1,
            ),
        ];
        for (what, token, seconds) in table {
            assert_eq!(opens_at(token, 60, NOW + seconds), None, "{what}");
        }
    }

    #[test]
    fn what_no_key_spells_is_refused_and_no_key_is_shown() {
        for text in ["", "short", &"A".repeat(44), &SECRET[..43].repeat(2), "cw_0x689RpI+jtRR"] {
            assert_eq!(Key::parse(text).err(), Some(BadKey), "{text}");
        }
        assert_eq!(Key::parse(&format!(" {SECRET}\n")).unwrap().expose(), SECRET);
        assert_eq!(format!("{:?}", Key::fresh()), "Key");
    }

    #[test]
    fn layout_of_what_a_token_is_bound_to_never_changes() {
        let mut expected = Sha256::new();
        expected.update(b"\x00\x07payload\x00\x02ab\x00\x01c");
        assert_eq!(Bound::to("payload", &[b"ab", b"c"]).0, expected.finalize()[..16]);
        assert_ne!(Bound::to("p", &[b"ab", b"c"]), Bound::to("p", &[b"a", b"bc"]));
    }
}
