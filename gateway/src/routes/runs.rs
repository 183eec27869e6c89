//! Runs of workflows, as operators start, see and decide about them.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use fleetward_actors::id::{BadRunId, RunId};
use fleetward_actors::plane::{
    FunctionOptions, NewRunStart, Purge, Purged, RunFilter, RunStarted as Started,
};
use fleetward_actors::workflows::conductor::Remedy;
use fleetward_actors::workflows::definition::document;
use fleetward_actors::workflows::run::Wait;
use fleetward_actors::workflows::timeline::{self, Moment};
use fleetward_actors::{Operator, Refusal};
use fleetward_wire::tasks::Reason;
use fleetward_wire::workflows::{
    self as wire, GateDecision, RunFork, RunList, RunPurge, RunSignal, RunStart, RunStarted,
    RunTimeline, RunView, RunWhy, RunsPurged,
};
use fleetward_wire::{Raw, Secret};
use serde::Deserialize;

use super::run_shapes::{function, opened_json, span, timeline_event, view};
use crate::auth::{CanOperate, InOrg};
use crate::edge::Edge;
use crate::extract::{Json, MaybeJson, Params, PathId, page};
use crate::problem::Problem;
use crate::routes::worker_protocol::wait;
use crate::translate::Json as _;

/// How long a start waits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Await {
    /// Seconds to wait for the end of the run; as long as a poll at most.
    wait: Option<f64>,
}

/// Starts a run. Once this is answered, it is durable.
pub(super) async fn start(
    State(edge): State<Edge>,
    CanOperate(operator): CanOperate,
    Params(asked_to): Params<Await>,
    Json { value: asked, .. }: Json<RunStart<Raw>>,
) -> Result<(StatusCode, Answer<RunStarted>), Problem> {
    let run_id = asked.run_id.as_deref().map(run_id).transpose()?;
    let input = asked.input.expose().stored("input")?;
    let (workflow, version) = (asked.workflow, asked.version);
    if asked.options.is_some() && asked.function.is_none() {
        let detail = "options are of a function; the steps of a workflow say theirs themselves";
        return Err(Problem::unprocessable("invalid_body", detail));
    }
    let (workflow, version) = match asked.function {
        None if workflow.is_empty() => {
            let detail = "name a workflow, or a function";
            return Err(Problem::unprocessable("invalid_body", detail));
        }
        None => (workflow, version),
        Some(_) if !workflow.is_empty() || version.is_some() => {
            let detail = "name a workflow (and its version) or a function, not both";
            return Err(Problem::unprocessable("invalid_body", detail));
        }
        Some(function) => {
            let options = options(asked.options.unwrap_or_default())?;
            operator.workflow_of_function(&function, &options).await?
        }
    };
    let wait = wait("invalid_wait", asked_to.wait, Duration::ZERO)?;
    let new = NewRunStart { workflow, version, run_id, input, wait };
    if wait.is_zero() {
        return Ok(started(operator.start_run(new).await?));
    }
    let (begun, run) = operator.run_to_end(new, edge.dismissed()).await?;
    let (status, Answer(answer)) = started(begun);
    Ok((status, Answer(RunStarted { run: Some(view(run)?), ..answer })))
}

fn options(asked: wire::FunctionOptions) -> Result<FunctionOptions, Refusal> {
    let ms = |name: &str, text: Option<String>| {
        let read = |text: String| {
            document::duration_ms(&text)
                .map_err(|wrong| Refusal::invalid("invalid_options", format!("{name}: {wrong}")))
        };
        text.map(read).transpose()
    };
    let wire::FunctionOptions { retries, retry_delay, timeout, pool } = asked;
    let retry_delay_ms = ms("retry_delay", retry_delay)?;
    Ok(FunctionOptions { retries, retry_delay_ms, timeout_ms: ms("timeout", timeout)?, pool })
}

/// Starts a run with what another one had done before a node.
pub(super) async fn fork(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<RunId>,
    Json { value: asked, .. }: Json<RunFork<Raw>>,
) -> Result<(StatusCode, Answer<RunStarted>), Problem> {
    let new_id = asked.run_id.as_deref().map(run_id).transpose()?;
    let stored = |input: &Secret<Raw>| input.expose().stored("input");
    let input: Option<Bytes> = asked.input.as_ref().map(stored).transpose()?;
    Ok(started(operator.fork_run(&id, &asked.from, new_id, input).await?))
}

