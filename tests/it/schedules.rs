//! Schedules on real servers that die: one run for each tick, on both stores. And what the command line says without one.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::fixture::*;

/// How often the server is killed in one story.
const KILLS: usize = 4;
/// Repeats the moments of an earlier story, counted in steps and requests.
const SEED: &str = "FLEETWARD_TEST_SEED";

const WORKFLOW: &str = "name: beat\nsteps:\n  - step: once\n";
const SCHEDULE: &str =
    "name: beat\nworkflow: beat\nevery: 1s\ncatch_up: all\noverlap: allow\ninput: {for: beat}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tick_has_one_run_whenever_the_server_is_killed_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tick_has_one_run_whenever_the_server_is_killed_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let mut moments = moments();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&place.url());
    let client = server.client();
    for (verb, text) in [("workflow", WORKFLOW), ("schedule", SCHEDULE)] {
        let file = folder.path().join(verb);
        std::fs::write(&file, text).unwrap();
        let applied =
            run(&server.base, &[verb, "apply", "-f", file.to_str().unwrap(), "--output", "json"]);
        assert_eq!(said(&applied)["name"], "beat");
    }
    let hand = Hand::join(&client, &server.base).await;
    for _ in 0..KILLS {
        hand.work(&client, moments.random_range(1..4)).await;
        for _ in 0..moments.random_range(0..60) {
            client.get("/api/v1/schedules/beat").await;
        }
        server.crash_and_restart();
    }
    hand.work(&client, 5).await;
    let shown = run(&server.base, &["schedule", "show", "beat", "--output", "json"]);
    assert_eq!(said(&shown)["next"].as_array().unwrap().len(), 5);
    let events = events(&place.url()).await;

    verify(&events);
    check(&events);
}

/// From the record alone: every second a tick, each with a run of its own, started once.
fn check(events: &[fleetward_store::StoredEvent]) {
    let (mut ticks, mut wanted, mut started) = (Vec::new(), Vec::new(), BTreeMap::new());
    for stored in events {
        let body: Value = serde_json::from_slice(&stored.event.body).unwrap();
        let run = || body["run"].as_str().unwrap().to_owned();
        match stored.event.kind.as_ref() {
            "schedule.fired" => {
                ticks.push(body["tick"].as_i64().unwrap());
                wanted.push(run());
            }
            "run.started" => *started.entry(run()).or_insert(0) += 1,
            kind => assert!(!kind.starts_with("schedule.") || kind == "schedule.created", "{kind}"),
        }
    }
    assert!(ticks.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000), "{ticks:?}");
    let different: BTreeSet<_> = wanted.iter().cloned().collect();
    assert_eq!(different.len(), wanted.len(), "a run was wanted twice");
    assert!(started.values().all(|times| *times == 1), "a run was started twice");
    assert!(started.keys().all(|run| different.contains(run)), "a run without a tick");
    // The newest may be about to start.
    let missing: Vec<_> = wanted.iter().filter(|run| !started.contains_key(*run)).collect();
    assert!(missing.iter().all(|run| Some(*run) == wanted.last()), "{missing:?}");
    assert!(wanted.len() > KILLS, "{wanted:?}");
}

/// Where the moments of the kills are drawn from.
fn moments() -> StdRng {
    let given = std::env::var(SEED).ok().map(|text| text.parse().expect("the seed is a number"));
    let seed: u64 = given.unwrap_or_else(rand::random);
    eprintln!("to repeat the moments: {SEED}={seed}");
    StdRng::seed_from_u64(seed)
}

/// A worker in this process that outlives every server.
struct Hand {
    http: reqwest::Client,
    base: String,
    id: String,
    secret: String,
}

impl Hand {
    async fn join(client: &Client, base: &str) -> Self {
        let key = client.key(1).await;
        let body =
            json!({"enrollment_key": key, "name": "hand", "handlers": ["*"], "max_concurrent": 4});
        let joined = client.post("/api/v1/fleet/register", body).await;
        let text = |field: &str| joined[field].as_str().unwrap().to_owned();
        let http = reqwest::Client::new();
        Self { http, base: base.to_owned(), id: text("worker_id"), secret: text("worker_secret") }
    }

    fn request(&self, path: &str, body: &Value) -> RequestBuilder {
        let request = self.http.post(format!("{}/api/v1/fleet{path}", self.base));
        request.header("x-worker-id", &self.id).header("x-worker-secret", &self.secret).json(body)
    }

    /// Does so many steps; each is of another run.
    async fn work(&self, client: &Client, mut steps: u32) {
        while steps > 0 {
            let claim = self.request("/claim", &json!({"poll_timeout": 20}));
            let claimed = client.send_surely(claim).await;
            if claimed.status == 204 {
                continue;
            }
            assert_eq!(claimed.status, 200, "{}", claimed.body);
            let step = claimed.body;
            assert_eq!(step["payload"], json!({"for": "beat"}));
            let report = json!({
                "run_id": step["run_id"], "status": "completed", "output": null,
                "attempt": step["attempt"], "claim_token": step["claim_token"],
            });
            let reported = client.send_surely(self.request("/report", &report)).await;
            assert_eq!(reported.status, 200, "{}", reported.body);
            steps -= 1;
        }
    }
}

#[test]
fn ticks_are_foretold_without_a_server() {
    let preview = |args: &[&str]| {
        let from = ["schedule", "preview", "--from", "2026-10-24T12:00:00Z", "--output", "json"];
        fleetward().args(from).args(args).output().unwrap()
    };

    let told = said(&preview(&["30 2 * * *", "--timezone", "Europe/Berlin", "-n", "2"]));
    let expected = json!({"next": [
        {"local": "Sun 2026-10-25 02:30:00 CEST", "tick": "2026-10-25T00:30:00Z"},
        {"local": "Mon 2026-10-26 02:30:00 CET", "tick": "2026-10-26T01:30:00Z"},
    ]});
    assert_eq!(told, expected);
    let every = said(&preview(&["--every", "6h", "-n", "1"]));
    assert_eq!(every["next"][0]["tick"], "2026-10-24T18:00:00Z");
    for (args, words) in [
        (vec!["0 25 * * *"], "column 3: `25` is no hour"),
        (vec!["0 9 * * *", "--timezone", "Europe/Berln"], "did you mean `Europe/Berlin`?"),
        (vec!["--every", "90"], "write `90s`"),
    ] {
        let output = preview(&args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(words), "{args:?}: {error}");
    }
}
