//! The key ring of one organisation, as its handles use it: one key seals, several open.
//!
//! Changed by the directory's effects alone, and shared by everything that holds the organisation, for however long: who
//! seals a moment after a promotion seals with the new key.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Bound, Key, MASTER, Purpose, Sealed, Unreadable, written};
use crate::id::OrgId;

/// Where a key of a ring stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It opens and does not seal yet: those who need it can be given it first.
    Added,
    /// It seals, and opens.
    Primary,
    /// It sealed before, and still opens.
    Retained,
    /// It does neither any more.
    Retired,
}

/// One key of a ring.
#[derive(Clone)]
pub struct RingKey {
    /// Its number: from 1 on, unique in its ring.
    pub number: u32,
    /// Where it stands.
    pub state: KeyState,
    /// None once it is retired.
    key: Option<Arc<Key>>,
    /// Held by every value that was sealed with it and has no position yet.
    on_its_way: Arc<()>,
}

/// What became of a key.
#[derive(Clone)]
pub struct KeyChange {
    /// Which.
    pub number: u32,
    /// Where it stands now.
    pub state: KeyState,
    /// The key itself, where it is new.
    pub key: Option<Arc<Key>>,
}

/// The keys of one organisation.
pub struct Ring {
    org: OrgId,
    keys: RwLock<Vec<RingKey>>,
}

impl KeyState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Primary => "primary",
            Self::Retained => "retained",
            Self::Retired => "retired",
        }
    }
}

impl Ring {
    /// A ring of an organisation.
    pub fn new(org: OrgId, keys: Vec<KeyChange>) -> Self {
        let ring = Self { org, keys: RwLock::default() };
        ring.apply(keys);
        ring
    }

    /// Seals something of the organisation. `subject` is the id of the thing it belongs to.
    pub fn seal(&self, purpose: Purpose, subject: &[u8], value: &[u8]) -> Sealed {
        let primary = self.primary();
        let key = primary.key.as_deref().expect("a primary key is not retired");
        let sealed = Sealed::new(primary.number, key, self.bound(purpose, subject), value);
        Sealed { on_its_way: Some(primary.on_its_way), ..sealed }
    }

    /// The same for a value that a reader gets in a moment, in this process: opening that costs nothing. What is inside
    /// stays in memory as long as the sealed value does, so nobody keeps one for long.
    pub fn seal_at_hand(&self, purpose: Purpose, subject: &[u8], value: Bytes) -> Sealed {
        let sealed = self.seal(purpose, subject, &value);
        Sealed { plain: Some((self.bound(purpose, subject), value)), ..sealed }
    }

    /// Opens what was sealed for exactly this.
    ///
    /// # Errors
    /// When it was not, was changed, or its key is retired.
    pub fn open(
        &self,
        purpose: Purpose,
        subject: &[u8],
        sealed: &Sealed,
    ) -> Result<Bytes, Unreadable> {
        let bound = self.bound(purpose, subject);
        if let Some((_, plain)) = sealed.plain.as_ref().filter(|(of, _)| *of == bound) {
            return Ok(plain.clone());
        }
        let number = sealed.key()?;
        let key = self.key(number).ok_or(Unreadable::Key(number))?;
        sealed.open(&key, bound)
    }

    /// The value sealed with the primary key; `None` when it is already, or the master key sealed it.
    ///
    /// # Errors
    /// When its key does not open it, or is retired.
    pub fn reseal(&self, sealed: &Sealed) -> Result<Option<Sealed>, Unreadable> {
        let (number, primary) = (sealed.key()?, self.primary());
        if number == primary.number || number == MASTER {
            return Ok(None);
        }
        let old = self.key(number).ok_or(Unreadable::Key(number))?;
        let new = primary.key.as_deref().expect("a primary key is not retired");
        let token = old.reseal(&sealed.token()?.1, new);
        let token = token.map_err(|_| Unreadable::Broken(number))?;
        let bytes = written(primary.number, &token);
        let on_its_way = Some(primary.on_its_way);
        Ok(Some(Sealed { on_its_way, ..Sealed::from_bytes(bytes) }))
    }

    /// Whether it has the key of a value.
    pub fn knows(&self, sealed: &Sealed) -> bool {
        sealed.key().is_ok_and(|number| self.key(number).is_some())
    }

    /// The key that seals.
    pub fn primary(&self) -> RingKey {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let primary = keys.iter().find(|key| key.state == KeyState::Primary);
        primary.cloned().expect("a ring has a primary key from its beginning on")
    }

