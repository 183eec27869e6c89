//! What an agent is asked: the payload of an agent task, and its parts. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longest name of an agent, a model or a provider, in characters.
pub const NAME_MAX: usize = 200;
/// Most messages of a conversation.
pub const MESSAGES_MAX: usize = 1_000;
/// Most texts that end an answer.
pub const STOPS_MAX: usize = 16;

/// A model with instructions. Whoever has several gives each a name.
///
/// Where its model is served, and the key for it, is not its to say: that is what the worker's
/// [credentials](crate::agent::WorkerCredentials) are for.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agent {
    /// What it is called, in progress and in results.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The model; without it the one that the task was submitted with, or else the worker's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The provider, where several of the worker's serve such a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What it is told before everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// How it answers.
    pub parameters: Parameters,
}

/// How a model answers. What is absent is the provider's choice.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// 0 to 2: how much chance there is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// 0 to 1: of which part of the likely words it chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// At most so long an answer; at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Texts before which it ends; at most [`STOPS_MAX`], none empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// What its chance begins with, where the provider lets one say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether it answers in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonWanted>,
}

/// Whether an agent answers in JSON.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum JsonWanted {
    /// Any value, or none at all.
    Any(bool),
    /// A value of this JSON Schema, as far as the provider sees to it; it is not checked again.
    Schema(Map<String, Value>),
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// Whoever asks.
    User,
    /// The model, earlier.
    Assistant,
}

/// One message of a conversation.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// What an agent is asked: a conversation of at least one message.
#[derive(Clone, PartialEq)]
pub struct Input(Vec<Message>);

/// The payload of an agent task.
#[derive(Clone, PartialEq)]
pub struct AgentCall {
    /// Who is asked.
    pub agent: Agent,
    /// What.
    pub input: Input,
}

/// What is wrong with a call, without a word of what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the payload is no agent call: {0}")]
pub struct BadCall(String);

impl AgentCall {
    /// Reads a payload: `{"agent": {...}, "input": ...}`.
    ///
    /// # Errors
    /// When it is another one, or a value is not within its limits.
    pub fn read(payload: &Value) -> Result<Self, BadCall> {
        let wanted = || bad("it has to be {\"agent\": {...}, \"input\": ...}");
        let fields = payload.as_object().ok_or_else(wanted)?;
        if let Some(other) = fields.keys().find(|key| *key != "agent" && *key != "input") {
            return Err(bad(&format!("it has a field {:?}", shortened(other))));
        }
        let agent = fields.get("agent").ok_or_else(wanted)?;
        let agent = Agent::deserialize(agent).map_err(|error| bad(&without_values(&error)))?;
        agent.check()?;
        let input = Input::read(fields.get("input").ok_or_else(wanted)?)?;
        Ok(Self { agent, input })
    }

    /// Whether a payload means to be an agent call: it is an object with a field `agent`.
    pub fn is_meant(payload: &Value) -> bool {
        payload.get("agent").is_some()
    }
}

impl Agent {
    /// An agent of this name, without instructions.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// With this model.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// With these instructions.
    #[must_use]
    pub fn system(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// With these parameters.
    #[must_use]
    pub fn parameters(mut self, parameters: Parameters) -> Self {
        self.parameters = parameters;
        self
    }

    pub(super) fn check(&self) -> Result<(), BadCall> {
        let names = [
            ("name", Some(&self.name)),
            ("model", self.model.as_ref()),
            ("provider", self.provider.as_ref()),
        ];
        for (what, name) in names {
            let name = name.map_or("", String::as_str);
            if name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
                return Err(bad(&format!("agent.{what} has at most {NAME_MAX} characters")));
            }
        }
        if self.model.as_ref().is_some_and(|model| model.trim().is_empty()) {
            return Err(bad("agent.model is empty"));
        }
        self.parameters.check().map_err(|why| bad(&format!("agent.parameters: {why}")))
    }
}

impl Parameters {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let within =
            |value: Option<f64>, most: f64| value.is_none_or(|v| (0.0..=most).contains(&v));
        match () {
            () if !within(self.temperature, 2.0) => Err("temperature is 0 to 2"),
            () if !within(self.top_p, 1.0) => Err("top_p is 0 to 1"),
            () if self.max_tokens == Some(0) => Err("max_tokens is at least 1"),
            () if self.stop.len() > STOPS_MAX => Err("there are at most 16 stops"),
            () if self.stop.iter().any(String::is_empty) => Err("a stop is empty"),
            () => Ok(()),
        }
    }

    /// The same, but what `over` says counts.
    #[must_use]
    pub fn overridden(&self, over: &Self) -> Self {
        Self {
            temperature: over.temperature.or(self.temperature),
            top_p: over.top_p.or(self.top_p),
            max_tokens: over.max_tokens.or(self.max_tokens),
            stop: if over.stop.is_empty() { self.stop.clone() } else { over.stop.clone() },
            seed: over.seed.or(self.seed),
            json: over.json.clone().or_else(|| self.json.clone()),
        }
    }

    /// Whether the answer has to be JSON.
    pub fn wants_json(&self) -> bool {
        !matches!(self.json, None | Some(JsonWanted::Any(false)))
    }
}

