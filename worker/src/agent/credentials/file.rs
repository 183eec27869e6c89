//! Credentials read: from a file that only its owner can read, or from the variables that providers' own clients use.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{ApiKey, Dialect, Provider, WorkerCredentials};
use crate::agent::call::{NAME_MAX, Parameters};

/// Largest file, in bytes: some hundred overrides and a dozen providers are a few kilobytes.
const FILE_MAX: u64 = 256 * 1024;
/// Most providers of a worker.
const PROVIDERS_MAX: usize = 64;
/// Most overrides.
const OVERRIDES_MAX: usize = 1_000;
/// Longest name of a provider. It stands before the model's, so it has no slash.
const PROVIDER_NAME_MAX: usize = 64;

/// Why there are no credentials. Says no value: it may be a key.
#[derive(Debug, thiserror::Error)]
pub enum BadCredentials {
    /// Look at its rights, and those of its folder.
    #[error("{}: {source}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// Others may have read the keys.
    #[error("{} may be read or written by others (mode {mode:o}): chmod 600", file.display())]
    Exposed {
        /// Which file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It says something else than it may.
    #[error("{0}")]
    Malformed(String),
    /// The environment names no provider.
    #[error(
        "no provider of models: name them in a file (--agent-credentials), or set OPENAI_API_KEY, OPENAI_BASE_URL, \
         ANTHROPIC_API_KEY or OLLAMA_HOST"
    )]
    NoProvider,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    model_overrides: BTreeMap<String, String>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(default)]
    providers: BTreeMap<String, WrittenProvider>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenProvider {
    kind: Option<Dialect>,
    api_base: Option<String>,
    api_key: Option<ApiKey>,
    api_key_env: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

impl WorkerCredentials {
    /// Reads a file that only its owner can read. `environment` has the keys that the file names by a variable.
    ///
    /// # Errors
    /// When it cannot be read, others can read it, or it says something else than it may.
    pub fn load(
        file: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, BadCredentials> {
        let io_at = |source| BadCredentials::Io { file: file.to_owned(), source };
        let opened = File::open(file).map_err(io_at)?;
        // Of the open file, not of the path, which may be another file by now.
        let mode = opened.metadata().map_err(io_at)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(BadCredentials::Exposed { file: file.to_owned(), mode });
        }
        let mut text = Zeroizing::new(String::new());
        opened.take(FILE_MAX + 1).read_to_string(&mut text).map_err(io_at)?;
        if text.len() as u64 > FILE_MAX {
            return Err(malformed(&format!("{}: more than {FILE_MAX} bytes", file.display())));
        }
        Self::parse(&text, environment)
            .map_err(|error| malformed(&format!("{}: {error}", file.display())))
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// When it says something else than it may.
    pub fn parse(
        text: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, BadCredentials> {
        let written: Written =
            toml::from_str(text).map_err(|error| malformed(&place(text, &error)))?;
        let Written { model_overrides: overrides, parameters, providers } = written;
        parameters.check().map_err(|why| malformed(&format!("parameters: {why}")))?;
        if overrides.len() > OVERRIDES_MAX || providers.len() > PROVIDERS_MAX {
            let most = format!("at most {OVERRIDES_MAX} overrides and {PROVIDERS_MAX} providers");
            return Err(malformed(&most));
        }
        if overrides.iter().any(|(asked, local)| !is_name(asked) || !is_name(local)) {
            return Err(malformed(&format!(
                "model_overrides: a model is a text of 1 to {NAME_MAX} characters"
            )));
        }
        if providers.is_empty() {
            return Err(malformed("it names no provider: [providers.NAME]"));
        }
        let read = |(name, written): (String, WrittenProvider)| {
            let provider = written.read(&name, &environment);
            let provider =
                provider.map_err(|why| malformed(&format!("providers.{name}: {why}")))?;
            Ok((name, Arc::new(provider)))
        };
        let providers = providers.into_iter().map(read).collect::<Result<_, BadCredentials>>()?;
        Ok(Self { overrides, parameters, providers })
    }

    /// The providers that the environment names in the variables that their own clients read: `OPENAI_API_KEY`,
    /// `OPENAI_BASE_URL`, `ANTHROPIC_API_KEY`, `ANTHROPIC_BASE_URL`, `OLLAMA_HOST`.
    ///
    /// # Errors
    /// When there is none, or an address is no URL.
    pub fn from_environment(
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, BadCredentials> {
        let get = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
        let ollama = get("OLLAMA_HOST").map(|host| match host.rsplit_once(':') {
            Some(_) if host.contains("://") => host,
            Some(_) => format!("http://{host}"),
            None => format!("http://{host}:11434"),
        });
        let known = [
            (Dialect::OpenAi, get("OPENAI_API_KEY"), get("OPENAI_BASE_URL")),
            (Dialect::Anthropic, get("ANTHROPIC_API_KEY"), get("ANTHROPIC_BASE_URL")),
            (Dialect::Ollama, None, ollama),
        ];
        let mut providers = BTreeMap::new();
        for (dialect, key, base) in known {
            if key.is_none() && base.is_none() {
                continue;
            }
            let name = dialect.as_str();
            let base = base_of(dialect, base.as_deref());
            let base = base.map_err(|why| malformed(&format!("the address of {name}: {why}")))?;
            let key = key.map(|key| ApiKey::new(&Zeroizing::new(key)));
            let provider = Provider { dialect, base, key, parameters: Parameters::default() };
            providers.insert(name.to_owned(), Arc::new(provider));
        }
        if providers.is_empty() {
            return Err(BadCredentials::NoProvider);
        }
        Ok(Self { overrides: BTreeMap::new(), parameters: Parameters::default(), providers })
    }
}

impl WrittenProvider {
    fn read(
        self,
        name: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Provider, String> {
        if !is_provider_name(name) {
            return Err(format!(
                "a provider's name has 1 to {PROVIDER_NAME_MAX} of a-z, 0-9, `.`, `_` and `-`"
            ));
        }
        let dialect = self.kind.or_else(|| Dialect::named(name));
        let dialect = dialect.ok_or("say its kind: openai, anthropic or ollama")?;
        let base = base_of(dialect, self.api_base.as_deref())?;
        let key = match (self.api_key, self.api_key_env) {
            (Some(_), Some(_)) => return Err("api_key or api_key_env, not both".to_owned()),
            (key @ Some(_), None) => key,
            (None, Some(variable)) => {
                let key = environment(&variable).map(Zeroizing::new);
                let key = key.ok_or_else(|| format!("the variable {variable} is not set"))?;
                Some(ApiKey::new(&key))
            }
            (None, None) => None,
        };
        // What no header takes would be found out only by the first task.
        let is_sendable = |key: &ApiKey| {
            !key.expose().is_empty() && key.expose().bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !key.as_ref().is_none_or(is_sendable) {
            return Err("its key is empty, or has characters that no header takes".to_owned());
        }
        self.parameters.check().map_err(|why| format!("parameters: {why}"))?;
        Ok(Provider { dialect, base, key, parameters: self.parameters })
    }
}

/// Where a provider is: `http://HOST` stands for `http://HOST/v1` where its interface has a version in its path.
fn base_of(dialect: Dialect, given: Option<&str>) -> Result<Url, String> {
    let wanted = "its address is http://HOST... or https://HOST..., without query";
    let given = given.unwrap_or(dialect.default_base());
    let mut url = Url::parse(given.trim()).map_err(|_| wanted)?;
    let is_plain = url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
        return Err(wanted.to_owned());
    }
    let path = url.path().trim_end_matches('/');
    let path = match (dialect, path) {
        (Dialect::Ollama, path) => path.strip_suffix("/v1").unwrap_or(path).to_owned(),
        (_, "") => "/v1".to_owned(),
        (_, path) => path.to_owned(),
    };
    url.set_path(&format!("{path}/"));
    Ok(url)
}

fn is_name(name: &str) -> bool {
    !name.trim().is_empty()
        && name.chars().count() <= NAME_MAX
        && !name.chars().any(char::is_control)
}

fn is_provider_name(name: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=PROVIDER_NAME_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// The line, and the parser's words where they name a field: others may quote a key.
fn place(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let said = error.message();
    let said = if said.starts_with("unknown field") { said } else { "not what stands there" };
    format!("line {line}: {said}")
}

fn malformed(why: &str) -> BadCredentials {
    BadCredentials::Malformed(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const KEY: &str = "sk-canary";

    type Variable = (&'static str, &'static str);

    fn environment(name: &str) -> Option<String> {
        (name == "VLLM_KEY").then(|| format!("{KEY}\n"))
    }

    #[test]
    fn file_says_where_models_are_and_with_which_key() {
        let text = r#"
            [model_overrides]
            default = "ollama/llama3.2"
            [parameters]
            max_tokens = 20
            [providers.ollama]
            [providers.anthropic]
            api_key = "sk-canary"
            [providers.vllm]
            kind = "openai"
            api_base = "http://h:8000"
            api_key_env = "VLLM_KEY"
            parameters = { temperature = 0.5 }
        "#;

        let read = WorkerCredentials::parse(text, environment).unwrap();

        assert_eq!(read.providers().collect::<Vec<_>>(), ["anthropic", "ollama", "vllm"]);
        assert_eq!(read.model_override("anything"), Some("ollama/llama3.2"));
        assert_eq!(read.parameters().max_tokens, Some(20));
        let vllm = read.provider("vllm").unwrap();
        assert_eq!(
            (vllm.dialect(), vllm.api_base().as_str()),
            (Dialect::OpenAi, "http://h:8000/v1/")
        );
        assert_eq!(vllm.api_key().map(ApiKey::expose), Some(KEY));
        assert_eq!(vllm.parameters().temperature, Some(0.5));
        let ollama = read.provider("ollama").unwrap();
        assert_eq!(ollama.api_base().as_str(), "http://127.0.0.1:11434/");
        assert!(ollama.api_key().is_none());
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_of_a_value_is_said() {
        let table = [
            ("", "no provider"),
            ("[providers.x]", "say its kind"),
            ("[providers.Open]\nkind = \"openai\"", "name"),
            ("[providers.openai]\napi_kee = \"sk-canary\"", "line 2: unknown field `api_kee`"),
            ("[providers]\nopenai = \"sk-canary\"", "line 2"),
            ("[providers.openai]\napi_key = [\"sk-canary\"]", "line 2"),
            ("[providers.openai]\napi_key = \"sk-canary", "line 2"),
            ("[providers.openai]\napi_key = \"\"", "its key is empty"),
            ("[providers.openai]\napi_key = \"sk-canary x\"", "no header"),
            ("[providers.openai]\napi_key_env = \"NONE\"", "NONE is not set"),
            ("[providers.openai]\napi_key = \"sk-canary\"\napi_key_env = \"X\"", "not both"),
            ("[providers.openai]\napi_base = \"ftp://sk-canary\"", "http://HOST"),
            ("[providers.openai]\napi_base = \"http://h/?key=sk-canary\"", "http://HOST"),
            ("[parameters]\ntop_p = 2\n[providers.openai]", "top_p is 0 to 1"),
            ("[model_overrides]\ndefault = \"\"\n[providers.openai]", "model_overrides"),
        ];
        for (text, words) in table {
            let said = WorkerCredentials::parse(text, environment).err().expect(text).to_string();
            assert!(said.contains(words), "{text}: {said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agents.toml");
        std::fs::write(&file, "[providers.ollama]").unwrap();
        let chmod = |mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        };

        chmod(0o640);
        let said = WorkerCredentials::load(&file, |_| None).err().unwrap().to_string();
        assert!(said.contains("chmod 600"), "{said}");
        chmod(0o600);
        assert!(WorkerCredentials::load(&file, |_| None).is_ok());
    }

    #[test]
    fn environment_names_providers_as_their_own_clients_read_it() {
        let table: [(&[Variable], &[&str]); 7] = [
            (&[("OPENAI_API_KEY", "k")], &["https://api.openai.com/v1/"]),
            (&[("OPENAI_BASE_URL", "http://h:1/api/v3/")], &["http://h:1/api/v3/"]),
            (
                &[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_BASE_URL", "http://h:2")],
                &["http://h:2/v1/"],
            ),
            (&[("OLLAMA_HOST", "10.0.0.1:99")], &["http://10.0.0.1:99/"]),
            (&[("OLLAMA_HOST", "10.0.0.1")], &["http://10.0.0.1:11434/"]),
            (&[("OLLAMA_HOST", "http://h:7/v1/")], &["http://h:7/"]),
            (&[("OPENAI_API_KEY", " "), ("OLLAMA_HOST", "")], &[]),
        ];
        for (variables, bases) in table {
            let get = |name: &str| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            };
            let read = WorkerCredentials::from_environment(get);
            let found: Vec<String> = read.map_or(Vec::new(), |read| {
                read.providers.values().map(|p| p.base.to_string()).collect()
            });
            assert_eq!(found, bases, "{variables:?}");
        }
    }
}
