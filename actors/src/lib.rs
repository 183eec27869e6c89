//! What happens in Fleetward: the actors that decide, and the pure rules they apply.
//!
//! [`ControlPlane`] starts the whole tree over a store and is all that a gateway or a library user needs:
//! an [`Operator`] submits tasks and approves workers, a [`Session`] is one worker's way to claim and report.
//! Below it, every change is an event: an actor decides, applies the event to its own memory, and hands
//! it to the journal with the effects it allows; what leaves a cell is released after the commit.
//!
//! Each actor is a file that routes (`fleet/dispatcher.rs`) beside files of rules without async, clock or
//! randomness (`fleet/dispatcher/report.rs`).

pub mod access;
pub mod cause;
pub mod config;
pub mod effect;
pub mod error;
pub mod fact;
pub mod fleet;
mod guard;
pub mod id;
pub mod journal;
pub mod plane;
pub mod projector;
pub mod schedules;
pub mod seal;
mod small;
pub mod system;
pub mod workflows;

pub use cause::Cause;
pub use config::Config;
pub use error::{Error, Kind, Refusal};
pub use fleetward_runtime::{Clock, LifeState, Moment};
pub use fleetward_store::Origin;
pub use plane::{ControlPlane, Operator, Options, Session};
