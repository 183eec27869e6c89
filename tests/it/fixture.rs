//! Servers and workers as processes of their own, and a client that speaks HTTP to them.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use fleetward_store::testing::Postgres;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

pub(crate) const ADMIN: &str = "fwt_the-admin-token-of-these-tests";

/// What a story is played on.
pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(String),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn postgres() -> Self {
        Self::Postgres(Postgres::shared().fresh_database().await)
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().join("f.db").display()),
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// The binary, with nothing of this process's environment that could change it.
pub(crate) fn fleetward() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetward"));
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLEETWARD_") || name == "ENROLLMENT_KEY" {
            command.env_remove(name);
        }
    }
    command
}

/// A child that is killed when the story ends.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn kill9(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `fleetward serve`.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) base: String,
    url: String,
    extra: Vec<String>,
}

impl Server {
    pub(crate) fn start(url: &str) -> Self {
        Self::start_with(
            url,
            &["--lease-seconds", "6", "--start-lease-seconds", "3", "--heartbeat-seconds", "1"],
        )
    }

    pub(crate) fn start_with(url: &str, extra: &[&str]) -> Self {
        let extra: Vec<String> = extra.iter().map(|arg| (*arg).to_owned()).collect();
        Self::start_on(url, "127.0.0.1:0", extra)
    }

    fn start_on(url: &str, listen: &str, extra: Vec<String>) -> Self {
        let mut child = fleetward()
            .args(["serve", "--database-url", url, "--listen", listen])
            .args(&extra)
            .env("FLEETWARD_ADMIN_TOKEN", ADMIN)
            .env("FLEETWARD_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let process = Process(child);
        let base = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the server ended before it listened");
            if let Some(at) = line.find("http://") {
                break line[at..].trim().to_owned();
            }
        };
        // Whatever it prints later must not block it.
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Self { process, base, url: url.to_owned(), extra }
    }

    /// kill -9, and a new process on the same store and the same port.
    pub(crate) fn crash_and_restart(&mut self) {
        self.process.kill9();
        let listen = self.base.trim_start_matches("http://").to_owned();
        *self = Self::start_on(&self.url, &listen, self.extra.clone());
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.base)
    }
}

/// Speaks HTTP as an operator.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) base: String,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn new(base: &str) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(90)).build().unwrap();
        Self { base: base.to_owned(), http }
    }

    pub(crate) async fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<(u16, Value, Option<String>), reqwest::Error> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let retry = response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null), retry))
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http.request(method.parse().unwrap(), url).bearer_auth(ADMIN)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body, _) = self.send(self.request("GET", path)).await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.request("POST", path).json(&body);
        let (status, body, _) = self.send(request).await.unwrap();
        assert!((200..300).contains(&status), "{path}: {status} {body}");
        body
    }

    pub(crate) async fn key(&self, uses: u32) -> String {
        let body = json!({"name": "k", "max_uses": uses, "auto_approve": true});
        let made = self.post("/api/v1/fleet/enrollment-keys", body).await;
        made["key"].as_str().unwrap().to_owned()
    }

    /// Submits until the server has acknowledged it: what any careful client does.
    pub(crate) async fn submit_surely(&self, key: &str, payload: &Value) -> String {
        loop {
            let request = self
                .request("POST", "/api/v1/fleet/tasks")
                .header("Idempotency-Key", key)
                .json(&json!({"payload": payload}));
            match self.send(request).await {
                Ok((201, body, _)) => return body["run_id"].as_str().unwrap().to_owned(),
                Ok((status, body, _)) => assert_eq!(status, 503, "{body}"),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The task once it is closed.
    pub(crate) async fn result(&self, task: &str) -> Value {
        loop {
            let request = self.request("GET", &format!("/api/v1/fleet/tasks/{task}?wait=30"));
            match self.send(request).await {
                Ok((200, body, _))
                    if body["status"] == "completed" || body["status"] == "failed" =>
                {
                    return body;
                }
                Ok((200, _, _)) => {}
                Ok((status, body, _)) => {
                    assert_eq!(status, 503, "{task}: {body}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// A `fleetward worker run` in a process of its own.
pub(crate) fn worker(
    server: &str,
    key: &str,
    folder: &Path,
    name: &str,
    seats: u32,
    exec: &str,
) -> Process {
    let child = fleetward()
        .args(["worker", "run", "--server", server, "--name", name, "--exec", exec])
        .args(["--max-concurrent", &seats.to_string()])
        .args(["--identity", &identity(folder, name).display().to_string()])
        .env("ENROLLMENT_KEY", key)
        .env("FLEETWARD_LOG", "warn")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Process(child)
}

fn identity(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

/// Runs a verb of the binary against a server.
pub(crate) fn run(server: &str, args: &[&str]) -> Output {
    fleetward()
        .args(args)
        .env("FLEETWARD_SERVER", server)
        .env("FLEETWARD_TOKEN", ADMIN)
        .output()
        .unwrap()
}

/// Every event of the default organisation, oldest first, read from the store itself.
pub(crate) async fn events(url: &str) -> Vec<fleetward_store::StoredEvent> {
    let store = fleetward_store::connect(url).await.unwrap();
    let limit = fleetward_store::ReadLimit { events: 1_000_000, bytes: usize::MAX };
    store.read(fleetward_store::CellId(1), 0, limit).await.unwrap()
}

/// The hash chain of the default organisation holds from its first event on.
pub(crate) fn verify(events: &[fleetward_store::StoredEvent]) {
    let cell = fleetward_store::CellId(1);
    fleetward_store::verify(cell, 0, fleetward_store::genesis(cell), events).unwrap();
}
