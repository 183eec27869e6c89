//! Anthropic's messages. Pure.

use serde_json::{Value, json};

use super::wanted::{Wanted, put, texts};
use super::{Heard, failure};
use crate::agent::answer::{FinishReason, Usage};
use crate::agent::call::{Message, Role};
use crate::agent::error::AgentError;

/// The version of the interface, which it asks to be told.
pub(super) const VERSION: &str = "2023-06-01";
/// It wants a limit. All of its models can say that much.
const MAX_TOKENS: u32 = 4096;

pub(super) fn body(wanted: &Wanted<'_>) -> Value {
    let parameters = wanted.parameters;
    // Its conversations are between two: what a system says in between is told at the beginning.
    let is_system = |message: &&Message| message.role == Role::System;
    let inner = wanted.messages.iter().filter(is_system).map(|message| message.content.clone());
    let system: Vec<_> = wanted.system.clone().into_iter().chain(inner).collect();
    let messages = wanted.messages.iter().filter(|message| message.role != Role::System);
    let messages: Vec<_> = messages
        .map(|Message { role, content }| json!({"role": role, "content": content}))
        .collect();
    let mut body = json!({
        "model": wanted.model,
        "messages": messages,
        "max_tokens": parameters.max_tokens.unwrap_or(MAX_TOKENS),
        "stream": true,
    });
    put(&mut body, "system", (!system.is_empty()).then(|| system.join("\n\n")));
    put(&mut body, "temperature", parameters.temperature);
    put(&mut body, "top_p", parameters.top_p);
    put(&mut body, "stop_sequences", texts(&parameters.stop));
    body
}

/// Takes one event, and answers what it says.
pub(super) fn read(heard: &mut Heard, event: &str) -> Result<String, AgentError> {
    let event = failure::json(event)?;
    match event.get("type").and_then(Value::as_str).unwrap_or_default() {
        "error" => return Err(failure::said(event.get("error").unwrap_or(&event))),
        "message_start" => count(heard, event.pointer("/message/usage")),
        "message_delta" => {
            count(heard, event.get("usage"));
            if let Some(reason) = event.pointer("/delta/stop_reason").and_then(Value::as_str) {
                heard.finish = Some(match reason {
                    "end_turn" | "stop_sequence" => FinishReason::Stop,
                    "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
                    "refusal" => FinishReason::ContentFilter,
                    _ => FinishReason::Other,
                });
            }
        }
        "message_stop" => heard.is_over = true,
        "content_block_delta" => {
            let text = event.pointer("/delta/text").and_then(Value::as_str);
            return Ok(text.unwrap_or_default().to_owned());
        }
        // More kinds may come: it says that clients have to pass over them.
        _ => {}
    }
    Ok(String::new())
}

/// Counts are of the whole answer so far, and each event has some of them.
fn count(heard: &mut Heard, usage: Option<&Value>) {
    let Some(usage) = usage else { return };
    let count = |name: &str| usage.get(name).and_then(Value::as_u64);
    let counted = heard.usage.get_or_insert_default();
    if let Some(read) = count("input_tokens") {
        // What came from its cache, or went into it, is not among those.
        let cached = count("cache_read_input_tokens").unwrap_or(0);
        let kept = count("cache_creation_input_tokens").unwrap_or(0);
        *counted = Usage {
            input_tokens: read.saturating_add(cached).saturating_add(kept),
            cached_input_tokens: cached,
            ..*counted
        };
    }
    counted.output_tokens = count("output_tokens").unwrap_or(counted.output_tokens);
}
