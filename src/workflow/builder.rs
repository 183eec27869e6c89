//! The builder: each call adds a node, and the type of what flows on is in the type of the builder.

mod direct;

use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use fleetward_actors::fleet::task::Mode;
use fleetward_actors::workflows::definition::{
    Approval, Approvers, Case, Definition, Kind, Node, OnExpiry, OnFailure, Routing, Step,
};
use fleetward_actors::workflows::expression::{BadExpression, Expression};
use fleetward_worker::{HandlerError, Handlers, StepContext};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{InvalidWorkflow, Workflow};

/// A workflow being written. `I` is what it takes, `T` what the last node results in: the input of the next.
///
/// A mistake in a text (an expression, a name) is said by [`build`](Self::build), with all the others.
#[must_use = "a builder does nothing until it is built"]
pub struct Builder<I, T> {
    name: String,
    description: Option<String>,
    routing: Routing,
    sticky_ms: Option<u64>,
    body: Body<I, T>,
}

/// Nodes one after the other: of a workflow, of a branch, of a loop.
#[must_use = "nodes belong in a workflow"]
pub struct Body<I, T> {
    nodes: Vec<Node>,
    handlers: Handlers,
    /// The workflow's name and a dot: handlers of one worker have names of their own.
    prefix: String,
    wrong: Vec<String>,
    types: PhantomData<fn(I) -> T>,
}

/// Text, or an expression that makes one.
pub trait IntoPrompt {
    /// The expression.
    ///
    /// # Errors
    /// When it is none.
    fn into_prompt(self) -> Result<Expression, BadExpression>;
}

impl IntoPrompt for &str {
    fn into_prompt(self) -> Result<Expression, BadExpression> {
        // As text stands in an expression.
        Expression::parse(&serde_json::Value::from(self).to_string())
    }
}

impl IntoPrompt for Expression {
    fn into_prompt(self) -> Result<Expression, BadExpression> {
        Ok(self)
    }
}

/// An expression, for prompts that are made from what ran before.
///
/// # Errors
/// When it is none.
pub fn expression(text: &str) -> Result<Expression, BadExpression> {
    Expression::parse(text)
}

impl<I, T> Body<I, T> {
    fn empty(prefix: String) -> Self {
        let (nodes, wrong) = (Vec::new(), Vec::new());
        Self { nodes, handlers: Handlers::new(), prefix, wrong, types: PhantomData }
    }

    fn then<O>(self) -> Body<I, O> {
        let Self { nodes, handlers, prefix, wrong, .. } = self;
        Body { nodes, handlers, prefix, wrong, types: PhantomData }
    }

    fn node<O>(mut self, name: &str, kind: Kind) -> Body<I, O> {
        self.nodes.push(Node { name: name.to_owned(), input: None, kind });
        self.then()
    }

    fn expression(&mut self, at: &str, text: &str) -> Option<Expression> {
        match Expression::parse(text) {
            Ok(expression) => Some(expression),
            Err(bad) => {
                self.wrong.push(format!("{at}: {bad}"));
                None
            }
        }
    }

    fn take<A, B>(&mut self, other: Body<A, B>) -> Vec<Node> {
        let Body { nodes, handlers, wrong, .. } = other;
        self.handlers = std::mem::take(&mut self.handlers).and(handlers);
        self.wrong.extend(wrong);
        nodes
    }

    fn inner<A>(&self) -> Body<A, A> {
        Body::empty(self.prefix.clone())
    }

