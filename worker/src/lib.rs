//! The other process: claims tasks from a Fleetward control plane, runs them, reports.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use fleetward_wire::workers::Register;
//! use fleetward_worker::{Command, HttpTransport, Identity, Worker, WorkerOptions};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example(key: fleetward_wire::Secret) -> Result<(), Box<dyn std::error::Error>> {
//! let register = Register { enrollment_key: Some(key), ..Register::default() };
//! let server = "http://127.0.0.1:7700";
//! let identity = Identity::load_or_register(Path::new("w1.json"), server, register).await?;
//! let transport = HttpTransport::of(&identity)?;
//! let worker = Worker::new(transport, Command::new("wc -c"), WorkerOptions::default());
//! let summary = worker.run(CancellationToken::new()).await?;
//! println!("{} tasks completed", summary.completed);
//! # Ok(()) }
//! ```
//!
//! A program may also run tasks itself: any [`Execute`] will do, a closure with [`from_fn`]; and
//! talk to the control plane in another way: any [`Transport`] will do.
//!
//! ```
//! use fleetward_worker::{Outcome, TaskContext, from_fn};
//!
//! let shout = from_fn(|task, _cx: TaskContext| async move {
//!     match task.payload.expose().as_str() {
//!         Some(text) => Outcome::Completed(text.to_uppercase().into()),
//!         None => Outcome::Failed("the payload is not a string".to_owned()),
//!     }
//! });
//! # let _: &dyn fleetward_worker::Execute = &shout;
//! ```
//!
//! Dispatch is at least once, and one result is accepted per task. What a worker does for it: it
//! repeats a claim whose answer was lost under the same id; it names what it holds in heartbeats
//! that do not wait for any task; it stops an attempt before its lease can have ended on the
//! other side, on a clock that goes on during suspends; and it repeats a report until it is
//! accepted or refused. A worker with several seats claims as many tasks at once as it has free
//! seats, and what ends while a report is under way is reported together.

pub mod agent;
mod attempt;
mod backoff;
mod claimer;
mod clock;
pub mod command;
mod crew;
mod delivery;
mod execute;
mod function;
mod handlers;
mod held;
mod http;
mod identity;
mod key_pair;
mod org_keys;
mod outbox;
mod probe;
mod progress;
mod pulse;
mod reporter;
mod seat;
mod silence;
mod tls;
mod tokens;
mod transport;
mod worker;

pub use agent::worker_credentials;
pub use command::Command;
pub use delivery::FINAL_DELIVERY;
pub use execute::{Execute, FromFn, Outcome, Stop, StopReason, TaskContext, from_fn};
pub use function::{Ask, Decision, Retries, Suspension};
pub use handlers::{HandlerError, Handlers, Isolation, StepContext};
pub use http::{Endpoint, HttpTransport, register};
pub use identity::{Identity, IdentityError, Proof};
pub use key_pair::KeyPair;
pub use org_keys::{BadOrgKeys, OrgKeys, SealedTransport};
pub use probe::{PROBES_MAX, Probe};
pub use seat::ABORT_AFTER;
pub use tls::{Pin, Tls, TlsError, TlsOptions};
pub use transport::{Transport, TransportError};
pub use worker::{Summary, Worker, WorkerError, WorkerOptions};
