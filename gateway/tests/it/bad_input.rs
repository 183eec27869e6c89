//! Whatever a client sends, it is told what is wrong, and the server goes on.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::server::{Client, Server, Setup, runtime};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Anybody,
    Operator,
    Worker,
}

/// One route: who may use it, whether it needs a body, and what its fields must not be.
struct Route {
    method: &'static str,
    path: &'static str,
    who: Who,
    /// None where no body is read.
    body: Option<Needed>,
    fields: &'static [(&'static str, &'static str)],
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Needed {
    Yes,
    No,
}

/// Values that are wrong in a field, as JSON texts.
const NAMES: &str = r#"[1, [], {}, "a\u0007b", "a\nb", "\u0000"]"#;
const LABELS: &str = r#"[1, "x", [1], {"k": 1}, {"": "x"}, {"k\u0007": "x"}, {"k": "\u001b"}]"#;
const POLLS: &str = r#"[-1, -0.001, -1e300, "5", "NaN", [], true]"#;
const LISTS: &str = r#"["x", 1, {}, [1], [""], ["a\u0007"], [null]]"#;
const COUNTS: &str = r#"[0, -1, 1.5, "1", 99999999999, []]"#;
const OBJECTS: &str = r#"["x", 7, [7], {"run_id": 1}]"#;

const ROUTES: &[Route] = &[
    route(
        "POST",
        "/api/v1/fleet/register",
        Who::Anybody,
        &[
            ("name", NAMES),
            ("pool", NAMES),
            ("models", LISTS),
            ("labels", LABELS),
            ("max_concurrent", COUNTS),
            ("enrollment_key", r#"[1, "", "wrt-1.x.y.z", "\u0007"]"#),
        ],
    ),
    empty(
        "POST",
        "/api/v1/fleet/claim",
        Who::Worker,
        &[("poll_timeout", POLLS), ("claim_request_id", r#"[1, "a\u0007", {}]"#)],
    ),
    empty(
        "POST",
        "/api/v1/fleet/heartbeat",
        Who::Worker,
        &[("tasks", OBJECTS), ("boot_id", r#"[1, "\u0007"]"#), ("tasks_failed", r#"[-1, "x"]"#)],
    ),
    route(
        "POST",
        "/api/v1/fleet/report",
        Who::Worker,
        &[
            ("run_id", r#"[1, null, "", "x", "00000000-0000-0000-0000-000000000000"]"#),
            ("status", r#"[1, null, "done", "COMPLETED", {}]"#),
            ("attempt", r#"[-1, "x", 1.5]"#),
            ("error", "[1, {}, []]"),
            ("claim_token", "[1, {}]"),
        ],
    ),
    route(
        "POST",
        "/api/v1/fleet/tasks",
        Who::Operator,
        &[
            ("model", r#"["", " ", 1, "a\u0007"]"#),
            ("pool", r#"["", 1, "a\u0007"]"#),
            ("labels", LABELS),
        ],
    ),
    empty("POST", "/api/v1/fleet/tasks/{id}/complete", Who::Worker, &[("attempt", COUNTS)]),
    empty("POST", "/api/v1/fleet/tasks/{id}/fail", Who::Worker, &[("error", "[1, {}]")]),
    route("POST", "/api/v1/fleet/tasks/{id}/release", Who::Worker, &[("attempt", COUNTS)]),
    empty("POST", "/api/v1/fleet/workers/{id}/approve", Who::Operator, &[("reason", "[1, {}]")]),
    empty("PATCH", "/api/v1/fleet/workers/{id}/reject", Who::Operator, &[("reason", "[[]]")]),
    empty("POST", "/api/v1/fleet/workers/{id}/revoke", Who::Operator, &[("reason", NAMES)]),
    empty("POST", "/api/v1/fleet/workers/{id}/heartbeat", Who::Worker, &[("tasks", OBJECTS)]),
    route(
        "POST",
        "/api/v1/fleet/enrollment-keys",
        Who::Operator,
        &[
            ("name", r#"["", "  ", 1, null, "a\u0007"]"#),
            ("max_uses", COUNTS),
            ("pools", LISTS),
            ("models", LISTS),
            ("labels", LABELS),
            ("expires_in", r#"[0, -1, "x", 1e30]"#),
            ("auto_approve", r#"["yes", 1]"#),
            ("project_id", r#"["", 1, "\u0007"]"#),
        ],
    ),
    route(
        "POST",
        "/api/v1/orgs",
        Who::Operator,
        &[("name", r#"["", "A B", 1, null, "a\u0007", "default"]"#)],
    ),
    route(
        "POST",
        "/api/v1/tokens",
        Who::Operator,
        &[
            ("name", r#"["", 1, null, "a\u0007"]"#),
            ("role", r#"["root", 1]"#),
            ("expires_in", r#"[0, -1, "x"]"#),
        ],
    ),
    bare("GET", "/api/v1/fleet/tasks/{id}", Who::Operator),
    bare("GET", "/api/v1/fleet/workers/{id}", Who::Operator),
    bare("DELETE", "/api/v1/fleet/enrollment-keys/{id}", Who::Operator),
    bare("DELETE", "/api/v1/tokens/{id}", Who::Operator),
];

/// Queries that are wrong, on the routes that read one.
const QUERIES: &[&str] = &[
    "/api/v1/fleet/tasks?limit=0",
    "/api/v1/fleet/tasks?limit=-1",
    "/api/v1/fleet/tasks?limit=201",
    "/api/v1/fleet/tasks?limit=x",
    "/api/v1/fleet/tasks?status=done",
    "/api/v1/fleet/tasks?before=-1",
    "/api/v1/fleet/tasks?status=%07",
    "/api/v1/fleet/workers?status=x",
    "/api/v1/fleet/workers?limit=999",
    "/api/v1/fleet/enrollment-keys?limit=0",
    "/api/v1/fleet/audit?limit=0",
    "/api/v1/fleet/audit?since=yesterday",
    "/api/v1/fleet/audit?worker_id=x",
    "/api/v1/fleet/tasks/00000000-0000-0000-0000-000000000000?wait=-1",
    "/api/v1/fleet/tasks/00000000-0000-0000-0000-000000000000?wait=NaN",
    "/api/v1/fleet/nothing",
    "/nothing",
    "/",
    "/api/v1/fleet/tasks/",
];

const fn route(
    method: &'static str,
    path: &'static str,
    who: Who,
    fields: &'static [(&'static str, &'static str)],
) -> Route {
    Route { method, path, who, body: Some(Needed::Yes), fields }
}

const fn empty(
    method: &'static str,
    path: &'static str,
    who: Who,
    fields: &'static [(&'static str, &'static str)],
) -> Route {
    Route { method, path, who, body: Some(Needed::No), fields }
}

const fn bare(method: &'static str, path: &'static str, who: Who) -> Route {
    Route { method, path, who, body: None, fields: &[] }
}

/// What is wrong with a request.
#[derive(Debug, Clone)]
enum Wrong {
    NobodyAsks,
    BadProof(String),
    BadId(String),
    NoBody,
    Text(Vec<u8>),
    NoObject(Value),
    Deep(usize),
    Huge,
    Field(usize, usize),
    Method,
    Query(usize),
    Header(String),
}

fn wrong() -> impl Strategy<Value = Wrong> {
    let no_object = prop_oneof![
        Just(json!([])),
        Just(json!(7)),
        Just(json!("x")),
        Just(json!([1, 2])),
        Just(json!(true)),
    ];
    prop_oneof![
        1 => Just(Wrong::NobodyAsks),
        2 => "[!-~]{1,40}".prop_map(Wrong::BadProof),
        2 => "[a-zA-Z0-9%._~-]{1,40}".prop_map(Wrong::BadId),
        1 => Just(Wrong::NoBody),
        3 => proptest::collection::vec(any::<u8>(), 1..60).prop_map(Wrong::Text),
        2 => no_object.prop_map(Wrong::NoObject),
        1 => (130_usize..5_000).prop_map(Wrong::Deep),
        1 => Just(Wrong::Huge),
        12 => any::<(usize, usize)>().prop_map(|(field, value)| Wrong::Field(field, value)),
        1 => Just(Wrong::Method),
        2 => any::<usize>().prop_map(Wrong::Query),
        1 => "[ -~]{0,40}".prop_map(Wrong::Header),
    ]
}

#[test]
fn bad_input_is_a_problem_with_a_code_and_never_the_servers() {
    let runtime = runtime();
    let server = runtime.block_on(Server::start(Setup::default()));
    let worker = runtime.block_on(server.worker("w"));
    let strategy = (0..ROUTES.len(), wrong());

    let config = ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() };
    let checked = TestRunner::new(config).run(&strategy, |(route, wrong)| {
        runtime.block_on(check(&server, &worker, &ROUTES[route], &wrong))
    });

    checked.unwrap();
    runtime.block_on(server.stop());
}

async fn check(
    server: &Server,
    worker: &Client,
    route: &Route,
    wrong: &Wrong,
) -> Result<(), TestCaseError> {
    let Some((client, method, path, body)) = request(server, worker, route, wrong) else {
        return Ok(());
    };
    let answer = client.send_bytes(method, &path, body).await;
    prop_assert!((400..500).contains(&answer.status), "{} of {}: {:?}", method, path, answer);
    let (_, code) = answer.problem();
    prop_assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", code);
    let health = server.anybody().send("GET", "/healthz", None).await;
    prop_assert_eq!(health.status, 200);
    Ok(())
}

type Request = (Client, &'static str, String, Option<Vec<u8>>);

/// The request, or none where this cannot be wrong with this route.
fn request(server: &Server, worker: &Client, route: &Route, wrong: &Wrong) -> Option<Request> {
    const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
    let client = match route.who {
        Who::Anybody => server.anybody(),
        Who::Operator => server.admin.clone(),
        Who::Worker => worker.clone(),
    };
    let path = route.path.replace("{id}", NOBODY);
    let has_id = route.path.contains("{id}");
    let reads = route.body.is_some();
    let with_body = |body: Vec<u8>| reads.then(|| (client.clone(), path.clone(), Some(body)));
    let (client, path, body) = match wrong {
        Wrong::NobodyAsks => (server.anybody(), path, Some(b"{}".to_vec())),
        Wrong::BadProof(text) => {
            let (client, name) = match route.who {
                Who::Anybody => return None,
                Who::Operator => (client.with("authorization", text), "authorization"),
                Who::Worker => (client.with("x-worker-secret", text), "x-worker-secret"),
            };
            assert_eq!(client.header(name), text);
            (client, path, Some(b"{}".to_vec()))
        }
        // Some of these make another path, which has to be a 404 as well.
        Wrong::BadId(_) if !has_id => return None,
        Wrong::BadId(id) => (client, route.path.replace("{id}", id), Some(b"{}".to_vec())),
        Wrong::NoBody if route.body == Some(Needed::Yes) => (client, path, None),
        Wrong::NoBody => return None,
        Wrong::Text(bytes) if serde_json::from_slice::<Value>(bytes).is_ok() => return None,
        Wrong::Text(bytes) => with_body(bytes.clone())?,
        Wrong::NoObject(value) => with_body(value.to_string().into_bytes())?,
        Wrong::Deep(levels) => {
            let deep = "[".repeat(*levels) + &"]".repeat(*levels);
            with_body(if levels % 2 == 0 { deep } else { nested(route, &deep)? }.into_bytes())?
        }
        Wrong::Huge => with_body(vec![b' '; 3 << 20])?,
        Wrong::Field(field, value) => {
            let (name, values) = route.fields.get(field % route.fields.len().max(1))?;
            let values: Vec<Value> = serde_json::from_str(values).unwrap();
            let body = json!({*name: values[value % values.len()]});
            with_body(body.to_string().into_bytes())?
        }
        Wrong::Method => return Some((client, "PUT", path, None)),
        Wrong::Query(which) => {
            let path = QUERIES[which % QUERIES.len()].to_owned();
            return Some((server.admin.clone(), "GET", path, None));
        }
        Wrong::Header(text) if text.trim().is_empty() => return None,
        Wrong::Header(text) => (client.with("x-fleetward-org", &format!("?{text}")), path, None),
    };
    let header = matches!(wrong, Wrong::Header(_)) && route.who != Who::Operator;
    (!header).then_some((client, route.method, path, body))
}

/// The deep value where the route would keep it.
fn nested(route: &Route, deep: &str) -> Option<String> {
    let field = match route.path.rsplit('/').next()? {
        "tasks" => "payload",
        "report" | "complete" => "output",
        _ => return None,
    };
    Some(format!(r#"{{"run_id": "00000000-0000-0000-0000-000000000000", "{field}": {deep}}}"#))
}