    /// All keys that ever were, by number. Copies: they do not count as being in use.
    pub fn keys(&self) -> Vec<RingKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let copy = |key: &RingKey| RingKey { on_its_way: Arc::default(), ..key.clone() };
        keys.iter().map(copy).collect()
    }

    /// What it takes to make another ring like this.
    pub(crate) fn changes(&self) -> Vec<KeyChange> {
        let change = |RingKey { number, state, key, .. }| KeyChange { number, state, key };
        self.keys().into_iter().map(change).collect()
    }

    /// A key, unless it is retired.
    pub fn key(&self, number: u32) -> Option<Arc<Key>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().find(|key| key.number == number)?.key.clone()
    }

    /// Whether something that a key sealed has no position in the journal yet.
    pub fn is_on_its_way(&self, number: u32) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        // One holder is the ring itself.
        let held = |key: &RingKey| Arc::strong_count(&key.on_its_way) > 1;
        keys.iter().any(|key| key.number == number && held(key))
    }

    /// All of `changes` at once: nobody sees a ring without a primary key, or with two.
    pub(crate) fn apply(&self, changes: Vec<KeyChange>) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for KeyChange { number, state, key } in changes {
            let known = keys.iter_mut().find(|known| known.number == number);
            let retired = state == KeyState::Retired;
            match known {
                Some(known) => {
                    known.state = state;
                    known.key = key.or(known.key.take()).filter(|_| !retired);
                }
                None => keys.push(RingKey {
                    number,
                    state,
                    key: key.filter(|_| !retired),
                    on_its_way: Arc::default(),
                }),
            }
        }
        keys.sort_by_key(|key| key.number);
    }

    fn bound(&self, purpose: Purpose, subject: &[u8]) -> Bound {
        Bound::to(purpose.as_str(), &[self.org.0.as_bytes(), subject])
    }
}

impl fmt::Debug for RingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingKey({} {})", self.number, self.state.as_str())
    }
}

impl fmt::Debug for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyChange({} {})", self.number, self.state.as_str())
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({})", self.org)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: u32, state: KeyState, key: bool) -> KeyChange {
        KeyChange { number, state, key: key.then(|| Arc::new(Key::fresh())) }
    }

    fn ring() -> Ring {
        Ring::new(OrgId::fresh(), vec![change(1, KeyState::Primary, true)])
    }

    #[test]
    fn opens_in_its_own_place_only() {
        let ring = ring();
        let sealed = ring.seal(Purpose::Payload, b"a", b"hello");

        assert_eq!(ring.open(Purpose::Payload, b"a", &sealed).unwrap(), &b"hello"[..]);
        let broken = Err(Unreadable::Broken(1));
        assert_eq!(ring.open(Purpose::Payload, b"b", &sealed), broken);
        assert_eq!(ring.open(Purpose::Result, b"a", &sealed), broken);
        assert_eq!(super::tests::ring().open(Purpose::Payload, b"a", &sealed), broken);
    }

    #[test]
    fn value_at_hand_opens_in_its_own_place_only_and_is_stored_sealed() {
        let ring = ring();
        let sealed = ring.seal_at_hand(Purpose::Payload, b"a", Bytes::from_static(b"hello"));
        let stored = Sealed::from_bytes(sealed.clone().into_bytes());

        for value in [&sealed, &sealed.kept(), &stored] {
            assert_eq!(ring.open(Purpose::Payload, b"a", value).unwrap(), &b"hello"[..]);
            let broken = Err(Unreadable::Broken(1));
            assert_eq!(ring.open(Purpose::Payload, b"b", value), broken);
            assert_eq!(ring.open(Purpose::Result, b"a", value), broken);
            assert_eq!(super::tests::ring().open(Purpose::Payload, b"a", value), broken);
        }
    }

    #[test]
    fn rotation_keeps_what_was_sealed_open_until_its_key_is_retired() {
        let ring = ring();
        let old = ring.seal(Purpose::Payload, b"a", b"old");
        ring.apply(vec![change(2, KeyState::Added, true)]);
        assert_eq!(ring.seal(Purpose::Payload, b"a", b"").key(), Ok(1), "not promoted yet");

        ring.apply(vec![change(1, KeyState::Retained, false), change(2, KeyState::Primary, false)]);
        let new = ring.seal(Purpose::Payload, b"a", b"new");
        assert_eq!((old.key(), new.key()), (Ok(1), Ok(2)));
        assert_eq!(ring.open(Purpose::Payload, b"a", &old).unwrap(), &b"old"[..]);
        let again = ring.reseal(&old).unwrap().unwrap();
        assert_eq!(ring.open(Purpose::Payload, b"a", &again).unwrap(), &b"old"[..]);
        assert_eq!((again.key(), ring.reseal(&new)), (Ok(2), Ok(None)));

        ring.apply(vec![change(1, KeyState::Retired, false)]);
        assert_eq!(ring.open(Purpose::Payload, b"a", &old), Err(Unreadable::Key(1)));
        assert!(!ring.knows(&old) && ring.knows(&new));
        assert_eq!(ring.open(Purpose::Payload, b"a", &new).unwrap(), &b"new"[..]);
    }

    #[test]
    fn value_without_a_position_is_on_its_way() {
        let ring = ring();
        let copies = ring.keys();
        assert!(!ring.is_on_its_way(1), "{copies:?} hold nothing");

        let sealed = ring.seal(Purpose::Payload, b"a", b"");
        let kept = sealed.kept();
        assert!(ring.is_on_its_way(1) && !ring.is_on_its_way(2));

        drop(sealed.into_bytes());
        assert!(!ring.is_on_its_way(1));
        assert!(ring.knows(&kept), "what is kept holds nothing");
    }
}
