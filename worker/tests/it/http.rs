//! The transport over a real socket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use fleetward_wire::tasks::{Claim, HandBack, Report, ReportMany, ReportStatus};
use fleetward_wire::workers::{Heartbeat, Register};
use fleetward_worker::{
    Command, HttpTransport, Identity, Transport, TransportError, Worker, register,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::plane::{alive, once, task};

#[tokio::test]
async fn a_claim_says_who_asks_and_brings_the_tasks() {
    let server =
        Server::start(|_| Json(json!({"tasks": [task("t1"), task("t2")]})).into_response());
    let server = server.await;

    let claim = Claim { poll_timeout: Some(0.0), max_tasks: Some(2), ..Claim::default() };
    let claimed = server.worker().claim_many(claim).await.unwrap();

    let tokens: Vec<_> =
        claimed.iter().map(|task| (&*task.run_id, task.claim_token.expose().as_str())).collect();
    assert_eq!(tokens, [("t1", "token-of-t1"), ("t2", "token-of-t2")]);
    let seen = server.seen();
    assert_eq!(seen[0].path, "/base/api/v1/fleet/claim");
    assert_eq!(
        (header(&seen[0], "x-worker-id"), header(&seen[0], "x-worker-secret")),
        ("w-1", "s3cret")
    );
    assert_eq!(seen[0].body, json!({"poll_timeout": 0.0, "max_tasks": 2}));
}

#[tokio::test]
async fn no_content_is_no_task() {
    let server = Server::start(|_| StatusCode::NO_CONTENT.into_response()).await;

    assert!(server.worker().claim_many(Claim::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_knows_no_batches_is_refused_with_what_to_do() {
    let server = Server::start(|_| Json(task("t1")).into_response()).await;

    let error = server.worker().claim_many(Claim::default()).await.unwrap_err();

    let TransportError::Refused { code, detail } = error else { panic!("{error}") };
    assert_eq!(code, "no_batches");
    assert!(detail.contains("older than this worker"), "{detail}");
}

#[tokio::test]
async fn reports_go_together_and_each_has_an_answer() {
    let server = Server::start(|_| {
        let problem = json!({"code": "not_owner", "detail": "attempt 1 is not current"});
        let refused = json!({"run_id": "t2", "status": 403, "problem": problem});
        Json(json!({"results": [{"run_id": "t1", "status": 200}, refused]})).into_response()
    })
    .await;

    let answer = server.worker().report_many(reports(["t1", "t2"])).await.unwrap();

    assert!(matches!(&answer[..], [Ok(()), Err(TransportError::Refused { .. })]), "{answer:?}");
    let seen = server.seen();
    assert_eq!(seen[0].path, "/base/api/v1/fleet/reports");
    assert_eq!(seen[0].body["reports"][1]["claim_token"], "token");
}

#[tokio::test]
async fn statuses_mean_what_the_protocol_says() {
    let answers: [(u16, &str, &str); 5] = [
        (403, r#"{"detail": "x", "status": "pending"}"#, "Pending"),
        (
            403,
            r#"{"detail": "x", "status": "revoked"}"#,
            r#"Rejected { status: 403, detail: "x" }"#,
        ),
        (401, r#"{"detail": "x"}"#, r#"Rejected { status: 401, detail: "x" }"#),
        (422, r#"{"detail": "x", "code": "y"}"#, r#"Refused { code: "y", detail: "x" }"#),
        (503, r#"{"detail": "x"}"#, r#"Unavailable { detail: "x", retry_after: Some(7s) }"#),
    ];
    for (status, body, expected) in answers {
        let server = Server::start(move |_| {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("retry-after", "7")], body).into_response()
        })
        .await;

        let error = server.worker().claim_many(Claim::default()).await.unwrap_err();

        assert_eq!(format!("{error:?}"), expected);
    }
}

#[tokio::test]
async fn an_unknown_task_does_not_stop_the_worker_but_an_unknown_worker_does() {
    let server = Server::start(|path| match path.rsplit('/').next().unwrap() {
        "reports" => Json(json!({"results": [{"run_id": "t1", "status": 404}]})).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    })
    .await;
    let worker = server.worker();

    let reported = worker.report_many(reports(["t1"])).await.unwrap();
    let released = worker.release(back("t1")).await.unwrap_err();
    let beaten = worker.heartbeat(Heartbeat::default()).await.unwrap_err();

    assert!(matches!(reported[..], [Err(TransportError::Refused { .. })]));
    assert!(matches!(released, TransportError::Refused { .. }));
    assert!(matches!(beaten, TransportError::Rejected { status: 404, .. }));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Server::start(|_| {
        (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response()
    })
    .await;

    let error = server.worker().claim_many(Claim::default()).await.unwrap_err();

    assert!(matches!(error, TransportError::Refused { .. }));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_an_outage_and_are_not_quoted() {
    let large = "x".repeat(9 * 1024 * 1024);
    for body in [r#"{"run_id": ["s3cret"]}"#.to_owned(), "<html>".to_owned(), large] {
        let server = Server::start(move |_| body.clone().into_response()).await;

        let error = server.worker().claim_many(Claim::default()).await.unwrap_err();

        assert!(matches!(error, TransportError::Unavailable { .. }));
        assert!(!error.to_string().contains("s3cret"));
    }
}

#[tokio::test]
async fn nobody_there_is_an_outage() {
    let address = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let worker = transport(address);

    let error = worker.claim_many(Claim::default()).await.unwrap_err();

    assert!(matches!(error, TransportError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_hand_back_names_the_task_in_its_path() {
    let server = Server::start(|_| Json(json!({"status": "ok"})).into_response()).await;

    server.worker().release(back("../t1")).await.unwrap();

    assert_eq!(server.seen()[0].path, "/base/api/v1/fleet/tasks/..%2Ft1/release");
}

#[tokio::test]
async fn a_key_is_shown_in_the_header_and_in_the_body() {
    let server = Server::start(|_| registered()).await;
    let request = Register { enrollment_key: Some("k3y".into()), ..Register::default() };

    let registered = register(&server.url(), request).await.unwrap();

    assert_eq!(registered.worker_id, "w-1");
    let seen = server.seen();
    assert_eq!(header(&seen[0], "x-enrollment-key"), "k3y");
    assert_eq!(seen[0].body["enrollment_key"], "k3y");
}

#[tokio::test]
async fn a_worker_registers_once_and_is_remembered() {
    let server = Server::start(|_| registered()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w1.json");

    for _ in 0..2 {
        let request = Register { name: "ann".to_owned(), ..Register::default() };
        let known = Identity::load_or_register(&path, &server.url(), request).await.unwrap();
        assert_eq!((&*known.worker_id, &*known.name), ("w-1", "ann"));
    }

    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_before_anything_is_sent() {
    for server in ["fleet:7700", "not a url", "file:///etc/passwd", ""] {
        let error = HttpTransport::new(server, "w-1", &"s3cret".into()).err().unwrap();

        assert!(matches!(error, TransportError::Refused { .. }), "{server}");
    }
    let error = HttpTransport::new("http://fleet", "w-1", &"line\nbreak".into()).err().unwrap();
    assert!(!format!("{error:?}").contains("break"));
}

#[tokio::test]
async fn a_claim_that_is_dropped_hangs_up() {
    let (arrived, hung_up) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell_arrived, tell_hung_up) = (arrived.clone(), hung_up.clone());
    let parked = move || {
        let guard = Rings(tell_hung_up.clone());
        tell_arrived.notify_one();
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }
    };
    let address = serve(Router::new().fallback(parked)).await;

    let worker = transport(address);
    let claim = tokio::spawn(async move { worker.claim_many(Claim::default()).await });
    arrived.notified().await;
    claim.abort();

    hung_up.notified().await;
}

#[tokio::test]
async fn a_worker_runs_a_command_for_a_task_that_came_over_the_wire() {
    let server = Server::start(|path| match path.rsplit('/').next().unwrap() {
        "claim" => Json(json!({"tasks": [task("t1")]})).into_response(),
        "heartbeat" => Json(alive()).into_response(),
        _ => Json(json!({"results": [{"run_id": "t1", "status": 200}]})).into_response(),
    })
    .await;

    let worker = Worker::new(server.worker(), Command::new("cat"), once());
    let summary = worker.run(CancellationToken::new()).await.unwrap();

    assert_eq!(summary.completed, 1);
    let seen = server.seen();
    let request = seen.iter().find(|request| request.path.ends_with("/reports")).unwrap();
    let report = &request.body["reports"][0];
    assert_eq!((&report["run_id"], &report["attempt"]), (&json!("t1"), &json!(1)));
    assert_eq!(report["claim_token"], "token-of-t1");
    let output: Value = serde_json::from_str(report["output"].as_str().unwrap()).unwrap();
    assert_eq!(output["payload"], json!({"say": "hello"}));
}

/// Answers every request by its path, and remembers them.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone)]
struct Seen {
    path: String,
    headers: HeaderMap,
    body: Value,
}

type Answers = Arc<dyn Fn(&str) -> Response + Send + Sync>;

impl Server {
    async fn start(answer: impl Fn(&str) -> Response + Send + Sync + 'static) -> Self {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let answer: Answers = Arc::new(answer);
        let router = Router::new().fallback(remember).with_state((seen.clone(), answer));
        Self { address: serve(router).await, seen }
    }

    fn url(&self) -> String {
        format!("http://{}/base", self.address)
    }

    fn worker(&self) -> HttpTransport {
        transport(self.address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn remember(
    State((seen, answer)): State<(Arc<Mutex<Vec<Seen>>>, Answers)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let body = serde_json::from_slice(&body).unwrap();
    let response = answer(&path);
    seen.lock().unwrap().push(Seen { path, headers, body });
    response
}

/// Serves until the test's runtime ends.
async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn transport(address: SocketAddr) -> HttpTransport {
    HttpTransport::new(format!("http://{address}/base"), "w-1", &"s3cret".into()).unwrap()
}

fn registered() -> Response {
    let body = json!({
        "worker_id": "w-1",
        "worker_secret": "s3cret",
        "status": "approved",
        "capabilities": {"models": [], "pool": "default", "labels": {}, "max_concurrent": 1},
        "heartbeat_seconds": 10,
        "lease_seconds": 30,
    });
    (StatusCode::CREATED, Json(body)).into_response()
}

fn reports<const N: usize>(run_ids: [&str; N]) -> ReportMany {
    let report = |run_id: &str| Report {
        run_id: run_id.to_owned(),
        status: ReportStatus::Completed,
        output: None,
        error: None,
        output_sealed: None,
        error_sealed: None,
        retryable: None,
        attempt: Some(1),
        claim_token: Some("token".into()),
        model: None,
        waits: Vec::new(),
    };
    ReportMany { reports: run_ids.map(report).into() }
}

fn back(run_id: &str) -> HandBack {
    HandBack {
        run_id: run_id.to_owned(),
        attempt: 2,
        claim_token: "token".into(),
        reason: Some("draining".to_owned()),
    }
}

fn header<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.headers[name].to_str().unwrap()
}

/// Rings when it is dropped.
struct Rings(Arc<Notify>);

impl Drop for Rings {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
