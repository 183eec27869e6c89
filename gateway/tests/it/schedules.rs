//! Schedules over HTTP: made and changed by name, listed, paused, run now, deleted; mistakes are told.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Answer, Client, with_server};

const SCHEDULES: &str = "/api/v1/schedules";

async fn put(client: &Client, name: &str, body: Value) -> Answer {
    client.send("PUT", &format!("{SCHEDULES}/{name}"), Some(&body)).await
}

async fn get(client: &Client, path: &str) -> Value {
    let answer = client.send("GET", &format!("{SCHEDULES}{path}"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json
}

async fn post(client: &Client, path: &str, body: Value) -> Answer {
    client.send("POST", &format!("{SCHEDULES}{path}"), Some(&body)).await
}

async fn workflow(client: &Client) {
    let document = "name: report\nsteps:\n  - wait_signal: go\n";
    let body = json!({"document": document});
    assert_eq!(client.send("POST", "/api/v1/workflows", Some(&body)).await.status, 200);
}

#[test]
fn schedule_is_put_by_name_and_shows_what_comes_and_what_came() {
    with_server(async |server| {
        let admin = &server.admin;
        workflow(admin).await;
        let nightly = json!({
            "workflow": "report", "input": {"for": "night"},
            "cron": "30 2 * * *", "timezone": "Europe/Berlin", "overlap": "allow",
        });
        let made = put(admin, "nightly", nightly.clone()).await;
        assert_eq!((made.status, &made.json["status"]), (201, &json!("active")), "{}", made.text);
        let ticks: Vec<_> =
            made.json["next"].as_array().unwrap().iter().map(|next| next["tick"].clone()).collect();
        // It is 15 January 2027, 08:00 UTC.
        assert_eq!(ticks[0], json!("2027-01-16T01:30:00.000000Z"));
        assert_eq!(ticks.len(), 5);
        assert_eq!(put(admin, "nightly", nightly).await.status, 200);

        let run = post(admin, "/nightly/run", json!({"run_id": "by-hand"})).await;
        assert_eq!((run.status, &run.json["run_id"]), (201, &json!("by-hand")), "{}", run.text);
        let again = post(admin, "/nightly/run", json!({"run_id": "by-hand"})).await;
        assert_eq!((again.status, &again.json["repeated"]), (200, &json!(true)));
        let listed = admin.send("GET", "/api/v1/runs?schedule=nightly", None).await.json;
        assert_eq!(listed["runs"][0]["run_id"], "by-hand");
        let of = admin.send("GET", "/api/v1/runs/by-hand", None).await.json;
        assert_eq!(of["schedule"]["name"], "nightly");
        let given = admin.send("GET", "/api/v1/runs/by-hand/input", None).await.json;
        assert_eq!(given, json!({"for": "night"}));
        assert_eq!(get(admin, "/nightly/input").await, json!({"for": "night"}));

        let reason = json!({"reason": "holidays"});
        let paused = post(admin, "/nightly/pause", reason).await.json;
        assert_eq!((&paused["status"], &paused["next"]), (&json!("paused"), &json!([])));
        assert_eq!(paused["paused_reason"], "holidays");
        assert_eq!(post(admin, "/nightly/resume", json!({})).await.json["status"], "active");
        let shown = get(admin, "/nightly").await;
        assert_eq!(shown["recent"][0]["run_id"], "by-hand");
        assert_eq!(shown["recent"][0]["status"], "waiting");
        assert_eq!(shown["recent"][0]["manual"], true);
        for (method, path) in
            [("POST", "/api/v1/runs/by-hand/cancel"), ("DELETE", "/api/v1/runs/by-hand")]
        {
            assert_eq!(admin.send(method, path, None).await.status, 200, "{path}");
        }
        assert_eq!(get(admin, "/nightly").await["recent"][0]["status"], "deleted");

        for name in ["b", "a"] {
            put(admin, name, json!({"workflow": "report", "every_seconds": 900})).await;
        }
        let page = get(admin, "?limit=2").await;
        let names = |page: &Value| -> Vec<String> {
            let all = page["schedules"].as_array().unwrap().iter();
            all.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!((names(&page), &page["next"]), (vec!["a".into(), "b".into()], &json!("b")));
        let page = get(admin, "?limit=2&after=b").await;
        assert_eq!((names(&page), &page["next"]), (vec!["nightly".into()], &Value::Null));
        let gone = admin.send("DELETE", &format!("{SCHEDULES}/a"), None).await;
        assert_eq!((gone.status, &gone.json["status"]), (200, &json!("deleted")));
        let foreign = server.tenant("other").await;
        let absent = foreign.send("GET", &format!("{SCHEDULES}/nightly"), None).await;
        assert_eq!(absent.problem(), (404, "not_found"));
    });
}

#[test]
fn tick_fires_when_the_clock_comes_to_it() {
    with_server(async |server| {
        let admin = &server.admin;
        let document = json!({"document": "name: report\nsteps:\n  - step: write\n"});
        assert_eq!(admin.send("POST", "/api/v1/workflows", Some(&document)).await.status, 200);
        let body = json!({"workflow": "report", "every_seconds": 60, "input": "ants"});
        let tick = put(admin, "beat", body).await.json["next"][0]["tick"].clone();
        let worker = server.worker_of(admin, json!({"name": "w", "handlers": ["*"]})).await;

        server.clock.advance(Duration::from_secs(60));
        // Connections that had waited for a minute are over.
        let step = worker.take().await;

        assert_eq!(step["payload"], "ants");
        let id = step["step"]["workflow_run_id"].as_str().unwrap();
        let run = admin.send("GET", &format!("/api/v1/runs/{id}"), None).await.json;
        assert_eq!(run["started_by"], "schedule:beat");
        assert_eq!(run["schedule"], json!({"name": "beat", "tick": tick}));
        assert_eq!(get(admin, "/beat").await["recent"][0]["run_id"], id);
    });
}

#[test]
fn mistakes_say_where_they_are_and_what_would_be_right() {
    with_server(async |server| {
        let admin = &server.admin;
        workflow(admin).await;
        let mistakes = [
            (json!({"workflow": "report"}), "invalid_schedule", "either `cron` or `every_seconds`"),
            (
                json!({"workflow": "reprt", "every_seconds": 9}),
                "unknown_workflow",
                "did you mean `report`",
            ),
            (
                json!({"workflow": "report", "cron": "0 25 * * *"}),
                "invalid_cron",
                "column 3: `25` is no hour",
            ),
            (
                json!({"workflow": "report", "cron": "0 9 * * *", "timezone": "Berlin"}),
                "unknown_timezone",
                "did you mean `Europe/Berlin`",
            ),
            (
                json!({"workflow": "report", "cron": "0 0 30 2 *"}),
                "no_ticks",
                "there is no such day",
            ),
            (
                json!({"workflow": "report", "every_seconds": 0.5}),
                "invalid_interval",
                "at least 1s",
            ),
            (
                json!({"workflow": "report", "every_seconds": -1}),
                "invalid_duration",
                "not negative",
            ),
            (
                json!({"workflow": "report", "every_seconds": 9, "timezone": "UTC"}),
                "invalid_schedule",
                "elapsed",
            ),
            (
                json!({"workflow": "report", "every_seconds": 9, "overlap": "x"}),
                "invalid_schedule",
                "buffer_one",
            ),
            (
                json!({"workflow": "report", "every_seconds": 9, "end": "soon"}),
                "invalid_time",
                "RFC 3339",
            ),
            (
                json!({"workflow": "report", "every_seconds": 9, "version": "zz"}),
                "not_found",
                "version",
            ),
        ];
        for (body, code, words) in mistakes {
            let answer = put(admin, "x", body.clone()).await;
            assert_eq!(answer.problem().1, code, "{body}: {}", answer.text);
            assert!(answer.status < 500 && answer.text.contains(words), "{body}: {}", answer.text);
        }
        let long = put(admin, "-", json!({"workflow": "report", "every_seconds": 9})).await;
        assert_eq!(long.problem(), (400, "invalid_name"));
        assert_eq!(get(admin, "").await["schedules"], json!([]), "nothing was made");
    });
}
