//! A worker that holds its organisation's keys: what it gets and what it says is encrypted for the attempt, besides
//! what the connection does. It never takes a payload in plaintext.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use fleetward_seal::{Bound, Key, Part};
use fleetward_wire::Secret;
use fleetward_wire::payload_keys::{PayloadKeyExport, SealedValue};
use fleetward_wire::tasks::{
    Checkpoint, Checkpoints, Claim, Claimed, HandBack, Progress, ReadCheckpoints, ReportMany,
};
use fleetward_wire::workers::{Heartbeat, HeartbeatAnswer};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::transport::{Transport, TransportError};

/// The keys of one organisation, as an administrator exported them.
pub struct OrgKeys {
    org: Uuid,
    keys: BTreeMap<u32, Key>,
}

/// Not what an export wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no exported keys of an organisation: make the file with `fleetward org key export FILE`")]
pub struct BadOrgKeys;

/// A transport whose values are sealed.
pub struct SealedTransport<T> {
    inner: T,
    keys: OrgKeys,
    /// The key of the last payload: it is good at the control plane now.
    last: AtomicU32,
}

impl OrgKeys {
    /// Reads an export.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, BadOrgKeys> {
        let export: PayloadKeyExport = serde_json::from_str(text).map_err(|_| BadOrgKeys)?;
        let org = export.org_id.parse().map_err(|_| BadOrgKeys)?;
        let key = |exported: &fleetward_wire::payload_keys::ExportedKey| {
            Some((exported.number, Key::parse(exported.key.expose()).ok()?))
        };
        let keys: Option<BTreeMap<_, _>> = export.keys.iter().map(key).collect();
        let keys = keys.filter(|keys| !keys.is_empty()).ok_or(BadOrgKeys)?;
        Ok(Self { org, keys })
    }

    fn bound(&self, part: Part, task: &str, attempt: u32) -> Option<Bound> {
        let task = Uuid::parse_str(task).ok()?;
        Some(Bound::to_attempt(part, self.org.as_bytes(), task.as_bytes(), attempt))
    }

    fn open(&self, part: Part, task: &str, attempt: u32, sealed: &SealedValue) -> Option<Value> {
        let bound = self.bound(part, task, attempt)?;
        let value = self.keys.get(&sealed.key)?.open(bound, &sealed.token).ok()?;
        serde_json::from_slice(&value).ok()
    }
}

impl<T> SealedTransport<T> {
    /// Seals what goes through `inner`.
    pub fn new(inner: T, keys: OrgKeys) -> Self {
        let last = AtomicU32::new(keys.keys.keys().next_back().copied().unwrap_or(0));
        Self { inner, keys, last }
    }

    fn opened(&self, mut claimed: Claimed) -> Option<Claimed> {
        let sealed = claimed.payload_sealed.take()?;
        let payload = self.keys.open(Part::Payload, &claimed.run_id, claimed.attempt, &sealed)?;
        self.last.store(sealed.key, Ordering::Relaxed);
        claimed.payload = Secret::new(payload);
        Some(claimed)
    }

    fn seal(
        &self,
        part: Part,
        (task, attempt): (&str, Option<u32>),
        value: &[u8],
    ) -> Result<SealedValue, TransportError> {
        let key = self.last.load(Ordering::Relaxed);
        let bound = attempt.and_then(|attempt| self.keys.bound(part, task, attempt));
        match (self.keys.keys.get(&key), bound) {
            (Some(known), Some(bound)) => Ok(SealedValue { key, token: known.seal(bound, value) }),
            _ => Err(unsealable("the task or its attempt is not known")),
        }
    }
}

fn unsealable(detail: &str) -> TransportError {
    TransportError::Refused { code: "unsealable".to_owned(), detail: detail.to_owned() }
}

