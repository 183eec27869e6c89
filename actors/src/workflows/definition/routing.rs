//! What a step asks of its worker: its own words over those of its workflow. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Definition, Step};
use crate::fleet::models::{self, Overrides};
use crate::fleet::task::{Condition, Mode, Network, Requirement, Sandbox};

/// The pool of a step whose workflow names none either.
pub(super) const POOL_DEFAULT: &str = "default";

/// What a step asks of its worker: the same words as a task's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// The project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The pool; none: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The model, in any spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Labels that the worker must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// More that must hold for its labels.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub selector: BTreeSet<Condition>,
    /// The least isolation.
    #[serde(skip_serializing_if = "Sandbox::is_none")]
    pub sandbox: Sandbox,
    /// How it is executed, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The sandbox image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The network policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
}

impl Routing {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// These words, and those of `base` where these are silent. Labels and conditions of both must hold; where both
    /// name a label, this one's value counts.
    pub fn over(&self, base: &Self) -> Self {
        let either = |own: &Option<String>, other: &Option<String>| own.clone().or(other.clone());
        let mut labels = base.labels.clone();
        labels.extend(self.labels.clone());
        Self {
            project: either(&self.project, &base.project),
            pool: either(&self.pool, &base.pool),
            model: either(&self.model, &base.model),
            labels,
            selector: self.selector.union(&base.selector).cloned().collect(),
            sandbox: match self.mode {
                // What the workflow asks of its steps, this one does not need.
                Some(Mode::Bare) => self.sandbox,
                _ if self.sandbox.is_none() => base.sandbox,
                _ => self.sandbox,
            },
            mode: self.mode.or(base.mode),
            image: either(&self.image, &base.image),
            network: self.network.or(base.network),
        }
    }
}

impl Definition {
    /// What the task of one of its steps asks of a worker, with models by their canonical names.
    pub fn requirement(&self, step: &Step, names: &Overrides) -> Requirement {
        let routing = step.routing.over(&self.routing);
        Requirement {
            project: routing.project,
            pool: routing.pool.unwrap_or_else(|| POOL_DEFAULT.to_owned()),
            model: routing.model.map(|model| models::canonical(&model, names)),
            labels: routing.labels,
            selector: routing.selector,
            sandbox: routing.mode.map_or(routing.sandbox, |mode| mode.least(routing.sandbox)),
            image: routing.image,
            network: routing.network,
            worker: None,
            handler: step.handler.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_says_counts_before_what_its_workflow_says() {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
        };
        let base = Routing {
            pool: Some("writers".into()),
            model: Some("openai/GPT-4o".into()),
            labels: labels(&[("zone", "eu"), ("gpu", "a100")]),
            sandbox: Sandbox::Container,
            ..Routing::default()
        };
        let step = Step {
            routing: Routing {
                pool: Some("fast".into()),
                labels: labels(&[("gpu", "h100")]),
                ..Routing::default()
            },
            ..Step::default()
        };
        let definition = Definition {
            name: "w".into(),
            description: None,
            routing: base,
            sticky_ms: None,
            nodes: Vec::new(),
            output: None,
        };

        let wants = definition.requirement(&step, &Overrides::default());

        assert_eq!((wants.pool.as_str(), wants.model.as_deref()), ("fast", Some("gpt-4o")));
        assert_eq!(wants.labels, labels(&[("zone", "eu"), ("gpu", "h100")]));
        assert_eq!(wants.sandbox, Sandbox::Container);
    }

    #[test]
    fn mode_of_a_step_counts_before_that_of_its_workflow() {
        use Mode::{Bare, Sandboxed};
        let of = |mode, sandbox| Routing { mode, sandbox, ..Routing::default() };
        let (none, process, vm) = (Sandbox::None, Sandbox::Process, Sandbox::Vm);
        let table = [
            // of the workflow, of the step, what is asked
            (of(Some(Sandboxed), none), of(None, none), process),
            (of(Some(Sandboxed), none), of(Some(Bare), none), none),
            (of(Some(Sandboxed), vm), of(Some(Bare), none), none),
            (of(Some(Sandboxed), none), of(None, vm), vm),
            (of(Some(Bare), none), of(Some(Sandboxed), none), process),
            (of(Some(Bare), none), of(None, vm), vm),
            (of(None, vm), of(Some(Sandboxed), none), vm),
        ];
        for (base, routing, expected) in table {
            let definition = Definition {
                name: "w".into(),
                description: None,
                routing: base.clone(),
                sticky_ms: None,
                nodes: Vec::new(),
                output: None,
            };
            let step = Step { routing: routing.clone(), ..Step::default() };
            let wants = definition.requirement(&step, &Overrides::default());
            assert_eq!(wants.sandbox, expected, "{base:?} {routing:?}");
        }
    }
}
