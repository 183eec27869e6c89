//! What a task asks of a worker, and what a worker offers. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::WorkerId;

/// What a task asks of a worker. Equal requirements are one class of the matcher.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// Among the worker's projects; no project never means "any".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Equal on both sides.
    pub pool: String,
    /// Among the worker's models, where one is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// All of them among the worker's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// More that must hold for the worker's labels.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub selector: BTreeSet<Condition>,
    /// The least isolation that its work needs.
    #[serde(default, skip_serializing_if = "Sandbox::is_none")]
    pub sandbox: Sandbox,
    /// The sandbox image that the worker must be able to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The network policy that the worker must be able to enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// This worker and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The handler that the worker must have registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
}

/// One condition on the labels of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Condition {
    /// Name of the label.
    pub key: String,
    /// What must hold for it.
    pub operator: Operator,
    /// The values that `in` and `not_in` speak of.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub values: BTreeSet<String>,
}

/// What must hold for a label: the words of Kubernetes' label selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// The worker has it, with one of the values.
    In,
    /// The worker does not have it with any of the values.
    NotIn,
    /// The worker has it.
    Exists,
    /// The worker does not have it.
    NotExists,
}

/// How much a worker isolates what it runs, from least to most.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Sandbox {
    /// Not at all.
    #[default]
    None,
    /// A process with fewer rights than the worker.
    Process,
    /// A container.
    Container,
    /// A virtual machine.
    Vm,
}

/// What a sandbox can reach, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing.
    None,
    /// What an allow-list names.
    Restricted,
    /// Everything.
    Open,
}

/// What a worker offers. Equal profiles are one party of the matcher.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Profile {
    /// The project it works for.
    pub project: Option<String>,
    /// More projects that it works for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub shared_with: BTreeSet<String>,
    /// The pool it stands in.
    pub pool: String,
    /// Canonical names of the models it can use.
    pub models: BTreeSet<String>,
    /// Its labels; those of its enrollment key win over its own.
    pub labels: BTreeMap<String, String>,
    /// How well it isolates what it runs.
    #[serde(default, skip_serializing_if = "Sandbox::is_none")]
    pub sandbox: Sandbox,
    /// Sandbox images that it can run; one that ends with `*` stands for all that begin so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub images: BTreeSet<String>,
    /// Network policies that it can enforce.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub networks: BTreeSet<Network>,
    /// Who it is, where tasks are pinned to it: then it is a party of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<WorkerId>,
    /// Handlers that it has registered; one that ends with `*` stands for all that begin so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub handlers: BTreeSet<String>,
}

impl Sandbox {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl Condition {
    /// Whether it holds for these labels.
    pub fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::NotExists => value.is_none(),
        }
    }
}

impl Profile {
    /// Whether a worker of this profile may and can run such a task.
    pub fn fits(&self, wanted: &Requirement) -> bool {
        self.project_fits(wanted)
            && self.pool == wanted.pool
            && wanted.model.as_ref().is_none_or(|model| self.models.contains(model))
            && wanted.labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
            && wanted.selector.iter().all(|condition| condition.holds(&self.labels))
            && wanted.sandbox <= self.sandbox
            && wanted.image.as_ref().is_none_or(|image| self.runs_image(image))
            && wanted.network.is_none_or(|network| self.networks.contains(&network))
            && wanted.worker.is_none_or(|worker| self.pinned == Some(worker))
            && wanted.handler.as_ref().is_none_or(|handler| self.has_handler(handler))
    }

    /// Whether its worker works for the project of such a task.
    pub fn project_fits(&self, wanted: &Requirement) -> bool {
        self.project == wanted.project
            || wanted.project.as_ref().is_some_and(|project| self.shared_with.contains(project))
    }

    /// Whether its worker can run this sandbox image.
    pub fn runs_image(&self, image: &str) -> bool {
        names(&self.images, image)
    }

