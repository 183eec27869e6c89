//! What a worker proves itself with, and the index that each request is checked against. Loaded when a cell
//! starts, changed only by effects. A secret names its cell, so no index spans two organisations.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dashmap::DashMap;
use fleetward_store::CellId;
use sha2::{Digest, Sha256};

use super::presence::{Presence, Seen};
use super::probes;
use super::public_key::PublicKey;
use super::worker::generation::{Generations, Meaning};
use super::worker::{Standing, Worker, tokens::Tokens};
use crate::id::WorkerId;

/// First part of a worker's secret.
const WORKER: &str = "fws";
/// First part of an operator's token.
const OPERATOR: &str = "fwt";

/// 256 random bits as text.
pub fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// A fresh secret for a worker of a cell. Shown once; only its hash is kept.
pub fn worker_secret(cell: CellId) -> String {
    format!("{WORKER}_{}_{}", cell.0, random_text())
}

/// The cell that a worker's secret says it belongs to. It proves nothing: the hash does.
pub fn cell_of_secret(secret: &str) -> Option<CellId> {
    let mut parts = secret.splitn(3, '_');
    let (kind, cell) = (parts.next()?, parts.next()?);
    (kind == WORKER).then_some(())?;
    cell.parse().ok().filter(|cell| *cell > 0).map(CellId)
}

/// A fresh operator's token. Shown once; only its hash is kept.
pub fn operator_token() -> String {
    format!("{OPERATOR}_{}", random_text())
}

/// SHA-256 of a secret, hex: enough for 256 random bits, and quick enough for each request.
pub fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// What is known of a worker that may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// SHA-256 of its secret, hex; empty: it has none.
    pub secret_hash: String,
    /// The identity of the client certificate that it has to come with, if any.
    pub certificate: Option<Arc<str>>,
    /// The public half of its key pair.
    pub public_key: Option<PublicKey>,
    /// It runs in the process of the control plane.
    pub in_process: bool,
    /// Whether it may work.
    pub standing: Standing,
    /// Its task tokens.
    pub tokens: Tokens,
}

impl From<&Worker> for Credential {
    fn from(worker: &Worker) -> Self {
        Self {
            secret_hash: worker.secret_hash.clone(),
            certificate: worker.certificate.as_deref().map(Arc::from),
            public_key: worker.public_key,
            in_process: worker.in_process,
            standing: worker.standing,
            tokens: worker.tokens.clone(),
        }
    }
}

/// One worker in the index.
#[derive(Debug)]
pub struct Known {
    /// What is true of it.
    pub credential: Credential,
    /// What its requests left behind.
    pub pulse: Arc<Pulse>,
    /// Its polls, and whether it was let in.
    pub presence: Arc<Presence>,
    /// The newest generation of its tokens that was used: in memory only, until the next one is issued.
    used: Arc<AtomicU32>,
    /// The newest generation when this server began to watch.
    found: u32,
}

impl Known {
    /// The newest generation of its tokens that is known to have been used.
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    /// What a token of this generation means. A good one counts as used from now on.
    pub fn show(&self, generation: u32) -> Meaning {
        let (issued, used) = (self.credential.tokens.generation, self.used());
        let meaning = Generations { issued, used, found: self.found }.meaning_of(generation);
        if meaning == Meaning::Good && generation > used {
            self.used.fetch_max(generation, Ordering::AcqRel);
        }
        meaning
    }
}

/// What the requests of a worker leave behind, in this life of the server. The anomaly detector looks at it now and then;
/// a request only adds to it.
#[derive(Debug, Default)]
pub struct Pulse {
    seen: AtomicI64,
    beaten: AtomicI64,
    calls: AtomicU64,
    /// What the worker counts itself, one more than it says; 0: it did not say. For display alone.
    said: [AtomicU64; 2],
    models: Mutex<Option<Arc<probes::Seen>>>,
}

impl Pulse {
    /// When it was last heard of, in microseconds UTC; 0: not since this server started.
    pub fn seen(&self) -> i64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// When its last heartbeat came, in microseconds UTC; 0: none since this server started.
    pub fn beaten(&self) -> i64 {
        self.beaten.load(Ordering::Relaxed)
    }

    /// Claims, reports, heartbeats and the like since this server started.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Tasks completed and failed, as the worker itself counts them. Nobody may rest anything on it.
    pub fn said(&self) -> [Option<u64>; 2] {
        [0, 1].map(|n| self.said[n].load(Ordering::Relaxed).checked_sub(1))
    }

