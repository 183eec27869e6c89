//! Telling the control plane how an attempt ended, again and again until it knows.

use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use fleetward_wire::Secret;
use fleetward_wire::tasks::{HandBack, Report, ReportStatus};
use tokio::time::sleep;

use crate::attempt::Attempt;
use crate::backoff::{Backoff, approval_backoff};
use crate::crew::Crew;
use crate::execute::{Outcome, StopReason};
use crate::transport::{Transport, TransportError};

/// How long each last word may take once the drain deadline has passed, at most.
pub const FINAL_DELIVERY: Duration = Duration::from_secs(10);

/// And at least, however short the drain was: a local control plane answers well within it.
const SHORTEST_FINAL_DELIVERY: Duration = Duration::from_secs(1);
/// A result is kept this long after its lease ended: it is still accepted if nobody else was
/// given the task, and an outage that is longer has cost the attempt anyway.
const AFTER_FENCE: Duration = Duration::from_secs(15 * 60);

/// Why the control plane was not told.
enum Undelivered {
    /// It does not want to know.
    Refused { code: String, detail: String },
    /// It turned the worker away, or there was no more time.
    GaveUp,
}

/// Delivers an outcome. The attempt stays held meanwhile, so that its lease is renewed.
pub(crate) async fn deliver<T, X>(crew: &Crew<T, X>, attempt: &Attempt, outcome: Outcome)
where
    T: Transport,
{
    let mut waits = Vec::new();
    let (status, output, error, retryable) = match outcome {
        Outcome::Suspended(suspension) => {
            waits = suspension.into_waits();
            (ReportStatus::Suspended, None, None, None)
        }
        Outcome::Completed(value) => {
            (ReportStatus::Completed, Some(Secret::new(value)), None, None)
        }
        Outcome::Failed(error) => (ReportStatus::Failed, None, Some(Secret::new(error)), None),
        Outcome::FailedForGood(error) => {
            (ReportStatus::Failed, None, Some(Secret::new(error)), Some(false))
        }
        Outcome::GiveBack(reason) => {
            return hand_back(crew, attempt, &reason, &crew.tally.handed_back).await;
        }
    };
    let report = Report {
        run_id: attempt.run_id().to_owned(),
        status,
        output,
        error,
        output_sealed: None,
        error_sealed: None,
        retryable,
        attempt: Some(attempt.number()),
        claim_token: Some(attempt.token().clone()),
        model: None,
        waits,
    };
    let (run_id, number) = (attempt.run_id(), attempt.number());
    match send(crew, attempt, report).await {
        Ok(ReportStatus::Completed) => {
            tracing::info!(run_id, attempt = number, "task completed");
            crew.tally.add(&crew.tally.completed);
        }
        Ok(ReportStatus::Suspended) => {
            tracing::info!(run_id, attempt = number, "task suspended");
        }
        Ok(ReportStatus::Failed) => {
            tracing::info!(run_id, attempt = number, "task failed");
            crew.tally.add(&crew.tally.failed);
        }
        Err(undelivered) => {
            log_undelivered(attempt, undelivered);
            crew.tally.add(&crew.tally.undelivered);
        }
    }
}

/// What is left to say about an attempt that was stopped.
pub(crate) async fn stopped<T, X>(crew: &Crew<T, X>, attempt: &Attempt, reason: StopReason)
where
    T: Transport,
{
    tracing::warn!(run_id = attempt.run_id(), attempt = attempt.number(), ?reason, "task stopped");
    match reason {
        StopReason::Draining => {
            hand_back(crew, attempt, "draining", &crew.tally.handed_back).await;
        }
        // Its lease may still run over there, if the journal was down or our clock too careful.
        StopReason::Fenced => hand_back(crew, attempt, "fenced", &crew.tally.lost).await,
        StopReason::Lost | StopReason::Cancelled | StopReason::Rejected => {
            crew.tally.add(&crew.tally.lost)
        }
    }
}

