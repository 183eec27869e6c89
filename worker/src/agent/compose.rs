//! Agents that answer together, within one task: one after the other, all at once, one of several, again and again.
//!
//! Each is an agent to whoever asks it, so they nest. What they cost is summed up, and each call is listed. If one of
//! their agents fails, they fail with it, and what the others said is lost: for steps that are remembered, use a workflow.
//!
//! ```
//! use fleetward_worker::agent::compose::{Loop, Parallel, Sequential};
//! use fleetward_worker::agent::{Agent, handler};
//!
//! let researcher = Agent::new("researcher").model("gpt-4o");
//! let writer = Agent::new("writer").model("claude-sonnet-4").system("Write a short article of these notes.");
//! let review = Parallel::new("review", Agent::new("fact-checker")).and(Agent::new("editor"));
//! let polish = Loop::new("polish", Agent::new("editor")).until(|answer, _| answer.text.contains("DONE")).most(3);
//! let pipeline = Sequential::new("pipeline", researcher).then(writer).then(polish).then(review);
//! # let _: &dyn fleetward_worker::Execute = &handler(pipeline);
//! ```

mod conditional;
mod parallel;
mod repeat;
mod sequential;
#[cfg(test)]
mod tests;

pub use conditional::Conditional;
pub use parallel::{Parallel, joined};
pub use repeat::{Loop, ROUNDS};
pub use sequential::Sequential;

use super::answer::{Answer, Part, Usage};

/// An answer that others took part in: their calls are listed in it, and it costs what they cost.
fn made_of(mut answer: Answer, parts: Vec<Part>) -> Answer {
    answer.usage = parts.iter().map(|part| part.usage).sum::<Usage>();
    answer.parts = parts;
    answer
}
