//! Between the worker protocol's words and the control plane's: for the routes, and for workers in the same process.

mod functions;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleetward_actors::fleet::probes::{Endpoint, Seen};
use fleetward_actors::fleet::task::{Network, Sandbox};
use fleetward_actors::fleet::worker::Standing;
use fleetward_actors::id::TaskId;
use fleetward_actors::plane::{self, Handed, Offer, Outcome, Part, Reported};
use fleetward_actors::system::head::SignedHead;
use fleetward_actors::{Error, Refusal, Session};
use fleetward_store::StoredEvent;
use fleetward_wire::audit::{AuditHead, ExportEvent};
use fleetward_wire::payload_keys::SealedValue;
use fleetward_wire::tasks::{Claimed, ClaimedStep, Report, ReportStatus};
use fleetward_wire::workers::{
    EndpointKind, Heartbeat, HeartbeatAnswer, LostTask, ModelsSeen, NetworkPolicy, SandboxLevel,
    WorkerStatus,
};
use fleetward_wire::{Raw, Secret};
use serde_json::Value;

use crate::times::rfc3339;
pub use functions::{checkpointed, recorded};

/// Deepest payload or output. Half of what JSON parsers commonly read, so that answers that
/// contain it are still read.
const DEPTH_MAX: usize = 64;

/// What a claim is answered with.
pub fn claimed<V: Json>(session: &Session, lease: Duration, offer: Offer) -> Claimed<V> {
    let Offer { task, attempt, claim_token, wants, payload, claimed_at, step, checkpoints } = offer;
    Claimed {
        run_id: task.to_string(),
        org_id: session.org().to_string(),
        project_id: wants.project.clone(),
        pool: wants.pool.clone(),
        model: wants.model.clone(),
        labels: wants.labels.clone(),
        payload: Secret::new(V::read(&payload)),
        payload_sealed: None,
        worker_id: session.worker().to_string(),
        claimed_at: rfc3339(claimed_at),
        attempt,
        claim_token: claim_token.into(),
        lease_seconds: lease.as_secs_f64(),
        handler: wants.handler.clone(),
        sandbox: isolation(wants.sandbox),
        image: wants.image.clone(),
        network: wants.network.map(reach),
        step: step.map(|step| ClaimedStep {
            workflow_run_id: step.run.to_string(),
            key: step.key.to_string(),
        }),
        checkpoints: u32::try_from(checkpoints).unwrap_or(u32::MAX),
    }
}

/// The isolation that is asked for, if any is.
fn isolation(asked: Sandbox) -> Option<SandboxLevel> {
    match asked {
        Sandbox::None => None,
        Sandbox::Process => Some(SandboxLevel::Process),
        Sandbox::Container => Some(SandboxLevel::Container),
        Sandbox::Vm => Some(SandboxLevel::Vm),
    }
}

fn reach(asked: Network) -> NetworkPolicy {
    match asked {
        Network::None => NetworkPolicy::None,
        Network::Restricted => NetworkPolicy::Restricted,
        Network::Open => NetworkPolicy::Open,
    }
}

/// The same for a worker that holds keys of its organisation.
///
/// # Errors
/// When none of these is good any more.
pub fn claimed_sealed<V: Json>(
    session: &Session,
    lease: Duration,
    offer: Offer,
    held: &[u32],
) -> Result<Claimed<V>, Refusal> {
    let attempt = (offer.task, offer.attempt);
    let Handed { key, token } =
        session.seal_for_worker(Part::Payload, held, attempt, &offer.payload)?;
    let nothing = Offer { payload: Bytes::from_static(b"null"), ..offer };
    let payload_sealed = Some(SealedValue { key, token });
    Ok(Claimed { payload_sealed, ..claimed(session, lease, nothing) })
}

/// What a worker sealed for its attempt.
///
/// # Errors
/// When it does not open for that.
pub fn opened(
    session: &Session,
    part: Part,
    attempt: (TaskId, Option<u32>),
    sealed: SealedValue,
) -> Result<Bytes, Refusal> {
    let handed = Handed { key: sealed.key, token: sealed.token };
    session.open_from_worker(part, attempt, &handed)
}

