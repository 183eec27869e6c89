//! The pulse: one task that sends heartbeats, whatever the seats are doing.
//!
//! It names all that is held, and tells each attempt what the answer means for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fleetward_wire::workers::{Heartbeat, HeartbeatAnswer, WorkerStatus};
use tokio::time::timeout;

use crate::attempt::{Attempt, seconds};
use crate::backoff::Backoff;
use crate::clock::Moment;
use crate::crew::Crew;
use crate::execute::StopReason;
use crate::transport::{Transport, TransportError};

/// After a suspend the next heartbeat is late by no more than this.
const TICK: Duration = Duration::from_secs(1);

/// An answer that is slower than the next heartbeat is not worth waiting for: one that hangs must
/// not cost the leases of all that is held.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// Even where heartbeats are rare.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Beats until it is dropped, or until the worker is turned away.
pub(crate) async fn beat<T: Transport, X>(crew: Arc<Crew<T, X>>) {
    let mut every = crew.options.heartbeat_every;
    let mut backoff = Backoff::default();
    let mut due = crew.clock.now();
    loop {
        until(&crew, due).await;
        let sent = crew.clock.now();
        let attempts = crew.held.all();
        let answer = crew.transport.heartbeat(words(&crew, &attempts));
        let late = || Err(TransportError::unavailable("no answer in time"));
        let within = every.clamp(SHORTEST_WAIT, LONGEST_WAIT);
        match timeout(within, answer).await.unwrap_or_else(|_| late()) {
            Ok(answer) => {
                every = seconds(answer.heartbeat_seconds).unwrap_or(every);
                backoff.reset();
                due = sent + every;
                if !heed(&crew, &attempts, sent, answer) {
                    return;
                }
            }
            Err(TransportError::Rejected { status, detail }) => {
                return crew.rejected(status, detail);
            }
            Err(TransportError::Pending) => due = crew.clock.now() + every,
            Err(error @ TransportError::Refused { .. }) => {
                tracing::error!(%error, "heartbeat refused");
                due = crew.clock.now() + every;
            }
            Err(TransportError::Unavailable { detail, retry_after }) => {
                let wait = backoff.next(retry_after).min(every.max(retry_after.unwrap_or(every)));
                tracing::warn!(detail, wait_ms = wait.as_millis() as u64, "no heartbeat");
                due = crew.clock.now() + wait;
            }
        }
    }
}

/// Resolves at `due`, or earlier if a new attempt has to be named.
async fn until<T, X>(crew: &Crew<T, X>, due: Moment) {
    loop {
        let due = crew.held.name_by().map_or(due, |name_by| due.min(name_by));
        let left = due.saturating_since(crew.clock.now());
        if left.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(TICK)) => {}
            () = crew.held.added.notified() => {}
        }
    }
}

fn words<T, X>(crew: &Crew<T, X>, attempts: &[Attempt]) -> Heartbeat {
    Heartbeat {
        pool_stats: None,
        timestamp: None,
        tasks_completed: Some(crew.tally.completed.load(Ordering::Relaxed)),
        tasks_failed: Some(crew.tally.failed.load(Ordering::Relaxed)),
        boot_id: Some(crew.options.boot_id.clone()),
        probes: crew.prober.as_ref().and_then(|prober| prober.words(&crew.clock)),
        tasks: Some(attempts.iter().map(Attempt::named).collect()),
    }
}

/// Does what the answer to a heartbeat about `attempts`, sent at `sent`, says. False if the
/// worker is to end at once.
fn heed<T, X>(
    crew: &Crew<T, X>,
    attempts: &[Attempt],
    sent: Moment,
    answer: HeartbeatAnswer,
) -> bool {
    if matches!(answer.status, WorkerStatus::Rejected | WorkerStatus::Revoked) {
        crew.rejected(403, format!("this worker is {}", word(answer.status)));
        return false;
    }
    for lost in &answer.lost {
        tracing::warn!(run_id = lost.run_id, attempt = lost.attempt, "attempt lost");
        let over = answer.over.contains(lost);
        crew.held.lose(lost, if over { StopReason::Cancelled } else { StopReason::Lost });
    }
    for attempt in attempts {
        if !answer.lost.contains(&attempt.key()) {
            attempt.confirm(sent);
        }
    }
    if answer.drain && !crew.draining.is_cancelled() {
        tracing::info!("the control plane asked this worker to drain");
        crew.draining.cancel();
    }
    true
}

fn word(status: WorkerStatus) -> &'static str {
    match status {
        WorkerStatus::Rejected => "rejected",
        _ => "revoked",
    }
}
