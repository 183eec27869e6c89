//! Two runs compared.

use axum::Json as Answer;
use axum::http::StatusCode;
use fleetward_actors::id::{BadRunId, RunId};
use fleetward_actors::plane::Compared;
use fleetward_actors::workflows::diff::{Change, First, NodeChange, NodePair, NodeSeen};
use fleetward_actors::workflows::run::{Place, Run};
use fleetward_wire::Secret;
use fleetward_wire::workflows::{DiffChange, DiffFirst, DiffNode, DiffRun, DiffSeen, RunDiff};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::InOrg;
use crate::extract::{Params, PathId};
use crate::problem::Problem;
use crate::times::rfc3339;

/// What it is compared with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct With {
    with: Option<String>,
}

/// One run beside another.
pub(super) async fn diff(
    InOrg(operator): InOrg,
    PathId(id): PathId<RunId>,
    Params(With { with }): Params<With>,
) -> Result<Answer<RunDiff>, Problem> {
    let Some(with) = with else {
        // Whether there is such a run at all comes first.
        operator.run(&id).await?;
        let detail = "`with` must name the run to compare with";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "missing_run", detail));
    };
    let with: RunId = with
        .parse()
        .map_err(|bad: BadRunId| Problem::unprocessable("invalid_run_id", bad.to_string()))?;
    Ok(Answer(shown(&operator.diff_runs(&id, &with).await?)))
}

fn shown(compared: &Compared) -> RunDiff {
    let Compared { a, b, difference, .. } = compared;
    let open = |place: &Place| compared.values.get(place).map(|value| secret(value));
    RunDiff {
        a: side(a, open(&a.input)),
        b: side(b, open(&b.input)),
        same_input: difference.same_input,
        first: difference.first.as_ref().map(first),
        definition: difference.definition.iter().map(change).collect(),
        nodes: difference.nodes.iter().map(|pair| node(pair, compared)).collect(),
    }
}

fn side(run: &Run, input: Option<Secret<Value>>) -> DiffRun {
    use fleetward_actors::fact::Fold;
    DiffRun {
        run_id: run.id.to_string(),
        workflow: run.workflow.clone(),
        version: run.version.clone(),
        status: run.status().to_owned(),
        started_at: rfc3339(run.started_at),
        seconds: (run.updated_at - run.started_at) as f64 / 1e6,
        input,
    }
}

fn first(first: &First) -> DiffFirst {
    let (r#where, key) = match first {
        First::Input => ("input", None),
        First::Node(key, aspect) => (aspect.as_str(), Some(key.to_string())),
        First::End => ("end", None),
    };
    DiffFirst { r#where: r#where.to_owned(), key }
}

fn change(changed: &NodeChange) -> DiffChange {
    let keys = match &changed.change {
        Change::Changed(keys) => keys.clone(),
        _ => Vec::new(),
    };
    DiffChange { node: changed.name.clone(), change: changed.change.as_str().to_owned(), keys }
}

fn node(pair: &NodePair, compared: &Compared) -> DiffNode {
    let seen = |seen: &NodeSeen| DiffSeen {
        status: seen.status.to_owned(),
        error_code: seen.code.clone(),
        began: seen.began_us as f64 / 1e6,
        seconds: seen.took_us.map(|took| took as f64 / 1e6),
        ran_seconds: seen.ran_us.map(|ran| ran as f64 / 1e6),
        attempts: seen.attempts,
        worker_id: seen.worker.map(|worker| worker.to_string()),
        digest: seen.digest.clone(),
        value: seen.place.as_ref().and_then(|at| compared.values.get(at)).map(|v| secret(v)),
    };
    DiffNode {
        key: pair.key.to_string(),
        differs: pair.differs.iter().map(|aspect| aspect.as_str().to_owned()).collect(),
        a: pair.a.as_ref().map(seen),
        b: pair.b.as_ref().map(seen),
    }
}

fn secret(value: &Value) -> Secret<Value> {
    Secret::new(value.clone())
}