    /// A step: a function that a worker runs, given what the node before resulted in.
    pub fn step<O, F, R>(mut self, name: &str, run: F) -> Body<I, O>
    where
        T: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(T, StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send,
    {
        let handler = format!("{}{name}", self.prefix);
        self.handlers = std::mem::take(&mut self.handlers).on(handler.clone(), run);
        self.node(name, Kind::Step(Box::new(Step { handler: Some(handler), ..Step::default() })))
    }

    /// A step that is given something else: an expression over `input`, `previous` and `steps.NAME`.
    pub fn step_given<A, O, F, R>(mut self, name: &str, input: &str, run: F) -> Body<I, O>
    where
        A: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(A, StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send,
    {
        let input = self.expression(&format!("the input of {name}"), input);
        let mut next = self.then::<A>().step(name, run);
        if let Some(node) = next.nodes.last_mut() {
            node.input = input;
        }
        next
    }

    /// A step whose handler some other worker has registered under this name.
    pub fn step_by<O>(self, name: &str, handler: &str) -> Body<I, O> {
        let step = Step { handler: Some(handler.to_owned()), ..Step::default() };
        self.node(name, Kind::Step(Box::new(step)))
    }

    /// Branches at once, each given what flows here; what flows on is an object of theirs by name.
    pub fn parallel<O>(
        mut self,
        name: &str,
        on_failure: OnFailure,
        branches: impl FnOnce(Branches<T>) -> Branches<T>,
    ) -> Body<I, O> {
        let made = branches(Branches { body: self.inner(), nodes: Vec::new() });
        let nodes = made.nodes;
        self.take(made.body);
        self.node(name, Kind::Parallel { branches: nodes, on_failure, limit: None })
    }

    /// The first of two ways whose condition holds: `when` is an expression over `previous`, `input` and `steps.NAME`.
    pub fn branch<O>(
        mut self,
        name: &str,
        when: &str,
        then: impl FnOnce(Body<T, T>) -> Body<T, O>,
        otherwise: impl FnOnce(Body<T, T>) -> Body<T, O>,
    ) -> Body<I, O> {
        let when = self.expression(&format!("the condition of {name}"), when);
        let (then, otherwise) = (then(self.inner()), otherwise(self.inner()));
        let (nodes, otherwise) = (self.take(then), self.take(otherwise));
        let cases = when.map(|when| Case { when, nodes }).into_iter().collect();
        self.node(name, Kind::Branch { cases, otherwise })
    }

    /// Nodes again and again until `until` holds, at most `max` times.
    pub fn repeat(
        mut self,
        name: &str,
        until: &str,
        max: u32,
        nodes: impl FnOnce(Body<T, T>) -> Body<T, T>,
    ) -> Body<I, T> {
        let until = self.expression(&format!("the condition of {name}"), until);
        let nodes = nodes(self.inner());
        let nodes = self.take(nodes);
        self.node(name, Kind::Loop { nodes, until, max, must_hold: false })
    }

    /// Waits for a person to approve; what flows here flows on.
    pub fn approval(self, name: &str, prompt: impl IntoPrompt) -> Body<I, T> {
        self.approval_by(name, prompt, Approvers::default(), None)
    }

    /// The same with rules of its own; without a decision in `expires` it counts as rejected.
    pub fn approval_by(
        mut self,
        name: &str,
        prompt: impl IntoPrompt,
        approvers: Approvers,
        expires: Option<Duration>,
    ) -> Body<I, T> {
        match prompt.into_prompt() {
            Ok(prompt) => {
                let approval = Approval {
                    prompt,
                    context: None,
                    approvers,
                    expires_ms: expires.map(millis),
                    on_expiry: OnExpiry::Reject,
                    remind_ms: None,
                };
                self.node(name, Kind::Approval(Box::new(approval)))
            }
            Err(bad) => {
                self.wrong.push(format!("the prompt of {name}: {bad}"));
                self
            }
        }
    }

    /// Waits for so long; what flows here flows on.
    pub fn sleep(self, name: &str, time: Duration) -> Body<I, T> {
        self.node(name, Kind::Sleep { ms: millis(time) })
    }

    /// Waits until a time that an expression makes; what flows here flows on.
    pub fn sleep_until(mut self, name: &str, at: &str) -> Body<I, T> {
        match self.expression(&format!("the time of {name}"), at) {
            Some(at) => self.node(name, Kind::SleepUntil { at }),
            None => self,
        }
    }

    /// Waits for a signal; what it says flows on.
    pub fn wait_signal<O>(self, name: &str, timeout: Option<Duration>) -> Body<I, O> {
        let (signal, timeout_ms) = (name.to_owned(), timeout.map(millis));
        self.node(name, Kind::WaitSignal { signal, timeout_ms })
    }

    /// A run of another workflow, given what flows here; what it results in flows on.
    pub fn child<O>(self, name: &str, workflow: &str) -> Body<I, O> {
        let (workflow, version) = (workflow.to_owned(), None);
        self.node(name, Kind::Child { workflow, version })
    }

    fn last_step(&mut self, what: &str, change: impl FnOnce(&mut Step)) {
        match self.nodes.last_mut().map(|node| &mut node.kind) {
            Some(Kind::Step(step)) => change(step),
            _ => self.wrong.push(format!("{what} belongs behind a step")),
        }
    }

    /// How often the step before is tried again when it fails.
    pub fn retries(mut self, retries: u32) -> Self {
        self.last_step("retries", |step| step.retry.max_attempts = retries.saturating_add(1));
        self
    }

    /// How long the step before waits at most before it is tried again; doubled each time.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.last_step("retry_delay", |step| step.retry.initial_ms = millis(delay));
        self
    }

    /// How long one attempt of the step before may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.last_step("timeout", |step| step.timeout_ms = Some(millis(timeout)));
        self
    }

