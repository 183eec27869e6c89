//! Steps that no worker could run. Pure.

use super::{Level, Linter};
use crate::fleet::dispatcher::why;
use crate::fleet::models::Overrides;
use crate::fleet::task::{Profile, Requirement};
use crate::workflows::definition::check::below;
use crate::workflows::definition::{Definition, Kind, Node, Step};

/// The workers that there are.
#[derive(Debug, Clone)]
pub struct Workers<'a> {
    /// What each of them offers.
    pub offers: Vec<&'a Profile>,
    /// How their organisation calls models.
    pub names: &'a Overrides,
}

/// What a step asks for under a key: whether an offer has it.
type Wish<'w> = (&'static str, Box<dyn Fn(&Profile) -> bool + 'w>);

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
        let mut wants = definition.requirement(step, self.names);
        wants.handler = step.handler.clone();
        let lacking = why::lacking(&self.offers, &wants);
        if lacking.is_empty() {
            return None;
        }
        let mut left = self.offers.clone();
        // The first wish that nobody who is left can fulfil is what to change.
        let to_blame = wishes(&wants).into_iter().find(|(_, has)| {
            left.retain(|profile| has(profile));
            left.is_empty()
        });
        let key = to_blame.map_or("pool", |(key, _)| key);
        let (lacking, needed) = (lacking.join("; "), why::needed(&wants));
        Some((key, format!("no worker could run it: {lacking}; it needs {needed}")))
    }
}

fn wishes(wants: &Requirement) -> Vec<Wish<'_>> {
    let has_labels = |profile: &Profile| {
        wants.labels.iter().all(|(key, value)| profile.labels.get(key) == Some(value))
    };
    vec![
        ("pool", Box::new(|profile: &Profile| profile.pool == wants.pool)),
        ("project", Box::new(|profile: &Profile| profile.project_fits(wants))),
        (
            "handler",
            Box::new(|profile: &Profile| {
                wants.handler.as_ref().is_none_or(|handler| profile.has_handler(handler))
            }),
        ),
        (
            "model",
            Box::new(|profile: &Profile| {
                wants.model.as_ref().is_none_or(|model| profile.models.contains(model))
            }),
        ),
        ("labels", Box::new(has_labels)),
        (
            "selector",
            Box::new(|profile: &Profile| {
                wants.selector.iter().all(|wish| wish.holds(&profile.labels))
            }),
        ),
        ("sandbox", Box::new(|profile: &Profile| profile.fits(wants))),
    ]
}