/// Sends a report. A result that is refused is followed by a failure that says so: the task is
/// then over with a reason, and does not wait for its lease to end and the next attempt to fail
/// the same way. (If it was the attempt that is not current, that is refused too.)
async fn send<T, X>(
    crew: &Crew<T, X>,
    attempt: &Attempt,
    report: Report,
) -> Result<ReportStatus, Undelivered>
where
    T: Transport,
{
    let refused = match repeat(crew, attempt, || crew.outbox.deliver(report.clone())).await {
        Ok(()) => return Ok(report.status),
        Err(Undelivered::Refused { code, detail }) if report.status != ReportStatus::Failed => {
            tracing::warn!(run_id = attempt.run_id(), code, detail, "result refused");
            match report.status {
                ReportStatus::Suspended => format!("it could not wait ({code}): {detail}"),
                _ => format!("the result was refused ({code}): {detail}"),
            }
        }
        Err(undelivered) => return Err(undelivered),
    };
    // What cannot wait now never can.
    let retryable = (report.status == ReportStatus::Suspended).then_some(false);
    let failure = Report {
        status: ReportStatus::Failed,
        retryable,
        waits: Vec::new(),
        output: None,
        error: Some(Secret::new(refused)),
        ..report
    };
    repeat(crew, attempt, || crew.outbox.deliver(failure.clone())).await?;
    Ok(ReportStatus::Failed)
}

/// Gives an attempt back; `count` is what it counts as.
async fn hand_back<T, X>(crew: &Crew<T, X>, attempt: &Attempt, reason: &str, count: &AtomicU64)
where
    T: Transport,
{
    // First, or the next heartbeat would renew the lease of something that nobody runs.
    crew.held.remove(attempt);
    let back = HandBack {
        run_id: attempt.run_id().to_owned(),
        attempt: attempt.number(),
        claim_token: attempt.token().clone(),
        reason: Some(reason.to_owned()),
    };
    let (run_id, number) = (attempt.run_id(), attempt.number());
    match repeat(crew, attempt, || crew.transport.release(back.clone())).await {
        Ok(()) => tracing::info!(run_id, attempt = number, reason, "task handed back"),
        Err(undelivered) => log_undelivered(attempt, undelivered),
    }
    crew.tally.add(count);
}

/// Calls until there is an answer that stands. Gives up when the worker is turned away, when the
/// drain has no more time, or long after the lease ended.
async fn repeat<T, X, A, F>(
    crew: &Crew<T, X>,
    attempt: &Attempt,
    call: impl Fn() -> F,
) -> Result<A, Undelivered>
where
    F: Future<Output = Result<A, TransportError>>,
{
    tokio::select! {
        biased;
        () = crew.rejected.cancelled() => Err(Undelivered::GaveUp),
        answer = until_answered(crew, call) => answer,
        () = out_of_time(crew, attempt) => Err(Undelivered::GaveUp),
    }
}

async fn out_of_time<T, X>(crew: &Crew<T, X>, attempt: &Attempt) {
    let last_words = async {
        crew.overdue.cancelled().await;
        sleep(final_delivery(crew.options.drain_deadline)).await;
    };
    let stale = async {
        attempt.fenced().await;
        sleep(AFTER_FENCE).await;
    };
    tokio::select! {
        () = last_words => {}
        () = stale => {}
    }
}

/// Whoever has little time to drain has little time for last words.
fn final_delivery(drain_deadline: Duration) -> Duration {
    drain_deadline.clamp(SHORTEST_FINAL_DELIVERY, FINAL_DELIVERY)
}

async fn until_answered<T, X, A, F>(
    crew: &Crew<T, X>,
    call: impl Fn() -> F,
) -> Result<A, Undelivered>
where
    F: Future<Output = Result<A, TransportError>>,
{
    let mut outage = Backoff::default();
    let mut approval = approval_backoff();
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(TransportError::Pending) => sleep(approval.next(None)).await,
            Err(TransportError::Unavailable { detail, retry_after }) => {
                let wait = outage.next(retry_after);
                tracing::warn!(detail, wait_ms = wait.as_millis() as u64, "cannot report");
                sleep(wait).await;
            }
            Err(TransportError::Refused { code, detail }) => {
                return Err(Undelivered::Refused { code, detail });
            }
            Err(TransportError::Rejected { status, detail }) => {
                crew.rejected(status, detail);
                return Err(Undelivered::GaveUp);
            }
        }
    }
}

fn log_undelivered(attempt: &Attempt, undelivered: Undelivered) {
    let (code, detail) = match undelivered {
        Undelivered::Refused { code, detail } => (code, detail),
        Undelivered::GaveUp => ("gave_up".to_owned(), "no answer in time".to_owned()),
    };
    tracing::warn!(
        run_id = attempt.run_id(),
        attempt = attempt.number(),
        code,
        detail,
        "the end of an attempt was not accepted"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_take_no_longer_than_the_drain() {
        let cases = [(0, 1_000), (500, 1_000), (2_000, 2_000), (30_000, 10_000)];
        for (drain_ms, expected_ms) in cases {
            let last_words = final_delivery(Duration::from_millis(drain_ms));

            assert_eq!(last_words, Duration::from_millis(expected_ms), "{drain_ms} ms");
        }
    }
}
