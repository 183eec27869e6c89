//! The whole pipeline of a document and of a Rust program: research, draft with a failure, approval, publish, by workers
//! that die, on servers and databases that die, on both stores.

mod moments;

use std::time::Duration;

use fleetward::actors::system::org::Role;
use fleetward::plane::{AdminToken, NewOperatorToken, Options};
use fleetward::workflow::{RunHandle, Workers, Workflow, expression};
use fleetward::{ControlPlane, HandlerError, StepContext};
use fleetward_store::testing::Postgres;
use serde_json::{Value, json};

use crate::fixture::*;

/// Runs a step: says what it was given, and fails the first attempt of each draft.
const EXEC: &str = r#"task=$(cat)
case "$task" in *'"handler":"draft"'*'"attempt":1,'*|*'"attempt":1,'*'"handler":"draft"'*) echo "no ink" >&2; exit 3;; esac
case "$task" in
  *'"handler":"research"'*) echo '{"text":"ants carry leaves"}';;
  *'"handler":"draft"'*) echo '{"text":"Ants carry leaves, and more."}';;
  *'"handler":"publish"'*) echo '{"url":"https://example.org/ants"}';;
  *) echo "unknown step" >&2; exit 4;;
esac"#;
const RUN: &str = "ants-1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipeline_survives_the_death_of_everything_on_sqlite() {
    story(Place::sqlite(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipeline_survives_the_death_of_everything_on_postgres() {
    // A server of its own: the others must not lose theirs.
    let postgres = Postgres::start_own();
    let url = postgres.fresh_database().await;
    story(Place::Postgres(url), Some(postgres)).await;
}

async fn story(place: Place, postgres: Option<Postgres>) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&place.url());
    let client = server.client();
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/workflows/article-pipeline.yaml");
    let applied = run(&server.base, &["workflow", "apply", "-f", document, "--output", "json"]);
    assert_eq!(said(&applied)["name"], "article-pipeline");
    let input = r#"{"topic": "ants"}"#;
    let start =
        ["run", "start", "article-pipeline", "--run-id", RUN, "--input", input, "--output", "json"];
    assert_eq!(said(&run(&server.base, &start))["repeated"], false);

    server.crash_and_restart();
    let again = client.request("POST", "/api/v1/runs");
    let again = again
        .json(&json!({"workflow": "article-pipeline", "run_id": RUN, "input": {"topic": "ants"}}));
    assert_eq!(client.send_surely(again).await.body["repeated"], true);
    let why = client.send_surely(client.request("GET", &format!("/api/v1/runs/{RUN}/why"))).await;
    let words = why.body.to_string();
    let reasons = ["no approved worker stands in pool", "its task is about to be made"];
    assert!(reasons.iter().any(|reason| words.contains(reason)), "{words}");
    let key = client.key(2).await;
    let base = server.base.clone();
    let worker = |name| WorkerProcess {
        server: &base,
        key: &key,
        folder: folder.path(),
        name,
        seats: 1,
        exec: EXEC,
    };
    let (mut first, _log) = worker("w1").start();
    client.run_until(RUN, |run| run["nodes"][0]["status"] == "completed").await;
    first.kill9();
    let (_second, _log) = worker("w2").start();

    let waiting = client.run_until(RUN, |run| run["waits"][0]["gate"].is_object()).await;
    assert_eq!(waiting["status"], "waiting");
    let gate = &waiting["waits"][0]["gate"];
    assert_eq!(gate["prompt"], "Approve: Ants carry leaves, and more....");
    if let Some(postgres) = &postgres {
        postgres.kill9();
        // The journal learns of it by the first write that fails.
        let path = format!("/api/v1/runs/{RUN}/signals");
        let signal = client.request("POST", &path).json(&json!({"name": "unheard"}));
        assert_eq!(client.send(signal).await.status, 503);
        postgres.start_again();
        server.log.until("journal writes again");
    }
    server.crash_and_restart();
    let own = approve(&client, None, gate).await;
    assert_eq!((own.0, &own.1["code"]), (403, &json!("requester_may_not_approve")));
    let editor = editor(&client).await;
    let stale = approve(&client, Some(&editor), &json!({"digest": "another"})).await;
    assert_eq!((stale.0, &stale.1["code"]), (409, &json!("digest_changed")));
    assert_eq!(approve(&client, Some(&editor), gate).await.0, 200);
    server.crash_and_restart();

    let done = client.run_until(RUN, |run| run["status"] == "completed").await;
    let published = json!({"result": {"url": "https://example.org/ants"}, "topic": "ants"});
    assert_eq!(done["output"], published);
    let printed = run(&server.base, &["run", "wait", RUN]);
    assert_eq!(said(&printed), published);
    let draft = done["nodes"].as_array().unwrap().iter().find(|node| node["key"] == "draft");
    assert!(draft.unwrap()["attempts"].as_u64().unwrap() >= 2, "{draft:?}");
    let picture = folder.path().join("run.svg");
    let drawn = run(&server.base, &["run", "timeline", RUN, "--svg", picture.to_str().unwrap()]);
    assert!(drawn.status.success(), "{drawn:?}");
    assert!(std::fs::read_to_string(picture).unwrap().contains("waits for people"));
    replays(&server.base, document, folder.path());
    let events = events(&place.url()).await;
    verify(&events);
    for key in ["research", "draft", "publish"] {
        let of_key = |kind: &str| {
            let said = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();
            let all = events.iter().filter(|stored| stored.event.kind == kind);
            all.filter(|stored| said(&stored.event.body)["key"] == key).count()
        };
        assert_eq!(of_key("run.step_completed"), 1, "{key}");
    }
}

