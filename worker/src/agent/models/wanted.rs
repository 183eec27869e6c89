//! What is asked of a model, before it is put into the words of an interface. Pure.

use serde_json::{Value, json};

use crate::agent::call::{Input, JsonWanted, Message, Parameters, Role};

/// One question.
pub(super) struct Wanted<'a> {
    pub(super) model: &'a str,
    /// What the agent is told, and what is asked of its form.
    pub(super) system: Option<String>,
    pub(super) messages: &'a [Message],
    pub(super) parameters: &'a Parameters,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(
        model: &'a str,
        system: Option<&str>,
        input: &'a Input,
        parameters: &'a Parameters,
    ) -> Self {
        // Also where the interface has a way to say it: some servers take no notice of that, and OpenAI's wants both.
        let form = match &parameters.json {
            None | Some(JsonWanted::Any(false)) => None,
            Some(JsonWanted::Any(true)) => {
                Some("Answer with one JSON value and nothing else.".to_owned())
            }
            Some(JsonWanted::Schema(schema)) => Some(format!(
                "Answer with one JSON value of this JSON Schema and nothing else: {}",
                Value::Object(schema.clone())
            )),
        };
        let told: Vec<_> = system.map(str::to_owned).into_iter().chain(form).collect();
        let system = (!told.is_empty()).then(|| told.join("\n\n"));
        Self { model, system, messages: input.messages(), parameters }
    }

    /// The messages, with the system's first.
    pub(super) fn conversation(&self) -> Vec<Value> {
        let system = self.system.iter().map(|system| json!({"role": "system", "content": system}));
        let said = self.messages.iter().map(|Message { role, content }| {
            let role = match role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            json!({"role": role, "content": content})
        });
        system.chain(said).collect()
    }
}

/// Puts what was said of a parameter into a body.
pub(super) fn put(body: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body[name] = value.into();
    }
}

/// Texts, unless there are none.
pub(super) fn texts(texts: &[String]) -> Option<Value> {
    (!texts.is_empty()).then(|| texts.into())
}
