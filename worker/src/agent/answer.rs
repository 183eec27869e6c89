//! What an agent answers, and what it cost. Pure.

use std::fmt;
use std::iter::Sum;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::Parameters;
use super::error::AgentError;

/// Longest answer, in bytes of its text. Within what the control plane takes as a result.
pub const ANSWER_MAX: usize = 512 * 1024;

/// What an agent answered: the result of its task.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// What it said.
    pub text: String,
    /// The same read as JSON, where JSON was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// The model that said it, as the worker asked for it. Of several agents: of the last one.
    pub model: String,
    /// What it cost. Of several agents: of all of them.
    pub usage: Usage,
    /// Why it ended. Of several agents: of the last one.
    pub finish_reason: FinishReason,
    /// Where several agents took part: each call of one, in the order of their ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// One call of one agent within an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The agent.
    pub agent: String,
    /// Its model.
    pub model: String,
    /// What it cost.
    pub usage: Usage,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// Tokens, as the providers counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Read by the models.
    pub input_tokens: u64,
    /// Written by them.
    pub output_tokens: u64,
    /// Of those read, so many came from a cache of the provider's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_input_tokens: u64,
    /// Of those written, so many were thought and not said.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning_tokens: u64,
    /// Answers that were paid for.
    pub requests: u64,
    /// Of these, so many came without a count: the sums are too low by them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uncounted: u64,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It was finished, or came to one of the stops.
    #[default]
    Stop,
    /// It was as long as it may be: it is cut.
    Length,
    /// The provider would not let it go on.
    ContentFilter,
    /// Something else.
    #[serde(other)]
    Other,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let pairs = [
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cached_input_tokens, other.cached_input_tokens),
            (&mut self.reasoning_tokens, other.reasoning_tokens),
            (&mut self.requests, other.requests),
            (&mut self.uncounted, other.uncounted),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, usage| {
            sum += usage;
            sum
        })
    }
}

impl Answer {
    /// The calls that it is made of: its parts, or itself as one of `agent`'s.
    pub fn to_parts(&self, agent: &str) -> Vec<Part> {
        if !self.parts.is_empty() {
            return self.parts.clone();
        }
        let model = self.model.clone();
        let Self { usage, finish_reason, .. } = *self;
        vec![Part { agent: agent.to_owned(), model, usage, finish_reason }]
    }

    /// The same, read as JSON if that was asked for.
    ///
    /// # Errors
    /// When it is none: the next try may be better.
    pub(super) fn read_as(mut self, parameters: &Parameters) -> Result<Self, AgentError> {
        if parameters.wants_json() {
            let cut = self.finish_reason == FinishReason::Length;
            let why = if cut { ", and it is cut: raise max_tokens" } else { "" };
            let read = json(&self.text);
            let read =
                read.ok_or_else(|| AgentError::unavailable(format!("the answer is no JSON{why}")))?;
            self.json = Some(read);
        }
        Ok(self)
    }
}

impl fmt::Debug for Answer {
    /// Without a word of what was said: that belongs to the tenant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, usage, finish_reason, .. } = self;
        let mut said = f.debug_struct("Answer");
        said.field("model", model).field("usage", usage).field("finish_reason", finish_reason);
        said.finish_non_exhaustive()
    }
}

/// The JSON value that a text is: all of it, or what is within its one fence, which models like to put around it.
fn json(text: &str) -> Option<Value> {
    let text = text.trim();
    serde_json::from_str(text).ok().or_else(|| {
        let inner = text.strip_prefix("```")?.strip_suffix("```")?;
        let inner = inner.strip_prefix("json").unwrap_or(inner);
        serde_json::from_str(inner).ok()
    })
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::call::JsonWanted;
    use serde_json::json;

    #[test]
    fn json_is_read_where_it_was_asked_for() {
        let wants = Parameters { json: Some(JsonWanted::Any(true)), ..Parameters::default() };
        let answer = |text: &str| Answer { text: text.to_owned(), ..Answer::default() };
        let table = [
            (r#"{"a": 1}"#, Some(json!({"a": 1}))),
            ("\n```json\n[1]\n```\n", Some(json!([1]))),
            ("```\n\"x\"\n```", Some(json!("x"))),
            ("Here it is: {}", None),
            ("", None),
        ];
        for (text, value) in table {
            assert_eq!(answer(text).read_as(&wants).ok().map(|a| a.json.unwrap()), value, "{text}");
            assert!(answer(text).read_as(&Parameters::default()).is_ok_and(|a| a.json.is_none()));
        }
        let cut = Answer { finish_reason: FinishReason::Length, ..answer("{") };
        assert!(cut.read_as(&wants).is_err_and(|error| error.to_string().contains("max_tokens")));
    }

    #[test]
    fn usage_sums_up_and_what_is_zero_is_not_said() {
        let one = Usage { input_tokens: 3, output_tokens: 4, requests: 1, ..Usage::default() };
        let sum: Usage = [one, one, Usage { uncounted: 1, ..Usage::default() }].into_iter().sum();

        let said = json!({"input_tokens": 6, "output_tokens": 8, "requests": 2, "uncounted": 1});
        assert_eq!(serde_json::to_value(sum).unwrap(), said);
    }
}
