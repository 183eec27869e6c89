//! A server that is told to end answers whoever waits, and finishes what is in flight.

use serde_json::json;

use crate::server::with_server;

#[test]
fn parked_polls_are_sent_away_and_the_server_ends() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let parked = worker.park().await;

        server.shutdown.cancel();

        assert_eq!(parked.await.unwrap().status, 204);
    });
}

#[test]
fn task_given_before_the_drain_can_be_reported_after_the_restart() {
    with_server(async |server| {
        let worker = server.worker("w").await;
        let task = server.submit(json!("x")).await;
        let claimed = worker.take().await;
        assert_eq!(claimed["run_id"], task);
        assert_eq!(worker.complete(&claimed, json!("done")).await.status, 200);
        assert_eq!(worker.complete(&claimed, json!("done")).await.status, 200);
        assert_eq!(server.admin.task(&task).await["output"], "done");
    });
}
