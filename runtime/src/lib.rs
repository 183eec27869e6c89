//! Supervised actors: small state machines with a mailbox each, kept alive by a tree.
//!
//! You write an [`Actor`]; a [`SupervisorSpec`] says how many there are, in which order they start
//! and what happens when one crashes; [`System::start`] brings the tree up, and [`System::drain`]
//! takes it down in good order. Everybody else holds an [`Address`], which leads to whichever life
//! of the actor is running.
//!
//! # An actor
//!
//! A handler is synchronous: it changes the state, answers, and returns. Nothing can wait in it, so
//! one slow thing never holds up a mailbox. What has to wait is handed to [`Context::spawn`] and
//! comes back as a message.
//!
//! ```
//! use std::time::Duration;
//!
//! use fleetward_runtime::{
//!     Actor, Address, ChildSpec, Context, Crash, Options, Reply, StartError, Strategy,
//!     SupervisorSpec, System,
//! };
//!
//! enum Message {
//!     Add { amount: u64, reply: Reply<u64> },
//! }
//!
//! struct Counter {
//!     total: u64,
//! }
//!
//! impl Actor for Counter {
//!     type Args = u64;
//!     type Message = Message;
//!
//!     async fn start(first: u64, _cx: &mut Context<Message>) -> Result<Self, StartError> {
//!         Ok(Self { total: first })
//!     }
//!
//!     fn handle(&mut self, message: Message, _cx: &mut Context<Message>) -> Result<(), Crash> {
//!         match message {
//!             Message::Add { amount, reply } => {
//!                 let overflow = || Crash::new("the total is out of range");
//!                 self.total = self.total.checked_add(amount).ok_or_else(overflow)?;
//!                 reply.send(self.total);
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let counter = Address::new("counter");
//! let spec = SupervisorSpec::new(Strategy::OneForOne)
//!     .child(ChildSpec::actor::<Counter>("counter", counter.clone(), 40));
//! let system = System::start("example", spec, Options::default()).await?;
//!
//! let second = Duration::from_secs(1);
//! let total = counter.call(second, |reply| Message::Add { amount: 2, reply }).await?;
//!
//! assert_eq!(total, 42);
//! assert!(system.drain(second).await.is_clean());
//! # Ok(())
//! # }
//! ```
//!
//! # Lives
//!
//! An error from a handler, a panic, or a failed start ends one *life* of an actor. Its mailbox is
//! dropped with it, so a caller learns one of three things ([`CallError`]): `Unavailable` is
//! certainly not done and may be sent again; `Lost` and `Late` are perhaps done, and have to be
//! asked about or repeated under the same idempotency key. The next life starts from the same
//! [`Args`](Actor::Args), and only when everything of the one before it is dropped, including what
//! it spawned: two lives of one actor never overlap.
//!
//! # Supervision
//!
//! - [`Strategy`]: who else is restarted with a child. Children start top to bottom, each when the
//!   one before it runs, and stop bottom to top.
//! - [`Budget`]: how many restarts in how much time; failed starts count. A supervisor that has
//!   spent it either counts as crashed itself ([`Exhausted::Escalate`]) or stays down, visibly and
//!   alone ([`Exhausted::Halt`]).
//! - [`Backoff`]: restarts wait, with full jitter.
//! - [`StartError::Unavailable`] is an outage, not a bug: the start is tried again for as long as
//!   it takes, and no budget is spent. [`StartError::Halt`] is never tried again.
//! - [`Restart`]: whether a child that stopped by itself ([`Context::stop`]) comes back.
//!
//! A [`Family`] holds children by key that are started on demand, each with a budget of its own:
//!
//! ```
//! # use std::time::Duration;
//! # use fleetward_runtime::*;
//! # struct Session;
//! # impl Actor for Session {
//! #     type Args = u32;
//! #     type Message = Reply<u32>;
//! #     async fn start(_: u32, _: &mut Context<Reply<u32>>) -> Result<Self, StartError> {
//! #         Ok(Self)
//! #     }
//! #     fn handle(&mut self, r: Reply<u32>, cx: &mut Context<Reply<u32>>) -> Result<(), Crash> {
//! #         r.send(1);
//! #         cx.stop();
//! #         Ok(())
//! #     }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sessions = Family::new(FamilySpec::default(), |user: &u32| {
//!     let address = Address::new("session");
//!     let spec = ChildSpec::actor::<Session>("session", address.clone(), *user);
//!     // One that stops by itself is forgotten until somebody asks for it again.
//!     (address, spec.restart(Restart::Transient))
//! });
//! let spec = SupervisorSpec::new(Strategy::OneForOne)
//!     .child(ChildSpec::family("sessions", &sessions));
//! let system = System::start("example", spec, Options::default()).await?;
//!
//! let session = sessions.get_or_start(7).await?;
//! let answer = session.call(Duration::from_secs(1), |reply| reply).await?;
//! # assert_eq!(answer, 1);
//! # system.drain(Duration::from_secs(1)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Load
//!
//! Mailboxes are unbounded, and messages between actors are never refused. Load is bounded once,
//! where it comes in: take a [`Permit`] from [`Permits`], and let it ride in the reply
//! ([`Address::call_with_permit`]). It is given back when the work is answered, not when the caller
//! loses patience.
//!
//! # Time
//!
//! Actors read the time from [`Context::clock`] and set timers with [`Context::at`]. In a test the
//! [`Clock`] may be moved by hand; the machinery itself (back-off, budgets, deadlines of calls and
//! drains) always runs on tokio's time, so that it cannot be frozen by accident.
//!
//! # Seeing and testing
//!
//! [`System::observe`] shows the whole tree (states, messages waiting, age of the oldest, restarts)
//! without sending a message. [`Faults`] make a chosen message vanish or a handler panic. With the
//! feature `testkit`, `testkit::World` runs a test in paused time and fails it if an actor
//! crashed unexpectedly or did not end.

mod actor;
mod address;
mod backoff;
mod clock;
mod context;
mod core;
mod faults;
mod host;
mod life;
mod mailbox;
mod node;
mod panics;
mod permit;
mod reply;
mod supervise;
mod system;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use crate::core::CrashRecord;
pub use actor::{Actor, Crash, StartError};
pub use address::{Address, CallError, Unavailable};
pub use backoff::Backoff;
pub use clock::{Clock, Moment};
pub use context::{Context, Timer};
pub use faults::Faults;
pub use node::{LifeState, Snapshot, UnitKind};
pub use permit::{Full, Permit, PermitLimits, Permits, Usage};
pub use reply::{Answer, Answered, Reply};
pub use supervise::{
    Budget, ChildSpec, Exhausted, Family, FamilySpec, Restart, Strategy, SupervisorSpec,
};
pub use system::{Drained, Options, System};
