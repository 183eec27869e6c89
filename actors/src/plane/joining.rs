//! How a process becomes a worker: it registers with an enrollment key, and perhaps with a key pair.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetward_store::{Origin, Position};

use super::ControlPlane;
use super::reading::{away, state};
use crate::error::{Error, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::OrgCell;
use crate::fleet::key::Key;
use crate::fleet::public_key::{PublicKey, registration_text};
use crate::fleet::registry::{self, Attempt, Joined, Message, rules, rules::Application};
use crate::fleet::task::{Network, Sandbox};
use crate::fleet::worker::Worker;
use crate::fleet::{certificate, credentials, input};
use crate::id::{KeyId, WorkerId};

/// How often the record of a key pair is read again because a worker may have left memory meanwhile.
const LOOKS: usize = 3;

/// What a process says that wants to be a worker.
#[derive(Debug, Clone)]
pub struct Enrollment {
    /// What it calls itself.
    pub name: String,
    /// The pool it wants to stand in.
    pub pool: String,
    /// The models it can use.
    pub models: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How well it isolates what it runs.
    pub sandbox: Sandbox,
    /// Sandbox images that it can run; one that ends with `*` stands for all that begin so.
    pub images: Vec<String>,
    /// Handlers that it has registered; one that ends with `*` stands for all that begin so.
    pub handlers: Vec<String>,
    /// Network policies that it can enforce.
    pub networks: BTreeSet<Network>,
    /// How many tasks at once.
    pub max_concurrent: u32,
    /// Proof of its key pair; without one it gets a secret.
    pub proof: Option<KeyProof>,
    /// It runs in the process of the control plane, and needs no key pair whatever the organisation says.
    pub in_process: bool,
    /// By which request it asks.
    pub origin: Option<Arc<Origin>>,
    /// The identity of the client certificate that it comes with: see [`certificate`](crate::fleet::certificate).
    /// It is heard over no other from then on.
    pub certificate: Option<String>,
}

/// Proof that a process has a key pair.
#[derive(Debug, Clone)]
pub struct KeyProof {
    /// The public half: 32 bytes of Ed25519 in base64url.
    pub public_key: String,
    /// What it signed (see [`registration_text`](crate::fleet::public_key::registration_text)), in base64url.
    pub signature: String,
}

impl Default for Enrollment {
    fn default() -> Self {
        Self {
            name: "worker".to_owned(),
            pool: "default".to_owned(),
            models: Vec::new(),
            labels: BTreeMap::new(),
            sandbox: Sandbox::None,
            images: Vec::new(),
            handlers: Vec::new(),
            networks: BTreeSet::new(),
            max_concurrent: 1,
            proof: None,
            in_process: false,
            origin: None,
            certificate: None,
        }
    }
}

/// A worker that has just registered, or came again.
#[derive(Clone)]
pub struct Registered {
    /// The worker.
    pub worker: Worker,
    /// Its secret, returned this once; a worker with a key pair has none.
    pub secret: Option<String>,
    /// Its organisation.
    pub org: crate::id::OrgId,
}

impl ControlPlane {
    /// Makes a worker of a process that has an enrollment key. One with a key pair that registered with the same key
    /// before is that worker, and uses nothing up.
    ///
    /// # Errors
    /// When the key is not good, or does not allow what the process declares; when the key pair is that of a worker
    /// that was rejected or revoked, or that came with another key.
    pub async fn register(&self, key: &str, enrollment: Enrollment) -> Result<Registered, Error> {
        check(&enrollment)?;
        let (known, key_id) = self.read_key(key)?;
        if let Some(identity) = &enrollment.certificate {
            certificate::of_org(identity, &known.org)?;
        }
        let hash = credentials::hash(key);
        let public_key = proved(enrollment.proof.as_ref(), &hash)?;
        self.admit_one()?;
        let cell = self.cell(&known).await?;
        let (worker, secret) = match &public_key {
            Some(pair) => {
                (WorkerId::from_digest(&known.key.mac("worker", &[pair.as_bytes()])), None)
            }
            None => (WorkerId::fresh(), Some(credentials::worker_secret(cell.cell))),
        };
        let secret_hash = secret.as_deref().map(credentials::hash).unwrap_or_default();
        let origin = enrollment.origin.clone();
        let application = application(enrollment, (worker, secret_hash, public_key));
        for _ in 0..LOOKS {
            let absent_at = match public_key {
                Some(_) => self.absent_at(&cell, worker, key_id).await?,
                // Nobody had this id before.
                None => Position::MAX,
            };
            let attempt =
                Attempt { key: key_id, hash: hash.clone(), absent_at, origin: origin.clone() };
            match self.send_attempt(&cell, attempt, application.clone()).await? {
                Joined::Worker(worker) => {
                    // It waited for its turn just now.
                    if let Some(known) = cell.credentials.get(worker.id) {
                        known.presence.admit();
                    }
                    return Ok(Registered { worker: *worker, secret, org: known.org.id });
                }
                Joined::NoSuchKey => {
                    let asked = (key_id, hash.as_str(), origin);
                    return Err(self.refuse_key(&cell, asked, &application).await?);
                }
                Joined::LookAgain => {}
            }
        }
        Err(Error::Unavailable("the worker is changing; try again".to_owned()))
    }

    async fn send_attempt(
        &self,
        cell: &OrgCell,
        attempt: Attempt,
        application: Application,
    ) -> Result<Joined, Error> {
        let permit = self.permit(cell.cell, 0)?;
        let within = self.shared.config.answer_within;
        let application = Box::new(application);
        let register = |reply| Message::Register { attempt, application, reply };
        cell.registry.call_with_permit(permit, within, register).await?
    }

    /// At which position of the rows there is no worker of this id whose end is known.
    async fn absent_at(
        &self,
        cell: &OrgCell,
        worker: WorkerId,
        key: KeyId,
    ) -> Result<Position, Error> {
        let ids = [worker.to_string()];
        let read = self.shared.store.get_with_position(cell.cell, Worker::KIND, &ids).await;
        let (position, rows) = read.map_err(away)?;
        let row = rows.first().map(state::<Worker>).transpose()?;
        if let Some(worker) = row.filter(|worker| worker.standing.is_final()) {
            rules::come_again(&worker, key)?;
        }
        Ok(position)
    }

    /// Says what is wrong with a key that has left memory, and notes that somebody tried it.
    async fn refuse_key(
        &self,
        cell: &OrgCell,
        (id, hash, origin): (KeyId, &str, Option<Arc<Origin>>),
        application: &Application,
    ) -> Result<Error, Error> {
        self.caught_up(cell.cell, &cell.positions).await?;
        let row = self.row(cell.cell, Key::KIND, id.to_string()).await?;
        let key = row.as_ref().map(state::<Key>).transpose()?;
        let refusal = registry::refuse_from_record(key.as_ref(), hash, self.shared.clock.wall_us());
        if let Some(key) = key.filter(|key| key.hash == hash && rules::is_overused(key)) {
            let (key, name) = (Box::new(key), application.name.clone());
            let fingerprint = application.public_key.map(|key| key.fingerprint());
            let permit = self.permit(cell.cell, 0)?;
            let within = self.shared.config.answer_within;
            let note = |reply| Message::Overused { key, name, fingerprint, origin, reply };
            cell.registry.call_with_permit(permit, within, note).await?;
        }
        Ok(refusal.into())
    }
}

/// The public key of a process that proved that it has the other half.
fn proved(proof: Option<&KeyProof>, key_hash: &str) -> Result<Option<PublicKey>, Refusal> {
    let Some(KeyProof { public_key, signature }) = proof else { return Ok(None) };
    let public_key = PublicKey::parse(public_key)?;
    public_key.check(&registration_text(key_hash, &public_key), signature)?;
    Ok(Some(public_key))
}

fn application(
    enrollment: Enrollment,
    (worker, secret_hash, public_key): (WorkerId, String, Option<PublicKey>),
) -> Application {
    Application {
        worker,
        name: enrollment.name,
        pool: enrollment.pool,
        models: enrollment.models,
        labels: enrollment.labels,
        sandbox: enrollment.sandbox,
        images: enrollment.images,
        handlers: enrollment.handlers,
        networks: enrollment.networks,
        seats: enrollment.max_concurrent,
        secret_hash,
        certificate: enrollment.certificate,
        public_key,
        in_process: enrollment.in_process,
    }
}

fn check(enrollment: &Enrollment) -> Result<(), Refusal> {
    input::name("name", &enrollment.name)?;
    input::name("pool", &enrollment.pool)?;
    input::names("models", &enrollment.models, input::MODELS_MAX)?;
    input::labels(&enrollment.labels)?;
    input::names("images", &enrollment.images, input::IMAGES_MAX)?;
    input::names("handlers", &enrollment.handlers, input::HANDLERS_MAX)?;
    if let Some(identity) = &enrollment.certificate {
        certificate::usable(identity)?;
    }
    input::seats(enrollment.max_concurrent)
}
