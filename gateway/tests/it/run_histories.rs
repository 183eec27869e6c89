//! Runs of workflows over HTTP: replayed, compared, and what becomes of those that failed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::remedies::fail;
use crate::server::{Answer, Client, Server, with_server};

/// Two steps and a gate.
const LETTER: &str = "name: letter\nsteps:\n  - step: write\n    input: '{\"to\": input.to}'\n  - \
                      approval: review\n    prompt: '\"Send \" + previous + \"?\"'\n    approvers: \
                      {requester_may_approve: true}\n  - step: send\n";

impl Client {
    pub(crate) async fn api(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = (method != "GET").then_some(&body);
        self.send(method, &format!("/api/v1{path}"), body).await
    }

    async fn see(&self, path: &str) -> Value {
        let answer = self.api("GET", path, json!(null)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json
    }

    async fn act(&self, path: &str, body: Value) -> Value {
        let answer = self.api("POST", path, body).await;
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text);
        answer.json
    }

    async fn apply(&self, document: &str) -> Value {
        self.act("/workflows", json!({ "document": document })).await["version"].clone()
    }

    async fn start(&self, workflow: &str, id: &str, input: Value) {
        let body = json!({ "workflow": workflow, "run_id": id, "input": input });
        self.act("/runs", body).await;
    }

    /// The run, once something has happened to it for which this holds.
    async fn until(&self, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut run = self.see(&format!("/runs/{id}")).await;
        while !holds(&run) {
            let after = &run["updated_seq"];
            run = self.see(&format!("/runs/{id}?wait=60&after={after}")).await;
        }
        run
    }
}

/// A worker that has every handler.
async fn hand(server: &Server, name: &str) -> Client {
    server.worker_of(&server.admin, json!({ "name": name, "handlers": ["*"] })).await
}

#[test]
fn history_is_replayed_to_any_event_and_against_any_version() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, hand(server, "w").await);
        let version = admin.apply(LETTER).await;
        admin.start("letter", "l1", json!({"to": "ann"})).await;
        let claimed = worker.take().await;
        worker.complete(&claimed, json!("Dear Ann")).await;
        let run = admin.until("l1", |run| run["waits"][0]["gate"].is_object()).await;

        let all = admin.see("/runs/l1/replay").await;
        assert_eq!((&all["fits"], &all["divergences"]), (&json!(true), &json!([])), "{all}");
        assert_eq!((&all["against"], &all["next"]), (&version, &json!([])));
        assert_eq!(all["run"]["updated_seq"], run["updated_seq"]);
        assert_eq!(all["values"][1]["value"], "Dear Ann");

        let events = admin.see("/runs/l1/timeline").await["events"].clone();
        let first = events[0]["seq"].as_u64().unwrap();
        let began = admin.see(&format!("/runs/l1/replay?to={first}")).await;
        assert_eq!((&began["events"], &began["run"]["status"]), (&json!(1), &json!("running")));
        assert_eq!(began["next"], json!([{"what": "step", "key": "write"}]));

        let changed = LETTER.replace("input.to}", "input.to, \"from\": \"bob\"}");
        let body = json!({ "document": changed });
        let other = admin.act("/runs/l1/replay", body).await;
        assert_eq!(other["fits"], false);
        let part = &other["divergences"][0];
        assert_eq!((&part["how"], &part["key"]), (&json!("otherwise"), &json!("write")), "{part}");
        let later = LETTER.replace("step: send", "step: post");
        assert_eq!(admin.act("/runs/l1/replay", json!({ "document": later })).await["fits"], true);
        admin.apply(&changed).await;
        let latest = admin.see("/runs/l1/replay?version=latest").await;
        assert_eq!(
            (&latest["divergences"], &latest["against"]),
            (&other["divergences"], &other["against"],)
        );
        assert_eq!(admin.see("/runs/l1/replay").await["fits"], true, "it keeps its version");

        let refused = async |path: &str| admin.api("GET", path, json!(null)).await;
        let early = refused("/runs/l1/replay?to=1").await;
        assert_eq!(early.problem(), (400, "before_its_start"));
        assert_eq!(refused("/runs/l1/replay?version=ffff").await.problem().0, 404);
        assert_eq!(admin.see("/runs/l1").await["updated_seq"], run["updated_seq"]);
        let other = server.tenant("other").await;
        assert_eq!(other.api("GET", "/runs/l1/replay", json!(null)).await.problem().0, 404);
        let reads = async || admin.get("/audit?type=payload.read").await.json;
        let before = reads().await["total"].as_u64().unwrap();
        let made = admin.act("/tokens", json!({"name": "eve", "role": "viewer"})).await;
        let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
        let viewer = server.anybody().with("authorization", &bearer);
        assert_eq!(viewer.see("/runs/l1/replay").await["fits"], true);
        let read = reads().await;
        assert_eq!(read["total"].as_u64().unwrap(), before + 1);
        assert_eq!(read["events"][0]["details"]["runs"], json!(["l1"]));
    });
}