    /// Whether its worker has registered this handler.
    pub fn has_handler(&self, handler: &str) -> bool {
        names(&self.handlers, handler)
    }

    /// Every project that it works for.
    pub fn projects(&self) -> impl Iterator<Item = Option<&String>> {
        let shared = self.shared_with.iter().filter(|name| self.project.as_ref() != Some(name));
        std::iter::once(self.project.as_ref()).chain(shared.map(Some))
    }
}

/// Whether one of these names it; one that ends with `*` names all that begin so.
fn names(known: &BTreeSet<String>, wanted: &str) -> bool {
    known.iter().any(|known| match known.strip_suffix('*') {
        Some(start) => wanted.starts_with(start),
        None => known == wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn conditions_mean_what_their_words_say() {
        use Operator::{Exists, In, NotExists, NotIn};
        let table = [
            (In, &["eu", "us"][..], "region=eu", true),
            (In, &["eu", "us"], "region=asia", false),
            (In, &["eu"], "", false),
            (NotIn, &["eu"], "region=eu", false),
            (NotIn, &["eu"], "region=us", true),
            (NotIn, &["eu"], "", true),
            (Exists, &[], "region=", true),
            (Exists, &[], "zone=a", false),
            (NotExists, &[], "region=eu", false),
            (NotExists, &[], "zone=a", true),
        ];
        for (operator, values, has, expected) in table {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            let condition = Condition { key: "region".into(), operator, values };
            assert_eq!(condition.holds(&labels(has)), expected, "{condition:?} on {has:?}");
        }
    }

    #[test]
    fn worker_fits_when_every_line_of_the_requirement_holds() {
        let me = WorkerId::fresh();
        let worker = Profile {
            project: Some("health".into()),
            shared_with: ["trials".to_owned()].into(),
            pool: "gpu".into(),
            models: ["llama3".to_owned()].into(),
            labels: labels("gpu=a100"),
            sandbox: Sandbox::Container,
            images: ["ghcr.io/acme/*".to_owned(), "python:3.13".to_owned()].into(),
            networks: [Network::None].into(),
            pinned: Some(me),
            handlers: ["draft".to_owned(), "media.*".to_owned()].into(),
        };
        let base = Requirement {
            project: Some("health".into()),
            pool: "gpu".into(),
            ..Requirement::default()
        };
        let with = |change: &dyn Fn(&mut Requirement)| {
            let mut wants = base.clone();
            change(&mut wants);
            wants
        };
        let project = |name: Option<&str>| name.map(str::to_owned);
        let table = [
            (base.clone(), true),
            (with(&|w| w.project = project(Some("trials"))), true),
            (with(&|w| w.project = project(Some("finance"))), false),
            (with(&|w| w.project = None), false),
            (with(&|w| w.pool = "cpu".into()), false),
            (with(&|w| w.model = Some("llama3".into())), true),
            (with(&|w| w.model = Some("gpt-4o".into())), false),
            (with(&|w| w.labels = labels("gpu=a100")), true),
            (with(&|w| w.labels = labels("gpu=h100")), false),
            (with(&|w| w.sandbox = Sandbox::Process), true),
            (with(&|w| w.sandbox = Sandbox::Vm), false),
            (with(&|w| w.image = Some("ghcr.io/acme/agent:1".into())), true),
            (with(&|w| w.image = Some("python:3.13".into())), true),
            (with(&|w| w.image = Some("python:3.12".into())), false),
            (with(&|w| w.network = Some(Network::None)), true),
            (with(&|w| w.network = Some(Network::Open)), false),
            (with(&|w| w.worker = Some(me)), true),
            (with(&|w| w.worker = Some(WorkerId::fresh())), false),
            (with(&|w| w.handler = Some("draft".into())), true),
            (with(&|w| w.handler = Some("media.cut".into())), true),
            (with(&|w| w.handler = Some("publish".into())), false),
        ];
        for (wants, expected) in table {
            assert_eq!(worker.fits(&wants), expected, "{wants:?}");
        }
    }
}
