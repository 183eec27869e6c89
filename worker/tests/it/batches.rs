//! Many seats: tasks that are claimed together, and reports that go together.

use std::time::Duration;

use expect_test::expect;
use fleetward_wire::tasks::Claimed;
use fleetward_worker::{Execute, Outcome, Summary, TransportError, WorkerError, WorkerOptions};
use fleetward_worker::{TaskContext, from_fn};
use tokio::time::{Instant, sleep};

use crate::plane::{Answer, Endless, LEASE, Plane, Running, gives, outage, refusal, rejection};
use crate::plane::{seats, task};

/// So long is the first request with reports under way: all others end meanwhile.
const SLOW: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn one_claim_fills_all_free_seats() {
    let plane = Plane::new().claims([gives(["t1", "t2", "t3"])]);
    let endless = Endless::new();

    let worker = plane.start(endless.handler(), seats(3));
    sleep(Duration::from_secs(5)).await;

    assert_eq!(*endless.started.borrow(), 3);
    expect![[r#"
        claim #1 for 3 seats
        heartbeat [t1/1 token-of-t1, t2/1 token-of-t2, t3/1 token-of-t3]
    "#]]
    .assert_eq(&plane.transcript());
    worker.shutdown.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_claim_asks_for_the_seats_that_are_free() {
    let plane = Plane::new().claims([gives(["t1", "t2"])]);

    let worker = plane.start(as_its_name_says(), seats(3));
    plane.asked("claim", 3).await;

    // The second is parked while the two tasks end, and brings nothing in its 20 s.
    expect![[r#"
        claim #1 for 3 seats
        claim #2
        claim #3 for 3 seats
    "#]]
    .assert_eq(&plane.said("claim"));
    worker.drained().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_claim_asks_for_more_than_may_be_lost_at_once() {
    let plane = Plane::new();

    let worker = plane.start(as_its_name_says(), seats(250));
    plane.asked("claim", 1).await;

    assert_eq!(plane.said("claim"), "claim #1 for 100 seats\n");
    worker.drained().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_an_answer_is_claimed_again_under_the_same_id() {
    let plane = Plane::new().claims([
        Answer::Now(Err(outage())),
        Answer::After(Duration::from_secs(3), Err(outage())),
        gives(["t1", "t2"]),
    ]);

    let worker = plane.start(as_its_name_says(), seats(2));
    plane.asked("report t2", 1).await;
    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { completed: 2, ..Summary::default() }));
    let claims = plane.said("claim");
    assert!(claims.starts_with(&"claim #1 for 2 seats\n".repeat(3)), "{claims}");
    assert_eq!(claims.matches("#1").count(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_twice_in_a_batch_runs_once() {
    let plane = Plane::new().claims([gives(["t1", "t1", "t2"])]);
    let endless = Endless::new();

    let worker = plane.start(endless.handler(), seats(3));
    plane.asked("claim #2", 1).await;

    assert_eq!(plane.said("claim"), "claim #1 for 3 seats\nclaim #2\n");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*endless.started.borrow(), 2);
    worker.shutdown.cancel();
}

#[tokio::test(start_paused = true)]
async fn what_ends_while_a_report_is_under_way_is_reported_together() {
    let (plane, worker) = four(Plane::new()).await;

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { completed: 4, ..Summary::default() }));
    expect![[r#"
        report t1/1 token-of-t1 completed "t1"
        report t2/1 token-of-t2 completed "t2" + t3/1 token-of-t3 completed "t3" + t4/1 token-of-t4 completed "t4"
    "#]]
    .assert_eq(&plane.said("report"));
    let reported = plane.times("report");
    assert_eq!(reported[1] - reported[0], SLOW);
    // The leases of all four are renewed until then.
    assert!(plane.times("heartbeat [t1/1 token-of-t1, t2").iter().any(|at| *at >= SLOW));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_refused_does_not_hurt_those_it_goes_with() {
    let (plane, worker) = four(Plane::new().verdicts("t3", [refusal()])).await;

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { completed: 3, failed: 1, ..Summary::default() }));
    expect![[r#"
        report t1/1 token-of-t1 completed "t1"
        report t2/1 token-of-t2 completed "t2" + t3/1 token-of-t3 completed "t3" + t4/1 token-of-t4 completed "t4"
        report t3/1 token-of-t3 failed the result was refused (nope): no
    "#]]
    .assert_eq(&plane.said("report"));
}

#[tokio::test(start_paused = true)]
async fn a_report_whose_outcome_is_unknown_is_repeated_without_the_others() {
    let (plane, worker) =
        four(Plane::new().verdicts("t3", [outage(), TransportError::Pending])).await;

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { completed: 4, ..Summary::default() }));
    expect![[r#"
        report t1/1 token-of-t1 completed "t1"
        report t2/1 token-of-t2 completed "t2" + t3/1 token-of-t3 completed "t3" + t4/1 token-of-t4 completed "t4"
        report t3/1 token-of-t3 completed "t3"
        report t3/1 token-of-t3 completed "t3"
    "#]]
    .assert_eq(&plane.said("report"));
}

#[tokio::test(start_paused = true)]
async fn reports_that_are_refused_together_are_sent_one_by_one() {
    let plane = Plane::new()
        .reports([Answer::After(SLOW, Ok(())), Answer::Now(Err(refusal()))])
        .verdicts("t3", [refusal()]);
    let worker = start_four(&plane).await;

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { completed: 3, failed: 1, ..Summary::default() }));
    expect![[r#"
        report t1/1 token-of-t1 completed "t1"
        report t2/1 token-of-t2 completed "t2" + t3/1 token-of-t3 completed "t3" + t4/1 token-of-t4 completed "t4"
        report t2/1 token-of-t2 completed "t2"
        report t3/1 token-of-t3 completed "t3"
        report t4/1 token-of-t4 completed "t4"
        report t3/1 token-of-t3 failed the result was refused (nope): no
    "#]]
    .assert_eq(&plane.said("report"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_came_to_nothing_is_repeated_with_what_ended_since() {
    let busy = TransportError::Unavailable { detail: "busy".to_owned(), retry_after: Some(SLOW) };
    let plane = Plane::new().reports([Answer::Now(Err(busy))]);
    let worker = start_four(&plane).await;

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { completed: 4, ..Summary::default() }));
    let times = plane.times("report");
    assert!(times.len() == 2 && times[1] - times[0] >= SLOW, "{times:?}");
    assert!(plane.said("report").contains(r#""t1" + t2/1"#));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_turned_away_in_one_of_many_answers_stops() {
    let (_plane, worker) = four(Plane::new().verdicts("t3", [rejection()])).await;

    let ended = worker.drained().await;

    assert!(matches!(ended, Err(WorkerError::Rejected { status: 403, .. })));
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_batch_that_did_not_begin_are_handed_back_when_the_worker_drains() {
    // Their leases are too old to be sure of, and no heartbeat confirms them.
    let batch = ["t1", "t2", "t3"].map(task).into();
    let plane = Plane::new().claims([Answer::After(2 * LEASE, Ok(batch))]);
    let endless = Endless::new();
    let options = WorkerOptions { poll_timeout: 2 * LEASE, ..seats(3) };
    let worker = plane.start(endless.handler(), options);
    sleep(2 * LEASE - Duration::from_secs(1)).await;
    let plane = plane.beats([Answer::Never, Answer::Never]);
    plane.asked("heartbeat [t1", 1).await;
    let asked = Instant::now();

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { handed_back: 3, ..Summary::default() }));
    assert_eq!((*endless.started.borrow(), asked.elapsed()), (0, Duration::ZERO));
    assert_eq!(plane.said("release").matches(" draining\n").count(), 3);
}

#[tokio::test(start_paused = true)]
async fn last_words_do_not_wait_for_the_end_of_a_pause() {
    let retry_after = Some(Duration::from_secs(300));
    let busy = TransportError::Unavailable { detail: "busy".to_owned(), retry_after };
    let plane = Plane::new().reports([Answer::Now(Err(busy))]);
    let worker = start_four(&plane).await;
    let asked = Instant::now();

    let summary = worker.drained().await;

    assert_eq!(summary, Ok(Summary { completed: 4, ..Summary::default() }));
    assert_eq!(asked.elapsed(), WorkerOptions::default().drain_deadline);
}

/// A worker with four tasks that all end while the first report is under way.
async fn four(plane: Plane) -> (Plane, Running) {
    let plane = plane.reports([Answer::After(SLOW, Ok(()))]);
    let worker = start_four(&plane).await;
    (plane, worker)
}

async fn start_four(plane: &Plane) -> Running {
    let plane = plane.clone().claims([gives(["t1", "t2", "t3", "t4"])]);
    let worker = plane.start(as_its_name_says(), seats(4));
    plane.asked("report", 1).await;
    worker
}

/// Completes t1 after a second, t2 after two, with their names.
fn as_its_name_says() -> impl Execute {
    from_fn(|task: Claimed, _cx: TaskContext| async move {
        let seconds = task.run_id.trim_start_matches('t').parse().unwrap();
        sleep(Duration::from_secs(seconds)).await;
        Outcome::Completed(task.run_id.into())
    })
}
