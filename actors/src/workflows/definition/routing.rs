//! What a step asks of its worker: its own words over those of its workflow. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Definition, Step};
use crate::fleet::models::{self, Overrides};
use crate::fleet::task::{Condition, Network, Requirement, Sandbox};

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
            sandbox: if self.sandbox.is_none() { base.sandbox } else { self.sandbox },
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
            sandbox: routing.sandbox,
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
}