    /// How the step before is executed: [`Mode::Sandboxed`], or [`Mode::Bare`] as where nothing is said.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.last_step("mode", |step| step.routing.mode = Some(mode));
        self
    }

    /// Where the step before runs.
    pub fn routing(mut self, routing: Routing) -> Self {
        self.last_step("routing", |step| step.routing = routing);
        self
    }
}

/// Branches of a parallel node, each given a `T`.
#[must_use = "branches belong in a workflow"]
pub struct Branches<T> {
    body: Body<T, T>,
    nodes: Vec<Node>,
}

impl<T> Branches<T> {
    /// A branch of one step.
    pub fn step<O, F, R>(mut self, name: &str, run: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(T, StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send,
    {
        let mut made = self.body.inner::<T>().step(name, run);
        self.nodes.append(&mut made.nodes);
        self.body.take(made);
        self
    }

    /// A branch of several nodes.
    pub fn sequence<O>(mut self, name: &str, nodes: impl FnOnce(Body<T, T>) -> Body<T, O>) -> Self {
        let made = nodes(self.body.inner());
        let nodes = self.body.take(made);
        let kind = Kind::Sequence { nodes };
        self.nodes.push(Node { name: name.to_owned(), input: None, kind });
        self
    }
}

impl<I, T> Builder<I, T> {
    fn with<O>(self, change: impl FnOnce(Body<I, T>) -> Body<I, O>) -> Builder<I, O> {
        let Self { name, description, routing, sticky_ms, body } = self;
        Builder { name, description, routing, sticky_ms, body: change(body) }
    }

    /// What it is for, in words.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Where its steps run, unless they say otherwise.
    pub fn runs_at(mut self, routing: Routing) -> Self {
        self.routing = routing;
        self
    }

    /// A step would rather go to the worker that had the run's last one, and waits for it so long, 5 minutes at most; then any
    /// worker gets it.
    pub fn sticky(mut self, wait: Duration) -> Self {
        self.sticky_ms = Some(millis(wait));
        self
    }

    /// The workflow.
    ///
    /// # Errors
    /// Says everything that makes no sense: texts that are no expressions, names, references.
    pub fn build(self) -> Result<Workflow<I, T>, InvalidWorkflow> {
        let Self { name, description, routing, sticky_ms, body } = self;
        let Body { nodes, handlers, wrong, .. } = body;
        if !wrong.is_empty() {
            return Err(InvalidWorkflow(wrong));
        }
        let definition = Definition { name, description, routing, sticky_ms, nodes, output: None };
        let invalid =
            |wrong: Vec<_>| InvalidWorkflow(wrong.iter().map(ToString::to_string).collect());
        definition.check().map_err(invalid)?;
        Ok(Workflow { definition, handlers, types: PhantomData })
    }
}

impl<I> Builder<I, I> {
    pub(super) fn new(name: String) -> Self {
        let body = Body::empty(format!("{name}."));
        Self { name, description: None, routing: Routing::default(), sticky_ms: None, body }
    }
}

impl<I, O> Builder<I, O> {
    /// One step, whose handler has the name of the workflow: others can start it by that.
    pub(super) fn function<F, R>(name: &str, run: F) -> Self
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(I, StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send,
    {
        let (name, description) = (name.to_owned(), None);
        let body = Body::empty(String::new()).step(&name, run);
        Builder { name, description, routing: Routing::default(), sticky_ms: None, body }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
