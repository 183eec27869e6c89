//! The transport over HTTP: one connection pool, no redirects, every call with an end. It proves who the worker is by
//! task tokens (`tokens.rs`), or by id and secret where the control plane gave it a secret.
//!
//! What an answer means for the worker is decided in `http/answer.rs`.

mod answer;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleetward_wire::Secret;
use fleetward_wire::task_tokens::TaskTokenRequest;
use fleetward_wire::tasks::{
    Checkpoint, Checkpoints, Claim, Claimed, HandBack, Progress, ReadCheckpoints, ReportMany,
    ReportsAnswer,
};
use fleetward_wire::workers::{Heartbeat, HeartbeatAnswer, Register, Registered};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attempt::seconds;
use crate::identity::{Identity, Proof};
use crate::key_pair::KeyPair;
use crate::tls::Tls;
use crate::tokens::{Issue, Issued, Tokens};
use crate::transport::{Transport, TransportError};
use answer::About;

/// A connection that takes longer is not going to be one.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long the answer to a claim may take beyond the poll itself.
const CLAIM_SLACK: Duration = Duration::from_secs(10);
/// And for each further task, whose payload may have a megabyte.
const TASK_SLACK: Duration = Duration::from_secs(1);
/// What a control plane waits when a claim does not say.
const DEFAULT_POLL: Duration = Duration::from_secs(5);
/// A heartbeat that takes longer would come too late to matter.
const HEARTBEAT_WITHIN: Duration = Duration::from_secs(10);
/// Reports carry about a megabyte at most, perhaps over a slow line.
const REPORT_WITHIN: Duration = Duration::from_secs(30);
/// Finds a dead peer before the poll's own deadline does.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Speaks to a control plane as one worker. Cheap to clone: clones share the connections.
#[derive(Clone)]
pub struct HttpTransport {
    client: Client,
    base: Url,
    /// None: the client sends id and secret with everything.
    tokens: Option<Arc<Tokens>>,
}

/// Where a control plane is, and how to make sure of it. A URL alone is one.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its base URL.
    pub server: String,
    /// What differs from usual TLS; with it the URL must be `https`.
    pub tls: Option<Tls>,
}

impl<S: Into<String>> From<S> for Endpoint {
    fn from(server: S) -> Self {
        Self { server: server.into(), tls: None }
    }
}

