//! Schedules of runs, as operators make, see and decide about them.

use axum::Json as Answer;
use axum::http::StatusCode;
use bytes::Bytes;
use fleetward_actors::fact::Fold;
use fleetward_actors::plane::ScheduleView as Seen;
use fleetward_actors::schedules::schedule::Occasion;
use fleetward_actors::schedules::scheduler::{Change, Ran};
use fleetward_actors::schedules::spec::{CatchUp, Missed, Overlap, Spec, Timing};
use fleetward_actors::{Operator, Refusal};
use fleetward_wire::schedules::{
    ScheduleList, ScheduleRun, ScheduleSet, ScheduleView, TickView, UpcomingTick,
};
use fleetward_wire::tasks::Reason;
use fleetward_wire::workflows::RunStarted;
use fleetward_wire::{Raw, Secret};
use serde::Deserialize;

use super::run_shapes::opened_json;
use super::runs::run_id;
use crate::auth::{CanOperate, InOrg};
use crate::extract::{Json, MaybeJson, Params, PathId, page};
use crate::problem::Problem;
use crate::times::{micros, rfc3339};
use crate::translate::Json as _;

/// Longest number of seconds that is taken.
const SECONDS_MAX: f64 = 1e10;
const POLICIES: [(&str, Missed); 3] =
    [("skip", Missed::Skip), ("latest", Missed::Latest), ("all", Missed::All)];
const OVERLAPS: [(&str, Overlap); 4] = [
    ("skip", Overlap::Skip),
    ("buffer_one", Overlap::BufferOne),
    ("allow", Overlap::Allow),
    ("cancel_other", Overlap::CancelOther),
];

/// Which schedules are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ScheduleQuery {
    after: Option<String>,
    limit: Option<u32>,
}

/// Schedules, by name.
pub(super) async fn list(
    InOrg(operator): InOrg,
    Params(query): Params<ScheduleQuery>,
) -> Result<Answer<ScheduleList>, Problem> {
    let found = operator.schedules(query.after, page(query.limit)?).await?;
    let schedules = found.schedules.into_iter().map(view).collect();
    Ok(Answer(ScheduleList { schedules, next: found.next }))
}

/// Makes one, or tells it something else.
pub(super) async fn put(
    CanOperate(operator): CanOperate,
    PathId(name): PathId<String>,
    Json { value: asked, .. }: Json<ScheduleSet<Raw>>,
) -> Result<(StatusCode, Answer<ScheduleView>), Problem> {
    let input = asked.input.expose().stored("input")?;
    let (seen, is_new) = operator.put_schedule(&name, spec(asked)?, input).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Answer(view(seen))))
}

/// One, with what became of its newest ticks.
pub(super) async fn get(
    InOrg(operator): InOrg,
    PathId(name): PathId<String>,
) -> Result<Answer<ScheduleView>, Problem> {
    Ok(Answer(view(operator.schedule(&name).await?)))
}

/// What its runs are given.
pub(super) async fn input(
    InOrg(operator): InOrg,
    PathId(name): PathId<String>,
) -> Result<Answer<Secret<serde_json::Value>>, Problem> {
    let found = operator.schedule_input(&name).await?;
    let found = found.ok_or_else(|| Problem::not_found("input"))?;
    Ok(Answer(Secret::new(opened_json(&found)?)))
}

/// Fires nothing by itself.
pub(super) async fn pause(
    CanOperate(operator): CanOperate,
    PathId(name): PathId<String>,
    MaybeJson(said): MaybeJson<Reason>,
) -> Result<Answer<ScheduleView>, Problem> {
    amend(&operator, &name, Change::Pause { reason: said.reason }).await
}

/// Goes on.
pub(super) async fn resume(
    CanOperate(operator): CanOperate,
    PathId(name): PathId<String>,
) -> Result<Answer<ScheduleView>, Problem> {
    amend(&operator, &name, Change::Resume).await
}

/// Is no more. Its runs go on.
pub(super) async fn delete(
    CanOperate(operator): CanOperate,
    PathId(name): PathId<String>,
) -> Result<Answer<ScheduleView>, Problem> {
    amend(&operator, &name, Change::Delete).await
}

async fn amend(
    operator: &Operator,
    name: &str,
    change: Change,
) -> Result<Answer<ScheduleView>, Problem> {
    Ok(Answer(view(operator.amend_schedule(name, change).await?)))
}

/// Starts a run of it now.
pub(super) async fn run(
    CanOperate(operator): CanOperate,
    PathId(name): PathId<String>,
    MaybeJson(asked): MaybeJson<ScheduleRun<Raw>>,
) -> Result<(StatusCode, Answer<RunStarted>), Problem> {
    let id = asked.run_id.as_deref().map(run_id).transpose()?;
    let stored = |input: &Secret<Raw>| input.expose().stored("input");
    let input: Option<Bytes> = asked.input.as_ref().map(stored).transpose()?;
    let Ran { run, version, repeated } = operator.run_schedule(&name, id, input).await?;
    let status = if repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Answer(RunStarted { run_id: run.to_string(), version, repeated, run: None })))
}

