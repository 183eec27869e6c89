//! Ollama's chat. Pure.

use serde_json::{Value, json};

use super::wanted::{Wanted, put, texts};
use super::{Heard, failure};
use crate::agent::answer::{FinishReason, Usage};
use crate::agent::call::JsonWanted;
use crate::agent::error::AgentError;

pub(super) fn body(wanted: &Wanted<'_>) -> Value {
    let parameters = wanted.parameters;
    let mut options = json!({});
    put(&mut options, "num_predict", parameters.max_tokens);
    put(&mut options, "temperature", parameters.temperature);
    put(&mut options, "top_p", parameters.top_p);
    put(&mut options, "seed", parameters.seed);
    put(&mut options, "stop", texts(&parameters.stop));
    let mut body = json!({
        "model": wanted.model,
        "messages": wanted.conversation(),
        "stream": true,
        "options": options,
    });
    put(
        &mut body,
        "format",
        match &parameters.json {
            None | Some(JsonWanted::Any(false)) => None,
            Some(JsonWanted::Any(true)) => Some(json!("json")),
            Some(JsonWanted::Schema(schema)) => Some(Value::Object(schema.clone())),
        },
    );
    body
}

/// Takes one line, and answers what it says.
pub(super) fn read(heard: &mut Heard, line: &str) -> Result<String, AgentError> {
    let line = failure::json(line)?;
    if let Some(error) = line.get("error") {
        return Err(failure::said(error));
    }
    if line.get("done").and_then(Value::as_bool) == Some(true) {
        heard.is_over = true;
        heard.finish = Some(match line.get("done_reason").and_then(Value::as_str) {
            None | Some("stop") => FinishReason::Stop,
            Some("length") => FinishReason::Length,
            Some(_) => FinishReason::Other,
        });
        let count = |name: &str| line.get(name).and_then(Value::as_u64);
        // A prompt that it remembers whole is not counted again.
        heard.usage = count("eval_count").map(|output_tokens| Usage {
            input_tokens: count("prompt_eval_count").unwrap_or(0),
            output_tokens,
            ..Usage::default()
        });
    }
    let text = line.pointer("/message/content").and_then(Value::as_str);
    Ok(text.unwrap_or_default().to_owned())
}