impl HttpTransport {
    /// Speaks to `server` (such as `https://fleet.example.com`) as the worker `worker_id`.
    ///
    /// # Errors
    ///
    /// [`TransportError::Refused`] if the URL, id or secret cannot be used at all.
    pub fn new(
        server: impl Into<Endpoint>,
        worker_id: &str,
        worker_secret: &Secret,
    ) -> Result<Self, TransportError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-worker-id", header(worker_id)?);
        headers.insert("x-worker-secret", header(worker_secret.expose())?);
        let Endpoint { server, tls } = server.into();
        let base = base(&server)?;
        Ok(Self { client: client(headers, &base, tls.as_ref())?, base, tokens: None })
    }

    /// Speaks to `server` as a worker with a key pair: with task tokens, which it asks for when it needs them.
    ///
    /// # Errors
    ///
    /// [`TransportError::Refused`] if the URL cannot be used at all, or not with its TLS.
    pub fn with_key_pair(
        server: impl Into<Endpoint>,
        (org_id, worker_id): (&str, &str),
        pair: KeyPair,
    ) -> Result<Self, TransportError> {
        let Endpoint { server, tls } = server.into();
        let base = base(&server)?;
        let client = client(HeaderMap::new(), &base, tls.as_ref())?;
        let url = at(&base, &["workers", worker_id, "token"]);
        let issue = Arc::new(Office { client: client.clone(), url });
        let tokens = Tokens::new(issue, pair, (org_id.to_owned(), worker_id.to_owned()));
        Ok(Self { client, base, tokens: Some(Arc::new(tokens)) })
    }

    /// Speaks as `identity`, to the server that it is good for.
    ///
    /// # Errors
    ///
    /// [`TransportError::Refused`] if its URL, id or secret cannot be used at all.
    pub fn of(identity: &Identity) -> Result<Self, TransportError> {
        Self::secured(identity, None)
    }

    /// The same with TLS as `tls` says.
    ///
    /// # Errors
    ///
    /// [`TransportError::Refused`] too where `tls` cannot be used with the identity's URL.
    pub fn secured(identity: &Identity, tls: Option<Tls>) -> Result<Self, TransportError> {
        let server = Endpoint { server: identity.server.clone(), tls };
        match &identity.proof {
            Proof::Secret { worker_secret } => {
                Self::new(server, &identity.worker_id, worker_secret)
            }
            Proof::KeyPair { private_key, org_id } => {
                let pair = KeyPair::read(private_key)
                    .ok_or_else(|| unusable("the private key is none".to_owned()))?;
                let ids = (org_id.as_str(), identity.worker_id.as_str());
                Self::with_key_pair(server, ids, pair)
            }
        }
    }

    fn post(&self, path: &[&str], body: &impl Serialize, within: Duration) -> RequestBuilder {
        self.client.post(at(&self.base, path)).json(body).timeout(within)
    }

    /// Sends a request, and what it is proved with; `answered` reads the answer.
    async fn ask<A, F>(
        &self,
        call: RequestBuilder,
        answered: impl Fn(reqwest::Result<Response>) -> F + Sync,
    ) -> Result<A, TransportError>
    where
        F: Future<Output = Result<A, TransportError>> + Send,
        A: Send,
    {
        let Some(tokens) = &self.tokens else { return answered(call.send().await).await };
        let send = |header| {
            let call = call.try_clone().map(|call| call.header(AUTHORIZATION, header));
            async {
                let call = call.ok_or_else(|| unusable("a body that streams".to_owned()))?;
                answered(call.send().await).await
            }
        };
        tokens.send(send).await
    }
}

/// Where task tokens come from.
struct Office {
    client: Client,
    url: Url,
}

#[async_trait]
impl Issue for Office {
    async fn issue(&self, request: TaskTokenRequest) -> Result<Issued, TransportError> {
        let call = self.client.post(self.url.clone()).json(&request).timeout(HEARTBEAT_WITHIN);
        answer::token(call.send().await).await
    }
}

/// Registers a worker at `server`. Not repeated here: whether a repetition is safe depends on
/// the key. See [`Identity::load_or_register`](crate::Identity::load_or_register).
///
/// # Errors
///
/// [`TransportError::Rejected`] for a key that is bad, expired or used up;
/// [`TransportError::Refused`] for a request that is wrong, and for a server that is not believed: it was told nothing; else
/// [`TransportError::Unavailable`].
pub async fn register(
    server: impl Into<Endpoint>,
    request: Register,
) -> Result<Registered, TransportError> {
    let Endpoint { server, tls } = server.into();
    let mut headers = HeaderMap::new();
    if let Some(key) = &request.enrollment_key {
        headers.insert("x-enrollment-key", header(key.expose())?);
    }
    let base = base(&server)?;
    let client = client(headers, &base, tls.as_ref())?;
    let call = client.post(at(&base, &["register"])).json(&request).timeout(REPORT_WITHIN);
    let sent = call.send().await;
    if let Some(why) = sent.as_ref().err().and_then(answer::disbelieved) {
        let code = "untrusted_server".to_owned();
        return Err(TransportError::Refused { code, detail: format!("{server}: {why}") });
    }
    answer::read(answer::checked(sent, About::Worker).await?).await
}

