//! Every limit and term of the actors in one place, checked once. Only the composition root fills it in.

use std::time::Duration;

use fleetward_runtime::{Backoff, Budget};

/// Longest that a task token is good: what is stolen is worthless soon.
pub const TASK_TOKEN_MAX: Duration = Duration::from_secs(15 * 60);

/// Limits and terms. The defaults are those of the server.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long a worker keeps an attempt without renewing it.
    pub lease: Duration,
    /// How long a worker has to show that it read the answer to its poll. Longer than `heartbeat`.
    pub start_lease: Duration,
    /// How often workers are told to send heartbeats.
    pub heartbeat: Duration,
    /// Attempts that may end without a report before the task fails.
    pub attempt_cap: u32,
    /// How long a worker may wait for approval before it is turned away.
    pub pending_for: Duration,
    /// How long a task token of a worker is good; at most a quarter of an hour.
    pub task_token_for: Duration,
    /// What one step of priority is worth: a task goes before those that are less urgent and have waited no longer
    /// than that.
    pub priority_step: Duration,
    /// How long a caller waits for an answer before it is told that the outcome is unknown.
    pub answer_within: Duration,
    /// How long a list waits for the rows to catch up.
    pub catch_up_within: Duration,
    /// Longest wait of a poll.
    pub poll_max: Duration,
    /// Workers that are let in per second, and at once, when they register or come for the first time since the
    /// server started; the rest are told when to come again.
    pub admit_per_second: u32,
    /// Commands from outside that may be in flight, in all and for one organisation.
    pub commands: usize,
    /// The share of one organisation.
    pub commands_per_org: usize,
    /// Their bytes in all.
    pub command_bytes: usize,
    /// The share of one organisation.
    pub command_bytes_per_org: usize,
    /// Events in one write of the journal.
    pub batch_events: usize,
    /// Bytes in one write of the journal.
    pub batch_bytes: usize,
    /// Payload bytes of waiting tasks that one cell keeps in memory; the rest is read when it is claimed.
    pub payload_memory: usize,
    /// Longest payload, output and error text, in bytes.
    pub payload_max: usize,
    /// Committed events of one cell that wait in memory for the projector; beyond it they are read back.
    pub projector_queue: usize,
    /// Their bytes.
    pub projector_queue_bytes: usize,
    /// Events that the rows may be behind before submits of an organisation wait for them, and are refused for now if
    /// that takes longer than `catch_up_within`: what ended stays in memory, about 400 bytes an event, until the rows
    /// contain it. Less than `projector_queue`, so that a load of submits alone never makes the projector read back.
    pub projector_lag: u64,
    /// How long the projector lets events gather between two batches while nobody waits for rows: a task that ends
    /// within that time is written once.
    pub projector_pause: Duration,
    /// Records that the projector keeps in memory between batches.
    pub projector_cache: usize,
    /// When more starts of runs of a cell than this have asked the store for an id that was never used, the used ids are
    /// read once and kept in memory, ten bits each: from then on such a start asks nothing.
    pub used_ids_after: u32,
    /// How long a step may wait for its first worker, or a run that waits for nothing may do nothing, until the run counts
    /// as stuck.
    pub stuck_after: Duration,
    /// How often the anomaly detector looks at every worker. Its windows span ten looks.
    pub sweep: Duration,
    /// How often it is looked for what is over for longer than its organisation keeps it.
    pub retention_every: Duration,
    /// How long it is tried to deliver an alert to a sink, counted from when it was raised.
    pub notify_for: Duration,
    /// Pause before another attempt to deliver an alert.
    pub notify_backoff: Backoff,
    /// Crashes that a cell, or a part of it, may have within the time before it halts.
    pub budget: Budget,
    /// Pause before a restart.
    pub backoff: Backoff,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(45),
            start_lease: Duration::from_secs(15),
            heartbeat: Duration::from_secs(10),
            attempt_cap: 5,
            pending_for: Duration::from_secs(7 * 24 * 3600),
            task_token_for: TASK_TOKEN_MAX,
            priority_step: Duration::from_secs(60),
            answer_within: Duration::from_secs(5),
            catch_up_within: Duration::from_secs(5),
            poll_max: Duration::from_secs(60),
            admit_per_second: 1_000,
            commands: 8_192,
            commands_per_org: 4_096,
            command_bytes: 256 << 20,
            command_bytes_per_org: 128 << 20,
            batch_events: 2_048,
            batch_bytes: 8 << 20,
            payload_memory: 64 << 20,
            payload_max: 1 << 20,
            projector_queue: 131_072,
            projector_queue_bytes: 128 << 20,
            projector_lag: 65_536,
            stuck_after: Duration::from_secs(15 * 60),
            projector_pause: Duration::from_millis(250),
            projector_cache: 65_536,
            used_ids_after: 1_000,
            sweep: Duration::from_secs(60),
            retention_every: Duration::from_secs(600),
            notify_for: Duration::from_secs(12 * 3600),
            notify_backoff: Backoff {
                first: Duration::from_secs(5),
                max: Duration::from_secs(900),
                factor: 2.0,
            },
            budget: Budget { restarts: 5, within: Duration::from_secs(60) },
            backoff: Backoff {
                first: Duration::from_millis(50),
                max: Duration::from_secs(10),
                factor: 2.0,
            },
        }
    }
}

/// A term or limit that cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct BadConfig(&'static str);

impl Config {
    /// Refuses terms that cannot work together.
    ///
    /// # Errors
    /// Says which, and what it should be.
    pub fn check(&self) -> Result<(), BadConfig> {
        let rules = [
            (self.heartbeat.is_zero(), "the heartbeat interval must be longer than zero"),
            (self.start_lease <= self.heartbeat, "the start lease must outlast a heartbeat"),
            (self.lease < self.start_lease, "the lease must be at least the start lease"),
            (self.sweep.is_zero(), "the anomaly detector must look at times"),
            (self.retention_every.is_zero(), "retention must pause between two rounds"),
            (self.attempt_cap == 0, "the attempt cap must be at least 1"),
            (self.admit_per_second == 0, "at least one worker must be let in per second"),
            (
                self.task_token_for.is_zero() || self.task_token_for > TASK_TOKEN_MAX,
                "task tokens must be good for at most 900 seconds",
            ),
            (self.batch_events == 0, "a write must hold at least one event"),
        ];
        rules.iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, why)| Err(BadConfig(why)))
    }
}
