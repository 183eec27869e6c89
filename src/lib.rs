//! Fleetward: a self-hosted control plane for a fleet of agent workers and durable workflows.
//!
//! This crate is the library; the binary of the same name is the server. Both start the same actors.
//!
//! ```
//! use fleetward::plane::{AdminToken, NewSubmit, Options};
//! use fleetward::{ControlPlane, Outcome, from_fn};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // `sqlite://fleet.db` and `postgres://...` keep what happens, and need a `master_key` in the options (see
//! // `fleetward::master_key`); `memory:` is for tests.
//! let store = fleetward::store::connect("memory:").await?;
//! let admin = Some(AdminToken("fwt_made-up".into()));
//! let plane = ControlPlane::start(store, Options { admin_token: admin, ..Options::default() }).await?;
//! let operator = plane.operator(&plane.authenticate("fwt_made-up")?, None).await?;
//!
//! // A worker in this process: an ordinary worker whose connection has no wire.
//! let shout = from_fn(|task, _cx| async move {
//!     Outcome::Completed(task.payload.expose().as_str().unwrap_or("").to_uppercase().into())
//! });
//! let worker = fleetward::in_process::start(&plane, &operator, "shouter", 4, shout).await?;
//!
//! let new = NewSubmit { payload: r#""hello""#.into(), ..NewSubmit::default() };
//! let task = operator.submit(new).await?.task;
//! let done = operator.task_when_closed(task, Duration::from_secs(10)).await?;
//! assert_eq!(done.result.expect("it is done").open()?, r#""HELLO""#);
//!
//! worker.stop().await;
//! plane.drain(Duration::from_secs(5)).await;
//! # Ok(()) })
//! # }
//! ```

pub mod audit;
pub mod ca;
pub mod in_process;
pub mod master_key;
pub mod outbound;
pub mod workflow;

/// The README's programs are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use fleetward_actors as actors;
pub use fleetward_actors::{Config, ControlPlane, Error, Operator, Session, plane};
pub use fleetward_runtime as runtime;
pub use fleetward_store as store;
pub use fleetward_wire as wire;
pub use fleetward_worker as worker;
pub use fleetward_worker::{
    HandlerError, Handlers, Isolation, Outcome, StepContext, TaskContext, from_fn,
    worker_credentials,
};
pub use workflow::Workflow;
