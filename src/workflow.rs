//! Workflows written in Rust: typed steps, composed to the same definition that a document makes, and run on the same
//! control plane.
//!
//! ```
//! use fleetward::workflow::Workflow;
//! use fleetward::{HandlerError, StepContext};
//!
//! let wf = Workflow::builder::<String>("article-pipeline")
//!     .step("research", |topic: String, _cx: StepContext| async move { Ok(vec![topic]) })
//!     .step("draft", |facts: Vec<String>, _cx| async move { Ok(facts.join("\n")) })
//!     .retries(3)
//!     .approval("review", "Approve this draft?")
//!     .step("publish", |draft: String, _cx| async move { Ok(draft.len()) })
//!     .build()?;
//! assert_eq!(wf.definition().name, "article-pipeline");
//! # Ok::<(), fleetward::workflow::InvalidWorkflow>(())
//! ```

mod builder;
mod handle;
mod schedule;

use fleetward_actors::workflows::definition::Definition;
use fleetward_worker::{HandlerError, Handlers, StepContext};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use builder::{Body, Builder, IntoPrompt, expression};
pub use handle::{RunError, RunHandle, Workers};
pub use schedule::{CatchUp, Missed, Overlap, Schedule};

/// A workflow that takes an `I` and results in an `O`: its definition, and the handlers of its steps.
#[derive(Debug)]
pub struct Workflow<I, O> {
    definition: Definition,
    handlers: Handlers,
    types: std::marker::PhantomData<fn(I) -> O>,
}

/// A definition that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("the workflow makes no sense: {}", .0.join("; "))]
pub struct InvalidWorkflow(pub Vec<String>);

impl Workflow<(), ()> {
    /// A durable function: plain async code, whose [`StepContext`] remembers what was done and waits on no
    /// worker. It is a workflow of that one step; [`retries`](Builder::retries) and the like say how its attempts are tried
    /// again.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use fleetward::Workflow;
    /// use fleetward::StepContext;
    ///
    /// let order = Workflow::function("order", |item: String, cx: StepContext| async move {
    ///     let price: u32 = cx.step("price", || async { Ok(42) }).await?;
    ///     cx.sleep(Duration::from_secs(3_600)).await?;
    ///     cx.approval("ship", format!("Ship {item} for {price}?")).await?;
    ///     let to: String = cx.wait_signal("address").await?;
    ///     cx.step("ship", || async move { Ok(format!("{item} to {to}")) }).await
    /// })
    /// .retries(3)
    /// .build()?;
    /// # let _: Workflow<String, String> = order;
    /// # Ok::<(), fleetward::workflow::InvalidWorkflow>(())
    /// ```
    pub fn function<I, O, F, R>(name: &str, run: F) -> Builder<I, O>
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(I, StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send,
    {
        Builder::function(name, run)
    }

    /// A workflow of this name that takes an `I`.
    pub fn builder<I>(name: impl Into<String>) -> Builder<I, I> {
        Builder::new(name.into())
    }
}

impl<I, O> Workflow<I, O> {
    /// What the control plane knows of it: names, order, retries, conditions.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// What a worker must have registered to run its steps.
    pub fn handlers(&self) -> &Handlers {
        &self.handlers
    }
}
