//! Whether a definition can run at all, whoever made it. Pure. What is merely unwise is found by the lint.

use std::collections::BTreeMap;

use super::{
    Approval, Approvers, BRANCHES_MAX, CASES_MAX, DEPTH_MAX, DESCRIPTION_MAX, Definition, Kind,
    NAME_MAX, NODES_MAX, Node, PEOPLE_MAX, Routing, Step, TIMES_MAX, WAIT_MAX_MS,
};
use crate::fleet::input::{self, AFFINITY_MAX_MS};
use crate::fleet::task::{PRIORITY_MAX, Retry};
use crate::workflows::expression::{Expression, meant};

/// Most things that are told at once.
const INVALID_MAX: usize = 50;

/// One thing that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Invalid {
    /// Where, as in a document: `steps[1].cases[0].when`; empty for the whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Definition {
    /// Whether it can run: names, references, limits.
    ///
    /// # Errors
    /// Everything that is wrong with it, at most 50 things.
    pub fn check(&self) -> Result<(), Vec<Invalid>> {
        let mut checker = Checker::default();
        checker.name("name", &self.name);
        if self.description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_MAX) {
            checker.wrong("description", format!("it is longer than {DESCRIPTION_MAX} characters"));
        }
        checker.routing("", &self.routing);
        let longest =
            format!("a step waits for its worker for 1ms to {}s", AFFINITY_MAX_MS / 1_000);
        let is_off = self.sticky_ms.is_some_and(|ms| !(1..=AFFINITY_MAX_MS).contains(&ms));
        checker.rule(is_off, "", "sticky", longest);
        checker.nodes(&self.nodes, "steps", 1);
        checker.expressions.extend(self.output.iter().map(|output| ("output".to_owned(), output)));
        checker.references();
        if checker.found.is_empty() { Ok(()) } else { Err(checker.found) }
    }
}

#[derive(Default)]
struct Checker<'a> {
    found: Vec<Invalid>,
    /// Names of nodes, and where they stand.
    names: BTreeMap<&'a str, String>,
    expressions: Vec<(String, &'a Expression)>,
    nodes: usize,
}

