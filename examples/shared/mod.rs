//! What the stories in this folder share: a server of their own on loopback, and clients that speak plain HTTP to it.
#![allow(dead_code, reason = "each story uses a part of it")]

use std::time::Duration;

use fleetward::actors::seal::MasterKey;
use fleetward::plane::{AdminToken, Options};
use fleetward::{ControlPlane, store};
use fleetward_gateway::GatewayOptions;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const TOKEN: &str = "fwt_the-token-of-a-story";

/// A control plane on SQLite with its gateway, for as long as a story lasts.
pub(crate) struct Server {
    pub(crate) base: String,
    plane: ControlPlane,
    stop: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite://{}", folder.path().join("fleet.db").display());
        let admin_token = Some(AdminToken(TOKEN.to_owned()));
        let master_key = Some(MasterKey::fresh());
        let options = Options { admin_token, master_key, ..Options::default() };
        let plane = ControlPlane::start(store::connect(&url).await?, options).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        let gateway = GatewayOptions::default();
        let serve = fleetward_gateway::serve(plane.clone(), listener, gateway, stop.clone());
        Ok(Self { base, plane, stop, served: tokio::spawn(serve), _folder: folder })
    }

    /// Whoever has the system's first token.
    pub(crate) fn admin(&self) -> Client {
        self.operator(TOKEN)
    }

    pub(crate) fn operator(&self, token: &str) -> Client {
        self.anybody().with("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn anybody(&self) -> Client {
        Client { http: reqwest::Client::new(), base: self.base.clone(), headers: Vec::new() }
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.stop.cancel();
        self.served.await??;
        self.plane.drain(Duration::from_secs(5)).await;
        Ok(())
    }
}

/// Somebody who talks to the server: an operator, or a worker.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Status and body of an answer.
    pub(crate) async fn post(&self, route: &str, body: Value) -> Result<(u16, Value)> {
        self.send(self.http.post(format!("{}/api/v1{route}", self.base)).json(&body)).await
    }

    pub(crate) async fn get(&self, route: &str) -> Result<(u16, Value)> {
        self.send(self.http.get(format!("{}/api/v1{route}", self.base))).await
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Result<(u16, Value)> {
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_str(&response.text().await?).unwrap_or(Value::Null)))
    }

    /// As an operator: submits a task, of a project if there is one. Its id.
    pub(crate) async fn submit(&self, project: Option<&str>, task: Value) -> Result<String> {
        let client = match project {
            Some(project) => self.clone().with("x-project-id", project),
            None => self.clone(),
        };
        let (status, body) = client.post("/fleet/tasks", task).await?;
        text(&body["run_id"]).ok_or_else(|| format!("the submit was answered {status}").into())
    }

    /// As an operator: the word of the server for where a task stands.
    pub(crate) async fn status(&self, task: &str) -> Result<Value> {
        Ok(self.get(&format!("/fleet/tasks/{task}")).await?.1["status"].clone())
    }

    /// As an operator: an enrollment key like this one, and the worker that registers with it: what the server said,
    /// and the worker.
    pub(crate) async fn enroll(
        &self,
        mut key: Value,
        mut worker: Value,
    ) -> Result<(Value, Client)> {
        key["auto_approve"] = json!(true);
        key["name"] = worker["name"].clone();
        let (_, made) = self.post("/fleet/enrollment-keys", key).await?;
        worker["enrollment_key"] = made["key"].clone();
        let anybody = Client { headers: Vec::new(), ..self.clone() };
        let (status, joined) = anybody.post("/fleet/register", worker).await?;
        let (Some(id), Some(secret)) = (text(&joined["worker_id"]), text(&joined["worker_secret"]))
        else {
            return Err(format!("registering was answered {status}: {joined}").into());
        };
        let client = anybody.with("x-worker-id", &id).with("x-worker-secret", &secret);
        Ok((joined, client))
    }

    /// As a worker: waits for a task.
    pub(crate) async fn claim(&self, seconds: u32) -> Result<(u16, Value)> {
        self.post("/fleet/claim", json!({ "poll_timeout": seconds })).await
    }
}

/// Says that something holds, or ends the story.
pub(crate) fn prove(holds: bool, what: &str) -> Result<()> {
    if holds {
        println!("ok    {what}");
        return Ok(());
    }
    Err(format!("LEAK  it does not hold that {what}").into())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
