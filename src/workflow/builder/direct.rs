//! The calls of a [`Body`] on the builder itself.

use std::future::Future;
use std::time::Duration;

use fleetward_actors::fleet::task::Mode;
use fleetward_actors::workflows::definition::{Approvers, OnFailure, Routing};
use fleetward_worker::{HandlerError, StepContext};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Body, Branches, Builder, IntoPrompt};

/// The nodes of a [`Body`], for the builder itself.
impl<I, T> Builder<I, T> {
    /// See [`Body::step`].
    pub fn step<O, F, R>(self, name: &str, run: F) -> Builder<I, O>
    where
        T: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(T, StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send,
    {
        self.with(|body| body.step(name, run))
    }

    /// See [`Body::step_given`].
    pub fn step_given<A, O, F, R>(self, name: &str, input: &str, run: F) -> Builder<I, O>
    where
        A: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(A, StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send,
    {
        self.with(|body| body.step_given(name, input, run))
    }

    /// See [`Body::step_by`].
    pub fn step_by<O>(self, name: &str, handler: &str) -> Builder<I, O> {
        self.with(|body| body.step_by(name, handler))
    }

    /// See [`Body::parallel`].
    pub fn parallel<O>(
        self,
        name: &str,
        on_failure: OnFailure,
        branches: impl FnOnce(Branches<T>) -> Branches<T>,
    ) -> Builder<I, O> {
        self.with(|body| body.parallel(name, on_failure, branches))
    }

    /// See [`Body::branch`].
    pub fn branch<O>(
        self,
        name: &str,
        when: &str,
        then: impl FnOnce(Body<T, T>) -> Body<T, O>,
        otherwise: impl FnOnce(Body<T, T>) -> Body<T, O>,
    ) -> Builder<I, O> {
        self.with(|body| body.branch(name, when, then, otherwise))
    }

    /// See [`Body::repeat`].
    pub fn repeat(
        self,
        name: &str,
        until: &str,
        max: u32,
        nodes: impl FnOnce(Body<T, T>) -> Body<T, T>,
    ) -> Self {
        self.with(|body| body.repeat(name, until, max, nodes))
    }

    /// See [`Body::approval`].
    pub fn approval(self, name: &str, prompt: impl IntoPrompt) -> Self {
        self.with(|body| body.approval(name, prompt))
    }

    /// See [`Body::approval_by`].
    pub fn approval_by(
        self,
        name: &str,
        prompt: impl IntoPrompt,
        approvers: Approvers,
        expires: Option<Duration>,
    ) -> Self {
        self.with(|body| body.approval_by(name, prompt, approvers, expires))
    }

    /// See [`Body::sleep`].
    pub fn sleep(self, name: &str, time: Duration) -> Self {
        self.with(|body| body.sleep(name, time))
    }

    /// See [`Body::sleep_until`].
    pub fn sleep_until(self, name: &str, at: &str) -> Self {
        self.with(|body| body.sleep_until(name, at))
    }

    /// See [`Body::wait_signal`].
    pub fn wait_signal<O>(self, name: &str, timeout: Option<Duration>) -> Builder<I, O> {
        self.with(|body| body.wait_signal(name, timeout))
    }

    /// See [`Body::child`].
    pub fn child<O>(self, name: &str, workflow: &str) -> Builder<I, O> {
        self.with(|body| body.child(name, workflow))
    }

    /// See [`Body::retries`].
    pub fn retries(self, retries: u32) -> Self {
        self.with(|body| body.retries(retries))
    }

    /// See [`Body::retry_delay`].
    pub fn retry_delay(self, delay: Duration) -> Self {
        self.with(|body| body.retry_delay(delay))
    }

    /// See [`Body::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|body| body.timeout(timeout))
    }

    /// See [`Body::routing`].
    pub fn routing(self, routing: Routing) -> Self {
        self.with(|body| body.routing(routing))
    }

    /// See [`Body::mode`].
    pub fn mode(self, mode: Mode) -> Self {
        self.with(|body| body.mode(mode))
    }
}
