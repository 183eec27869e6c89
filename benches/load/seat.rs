//! One worker's way in: over HTTP on a connection of its own, or by calls of the library.

use std::time::Duration;

use bytes::Bytes;
use fleetward_actors::Session;
use fleetward_actors::id::TaskId;
use fleetward_actors::plane::{self, Offers, Outcome, Reported};
use fleetward_worker::KeyPair;
use serde::{Deserialize, Serialize};

use crate::desk::{all_answered, json, read, told};
use crate::line::{Line, Trouble};
use crate::pass::Pass;
use crate::shape::Stamp;

/// The result of every task.
const OUTPUT: &str = "\"done\"";

/// A way to work.
pub(crate) enum Seat {
    Http(HttpSeat),
    Local(Session),
}

/// A worker with a connection of its own.
pub(crate) struct HttpSeat {
    line: Line,
    pass: Option<Pass>,
}

/// A task that a worker has.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
    pub(crate) claim_token: String,
    /// When it was meant to be submitted.
    pub(crate) at_us: u64,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    /// Somebody else has the task, or had: the attempt was lost before.
    Superseded,
    /// Not now.
    Busy,
}

#[derive(Serialize)]
struct Claim {
    poll_timeout: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tasks: Option<usize>,
}

#[derive(Deserialize)]
struct Claimed {
    run_id: TaskId,
    attempt: u32,
    claim_token: String,
    payload: Stamp,
}

#[derive(Deserialize)]
struct ClaimedMany {
    tasks: Vec<Claimed>,
}

#[derive(Serialize)]
struct Report<'a> {
    run_id: TaskId,
    status: &'static str,
    output: &'static str,
    attempt: u32,
    claim_token: &'a str,
}

#[derive(Serialize)]
struct ReportMany<'a> {
    reports: Vec<Report<'a>>,
}

#[derive(Deserialize)]
struct ReportedMany {
    results: Vec<ReportedOne>,
}

#[derive(Deserialize)]
struct ReportedOne {
    status: u16,
    #[serde(default)]
    problem: serde_json::Value,
}

#[derive(Serialize)]
struct Heartbeat<'a> {
    tasks: Vec<HeldTask<'a>>,
}

#[derive(Serialize)]
struct HeldTask<'a> {
    run_id: TaskId,
    attempt: u32,
    claim_token: &'a str,
}

impl Seat {
    pub(crate) fn http(line: Line, worker: &str, secret: &str) -> Self {
        Self::Http(HttpSeat {
            line: line.with("x-worker-id", worker).with("x-worker-secret", secret),
            pass: None,
        })
    }

    /// One that proves itself by task tokens; ids are those of its organisation and its own.
    pub(crate) async fn with_tokens(
        mut line: Line,
        pair: KeyPair,
        ids: (String, String),
    ) -> anyhow::Result<Self> {
        let mut pass = Pass::new(pair, ids);
        pass.renew(&mut line).await?;
        Ok(Self::Http(HttpSeat { line, pass: Some(pass) }))
    }

    /// Waits for up to `most` tasks. Nothing came in time: none.
    pub(crate) async fn claim(
        &mut self,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Held>, Trouble> {
        match self {
            Self::Http(seat) => seat.claim(most, wait).await,
            Self::Local(session) => claim_here(session, most, wait).await,
        }
    }

    /// Reports all of `held` as done.
    pub(crate) async fn report(&mut self, held: &[Held]) -> Result<Vec<Verdict>, Trouble> {
        match self {
            Self::Http(seat) if held.len() == 1 => seat.report(&held[0]).await,
            Self::Http(seat) => seat.report_many(held).await,
            Self::Local(session) => report_here(session, held).await,
        }
    }

    /// Keeps what the worker holds.
    pub(crate) async fn heartbeat(&mut self, held: &[Held]) -> Result<(), Trouble> {
        match self {
            Self::Http(seat) => seat.heartbeat(held).await,
            Self::Local(session) => {
                let named = held.iter();
                let named = named.map(|held| (held.task, held.attempt, held.claim_token.clone()));
                let beat = plane::Heartbeat { held: Some(named.collect()), ..Default::default() };
                session.heartbeat(beat).await.map(drop).map_err(told)
            }
        }
    }

    /// Loses the connection, as a worker does whose machine goes away.
    pub(crate) fn hang_up(&mut self) {
        if let Self::Http(seat) = self {
            seat.line.close();
        }
    }
}

impl HttpSeat {
    /// Refreshes what proves it, where that is due.
    async fn prepare(&mut self) -> Result<(), Trouble> {
        match &mut self.pass {
            Some(pass) if pass.is_due() => pass.renew(&mut self.line).await,
            _ => Ok(()),
        }
    }