#[async_trait]
impl Transport for HttpTransport {
    async fn claim_many(&self, claim: Claim) -> Result<Vec<Claimed>, TransportError> {
        let poll = claim.poll_timeout.map_or(DEFAULT_POLL, |s| seconds(s).unwrap_or_default());
        let most = claim.max_tasks.unwrap_or(1).max(1);
        let within = poll + CLAIM_SLACK + TASK_SLACK * (most - 1);
        let claim = Claim { max_tasks: Some(most), ..claim };
        let call = self.post(&["claim"], &claim, within);
        let answered = async |sent| {
            let response = answer::checked(sent, About::Worker).await?;
            if response.status() == StatusCode::NO_CONTENT {
                return Ok(Vec::new());
            }
            answer::tasks(response, most).await
        };
        self.ask(call, answered).await
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<HeartbeatAnswer, TransportError> {
        let call = self.post(&["heartbeat"], &beat, HEARTBEAT_WITHIN);
        self.ask(call, |sent| read(sent, About::Worker)).await
    }

    async fn leave(&self) -> Result<(), TransportError> {
        let call = self.post(&["leave"], &serde_json::json!({}), HEARTBEAT_WITHIN);
        self.ask(call, |sent| done(sent, About::Task)).await
    }

    async fn report_many(
        &self,
        reports: ReportMany,
    ) -> Result<Vec<Result<(), TransportError>>, TransportError> {
        let call = self.post(&["reports"], &reports, REPORT_WITHIN);
        let answer: ReportsAnswer = self.ask(call, |sent| read(sent, About::Worker)).await?;
        Ok(answer::verdicts(&reports, answer))
    }

    async fn release(&self, back: HandBack) -> Result<(), TransportError> {
        let call = self.post(&["tasks", &back.run_id, "release"], &back, REPORT_WITHIN);
        self.ask(call, |sent| done(sent, About::Task)).await
    }

    async fn progress(&self, run_id: &str, progress: Progress) -> Result<(), TransportError> {
        let call = self.post(&["tasks", run_id, "progress"], &progress, HEARTBEAT_WITHIN);
        self.ask(call, |sent| done(sent, About::Task)).await
    }

    async fn checkpoint(&self, run_id: &str, said: Checkpoint) -> Result<(), TransportError> {
        let call = self.post(&["tasks", run_id, "checkpoints"], &said, REPORT_WITHIN);
        self.ask(call, |sent| done(sent, About::Task)).await
    }

    async fn recorded(
        &self,
        run_id: &str,
        asked: ReadCheckpoints,
    ) -> Result<Checkpoints, TransportError> {
        let call = self.post(&["tasks", run_id, "checkpoints", "read"], &asked, REPORT_WITHIN);
        self.ask(call, |sent| read(sent, About::Task)).await
    }
}

async fn read<A: DeserializeOwned>(
    sent: reqwest::Result<Response>,
    about: About,
) -> Result<A, TransportError> {
    answer::read(answer::checked(sent, about).await?).await
}

async fn done(sent: reqwest::Result<Response>, about: About) -> Result<(), TransportError> {
    answer::checked(sent, about).await.map(drop)
}

fn client(mut headers: HeaderMap, base: &Url, tls: Option<&Tls>) -> Result<Client, TransportError> {
    headers.values_mut().for_each(|value| value.set_sensitive(true));
    let mut builder = Client::builder();
    if let Some(tls) = tls {
        if base.scheme() != "https" {
            let why = "an authority, pin or certificate makes sure of an https server only: give its URL as https://...";
            return Err(unusable(why.to_owned()));
        }
        builder = builder.tls_backend_preconfigured(tls.client_config());
    }
    builder
        .default_headers(headers)
        .user_agent(concat!("fleetward-worker/", env!("CARGO_PKG_VERSION")))
        // A redirect would send the secret to whoever is named in it.
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .tcp_keepalive(KEEPALIVE)
        .build()
        .map_err(|error| unusable(format!("no HTTP client: {error}")))
}

fn base(server: &str) -> Result<Url, TransportError> {
    let url = Url::parse(server).map_err(|error| unusable(format!("server URL: {error}")))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(unusable("server URL: http://HOST:PORT or https://HOST is needed".to_owned())),
    }
}

/// `path` under the worker protocol's part of the server; whatever is in it is escaped.
fn at(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["api", "v1", "fleet"]).extend(path);
    }
    url
}

fn header(value: &str) -> Result<HeaderValue, TransportError> {
    HeaderValue::from_str(value)
        .map_err(|_| unusable("worker id, secret and key: visible ASCII only".to_owned()))
}

fn unusable(detail: String) -> TransportError {
    TransportError::Refused { code: "unusable".to_owned(), detail }
}
