//! Everything a store promises, asked of every backend.
#![allow(clippy::unwrap_used, reason = "in a test it is an assertion, in its helpers too")]

mod conformance;
mod crash;
mod memory;
mod postgres;
mod property;
mod sqlite;
mod world;
