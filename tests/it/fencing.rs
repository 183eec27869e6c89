//! Two servers on one database, and a server killed while the database holds its commit back.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_server_fences_the_first_on_sqlite() {
    two_servers(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_server_fences_the_first_on_postgres() {
    two_servers(Place::postgres().await).await;
}

async fn two_servers(place: Place) {
    let first = Server::start(&place.url());
    let before = first.client().submit_surely("before", &json!(0)).await;
    let second = Server::start(&place.url());
    let submit = |client: &Client| {
        client.request("POST", "/api/v1/fleet/tasks").json(&json!({"payload": 1}))
    };

    let fenced = first.client();
    for _ in 0..3 {
        let (status, body, _) = fenced.send(submit(&fenced)).await.unwrap();
        assert_eq!(status, 503, "the first must not acknowledge: {body}");
    }

    let owner = second.client();
    let after = owner.submit_surely("after", &json!(2)).await;
    let listed = owner.get("/api/v1/fleet/tasks").await;
    let ids: Vec<_> =
        listed["tasks"].as_array().unwrap().iter().map(|t| t["run_id"].clone()).collect();
    assert_eq!(ids, [json!(after), json!(before)]);
}

/// The row of the cell is locked by somebody else, so the append waits; then the server dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_that_is_held_back_reveals_nothing() {
    let place = Place::postgres().await;
    let mut server = Server::start(&place.url());
    let client = server.client();
    let stored = client.submit_surely("stored", &json!(1)).await;
    let mut blocker = PgConnection::connect(&place.url()).await.unwrap();
    execute(&mut blocker, "BEGIN").await;
    execute(&mut blocker, "SELECT * FROM cells WHERE cell = 1 FOR UPDATE").await;

    let held = client.request("POST", "/api/v1/fleet/tasks").json(&json!({"payload": 2}));
    let (status, body, _) = client.send(held).await.unwrap();
    assert_eq!((status, body["code"].as_str()), (503, Some("outcome_unknown")), "{body}");
    server.process.kill9();
    execute(&mut blocker, "ROLLBACK").await;

    let server = Server::start(&place.url());
    let client = server.client();
    let next = client.submit_surely("next", &json!(3)).await;
    let listed = client.get("/api/v1/fleet/tasks").await;
    let ids: Vec<_> =
        listed["tasks"].as_array().unwrap().iter().map(|t| t["run_id"].clone()).collect();
    // The held one may have been stored after all: it was never acknowledged. Nothing else may be there.
    assert_eq!(ids.first(), Some(&json!(next)));
    assert_eq!(ids.last(), Some(&json!(stored)));
    assert!(ids.len() <= 3, "{listed}");
    let events = events(&place.url()).await;
    verify(&events);
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}
