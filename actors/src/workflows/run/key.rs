//! The name of one execution of a node: its own name, behind the times of the loops around it. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One execution of a node: `draft`, or `refine[2]/draft` inside the second time of a loop.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Box<str>);

/// The loops around a node, outermost first, as the beginning of a key: `refine[2]/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The key of a node here.
    pub fn key(&self, node: &str) -> Key {
        Key(format!("{}{node}", self.0).into())
    }

    /// Inside the `time`th time of a loop, counted from 1.
    #[must_use]
    pub fn inside(&self, node: &str, time: u32) -> Self {
        Self(format!("{}{node}[{time}]/", self.0))
    }

    /// Whether a key belongs to a node here, or inside a loop of this name here.
    pub fn holds(&self, key: &Key, node: &str) -> bool {
        let Some(rest) = key.0.strip_prefix(self.0.as_str()) else { return false };
        let Some(rest) = rest.strip_prefix(node) else { return false };
        rest.is_empty() || rest.starts_with('[')
    }

    /// Whether a key begins with this.
    pub fn begins(&self, key: &Key) -> bool {
        key.0.starts_with(self.0.as_str())
    }
}

impl Key {
    /// The name of its node.
    pub fn node(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// What a durable function that is this node asks for at a position: `publish[3]/review`.
    #[must_use]
    pub fn within(&self, index: u32, name: &str) -> Self {
        Self(format!("{}[{index}]/{name}", self.0).into())
    }

    /// Whether a durable function that is this node asks for it.
    pub fn is_within(&self, step: &Self) -> bool {
        self.0.strip_prefix(&*step.0).is_some_and(|rest| rest.starts_with('['))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_names_its_node_behind_the_times_of_its_loops() {
        let top = Path::default();
        let second = top.inside("refine", 2);
        let inner = second.inside("again", 1);

        assert_eq!(top.key("draft").as_str(), "draft");
        assert_eq!(inner.key("draft").as_str(), "refine[2]/again[1]/draft");
        assert_eq!(inner.key("draft").node(), "draft");
        assert!(top.holds(&inner.key("draft"), "refine"));
        assert!(!top.holds(&inner.key("draft"), "ref"));
        assert!(second.holds(&inner.key("draft"), "again"));
        assert!(second.begins(&second.key("x")) && !second.begins(&top.key("x")));
        assert_eq!(inner.key("draft").within(3, "ask").as_str(), "refine[2]/again[1]/draft[3]/ask");
        assert!(top.holds(&top.key("draft").within(3, "ask"), "draft"), "it ends with its node");
        assert!(top.holds(&top.key("draft"), "draft") && !top.holds(&top.key("drafts"), "draft"));
    }
}
