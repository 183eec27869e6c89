//! What a worker knows of its models and nobody else does: where they are served, with which keys, and which local
//! model stands for the one that is asked for. It never goes to the control plane.

mod file;
mod resolve;

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Url;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::call::Parameters;
pub use file::BadCredentials;
pub(super) use resolve::Target;

/// The interface that a provider has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's chat completions, as vLLM, llama.cpp, LiteLLM and many others serve them too.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Ollama's own.
    Ollama,
}

impl Dialect {
    /// What it is called, as the name of a provider too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Ollama => "ollama",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::OpenAi, Self::Anthropic, Self::Ollama].into_iter().find(|d| d.as_str() == name)
    }

    fn default_base(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1/",
            Self::Anthropic => "https://api.anthropic.com/v1/",
            Self::Ollama => "http://127.0.0.1:11434/",
        }
    }
}

/// A key of a provider. It is not formatted, and wiped when it is dropped.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// Takes a key, without the white space around it.
    pub fn new(key: &str) -> Self {
        Self(Zeroizing::new(key.trim().to_owned()))
    }

    /// The key. Every call of this is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ApiKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&Zeroizing::new(String::deserialize(deserializer)?)))
    }
}

/// Where models are served.
#[derive(Clone)]
pub struct Provider {
    dialect: Dialect,
    /// Ends with a slash.
    base: Url,
    key: Option<ApiKey>,
    parameters: Parameters,
}

impl Provider {
    /// The interface it has.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Where it is. It may hold a password: show it to nobody.
    pub fn api_base(&self) -> &Url {
        &self.base
    }

    /// The key for it.
    pub fn api_key(&self) -> Option<&ApiKey> {
        self.key.as_ref()
    }

    /// What overrides the parameters of every call to it.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

/// A worker's providers, and what it says instead of what calls say.
///
/// As a file (TOML, readable by its owner alone):
///
/// ```toml
/// [model_overrides]           # the model asked for, and what stands for it here
/// "gpt-4o" = "vllm/qwen3-8b"  # PROVIDER/MODEL
/// default = "ollama/llama3.2" # every model that is not named
///
/// [parameters]                # override those of every call
/// max_tokens = 2000
///
/// [providers.ollama]          # named like an interface, it has that one
/// api_base = "http://127.0.0.1:11434"
///
/// [providers.vllm]
/// kind = "openai"             # openai, anthropic or ollama
/// api_base = "http://10.0.0.7:8000/v1"
/// api_key_env = "VLLM_KEY"    # or api_key = "..."
/// parameters = { temperature = 0 }
/// ```
#[derive(Clone)]
pub struct WorkerCredentials {
    overrides: BTreeMap<String, String>,
    parameters: Parameters,
    providers: BTreeMap<String, Arc<Provider>>,
}

impl WorkerCredentials {
    /// The local model that stands for `model`, if one does.
    pub fn model_override(&self, model: &str) -> Option<&str> {
        let named = self.overrides.get(model).or_else(|| self.overrides.get(resolve::DEFAULT));
        named.map(String::as_str)
    }

    /// What overrides the parameters of every call.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// A provider by its name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.get(name).map(Arc::as_ref)
    }

    /// The names of all of them, sorted.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(String::as_str)
    }
}
