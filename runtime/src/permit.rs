//! Room in the system for load from outside, by count and by bytes, with a share for each key.
//!
//! The edge takes a permit before a command enters and lets it ride in the command's reply.
//! Mailboxes are unbounded, so this is the one place where load is bounded.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// How much may be inside at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermitLimits {
    /// Commands in the whole system.
    pub count: usize,
    /// Bytes in the whole system.
    pub bytes: usize,
    /// Commands of one key.
    pub share_count: usize,
    /// Bytes of one key.
    pub share_bytes: usize,
}

/// How much is inside.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Commands.
    pub count: usize,
    /// Bytes.
    pub bytes: usize,
}

/// Why there was no room. Either way the command is certainly not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Everybody has to wait: 503.
    #[error("too much in flight")]
    System,
    /// This key has to wait, others do not: 429.
    #[error("too much in flight for this share")]
    Share,
}

/// The room there is, shared by everybody who takes some of it. Cheap to clone.
pub struct Permits<K> {
    room: Arc<Room<K>>,
}

/// Room for one command, given back on drop.
#[must_use = "the room is given back as soon as this is dropped"]
pub struct Permit {
    // Erased, so that a reply can carry it without knowing what shares are keyed by.
    _held: Box<dyn Hold>,
}

struct Room<K> {
    limits: PermitLimits,
    // One lock for both levels: they change together, for some tens of nanoseconds.
    taken: Mutex<Taken<K>>,
}

struct Taken<K> {
    total: Usage,
    // Only keys that hold something, so that it cannot grow past what is in flight.
    shares: HashMap<K, Usage>,
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static> Permits<K> {
    /// Empty room within `limits`.
    #[must_use]
    pub fn new(limits: PermitLimits) -> Self {
        let taken = Taken { total: Usage::default(), shares: HashMap::new() };
        Self { room: Arc::new(Room { limits, taken: Mutex::new(taken) }) }
    }

    /// Takes room for one command of `bytes` bytes, or none at all.
    ///
    /// # Errors
    /// [`Full::Share`] if the key has used up its share, whether or not the system is full as
    /// well; otherwise [`Full::System`].
    pub fn take(&self, key: &K, bytes: usize) -> Result<Permit, Full> {
        let limits = &self.room.limits;
        let mut taken = self.room.taken.lock();
        let share = taken.shares.get(key).copied().unwrap_or_default();
        let share = share.plus(bytes, limits.share_count, limits.share_bytes).ok_or(Full::Share)?;
        let total = taken.total.plus(bytes, limits.count, limits.bytes).ok_or(Full::System)?;
        taken.shares.insert(key.clone(), share);
        taken.total = total;
        drop(taken);
        let held = Held { room: Arc::clone(&self.room), key: key.clone(), bytes };
        Ok(Permit { _held: Box::new(held) })
    }

    /// What is taken in the whole system.
    #[must_use]
    pub fn in_use(&self) -> Usage {
        self.room.taken.lock().total
    }

    /// What `key` has taken.
    #[must_use]
    pub fn in_use_by(&self, key: &K) -> Usage {
        self.room.taken.lock().shares.get(key).copied().unwrap_or_default()
    }

    /// The limits it was made with.
    #[must_use]
    pub fn limits(&self) -> PermitLimits {
        self.room.limits
    }
}

impl Usage {
    /// One more of `bytes`, if that stays within both limits.
    fn plus(self, bytes: usize, max_count: usize, max_bytes: usize) -> Option<Self> {
        let next = Self { count: self.count + 1, bytes: self.bytes.checked_add(bytes)? };
        (next.count <= max_count && next.bytes <= max_bytes).then_some(next)
    }

    fn minus(self, bytes: usize) -> Self {
        Self { count: self.count - 1, bytes: self.bytes - bytes }
    }
}

trait Hold: Send + Sync {}

struct Held<K: Eq + Hash> {
    room: Arc<Room<K>>,
    key: K,
    bytes: usize,
}

impl<K: Eq + Hash + Send + Sync> Hold for Held<K> {}

impl<K: Eq + Hash> Drop for Held<K> {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock();
        taken.total = taken.total.minus(self.bytes);
        if let Some(share) = taken.shares.get_mut(&self.key) {
            *share = share.minus(self.bytes);
            if share.count == 0 {
                taken.shares.remove(&self.key);
            }
        }
    }
}

impl<K> Clone for Permits<K> {
    fn clone(&self) -> Self {
        Self { room: Arc::clone(&self.room) }
    }
}

impl<K> fmt::Debug for Permits<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.room.taken.lock().total;
        f.debug_struct("Permits").field("limits", &self.room.limits).field("total", &total).finish()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