#[test]
fn two_runs_are_compared_by_what_became_of_their_nodes() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, hand(server, "w").await);
        admin.apply(LETTER).await;
        let mut ends = ["Dear Ann", "Dear Bob"].into_iter();
        for (run, to) in [("l1", "ann"), ("l2", "ann"), ("l3", "bob")] {
            admin.start("letter", run, json!({ "to": to })).await;
            if let Some(text) = ends.next() {
                worker.complete(&worker.take().await, json!(text)).await;
                admin.until(run, |run| run["waits"][0]["gate"].is_object()).await;
            }
        }
        let diff = async |a: &str, b: &str| admin.see(&format!("/runs/{a}/diff?with={b}")).await;

        let same = diff("l1", "l1").await;
        assert_eq!((&same["first"], &same["same_input"]), (&json!(null), &json!(true)), "{same}");
        let other = diff("l1", "l2").await;
        assert_eq!(other["first"], json!({"where": "output", "key": "write"}), "{other}");
        let write = &other["nodes"][0];
        assert_eq!(
            (&write["a"]["value"], &write["b"]["value"]),
            (&json!("Dear Ann"), &json!("Dear Bob"),)
        );
        assert_ne!(write["a"]["digest"], write["b"]["digest"]);
        assert_eq!(write["a"]["worker_id"], json!(worker.header("x-worker-id")));
        assert_eq!(other["nodes"][1]["key"], "review", "both wait there");
        let given = diff("l1", "l3").await;
        assert_eq!(
            (&given["first"]["where"], &given["b"]["input"]["to"]),
            (&json!("input"), &json!("bob"),)
        );
        assert_eq!(given["nodes"][0]["differs"][0], "outcome", "{given}");

        admin.apply(&LETTER.replace("  - step: send\n", "")).await;
        admin.start("letter", "l4", json!({"to": "ann"})).await;
        let versions = diff("l2", "l4").await["definition"].clone();
        assert_eq!(versions, json!([{"node": "send", "change": "removed"}]));
        let with = |path: &'static str| admin.api("GET", path, json!(null));
        assert_eq!(with("/runs/l1/diff").await.problem(), (400, "missing_run"));
        assert_eq!(with("/runs/l1/diff?with=none").await.problem().0, 404);
    });
}

