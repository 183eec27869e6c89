//! Whatever is sent to any route, it is a problem with a code of its own, and the server goes on.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::server::{Server, runtime, with_server};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// Routes that take a body, and whose they are.
const ROUTES: &[(&str, &str, Who)] = &[
    ("POST", "/api/v1/fleet/register", Who::Anybody),
    ("POST", "/api/v1/fleet/claim", Who::Worker),
    ("POST", "/api/v1/fleet/heartbeat", Who::Worker),
    ("POST", "/api/v1/fleet/report", Who::Worker),
    ("POST", "/api/v1/fleet/tasks/ID/complete", Who::Worker),
    ("POST", "/api/v1/fleet/tasks/ID/fail", Who::Worker),
    ("POST", "/api/v1/fleet/tasks/ID/release", Who::Worker),
    ("POST", "/api/v1/fleet/tasks", Who::Admin),
    ("POST", "/api/v1/fleet/enrollment-keys", Who::Admin),
    ("POST", "/api/v1/fleet/workers/ID/approve", Who::Admin),
    ("PATCH", "/api/v1/fleet/workers/ID/reject", Who::Admin),
    ("POST", "/api/v1/fleet/workers/ID/revoke", Who::Admin),
    ("DELETE", "/api/v1/fleet/enrollment-keys/ID", Who::Admin),
    ("GET", "/api/v1/fleet/tasks/ID", Who::Admin),
    ("GET", "/api/v1/fleet/workers/ID", Who::Admin),
    ("POST", "/api/v1/orgs", Who::Admin),
    ("POST", "/api/v1/tokens", Who::Admin),
    ("DELETE", "/api/v1/tokens/ID", Who::Admin),
];

#[derive(Debug, Clone, Copy)]
enum Who {
    Anybody,
    Worker,
    Admin,
}

/// Bodies that were never meant for any route.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let deep = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
    prop_oneof![
        Just(Vec::new()),
        Just(b"{".to_vec()),
        Just(b"\xff\xfe".to_vec()),
        Just(b"null".to_vec()),
        Just(b"[]".to_vec()),
        Just(deep(3_000)),
        (100..130_usize).prop_map(deep),
        proptest::collection::vec(any::<u8>(), 0..200),
        object().prop_map(|object| object.to_string().into_bytes()),
    ]
}

/// Objects with the fields that routes know, and values that they do not.
fn object() -> impl Strategy<Value = Value> {
    let field = prop_oneof![
        Just("name"),
        Just("pool"),
        Just("pools"),
        Just("model"),
        Just("models"),
        Just("labels"),
        Just("max_concurrent"),
        Just("max_uses"),
        Just("expires_in"),
        Just("payload"),
        Just("poll_timeout"),
        Just("run_id"),
        Just("status"),
        Just("attempt"),
        Just("claim_token"),
        Just("output"),
        Just("error"),
        Just("tasks"),
        Just("boot_id"),
        Just("role"),
        Just("reason"),
        Just("enrollment_key"),
        Just("claim_request_id"),
        Just("project_id"),
    ];
    let value = prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        Just(json!("a\u{0}b")),
        Just(json!("x\ny")),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!(u64::MAX)),
        Just(json!(true)),
        Just(json!([])),
        Just(json!([1])),
        Just(json!({})),
        Just(json!({"k": 1})),
        Just(json!({"": "v"})),
        Just(json!("x".repeat(2_000))),
        Just(json!(NOBODY)),
        Just(json!([{"run_id": 1}])),
        Just(json!(["\u{7}"])),
    ];
    proptest::collection::vec((field, value), 0..6)
        .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

