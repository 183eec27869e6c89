//! Endpoints of both shapes over real HTTP: what a worker's heartbeats say of them.

use std::future::pending;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use fleetward_wire::tasks::{Claim, Claimed, HandBack, Progress, ReportMany};
use fleetward_wire::workers::{EndpointKind, EndpointSeen, Heartbeat, HeartbeatAnswer};
use fleetward_worker::{
    Outcome, Probe, Summary, Transport, TransportError, Worker, WorkerError, WorkerOptions, from_fn,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::plane::alive;

type Ended = Result<Summary, WorkerError>;

const KEY: &str = "sk-very-secret";

/// What the Ollama server has; none: it answers 500.
type Shelf = watch::Receiver<Option<Vec<&'static str>>>;

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

async fn ollama(shelf: Shelf) -> String {
    let tags = async |State(shelf): State<Shelf>| -> Result<Json<Value>, StatusCode> {
        let models = shelf.borrow().clone().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        let tags = models.iter().map(|name| json!({"name": name, "model": name, "size": 1}));
        Ok(Json(json!({"models": tags.collect::<Vec<_>>()})))
    };
    serve(Router::new().route("/api/tags", get(tags)).with_state(shelf)).await
}

async fn openai() -> String {
    let models = async |headers: HeaderMap| -> Result<Json<Value>, StatusCode> {
        let given = headers.get("authorization").and_then(|value| value.to_str().ok());
        if given != Some(&format!("Bearer {KEY}")) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        Ok(Json(json!({"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]})))
    };
    serve(Router::new().route("/v1/models", get(models))).await
}

/// Takes heartbeats, and never has a task.
struct Listener(watch::Sender<Vec<EndpointSeen>>);

#[async_trait]
impl Transport for Listener {
    async fn claim_many(&self, _: Claim) -> Result<Vec<Claimed>, TransportError> {
        pending().await
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<HeartbeatAnswer, TransportError> {
        let seen = beat.probes.expect("the first look is over before the first heartbeat");
        self.0.send_replace(seen.endpoints);
        Ok(HeartbeatAnswer { heartbeat_seconds: 0.05, ..alive() })
    }

    async fn report_many(
        &self,
        _: ReportMany,
    ) -> Result<Vec<Result<(), TransportError>>, TransportError> {
        pending().await
    }

    async fn release(&self, _: HandBack) -> Result<(), TransportError> {
        pending().await
    }

    async fn progress(&self, _: &str, _: Progress) -> Result<(), TransportError> {
        pending().await
    }
}

/// A worker that looks at these endpoints all the time, until it is stopped.
fn watch_over(
    probes: Vec<Probe>,
) -> (watch::Receiver<Vec<EndpointSeen>>, CancellationToken, JoinHandle<Ended>) {
    let (told, heard) = watch::channel(Vec::new());
    let every = Duration::from_millis(50);
    let options = WorkerOptions { probes, probe_every: every, ..WorkerOptions::default() };
    let stop = CancellationToken::new();
    let execute = from_fn(|_, _| async { Outcome::Failed("there is no task".to_owned()) });
    let worker = tokio::spawn(Worker::new(Listener(told), execute, options).run(stop.clone()));
    (heard, stop, worker)
}

#[tokio::test]
async fn heartbeats_say_which_models_are_there() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (shelf, stock) = watch::channel(Some(vec!["llama3:8b", "phi3"]));
    let (ollama, openai) = (ollama(stock).await, openai().await);
    let keyed = format!("openai:THE_KEY={openai}").parse::<Probe>().unwrap();
    let probes = vec![
        Probe::new(EndpointKind::Ollama, &ollama).unwrap(),
        keyed.keyed(|name| (name == "THE_KEY").then(|| KEY.to_owned())).unwrap(),
        Probe::new(EndpointKind::OpenAi, &openai).unwrap(),
        Probe::new(EndpointKind::Ollama, "http://127.0.0.1:1").unwrap(),
    ];
    let (mut heard, stop, worker) = watch_over(probes);

    let seen = heard.wait_for(|seen| !seen.is_empty()).await.unwrap().clone();
    let models: Vec<_> = seen.iter().map(|seen| seen.models.join(" ")).collect();
    assert_eq!(models, ["llama3:8b phi3", "gpt-4o", "", ""]);
    let errors: Vec<_> = seen.iter().map(|seen| seen.error.as_deref().unwrap_or("-")).collect();
    assert_eq!(errors[..3], ["-", "-", "HTTP 401"]);
    assert!(errors[3].starts_with("cannot connect"), "{errors:?}");
    assert!(!format!("{seen:?}").contains(KEY));

    for (shelved, available) in [(None, false), (Some(vec!["phi3"]), true)] {
        shelf.send_replace(shelved.clone());
        let now = heard.wait_for(|seen| {
            seen[0].available == available && seen[0].models == shelved.clone().unwrap_or_default()
        });
        drop(now.await.unwrap());
    }
    stop.cancel();
    worker.await.unwrap().unwrap();
}

/// `scripts/test --model-server` installs one, a gateway that many put before their models, and says where it is.
#[tokio::test]
async fn models_of_a_real_server_are_seen_and_missed() {
    let Some(binary) = std::env::var_os("FLEETWARD_MODEL_SERVER") else { return };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("models.yaml");
    let models = "model_list:\n- model_name: gpt-4o\n  litellm_params: {model: openai/gpt-4o, api_key: none}\n";
    std::fs::write(&config, models).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut server = Command::new(binary)
        .arg("--config")
        .arg(config)
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap()).lines();
    while !said.next_line().await.unwrap().expect("it starts").contains("startup complete") {}
    tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
    let url = format!("http://127.0.0.1:{port}");
    let (mut heard, stop, worker) =
        watch_over(vec![Probe::new(EndpointKind::OpenAi, &url).unwrap()]);

    drop(heard.wait_for(|seen| seen.iter().any(|seen| seen.models == ["gpt-4o"])).await.unwrap());
    server.kill().await.unwrap();
    drop(heard.wait_for(|seen| seen.iter().all(|seen| !seen.available)).await.unwrap());

    stop.cancel();
    worker.await.unwrap().unwrap();
}