fn started(started: Started) -> (StatusCode, Answer<RunStarted>) {
    let status = if started.repeated { StatusCode::OK } else { StatusCode::CREATED };
    let Started { run, version, repeated } = started;
    (status, Answer(RunStarted { run_id: run.to_string(), version, repeated, run: None }))
}

pub(super) fn run_id(text: &str) -> Result<RunId, Refusal> {
    text.parse().map_err(|bad: BadRunId| Refusal::invalid("invalid_run_id", bad.to_string()))
}

/// Which runs are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunQuery {
    status: Option<String>,
    workflow: Option<String>,
    group: Option<String>,
    schedule: Option<String>,
    before: Option<u64>,
    limit: Option<u32>,
}

const STATUSES: [&str; 7] =
    ["running", "waiting", "paused", "completed", "failed", "cancelled", "discarded"];

/// Runs, newest first.
pub(super) async fn list(
    InOrg(operator): InOrg,
    Params(query): Params<RunQuery>,
) -> Result<Answer<RunList>, Problem> {
    if query.status.as_deref().is_some_and(|word| !STATUSES.contains(&word)) {
        let detail = format!("status must be one of {}", STATUSES.join(", "));
        return Err(Problem::unprocessable("invalid_status", &detail));
    }
    let limit = page(query.limit)?;
    let RunQuery { status, workflow, group, schedule, before, .. } = query;
    let filter = RunFilter { status, workflow, group, schedule };
    let found = operator.runs(&filter, before, limit).await?;
    let runs = found.runs.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(Answer(RunList { runs, next: found.next }))
}

/// How a run is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Look {
    /// Seconds to wait for its end, or for what is named by `after`; as long as a poll at most.
    wait: Option<f64>,
    /// Wait for something to happen to it that is later than this event (`updated_seq`).
    after: Option<u64>,
}

/// One run, at once or when it has ended.
pub(super) async fn get(
    State(edge): State<Edge>,
    InOrg(operator): InOrg,
    PathId(id): PathId<RunId>,
    Params(look): Params<Look>,
) -> Result<Answer<RunView>, Problem> {
    let longest = wait("invalid_wait", look.wait, Duration::ZERO)?;
    let run = if longest.is_zero() {
        operator.run(&id).await?
    } else {
        tokio::select! {
            biased;
            run = operator.run_past(&id, look.after.unwrap_or(u64::MAX), longest) => run?,
            () = edge.dismissed() => operator.run(&id).await?,
        }
    };
    let gates = operator.gates(&run.run).await?;
    let functions = operator.functions(&run.run).await?;
    let mut shown = view(run)?;
    shown.functions = functions.into_iter().map(function).collect();
    for (key, _, asked) in gates {
        let asked = opened_json(&asked)?;
        let of_gate = shown.waits.iter_mut().find(|wait| wait.key == key.as_str());
        let Some(gate) = of_gate.and_then(|wait| wait.gate.as_mut()) else { continue };
        gate.prompt = asked["prompt"].as_str().map(Secret::from);
        gate.context = Some(Secret::new(asked["context"].clone()));
    }
    Ok(Answer(shown))
}

/// What a run was given.
pub(super) async fn input(
    InOrg(operator): InOrg,
    PathId(id): PathId<RunId>,
) -> Result<Answer<Secret<serde_json::Value>>, Problem> {
    let run = operator.run(&id).await?.run;
    let found = operator.run_input(&run).await?;
    let found = found.ok_or_else(|| Problem::not_found("input"))?;
    Ok(Answer(Secret::new(opened_json(&found)?)))
}

/// Why a run stands where it stands.
pub(super) async fn why(
    InOrg(operator): InOrg,
    PathId(id): PathId<RunId>,
) -> Result<Answer<RunWhy>, Problem> {
    use fleetward_actors::fact::Fold;
    let (run, reasons) = operator.explain_run(&id).await?;
    let status = run.status().to_owned();
    Ok(Answer(RunWhy { run_id: id.to_string(), status, reasons }))
}

/// Everything that happened to a run, and what its time went to.
pub(super) async fn timeline(
    State(edge): State<Edge>,
    InOrg(operator): InOrg,
    PathId(id): PathId<RunId>,
) -> Result<Answer<RunTimeline>, Problem> {
    use fleetward_actors::fact::Fold;
    let (run, lines) = operator.timeline(&id).await?;
    let moments = lines.iter().map(|line| Moment {
        at: line.entry.at,
        kind: &line.entry.kind,
        key: line.key.as_ref(),
        body: &line.entry.body,
    });
    let now = edge.plane.clock().wall_us();
    let spans = timeline::spans(moments, now);
    let spans = spans.into_iter().map(|of| span(of, run.started_at)).collect();
    let status = run.status().to_owned();
    let events = lines.into_iter().map(timeline_event).collect();
    Ok(Answer(RunTimeline { run_id: id.to_string(), status, events, spans }))
}

