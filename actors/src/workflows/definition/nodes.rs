//! All nodes of a definition, one after the other, with where they stand. Pure.

use super::{Definition, Kind, Node};
use crate::workflows::expression::Expression;

/// A node and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// The node.
    pub node: &'a Node,
    /// How deep: 1 for those of the definition itself.
    pub depth: usize,
    /// The node that it is in.
    pub parent: Option<&'a Node>,
}

/// All nodes of a definition in the order of its document, each before those inside it.
#[derive(Debug)]
pub struct Nodes<'a>(Vec<Placed<'a>>);

impl<'a> Nodes<'a> {
    fn push(&mut self, lists: &[&'a [Node]], depth: usize, parent: Option<&'a Node>) {
        // Last in, first out: so the other way round.
        for nodes in lists.iter().rev() {
            self.0.extend(nodes.iter().rev().map(|node| Placed { node, depth, parent }));
        }
    }
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Placed<'a>;

    fn next(&mut self) -> Option<Placed<'a>> {
        let placed = self.0.pop()?;
        self.push(&placed.node.lists(), placed.depth + 1, Some(placed.node));
        Some(placed)
    }
}

impl Definition {
    /// All of its nodes, each before those inside it.
    pub fn all_nodes(&self) -> Nodes<'_> {
        let mut nodes = Nodes(Vec::new());
        nodes.push(&[&self.nodes], 1, None);
        nodes
    }

    /// The node of this name. Looks at all of them.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.all_nodes().map(|placed| placed.node).find(|node| node.name == name)
    }
}

impl Node {
    /// The lists of nodes directly inside it.
    pub fn lists(&self) -> Vec<&[Node]> {
        match &self.kind {
            Kind::Sequence { nodes } | Kind::Loop { nodes, .. } => vec![nodes],
            Kind::Parallel { branches, .. } => vec![branches],
            Kind::Branch { cases, otherwise } => {
                let cases = cases.iter().map(|case| case.nodes.as_slice());
                cases.chain([otherwise.as_slice()]).collect()
            }
            Kind::Step(_)
            | Kind::Approval(_)
            | Kind::Sleep { .. }
            | Kind::SleepUntil { .. }
            | Kind::WaitSignal { .. }
            | Kind::Child { .. } => Vec::new(),
        }
    }

    /// Its expressions, each with the path of its key below the node's in a document.
    pub fn expressions(&self) -> Vec<(String, &Expression)> {
        let mut found = vec![("input".to_owned(), self.input.as_ref())];
        match &self.kind {
            Kind::Loop { until, .. } => found.push(("until".to_owned(), until.as_ref())),
            Kind::Approval(approval) => {
                found.push(("prompt".to_owned(), Some(&approval.prompt)));
                found.push(("context".to_owned(), approval.context.as_ref()));
            }
            Kind::SleepUntil { at } => found.push(("at".to_owned(), Some(at))),
            Kind::Branch { cases, .. } => {
                let cases = cases.iter().enumerate();
                found.extend(
                    cases.map(|(index, case)| (format!("cases[{index}].when"), Some(&case.when))),
                );
            }
            Kind::Step(_)
            | Kind::Sequence { .. }
            | Kind::Parallel { .. }
            | Kind::Sleep { .. }
            | Kind::WaitSignal { .. }
            | Kind::Child { .. } => {}
        }
        let there = found.into_iter();
        there.filter_map(|(key, expression)| Some((key, expression?))).collect()
    }
}

impl Kind {
    /// Its word in a document.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Step(_) => "step",
            Self::Sequence { .. } => "sequence",
            Self::Parallel { .. } => "parallel",
            Self::Branch { .. } => "branch",
            Self::Loop { .. } => "loop",
            Self::Approval(_) => "approval",
            Self::Sleep { .. } => "sleep",
            Self::SleepUntil { .. } => "sleep_until",
            Self::WaitSignal { .. } => "wait_signal",
            Self::Child { .. } => "child",
        }
    }
}