#[test]
fn failed_runs_are_grouped_shown_with_their_attempts_and_retried_or_let_go() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, hand(server, "w").await);
        admin.apply("name: print\nsteps:\n  - step: set\n  - step: press\n").await;
        for (run, error) in [("p1", "page 1 is torn"), ("p2", "page 2 is torn"), ("p3", "no ink")] {
            admin.start("print", run, json!({ "run": run })).await;
            worker.complete(&worker.take().await, json!({"type": "lead"})).await;
            assert_eq!(fail(&worker, &worker.take().await, error).await, 200);
            admin.until(run, |run| run["status"] == "failed").await;
            server.clock.advance(Duration::from_secs(5));
        }

        let groups = admin.see("/dead-letters/groups").await["groups"].clone();
        let torn = &groups[0];
        let seen = ["count", "workflow", "code", "sample_run_id", "sample_error"];
        let expected =
            json!([2, "print", "reported", "p2", "page 2 is torn"]).as_array().unwrap().clone();
        assert_eq!(seen.map(|field| torn[field].clone()).to_vec(), expected, "{groups}");
        assert!(torn["first_at"].as_str() < torn["last_at"].as_str(), "{torn}");
        let group = torn["group"].as_str().unwrap();
        let listed = admin.see(&format!("/dead-letters?group={group}&node=press&limit=1")).await;
        assert_eq!(listed["runs"][0]["run_id"], "p2");
        let before = listed["next"].as_u64().unwrap();
        let listed = admin.see(&format!("/dead-letters?group={group}&before={before}")).await;
        assert_eq!(listed["runs"][0]["run_id"], "p1");

        let shown = admin.see("/runs/p1/failure").await;
        assert_eq!(shown["run"]["error"], "page 1 is torn");
        assert_eq!(shown["input"], json!({"type": "lead"}));
        let attempt = &shown["attempts"][0];
        assert_eq!(
            (&attempt["attempt"], &attempt["error"], &attempt["worker_id"]),
            (&json!(1), &json!("page 1 is torn"), &json!(worker.header("x-worker-id")),)
        );
        let task = shown["task_id"].as_str().unwrap();
        let dead = admin.get("/dead-letters").await.json["tasks"].clone();
        assert_eq!(dead.as_array().unwrap().len(), 3);
        assert_eq!(dead[2]["step"], json!({"workflow_run_id": "p1", "key": "press"}));
        let alone = admin.post(&format!("/tasks/{task}/retry"), &json!({})).await;
        assert_eq!(alone.problem(), (409, "task_of_run"));
        let detail = alone.json["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("fleetward run retry p1"), "{detail}");

        let act = async |verb: &str, body: Value| {
            admin.api("POST", &format!("/dead-letters/{verb}"), body).await
        };
        assert_eq!(act("retry", json!({})).await.problem(), (400, "missing_filter"));
        let preview = act("retry", json!({"group": group, "preview": true})).await.json;
        assert_eq!((&preview["matched"], &preview["changed"]), (&json!(2), &json!(0)));
        assert_eq!(act("retry", json!({"group": group})).await.json["changed"], 2);
        for _ in 0..2 {
            worker.complete(&worker.take().await, json!("printed")).await;
        }
        for run in ["p1", "p2"] {
            admin.until(run, |run| run["status"] == "completed").await;
        }
        assert_eq!(admin.task(task).await["status"], "discarded", "its run went on without it");
        assert_eq!(admin.api("GET", "/runs/p1/failure", json!(null)).await.problem().0, 409);

        server.clock.advance(Duration::from_secs(3_600));
        let act = async |verb: &str, body: Value| {
            admin.api("POST", &format!("/dead-letters/{verb}"), body).await
        };
        let purge = async |age: u32| act("discard", json!({"older_than_seconds": age})).await.json;
        assert_eq!(purge(7_200).await["matched"], 0, "it failed an hour ago");
        assert_eq!(purge(1_800).await["changed"], 1);
        assert_eq!(admin.see("/dead-letters").await["runs"], json!([]));
        assert_eq!(admin.see("/runs/p3").await["status"], "discarded");
        assert_eq!(admin.get("/dead-letters").await.json["tasks"], json!([]));
        let gone = act("discard", json!({"run_ids": ["p3", "p1"]})).await.json;
        assert_eq!((&gone["changed"], &gone["problems"][0]["run_id"]), (&json!(1), &json!("p1")));
    });
}

#[test]
fn steps_that_no_worker_could_run_are_said_with_the_worker_that_they_need() {
    with_server(async |server| {
        let admin = &server.admin;
        let offers = json!({"name": "w", "handlers": ["write"], "labels": {"zone": "eu"}});
        server.worker_of(admin, offers).await;
        let lint = async |document: &str| admin.act("/lint", json!({ "document": document })).await;

        let told = lint(LETTER).await;
        let found = told["found"].as_array().unwrap();
        assert_eq!(
            (found.len(), &told["workers"], &told["name"]),
            (1, &json!(1), &json!("letter"),)
        );
        assert_eq!((&found[0]["path"], &found[0]["line"]), (&json!("steps[2].handler"), &json!(8)));
        let message = found[0]["message"].as_str().unwrap();
        let lacking = "no worker has registered the handler \"send\"; there is write";
        let needed = "it needs a worker in pool \"default\" that has registered the handler";
        assert!(message.contains(lacking) && message.contains(needed), "{message}");
        let wrong = lint("name: letter\nsteps: 7\n").await;
        assert_eq!((&wrong["found"][0]["level"], &wrong["name"]), (&json!("error"), &json!(null)));
        assert_eq!(admin.see("/workflows").await["workflows"], json!([]), "nothing is applied");
    });
}