/// Approves at a gate.
pub(super) async fn approve(
    InOrg(operator): InOrg,
    PathId(id): PathId<RunId>,
    MaybeJson(asked): MaybeJson<GateDecision>,
) -> Result<Answer<RunView>, Problem> {
    decide(&operator, &id, true, asked).await
}

/// Rejects at a gate.
pub(super) async fn reject(
    InOrg(operator): InOrg,
    PathId(id): PathId<RunId>,
    MaybeJson(asked): MaybeJson<GateDecision>,
) -> Result<Answer<RunView>, Problem> {
    decide(&operator, &id, false, asked).await
}

async fn decide(
    operator: &Operator,
    id: &RunId,
    approve: bool,
    asked: GateDecision,
) -> Result<Answer<RunView>, Problem> {
    operator.may(fleetward_actors::system::org::Role::Operator)?;
    let gate = match asked.gate {
        Some(gate) => gate,
        None => only_gate(operator, id).await?,
    };
    let run = operator.decide_gate(id, &gate, approve, (asked.reason, asked.digest)).await?;
    shown(run)
}

/// The gate that is meant where none is named.
async fn only_gate(operator: &Operator, id: &RunId) -> Result<String, Problem> {
    let run = operator.run(id).await?.run;
    let mut gates = run.waits.iter().filter(|(_, wait)| matches!(wait, Wait::Gate(_)));
    match (gates.next(), gates.next()) {
        (Some((key, _)), None) => Ok(key.to_string()),
        (None, _) => {
            let detail = "no gate of the run is open";
            Err(Problem::new(StatusCode::CONFLICT, "no_open_gate", detail))
        }
        (Some(_), Some(_)) => {
            let detail = "several gates of the run are open; name one";
            Err(Problem::new(StatusCode::CONFLICT, "ambiguous_gate", detail))
        }
    }
}

/// Sends a signal.
pub(super) async fn signal(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<RunId>,
    Json { value: asked, .. }: Json<RunSignal<Raw>>,
) -> Result<Answer<RunView>, Problem> {
    let payload = asked.payload.expose().stored("payload")?;
    shown(operator.signal_run(&id, &asked.name, payload).await?)
}

/// Begins nothing new.
pub(super) async fn pause(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<RunId>,
    MaybeJson(said): MaybeJson<Reason>,
) -> Result<Answer<RunView>, Problem> {
    shown(operator.amend_run(&id, Remedy::Pause { reason: said.reason }).await?)
}

/// Goes on.
pub(super) async fn resume(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<RunId>,
) -> Result<Answer<RunView>, Problem> {
    shown(operator.amend_run(&id, Remedy::Resume).await?)
}

/// Ends it.
pub(super) async fn cancel(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<RunId>,
    MaybeJson(said): MaybeJson<Reason>,
) -> Result<Answer<RunView>, Problem> {
    shown(operator.amend_run(&id, Remedy::Cancel { reason: said.reason }).await?)
}

/// Goes on from its failure.
pub(super) async fn retry(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<RunId>,
) -> Result<Answer<RunView>, Problem> {
    shown(operator.amend_run(&id, Remedy::Retry).await?)
}

/// Lets a failed run go.
pub(super) async fn discard(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<RunId>,
    MaybeJson(said): MaybeJson<Reason>,
) -> Result<Answer<RunView>, Problem> {
    shown(operator.amend_run(&id, Remedy::Discard { reason: said.reason }).await?)
}

/// Lets failed runs go by their age.
pub(super) async fn purge(
    CanOperate(operator): CanOperate,
    Json { value: asked, .. }: Json<RunPurge>,
) -> Result<Answer<RunsPurged>, Problem> {
    let RunPurge { older_than_seconds, workflow, group, reason, before } = asked;
    let older_than = Duration::from_secs(older_than_seconds);
    let purge = Purge { older_than, workflow, group, reason, before };
    let Purged { discarded, next } = operator.purge_runs(purge).await?;
    Ok(Answer(RunsPurged { discarded, next }))
}

fn shown(run: fleetward_actors::workflows::run::Run) -> Result<Answer<RunView>, Problem> {
    view(fleetward_actors::plane::RunView { run, result: None }).map(Answer)
}
