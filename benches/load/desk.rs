//! Who submits, to one organisation: over HTTP, or by calls of the library.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use fleetward_actors::fact::Fold;
use fleetward_actors::id::TaskId;
use fleetward_actors::plane::{NewRunStart, NewSubmit};
use fleetward_actors::workflows::definition::document;
use fleetward_actors::{Error, Operator};
use fleetward_wire::workflows::WorkflowApply;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::line::{Line, Trouble, is_unknown};
use crate::shape::{NewTask, Shape, WORKFLOW};

/// How long a submitter waits for the end of a run.
const RUN_WAIT: Duration = Duration::from_secs(50);

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

/// `POST /api/v1/runs`, and as much of the answer as matters.
#[derive(Serialize)]
struct StartRun<'a> {
    workflow: &'static str,
    run_id: String,
    input: &'a RawValue,
}

#[derive(Deserialize)]
struct RanRun {
    run: Run,
}

#[derive(Deserialize)]
struct Run {
    status: String,
    output: Option<Value>,
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

impl Desk {
    /// Makes the workflow whose runs are measured.
    pub(crate) async fn apply(&mut self, shape: &Shape) -> Result<(), Trouble> {
        let document = shape.workflow();
        match self {
            Self::Http(desk) => {
                let apply = WorkflowApply { document };
                desk.line.ask("/api/v1/workflows", &json(&apply)).await.map(drop)
            }
            Self::Local(operator) => {
                let parsed = document::parse(&document).expect("what is written here is right");
                operator.apply_workflow(parsed).await.map(drop).map_err(told)
            }
        }
    }

    /// Starts a run and waits for its output.
    pub(crate) async fn run(&mut self, new: NewTask, shape: &Shape) -> Result<Value, Trouble> {
        match self {
            Self::Http(desk) => desk.run(new, shape).await,
            Self::Local(operator) => run_here(operator, new, shape).await,
        }
    }
}

impl HttpDesk {
    async fn run(&mut self, new: NewTask, shape: &Shape) -> Result<Value, Trouble> {
        let start =
            StartRun { workflow: WORKFLOW, run_id: run_id(new), input: &raw(shape.payload(new)) };
        let path = format!("/api/v1/runs?wait={}", RUN_WAIT.as_secs());
        let (_, body) = self.line.ask(&path, &json(&start)).await?;
        let run = read::<RanRun>(&body)?.run;
        run.output.ok_or_else(|| no_output(&run.status))
    }

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
            _ => match (one.status, one.problem.to_string()) {
                (503, problem) if is_unknown(&problem) => {
                    Err(Trouble::Lost(std::io::Error::other(problem)))
                }
                (429 | 503, _) => Ok(None),
                (status, body) => Err(Trouble::Refused { status, body }),
            },
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

/// An id of the client's own: whoever does not know whether a start was heard says it again.
fn run_id(new: NewTask) -> String {
    format!("run-{}", new.number)
}

fn no_output(status: &str) -> Trouble {
    let body = format!("a run is {status} after {RUN_WAIT:?}");
    Trouble::Refused { status: 200, body }
}

async fn run_here(operator: &Operator, new: NewTask, shape: &Shape) -> Result<Value, Trouble> {
    let start = NewRunStart {
        workflow: WORKFLOW.to_owned(),
        run_id: Some(run_id(new).parse().expect("it is a name")),
        input: shape.payload(new).into(),
        wait: RUN_WAIT,
        ..NewRunStart::default()
    };
    let (_, seen) = operator.run_to_end(start, std::future::pending()).await.map_err(told)?;
    let result = seen.result.ok_or_else(|| no_output(seen.run.status()))?;
    let opened = result.open().map_err(|error| no_output(&error.to_string()))?;
    read(&opened)
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