/// Passes a sign of life on that came at `now_us` (microseconds UTC), and says what it is answered with.
///
/// # Errors
/// As [`Session::heartbeat`].
pub async fn heartbeat(
    session: &Session,
    every: Duration,
    now_us: i64,
    beat: Heartbeat,
) -> Result<HeartbeatAnswer, Error> {
    // What has no id of ours cannot be held.
    let mut lost = Vec::new();
    let held = beat.tasks.map(|tasks| {
        let known = tasks.into_iter().filter_map(|held| match held.run_id.parse() {
            Ok(task) => Some((task, held.attempt, held.claim_token.into_exposed())),
            Err(_) => {
                lost.push(LostTask { run_id: held.run_id, attempt: held.attempt });
                None
            }
        });
        known.collect()
    });
    let models = beat.probes.map(|probes| seen(probes, now_us));
    let gone = session
        .heartbeat(plane::Heartbeat {
            held,
            boot: beat.boot_id,
            counted: [beat.tasks_completed, beat.tasks_failed],
            models,
        })
        .await?;
    let named = |&(task, attempt): &(TaskId, u32)| LostTask { run_id: task.to_string(), attempt };
    let over = session.over(&gone).await?.iter().map(named).collect();
    lost.extend(gone.iter().map(named));
    let status = status(session.standing().await?);
    let heartbeat_seconds = every.as_secs_f64();
    Ok(HeartbeatAnswer { ok: true, status, heartbeat_seconds, lost, over, drain: false })
}

/// What a worker sees of its models; when, by our clock.
fn seen(probes: ModelsSeen, now_us: i64) -> Seen {
    let age = Duration::try_from_secs_f64(probes.age_seconds).unwrap_or_default();
    let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let endpoints = probes.endpoints.into_iter().map(|endpoint| Endpoint {
        kind: match endpoint.kind {
            EndpointKind::Ollama => "ollama",
            EndpointKind::OpenAi => "openai",
            EndpointKind::Other => "other",
        },
        name: endpoint.endpoint,
        available: endpoint.available,
        latency_ms: endpoint.latency_ms,
        models: endpoint.models,
        error: endpoint.error,
    });
    Seen { round: probes.round, at: now_us.saturating_sub(age_us), endpoints: endpoints.collect() }
}

/// The end of an attempt.
///
/// # Errors
/// When it names no task, or its output is too deep.
pub fn reported<V: Json>(session: &Session, report: Report<V>) -> Result<Reported, Refusal> {
    let task = report.run_id.parse().map_err(|_| Refusal::not_found("task"))?;
    let (output, error) = said(
        session,
        (task, report.attempt),
        (report.output, report.output_sealed),
        (report.error, report.error_sealed),
    )?;
    let outcome = match report.status {
        ReportStatus::Completed => completed(output)?,
        ReportStatus::Failed => failed(error, report.retryable),
        ReportStatus::Suspended => {
            functions::suspended(session, (task, report.attempt), report.waits)?
        }
    };
    let claim_token = report.claim_token.map(Secret::into_exposed);
    let (attempt, model) = (report.attempt, report.model);
    Ok(Reported { task, attempt, claim_token, outcome, model })
}

type Said<V> = (Option<Secret<V>>, Option<SealedValue>);

/// Output and error text, whichever way they came.
fn said<V: Json>(
    session: &Session,
    attempt: (TaskId, Option<u32>),
    output: Said<V>,
    error: Said<String>,
) -> Result<(Option<Secret<V>>, Option<Secret>), Refusal> {
    let output = match output {
        (_, Some(sealed)) => {
            Some(Secret::new(V::read(&opened(session, Part::Output, attempt, sealed)?)))
        }
        (plain, None) => plain,
    };
    let error = match error {
        (_, Some(sealed)) => {
            Some(Secret::new(text(&opened(session, Part::Error, attempt, sealed)?)))
        }
        (plain, None) => plain,
    };
    Ok((output, error))
}

/// The outcome of a task that has a result.
///
/// # Errors
/// When the result is too deep.
pub fn completed<V: Json>(output: Option<Secret<V>>) -> Result<Outcome, Refusal> {
    let output = output.map(|output| output.expose().stored("output")).transpose()?;
    Ok(Outcome::Completed(output.unwrap_or_else(|| Bytes::from_static(b"null"))))
}

