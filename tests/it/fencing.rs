//! Two servers on one database, and a server killed while the database holds its commit back.

use serde_json::{Value, json};
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
    let fenced = first.client();
    let before = fenced.submit("before", &json!(0)).await;
    let second = Server::start(&place.url());
    let owner = second.client();
    // Its answer is its proof that it owns the organisation by now.
    assert_eq!(tasks(&owner).await, [json!(before)]);

    for _ in 0..3 {
        let answer = fenced.send(fenced.submission(&json!(1))).await;
        assert_eq!(answer.status, 503, "the first must not acknowledge: {}", answer.body);
    }

    let after = owner.submit("after", &json!(2)).await;
    assert_eq!(tasks(&owner).await, [json!(after), json!(before)]);
}

/// The row of the cell is locked by somebody else, so the append waits; then the server dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_that_is_held_back_reveals_nothing() {
    let place = Place::postgres().await;
    let mut server = Server::start(&place.url());
    let client = server.client();
    let stored = client.submit("stored", &json!(1)).await;
    let mut blocker = PgConnection::connect(&place.url()).await.unwrap();
    execute(&mut blocker, "BEGIN").await;
    execute(&mut blocker, "SELECT * FROM cells WHERE cell = 1 FOR UPDATE").await;

    let held = client.send(client.submission(&json!(2))).await;
    let code = held.body["code"].as_str();
    assert_eq!((held.status, code), (503, Some("outcome_unknown")), "{}", held.body);
    server.process.kill9();
    execute(&mut blocker, "ROLLBACK").await;

    let server = Server::start(&place.url());
    let client = server.client();
    let next = client.submit("next", &json!(3)).await;
    let ids = tasks(&client).await;
    // The held one may have been stored after all: it was never acknowledged. Nothing else may be
    // there.
    assert_eq!(ids.first(), Some(&json!(next)));
    assert_eq!(ids.last(), Some(&json!(stored)));
    assert!(ids.len() <= 3, "{ids:?}");
    verify(&events(&place.url()).await);
}

/// The ids of all tasks, newest first.
async fn tasks(client: &Client) -> Vec<Value> {
    let listed = client.get("/api/v1/fleet/tasks").await;
    listed["tasks"].as_array().unwrap().iter().map(|task| task["run_id"].clone()).collect()
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}
