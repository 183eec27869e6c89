//! Durable functions, between the words of the worker protocol and the control plane's.

use bytes::Bytes;
use fleetward_actors::fleet::task::history::{Awaited, Called, Pending};
use fleetward_actors::id::TaskId;
use fleetward_actors::plane::{self, NewCheckpoint, Outcome, Part};
use fleetward_actors::workflows::definition::{Approver, Approvers, OnExpiry};
use fleetward_actors::workflows::run;
use fleetward_actors::{Error, Refusal, Session};
use fleetward_wire::payload_keys::SealedValue;
use fleetward_wire::tasks::{
    AskPeople, Called as Word, Checkpoint, Checkpoints, DecidedBy, ReadCheckpoints, Recorded,
    RecordedStatus, WaitFor,
};
use fleetward_wire::{Raw, Secret};
use serde_json::json;

use super::{Json, opened, shallow};
use crate::times::micros;

/// A step of a durable function that is done.
///
/// # Errors
/// As [`Session::checkpoint`], and when its value is too deep or does not open.
pub async fn checkpointed<V: Json>(
    session: &Session,
    task: TaskId,
    said: Checkpoint<V>,
) -> Result<(), Error> {
    let value = match said.value_sealed {
        Some(sealed) => {
            let attempt = (task, said.attempt);
            let value: Raw = numbered(session, Part::Checkpoint, attempt, said.index, sealed)?;
            value.stored("value")?
        }
        None => said.value.expose().stored("value")?,
    };
    let token = said.claim_token.as_ref().map(|token| token.expose().as_str());
    let Checkpoint { index, name, took_ms, attempt, .. } = said;
    let new = NewCheckpoint { index, name, value, took_ms };
    session.checkpoint(task, (attempt, token), new).await
}

/// What a durable function has done.
///
/// # Errors
/// As [`Session::recorded`], and when none of the worker's keys is good any more.
pub async fn recorded<V: Json>(
    session: &Session,
    task: TaskId,
    asked: ReadCheckpoints,
) -> Result<Checkpoints<V>, Error> {
    let token = asked.claim_token.as_ref().map(|token| token.expose().as_str());
    let page = session.recorded(task, (asked.attempt, token), asked.from).await?;
    let attempt = (task, asked.attempt.unwrap_or_default());
    let shown = |known: plane::Recorded| match asked.org_keys.as_slice() {
        [] => Ok(shown(known)),
        held => sealed(session, held, attempt, known),
    };
    let entries = page.entries.into_iter().map(shown).collect::<Result<_, Refusal>>()?;
    Ok(Checkpoints { entries, next: page.next })
}

fn shown<V: Json>(known: plane::Recorded) -> Recorded<V> {
    let plane::Recorded { entry, value } = known;
    let (status, code) = match entry.outcome {
        None => (RecordedStatus::Waiting, None),
        Some(run::Outcome::Completed { .. }) => (RecordedStatus::Done, None),
        Some(run::Outcome::Failed { code, .. }) => (RecordedStatus::Failed, Some(code)),
    };
    let what = match entry.what {
        Called::Step => Word::Step,
        Called::Sleep => Word::Sleep,
        Called::Signal => Word::Signal,
        Called::Approval => Word::Approval,
    };
    let decided = |vote: run::Vote| DecidedBy { name: vote.name, reason: vote.reason };
    Recorded {
        index: entry.index,
        what,
        name: entry.name,
        status,
        code,
        value: value.map(|value| Secret::new(V::read(&value))),
        value_sealed: None,
        decisions: entry.votes.into_iter().map(decided).collect(),
        known_from: entry.known_from,
    }
}

fn sealed<V: Json>(
    session: &Session,
    held: &[u32],
    attempt: (TaskId, u32),
    mut known: plane::Recorded,
) -> Result<Recorded<V>, Refusal> {
    let Some(value) = known.value.take() else { return Ok(shown(known)) };
    let numbered = [b"[", known.entry.index.to_string().as_bytes(), b",", &value, b"]"].concat();
    let plane::Handed { key, token } =
        session.seal_for_worker(Part::Checkpoint, held, attempt, &numbered)?;
    let value_sealed = Some(SealedValue { key, token });
    Ok(Recorded { value_sealed, ..shown(known) })
}

