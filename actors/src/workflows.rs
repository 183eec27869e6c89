//! Durable workflows: what they are ([`definition`]), and what is said between their nodes ([`expression`]).

pub mod definition;
pub mod expression;