/// The path of a key below another.
pub(super) fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'a> Checker<'a> {
    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        if self.found.len() < INVALID_MAX {
            self.found.push(Invalid { path: path.to_owned(), message: message.into() });
        }
    }

    fn rule(&mut self, broken: bool, path: &str, key: &str, message: impl Into<String>) {
        if broken {
            self.wrong(&below(path, key), message);
        }
    }

    fn name(&mut self, path: &str, name: &str) {
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
        let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !begins || !rest || name.len() > NAME_MAX {
            let message = format!(
                "`{}` is no name: at most {NAME_MAX} letters, digits, `-` and `_`, a letter first",
                name.chars().take(NAME_MAX).collect::<String>()
            );
            self.wrong(path, message);
        }
    }

    fn nodes(&mut self, nodes: &'a [Node], path: &str, depth: usize) {
        if nodes.is_empty() {
            self.wrong(path, "at least one node is needed here");
        }
        if depth > DEPTH_MAX {
            return self.wrong(path, format!("nodes are nested deeper than {DEPTH_MAX} levels"));
        }
        for (index, node) in nodes.iter().enumerate() {
            self.nodes += 1;
            if self.nodes > NODES_MAX {
                if self.nodes == NODES_MAX + 1 {
                    self.wrong(path, format!("a workflow has at most {NODES_MAX} nodes"));
                }
                return;
            }
            self.node(node, &format!("{path}[{index}]"), depth);
        }
    }

    fn node(&mut self, node: &'a Node, path: &str, depth: usize) {
        let word = below(path, node.kind.word());
        self.name(&word, &node.name);
        if let Some(first) = self.names.get(node.name.as_str()) {
            let message = format!("the name `{}` is taken by {first}; names are unique", node.name);
            self.wrong(&word, message);
        } else {
            self.names.insert(&node.name, path.to_owned());
        }
        let own = node.expressions().into_iter();
        self.expressions.extend(own.map(|(key, expression)| (below(path, &key), expression)));
        match &node.kind {
            Kind::Step(step) => self.step(step, path),
            Kind::Sequence { nodes } => self.nodes(nodes, &below(path, "steps"), depth + 1),
            Kind::Parallel { branches, limit, .. } => {
                let many = format!("at most {BRANCHES_MAX} branches");
                self.rule(branches.len() > BRANCHES_MAX, path, "branches", many);
                self.rule(*limit == Some(0), path, "limit", "at least one branch runs at once");
                self.nodes(branches, &below(path, "branches"), depth + 1);
            }
            Kind::Branch { cases, otherwise } => {
                self.rule(cases.is_empty(), path, "cases", "at least one case is needed here");
                let many = format!("at most {CASES_MAX} cases");
                self.rule(cases.len() > CASES_MAX, path, "cases", many);
                for (index, case) in cases.iter().enumerate() {
                    self.nodes(&case.nodes, &format!("{path}.cases[{index}].steps"), depth + 1);
                }
                if !otherwise.is_empty() {
                    self.nodes(otherwise, &below(path, "otherwise"), depth + 1);
                }
            }
            Kind::Loop { nodes, max, until, must_hold } => {
                let times = format!("a loop ends after 1 to {TIMES_MAX} times");
                self.rule(!(1..=TIMES_MAX).contains(max), path, "max", times);
                let nothing = "without `until` there is nothing that must hold";
                self.rule(*must_hold && until.is_none(), path, "must_hold", nothing);
                self.nodes(nodes, &below(path, "steps"), depth + 1);
            }
            Kind::Approval(approval) => self.approval(approval, path),
            Kind::Sleep { ms } => self.wait(path, "for", Some(*ms)),
            Kind::SleepUntil { .. } => {}
            Kind::WaitSignal { signal, timeout_ms } => {
                self.name(&below(path, "signal"), signal);
                self.wait(path, "timeout", *timeout_ms);
            }
            Kind::Child { workflow, version } => {
                self.name(&below(path, "workflow"), workflow);
                let hash = |text: &String| {
                    text.len() <= 64
                        && text.len() >= 8
                        && text.bytes().all(|b| b.is_ascii_hexdigit())
                };
                let broken = version.as_ref().is_some_and(|version| !hash(version));
                let message =
                    "a version is 8 to 64 hexadecimal digits, as `workflow list` shows it";
                self.rule(broken, path, "version", message);
            }
        }
    }

    fn wait(&mut self, path: &str, key: &str, ms: Option<u64>) {
        let long = ms.is_some_and(|ms| ms > WAIT_MAX_MS);
        self.rule(long, path, key, "it waits for ten years at most");
        self.rule(ms == Some(0), path, key, "it must be longer than nothing");
    }

    fn step(&mut self, step: &Step, path: &str) {
        let Step { handler, retry, timeout_ms, priority, routing } = step;
        if let Some(handler) = handler {
            let refused = input::name("handler", handler).err();
            self.rule(refused.is_some(), path, "handler", detail(refused));
        }
        self.retry(retry, path);
        self.wait(path, "timeout", *timeout_ms);
        let broken = priority.is_some_and(|priority| priority > PRIORITY_MAX);
        self.rule(broken, path, "priority", "priorities are 0 to 9, the highest first");
        self.routing(path, routing);
    }

    fn retry(&mut self, retry: &Retry, path: &str) {
        let Retry { max_attempts, initial_ms, factor_percent, max_ms } = *retry;
        let attempts = 1..=input::ATTEMPTS_MAX;
        self.rule(!attempts.contains(&max_attempts), path, "retries", "retries are 0 to 99");
        let factor = 100..=10_000;
        self.rule(!factor.contains(&factor_percent), path, "backoff", "it is a factor of 1 to 100");
        let day = input::BACKOFF_MAX_MS;
        self.rule(initial_ms > day, path, "retry_delay", "it is at most a day");
        self.rule(max_ms > day && initial_ms <= day, path, "max_delay", "it is at most a day");
        let crossed = initial_ms > max_ms && max_ms <= day && initial_ms <= day;
        self.rule(crossed, path, "max_delay", "it is shorter than `retry_delay`");
    }

    fn routing(&mut self, path: &str, routing: &Routing) {
        let Routing { project, pool, model, labels, selector, image, mode, sandbox, .. } = routing;
        // Whether `none` was written nobody can say here.
        let said = Some(*sandbox).filter(|sandbox| !sandbox.is_none());
        let wrong = mode.and_then(|mode| mode.wrong(said));
        self.rule(wrong.is_some(), path, "mode", wrong.unwrap_or_default());
        let named = [("project", project), ("pool", pool), ("model", model)];
        for (key, text) in named {
            let refused = text.as_ref().and_then(|text| input::name(key, text).err());
            self.rule(refused.is_some(), path, key, detail(refused));
        }
        let text = |image: &String| input::printable("image", image, input::VALUE_MAX).err();
        let refused = image.as_ref().and_then(text);
        self.rule(refused.is_some(), path, "image", detail(refused));
        let refused = input::labels(labels).err();
        self.rule(refused.is_some(), path, "labels", detail(refused));
        let refused = input::selector(selector).err();
        self.rule(refused.is_some(), path, "selector", detail(refused));
    }

    fn approval(&mut self, approval: &Approval, path: &str) {
        let Approval { approvers, expires_ms, remind_ms, .. } = approval;
        self.wait(path, "expires", *expires_ms);
        self.wait(path, "remind", *remind_ms);
        let Approvers { people, quorum, .. } = approvers;
        let path = &below(path, "approvers");
        let most = u32::try_from(PEOPLE_MAX).unwrap_or(u32::MAX);
        let broken = !(1..=most).contains(quorum);
        self.rule(broken, path, "quorum", format!("a quorum is 1 to {PEOPLE_MAX} approvals"));
        self.rule(
            people.len() > PEOPLE_MAX,
            path,
            "people",
            format!("at most {PEOPLE_MAX} people"),
        );
        let few = !people.is_empty() && !broken && people.len() < *quorum as usize;
        self.rule(few, path, "quorum", format!("only {} can approve", people.len()));
        let refused = people.iter().find_map(|name| input::name("a name", name).err());
        self.rule(refused.is_some(), path, "people", detail(refused));
    }

    /// Every expression is one, and names nodes that there are.
    fn references(&mut self) {
        for (path, expression) in std::mem::take(&mut self.expressions) {
            if let Err(bad) = expression.check() {
                self.wrong(&path, bad.message);
                continue;
            }
            for name in &expression.references().steps {
                if !self.names.contains_key(name.as_str()) {
                    let hint = self.hint(name);
                    self.wrong(
                        &path,
                        format!("there is no node `{name}` for `steps.{name}`{hint}"),
                    );
                }
            }
        }
    }

    /// What may have been meant; `steps.cool-down` asks for a node `cool`, less `down`.
    fn hint(&self, name: &str) -> String {
        let dashed = format!("{name}-");
        match self.names.keys().find(|known| known.starts_with(&dashed)) {
            Some(known) => format!("; a name with a dash is written steps[\"{known}\"]"),
            None => meant(name, self.names.keys().copied()),
        }
    }
}

fn detail(refused: Option<crate::error::Refusal>) -> String {
    refused.map_or_else(String::new, |refused| refused.detail)
}
