//! What the crate promises, seen from outside.

mod calls;
mod clocks;
mod drains;
mod families;
mod fault_injection;
mod observing;
mod permits;
mod probe;
mod ractor_facts;
mod storms;
mod strategies;
mod trouble;
mod worlds;
