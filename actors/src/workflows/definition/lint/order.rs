//! References to nodes that have not run, or may not have. Pure.

use std::collections::BTreeMap;

use super::{Level, Linter};
use crate::workflows::definition::check::below;
use crate::workflows::definition::{Definition, Kind, Node, OnFailure};
use crate::workflows::expression::Expression;

/// Why a node that stands before may have no output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight<'a> {
    /// It has one.
    Sure,
    /// It is in a case of this branch.
    Case(&'a str),
    /// It may have failed in this parallel, and the others went on.
    Failed(&'a str),
    /// It runs later in this loop, so from the second time on.
    NextTime(&'a str),
}

type Seen<'a> = BTreeMap<&'a str, Sight<'a>>;

struct Walk<'a, 'l> {
    linter: &'l mut Linter,
    /// The nodes around each node, the outermost first.
    around: BTreeMap<&'a str, Vec<&'a Node>>,
    /// The nodes around where the walk is.
    here: Vec<&'a Node>,
}

/// Says what refers to outputs that are not there, or may not be.
pub(super) fn lint(definition: &Definition, linter: &mut Linter) {
    let mut walk = Walk { linter, around: BTreeMap::new(), here: Vec::new() };
    walk.place(&definition.nodes);
    let mut seen = Seen::new();
    walk.nodes(&definition.nodes, "steps", &mut seen);
    if let Some(output) = &definition.output {
        walk.expression(output, "output", &seen);
    }
}

impl<'a> Walk<'a, '_> {
    /// Notes what is around each node.
    fn place(&mut self, nodes: &'a [Node]) {
        for node in nodes {
            self.around.insert(&node.name, self.here.clone());
            self.here.push(node);
            node.lists().into_iter().for_each(|nodes| self.place(nodes));
            self.here.pop();
        }
    }

    fn nodes(&mut self, nodes: &'a [Node], path: &str, seen: &mut Seen<'a>) {
        for (index, node) in nodes.iter().enumerate() {
            self.here.push(node);
            self.node(node, &format!("{path}[{index}]"), seen);
            self.here.pop();
            seen.insert(&node.name, Sight::Sure);
        }
    }

    fn node(&mut self, node: &'a Node, path: &str, seen: &mut Seen<'a>) {
        // What a loop asks is asked after its nodes.
        let before = |key: &str| key != "until";
        let own = node.expressions();
        for (key, expression) in own.iter().filter(|(key, _)| before(key)) {
            self.expression(expression, &below(path, key), seen);
        }
        match &node.kind {
            Kind::Sequence { nodes } => self.nodes(nodes, &below(path, "steps"), seen),
            Kind::Parallel { branches, on_failure, .. } => {
                let (before, mut after) = (seen.clone(), seen.clone());
                for (index, branch) in branches.iter().enumerate() {
                    let mut own = before.clone();
                    let path = format!("{path}.branches[{index}]");
                    self.here.push(branch);
                    self.node(branch, &path, &mut own);
                    self.here.pop();
                    own.insert(&branch.name, Sight::Sure);
                    after.extend(own);
                }
                *seen = after;
                if *on_failure == OnFailure::Collect {
                    doubt(branches, Sight::Failed(&node.name), seen);
                }
            }
            Kind::Branch { cases, otherwise } => {
                let lists = cases.iter().enumerate().map(|(index, case)| {
                    (case.nodes.as_slice(), format!("{path}.cases[{index}].steps"))
                });
                let lists = lists.chain([(otherwise.as_slice(), below(path, "otherwise"))]);
                for (nodes, path) in lists {
                    self.nodes(nodes, &path, &mut seen.clone());
                }
                node.lists().into_iter().for_each(|nodes| {
                    doubt(nodes, Sight::Case(&node.name), seen);
                });
            }
            Kind::Loop { nodes, .. } => {
                doubt(nodes, Sight::NextTime(&node.name), seen);
                self.nodes(nodes, &below(path, "steps"), seen);
            }
            Kind::Step(_)
            | Kind::Approval(_)
            | Kind::Sleep { .. }
            | Kind::SleepUntil { .. }
            | Kind::WaitSignal { .. }
            | Kind::Child { .. } => {}
        }
        for (key, expression) in own.iter().filter(|(key, _)| !before(key)) {
            self.expression(expression, &below(path, key), seen);
        }
    }

    fn expression(&mut self, expression: &Expression, path: &str, seen: &Seen<'a>) {
        let references = expression.references();
        for name in &references.steps {
            // Who asks first whether it is there knows that it may not be.
            if references.asked_for.contains(name) {
                continue;
            }
            let (level, why) = match seen.get(name.as_str()) {
                Some(Sight::Sure) => continue,
                Some(doubt) => (Level::Warning, doubt.words(name)),
                None => (Level::Error, self.why_not(name)),
            };
            self.linter.say(level, path.to_owned(), why);
        }
        let in_loop = self.here.iter().any(|node| matches!(node.kind, Kind::Loop { .. }));
        if references.iteration && !in_loop {
            let why = "`iteration` is null here: this is in no loop";
            self.linter.say(Level::Warning, path.to_owned(), why);
        }
    }

    /// Why a node can have no output here.
    fn why_not(&self, name: &str) -> String {
        let no = format!("`steps.{name}` has no output here");
        if self.here.last().is_some_and(|node| node.name == name) {
            return format!("{no}: it is this node itself; what it is given is `previous`");
        }
        if self.here.iter().any(|node| node.name == name) {
            return format!("{no}: this node is inside of it");
        }
        let theirs = self.around.get(name).map(Vec::as_slice).unwrap_or_default();
        let common = theirs.iter().zip(&self.here).take_while(|(a, b)| a.name == b.name).last();
        match common {
            Some((node, _)) if matches!(node.kind, Kind::Parallel { .. }) => {
                format!("{no}: it runs at the same time, in `{}`", node.name)
            }
            Some((node, _)) if matches!(node.kind, Kind::Branch { .. }) => {
                format!("{no}: it is in another case of `{}`", node.name)
            }
            _ => format!("{no}: it runs later"),
        }
    }
}

impl Sight<'_> {
    fn words(self, name: &str) -> String {
        let why = match self {
            Self::Sure => String::new(),
            Self::Case(branch) => format!("it runs only in a case of `{branch}`"),
            Self::Failed(parallel) => format!("it may have failed in `{parallel}`"),
            Self::NextTime(around) => format!("the first time of `{around}` has not reached it"),
        };
        // A name with a dash cannot stand behind a dot.
        let asked = match name.contains('-') {
            true => format!("\"{name}\" in steps"),
            false => format!("has(steps.{name})"),
        };
        format!("`steps.{name}` may have no output: {why}; ask with {asked}")
    }
}

/// Of all of these it is not sure that they have an output, unless it is already known that they have.
fn doubt<'a>(nodes: &'a [Node], sight: Sight<'a>, seen: &mut Seen<'a>) {
    for node in nodes {
        seen.insert(&node.name, sight);
        node.lists().into_iter().for_each(|nodes| doubt(nodes, sight, seen));
    }
}
