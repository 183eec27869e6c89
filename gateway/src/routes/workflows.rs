//! Workflows, as operators apply, look at and retire them.

use axum::Json as Answer;
use axum::http::StatusCode;
use fleetward_actors::workflows::definition::document;
use fleetward_actors::workflows::workflow::Workflow;
use fleetward_wire::workflows::{
    WorkflowApply, WorkflowList, WorkflowShown, WorkflowVersion, WorkflowView,
};
use serde::Deserialize;

use crate::auth::{CanOperate, InOrg};
use crate::extract::{Json, Params, PathId};
use crate::problem::Problem;
use crate::times::rfc3339;

/// What new runs of a workflow get, from now on.
pub(super) async fn apply(
    CanOperate(operator): CanOperate,
    Json { value: asked, .. }: Json<WorkflowApply>,
) -> Result<(StatusCode, Answer<WorkflowView>), Problem> {
    let definition = document::parse(&asked.document)
        .map_err(|errors| Problem::unprocessable("invalid_workflow", errors.to_string()))?;
    let workflow = operator.apply_workflow(definition).await?;
    Ok((StatusCode::OK, Answer(view(&workflow))))
}

/// All of them.
pub(super) async fn list(InOrg(operator): InOrg) -> Result<Answer<WorkflowList>, Problem> {
    let workflows = operator.workflows().await?.iter().map(|known| view(known)).collect();
    Ok(Answer(WorkflowList { workflows }))
}

/// Which version is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Shown {
    version: Option<String>,
}

/// One, with what it says.
pub(super) async fn get(
    InOrg(operator): InOrg,
    PathId(name): PathId<String>,
    Params(asked): Params<Shown>,
) -> Result<Answer<WorkflowShown>, Problem> {
    let workflow = operator.workflow(&name).await?;
    let (shown, definition) = operator.workflow_version(&name, asked.version.as_deref()).await?;
    let definition = document::written(&definition);
    Ok(Answer(WorkflowShown { workflow: view(&workflow), shown, definition }))
}

/// Nobody may start runs of it any more.
pub(super) async fn retire(
    CanOperate(operator): CanOperate,
    PathId(name): PathId<String>,
) -> Result<Answer<WorkflowView>, Problem> {
    Ok(Answer(view(operator.retire_workflow(&name).await?.as_ref())))
}

fn view(workflow: &Workflow) -> WorkflowView {
    let mut versions: Vec<_> = workflow.versions.iter().collect();
    versions.sort_by_key(|(_, applied)| applied.seq);
    let version =
        |(version, applied): (&String, &fleetward_actors::workflows::workflow::Applied)| {
            WorkflowVersion {
                version: version.clone(),
                applied_at: rfc3339(applied.at),
                applied_by: applied.by.clone(),
            }
        };
    WorkflowView {
        name: workflow.name.clone(),
        description: workflow.definition.description.clone(),
        version: workflow.latest.clone(),
        status: if workflow.retired { "retired" } else { "active" }.to_owned(),
        versions: versions.into_iter().map(version).collect(),
    }
}