    /// What it sees of the endpoints of its models, if it looks at them. Each of its heartbeats says all of it again.
    pub fn models(&self) -> Option<Arc<probes::Seen>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what it says that it sees. Answers what was known before.
    pub(crate) fn set_models(&self, seen: Option<probes::Seen>) -> Option<Arc<probes::Seen>> {
        let mut known = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *known, seen.map(Arc::new))
    }

    /// It was heard of.
    pub fn touch(&self, at: i64) {
        self.seen.fetch_max(at, Ordering::Relaxed);
    }

    /// It asked for something.
    pub fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// It sent a heartbeat, and said how many tasks it completed and failed.
    pub fn beat(&self, at: i64, said: [Option<u64>; 2]) {
        self.beaten.fetch_max(at, Ordering::Relaxed);
        for (kept, said) in self.said.iter().zip(said) {
            kept.store(said.map_or(0, |said| said.saturating_add(1)), Ordering::Relaxed);
        }
    }
}

/// The workers of one cell that are not rejected or revoked, and how they may prove themselves.
#[derive(Debug, Default)]
pub struct Credentials {
    workers: DashMap<WorkerId, Arc<Known>>,
    legacy_headers_off: AtomicBool,
}

impl Credentials {
    /// What is known of a worker. `None`: it never was, or its record says that it is final.
    pub fn get(&self, worker: WorkerId) -> Option<Arc<Known>> {
        self.workers.get(&worker).map(|known| known.clone())
    }

    /// When a worker was last heard of.
    pub fn seen(&self, worker: WorkerId) -> Option<i64> {
        self.pulse(worker).map(|pulse| pulse.seen()).filter(|at| *at > 0)
    }

    /// What the requests of a worker left behind.
    pub fn pulse(&self, worker: WorkerId) -> Option<Arc<Pulse>> {
        self.workers.get(&worker).map(|known| known.pulse.clone())
    }

    /// Whether an id with a secret is not good, unless the worker runs in this process.
    pub fn are_legacy_headers_off(&self) -> bool {
        self.legacy_headers_off.load(Ordering::Relaxed)
    }

    pub(crate) fn set_legacy_headers_off(&self, off: bool) {
        self.legacy_headers_off.store(off, Ordering::Relaxed);
    }

    /// How long ago a worker was heard of, as of `now` (microseconds UTC).
    pub fn signs(&self, worker: WorkerId, now: i64) -> Seen {
        let Some(known) = self.get(worker) else { return Seen::default() };
        let heartbeat = Some(known.pulse.beaten()).filter(|at| *at > 0);
        Seen { heartbeat, poll: known.presence.polled(now), left: known.presence.left() }
    }

    pub(crate) fn set(&self, worker: WorkerId, credential: Credential) {
        self.put(worker, credential, 0);
    }

    /// `found`: see [`Known`]; of one that is known already, what is known stays.
    fn put(&self, worker: WorkerId, credential: Credential, found: u32) {
        if credential.standing.is_final() {
            self.workers.remove(&worker);
            return;
        }
        let before = self.get(worker);
        let pulse = before.as_ref().map(|known| known.pulse.clone()).unwrap_or_default();
        let presence = before.as_ref().map(|known| known.presence.clone()).unwrap_or_default();
        let used = before.as_ref().map(|known| known.used.clone()).unwrap_or_default();
        used.fetch_max(credential.tokens.used, Ordering::AcqRel);
        let found = before.map_or(found, |known| known.found);
        self.workers.insert(worker, Arc::new(Known { credential, pulse, presence, used, found }));
    }

    /// Makes the index say what a starting registry knows.
    pub(crate) fn reset<'a>(
        &self,
        workers: impl Iterator<Item = &'a Worker> + Clone,
        legacy_off: bool,
    ) {
        let known: HashSet<_> = workers.clone().map(|worker| worker.id).collect();
        self.workers.retain(|worker, _| known.contains(worker));
        self.set_legacy_headers_off(legacy_off);
        for worker in workers {
            self.put(worker.id, Credential::from(worker), worker.tokens.generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_names_its_cell() {
        assert_eq!(cell_of_secret(&worker_secret(CellId(42))), Some(CellId(42)));
        for wrong in ["", "fws", "fws_x_y", "fws_-1_y", "fws_0_y", "fwt_1_y"] {
            assert_eq!(cell_of_secret(wrong), None, "{wrong}");
        }
    }
}