/// The outcome of a task that has none. What does not say so may be tried again.
pub fn failed(error: Option<Secret>, retryable: Option<bool>) -> Outcome {
    let error = error.map(Secret::into_exposed).unwrap_or_default();
    Outcome::Failed { error, retryable: retryable.unwrap_or(true) }
}

/// The word on the wire.
pub fn status(standing: Standing) -> WorkerStatus {
    match standing {
        Standing::Pending => WorkerStatus::Pending,
        Standing::Approved => WorkerStatus::Approved,
        Standing::Quarantined => WorkerStatus::Quarantined,
        Standing::Locked => WorkerStatus::Locked,
        Standing::Rejected => WorkerStatus::Rejected,
        Standing::Revoked => WorkerStatus::Revoked,
    }
}

/// A tenant's JSON, on its way between the wire and the store.
pub trait Json: Sized {
    /// What was stored; what a library user wrote that is no JSON is a string.
    fn read(bytes: &[u8]) -> Self;

    /// As it is stored.
    ///
    /// # Errors
    /// When `field` is nested deeper than clients can read.
    fn stored(&self, field: &str) -> Result<Bytes, Refusal>;
}

impl Json for Value {
    fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_else(|_| Self::String(text(bytes)))
    }

    fn stored(&self, field: &str) -> Result<Bytes, Refusal> {
        let text = self.to_string();
        shallow(field, &text)?;
        Ok(text.into())
    }
}

impl Json for Raw {
    fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_else(|_| {
            let text = serde_json::value::to_raw_value(&text(bytes));
            text.expect("a string is JSON")
        })
    }

    fn stored(&self, field: &str) -> Result<Bytes, Refusal> {
        shallow(field, self.get())?;
        Ok(Bytes::copy_from_slice(self.get().as_bytes()))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn shallow(field: &str, json: &str) -> Result<(), Refusal> {
    if depth(json) <= DEPTH_MAX {
        return Ok(());
    }
    let detail = format!("{field} is nested deeper than {DEPTH_MAX} levels");
    Err(Refusal::invalid("too_deep", detail))
}

/// How deep arrays and objects are nested in valid JSON.
fn depth(json: &str) -> usize {
    let (mut level, mut deepest) = (0_usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' => level -= 1,
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

/// A signed head for the wire.
pub fn signed_head(signed: &SignedHead) -> AuditHead {
    let SignedHead { head, key, signature } = signed;
    AuditHead {
        org: head.org.clone(),
        cell: head.cell,
        after: head.after,
        after_hash: head.after_hash.to_string(),
        position: head.position,
        hash: head.hash.to_string(),
        at_us: head.at,
        public_key: key.to_base64(),
        signature: STANDARD.encode(signature),
    }
}

/// An event with everything that its hash is made of.
pub fn exported(stored: &StoredEvent) -> ExportEvent {
    let event = &stored.event;
    ExportEvent {
        position: stored.seq,
        at_us: event.at,
        r#type: event.kind.to_string(),
        by: event.by.to_string(),
        request_id: event.origin.as_ref().map(|origin| origin.request.to_string()),
        source: event.origin.as_ref().and_then(|origin| Some(origin.source?.to_string())),
        stream: event.stream.to_string(),
        version: event.version,
        codec: event.codec as i16,
        // Every body is JSON today; one that is no text would be found by whoever checks the hash.
        body: String::from_utf8_lossy(&event.body).into_owned(),
        hash: stored.hash.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_arrays_and_objects_outside_of_strings() {
        let table = [
            ("1", 0),
            ("[]", 1),
            (r#"{"a": [1, {"b": 2}], "c": []}"#, 3),
            (r#""[[[""#, 0),
            (r#"["\\", "\"[[", {"]]": "}"}]"#, 2),
        ];
        for (json, expected) in table {
            assert_eq!(depth(json), expected, "{json}");
            assert!(serde_json::from_str::<Value>(json).is_ok(), "{json}");
        }
    }

    #[test]
    fn what_is_stored_is_what_was_written() {
        let raw: Raw =
            serde_json::from_str(r#"{"n": 1.10, "big": 123456789012345678901234567890}"#).unwrap();
        let stored = raw.stored("payload").unwrap();
        assert_eq!(Raw::read(&stored).get(), raw.get());
        assert_eq!(Raw::read(b"no json").get(), r#""no json""#);
    }
}
