//! What is wrong with a definition, unwise in it, or more than the workers of the organisation can run.

use axum::Json as Answer;
use fleetward_actors::workflows::definition::document::{self, Problems};
use fleetward_actors::workflows::definition::lint::Level;
use fleetward_wire::workflows::{WorkflowLint, WorkflowLinted, WorkflowProblem};

use crate::auth::InOrg;
use crate::extract::Json;
use crate::problem::Problem;

/// Everything that is to be said of a document. Nothing is applied.
pub(super) async fn lint(
    InOrg(operator): InOrg,
    Json { value: asked, .. }: Json<WorkflowLint>,
) -> Result<Answer<WorkflowLinted>, Problem> {
    let document = match document::read(&asked.document) {
        Ok(document) => document,
        Err(Problems(problems)) => {
            let found = problems.into_iter().map(|one| WorkflowProblem {
                level: Level::Error.as_str().to_owned(),
                line: one.line,
                column: one.column,
                path: one.path,
                message: one.message,
            });
            let found = found.collect();
            return Ok(Answer(WorkflowLinted { name: None, version: None, workers: None, found }));
        }
    };
    let (found, workers) = operator.lint_workflow(&document).await?;
    let found = found.into_iter().map(|one| {
        let (line, column) = one.place.unzip();
        let level = one.level.as_str().to_owned();
        WorkflowProblem { level, line, column, path: one.path, message: one.message }
    });
    Ok(Answer(WorkflowLinted {
        name: Some(document.definition.name.clone()),
        version: Some(document.definition.version()),
        workers: Some(workers),
        found: found.collect(),
    }))
}
