//! A server on a loopback port with a clock that stands still, and clients of it.

use std::sync::Arc;
use std::time::Duration;

use fleetward_actors::plane::AdminToken;
use fleetward_actors::seal::MasterKey;
use fleetward_actors::{Config, ControlPlane, Options};
use fleetward_gateway::{GatewayOptions, serve};
use fleetward_runtime::Clock;
use fleetward_store::memory::{Control, Memory};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const ADMIN: &str = "fwt_admin-token-of-the-tests";
pub(crate) const FLEET: &str = "/api/v1/fleet";
const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const NOON_US: i64 = 1_800_000_000_000_000;

/// How a server differs from the usual one.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) options: GatewayOptions,
    /// What an earlier server left.
    pub(crate) memory: Option<Memory>,
    /// None: it stands still.
    pub(crate) clock: Option<Clock>,
}

pub(crate) struct Server {
    pub(crate) plane: ControlPlane,
    pub(crate) clock: Clock,
    pub(crate) store: Control,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) admin: Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: JoinHandle<std::io::Result<()>>,
}

/// Whoever talks to the server, with the same headers every time.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    headers: Vec<(&'static str, String)>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs `test` against the usual server, which must have crashed nothing at the end.
pub(crate) fn with_server(test: impl AsyncFnOnce(&Server)) {
    with(Setup::default(), test);
}

pub(crate) fn with(setup: Setup, test: impl AsyncFnOnce(&Server)) {
    let runtime = runtime();
    runtime.block_on(async {
        let server = Server::start(setup).await;
        test(&server).await;
        server.stop().await;
    });
}

impl Server {
    pub(crate) async fn start(setup: Setup) -> Self {
        let memory = setup.memory.unwrap_or_default();
        let store = memory.control();
        let clock = setup.clock.unwrap_or_else(|| Clock::manual(NOON_US));
        let options = Options {
            config: setup.config,
            clock: Some(clock.clone()),
            admin_token: Some(AdminToken(ADMIN.to_owned())),
            master_key: Some(MasterKey::parse(MASTER_KEY).unwrap()),
            ..Options::default()
        };
        let plane = ControlPlane::start(Arc::new(memory), options).await.unwrap();
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let options = setup.options;
        let served = tokio::spawn(serve(plane.clone(), listener, options, shutdown.clone()));
        // A connection for each request: one that waited for its next would end when a test moves the clock far, and
        // perhaps in the moment that it is taken again.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        let admin = Client { http, base: format!("http://{address}"), headers: Vec::new() };
        let admin = admin.with("authorization", &format!("Bearer {ADMIN}"));
        Self { plane, clock, store, address, admin, shutdown, served }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.served.await.unwrap().unwrap();
        assert!(self.plane.drain(Duration::from_secs(10)).await.is_clean());
        assert!(self.plane.system().crashes().is_empty(), "{:?}", self.plane.system().crashes());
    }

    pub(crate) fn anybody(&self) -> Client {
        Client { headers: Vec::new(), ..self.admin.clone() }
    }

    /// A worker with one seat that may work.
    pub(crate) async fn worker(&self, name: &str) -> Client {
        self.worker_of(&self.admin, json!({"name": name})).await
    }

    /// A worker that registers with `body` and a key of `operator` that approves by itself.
    pub(crate) async fn worker_of(&self, operator: &Client, mut body: Value) -> Client {
        let key = operator.key(json!({"name": "k", "auto_approve": true})).await;
        body["enrollment_key"] = key;
        let joined = self.anybody().post("/register", &body).await;
        self.as_worker(&joined)
    }

    pub(crate) fn as_worker(&self, joined: &Answer) -> Client {
        assert_eq!(joined.status, 201, "{}", joined.text);
        let text = |field: &str| joined.json[field].as_str().unwrap().to_owned();
        let worker = self.anybody().with("x-worker-id", &text("worker_id"));
        worker.with("x-worker-secret", &text("worker_secret"))
    }

    /// An administrator of a new organisation.
    pub(crate) async fn tenant(&self, name: &str) -> Client {
        let made = self.admin.send("POST", "/api/v1/orgs", Some(&json!({"name": name}))).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let token = made.json["token"].as_str().unwrap();
        self.anybody().with("authorization", &format!("Bearer {token}"))
    }

    /// Submits a task with this payload; answers its id.
    pub(crate) async fn submit(&self, payload: Value) -> String {
        self.admin.submit(json!({"payload": payload})).await
    }
}

