//! Steps that no worker could run. Pure.

use std::collections::BTreeSet;

use super::{Level, Linter};
use crate::fleet::models::Overrides;
use crate::fleet::task::{Profile, Requirement};
use crate::workflows::definition::check::below;
use crate::workflows::definition::{Definition, Kind, Node, Step};

/// The workers that there are.
#[derive(Debug, Clone)]
pub struct Workers<'a> {
    /// What each of them offers, and the handlers that it has registered.
    pub offers: Vec<(&'a Profile, &'a BTreeSet<String>)>,
    /// How their organisation calls models.
    pub names: &'a Overrides,
}

/// One thing that a step asks for: the key that says it, whether an offer has it, and what is said where none has.
type Wish<'w> = (&'static str, Box<dyn Fn(&Profile, &BTreeSet<String>) -> bool + 'w>, String);

impl Workers<'_> {
    pub(super) fn lint(&self, definition: &Definition, linter: &mut Linter) {
        self.nodes(definition, &definition.nodes, "steps", linter);
    }

    fn nodes(&self, definition: &Definition, nodes: &[Node], path: &str, linter: &mut Linter) {
        for (index, node) in nodes.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match &node.kind {
                Kind::Step(step) => {
                    if let Some((key, why)) = self.why_none(definition, step) {
                        linter.say(Level::Warning, below(&path, key), why);
                    }
                }
                Kind::Sequence { nodes } | Kind::Loop { nodes, .. } => {
                    self.nodes(definition, nodes, &below(&path, "steps"), linter);
                }
                Kind::Parallel { branches, .. } => {
                    self.nodes(definition, branches, &below(&path, "branches"), linter);
                }
                Kind::Branch { cases, otherwise } => {
                    for (index, case) in cases.iter().enumerate() {
                        let path = format!("{path}.cases[{index}].steps");
                        self.nodes(definition, &case.nodes, &path, linter);
                    }
                    self.nodes(definition, otherwise, &below(&path, "otherwise"), linter);
                }
                Kind::Approval(_)
                | Kind::Sleep { .. }
                | Kind::SleepUntil { .. }
                | Kind::WaitSignal { .. }
                | Kind::Child { .. } => {}
            }
        }
    }

    /// Why no worker could run a step, with the key that is to blame; `None` where one could.
    fn why_none(&self, definition: &Definition, step: &Step) -> Option<(&'static str, String)> {
        // Handlers have a line of their own below.
        let wants = Requirement { handler: None, ..definition.requirement(step, self.names) };
        let handler = step.handler.as_ref();
        let mut left = self.offers.clone();
        // The first wish that nobody who is left can fulfil is what to change.
        for (key, has, why) in wishes(&wants, handler) {
            left.retain(|(profile, handlers)| has(profile, handlers));
            if left.is_empty() {
                return Some((key, why));
            }
        }
        None
    }
}

fn wishes<'w>(wants: &'w Requirement, handler: Option<&'w String>) -> Vec<Wish<'w>> {
    let project = match &wants.project {
        Some(project) => format!("no worker of the pool works for the project `{project}`"),
        None => "every worker of the pool works for a project, and this step is of none".to_owned(),
    };
    let mut wishes: Vec<Wish<'w>> = vec![
        (
            "pool",
            Box::new(|profile, _| profile.pool == wants.pool),
            format!("no worker is in the pool `{}`", wants.pool),
        ),
        ("project", Box::new(|profile, _| profile.project_fits(wants)), project),
    ];
    if let Some(handler) = handler {
        wishes.push((
            "handler",
            Box::new(move |_, handlers| handlers.contains(handler)),
            format!("no worker of the pool has the handler `{handler}`"),
        ));
    }
    if let Some(model) = &wants.model {
        wishes.push((
            "model",
            Box::new(move |profile, _| profile.models.contains(model)),
            format!("no worker that has the rest has the model `{model}`"),
        ));
    }
    wishes.push((
        "labels",
        Box::new(|profile, _| {
            let pairs = wants.labels.iter();
            pairs.into_iter().all(|(key, value)| profile.labels.get(key) == Some(value))
        }),
        "no worker that has the rest has these labels".to_owned(),
    ));
    wishes.push((
        "selector",
        Box::new(|profile, _| wants.selector.iter().all(|wish| wish.holds(&profile.labels))),
        "no worker that has the rest is selected".to_owned(),
    ));
    let last = "no worker that has the rest can isolate it so";
    wishes.push(("sandbox", Box::new(|profile, _| profile.fits(wants)), last.to_owned()));
    wishes
}
