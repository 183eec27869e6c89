//! One attempt that this worker holds: its lease on our clock, and whether it must stop.
//!
//! The seat that runs it watches the lease; heartbeats extend it; whoever learns that it is over
//! stops it, and the first reason stands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetward_wire::Secret;
use fleetward_wire::tasks::Claimed;
use fleetward_wire::workers::{HeldTask, LostTask};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::clock::{Clock, Moment};
use crate::execute::StopReason;

/// An attempt is stopped this much of its lease before the lease ends, so that its processes are
/// dead when the control plane may give the task away.
const MARGIN: f64 = 0.1;
/// Leases are short at times, but killing a process group takes this long on a busy machine.
const LEAST_MARGIN: Duration = Duration::from_millis(250);
/// After a suspend no timer is late by more than this.
const TICK: Duration = Duration::from_millis(500);
/// A new attempt is named in a heartbeat this soon, so that the control plane learns that its
/// answer was read. Long enough that short tasks cost no heartbeat of their own.
const NAME_WITHIN: Duration = Duration::from_millis(250);
/// What we assume of a control plane that answers with a lease that makes no sense.
const LEAST_LEASE: Duration = Duration::from_secs(5);
/// No length of time on the wire means more than a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Cheap to clone; all clones are the same attempt.
#[derive(Clone)]
pub(crate) struct Attempt(Arc<Inner>);

struct Inner {
    held: HeldTask,
    /// How long a confirmation is good for: the lease less the margin.
    term: Duration,
    clock: Clock,
    lease: Mutex<Lease>,
    /// Rings when the lease was confirmed.
    confirmed: watch::Sender<bool>,
    stop: watch::Sender<Option<StopReason>>,
}

struct Lease {
    /// When the attempt stops being ours for certain.
    fence: Moment,
    /// By when a heartbeat has to name it for the first time; `None` once one did.
    name_by: Option<Moment>,
}

impl Attempt {
    /// `sent` is when the claim that was answered with it was sent. The lease began after that, so
    /// counting from there is safe; a poll parked for longer than the lease proves nothing, and
    /// the attempt is then only [ready](Attempt::ready) once a heartbeat confirmed it.
    pub(crate) fn new(task: &Claimed, sent: Moment, clock: Clock) -> Self {
        let held = HeldTask {
            run_id: task.run_id.clone(),
            attempt: task.attempt,
            claim_token: task.claim_token.clone(),
        };
        Self::held(held, seconds(task.lease_seconds).unwrap_or(LEAST_LEASE), sent, clock)
    }

    /// One that belongs to no worker.
    pub(crate) fn detached() -> Self {
        let clock = Clock::new();
        let held = HeldTask { run_id: String::new(), attempt: 1, claim_token: Secret::default() };
        Self::held(held, LONGEST, clock.now(), clock)
    }

    fn held(held: HeldTask, lease: Duration, sent: Moment, clock: Clock) -> Self {
        let term = term_of(lease);
        let now = clock.now();
        let proven = sent + term > now;
        let lease = Lease {
            fence: if proven { sent + term } else { now + term },
            name_by: Some(if proven { now + NAME_WITHIN } else { now }),
        };
        Self(Arc::new(Inner {
            held,
            term,
            clock,
            lease: Mutex::new(lease),
            confirmed: watch::Sender::new(proven),
            stop: watch::Sender::new(None),
        }))
    }

    pub(crate) fn key(&self) -> LostTask {
        LostTask { run_id: self.0.held.run_id.clone(), attempt: self.0.held.attempt }
    }

    pub(crate) fn run_id(&self) -> &str {
        &self.0.held.run_id
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.held.attempt
    }

    pub(crate) fn token(&self) -> &Secret {
        &self.0.held.claim_token
    }

    /// Its line in a heartbeat, which from now on has named it.
    pub(crate) fn named(&self) -> HeldTask {
        self.lease().name_by = None;
        self.0.held.clone()
    }

    /// By when a heartbeat has to name it, if none did.
    pub(crate) fn name_by(&self) -> Option<Moment> {
        self.lease().name_by
    }

    /// The control plane confirmed the lease in answer to a request sent at `sent`.
    pub(crate) fn confirm(&self, sent: Moment) {
        {
            let mut lease = self.lease();
            lease.fence = lease.fence.max(sent + self.0.term);
        }
        self.0.confirmed.send_replace(true);
    }

    /// Resolves when the lease is known to be ours.
    pub(crate) async fn ready(&self) {
        let mut confirmed = self.0.confirmed.subscribe();
        // The sender lives in `self`, so this cannot end with an error.
        let _ = confirmed.wait_for(|confirmed| *confirmed).await;
    }

    /// Resolves when the lease could not be renewed in time.
    pub(crate) async fn fenced(&self) {
        loop {
            let left = self.left();
            if left.is_zero() {
                return;
            }
            sleep(left.min(TICK)).await;
        }
    }

    /// Ends it; a later reason changes nothing.
    pub(crate) fn stop(&self, reason: StopReason) {
        self.0.stop.send_if_modified(|stopped| {
            let first = stopped.is_none();
            stopped.get_or_insert(reason);
            first
        });
    }

    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        *self.0.stop.borrow()
    }

    pub(crate) async fn stopped(&self) -> StopReason {
        let mut stop = self.0.stop.subscribe();
        match stop.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => *reason,
            // Unreachable: the sender lives in `self`, and the value was just seen.
            _ => StopReason::Lost,
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.left()
    }

    fn left(&self) -> Duration {
        self.lease().fence.saturating_since(self.0.clock.now())
    }

    fn lease(&self) -> std::sync::MutexGuard<'_, Lease> {
        // Two plain fields: a panic elsewhere cannot leave them half-written.
        self.0.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A length of time from the wire, where it makes sense as one.
pub(crate) fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|d| !d.is_zero()).map(|d| d.min(LONGEST))
}

fn term_of(lease: Duration) -> Duration {
    let margin = lease.mul_f64(MARGIN).max(LEAST_MARGIN).min(lease / 2);
    lease - margin
}
