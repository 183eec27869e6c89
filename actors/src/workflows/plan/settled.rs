//! Which failures of a run stay when it is tried again from where it failed. Pure.
//!
//! A failure that a parallel node collected was handed on in its output. Where something behind that node is done, it was
//! done with that output: if the branch came to something else now, the record would not fit itself.

use std::collections::BTreeSet;

use super::own_keys;
use crate::workflows::definition::{Definition, Kind, Node};
use crate::workflows::run::{Key, Outcome, Path, Run};

/// The failures that something was done behind.
pub fn settled(definition: &Definition, run: &Run) -> BTreeSet<Key> {
    let mut walk = Walk { run, settled: BTreeSet::new() };
    walk.nodes(&definition.nodes, &Path::default(), false);
    walk.settled
}

struct Walk<'a> {
    run: &'a Run,
    settled: BTreeSet<Key>,
}

impl Walk<'_> {
    /// Nodes one after the other; `used`: something behind them is done.
    fn nodes(&mut self, nodes: &[Node], at: &Path, mut used: bool) {
        for node in nodes.iter().rev() {
            match used {
                true => self.settle(node, at),
                false => self.inside(node, at),
            }
            used |= self.has_done(node, at);
        }
    }

    /// A node behind which nothing is done: parts of it may stand before others.
    fn inside(&mut self, node: &Node, at: &Path) {
        match &node.kind {
            Kind::Sequence { nodes } => self.nodes(nodes, at, false),
            Kind::Parallel { branches, .. } => {
                branches.iter().for_each(|branch| self.inside(branch, at));
            }
            Kind::Branch { cases, otherwise } => {
                cases.iter().for_each(|case| self.nodes(&case.nodes, at, false));
                self.nodes(otherwise, at, false);
            }
            Kind::Loop { nodes, max, .. } => {
                let mut used = false;
                for time in (1..=*max).rev() {
                    let at = at.inside(&node.name, time);
                    if self.run.done.keys().any(|key| at.begins(key)) {
                        self.nodes(nodes, &at, used);
                        used |= nodes.iter().any(|node| self.has_done(node, &at));
                    }
                }
            }
            _ => {}
        }
    }

    fn settle(&mut self, node: &Node, at: &Path) {
        let names = names(node);
        let failed = self.run.done.iter().filter(|(key, done)| {
            matches!(done.outcome, Outcome::Failed { .. }) && of(&names, at, key)
        });
        self.settled.extend(failed.map(|(key, _)| key.clone()));
    }

    fn has_done(&self, node: &Node, at: &Path) -> bool {
        let names = names(node);
        self.run.done.iter().any(|(key, done)| {
            matches!(done.outcome, Outcome::Completed { .. }) && of(&names, at, key)
        })
    }
}

fn names(node: &Node) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    own_keys(node, &mut names);
    names
}

fn of(names: &BTreeSet<&str>, at: &Path, key: &Key) -> bool {
    names.iter().any(|name| at.holds(key, name))
}