    async fn claim(&mut self, most: usize, wait: Duration) -> Result<Vec<Held>, Trouble> {
        self.prepare().await?;
        let max_tasks = (most > 1).then_some(most);
        let claim = Claim { poll_timeout: wait.as_secs(), max_tasks };
        let (status, body) = self.line.ask("/api/v1/fleet/claim", &json(&claim)).await?;
        if status == 204 {
            return Ok(Vec::new());
        }
        let claimed = match max_tasks {
            Some(_) => read::<ClaimedMany>(&body)?.tasks,
            None => vec![read::<Claimed>(&body)?],
        };
        let held = claimed.into_iter().map(|claimed| Held {
            task: claimed.run_id,
            attempt: claimed.attempt,
            claim_token: claimed.claim_token,
            at_us: claimed.payload.at_us,
        });
        Ok(held.collect())
    }

    async fn report(&mut self, held: &Held) -> Result<Vec<Verdict>, Trouble> {
        let (status, body) = self.line.send("/api/v1/fleet/report", &json(&report(held))).await?;
        verdict(status, &body).map(|verdict| vec![verdict])
    }

    async fn report_many(&mut self, held: &[Held]) -> Result<Vec<Verdict>, Trouble> {
        let many = ReportMany { reports: held.iter().map(report).collect() };
        let (_, body) = self.line.ask("/api/v1/fleet/reports", &json(&many)).await?;
        let results = read::<ReportedMany>(&body)?.results;
        all_answered(held.len(), results.len(), &body)?;
        let verdicts = results.into_iter();
        verdicts.map(|one| verdict(one.status, one.problem.to_string().as_bytes())).collect()
    }

    async fn heartbeat(&mut self, held: &[Held]) -> Result<(), Trouble> {
        let tasks = held.iter().map(|held| HeldTask {
            run_id: held.task,
            attempt: held.attempt,
            claim_token: &held.claim_token,
        });
        let beat = Heartbeat { tasks: tasks.collect() };
        self.line.ask("/api/v1/fleet/heartbeat", &json(&beat)).await.map(drop)
    }
}

fn report(held: &Held) -> Report<'_> {
    Report {
        run_id: held.task,
        status: "completed",
        output: "done",
        attempt: held.attempt,
        claim_token: &held.claim_token,
    }
}

/// What a status means for one report.
fn verdict(status: u16, body: &[u8]) -> Result<Verdict, Trouble> {
    match status {
        200 => Ok(Verdict::Accepted),
        403 | 404 | 409 => Ok(Verdict::Superseded),
        429 | 503 => Ok(Verdict::Busy),
        status => {
            Err(Trouble::Refused { status, body: String::from_utf8_lossy(body).into_owned() })
        }
    }
}

async fn claim_here(session: &Session, most: usize, wait: Duration) -> Result<Vec<Held>, Trouble> {
    let claim = plane::Claim { wait, ..plane::Claim::default() };
    let offers = session.claim_many(claim, most).await.map_err(told)?;
    let Some(Offers { tasks, delivery }) = offers else { return Ok(Vec::new()) };
    delivery.written();
    let held = tasks.into_iter().map(|offer| {
        let at_us = read::<Stamp>(&offer.payload)?.at_us;
        let (task, attempt, claim_token) = (offer.task, offer.attempt, offer.claim_token);
        Ok(Held { task, attempt, claim_token, at_us })
    });
    held.collect()
}

async fn report_here(session: &Session, held: &[Held]) -> Result<Vec<Verdict>, Trouble> {
    let reported = |held: &Held| Reported {
        task: held.task,
        attempt: Some(held.attempt),
        claim_token: Some(held.claim_token.clone()),
        outcome: Outcome::Completed(Bytes::from_static(OUTPUT.as_bytes())),
        model: None,
    };
    let said = session.report_many(held.iter().map(reported).collect()).await.map_err(told)?;
    let each = said.into_iter().map(|said| match said.map_err(told) {
        Ok(()) => Ok(Verdict::Accepted),
        Err(Trouble::Busy(_)) => Ok(Verdict::Busy),
        Err(trouble) => Err(trouble),
    });
    each.collect()
}
