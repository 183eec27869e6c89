//! Nodes from their trees. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::keys::{self, SHAPES, Shape};
use super::reader::{Fields, Found, Reader};
use super::tree::Kind as Tree;
use crate::fleet::task::{AFFINITY_DEFAULT_MS, Condition, Mode, Retry, Sandbox};
use crate::workflows::definition::{
    Approval, Approvers, Case, DEPTH_MAX, Definition, Kind, NODES_MAX, Node, OnExpiry, OnFailure,
    Routing, Step,
};
use crate::workflows::expression::{Expression, meant};

/// The handlers that `agent` and `command` are short for.
const AGENT: &str = "agent";
const COMMAND: &str = "command";
/// The most that a wait between attempts grows to, where nothing is said.
const MAX_DELAY_MS: u64 = 300_000;

impl<'t> Reader<'t> {
    pub(super) fn definition(&mut self, root: Found<'t>) -> Option<Definition> {
        let fields = self.fields(root, "", keys::document())?;
        let name = fields.get("name").and_then(|found| self.text(found));
        let description = fields.get("description").and_then(|found| self.text(found));
        let routing = self.routing(&fields);
        let sticky_ms = self
            .optional(&fields, "sticky", |reader, found| reader.switch(found, AFFINITY_DEFAULT_MS));
        self.model = routing.as_ref().and_then(|routing| routing.model.clone());
        let nodes = self.nodes_of(&fields, "steps", 1);
        let output = fields.get("output").and_then(|found| self.expressions(found));
        let (routing, sticky_ms) = (routing?, sticky_ms?.flatten());
        Some(Definition { name: name?, description, routing, sticky_ms, nodes: nodes?, output })
    }

    fn nodes_of(&mut self, fields: &Fields<'t>, key: &str, depth: usize) -> Option<Vec<Node>> {
        let items = fields.get(key).and_then(|found| self.list(found))?;
        // All of them are read, so that all that is wrong is told.
        let nodes: Vec<_> = items.into_iter().map(|item| self.node(item, depth)).collect();
        nodes.into_iter().collect()
    }

