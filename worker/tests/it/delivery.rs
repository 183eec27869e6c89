//! Reports, and how often they are repeated.

use std::time::Duration;

use expect_test::expect;
use fleetward_worker::{Outcome, Summary, TransportError, WorkerError, from_fn};
use serde_json::Value;

use crate::plane::{Answer, LEASE, Plane, echo, gives, losing, once, outage, refusal, rejection};

#[tokio::test(start_paused = true)]
async fn a_report_is_repeated_until_it_is_accepted() {
    let plane =
        Plane::new().claims([gives(["t1"])]).reports((0..20).map(|_| Answer::Now(Err(outage()))));

    let summary = plane.start(echo(), once()).ended.await.unwrap();

    assert_eq!(summary, Ok(Summary { completed: 1, ..Summary::default() }));
    assert_eq!(plane.times("report t1/1 token-of-t1 completed").len(), 21);
    // Meanwhile its lease is renewed.
    assert!(plane.times("heartbeat [t1").len() > 2);
}

#[tokio::test(start_paused = true)]
async fn the_server_says_when_to_come_again() {
    let retry_after = Some(Duration::from_secs(40));
    let busy = TransportError::Unavailable { detail: "busy".to_owned(), retry_after };
    let plane = Plane::new().claims([gives(["t1"])]).reports([Answer::Now(Err(busy))]);

    plane.start(echo(), once()).ended.await.unwrap().unwrap();

    let times = plane.times("report");
    assert!(times[1] - times[0] >= Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_refused_becomes_a_failure_that_says_so() {
    let plane = Plane::new().claims([gives(["t1"])]).reports([Answer::Now(Err(refusal()))]);

    let summary = plane.start(echo(), once()).ended.await.unwrap();

    assert_eq!(summary, Ok(Summary { failed: 1, ..Summary::default() }));
    expect![[r#"
        claim #1
        heartbeat [t1/1 token-of-t1]
        report t1/1 token-of-t1 completed {"say":"hello"}
        report t1/1 token-of-t1 failed the result was refused (nope): no
    "#]]
    .assert_eq(&plane.transcript());
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_refused_for_good_is_dropped() {
    let plane = Plane::new().claims([gives(["t1"])]).reports([Answer::Now(Err(refusal()))]);
    let fails = from_fn(|_task, _cx| async { Outcome::Failed("it broke".to_owned()) });

    let summary = plane.start(fails, once()).ended.await.unwrap();

    assert_eq!(summary, Ok(Summary { undelivered: 1, ..Summary::default() }));
    assert_eq!(plane.times("report").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_offered_even_after_the_attempt_was_lost() {
    // It is still accepted as long as nobody else was given the task.
    let plane = Plane::new()
        .claims([gives(["t1"])])
        .reports([Answer::After(2 * LEASE, Err(outage()))])
        .beats([Answer::Now(Ok(losing("no such task"))), Answer::Now(Ok(losing("t1")))]);

    let done = from_fn(|_task, _cx| async { Outcome::Completed(Value::Null) });
    let summary = plane.start(done, once()).ended.await.unwrap();

    assert_eq!(summary, Ok(Summary { completed: 1, ..Summary::default() }));
    // And it is not named any more.
    assert_eq!(plane.times("heartbeat [t1").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_given_up_long_after_its_lease() {
    let plane = Plane::new().claims([gives(["t1"])]);

    let worker = plane.start(echo(), once());
    plane.asked("claim", 1).await;
    plane.down(Some(outage()));
    let summary = worker.ended.await.unwrap();

    assert_eq!(summary, Ok(Summary { undelivered: 1, ..Summary::default() }));
    let last = *plane.times("report").last().unwrap();
    assert!(last > Duration::from_secs(10 * 60) && last < Duration::from_secs(20 * 60));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_waits_for_approval_again_keeps_its_result() {
    let pending = Answer::Now(Err(TransportError::Pending));
    let plane = Plane::new().claims([gives(["t1"])]).reports([pending]);

    let summary = plane.start(echo(), once()).ended.await.unwrap();

    assert_eq!(summary, Ok(Summary { completed: 1, ..Summary::default() }));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_turned_away_while_it_reports_stops() {
    let plane = Plane::new().claims([gives(["t1"])]).reports([Answer::Now(Err(rejection()))]);

    let ended = plane.start(echo(), once()).ended.await.unwrap();

    assert!(matches!(ended, Err(WorkerError::Rejected { status: 403, .. })));
    assert_eq!(plane.times("report").len(), 1);
}
