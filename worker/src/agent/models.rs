//! Models asked over HTTP: sent, read as it comes, tried again where that may help.

mod anthropic;
mod failure;
mod lines;
mod ollama;
mod openai;
#[cfg(test)]
mod tests;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, redirect};

use super::answer::{ANSWER_MAX, Answer, FinishReason, Usage};
use super::call::Input;
use super::credentials::{Dialect, Provider, Target, WorkerCredentials};
use super::error::AgentError;
use crate::backoff::Backoff;
use lines::{Framing, Lines};
use wanted::Wanted;

/// How often a model is asked in all before the task fails.
pub const TRIES: usize = 3;
/// Who is asked to come back later than this gives the seat to another task.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// A server that does not take the connection by then is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Between two pieces of an answer. A local model may have to be read from a disk first.
const SILENT_FOR: Duration = Duration::from_secs(5 * 60);
/// The first window of the waits between tries, and the longest.
const WINDOWS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A worker's models.
pub(crate) struct Models {
    credentials: Arc<WorkerCredentials>,
    http: Client,
}

/// What was heard of an answer so far.
#[derive(Default)]
struct Heard {
    text: String,
    finish: Option<FinishReason>,
    /// None: not counted, or not yet.
    usage: Option<Usage>,
    /// Nothing follows.
    is_over: bool,
}

/// Takes each piece of an answer as it comes.
type OnText<'a> = &'a mut (dyn FnMut(&str) + Send);

/// Takes a message of an answer, and answers what it says.
type Read = fn(&mut Heard, &str) -> Result<String, AgentError>;

impl Models {
    /// The models of these credentials.
    pub(crate) fn of(credentials: WorkerCredentials) -> Result<Self, AgentError> {
        let http = Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_FOR)
            // A key goes where the worker's owner said, and nowhere else.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| AgentError::refused(format_args!("no HTTP client: {error}")))?;
        Ok(Self { credentials: Arc::new(credentials), http })
    }

    pub(crate) fn credentials(&self) -> &Arc<WorkerCredentials> {
        &self.credentials
    }

    /// Asks a model. `on_text` gets what it says as it says it; where it is asked again, from the beginning.
    pub(crate) async fn ask(
        &self,
        target: &Target,
        system: Option<&str>,
        input: &Input,
        on_text: OnText<'_>,
    ) -> Result<Answer, AgentError> {
        let Target { model, parameters, .. } = target;
        let wanted = Wanted::of(model, system, input, parameters);
        let mut waits = Backoff::between(WINDOWS.0, WINDOWS.1);
        let mut tries = 1;
        let heard = loop {
            let error = match self.try_once(target, &wanted, on_text).await {
                Ok(heard) => break heard,
                Err(error) => error,
            };
            let AgentError::Unavailable { retry_after, .. } = &error else { return Err(error) };
            if tries == TRIES || retry_after.is_some_and(|wait| wait > WAIT_MAX) {
                return Err(error);
            }
            let wait = waits.next(*retry_after);
            tracing::info!(
                provider = target.name,
                tries,
                wait_ms = wait.as_millis() as u64,
                "asks a model again"
            );
            tokio::time::sleep(wait).await;
            tries += 1;
        };
        let usage = match heard.usage {
            Some(usage) => Usage { requests: 1, ..usage },
            None => Usage { requests: 1, uncounted: 1, ..Usage::default() },
        };
        let answer = Answer {
            text: heard.text,
            model: format!("{}/{model}", target.name),
            usage,
            finish_reason: heard.finish.unwrap_or_default(),
            ..Answer::default()
        };
        answer.read_as(parameters)
    }

    async fn try_once(
        &self,
        target: &Target,
        wanted: &Wanted<'_>,
        on_text: OnText<'_>,
    ) -> Result<Heard, AgentError> {
        let tried = async {
            let sent = self.request(&target.provider, wanted)?.send().await;
            let response = sent.map_err(|error| failure::lost(&error))?;
            if !response.status().is_success() {
                return Err(failure::answered(response).await);
            }
            hear(response, target.provider.dialect(), on_text).await
        };
        let said = tried.await;
        said.map_err(|error| error.without(target.provider.api_key()).of(&target.name))
    }

    fn request(
        &self,
        provider: &Provider,
        wanted: &Wanted<'_>,
    ) -> Result<RequestBuilder, AgentError> {
        let base = provider.api_base();
        let (path, body) = match provider.dialect() {
            Dialect::OpenAi => ("chat/completions", openai::body(wanted, base)),
            Dialect::Anthropic => ("messages", anthropic::body(wanted)),
            Dialect::Ollama => ("api/chat", ollama::body(wanted)),
        };
        let url = base.join(path).map_err(|_| AgentError::refused("its address is no base"))?;
        let mut request = self.http.post(url).json(&body);
        let is_anthropic = provider.dialect() == Dialect::Anthropic;
        if is_anthropic {
            request = request.header("anthropic-version", anthropic::VERSION);
        }
        if let Some(key) = provider.api_key() {
            let (name, value) = match is_anthropic {
                true => (HeaderName::from_static("x-api-key"), HeaderValue::from_str(key.expose())),
                false => {
                    (AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {}", key.expose())))
                }
            };
            let mut value = value.map_err(|_| AgentError::refused("no header takes its key"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        Ok(request)
    }
}

/// Reads an answer to its end.
async fn hear(
    mut response: Response,
    dialect: Dialect,
    on_text: OnText<'_>,
) -> Result<Heard, AgentError> {
    let (framing, read): (_, Read) = match dialect {
        Dialect::OpenAi => (Framing::Events, openai::read),
        Dialect::Anthropic => (Framing::Events, anthropic::read),
        Dialect::Ollama => (Framing::Lines, ollama::read),
    };
    let (mut lines, mut heard) = (Lines::new(framing), Heard::default());
    while !heard.is_over {
        let chunk = response.chunk().await.map_err(|error| failure::lost(&error))?;
        let has_more = chunk.is_some();
        for message in lines.push(chunk.as_deref())? {
            let said = read(&mut heard, &message)?;
            if heard.text.len() + said.len() > ANSWER_MAX {
                return Err(AgentError::refused(format_args!(
                    "the answer has more than {ANSWER_MAX} bytes: set max_tokens"
                )));
            }
            if !said.is_empty() {
                heard.text.push_str(&said);
                on_text(&said);
            }
            if heard.is_over {
                break;
            }
        }
        if !has_more {
            break;
        }
    }
    // What ends without saying why is cut: it must not pass for a whole answer.
    match heard.finish {
        Some(_) => Ok(heard),
        None => Err(AgentError::unavailable("its answer ended early")),
    }
}
