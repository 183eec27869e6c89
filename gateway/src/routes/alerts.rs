//! Alerts and sinks, as operators see, acknowledge and make them.

use axum::Json as Answer;
use axum::http::StatusCode;
use fleetward_actors::fleet::alert::Alert;
use fleetward_actors::fleet::sink::Sink;
use fleetward_actors::id::{AlertId, SinkId};
use fleetward_actors::plane::SinkSecret;
use fleetward_wire::Done;
use fleetward_wire::alerts::{
    Acknowledge, AlertList, AlertView, SinkCreate, SinkCreated, SinkList, SinkTested, SinkView,
};

use crate::auth::{CanAdminister, CanOperate, InOrg};
use crate::extract::{Json, MaybeJson, Params, PathId, page};
use crate::problem::Problem;
use crate::routes::workers::ListQuery;
use crate::times::rfc3339;

/// The newest alerts.
pub(super) async fn list(
    InOrg(operator): InOrg,
    Params(query): Params<ListQuery>,
) -> Result<Answer<AlertList>, Problem> {
    let status = query.status.as_deref();
    if status.is_some_and(|word| !["open", "acknowledged"].contains(&word)) {
        let detail = "status must be open or acknowledged";
        return Err(Problem::unprocessable("invalid_status", detail));
    }
    let limit = page(query.limit)?;
    let alerts = operator.alerts(status, query.before, limit).await?;
    let more = alerts.len() == limit;
    let next = alerts.last().filter(|_| more).map(|alert| alert.created);
    Ok(Answer(AlertList { alerts: alerts.into_iter().map(view).collect(), next }))
}

/// Somebody has seen it.
pub(super) async fn acknowledge(
    CanOperate(operator): CanOperate,
    PathId(id): PathId<AlertId>,
    MaybeJson(asked): MaybeJson<Acknowledge>,
) -> Result<Answer<AlertView>, Problem> {
    Ok(Answer(view(operator.acknowledge(id, asked.note).await?)))
}

/// Where alerts are sent.
pub(super) async fn sinks(InOrg(operator): InOrg) -> Result<Answer<SinkList>, Problem> {
    let sinks = operator.sinks().await?.into_iter().map(sink_view).collect();
    Ok(Answer(SinkList { sinks }))
}

/// One more; its secret is answered this once.
pub(super) async fn create(
    CanAdminister(operator): CanAdminister,
    Json { value: asked, .. }: Json<SinkCreate>,
) -> Result<(StatusCode, Answer<SinkCreated>), Problem> {
    let made = operator.create_sink(&asked.name, asked.url.expose()).await?;
    Ok((StatusCode::CREATED, Answer(created(made))))
}

/// Another secret, answered this once.
pub(super) async fn rotate(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<SinkId>,
) -> Result<Answer<SinkCreated>, Problem> {
    Ok(Answer(created(operator.rotate_sink(id).await?)))
}

/// Nothing is sent there any more.
pub(super) async fn remove(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<SinkId>,
) -> Result<Answer<Done>, Problem> {
    operator.remove_sink(id).await?;
    Ok(Answer(Done::ok()))
}

/// Whether something arrives there.
pub(super) async fn test(
    CanAdminister(operator): CanAdminister,
    PathId(id): PathId<SinkId>,
) -> Result<Answer<SinkTested>, Problem> {
    let error = operator.test_sink(id).await?.err();
    Ok(Answer(SinkTested { delivered: error.is_none(), error }))
}

fn created((sink, SinkSecret(secret)): (Sink, SinkSecret)) -> SinkCreated {
    SinkCreated { id: sink.id.to_string(), name: sink.name, secret: secret.into() }
}

fn view(alert: Alert) -> AlertView {
    AlertView {
        id: alert.id.to_string(),
        kind: alert.about,
        severity: alert.severity.as_str().to_owned(),
        subject_kind: alert.subject_kind,
        subject: alert.subject,
        why: alert.why,
        raised_at: rfc3339(alert.raised_at),
        acknowledged_at: alert.acknowledged_at.map(rfc3339),
        acknowledged_by: alert.acknowledged_by,
        note: alert.note,
    }
}

fn sink_view(sink: Sink) -> SinkView {
    SinkView {
        id: sink.id.to_string(),
        name: sink.name,
        origin: sink.origin,
        created_at: rfc3339(sink.created_at),
        created_by: sink.created_by,
        delivered: sink.delivered,
        given_up: sink.given_up,
        delivered_at: sink.delivered_at.map(rfc3339),
        last_error: sink.last_error,
        old_secret_until: sink.old_until.map(rfc3339),
    }
}