#[test]
fn whatever_is_sent_is_answered_and_never_a_500() {
    let runtime = runtime();
    let (server, worker) = runtime.block_on(async {
        let server = Server::start(Default::default()).await;
        let worker = server.worker("w").await;
        (server, worker)
    });
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    let ids = prop_oneof![
        Just(NOBODY),
        Just("x"),
        Just("%00"),
        Just("..%2f.."),
        Just("%ff"),
        Just("-1"),
    ];
    let sent = (0..ROUTES.len(), ids, bodies());
    runner
        .run(&sent, |(route, id, body)| {
            let (method, path, who) = ROUTES[route];
            let client = match who {
                Who::Anybody => server.anybody(),
                Who::Worker => worker.clone(),
                Who::Admin => server.admin.clone(),
            };
            // A poll would wait for ever: the clock stands still.
            let text = String::from_utf8_lossy(&body).into_owned();
            prop_assume!(!path.ends_with("/claim") || !fits_a_claim(&text));
            let answer =
                runtime.block_on(client.send_bytes(method, &path.replace("ID", id), Some(body)));
            prop_assert!(answer.status < 500, "{method} {path} {text}: {}", answer.text);
            if answer.status >= 400 {
                let code = answer.json["code"].as_str().unwrap_or_default();
                prop_assert!(!code.is_empty(), "{method} {path}: {}", answer.text);
                prop_assert_eq!(&answer.headers["content-type"], "application/problem+json");
                prop_assert!(answer.json["detail"].is_string());
            }
            Ok(())
        })
        .unwrap();
    runtime.block_on(async {
        let healthy = server.anybody().send("GET", "/healthz", None).await;
        assert_eq!(healthy.status, 200);
        server.stop().await;
    });
}

/// Whether a body may park a poll.
fn fits_a_claim(text: &str) -> bool {
    text.is_empty() || serde_json::from_str::<Value>(text).is_ok()
}

#[test]
fn common_mistakes_have_codes_of_their_own() {
    with_server(async |server| {
        let key = server.admin.key(json!({"name": "k", "auto_approve": true})).await;
        let key = key.as_str().unwrap();
        let register = |fields: Value| {
            let mut body = json!({"enrollment_key": key});
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            body
        };
        let worker = server.worker("w").await;
        let anybody = server.anybody();
        let huge = json!({"payload": "x".repeat(1 << 20)});
        let table = [
            (
                &anybody,
                "/register",
                register(json!({"max_concurrent": 0})),
                "invalid_max_concurrent",
            ),
            (&anybody, "/register", register(json!({"name": "a\u{1}"})), "control_character"),
            (&anybody, "/register", register(json!({"models": [""]})), "invalid_name"),
            (&anybody, "/register", json!({}), "missing_enrollment_key"),
            (&anybody, "/register", json!({"enrollment_key": "wrt-1.x.y.z"}), "bad_enrollment_key"),
            (&server.admin, "/tasks", json!({"model": ""}), "invalid_name"),
            (&server.admin, "/tasks", json!({"labels": {"k": "\u{0}"}}), "control_character"),
            (&server.admin, "/tasks", huge, "payload_too_large"),
            (&server.admin, "/enrollment-keys", json!({"name": ""}), "invalid_name"),
            (
                &server.admin,
                "/enrollment-keys",
                json!({"name": "k", "max_uses": 0}),
                "invalid_max_uses",
            ),
            (
                &server.admin,
                "/enrollment-keys",
                json!({"name": "k", "expires_in": 0}),
                "invalid_expiry",
            ),
            (&worker, "/claim", json!({"poll_timeout": -1}), "invalid_poll_timeout"),
            (&worker, "/report", json!({"run_id": NOBODY, "status": "done"}), "invalid_status"),
            (&worker, "/report", json!({"run_id": NOBODY}), "not_found"),
        ];
        for (client, path, body, code) in table {
            let answer = client.post(path, &body).await;
            assert_eq!(answer.code(), code, "{path} {}", answer.text);
            assert!((400..500).contains(&answer.status), "{path} {}", answer.text);
        }
        let strange = server.anybody().send("GET", "/api/v1/nowhere", None).await;
        assert_eq!(strange.problem(), (404, "no_such_route"));
    });
}
