//! Who submits, to one organisation: over HTTP, or by calls of the library.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fleetward_actors::id::TaskId;
use fleetward_actors::plane::NewSubmit;
use fleetward_actors::{Error, Operator};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::line::{Line, Trouble};
use crate::shape::{NewTask, Shape};

/// A way to submit.
pub(crate) enum Desk {
    Http(HttpDesk),
    Local(Operator),
}

/// Submits over a connection of its own.
pub(crate) struct HttpDesk {
    line: Line,
    /// Whether answers may be lost, so that a repeat has to be recognised.
    repeats: bool,
}

/// `POST /api/v1/fleet/tasks`, and one of a batch.
#[derive(Serialize)]
struct Submit<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
}

#[derive(Serialize)]
struct SubmitMany<'a> {
    tasks: Vec<Submit<'a>>,
}

#[derive(Deserialize)]
struct Submitted {
    run_id: TaskId,
}

#[derive(Deserialize)]
struct SubmittedMany {
    results: Vec<SubmittedOne>,
}

#[derive(Deserialize)]
struct SubmittedOne {
    status: u16,
    run_id: Option<TaskId>,
    #[serde(default)]
    problem: serde_json::Value,
}

impl Desk {
    pub(crate) fn http(address: SocketAddr, bearer: &str, repeats: bool) -> Self {
        Self::Http(HttpDesk { line: Line::new(address).with("authorization", bearer), repeats })
    }

    /// Loses the connection.
    pub(crate) fn hang_up(&mut self) {
        if let Self::Http(desk) = self {
            desk.line.close();
        }
    }

    /// Submits `tasks` and says how each is called, or that it was refused for now; on trouble none
    /// is known to be there.
    pub(crate) async fn submit(
        &mut self,
        tasks: &[NewTask],
        shape: &Shape,
    ) -> Result<Vec<Option<TaskId>>, Trouble> {
        match self {
            Self::Http(desk) if tasks.len() == 1 => desk.submit(tasks[0], shape).await,
            Self::Http(desk) => desk.submit_many(tasks, shape).await,
            Self::Local(operator) => submit_here(operator, tasks, shape).await,
        }
    }
}

impl HttpDesk {
    async fn submit(
        &mut self,
        task: NewTask,
        shape: &Shape,
    ) -> Result<Vec<Option<TaskId>>, Trouble> {
        let payload = raw(shape.payload(task));
        let labels = shape.wants(task);
        let submit = Submit { labels, payload: &payload, idempotency_key: self.key(task) };
        let (_, body) = self.line.ask("/api/v1/fleet/tasks", &json(&submit)).await?;
        Ok(vec![Some(read::<Submitted>(&body)?.run_id)])
    }

    async fn submit_many(
        &mut self,
        tasks: &[NewTask],
        shape: &Shape,
    ) -> Result<Vec<Option<TaskId>>, Trouble> {
        let payloads: Vec<_> = tasks.iter().map(|task| raw(shape.payload(*task))).collect();
        let submits = tasks.iter().zip(&payloads).map(|(task, payload)| Submit {
            labels: shape.wants(*task),
            payload,
            idempotency_key: self.key(*task),
        });
        let many = SubmitMany { tasks: submits.collect() };
        let (_, body) = self.line.ask("/api/v1/fleet/tasks/batch", &json(&many)).await?;
        let results = read::<SubmittedMany>(&body)?.results;
        all_answered(tasks.len(), results.len(), &body)?;
        let all = results.into_iter().map(|one| match one.run_id {
            Some(id) if one.status == 201 => Ok(Some(id)),
            _ if matches!(one.status, 429 | 503) => Ok(None),
            _ => Err(Trouble::Refused { status: one.status, body: one.problem.to_string() }),
        });
        all.collect()
    }

    fn key(&self, task: NewTask) -> Option<String> {
        self.repeats.then(|| task.number.to_string())
    }
}

pub(crate) fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("bodies here have string keys only")
}

/// An answer as it should be.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body).map_err(|error| {
        let body = format!("{error} in: {}", String::from_utf8_lossy(body));
        Trouble::Refused { status: 200, body }
    })
}

/// A batch has an answer for each of its parts.
pub(crate) fn all_answered(asked: usize, answered: usize, body: &[u8]) -> Result<(), Trouble> {
    if asked == answered {
        return Ok(());
    }
    let body = format!("{asked} asked: {}", String::from_utf8_lossy(body));
    Err(Trouble::Refused { status: 200, body })
}

/// What an error of the library means for the load.
pub(crate) fn told(error: Error) -> Trouble {
    match error {
        Error::Busy
        | Error::Behind
        | Error::Crowded(_)
        | Error::OverShare
        | Error::Unavailable(_) => Trouble::Busy(error.to_string()),
        Error::OutcomeUnknown => Trouble::Lost(std::io::Error::other(error)),
        Error::Refused(_) | Error::Internal(_) => {
            Trouble::Refused { status: 0, body: error.to_string() }
        }
    }
}

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("payloads here are JSON")
}

async fn submit_here(
    operator: &Operator,
    tasks: &[NewTask],
    shape: &Shape,
) -> Result<Vec<Option<TaskId>>, Trouble> {
    let new = |task: &NewTask| NewSubmit {
        labels: shape.wants(*task),
        payload: shape.payload(*task).into(),
        ..NewSubmit::default()
    };
    let answers = operator.submit_many(tasks.iter().map(new).collect()).await.map_err(told)?;
    let each = answers.into_iter().map(|answer| match answer.map_err(told) {
        Ok(receipt) => Ok(Some(receipt.task)),
        Err(Trouble::Busy(_)) => Ok(None),
        Err(trouble) => Err(trouble),
    });
    each.collect()
}
