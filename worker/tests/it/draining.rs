//! Shutting down.

use std::future::pending;
use std::time::Duration;

use fleetward_worker::{
    ABORT_AFTER, FINAL_DELIVERY, Outcome, Summary, TransportError, WorkerOptions, from_fn,
};
use tokio::time::Instant;

use crate::plane::{Answer, Endless, Plane, echo_after, gives, outage};

const DRAIN: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn what_runs_may_finish() {
    let plane = Plane::new().claims([gives(["t1"]), gives(["t2"])]);
    let worker = plane.start(echo_after(DRAIN / 2), options());
    plane.asked("heartbeat [t1", 1).await;

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { completed: 1, ..Summary::default() }));
    assert_eq!(plane.times("claim").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_thing_that_is_said_is_a_goodbye() {
    let plane = Plane::new().claims([gives(["t1"])]);
    let worker = plane.start(echo_after(DRAIN / 2), options());
    plane.asked("heartbeat [t1", 1).await;

    worker.drained().await.unwrap();

    let goodbye = plane.times("goodbye");
    assert_eq!(goodbye.len(), 1);
    assert!(plane.times("").iter().all(|at| at <= &goodbye[0]));
    assert!(plane.said("").ends_with("goodbye\n"));
}

#[tokio::test(start_paused = true)]
async fn who_was_turned_away_says_no_goodbye() {
    let gone = TransportError::Rejected { status: 403, detail: "revoked".to_owned() };
    let plane = Plane::new().claims([Answer::Now(Err(gone))]);

    assert!(plane.start(echo_after(DRAIN), options()).ended.await.unwrap().is_err());
    assert_eq!(plane.times("goodbye").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_in_time_is_stopped_and_handed_back() {
    let plane = Plane::new().claims([gives(["t1"])]);
    let endless = Endless::new();
    let worker = plane.start(endless.handler(), options());
    endless.started().await;
    let asked = Instant::now();

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { handed_back: 1, ..Summary::default() }));
    assert_eq!(endless.stopped().await - asked, DRAIN);
    assert!(plane.transcript().contains("release t1/1 token-of-t1 draining"));
    assert!(!plane.transcript().contains("report"));
}

#[tokio::test(start_paused = true)]
async fn what_completes_while_it_is_being_stopped_is_reported() {
    let plane = Plane::new().claims([gives(["t1"])]);
    let saves = from_fn(|_task, cx: fleetward_worker::TaskContext| async move {
        cx.cancelled().await;
        Outcome::Completed("saved what there was".into())
    });
    let worker = plane.start(saves, options());
    plane.asked("heartbeat [t1", 1).await;

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { completed: 1, ..Summary::default() }));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_stop_is_dropped() {
    let plane = Plane::new().claims([gives(["t1"])]);
    let worker = plane.start(from_fn(|_task, _cx| pending::<Outcome>()), options());
    plane.asked("heartbeat [t1", 1).await;
    let asked = Instant::now();

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { handed_back: 1, ..Summary::default() }));
    assert_eq!(asked.elapsed(), DRAIN + ABORT_AFTER);
}

#[tokio::test(start_paused = true)]
async fn the_last_words_are_not_repeated_for_ever() {
    let plane = Plane::new().claims([gives(["t1"])]);
    let worker = plane.start(echo_after(Duration::from_secs(1)), options());
    plane.asked("heartbeat [t1", 1).await;
    plane.down(Some(outage()));
    let asked = Instant::now();

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { undelivered: 1, ..Summary::default() }));
    assert_eq!(asked.elapsed(), DRAIN + FINAL_DELIVERY);
}

#[tokio::test(start_paused = true)]
async fn after_a_short_drain_the_last_words_are_short_too() {
    let plane = Plane::new().claims([gives(["t1"])]);
    let short = Duration::from_secs(2);
    let options = WorkerOptions { drain_deadline: short, ..WorkerOptions::default() };
    let worker = plane.start(echo_after(Duration::from_secs(1)), options);
    plane.asked("heartbeat [t1", 1).await;
    plane.down(Some(outage()));
    let asked = Instant::now();

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { undelivered: 1, ..Summary::default() }));
    assert_eq!(asked.elapsed(), short + short);
}

fn options() -> WorkerOptions {
    WorkerOptions { drain_deadline: DRAIN, ..WorkerOptions::default() }
}