fn spec(asked: ScheduleSet<Raw>) -> Result<Spec, Refusal> {
    let timing = match (asked.cron, asked.every_seconds) {
        (Some(expression), None) => {
            let zone = asked.timezone.unwrap_or_else(|| "UTC".to_owned());
            Timing::Cron { expression, zone }
        }
        (None, Some(_)) if asked.timezone.is_some() => {
            let detail = "an interval is counted in elapsed time: `timezone` belongs to `cron`";
            return Err(Refusal::invalid("invalid_schedule", detail));
        }
        (None, Some(seconds)) => {
            let ms = milliseconds("every_seconds", seconds)?;
            // A part of a second is refused with the interval.
            let seconds = if ms % 1_000 == 0 { (ms / 1_000).cast_signed() } else { 0 };
            Timing::Every { seconds }
        }
        _ => {
            let detail = "a schedule has either `cron` or `every_seconds`";
            return Err(Refusal::invalid("invalid_schedule", detail));
        }
    };
    let usual = CatchUp::default();
    let ms = |field, seconds: Option<f64>, otherwise| {
        seconds.map_or(Ok(otherwise), |seconds| milliseconds(field, seconds))
    };
    let catch_up = CatchUp {
        policy: word("catch_up", asked.catch_up.as_deref(), usual.policy, &POLICIES)?,
        window_ms: ms("catch_up_window_seconds", asked.catch_up_window_seconds, usual.window_ms)?,
        most: asked.catch_up_max.unwrap_or(usual.most),
    };
    Ok(Spec {
        version: asked.version,
        jitter_ms: ms("jitter_seconds", asked.jitter_seconds, 0)?,
        start: time("start", asked.start.as_deref())?,
        end: time("end", asked.end.as_deref())?,
        catch_up,
        overlap: word("overlap", asked.overlap.as_deref(), Overlap::Skip, &OVERLAPS)?,
        description: asked.description,
        ..Spec::new(asked.workflow, timing)
    })
}

fn milliseconds(field: &str, seconds: f64) -> Result<u64, Refusal> {
    if (0.0..=SECONDS_MAX).contains(&seconds) {
        return Ok((seconds * 1_000.0).round() as u64);
    }
    let detail = format!("{field} must be a number of seconds that is not negative");
    Err(Refusal::invalid("invalid_duration", detail))
}

fn time(field: &str, text: Option<&str>) -> Result<Option<i64>, Refusal> {
    let read = |text| {
        let detail = format!("{field} must be a time of RFC 3339, as 2026-01-31T12:00:00Z");
        micros(text).ok_or_else(|| Refusal::invalid("invalid_time", detail))
    };
    text.map(read).transpose()
}

fn word<T: Copy>(
    field: &str,
    text: Option<&str>,
    usual: T,
    known: &[(&str, T)],
) -> Result<T, Refusal> {
    let Some(text) = text else { return Ok(usual) };
    if let Some((_, found)) = known.iter().find(|(word, _)| *word == text) {
        return Ok(*found);
    }
    let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
    let detail = format!("{field} must be one of {}", words.join(", "));
    Err(Refusal::invalid("invalid_schedule", detail))
}

fn named<T: PartialEq>(value: T, known: &[(&str, T)]) -> String {
    known.iter().find(|(_, of)| *of == value).map_or("", |(word, _)| word).to_owned()
}

fn view(seen: Seen) -> ScheduleView {
    let Seen { schedule, upcoming, recent } = seen;
    let status = schedule.status().to_owned();
    let seconds = |ms: u64| ms as f64 / 1e3;
    let spec = schedule.spec;
    let (cron, timezone, every) = match spec.timing {
        Timing::Cron { expression, zone } => (Some(expression), Some(zone), None),
        Timing::Every { seconds } => (None, None, Some(seconds as f64)),
    };
    let paused = schedule.paused.as_ref();
    let next = upcoming
        .into_iter()
        .map(|(tick, fires_at)| UpcomingTick { tick: rfc3339(tick), fires_at: rfc3339(fires_at) });
    ScheduleView {
        name: schedule.name,
        status,
        workflow: spec.workflow,
        version: spec.version,
        description: spec.description,
        cron,
        timezone,
        every_seconds: every,
        jitter_seconds: seconds(spec.jitter_ms),
        start: spec.start.map(rfc3339),
        end: spec.end.map(rfc3339),
        catch_up: named(spec.catch_up.policy, &POLICIES),
        catch_up_window_seconds: seconds(spec.catch_up.window_ms),
        catch_up_max: spec.catch_up.most,
        overlap: named(spec.overlap, &OVERLAPS),
        created_at: rfc3339(schedule.created_at),
        created_by: schedule.created_by,
        changed_at: rfc3339(schedule.changed_at),
        changed_by: schedule.changed_by,
        paused_at: paused.map(|paused| rfc3339(paused.at)),
        paused_by: paused.map(|paused| paused.by.clone()),
        paused_reason: paused.and_then(|paused| paused.reason.clone()),
        buffered: schedule.buffered.map(rfc3339),
        fired: schedule.fired,
        next: next.collect(),
        recent: recent.into_iter().map(tick).collect(),
    }
}

fn tick((of, status): (Occasion, Option<&'static str>)) -> TickView {
    let (error_code, error) = of.refused.map(|why| (why.code, why.detail)).unzip();
    let status = match error_code {
        Some(_) => Some("refused"),
        None if of.deleted => Some("deleted"),
        None => status,
    };
    TickView {
        tick: rfc3339(of.tick),
        at: rfc3339(of.at),
        manual: of.manual,
        run_id: of.run.map(|run| run.to_string()),
        status: status.map(str::to_owned),
        error_code,
        error,
    }
}
