//! kill -9 of PostgreSQL itself.

use fleetward_store::testing::Postgres;
use serde_json::json;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_outlives_its_database() {
    // A server of its own: the others must not lose theirs.
    let postgres = Postgres::start_own();
    let url = postgres.fresh_database().await;
    let server = Server::start(&url);
    let client = server.client();
    let before = client.submit("before", &json!(1)).await;

    postgres.kill9();
    for _ in 0..3 {
        let answer = client.send(client.submission(&json!(2))).await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.retry_after.is_some(), "503 says when to try again");
        let code = answer.body["code"].as_str().unwrap();
        assert!(["outcome_unknown", "unavailable"].contains(&code), "{}", answer.body);
    }
    assert_eq!(client.send(client.request("GET", "/readyz")).await.status, 503);
    assert_eq!(client.send(client.request("GET", "/healthz")).await.status, 200);

    // Nobody asks it for anything: it goes on by itself.
    postgres.start_again();
    server.log.until("journal writes again");
    let after = client.submit("after", &json!(3)).await;
    for task in [before, after] {
        client.get(&format!("/api/v1/fleet/tasks/{task}")).await;
    }
    let actors = client.get("/api/v1/system/actors").await;
    for actor in actors["actors"].as_array().unwrap() {
        assert_eq!(actor["restarts"], 0, "an outage spends no restart budget: {actor}");
    }

    let doctor = fleetward().args(["doctor", "--database-url", &url]).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.success(), "{said}");
    for setting in ["note  max_wal_size", "note  checkpoint_timeout"] {
        assert!(said.contains(setting), "as they come: {said}");
    }
}
