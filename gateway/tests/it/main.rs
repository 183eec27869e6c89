//! The edge over real sockets, in front of a control plane on the memory store.
#![allow(clippy::unwrap_used, reason = "in a test it is an assertion, in its helpers too")]

mod admission;
mod audit;
mod authorisation;
mod bad_input;
mod batches;
mod claims;
mod dispatching;
mod drains;
mod functions;
mod identity;
mod key_worker;
mod life;
mod limits;
mod older_client;
mod probes;
mod remedies;
mod run_histories;
mod runs;
mod schedules;
mod server;
mod task_tokens;
mod tls;
mod visible;
