//! Durable workflows: what they are ([`definition`]), what a run of one is ([`run`]), what it does next ([`plan`], a pure
//! function of the two), and the actors that apply it: a [`conductor`] for each live run, the [`catalogue`] of
//! definitions, and the [`clockwork`] that starts conductors again.

pub mod catalogue;
pub mod clockwork;
pub mod conductor;
pub mod definition;
pub mod diff;
pub mod expression;
pub mod gate;
pub mod nursery;
pub mod plan;
pub mod replay;
pub mod run;
pub mod shelf;
pub mod timeline;
pub mod used_ids;
pub mod why;
pub mod workflow;
