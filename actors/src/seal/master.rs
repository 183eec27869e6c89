//! The master key: seals the keys of cells and rings, and what else is secret about the system as a whole.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{BadKey, Bound, Key, MASTER, Purpose, Sealed, Unreadable, written};
use crate::id::OrgId;

/// The one key that no store holds. Cheap to clone.
#[derive(Clone)]
pub struct MasterKey(Arc<Key>);

impl MasterKey {
    /// A fresh random key.
    pub fn fresh() -> Self {
        Self(Arc::new(Key::fresh()))
    }

    /// The key that a text spells: 32 bytes as URL-safe base64, as a Fernet key.
    ///
    /// # Errors
    /// When it spells none.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        Key::parse(text).map(|key| Self(Arc::new(key)))
    }

    /// The key as text: for the file that it is kept in.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Seals something of an organisation. `subject` tells apart what has the same purpose.
    pub fn seal(&self, purpose: Purpose, org: OrgId, subject: &[u8], value: &[u8]) -> Sealed {
        Sealed::new(MASTER, &self.0, bound(purpose, org, subject), value)
    }

    /// Opens what was sealed for exactly this.
    ///
    /// # Errors
    /// When it was not, or by another master key.
    pub fn open(
        &self,
        purpose: Purpose,
        org: OrgId,
        subject: &[u8],
        sealed: &Sealed,
    ) -> Result<Bytes, Unreadable> {
        match sealed.key()? {
            MASTER => sealed.open(&self.0, bound(purpose, org, subject)),
            other => Err(Unreadable::Key(other)),
        }
    }

    /// The value sealed with another master key, for the same thing.
    ///
    /// # Errors
    /// When this one did not seal it.
    pub fn reseal(&self, sealed: &Sealed, with: &Self) -> Result<Sealed, Unreadable> {
        let (number, token) = sealed.token()?;
        if number != MASTER {
            return Err(Unreadable::Key(number));
        }
        let token = self.0.reseal(&token, &with.0).map_err(|_| Unreadable::Broken(number))?;
        Ok(Sealed::from_bytes(written(MASTER, &token)))
    }

    /// Whether it made a value, whatever that is for. `None`: no master key did.
    pub fn made(&self, sealed: &Sealed) -> Option<bool> {
        let (number, token) = sealed.token().ok()?;
        (number == MASTER).then(|| self.0.made(&token))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

fn bound(purpose: Purpose, org: OrgId, subject: &[u8]) -> Bound {
    Bound::to(purpose.as_str(), &[org.0.as_bytes(), subject])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_for_the_same_thing_only() {
        let (master, org) = (MasterKey::fresh(), OrgId::fresh());
        let sealed = master.seal(Purpose::CellKey, org, b"", b"secret");

        assert_eq!(master.open(Purpose::CellKey, org, b"", &sealed).unwrap(), &b"secret"[..]);
        let broken = Err(Unreadable::Broken(0));
        assert_eq!(master.open(Purpose::PayloadKey, org, b"", &sealed), broken);
        assert_eq!(master.open(Purpose::CellKey, OrgId::fresh(), b"", &sealed), broken);
        assert_eq!(master.open(Purpose::CellKey, org, b"1", &sealed), broken);
        assert_eq!(MasterKey::fresh().open(Purpose::CellKey, org, b"", &sealed), broken);
        assert_eq!(master.made(&sealed), Some(true));
        assert_eq!(MasterKey::fresh().made(&sealed), Some(false));

        let other = MasterKey::fresh();
        let again = master.reseal(&sealed, &other).unwrap();
        assert_eq!(other.open(Purpose::CellKey, org, b"", &again).unwrap(), &b"secret"[..]);
        assert_eq!(master.open(Purpose::CellKey, org, b"", &again), broken);
        assert_eq!(master.reseal(&again, &other), Err(Unreadable::Broken(0)));
    }
}
