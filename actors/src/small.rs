//! Maps of which there are thousands, one for each worker, and which are empty most of the time. Pure.

use std::collections::BTreeMap;

/// Gives back what a map keeps that has become empty: a node with room for eleven entries.
pub(crate) fn trim<K, V>(map: &mut BTreeMap<K, V>) {
    if map.is_empty() {
        *map = BTreeMap::new();
    }
}