#[async_trait]
impl<T: Transport> Transport for SealedTransport<T> {
    async fn claim_many(&self, claim: Claim) -> Result<Vec<Claimed>, TransportError> {
        let claim = Claim { org_keys: self.keys.keys.keys().copied().collect(), ..claim };
        let claimed = self.inner.claim_many(claim).await?;
        let open = |claimed: Claimed| {
            let run_id = claimed.run_id.clone();
            let opened = self.opened(claimed);
            if opened.is_none() {
                // Nobody starts it here, so its start lease ends and it goes to another worker.
                tracing::error!(
                    run_id,
                    "the payload is not sealed for this worker and attempt; it is not run"
                );
            }
            opened
        };
        Ok(claimed.into_iter().filter_map(open).collect())
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<HeartbeatAnswer, TransportError> {
        self.inner.heartbeat(beat).await
    }

    async fn leave(&self) -> Result<(), TransportError> {
        self.inner.leave().await
    }

    async fn report_many(
        &self,
        mut reports: ReportMany,
    ) -> Result<Vec<Result<(), TransportError>>, TransportError> {
        for report in &mut reports.reports {
            let attempt = (report.run_id.as_str(), report.attempt);
            for wait in &mut report.waits {
                let Some(approval) = &mut wait.approval else { continue };
                let prompt = std::mem::take(&mut approval.prompt).into_exposed();
                let context = std::mem::take(&mut approval.context).into_exposed();
                let asked = json!([wait.index, { "prompt": prompt, "context": context }]);
                let asked = asked.to_string();
                wait.asked_sealed = Some(self.seal(Part::Asked, attempt, asked.as_bytes())?);
            }
            if let Some(output) = report.output.take() {
                let text = output.expose().to_string();
                report.output_sealed = Some(self.seal(Part::Output, attempt, text.as_bytes())?);
            }
            if let Some(error) = report.error.take() {
                let text = error.expose().as_bytes();
                report.error_sealed = Some(self.seal(Part::Error, attempt, text)?);
            }
        }
        self.inner.report_many(reports).await
    }

    async fn release(&self, back: HandBack) -> Result<(), TransportError> {
        self.inner.release(back).await
    }

    async fn progress(&self, run_id: &str, mut progress: Progress) -> Result<(), TransportError> {
        let data = std::mem::take(&mut progress.data).into_exposed().to_string();
        let attempt = (run_id, progress.attempt);
        progress.data_sealed = Some(self.seal(Part::Progress, attempt, data.as_bytes())?);
        self.inner.progress(run_id, progress).await
    }

    async fn checkpoint(&self, run_id: &str, mut done: Checkpoint) -> Result<(), TransportError> {
        let value = std::mem::take(&mut done.value).into_exposed();
        let numbered = json!([done.index, value]).to_string();
        let attempt = (run_id, done.attempt);
        done.value_sealed = Some(self.seal(Part::Checkpoint, attempt, numbered.as_bytes())?);
        self.inner.checkpoint(run_id, done).await
    }

    async fn recorded(
        &self,
        run_id: &str,
        asked: ReadCheckpoints,
    ) -> Result<Checkpoints, TransportError> {
        let org_keys = self.keys.keys.keys().copied().collect();
        let attempt = asked.attempt.unwrap_or_default();
        let mut page = self.inner.recorded(run_id, ReadCheckpoints { org_keys, ..asked }).await?;
        for entry in &mut page.entries {
            let opened = entry.value_sealed.take().map(|sealed| {
                let value = self.keys.open(Part::Checkpoint, run_id, attempt, &sealed)?;
                let (index, value) = serde_json::from_value::<(u32, Value)>(value).ok()?;
                (index == entry.index).then(|| Secret::new(value))
            });
            entry.value = match opened {
                None if entry.value.is_none() => None,
                Some(Some(value)) => Some(value),
                // Never in plaintext, and never for another position.
                _ => return Err(unsealable("a checkpoint is not sealed for this attempt")),
            };
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORG: &str = "018f0000-0000-7000-8000-000000000001";
    const TASK: &str = "018f0000-0000-7000-8000-000000000002";

    #[test]
    fn payload_opens_for_its_own_task_and_attempt() {
        let key = Key::fresh();
        let text =
            format!(r#"{{"org_id":"{ORG}","keys":[{{"number":3,"key":"{}"}}]}}"#, key.expose());
        let keys = OrgKeys::parse(&text).unwrap();
        let bound = keys.bound(Part::Payload, TASK, 2).unwrap();
        let sealed = SealedValue { key: 3, token: key.seal(bound, b"[1]") };

        assert_eq!(keys.open(Part::Payload, TASK, 2, &sealed), Some(serde_json::json!([1])));
        assert_eq!(keys.open(Part::Payload, TASK, 3, &sealed), None, "another attempt");
        assert_eq!(keys.open(Part::Payload, ORG, 2, &sealed), None, "another task");
        assert_eq!(
            keys.open(Part::Payload, TASK, 2, &SealedValue { key: 4, ..sealed }),
            None,
            "another key"
        );
        for bad in ["", "{}", r#"{"org_id":"x","keys":[]}"#] {
            assert_eq!(OrgKeys::parse(bad).err(), Some(BadOrgKeys), "{bad}");
        }
    }
}
