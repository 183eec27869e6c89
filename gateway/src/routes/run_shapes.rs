//! Between runs as the wire shows them and runs as the control plane knows them.

use fleetward_actors::fact::Fold;
use fleetward_actors::fleet::task::history::Entry;
use fleetward_actors::plane::{Envelope, FunctionState, RunView, TimelineEntry};
use fleetward_actors::workflows::definition::{Approver, OnExpiry};
use fleetward_actors::workflows::gate::Gate;
use fleetward_actors::workflows::run::{Key, Outcome, Phase, Run, Wait};
use fleetward_actors::workflows::timeline;
use fleetward_wire::Secret;
use fleetward_wire::workflows::{
    CheckpointView, FunctionView, GateView, NodeView, RunParent, RunSchedule, RunView as Wire,
    Span, TimelineEvent, WaitView,
};
use serde_json::Value;

use crate::problem::Problem;
use crate::times::rfc3339;
use crate::translate::Json as _;

/// A run for the wire.
pub(super) fn view(seen: RunView) -> Result<Wire, Problem> {
    let RunView { run, result } = seen;
    let mut shown = open(&run);
    match &run.phase {
        Phase::Completed { .. } => {
            shown.output = result.as_ref().map(opened_json).transpose()?.map(Secret::new);
        }
        Phase::Failed { key, code, group, .. } => {
            shown.error_code = Some(code.clone());
            shown.failed_at = key.as_ref().map(Key::to_string);
            shown.error_group = group.clone();
            shown.error = result.as_ref().map(opened_text).transpose()?.map(Secret::new);
        }
        _ => {}
    }
    Ok(shown)
}

fn open(run: &Run) -> Wire {
    let running = run.scheduled.iter().map(|(key, step)| NodeView {
        key: key.to_string(),
        status: "running".to_owned(),
        since: rfc3339(step.since),
        claimed_at: None,
        ended_at: None,
        attempts: 0,
        task_id: Some(step.task.to_string()),
        error_code: None,
    });
    let suspended = run.functions.iter().filter(|(_, function)| !function.waits.is_empty());
    let suspended = suspended.map(|(key, function)| NodeView {
        key: key.to_string(),
        status: "suspended".to_owned(),
        since: rfc3339(function.since),
        claimed_at: None,
        ended_at: None,
        attempts: function.attempts,
        task_id: None,
        error_code: None,
    });
    let done = run.done.iter().map(|(key, done)| {
        let (status, error_code) = match &done.outcome {
            Outcome::Completed { .. } => ("completed", None),
            Outcome::Failed { code, .. } => ("failed", Some(code.clone())),
        };
        NodeView {
            key: key.to_string(),
            status: status.to_owned(),
            since: rfc3339(done.since),
            claimed_at: done.claimed_at.map(rfc3339),
            ended_at: Some(rfc3339(done.at)),
            attempts: done.attempts,
            task_id: done.task.map(|task| task.to_string()),
            error_code,
        }
    });
    let mut nodes: Vec<_> = done.chain(suspended).chain(running).collect();
    nodes.sort_by(|a, b| (&a.since, &a.ended_at).cmp(&(&b.since, &b.ended_at)));
    Wire {
        run_id: run.id.to_string(),
        workflow: run.workflow.clone(),
        version: run.version.clone(),
        status: run.status().to_owned(),
        started_at: rfc3339(run.started_at),
        started_by: run.by.clone(),
        updated_at: rfc3339(run.updated_at),
        updated_seq: run.updated,
        stuck: run.stuck.as_ref().map(|stuck| stuck.why.clone()),
        parent: run.parent.as_ref().map(|parent| RunParent {
            run_id: parent.run.to_string(),
            key: parent.key.to_string(),
        }),
        forked_from: run.forked_from.as_ref().map(ToString::to_string),
        schedule: run
            .schedule
            .as_ref()
            .map(|of| RunSchedule { name: of.name.clone(), tick: rfc3339(of.tick) }),
        nodes,
        waits: run.waits.iter().map(|(key, wait)| waits(key, wait)).collect(),
        functions: Vec::new(),
        output: None,
        error_code: None,
        failed_at: None,
        error: None,
        error_group: None,
    }
}

/// A step that is a durable function.
pub(super) fn function(shown: FunctionState) -> FunctionView {
    let FunctionState { key, suspended, history } = shown;
    let checkpoint = |entry: &Entry| CheckpointView {
        index: entry.index,
        what: entry.what.as_str().to_owned(),
        name: entry.name.clone(),
        status: match &entry.outcome {
            None => "waiting",
            Some(Outcome::Completed { .. }) => "done",
            Some(Outcome::Failed { .. }) => "failed",
        }
        .to_owned(),
    };
    let checkpoints = history.iter().map(checkpoint).collect();
    FunctionView { key: key.to_string(), suspended, checkpoints }
}

fn waits(key: &Key, wait: &Wait) -> WaitView {
    let mut shown = WaitView {
        key: key.to_string(),
        r#for: String::new(),
        since: rfc3339(wait.since()),
        until: None,
        signal: None,
        child: None,
        gate: None,
    };
    shown.r#for = match wait {
        Wait::Timer { until, .. } => {
            shown.until = Some(rfc3339(*until));
            "timer"
        }
        Wait::Signal { name, until, .. } => {
            shown.until = until.map(rfc3339);
            shown.signal = Some(name.clone());
            "signal"
        }
        Wait::Child { run, .. } => {
            shown.child = Some(run.to_string());
            "child"
        }
        Wait::Gate(open) => {
            shown.until = open.expires_at.map(rfc3339);
            shown.gate = Some(gate(open));
            "approval"
        }
    }
    .to_owned();
    shown
}

fn gate(gate: &Gate) -> GateView {
    let role = match gate.approvers.role {
        Approver::Operator => "operator",
        Approver::Admin => "admin",
    };
    let on_expiry = match gate.on_expiry {
        OnExpiry::Reject => "reject",
        OnExpiry::Approve => "approve",
    };
    GateView {
        role: role.to_owned(),
        people: gate.approvers.people.iter().cloned().collect(),
        quorum: gate.approvers.quorum,
        approved_by: gate.votes.iter().map(|vote| vote.name.clone()).collect(),
        digest: gate.digest.clone(),
        on_expiry: on_expiry.to_owned(),
        prompt: None,
        context: None,
    }
}

/// One line of a timeline.
pub(super) fn timeline_event(line: TimelineEntry) -> TimelineEvent {
    let TimelineEntry { entry, key } = line;
    TimelineEvent {
        seq: entry.seq,
        at: rfc3339(entry.at),
        kind: entry.kind,
        by: entry.by,
        key: key.map(|key| key.to_string()),
        body: entry.body,
    }
}

/// A stretch of time, in seconds since the run began.
pub(super) fn span(span: timeline::Span, began: i64) -> Span {
    Span {
        key: span.key.to_string(),
        what: span.what.as_str().to_owned(),
        from: (span.from - began) as f64 / 1e6,
        seconds: (span.to - span.from) as f64 / 1e6,
        attempt: span.attempt,
        worker_id: span.worker,
    }
}

/// What is sealed as JSON.
pub(super) fn opened_json(sealed: &Envelope) -> Result<Value, Problem> {
    Ok(Value::read(&super::task_shapes::opened("run", sealed)?))
}

/// What is sealed as text.
pub(super) fn opened_text(sealed: &Envelope) -> Result<String, Problem> {
    let bytes = super::task_shapes::opened("run", sealed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