/// A claim on a connection of its own, with buffers too small to hide a large answer.
pub(crate) async fn claim_on_a_narrow_line(server: &Server, worker: &Client) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let body = r#"{"poll_timeout": 60}"#;
    let head = format!(
        "POST /api/v1/fleet/claim HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         x-worker-id: {}\r\nx-worker-secret: {}\r\ncontent-length: {}\r\n\r\n{body}",
        worker.header("x-worker-id"),
        worker.header("x-worker-secret"),
        body.len(),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Small buffers, so that an answer that is not read does not vanish into them.
fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(16 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(1024).unwrap()
}

impl Client {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same caller over another client, at another address.
    pub(crate) fn over(&self, http: reqwest::Client, base: &str) -> Self {
        Self { http, base: base.to_owned(), headers: self.headers.clone() }
    }

    /// Whether it gets an answer at all.
    pub(crate) async fn is_served(&self) -> bool {
        self.http.get(format!("{}/healthz", self.base)).send().await.is_ok()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value).unwrap()
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.send_bytes(method, path, body.map(|body| body.to_string().into_bytes())).await
    }

    pub(crate) async fn send_bytes(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Answer {
        let method = method.parse().unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status, headers, text, json }
    }

    /// Of the worker protocol and its operator side.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", &format!("{FLEET}{path}"), Some(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", &format!("{FLEET}{path}"), None).await
    }

    pub(crate) async fn submit(&self, task: Value) -> String {
        let submitted = self.post("/tasks", &task).await;
        assert_eq!(submitted.status, 201, "{}", submitted.text);
        submitted.json["run_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn key(&self, key: Value) -> Value {
        let made = self.post("/enrollment-keys", &key).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json["key"].clone()
    }

    pub(crate) async fn task(&self, id: &str) -> Value {
        self.get(&format!("/tasks/{id}")).await.json
    }

    /// Claims; the clock stands still, so a poll ends only by an event.
    pub(crate) async fn claim(&self, seconds: u32) -> Answer {
        self.post("/claim", &json!({"poll_timeout": seconds})).await
    }

    /// Claims and takes the task that there must be.
    pub(crate) async fn take(&self) -> Value {
        let claimed = self.claim(60).await;
        assert_eq!(claimed.status, 200, "{}", claimed.text);
        claimed.json
    }

    /// A poll that is parked for certain: a worker with one seat has one poll, so the first of two
    /// is sent away when the second is there.
    pub(crate) async fn park(&self) -> JoinHandle<Answer> {
        self.park_with(json!({"poll_timeout": 60})).await
    }

    /// The same of a worker with more seats: of two polls of one claim the first is sent away.
    pub(crate) async fn park_one(&self) -> JoinHandle<Answer> {
        let name = uuid::Uuid::new_v4();
        self.park_with(json!({"poll_timeout": 60, "claim_request_id": name})).await
    }

    async fn park_with(&self, claim: Value) -> JoinHandle<Answer> {
        let polls =
            [(self.clone(), claim.clone()), (self.clone(), claim)].map(|(worker, claim)| {
                tokio::spawn(async move { worker.post("/claim", &claim).await })
            });
        let [first, second] = polls;
        let (answer, parked) = match futures_util::future::select(first, second).await {
            futures_util::future::Either::Left((answer, parked))
            | futures_util::future::Either::Right((answer, parked)) => (answer, parked),
        };
        assert_eq!(answer.unwrap().status, 204);
        parked
    }

    pub(crate) async fn complete(&self, claimed: &Value, output: Value) -> Answer {
        let body = json!({
            "run_id": claimed["run_id"], "status": "completed", "output": output,
            "attempt": claimed["attempt"], "claim_token": claimed["claim_token"],
        });
        self.post("/report", &body).await
    }
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    /// Status and code of a problem, which has everything that a problem must have.
    pub(crate) fn problem(&self) -> (u16, &str) {
        let media = self.headers.get("content-type").map(|media| media.to_str().unwrap());
        assert_eq!(media, Some("application/problem+json"), "{self:?}");
        for field in ["type", "title", "code", "detail", "request_id"] {
            let text = self.json[field].as_str();
            assert!(text.is_some_and(|text| !text.is_empty()), "{field} of {self:?}");
        }
        assert_eq!(self.json["request_id"], self.headers["x-request-id"].to_str().unwrap());
        let retry = self.headers.contains_key("retry-after");
        assert_eq!(retry, matches!(self.status, 429 | 503), "{self:?}");
        let challenge = self.headers.contains_key("www-authenticate");
        assert_eq!(challenge, self.status == 401, "{self:?}");
        (self.status, self.code())
    }
}