/// What a worker sealed as `[index, value]`, for this position.
fn numbered<V: serde::de::DeserializeOwned>(
    session: &Session,
    part: Part,
    attempt: (TaskId, Option<u32>),
    index: u32,
    sealed: SealedValue,
) -> Result<V, Refusal> {
    let bytes: Bytes = opened(session, part, attempt, sealed)?;
    match serde_json::from_slice::<(u32, V)>(&bytes) {
        Ok((at, value)) if at == index => Ok(value),
        _ => {
            let detail = "the sealed value is not `[index, value]` with the index beside it";
            Err(Refusal::invalid("unreadable_value", detail))
        }
    }
}

/// A suspension.
///
/// # Errors
/// When a wait makes no sense.
pub(super) fn suspended(
    session: &Session,
    attempt: (TaskId, Option<u32>),
    waits: Vec<WaitFor>,
) -> Result<Outcome, Refusal> {
    let pending = |mut wait: WaitFor| {
        let asked = match wait.asked_sealed.take() {
            Some(sealed) => Some(numbered(session, Part::Asked, attempt, wait.index, sealed)?),
            None => wait.approval.as_ref().map(|asked| {
                json!({ "prompt": asked.prompt.expose(), "context": asked.context.expose() })
            }),
        };
        if let Some(asked) = &asked {
            shallow("the context", &asked.to_string())?;
        }
        Ok((read(wait)?, asked))
    };
    Ok(Outcome::Suspended(waits.into_iter().map(pending).collect::<Result<_, Refusal>>()?))
}

fn read(wait: WaitFor) -> Result<Pending, Refusal> {
    let WaitFor { index, what, name, seconds, until, timeout_seconds, approval, .. } = wait;
    let timeout_ms = timeout_seconds.map(millis).transpose()?;
    let wait = match (what, seconds, until, approval) {
        (Word::Sleep, Some(seconds), None, None) => Awaited::Sleep { ms: millis(seconds)? },
        (Word::Sleep, None, Some(until), None) => {
            let at = micros(&until).ok_or_else(|| senseless("`until` is no time of RFC 3339"))?;
            Awaited::Until { at }
        }
        (Word::Signal, None, None, None) => Awaited::Signal { timeout_ms },
        (Word::Approval, None, None, Some(asked)) => approval_of(*asked, timeout_ms)?,
        _ => {
            let detail = "a sleep has `seconds` or `until`, an approval has `approval`, a signal neither; a step is not \
                          waited for";
            return Err(senseless(detail));
        }
    };
    Ok(Pending { index, name, wait })
}

fn approval_of(asked: AskPeople, expires_ms: Option<u64>) -> Result<Awaited, Refusal> {
    let approvers = Approvers {
        role: if asked.admins { Approver::Admin } else { Approver::Operator },
        people: asked.people.into_iter().collect(),
        quorum: asked.quorum.unwrap_or(1).max(1),
        requester_may_approve: asked.requester_may_approve,
    };
    let on_expiry = if asked.expiry_approves { OnExpiry::Approve } else { OnExpiry::Reject };
    let remind_ms = asked.remind_seconds.map(millis).transpose()?;
    Ok(Awaited::Approval { approvers, expires_ms, on_expiry, remind_ms })
}

fn millis(seconds: f64) -> Result<u64, Refusal> {
    // Written so that what is no number fails too.
    if (0.0..=1e10).contains(&seconds) {
        return Ok((seconds * 1_000.0).ceil() as u64);
    }
    Err(senseless("a number of seconds must not be negative"))
}

fn senseless(detail: &str) -> Refusal {
    Refusal::invalid("invalid_wait", detail)
}
