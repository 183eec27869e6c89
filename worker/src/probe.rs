//! Looks whether the models of a worker are there: asks their endpoints, and tells the control plane with the heartbeats.
//!
//! The worker asks, never the control plane: a URL that a worker or tenant supplied is not fetched by a server.

mod answer;

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetward_wire::Secret;
use fleetward_wire::workers::{EndpointKind, EndpointSeen, ModelsSeen};
use futures_util::future::join_all;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Url, redirect};

use crate::clock::{Clock, Moment};
use crate::transport::TransportError;

/// How often endpoints are asked, unless somebody says otherwise.
pub(crate) const EVERY: Duration = Duration::from_secs(30);
/// An endpoint that takes longer to name its models is no use for a task.
const WITHIN: Duration = Duration::from_secs(5);
/// Most endpoints of a worker.
pub const PROBES_MAX: usize = 16;

/// An endpoint whose models a worker uses.
///
/// As text: `ollama=URL` or `openai=URL`, and with an API key from the environment variable `NAME`, `openai:NAME=URL`.
#[derive(Clone)]
pub struct Probe {
    kind: EndpointKind,
    url: Url,
    key_env: Option<String>,
    key: Option<Secret>,
}

impl Probe {
    /// An endpoint at `url`, of a server of this kind.
    ///
    /// # Errors
    /// When the URL is none of HTTP.
    pub fn new(kind: EndpointKind, url: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Self { kind, url, key_env: None, key: None }),
            _ => Err("a probe's URL is http://HOST or https://HOST".to_owned()),
        }
    }

    /// The same, asked with an API key (a bearer token).
    #[must_use]
    pub fn with_key(mut self, key: Secret) -> Self {
        self.key = Some(key);
        self
    }

    /// The same with the key that its text named, as `environment` says it.
    ///
    /// # Errors
    /// When there is no such variable.
    pub fn keyed(mut self, environment: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        if let Some(name) = &self.key_env {
            let key = environment(name).filter(|key| !key.is_empty());
            self.key = Some(key.ok_or_else(|| format!("the variable {name} is not set"))?.into());
        }
        Ok(self)
    }

    /// What people are shown: nothing that may be secret.
    fn name(&self) -> String {
        let mut url = self.url.clone();
        // A URL that has a host takes both.
        let _ = (url.set_username(""), url.set_password(None));
        url.set_query(None);
        url.set_fragment(None);
        url.as_str().trim_end_matches('/').to_owned()
    }

    /// Where it names its models.
    fn list(&self) -> Url {
        let mut url = self.url.clone();
        let has_version = url.path().trim_end_matches('/').ends_with("/v1");
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(match (self.kind, has_version) {
                (EndpointKind::Ollama, _) => &["api", "tags"][..],
                (_, true) => &["models"][..],
                (_, false) => &["v1", "models"][..],
            });
        }
        url
    }
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "a probe is ollama=URL, openai=URL, or openai:VARIABLE=URL";
        let (left, url) = text.split_once('=').ok_or(wanted)?;
        let (kind, variable) = match left.split_once(':') {
            Some((kind, variable)) => (kind, Some(variable.to_owned())),
            None => (left, None),
        };
        let kind = match kind {
            "ollama" => EndpointKind::Ollama,
            "openai" => EndpointKind::OpenAi,
            _ => return Err(wanted.to_owned()),
        };
        Ok(Self { key_env: variable, ..Self::new(kind, url)? })
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe({})", self.name())
    }
}

/// Asks the endpoints of one worker, and keeps what was seen last.
pub(crate) struct Prober {
    probes: Vec<Probe>,
    every: Duration,
    client: Client,
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone)]
struct Seen {
    endpoints: Arc<Vec<EndpointSeen>>,
    round: u64,
    at: Moment,
}

