//! Claiming and running.

use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use fleetward_worker::{Outcome, Summary, TransportError, WorkerError, WorkerOptions, from_fn};
use tokio::sync::Barrier;
use tokio::time::{Instant, timeout};

use crate::plane::{Answer, Endless, Plane, echo, gives, once, outage, refusal, rejection, seats};

#[tokio::test(start_paused = true)]
async fn a_task_is_claimed_run_and_reported() {
    let plane = Plane::new().claims([gives(["t1"])]);

    let summary = plane.start(echo(), once()).ended.await.unwrap();

    assert_eq!(summary, Ok(Summary { completed: 1, ..Summary::default() }));
    expect![[r#"
        claim #1
        heartbeat [t1/1 token-of-t1]
        report t1/1 token-of-t1 completed {"say":"hello"}
    "#]]
    .assert_eq(&plane.transcript());
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_an_answer_is_repeated_under_the_same_id() {
    let plane = Plane::new().claims([
        Answer::Now(Ok(vec![])),
        Answer::Now(Err(outage())),
        Answer::Now(Err(outage())),
        gives(["t1"]),
    ]);

    plane.start(echo(), once()).ended.await.unwrap().unwrap();

    expect![[r#"
        claim #1
        claim #2
        claim #2
        claim #2
        heartbeat [t1/1 token-of-t1]
        report t1/1 token-of-t1 completed {"say":"hello"}
    "#]]
    .assert_eq(&plane.transcript());
}

#[tokio::test(start_paused = true)]
async fn every_seat_runs_a_task_of_its_own() {
    let plane = Plane::new().claims([gives(["t1"]), gives(["t2"]), gives(["t3"])]);
    let all_three = Arc::new(Barrier::new(3));
    let execute = from_fn(move |_task, _cx| {
        let all_three = all_three.clone();
        async move {
            all_three.wait().await;
            Outcome::Failed("but it met the others".to_owned())
        }
    });

    let worker = plane.start(execute, seats(3));
    plane.asked("report", 1).await;

    assert_eq!(worker.drained().await, Ok(Summary { failed: 3, ..Summary::default() }));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_given_out_twice_runs_once() {
    let plane = Plane::new().claims([gives(["t1"]), gives(["t1"])]);
    let endless = Endless::new();

    let worker = plane.start(endless.handler(), seats(2));
    plane.asked("claim", 3).await;

    assert_eq!(*endless.started.borrow(), 1);
    worker.drained().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_not_approved_yet_waits() {
    let pending = || Answer::Now(Err(TransportError::Pending));
    let plane = Plane::new().claims([pending(), pending(), pending(), gives(["t1"])]);

    let summary = plane.start(echo(), once()).ended.await.unwrap();

    assert_eq!(summary.unwrap().completed, 1);
    assert_eq!(plane.times("claim #1").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_turned_away_stops_everything() {
    let later = Duration::from_secs(5);
    let plane = Plane::new().claims([gives(["t1"]), Answer::After(later, Err(rejection()))]);
    let endless = Endless::new();

    let ended = plane.start(endless.handler(), seats(2)).ended.await.unwrap();

    let error = ended.unwrap_err();
    assert_eq!(error, WorkerError::Rejected { status: 403, detail: "revoked".to_owned() });
    assert_eq!(error.exit_code(), 2);
    endless.stopped().await;
    assert!(!plane.transcript().contains("report"));
}

#[tokio::test(start_paused = true)]
async fn claims_that_are_always_refused_end_the_worker() {
    let plane = Plane::new().claims((0..5).map(|_| Answer::Now(Err(refusal()))));

    let ended = plane.start(echo(), once()).ended.await.unwrap();

    assert!(matches!(ended, Err(WorkerError::Refused { .. })));
    assert_eq!(plane.times("claim").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn empty_answers_that_come_at_once_do_not_make_it_spin() {
    let plane = Plane::new().claims((0..1000).map(|_| Answer::Now(Ok(vec![]))));

    let worker = plane.start(echo(), WorkerOptions::default());
    tokio::time::sleep(Duration::from_secs(60)).await;

    assert!(plane.times("claim").len() < 60, "{} claims", plane.times("claim").len());
    worker.drained().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_can_run_nothing_gives_back_at_a_gentle_pace() {
    let plane = Plane::new().claims((0..1000).map(|n| gives([&format!("t{n}")])));
    let unfit = from_fn(|_task, _cx| async { Outcome::GiveBack("no GPU".to_owned()) });

    let worker = plane.start(unfit, WorkerOptions::default());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let summary = worker.drained().await.unwrap();

    assert!((1..60).contains(&summary.handed_back), "{summary:?}");
    assert!(plane.transcript().contains("release t0/1 token-of-t0 no GPU"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_handler_is_a_failed_task_and_no_more() {
    let plane = Plane::new().claims([gives(["t1"]), gives(["t2"])]);
    let execute = from_fn(|task, _cx| async move {
        assert_eq!(task.run_id, "t2", "a panic that this test wants to see");
        Outcome::Completed(task.run_id.into())
    });

    let worker = plane.start(execute, WorkerOptions::default());
    plane.asked("report", 2).await;
    worker.drained().await.unwrap();

    assert!(plane.transcript().contains("failed the handler panicked"));
    assert!(plane.transcript().contains(r#"completed "t2""#));
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_leaves_its_poll_at_once_when_it_is_shut_down() {
    let plane = Plane::new();
    let worker = plane.start(echo(), WorkerOptions::default());
    plane.asked("claim", 1).await;
    let asked = Instant::now();

    let summary = timeout(Duration::from_secs(60), worker.drained()).await.unwrap();

    assert_eq!(summary, Ok(Summary::default()));
    assert_eq!(asked.elapsed(), Duration::ZERO);
}
