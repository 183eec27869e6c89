//! Heartbeats.

use std::time::Duration;

use expect_test::expect;
use fleetward_wire::workers::{HeartbeatAnswer, WorkerStatus};
use fleetward_worker::{Summary, WorkerError, WorkerOptions};
use tokio::time::{Instant, sleep};

use crate::plane::{
    Answer, Endless, Plane, alive, echo, echo_after, gives, losing, once, outage, refusal,
};

#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_while_a_task_runs_and_name_it() {
    let plane = Plane::new().claims([gives(["t1"])]);

    plane.start(echo_after(Duration::from_secs(95)), once()).ended.await.unwrap().unwrap();

    let named = plane.times("heartbeat [t1/1 token-of-t1]");
    // Soon after the claim, and then every ten seconds, though no lease is that short.
    assert!(named[0] <= Duration::from_millis(250));
    assert_eq!(named.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_over_at_once_costs_no_heartbeat() {
    let plane = Plane::new().claims([gives(["t1"])]);

    plane.start(echo_after(Duration::ZERO), once()).ended.await.unwrap().unwrap();

    assert_eq!(plane.times("heartbeat [t1").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_interval_that_the_server_names_wins() {
    let slower = || Answer::Now(Ok(HeartbeatAnswer { heartbeat_seconds: 60.0, ..alive() }));
    let plane = Plane::new().beats([slower(), slower(), slower()]);

    let worker = plane.start(echo(), WorkerOptions::default());
    plane.asked("heartbeat", 3).await;

    let secs: Vec<_> = plane.times("heartbeat").iter().map(Duration::as_secs).collect();
    assert_eq!(secs, [0, 60, 120]);
    worker.drained().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_attempt_is_stopped_and_nothing_is_said_about_it() {
    let plane = Plane::new()
        .claims([gives(["t1"])])
        .beats([Answer::Now(Ok(alive())), Answer::Now(Ok(losing("t1")))]);
    let endless = Endless::new();

    let summary = plane.start(endless.handler(), once()).ended.await.unwrap();

    endless.stopped().await;
    assert_eq!(summary, Ok(Summary { lost: 1, ..Summary::default() }));
    expect![[r#"
        claim #1
        heartbeat [t1/1 token-of-t1]
    "#]]
    .assert_eq(&plane.transcript());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_the_worker_gone_gets_what_it_holds_first() {
    let drain = Answer::Now(Ok(HeartbeatAnswer { drain: true, ..alive() }));
    let plane = Plane::new().claims([gives(["t1"])]).beats([Answer::Now(Ok(alive())), drain]);

    let worker = plane.start(echo_after(Duration::from_secs(20)), WorkerOptions::default());
    let summary = worker.ended.await.unwrap();

    assert_eq!(summary, Ok(Summary { completed: 1, ..Summary::default() }));
    assert_eq!(plane.times("claim").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_worker_stops_at_its_next_heartbeat() {
    let revoked = HeartbeatAnswer { status: WorkerStatus::Revoked, ..alive() };
    let plane = Plane::new()
        .claims([gives(["t1"])])
        .beats([Answer::Now(Ok(alive())), Answer::Now(Ok(revoked))]);
    let endless = Endless::new();

    let ended = plane.start(endless.handler(), WorkerOptions::default()).ended.await.unwrap();

    endless.stopped().await;
    assert!(matches!(ended, Err(WorkerError::Rejected { .. })));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_sooner_while_none_is_answered() {
    let plane = Plane::new();
    plane.down(Some(outage()));

    let worker = plane.start(echo(), WorkerOptions::default());
    sleep(Duration::from_secs(10)).await;

    let beats = plane.times("heartbeat").len();
    assert!((4..100).contains(&beats), "{beats} heartbeats");
    worker.drained().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_heartbeat_does_not_end_the_worker() {
    let plane = Plane::new().beats([Answer::Now(Err(refusal()))]);
    let start = Instant::now();

    let worker = plane.start(echo(), WorkerOptions::default());
    plane.asked("heartbeat", 2).await;

    assert_eq!(start.elapsed(), Duration::from_secs(10));
    worker.drained().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_hangs_costs_no_lease() {
    let plane =
        Plane::new().claims([gives(["t1"])]).beats([Answer::Now(Ok(alive())), Answer::Never]);

    let worker = plane.start(echo_after(Duration::from_secs(100)), once());
    let summary = worker.ended.await.unwrap();

    assert_eq!(summary, Ok(Summary { completed: 1, ..Summary::default() }));
}
