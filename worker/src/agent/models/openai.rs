//! OpenAI's chat completions. Pure.

use reqwest::Url;
use serde_json::{Value, json};

use super::wanted::{Wanted, put, texts};
use super::{Heard, failure};
use crate::agent::answer::{FinishReason, Usage};
use crate::agent::call::JsonWanted;
use crate::agent::error::AgentError;

pub(super) fn body(wanted: &Wanted<'_>, base: &Url) -> Value {
    let parameters = wanted.parameters;
    let mut body = json!({
        "model": wanted.model,
        "messages": wanted.conversation(),
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    // OpenAI itself gave up the older name, and its newer models refuse it; most others know only that one.
    let is_openai = base.host_str().is_some_and(|host| host.ends_with("openai.com"));
    let limit = if is_openai { "max_completion_tokens" } else { "max_tokens" };
    put(&mut body, limit, parameters.max_tokens);
    put(&mut body, "temperature", parameters.temperature);
    put(&mut body, "top_p", parameters.top_p);
    put(&mut body, "seed", parameters.seed);
    put(&mut body, "stop", texts(&parameters.stop));
    put(
        &mut body,
        "response_format",
        match &parameters.json {
            None | Some(JsonWanted::Any(false)) => None,
            Some(JsonWanted::Any(true)) => Some(json!({"type": "json_object"})),
            Some(JsonWanted::Schema(schema)) => {
                let schema = json!({"name": "answer", "schema": schema});
                Some(json!({"type": "json_schema", "json_schema": schema}))
            }
        },
    );
    body
}

/// Takes one event, and answers what it says.
pub(super) fn read(heard: &mut Heard, event: &str) -> Result<String, AgentError> {
    if event == "[DONE]" {
        heard.is_over = true;
        return Ok(String::new());
    }
    let event = failure::json(event)?;
    if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
        return Err(failure::said(error));
    }
    if let Some(usage) = event.get("usage").filter(|usage| usage.is_object()) {
        let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        heard.usage = Some(Usage {
            input_tokens: count("/prompt_tokens"),
            output_tokens: count("/completion_tokens"),
            cached_input_tokens: count("/prompt_tokens_details/cached_tokens"),
            reasoning_tokens: count("/completion_tokens_details/reasoning_tokens"),
            ..Usage::default()
        });
    }
    let Some(choice) = event.pointer("/choices/0") else { return Ok(String::new()) };
    if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
        heard.finish = Some(match reason {
            "stop" => FinishReason::Stop,
            "length" => FinishReason::Length,
            "content_filter" => FinishReason::ContentFilter,
            _ => FinishReason::Other,
        });
    }
    let text = choice.pointer("/delta/content").and_then(Value::as_str);
    Ok(text.unwrap_or_default().to_owned())
}
