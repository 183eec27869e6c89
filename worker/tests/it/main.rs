//! The worker against a scripted control plane, real processes, real files and a real socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agents;
mod batches;
mod commands;
mod delivery;
mod draining;
mod fencing;
mod http;
mod identity;
mod plane;
mod probes;
mod pulse;
mod seats;
mod tls;
