//! What a worker proves itself with, and the index that each request is checked against. Loaded when a cell
//! starts, changed only by effects. A secret names its cell, so no index spans two organisations.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dashmap::DashMap;
use fleetward_store::CellId;
use sha2::{Digest, Sha256};

use super::worker::{Standing, Worker};
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
    /// SHA-256 of its secret, hex.
    pub secret_hash: String,
    /// Whether it may work.
    pub standing: Standing,
}

impl From<&Worker> for Credential {
    fn from(worker: &Worker) -> Self {
        Self { secret_hash: worker.secret_hash.clone(), standing: worker.standing }
    }
}

/// One worker in the index.
#[derive(Debug)]
pub struct Known {
    /// What is true of it.
    pub credential: Credential,
    seen: Arc<AtomicI64>,
}

impl Known {
    /// When it was last heard of, in microseconds UTC; 0: not since this server started.
    pub fn seen(&self) -> i64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// It was heard of.
    pub fn touch(&self, at: i64) {
        self.seen.fetch_max(at, Ordering::Relaxed);
    }
}

/// The workers of one cell that are pending or approved.
#[derive(Debug, Default)]
pub struct Credentials(DashMap<WorkerId, Arc<Known>>);

impl Credentials {
    /// What is known of a worker. `None`: it never was, or its record says that it is final.
    pub fn get(&self, worker: WorkerId) -> Option<Arc<Known>> {
        self.0.get(&worker).map(|known| known.clone())
    }

    /// When a worker was last heard of.
    pub fn seen(&self, worker: WorkerId) -> Option<i64> {
        self.get(worker).map(|known| known.seen()).filter(|at| *at > 0)
    }

    pub(crate) fn set(&self, worker: WorkerId, credential: Credential) {
        if credential.standing.is_final() {
            self.0.remove(&worker);
            return;
        }
        let seen = self.get(worker).map(|known| known.seen.clone()).unwrap_or_default();
        self.0.insert(worker, Arc::new(Known { credential, seen }));
    }

    /// Makes the index say what a starting registry knows.
    pub(crate) fn reset<'a>(&self, workers: impl Iterator<Item = &'a Worker>) {
        self.0.clear();
        for worker in workers {
            self.set(worker.id, Credential::from(worker));
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