impl Input {
    /// A conversation.
    ///
    /// # Errors
    /// When it has no message, or more than [`MESSAGES_MAX`].
    pub fn conversation(messages: Vec<Message>) -> Result<Self, BadCall> {
        match messages.len() {
            1..=MESSAGES_MAX => Ok(Self(messages)),
            _ => Err(bad(&format!("input.messages has 1 to {MESSAGES_MAX} messages"))),
        }
    }

    /// Reads an input: a text; `{"messages": [{"role", "content"}]}`; or any other JSON, which the
    /// agent gets as text.
    ///
    /// # Errors
    /// When its messages are none.
    pub fn read(value: &Value) -> Result<Self, BadCall> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Object(fields) if fields.len() == 1 && fields.contains_key("messages") => {
                let messages = Vec::deserialize(&fields["messages"]);
                let messages = messages.map_err(|_| {
                    bad("input.messages is a list of {\"role\": system|user|assistant, \"content\": TEXT}")
                })?;
                return Self::conversation(messages);
            }
            other => other.to_string(),
        };
        Ok(Self::from(text))
    }

    /// Its messages, the oldest first; at least one.
    pub fn messages(&self) -> &[Message] {
        &self.0
    }

    /// What was asked last.
    pub fn text(&self) -> &str {
        self.0.last().map_or("", |message| &message.content)
    }
}

impl From<String> for Input {
    fn from(content: String) -> Self {
        Self(vec![Message { role: Role::User, content }])
    }
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

fn bad(why: &str) -> BadCall {
    BadCall(why.to_owned())
}

/// The parser's words, unless they quote a value: that is the tenant's.
fn without_values(error: &serde_json::Error) -> String {
    let said = error.to_string();
    match said.starts_with("unknown field") || said.starts_with("missing field") {
        true => format!("agent: {}", shortened(&said)),
        false => "agent: a field has a value of another type than it takes".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn call_is_read_with_each_form_of_input() {
        let table = [
            (json!("hello"), vec!["hello"]),
            (
                json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
                vec!["a", "b"],
            ),
            (json!({"topic": "bees"}), vec![r#"{"topic":"bees"}"#]),
            (json!([1, 2]), vec!["[1,2]"]),
            (json!({"messages": 1, "more": 2}), vec![r#"{"messages":1,"more":2}"#]),
        ];
        for (input, texts) in table {
            let agent = json!({"name": "writer", "model": "gpt-4o", "parameters": {"temperature": 0, "json": true}});
            let call = AgentCall::read(&json!({"agent": agent, "input": input})).unwrap();

            assert_eq!(call.agent.model.as_deref(), Some("gpt-4o"));
            assert!(call.agent.parameters.wants_json());
            let read: Vec<_> = call.input.messages().iter().map(|m| m.content.as_str()).collect();
            assert_eq!(read, texts);
        }
    }

    #[test]
    fn what_is_no_call_is_refused_by_the_name_of_its_fault_and_not_by_its_words() {
        let agent = |agent: Value| json!({"agent": agent, "input": "x"});
        let table = [
            (json!("text"), "has to be"),
            (json!({"input": "x"}), "has to be"),
            (json!({"agent": {}}), "has to be"),
            (json!({"agent": {}, "input": "x", "api_key": "k"}), "\"api_key\""),
            (agent(json!({"api_base": "http://169.254.0.1"})), "unknown field `api_base`"),
            (agent(json!({"model": {"canary": 1}})), "another type"),
            (agent(json!({"model": " "})), "agent.model is empty"),
            (agent(json!({"name": "x".repeat(201)})), "agent.name"),
            (agent(json!({"parameters": {"temperature": 3}})), "temperature is 0 to 2"),
            (agent(json!({"parameters": {"top_p": -1}})), "top_p is 0 to 1"),
            (agent(json!({"parameters": {"max_tokens": 0}})), "max_tokens"),
            (agent(json!({"parameters": {"stop": [""]}})), "a stop is empty"),
            (json!({"agent": {}, "input": {"messages": []}}), "1 to 1000"),
            (
                json!({"agent": {}, "input": {"messages": [{"role": "canary", "content": "x"}]}}),
                "input.messages",
            ),
        ];
        for (payload, words) in table {
            let said = AgentCall::read(&payload).err().expect("refused").to_string();
            assert!(said.contains(words), "{payload}: {said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn what_overrides_counts_and_the_rest_stays() {
        let asked =
            Parameters { temperature: Some(1.0), max_tokens: Some(9), ..Parameters::default() };
        let over = Parameters {
            temperature: Some(0.0),
            stop: vec!["END".into()],
            ..Parameters::default()
        };

        let both = asked.overridden(&over);

        let wanted = Parameters { max_tokens: Some(9), ..over };
        assert!(both == wanted);
    }
}
