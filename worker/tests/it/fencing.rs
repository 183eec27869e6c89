//! Leases: an attempt is over here before it can be over there.

use std::time::Duration;

use expect_test::expect;
use fleetward_worker::{Summary, WorkerOptions};
use tokio::time::{Instant, sleep};

use crate::plane::{
    Answer, Endless, LEASE, Plane, alive, echo_after, gives, losing, once, outage, task,
};

#[tokio::test(start_paused = true)]
async fn without_heartbeats_an_attempt_stops_before_its_lease_ends() {
    let plane = Plane::new().claims([gives(["t1"])]);
    let endless = Endless::new();
    let start = Instant::now();

    let worker = plane.start(endless.handler(), WorkerOptions::default());
    endless.started().await;
    plane.down(Some(outage()));
    let ran = endless.stopped().await - start;

    assert!(ran < LEASE && ran > LEASE.mul_f64(0.8), "stopped after {ran:?}");
    worker.shutdown.cancel();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_fenced_is_handed_back_and_not_reported() {
    let plane = Plane::new().claims([gives(["t1"])]);
    let endless = Endless::new();

    let worker = plane.start(endless.handler(), once());
    endless.started().await;
    plane.down(Some(outage()));
    endless.stopped().await;
    plane.down(None);
    let summary = worker.ended.await.unwrap();

    assert_eq!(summary, Ok(Summary { lost: 1, ..Summary::default() }));
    assert!(plane.transcript().contains("release t1/1 token-of-t1 fenced"));
    assert!(!plane.transcript().contains("report"));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_good_from_when_it_was_sent() {
    let slow = Duration::from_secs(9);
    let slow_then_silent =
        [Answer::After(slow, Ok(alive())), Answer::Never, Answer::Never, Answer::Never];
    let plane = Plane::new()
        .claims([gives(["t1"])])
        .beats([Answer::Now(Ok(alive()))])
        .beats(slow_then_silent);
    let endless = Endless::new();
    let start = Instant::now();

    let worker = plane.start(endless.handler(), WorkerOptions::default());
    let ran = endless.stopped().await - start;

    let good_until = plane.times("heartbeat [t1")[0] + LEASE.mul_f64(0.9);
    assert!(ran >= good_until && ran - good_until < slow, "stopped after {ran:?}");
    worker.shutdown.cancel();
}

#[tokio::test(start_paused = true)]
async fn an_answer_older_than_its_lease_is_confirmed_before_the_task_runs() {
    let options = WorkerOptions { poll_timeout: 2 * LEASE, ..once() };
    let plane = Plane::new().claims([Answer::After(2 * LEASE, Ok(vec![task("t1")]))]);

    let worker = plane.start(echo_after(Duration::from_millis(10)), options);
    worker.ended.await.unwrap().unwrap();

    expect![[r#"
        claim #1
        heartbeat [t1/1 token-of-t1]
        report t1/1 token-of-t1 completed {"say":"hello"}
    "#]]
    .assert_eq(&plane.transcript());
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_that_the_server_does_not_confirm_never_runs() {
    let plane = Plane::new().claims([Answer::After(2 * LEASE, Ok(vec![task("t1")]))]);
    let endless = Endless::new();

    let options = WorkerOptions { poll_timeout: 2 * LEASE, ..once() };
    let worker = plane.start(endless.handler(), options);
    sleep(2 * LEASE - Duration::from_secs(1)).await;
    let plane = plane.beats([Answer::Now(Ok(losing("t1")))]);
    let summary = worker.ended.await.unwrap().unwrap();

    assert_eq!((*endless.started.borrow(), summary.lost), (0, 1));
    assert!(!plane.transcript().contains("report"));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_repeated_counts_its_lease_from_the_first_request() {
    // The task may have been given with the first answer, which was lost.
    let plane = Plane::new().claims([Answer::After(LEASE, Err(outage())), gives(["t1"])]);

    let worker = plane.start(echo_after(Duration::from_millis(10)), once());
    worker.ended.await.unwrap().unwrap();

    let confirmed = plane.times("heartbeat [t1");
    let reported = plane.times("report");
    assert!(confirmed.len() == 1 && confirmed[0] < reported[0]);
}
