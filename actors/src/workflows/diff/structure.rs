//! Where two definitions differ, by the names of their nodes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::workflows::definition::Definition;

/// A node that one definition says otherwise than the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeChange {
    /// Its name; none: the definition around the nodes.
    pub name: Option<String>,
    /// In what way.
    pub change: Change,
}

/// In what way a node differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// It stands elsewhere: behind or inside another node.
    Moved,
    /// It says something else under these keys.
    Changed(Vec<String>),
}

impl Change {
    /// The word on the wire.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Moved => "moved",
            Self::Changed(_) => "changed",
        }
    }
}

/// What a node says of itself, where it stands, and in what order.
struct Said {
    keys: Map<String, Value>,
    inside: Option<String>,
    behind: Option<String>,
}

/// Where two definitions differ.
pub(super) fn structure(a: &Definition, b: &Definition) -> Vec<NodeChange> {
    let (of_a, of_b) = (said(a), said(b));
    let mut changes = Vec::new();
    let around = |definition: &Definition| {
        let mut keys = own(definition);
        keys.remove("nodes");
        keys
    };
    let changed = keys_that_differ(&around(a), &around(b));
    if !changed.is_empty() {
        changes.push(NodeChange { name: None, change: Change::Changed(changed) });
    }
    let names = of_a.keys().chain(of_b.keys().filter(|name| !of_a.contains_key(*name)));
    for name in names {
        let change = match (of_a.get(name), of_b.get(name)) {
            (Some(_), None) => Change::Removed,
            (None, _) => Change::Added,
            (Some(x), Some(y)) => {
                let changed = keys_that_differ(&x.keys, &y.keys);
                // Behind one that is new or gone it stands where it stood.
                let known = |behind: &Option<String>| {
                    behind
                        .as_ref()
                        .is_none_or(|name| of_a.contains_key(name) && of_b.contains_key(name))
                };
                let both = known(&x.behind) && known(&y.behind);
                let moved = x.inside != y.inside || (both && x.behind != y.behind);
                match (changed.is_empty(), moved) {
                    (false, _) => Change::Changed(changed),
                    (true, true) => Change::Moved,
                    (true, false) => continue,
                }
            }
        };
        changes.push(NodeChange { name: Some(name.clone()), change });
    }
    changes
}

fn said(definition: &Definition) -> BTreeMap<String, Said> {
    let mut before: BTreeMap<Option<String>, String> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for placed in definition.all_nodes() {
        let mut keys = own(placed.node);
        // Nodes inside it speak for themselves.
        ["nodes", "branches", "otherwise"].iter().for_each(|list| drop(keys.remove(*list)));
        if let Some(Value::Array(cases)) = keys.get_mut("cases") {
            let cases = cases.iter_mut().filter_map(Value::as_object_mut);
            cases.for_each(|case| drop(case.remove("nodes")));
        }
        let inside = placed.parent.map(|parent| parent.name.clone());
        let behind = before.insert(inside.clone(), placed.node.name.clone());
        all.insert(placed.node.name.clone(), Said { keys, inside, behind });
    }
    all
}

fn own(thing: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(thing) {
        Ok(Value::Object(keys)) => keys,
        _ => Map::new(),
    }
}

fn keys_that_differ(a: &Map<String, Value>, b: &Map<String, Value>) -> Vec<String> {
    let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    keys.into_iter().filter(|key| a.get(*key) != b.get(*key)).cloned().collect()
}
