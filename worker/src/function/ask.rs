//! What a durable function asks people, what they say, and how often a step is tried.

use std::time::Duration;

use fleetward_wire::Secret;
use fleetward_wire::tasks::{AskPeople, Recorded, RecordedStatus};
use serde::Serialize;

/// What people are asked: a text alone, or more.
///
/// ```
/// # use std::time::Duration;
/// use fleetward_worker::Ask;
///
/// let ask = Ask::new("Publish this draft?").context("It was a dark and stormy night.").quorum(2).expires(Duration::from_secs(3600));
/// # let _ = ask;
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nobody is asked until it is given to `approval`"]
pub struct Ask {
    pub(super) asked: AskPeople,
    pub(super) expires: Option<Duration>,
}

/// What people said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether they approved.
    pub approved: bool,
    /// Whether nobody decided in time.
    pub expired: bool,
    /// Who decided: names of their tokens.
    pub by: Vec<String>,
    /// What the last one gave as the reason.
    pub reason: Option<String>,
}

/// How often a step is tried again within one attempt of its function, which holds its seat meanwhile: for moments, not for
/// hours. The attempt itself is tried again as its step in the workflow says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    pub(super) times: u32,
    pub(super) delay: Duration,
}

impl Retries {
    /// So many times, after a random wait of at most a second, doubled each time up to a minute.
    pub fn new(times: u32) -> Self {
        Self { times, delay: Duration::from_secs(1) }
    }

    /// With another longest first wait.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

impl Ask {
    /// Asks this.
    pub fn new(prompt: impl Into<String>) -> Self {
        let asked = AskPeople { prompt: Secret::new(prompt.into()), ..AskPeople::default() };
        Self { asked, expires: None }
    }

    /// What they are shown besides. What is no JSON is not shown.
    pub fn context(mut self, context: impl Serialize) -> Self {
        self.asked.context = Secret::new(serde_json::to_value(context).unwrap_or_default());
        self
    }

    /// These people alone may decide: names of their tokens.
    pub fn people<S: Into<String>>(mut self, people: impl IntoIterator<Item = S>) -> Self {
        self.asked.people = people.into_iter().map(Into::into).collect();
        self
    }

    /// Administrators alone may decide.
    pub fn admins(mut self) -> Self {
        self.asked.admins = true;
        self
    }

    /// How many approvals it takes; one rejection is enough.
    pub fn quorum(mut self, quorum: u32) -> Self {
        self.asked.quorum = Some(quorum);
        self
    }

    /// Whoever started the run may approve too.
    pub fn requester_may_approve(mut self) -> Self {
        self.asked.requester_may_approve = true;
        self
    }

    /// Without a decision after this time it counts as rejected.
    pub fn expires(mut self, time: Duration) -> Self {
        self.expires = Some(time);
        self
    }

    /// Without a decision in its time it counts as approved.
    pub fn expiry_approves(mut self) -> Self {
        self.asked.expiry_approves = true;
        self
    }

    /// How often it is said again while nobody has decided.
    pub fn remind(mut self, every: Duration) -> Self {
        self.asked.remind_seconds = Some(every.as_secs_f64());
        self
    }
}

impl<S: Into<String>> From<S> for Ask {
    fn from(prompt: S) -> Self {
        Self::new(prompt)
    }
}

impl Decision {
    pub(super) fn of(known: Recorded) -> Self {
        let reason = known.decisions.last().and_then(|last| last.reason.clone());
        Self {
            approved: known.status == RecordedStatus::Done,
            expired: known.code.as_deref() == Some("gate_expired"),
            by: known.decisions.into_iter().map(|decided| decided.name).collect(),
            reason,
        }
    }
}