    fn node(&mut self, found: Found<'t>, depth: usize) -> Option<Node> {
        let (at, path) = (found.0.at, found.1.clone());
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            if self.nodes == NODES_MAX + 1 {
                self.wrong::<()>(at, &path, format!("a workflow has at most {NODES_MAX} nodes"));
            }
            return None;
        }
        if depth > DEPTH_MAX {
            return self.wrong(
                at,
                &path,
                format!("nodes are nested deeper than {DEPTH_MAX} levels"),
            );
        }
        let shape = self.shape(&found)?;
        let fields = self.fields(found, shape.word, shape.keys())?;
        let name = match fields.get(shape.word) {
            Some(found) => self.text(found),
            None => self.wrong(at, &path, format!("`{}` has no name behind it", shape.word)),
        };
        let input = fields.get("input").and_then(|found| self.expressions(found));
        let kind = self.kind(shape, &fields, name.as_deref().unwrap_or_default(), depth);
        let (name, kind) = (name?, kind?);
        Some(match shape.word {
            "agent" | "command" => self.called(&fields, Node { name, input, kind })?,
            _ => Node { name, input, kind },
        })
    }

    /// What kind of node this is: it has the key of exactly one.
    fn shape(&mut self, (tree, path): &Found<'t>) -> Option<&'static Shape> {
        let words = || SHAPES.iter().map(|shape| shape.word);
        let Tree::Map(entries) = &tree.kind else {
            let message = format!("a node is a mapping such as `step: build`, not {}", tree.word());
            return self.wrong(tree.at, path, message);
        };
        let kinds: Vec<_> =
            entries.iter().filter_map(|(key, _)| Some((key, Shape::find(&key.name)?))).collect();
        match kinds.as_slice() {
            [(_, shape)] => Some(shape),
            [] => {
                let near = entries.iter().find(|(key, _)| !meant(&key.name, words()).is_empty());
                let (at, hint) = match near {
                    Some((key, _)) => (key.at, meant(&key.name, words())),
                    None => {
                        let words: Vec<_> = words().map(|word| format!("`{word}`")).collect();
                        (tree.at, format!("; one key of {} holds its name", words.join(", ")))
                    }
                };
                self.wrong(at, path, format!("this does not say what kind of node it is{hint}"))
            }
            [(_, first), (key, second), ..] => {
                let message = format!("this is both `{}` and `{}`", first.word, second.word);
                self.wrong(key.at, path, message)
            }
        }
    }

    fn kind(
        &mut self,
        shape: &'static Shape,
        fields: &Fields<'t>,
        name: &str,
        depth: usize,
    ) -> Option<Kind> {
        match shape.word {
            "step" => {
                let handler = match fields.get("handler") {
                    Some(found) => Some(self.text(found)?),
                    None if fields.is_null("handler") => None,
                    None => Some(name.to_owned()),
                };
                Some(Kind::Step(Box::new(self.step(fields, handler)?)))
            }
            "agent" => Some(Kind::Step(Box::new(self.step(fields, Some(AGENT.into()))?))),
            "command" => Some(Kind::Step(Box::new(self.step(fields, Some(COMMAND.into()))?))),
            "sequence" => {
                Some(Kind::Sequence { nodes: self.nodes_of(fields, "steps", depth + 1)? })
            }
            "parallel" => self.parallel(fields, depth),
            "branch" => self.branch(fields, depth),
            "loop" => self.repeat(fields, depth),
            "approval" => self.approval(fields),
            "sleep" => {
                let ms = fields.get("for").and_then(|found| self.duration(found))?;
                Some(Kind::Sleep { ms })
            }
            "sleep_until" => {
                let at = fields.get("at").and_then(|found| self.expression(found))?;
                Some(Kind::SleepUntil { at })
            }
            "wait_signal" => {
                let signal = self.or_name(fields, "signal", name);
                let timeout_ms = self.optional(fields, "timeout", Self::duration);
                Some(Kind::WaitSignal { signal: signal?, timeout_ms: timeout_ms? })
            }
            _ => {
                let workflow = self.or_name(fields, "workflow", name);
                let version = self.optional(fields, "version", Self::text);
                Some(Kind::Child { workflow: workflow?, version: version? })
            }
        }
    }

    /// What stands behind a key that may be missing: nothing, a value, or something wrong.
    fn optional<T>(
        &mut self,
        fields: &Fields<'t>,
        key: &str,
        read: fn(&mut Self, Found<'t>) -> Option<T>,
    ) -> Option<Option<T>> {
        match fields.get(key) {
            None => Some(None),
            Some(found) => read(self, found).map(Some),
        }
    }

    fn or_name(&mut self, fields: &Fields<'t>, key: &str, name: &str) -> Option<String> {
        let given = self.optional(fields, key, Self::text)?;
        Some(given.unwrap_or_else(|| name.to_owned()))
    }

    fn step(&mut self, fields: &Fields<'t>, handler: Option<String>) -> Option<Step> {
        let retry = self.retry(fields);
        let timeout_ms = self.optional(fields, "timeout", Self::duration);
        let priority = self.optional(fields, "priority", Self::integer);
        let routing = self.routing(fields);
        Some(Step {
            handler,
            retry: retry?,
            timeout_ms: timeout_ms?,
            priority: priority?,
            routing: routing?,
        })
    }

    fn retry(&mut self, fields: &Fields<'t>) -> Option<Retry> {
        let usual = Retry::default();
        let retries = self.optional(fields, "retries", Self::integer::<u32>);
        let initial = self.optional(fields, "retry_delay", Self::duration);
        let factor = self.optional(fields, "backoff", Self::hundredths);
        let most = self.optional(fields, "max_delay", Self::duration);
        let initial_ms = initial?.unwrap_or(usual.initial_ms);
        Some(Retry {
            max_attempts: retries?.map_or(usual.max_attempts, |retries| retries.saturating_add(1)),
            initial_ms,
            factor_percent: factor?.unwrap_or(usual.factor_percent),
            max_ms: most?.unwrap_or(MAX_DELAY_MS.max(initial_ms)),
        })
    }

    fn routing(&mut self, fields: &Fields<'t>) -> Option<Routing> {
        let project = self.optional(fields, "project", Self::text);
        let pool = self.optional(fields, "pool", Self::text);
        let model = self.optional(fields, "model", Self::text);
        let labels = self.optional(fields, "labels", Self::labels);
        let selector = self.optional(fields, "selector", Self::selector);
        let sandbox = self.optional(fields, "sandbox", |reader, found| {
            reader.choice::<Sandbox>(found, &["none", "process", "container", "vm"])
        });
        let mode = self.mode(fields, sandbox);
        let image = self.optional(fields, "image", Self::text);
        let network = self.optional(fields, "network", |reader, found| {
            reader.choice(found, &["none", "restricted", "open"])
        });
        Some(Routing {
            project: project?,
            pool: pool?,
            model: model?,
            labels: labels?.unwrap_or_default(),
            selector: selector?.unwrap_or_default(),
            sandbox: sandbox?.unwrap_or_default(),
            mode: mode?,
            image: image?,
            network: network?,
        })
    }

    /// How it is executed. What contradicts a sandbox that is written as `none` is seen nowhere else.
    fn mode(
        &mut self,
        fields: &Fields<'t>,
        sandbox: Option<Option<Sandbox>>,
    ) -> Option<Option<Mode>> {
        let mode = self.optional(fields, "mode", |reader, found| {
            reader.choice::<Mode>(found, &["bare", "sandboxed"])
        })?;
        let said = sandbox.flatten().filter(|sandbox| sandbox.is_none());
        match (fields.get("mode"), mode.and_then(|mode| mode.wrong(said))) {
            (Some((tree, path)), Some(message)) if said.is_some() => {
                self.wrong(tree.at, &path, message)
            }
            _ => Some(mode),
        }
    }

    fn selector(&mut self, found: Found<'t>) -> Option<BTreeSet<Condition>> {
        let items = self.list(found)?;
        let conditions: Vec<_> = items.into_iter().map(|item| self.condition(item)).collect();
        conditions.into_iter().collect()
    }

    fn condition(&mut self, found: Found<'t>) -> Option<Condition> {
        let fields = self.fields(found, "", keys::CONDITION.iter())?;
        let key = fields.get("key").and_then(|found| self.text(found));
        let operator = fields
            .get("operator")
            .and_then(|found| self.choice(found, &["in", "not_in", "exists", "not_exists"]));
        let values = self.optional(&fields, "values", Self::texts)?.unwrap_or_default();
        let values = values.into_iter().collect();
        Some(Condition { key: key?, operator: operator?, values })
    }

    fn parallel(&mut self, fields: &Fields<'t>, depth: usize) -> Option<Kind> {
        let branches = self.nodes_of(fields, "branches", depth + 1);
        let on_failure = self.optional(fields, "on_failure", |reader, found| {
            reader.choice::<OnFailure>(found, &["fail_fast", "collect"])
        });
        let limit = self.optional(fields, "limit", Self::integer);
        Some(Kind::Parallel {
            branches: branches?,
            on_failure: on_failure?.unwrap_or_default(),
            limit: limit?,
        })
    }

    fn branch(&mut self, fields: &Fields<'t>, depth: usize) -> Option<Kind> {
        let items = fields.get("cases").and_then(|found| self.list(found));
        let cases = items.map(|items| {
            let cases = items.into_iter().map(|item| self.case(item, depth));
            cases.collect::<Vec<_>>()
        });
        let otherwise = match fields.get("otherwise") {
            None => Some(Vec::new()),
            Some(_) => self.nodes_of(fields, "otherwise", depth + 1),
        };
        let cases = cases?.into_iter().collect::<Option<_>>();
        Some(Kind::Branch { cases: cases?, otherwise: otherwise? })
    }

    fn case(&mut self, found: Found<'t>, depth: usize) -> Option<Case> {
        let fields = self.fields(found, "", keys::CASE.iter())?;
        let when = fields.get("when").and_then(|found| self.expression(found));
        let nodes = self.nodes_of(&fields, "steps", depth + 1);
        Some(Case { when: when?, nodes: nodes? })
    }

    fn repeat(&mut self, fields: &Fields<'t>, depth: usize) -> Option<Kind> {
        let nodes = self.nodes_of(fields, "steps", depth + 1);
        let until = self.optional(fields, "until", Self::expression);
        let max = fields.get("max").and_then(|found| self.integer(found));
        let must_hold = self.optional(fields, "must_hold", Self::boolean);
        Some(Kind::Loop {
            nodes: nodes?,
            until: until?,
            max: max?,
            must_hold: must_hold?.unwrap_or_default(),
        })
    }

    fn approval(&mut self, fields: &Fields<'t>) -> Option<Kind> {
        let prompt = fields.get("prompt").and_then(|found| self.expression(found));
        let context = self.optional(fields, "context", Self::expressions);
        let approvers = self.optional(fields, "approvers", Self::approvers);
        let expires_ms = self.optional(fields, "expires", Self::duration);
        let on_expiry = self.optional(fields, "on_expiry", |reader, found| {
            reader.choice::<OnExpiry>(found, &["reject", "approve"])
        });
        let remind_ms = self.optional(fields, "remind", Self::duration);
        Some(Kind::Approval(Box::new(Approval {
            prompt: prompt?,
            context: context?,
            approvers: approvers?.unwrap_or_default(),
            expires_ms: expires_ms?,
            on_expiry: on_expiry?.unwrap_or_default(),
            remind_ms: remind_ms?,
        })))
    }

    fn approvers(&mut self, found: Found<'t>) -> Option<Approvers> {
        let usual = Approvers::default();
        let fields = self.fields(found, "", keys::APPROVERS.iter())?;
        let role = self.optional(&fields, "role", |reader, found| {
            reader.choice(found, &["operator", "admin"])
        });
        let people = self.optional(&fields, "people", Self::texts);
        let quorum = self.optional(&fields, "quorum", Self::integer);
        let requester = self.optional(&fields, "requester_may_approve", Self::boolean);
        Some(Approvers {
            role: role?.unwrap_or_default(),
            people: people?.unwrap_or_default().into_iter().collect(),
            quorum: quorum?.unwrap_or(usual.quorum),
            requester_may_approve: requester?.unwrap_or(usual.requester_may_approve),
        })
    }

    /// How a model answers: what its handler takes, so that a slip is found before a model is asked.
    fn parameters(&mut self, found: Found<'t>) -> Option<Value> {
        let fields = self.fields(found.clone(), "", keys::PARAMETERS.iter())?;
        self.optional(&fields, "stop", Self::texts)?;
        self.optional(&fields, "max_tokens", Self::integer::<u32>)?;
        self.optional(&fields, "seed", Self::integer::<u64>)?;
        for key in ["temperature", "top_p"] {
            self.optional(&fields, key, Self::number)?;
        }
        self.json(&found)
    }

    /// An `agent` or a `command`: a step whose input says what to call, and holds what the node is given.
    fn called(&mut self, fields: &Fields<'t>, node: Node) -> Option<Node> {
        let Kind::Step(step) = &node.kind else { return Some(node) };
        let (key, call) = if step.handler.as_deref() == Some(COMMAND) {
            let run = fields.get("run").and_then(|found| self.texts(found))?;
            ("argv", json!(run))
        } else {
            let mut agent = Map::from_iter([("name".to_owned(), json!(node.name))]);
            let model = step.routing.model.as_ref().or(self.model.as_ref());
            agent.extend(model.map(|model| ("model".to_owned(), json!(model))));
            for key in ["provider", "system"] {
                let text = self.optional(fields, key, Self::text)?;
                agent.extend(text.map(|text| (key.to_owned(), Value::String(text))));
            }
            if let Some(found) = fields.get("parameters") {
                agent.insert("parameters".to_owned(), self.parameters(found)?);
            }
            ("agent", Value::Object(agent))
        };
        let given = node.input.as_ref().map_or("previous", Expression::text);
        // A comment ends with its line, and what follows is none.
        let end = if given.contains("//") { "\n" } else { "" };
        let source = format!("{{\"{key}\": {call}, \"input\": {given}{end}}}");
        match Expression::parse(&source) {
            Ok(input) => Some(Node { input: Some(input), ..node }),
            Err(bad) => self.wrong(fields.at, &fields.path, bad.message),
        }
    }
}
