//! What an organisation lets run, as operators see and change it.

use axum::Json as Answer;
use fleetward_actors::fleet::models::table_version;
use fleetward_actors::fleet::policy::{self, Change, Policy};
use fleetward_actors::{Operator, Refusal};
use fleetward_wire::policy::{
    Balancing, Cap, Capped, ModelName, Pause, PolicyChange, PolicyPatch, PolicyView,
};
use serde::Deserialize;

use super::suspicions;
use super::task_shapes::worker;
use crate::auth::{CanAdminister, CanOperate, InOrg};
use crate::extract::{Json, MaybeJson, Params};
use crate::problem::Problem;

/// The policy now.
pub(super) async fn get(InOrg(operator): InOrg) -> Result<Answer<PolicyView>, Problem> {
    Ok(Answer(view(operator.policy().await?)))
}

/// Other caps and weights.
pub(super) async fn put(
    CanAdminister(operator): CanAdminister,
    Json { value: asked, .. }: Json<PolicyChange>,
) -> Result<Answer<PolicyView>, Problem> {
    let caps = asked.caps.iter().cloned().map(cap).collect::<Result<_, _>>()?;
    let PolicyChange { weights, balancing, models, anomaly, .. } = asked;
    let anomaly = suspicions::thresholds(anomaly);
    let balancing = balancing.into_iter().map(|(pool, how)| (pool, balanced(how))).collect();
    let policy = Policy { caps, weights, balancing, models, anomaly, ..Policy::default() };
    change(&operator, Change::Set(Box::new(policy))).await
}

/// What is named differs from now on.
pub(super) async fn patch(
    CanAdminister(operator): CanAdminister,
    Json { value: asked, .. }: Json<PolicyPatch>,
) -> Result<Answer<PolicyView>, Problem> {
    match asked.legacy_headers {
        Some(allowed) => change(&operator, Change::LegacyHeaders(allowed)).await,
        None => Ok(Answer(view(operator.policy().await?))),
    }
}

/// Query of a model's name.
#[derive(Debug, Deserialize)]
pub(super) struct Name {
    name: String,
}

/// The canonical name of a model.
pub(super) async fn model(
    InOrg(operator): InOrg,
    Params(Name { name }): Params<Name>,
) -> Result<Answer<ModelName>, Problem> {
    let canonical = operator.canonical_model(&name).await?;
    Ok(Answer(ModelName { name, canonical, table: table_version().to_owned() }))
}

/// Nothing more starts.
pub(super) async fn pause(
    CanOperate(operator): CanOperate,
    MaybeJson(asked): MaybeJson<Pause>,
) -> Result<Answer<PolicyView>, Problem> {
    change(&operator, paused(asked, true)).await
}

/// Tasks start again.
pub(super) async fn resume(
    CanOperate(operator): CanOperate,
    MaybeJson(asked): MaybeJson<Pause>,
) -> Result<Answer<PolicyView>, Problem> {
    change(&operator, paused(asked, false)).await
}

fn paused(asked: Pause, paused: bool) -> Change {
    match asked.pool {
        Some(pool) => Change::PausePool(pool, paused),
        None => Change::Pause(paused),
    }
}

async fn change(operator: &Operator, change: Change) -> Result<Answer<PolicyView>, Problem> {
    Ok(Answer(view(operator.govern(change).await?)))
}

fn cap(asked: Cap) -> Result<policy::Cap, Refusal> {
    let of = match asked.of {
        Capped::Project(project) => policy::Capped::Project(project),
        Capped::Pool(pool) => policy::Capped::Pool(pool),
        Capped::Label { key, value } => policy::Capped::Label { key, value },
        Capped::Worker(id) => policy::Capped::Worker(worker(&id)?),
    };
    Ok(policy::Cap { of, max: asked.max })
}

fn balanced(how: Balancing) -> policy::Balancing {
    match how {
        Balancing::LeastLoaded => policy::Balancing::LeastLoaded,
        Balancing::RoundRobin => policy::Balancing::RoundRobin,
        Balancing::LongestWaiting => policy::Balancing::LongestWaiting,
    }
}

fn balanced_view(how: policy::Balancing) -> Balancing {
    match how {
        policy::Balancing::LeastLoaded => Balancing::LeastLoaded,
        policy::Balancing::RoundRobin => Balancing::RoundRobin,
        policy::Balancing::LongestWaiting => Balancing::LongestWaiting,
    }
}

fn view(policy: Policy) -> PolicyView {
    let cap = |cap: policy::Cap| Cap {
        of: match cap.of {
            policy::Capped::Project(project) => Capped::Project(project),
            policy::Capped::Pool(pool) => Capped::Pool(pool),
            policy::Capped::Label { key, value } => Capped::Label { key, value },
            policy::Capped::Worker(id) => Capped::Worker(id.to_string()),
        },
        max: cap.max,
    };
    PolicyView {
        paused: policy.paused,
        paused_pools: policy.paused_pools,
        caps: policy.caps.into_iter().map(cap).collect(),
        weights: policy.weights,
        balancing: (policy.balancing.into_iter())
            .map(|(pool, how)| (pool, balanced_view(how)))
            .collect(),
        models: policy.models,
        anomaly: suspicions::thresholds_view(&policy.anomaly),
        legacy_headers: !policy.legacy_headers_off,
    }
}
