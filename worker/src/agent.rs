//! Agents: models with instructions, asked within tasks at the endpoints of OpenAI, Anthropic, Ollama and those that speak
//! like them.
//!
//! The payload of an agent task is an [`AgentCall`]:
//!
//! ```json
//! {
//!   "agent": {
//!     "name": "writer",
//!     "model": "gpt-4o",
//!     "system": "You write for a newspaper.",
//!     "parameters": {"temperature": 0.2, "max_tokens": 800, "stop": ["THE END"], "json": true}
//!   },
//!   "input": "Three facts about bees."
//! }
//! ```
//!
//! All of `agent` may be absent but the braces; `model` is then the task's, or the worker's default. `provider` names one of
//! the worker's providers, where its name does not stand before the model's (`vllm/qwen3-8b`). `input` is a text, a
//! conversation (`{"messages": [{"role": "user", "content": "..."}]}`), or any other JSON, which the agent gets as text.
//! `"json": {SCHEMA}` asks for a value of that JSON Schema. The result is an [`Answer`]:
//!
//! ```json
//! {
//!   "text": "[\"They dance.\"]",
//!   "json": ["They dance."],
//!   "model": "openai/gpt-4o",
//!   "usage": {"input_tokens": 31, "output_tokens": 9, "requests": 1},
//!   "finish_reason": "stop"
//! }
//! ```
//!
//! While it comes, the end of it is the task's progress: `{"agent": "writer", "text": "...", "bytes": 17}`, at most once a
//! second. What a provider cannot do now (429, 5xx, a connection that breaks) is asked for again, up to [`TRIES`] times and
//! at most [`WAIT_MAX`] later, and then the task failed and may be tried again; what it will never do (another 4xx) fails the
//! task for good.
//!
//! Endpoints and keys are the worker's ([`WorkerCredentials`]); no payload can name one, and nothing of them reaches the
//! control plane.
//!
//! ```no_run
//! use fleetward_worker::agent::{Agents, WorkerCredentials, with_credentials};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let credentials = WorkerCredentials::load("agents.toml".as_ref(), |name| std::env::var(name).ok())?;
//! let execute = with_credentials(Agents::new(), credentials)?;
//! # let _: &dyn fleetward_worker::Execute = &execute;
//! # Ok(()) }
//! ```

mod answer;
mod call;
pub mod compose;
mod context;
mod credentials;
mod error;
mod models;
mod serve;

pub use answer::{ANSWER_MAX, Answer, FinishReason, Part, Usage};
pub use call::{
    Agent, AgentCall, BadCall, Input, JsonWanted, MESSAGES_MAX, Message, NAME_MAX, Parameters,
    Role, STOPS_MAX,
};
pub use context::{
    AgentContext, Respond, WithCredentials, run, with_credentials, worker_credentials,
};
pub use credentials::{ApiKey, BadCredentials, Dialect, Provider, WorkerCredentials};
pub use error::AgentError;
pub use models::{TRIES, WAIT_MAX};
pub use serve::{Agents, DEFAULT_TIMEOUT, Responder, call, handler};