/// What survived all of this is what the definition asks for, and not what another one does.
fn replays(base: &str, document: &str, folder: &std::path::Path) {
    let kept = run(base, &["run", "replay", RUN]);
    assert!(kept.status.success(), "{kept:?}");
    assert!(String::from_utf8_lossy(&kept.stdout).contains("nothing was changed"), "{kept:?}");
    let other = folder.join("other.yaml");
    let text = std::fs::read_to_string(document).unwrap();
    std::fs::write(&other, text.replace("\"Research: \" +", "\"Look up: \" +")).unwrap();
    let other = run(base, &["run", "replay", RUN, "-f", other.to_str().unwrap()]);
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    let told = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(told.contains("it was to be given another input"), "{told}");
}

async fn editor(client: &Client) -> String {
    let body = json!({"name": "editor", "role": "operator"});
    let made = client.send_surely(client.request("POST", "/api/v1/tokens").json(&body)).await;
    made.body["token"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned()
}

async fn approve(client: &Client, token: Option<&str>, gate: &Value) -> (u16, Value) {
    let path = format!("/api/v1/runs/{RUN}/approve");
    let body = json!({"digest": gate["digest"], "reason": "it is good"});
    let mut request = client.request("POST", &path).json(&body).build().unwrap();
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
    }
    let http = reqwest::Client::new();
    loop {
        let answer = http.execute(request.try_clone().unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        if status != 503 {
            return (status, answer.json().await.unwrap());
        }
        // Not a guess but the protocol: the server says when to come again.
        let again = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        tokio::time::sleep(Duration::from_secs(again)).await;
    }
}

type Article = (String, usize);

/// The same pipeline as a program.
fn pipeline() -> Workflow<String, Article> {
    Workflow::builder::<String>("article-pipeline")
        .step("research", |topic: String, _cx: StepContext| async move { Ok(vec![topic]) })
        .step("draft", |facts: Vec<String>, cx: StepContext| async move {
            if cx.attempt() == 1 {
                return Err(HandlerError::retryable("no ink"));
            }
            Ok(facts.join("\n"))
        })
        .retries(3)
        .retry_delay(Duration::from_millis(1))
        .approval("review", expression("'Publish ' + previous + '?'").unwrap())
        .step_given(
            "publish",
            "[steps.draft, size(steps.research)]",
            |(draft, facts): Article, cx: StepContext| async move {
                assert_eq!((cx.key(), cx.attempt()), (Some("publish"), 1));
                Ok((format!("Published: {draft}"), facts))
            },
        )
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_program_runs_in_memory_and_on_postgres() {
    for url in ["memory:".to_owned(), Postgres::shared().fresh_database().await] {
        let store = fleetward_store::connect(&url).await.unwrap();
        let admin_token = Some(AdminToken(ADMIN.to_owned()));
        let master_key = Some(fleetward::actors::seal::MasterKey::fresh());
        let options = Options { admin_token, master_key, ..Options::default() };
        let plane = ControlPlane::start(store, options).await.unwrap();
        let operator = plane.operator(&plane.authenticate(ADMIN).unwrap(), None).await.unwrap();
        let wf = pipeline();
        let workers = Workers::start(&plane, &operator, "here", 4, wf.handlers()).await.unwrap();

        let started = wf.start(&operator, Some("ants"), &"ants".to_owned()).await.unwrap();
        assert!(started.gate_opens("review").await.unwrap());
        let own = started.approve("review", None).await.unwrap_err();
        assert!(own.to_string().contains("whoever started the run may not approve"), "{own}");
        let name = "editor".to_owned();
        let new = NewOperatorToken { name, role: Role::Operator, expires_in_s: None };
        let caller = plane.authenticate(ADMIN).unwrap();
        let org = operator.org().id;
        let (_, AdminToken(token)) = plane.create_token(&caller, Some(org), new).await.unwrap();
        let editor = plane.operator(&plane.authenticate(&token).unwrap(), None).await.unwrap();
        let seen = RunHandle::<Article>::of(&editor, started.id().clone());
        seen.approve("review", Some("it is good")).await.unwrap();

        assert_eq!(started.result().await.unwrap(), ("Published: ants".to_owned(), 1));
        let again = wf.start(&operator, Some("ants"), &"ants".to_owned()).await.unwrap();
        assert_eq!(again.result().await.unwrap(), ("Published: ants".to_owned(), 1));
        let other = wf.start(&operator, Some("ants"), &"bees".to_owned()).await;
        assert!(other.err().unwrap().to_string().contains("there is a run of this id"));
        workers.stop().await;
        plane.drain(Duration::from_secs(5)).await;
    }
}
