//! The pipeline while server, workers and database are killed at moments that nobody chose.

use std::path::Path;

use fleetward_store::testing::Postgres;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fixture::*;

/// Runs that go on at the same time.
const RUNS: usize = 6;
/// How often something is killed in one story.
const KILLS: usize = 5;
/// How many steps of the runs pass between two kills: few, so that all of them fall into the story.
const STEPS: std::ops::Range<u64> = 1..6;
/// Repeats the choices of an earlier story. Which requests were under way then is up to the machine.
const SEED: &str = "FLEETWARD_TEST_SEED";
/// Choices that once found something: they are made each time.
const KEPT: &[u64] = &[];
const EXEC: &str = concat!("sh ", env!("CARGO_MANIFEST_DIR"), "/examples/step.sh");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_survive_deaths_at_any_moment_on_sqlite() {
    for seed in seeds() {
        story(Place::sqlite(), None, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_survive_deaths_at_any_moment_on_postgres() {
    // A server of its own: the others must not lose theirs.
    let postgres = Postgres::start_own();
    for seed in seeds() {
        let url = postgres.fresh_database().await;
        story(Place::Postgres(url), Some(&postgres), seed).await;
    }
}

/// Those that are kept, and a new one.
fn seeds() -> impl Iterator<Item = u64> {
    let given = std::env::var(SEED).ok().map(|text| text.parse().expect("the seed is a number"));
    KEPT.iter().copied().chain([given.unwrap_or_else(rand::random)])
}

/// How far all runs are together: what was seen to happen to them, and how many have ended.
#[derive(Default)]
struct Far {
    steps: u64,
    ended: usize,
}

async fn story(place: Place, postgres: Option<&Postgres>, seed: u64) {
    eprintln!("to repeat the choices: {SEED}={seed}");
    let mut choices = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&place.url());
    let client = server.client();
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/workflows/article-pipeline.yaml");
    assert!(run(&server.base, &["workflow", "apply", "-f", document]).status.success());
    let editor = super::editor(&client).await;
    let key = client.key(2).await;
    let base = server.base.clone();
    let worker = |name| start_worker(&base, &key, folder.path(), name);
    let mut workers = ["w0", "w1"].map(|name| (name, worker(name)));

    let far = watch::Sender::new(Far::default());
    let mut runs = JoinSet::new();
    for number in 0..RUNS {
        runs.spawn(follow(client.clone(), number, editor.clone(), far.clone()));
    }
    for _ in 0..KILLS {
        passes(&far, choices.random_range(STEPS)).await;
        match (choices.random_range(0..4), postgres) {
            (0, Some(postgres)) => {
                postgres.kill9();
                postgres.start_again();
            }
            (1 | 2, _) => {
                let (name, (process, log)) = &mut workers[choices.random_range(0..2)];
                process.kill9();
                (*process, *log) = worker(name);
            }
            _ => server.crash_and_restart(),
        }
    }

    while let Some(ended) = runs.join_next().await {
        ended.unwrap();
    }
    for number in 0..RUNS {
        let replayed = run(&server.base, &["run", "replay", &id(number)]);
        assert!(replayed.status.success(), "{replayed:?}");
    }
    server.process.kill9();
    check_journal(&place.url()).await;
}

fn start_worker(server: &str, key: &str, folder: &Path, name: &str) -> (Process, Lines) {
    WorkerProcess { server, key, folder, name, seats: 2, exec: EXEC }.start()
}

fn id(number: usize) -> String {
    format!("ants-{number}")
}

/// Waits until so many more steps were made, or all runs have ended.
async fn passes(far: &watch::Sender<Far>, more: u64) {
    let mut now = far.subscribe();
    let target = now.borrow_and_update().steps + more;
    let passed = now.wait_for(|far| far.steps >= target || far.ended == RUNS);
    let passed = timeout(PATIENCE, passed).await;
    drop(passed.unwrap_or_else(|_| panic!("the runs are stuck at step {}", far.borrow().steps)));
}

/// Starts a run, approves at its gate, and sees it end.
async fn follow(client: Client, number: usize, editor: String, far: watch::Sender<Far>) {
    let (id, input) = (id(number), json!({ "topic": format!("ants {number}") }));
    let body = json!({ "workflow": "article-pipeline", "run_id": id, "input": input });
    let started = client.send_surely(client.request("POST", "/api/v1/runs").json(&body)).await;
    assert!([200, 201].contains(&started.status), "{}", started.body);
    let mut seen = 0;
    loop {
        let path = format!("/api/v1/runs/{id}?wait=20&after={seen}");
        let answer = client.send_surely(client.request("GET", &path)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let (run, before) = (answer.body, seen);
        seen = run["updated_seq"].as_u64().unwrap();
        if seen > before {
            far.send_modify(|far| far.steps += 1);
        }
        if run["waits"][0]["gate"].is_object() {
            let bearer = HeaderMap::from_iter([(
                AUTHORIZATION,
                format!("Bearer {editor}").parse().unwrap(),
            )]);
            let approve = client.request("POST", &format!("/api/v1/runs/{id}/approve"));
            let approved = client.send_surely(approve.headers(bearer).json(&json!({}))).await;
            // One whose answer was lost has been heard.
            assert!([200, 409].contains(&approved.status), "{}", approved.body);
            far.send_modify(|far| far.steps += 1);
        }
        match run["status"].as_str().unwrap() {
            "completed" => {
                let result = json!({"url": "https://example.org/ants"});
                let output = json!({"result": result, "topic": input["topic"]});
                assert_eq!(run["output"], output);
                return far.send_modify(|far| far.ended += 1);
            }
            "running" | "waiting" => {}
            other => panic!("{id} is {other}: {run}"),
        }
    }
}

/// From the journal alone: each run began and ended once, and each of its steps completed once.
async fn check_journal(url: &str) {
    let events = events(url).await;
    verify(&events);
    for number in 0..RUNS {
        let stream = format!("run/{}", id(number));
        let of_run = events.iter().filter(|stored| *stored.event.stream == *stream);
        let told = of_run.map(|stored| {
            let body: Value = serde_json::from_slice(&stored.event.body).unwrap();
            (stored.event.kind.to_string(), body["key"].as_str().map(str::to_owned))
        });
        let told: Vec<_> = told.collect();
        let count = |kind: &str, key: Option<&str>| {
            told.iter().filter(|(has, of)| has == kind && of.as_deref() == key).count()
        };
        for key in ["research", "draft", "publish"] {
            assert_eq!(count("run.step_completed", Some(key)), 1, "{stream} {key}: {told:?}");
        }
        assert_eq!(count("run.gate_approved", Some("review")), 1, "{stream}: {told:?}");
        assert_eq!((count("run.started", None), count("run.completed", None)), (1, 1), "{told:?}");
    }
}