impl Prober {
    /// None where there is nothing to ask.
    pub(crate) fn new(probes: Vec<Probe>, every: Duration) -> Result<Option<Self>, TransportError> {
        let unusable =
            |detail: String| TransportError::Refused { code: "unusable".to_owned(), detail };
        if probes.is_empty() {
            return Ok(None);
        }
        if probes.len() > PROBES_MAX {
            return Err(unusable(format!("a worker has at most {PROBES_MAX} probes")));
        }
        let client = Client::builder()
            .user_agent(concat!("fleetward-worker/", env!("CARGO_PKG_VERSION")))
            // A redirect would send the key to whoever is named in it.
            .redirect(redirect::Policy::none())
            .timeout(WITHIN)
            .build()
            .map_err(|error| unusable(format!("no HTTP client: {error}")))?;
        Ok(Some(Self { probes, every, client, seen: Mutex::new(None) }))
    }

    /// Asks all endpoints once, at the same time.
    pub(crate) async fn look(&self, clock: &Clock) {
        let endpoints = join_all(self.probes.iter().map(|probe| self.ask(probe, clock))).await;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (n, endpoint) in endpoints.iter().enumerate() {
            let was = seen.as_ref().and_then(|seen| seen.endpoints.get(n));
            if was.is_none_or(|was| was.available != endpoint.available) {
                let EndpointSeen { endpoint, available, error, .. } = endpoint;
                tracing::info!(endpoint, available, error, "model endpoint");
            }
        }
        let round = seen.as_ref().map_or(1, |seen| seen.round + 1);
        *seen = Some(Seen { endpoints: Arc::new(endpoints), round, at: clock.now() });
    }

    /// Asks again and again, for ever.
    pub(crate) async fn run(&self, clock: &Clock) {
        loop {
            tokio::time::sleep(self.every).await;
            self.look(clock).await;
        }
    }

    /// What is told with a heartbeat.
    pub(crate) fn words(&self, clock: &Clock) -> Option<ModelsSeen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(ModelsSeen {
            round: seen.round,
            age_seconds: clock.now().saturating_since(seen.at).as_secs_f64(),
            endpoints: seen.endpoints.to_vec(),
        })
    }

    async fn ask(&self, probe: &Probe, clock: &Clock) -> EndpointSeen {
        let began = clock.now();
        let answered = self.models(probe).await;
        let latency = clock.now().saturating_since(began);
        let (models, error) = match answered {
            Ok(models) => (models, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        EndpointSeen {
            kind: probe.kind,
            endpoint: probe.name(),
            available: error.is_none(),
            latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            models,
            error,
        }
    }

    async fn models(&self, probe: &Probe) -> Result<Vec<String>, String> {
        let mut request = self.client.get(probe.list());
        if let Some(key) = &probe.key {
            let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
            let mut value = value.map_err(|_| "its key has what no header takes".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        answer::models(probe.kind, request.send().await).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_models_is_asked_for_where_its_kind_has_it() {
        let table = [
            ("ollama=http://127.0.0.1:11434", "http://127.0.0.1:11434/api/tags"),
            ("openai=http://h:8000", "http://h:8000/v1/models"),
            ("openai=https://h/base/v1/", "https://h/base/v1/models"),
            ("openai:KEY=https://h/v1", "https://h/v1/models"),
        ];
        for (text, url) in table {
            assert_eq!(text.parse::<Probe>().unwrap().list().as_str(), url, "{text}");
        }
        for wrong in ["", "ollama", "vllm=http://h", "openai=ftp://h", "openai=nonsense"] {
            assert!(wrong.parse::<Probe>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_secret_of_an_endpoint_is_shown() {
        let probe: Probe = "openai:KEY=https://user:secret@h/v1?token=secret".parse().unwrap();
        let probe = probe.keyed(|name| (name == "KEY").then(|| "secret".to_owned())).unwrap();

        assert_eq!(probe.name(), "https://h/v1");
        assert!(!format!("{probe:?}").contains("secret"));
        let missing: Probe = "openai:OTHER=https://h".parse().unwrap();
        assert!(missing.keyed(|_| None).unwrap_err().contains("OTHER"));
    }
}
