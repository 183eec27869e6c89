//! Runs replayed from the journal, against the version that they keep or another definition.

use axum::Json as Answer;
use fleetward_actors::id::RunId;
use fleetward_actors::plane::{Against, Replayed, RunView};
use fleetward_actors::workflows::definition::document;
use fleetward_actors::workflows::replay::{Divergence, Want};
use fleetward_wire::Secret;
use fleetward_wire::workflows::{
    RunDivergence, RunReplay, RunReplayAgainst, RunSignalKept, RunValue, RunWant,
};
use serde::Deserialize;

use super::run_shapes::view;
use crate::auth::InOrg;
use crate::extract::{Json, Params, PathId};
use crate::problem::Problem;

/// What the version that new runs get is called here.
const LATEST: &str = "latest";

/// How a run is replayed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// To this event; none: to the end.
    to: Option<u64>,
    /// Against this version, its first characters, or `latest`; none: the one that the run keeps.
    version: Option<String>,
}

/// Against a version that was applied.
pub(super) async fn kept(
    InOrg(operator): InOrg,
    PathId(id): PathId<RunId>,
    Params(asked): Params<Asked>,
) -> Result<Answer<RunReplay>, Problem> {
    let against = match asked.version {
        None => Against::Kept,
        Some(word) if word == LATEST => Against::Latest,
        Some(version) => Against::Version(version),
    };
    shown(operator.replay_run(&id, against, asked.to).await?)
}

/// Against a definition that may be applied nowhere.
pub(super) async fn given(
    InOrg(operator): InOrg,
    PathId(id): PathId<RunId>,
    Json { value: asked, .. }: Json<RunReplayAgainst>,
) -> Result<Answer<RunReplay>, Problem> {
    let definition = document::parse(&asked.document)
        .map_err(|errors| Problem::unprocessable("invalid_workflow", errors.to_string()))?;
    let against = Against::Definition(Box::new(definition));
    shown(operator.replay_run(&id, against, asked.to).await?)
}

fn shown(replayed: Replayed) -> Result<Answer<RunReplay>, Problem> {
    let fits = replayed.fits();
    let Replayed { run, version, events, next, diverged, more, incomplete, values } = replayed;
    let signals = run.signals.iter();
    let signals =
        signals.map(|one| RunSignalKept { name: one.name.clone(), seq: one.at }).collect();
    let values = values.into_iter().map(|one| RunValue {
        name: one.name,
        seq: one.at,
        value: one.value.map(|value| Secret::new(serde_json::Value::clone(&value))),
    });
    let values = values.collect();
    Ok(Answer(RunReplay {
        run: view(RunView { run, result: None })?,
        against: version,
        events,
        fits,
        divergences: diverged.into_iter().map(divergence).collect(),
        more,
        incomplete,
        next: next.into_iter().map(want).collect(),
        signals,
        values,
    }))
}

fn divergence(one: Divergence) -> RunDivergence {
    RunDivergence {
        seq: one.at,
        kind: Some(one.kind).filter(|kind| !kind.is_empty()),
        key: one.key.map(|key| key.to_string()),
        how: one.how.as_str().to_owned(),
        detail: one.detail,
    }
}

fn want(one: Want) -> RunWant {
    let key = one.key.map(|key| key.to_string());
    RunWant { what: one.what.to_owned(), key, code: one.code }
}
