//! The document of a definition: what [`parse`](super::parse) reads as the same definition again. Pure.

use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::duration;
use crate::fleet::task::Retry;
use crate::workflows::definition::{
    Approval, Approvers, Definition, Kind, Node, OnExpiry, OnFailure, Routing, Step,
};
use crate::workflows::expression::Expression;

/// A definition as a document in JSON. What `agent` and `command` were short for is written as steps.
pub fn written(definition: &Definition) -> Value {
    let Definition { name, description, routing, sticky_ms, nodes: steps, output } = definition;
    let mut keys = Keys::default();
    keys.set("name", name);
    keys.some("description", description.as_ref());
    keys.routing(routing);
    keys.duration("sticky", *sticky_ms);
    keys.nodes("steps", steps);
    keys.expression("output", output.as_ref());
    Value::Object(keys.0)
}

#[derive(Default)]
struct Keys(Map<String, Value>);

impl Keys {
    fn set(&mut self, key: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).expect("these are texts, numbers and lists");
        self.0.insert(key.to_owned(), value);
    }

    fn some(&mut self, key: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    fn unless<T: Serialize + PartialEq>(&mut self, key: &str, value: &T, usual: &T) {
        if value != usual {
            self.set(key, value);
        }
    }

    fn expression(&mut self, key: &str, expression: Option<&Expression>) {
        self.some(key, expression.map(Expression::text));
    }

    fn duration(&mut self, key: &str, ms: Option<u64>) {
        self.some(key, ms.map(duration::write));
    }

    fn nodes(&mut self, key: &str, nodes: &[Node]) {
        self.set(key, nodes.iter().map(node).collect::<Vec<_>>());
    }

    fn routing(&mut self, routing: &Routing) {
        // The words of both formats are the same.
        if let Ok(Value::Object(keys)) = serde_json::to_value(routing) {
            self.0.extend(keys);
        }
    }

    fn step(&mut self, name: &str, step: &Step) {
        let Step { handler, retry, timeout_ms, priority, routing } = step;
        if handler.as_deref() != Some(name) {
            self.set("handler", handler);
        }
        self.retry(retry);
        self.duration("timeout", *timeout_ms);
        self.some("priority", *priority);
        self.routing(routing);
    }

    fn retry(&mut self, retry: &Retry) {
        let usual = Retry::default();
        let Retry { max_attempts, initial_ms, factor_percent, max_ms } = *retry;
        self.unless("retries", &max_attempts.saturating_sub(1), &(usual.max_attempts - 1));
        self.duration("retry_delay", (initial_ms != usual.initial_ms).then_some(initial_ms));
        if factor_percent != usual.factor_percent {
            self.some("backoff", Number::from_f64(f64::from(factor_percent) / 100.0));
        }
        let grows_to = usual.max_ms.max(initial_ms);
        self.duration("max_delay", (max_ms != grows_to).then_some(max_ms));
    }

    fn approval(&mut self, approval: &Approval) {
        let Approval { prompt, context, approvers, expires_ms, on_expiry, remind_ms } = approval;
        self.expression("prompt", Some(prompt));
        self.expression("context", context.as_ref());
        self.unless("approvers", approvers, &Approvers::default());
        self.duration("expires", *expires_ms);
        self.unless("on_expiry", on_expiry, &OnExpiry::default());
        self.duration("remind", *remind_ms);
    }
}

fn node(node: &Node) -> Value {
    let mut keys = Keys::default();
    keys.set(node.kind.word(), &node.name);
    keys.expression("input", node.input.as_ref());
    match &node.kind {
        Kind::Step(step) => keys.step(&node.name, step),
        Kind::Sequence { nodes } => keys.nodes("steps", nodes),
        Kind::Parallel { branches, on_failure, limit } => {
            keys.nodes("branches", branches);
            keys.unless("on_failure", on_failure, &OnFailure::default());
            keys.some("limit", *limit);
        }
        Kind::Branch { cases, otherwise } => {
            let cases = cases.iter().map(|case| {
                let mut keys = Keys::default();
                keys.expression("when", Some(&case.when));
                keys.nodes("steps", &case.nodes);
                Value::Object(keys.0)
            });
            keys.set("cases", cases.collect::<Vec<_>>());
            if !otherwise.is_empty() {
                keys.nodes("otherwise", otherwise);
            }
        }
        Kind::Loop { nodes, until, max, must_hold } => {
            keys.nodes("steps", nodes);
            keys.expression("until", until.as_ref());
            keys.set("max", max);
            keys.unless("must_hold", must_hold, &false);
        }
        Kind::Approval(approval) => keys.approval(approval),
        Kind::Sleep { ms } => keys.duration("for", Some(*ms)),
        Kind::SleepUntil { at } => keys.expression("at", Some(at)),
        Kind::WaitSignal { signal, timeout_ms } => {
            keys.unless("signal", signal, &node.name);
            keys.duration("timeout", *timeout_ms);
        }
        Kind::Child { workflow, version } => {
            keys.unless("workflow", workflow, &node.name);
            keys.some("version", version.as_ref());
        }
    }
    Value::Object(keys.0)
}
