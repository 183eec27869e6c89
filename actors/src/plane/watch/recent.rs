//! Who was seen lately, within a bound: beyond it some are seen anew, and that is noted once more.

use std::hash::Hash;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

/// Most that is remembered.
const MOST: usize = 16_384;

#[derive(Debug)]
pub(super) struct Recent<K: Eq + Hash>(DashMap<K, i64>);

impl<K: Eq + Hash> Default for Recent<K> {
    fn default() -> Self {
        Self(DashMap::new())
    }
}

impl<K: Eq + Hash> Recent<K> {
    /// Whether it was not seen within the window before `now`; from then on it was. Times in microseconds.
    pub(super) fn is_new(&self, key: K, now: i64, window: i64) -> bool {
        if self.0.get(&key).is_some_and(|at| now - *at < window) {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, at| now - *at < window);
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        match self.0.entry(key) {
            // Another request of the same was faster.
            Entry::Occupied(at) if now - *at.get() < window => false,
            Entry::Occupied(mut at) => {
                at.insert(now);
                true
            }
            Entry::Vacant(place) => {
                drop(place.insert(now));
                true
            }
        }
    }

    pub(super) fn forget(&self, key: &K) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_new_once_a_window() {
        let recent = Recent::default();

        assert!(recent.is_new("a", 0, 10));
        assert!(!recent.is_new("a", 9, 10));
        assert!(recent.is_new("b", 9, 10));
        assert!(recent.is_new("a", 10, 10));
        recent.forget(&"a");
        assert!(recent.is_new("a", 11, 10));
    }

    #[test]
    fn memory_is_bounded() {
        let recent = Recent::default();
        for key in 0..3 * MOST {
            recent.is_new(key, 0, 10);
        }

        assert!(recent.0.len() <= MOST);
    }
}
