//! The rules of enrollment and approval. Pure: no clock, no mailbox, no database.

pub mod tokens;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::error::{Kind, Refusal};
use crate::fact::{Fold, Stamp};
use crate::fleet::key::{self, Key};
use crate::fleet::models::{self, Overrides};
use crate::fleet::policy::Policy;
use crate::fleet::public_key::PublicKey;
use crate::fleet::task::{Network, Profile, Sandbox};
use crate::fleet::watch::Watch;
use crate::fleet::worker::{self, Standing, Worker};
use crate::id::{KeyId, WorkerId};

/// The keys and workers of one organisation that anything can still happen to.
#[derive(Debug, Default)]
pub struct Rolls {
    /// Keys by id.
    pub keys: HashMap<KeyId, Key>,
    /// Workers by id.
    pub workers: HashMap<WorkerId, Worker>,
    /// What the organisation lets run, and what it calls models.
    pub policy: Policy,
    /// What is kept of the fleet as a whole.
    pub watch: Watch,
}

/// What a process says that wants to be a worker.
#[derive(Debug, Clone)]
pub struct Application {
    /// The id it will have.
    pub worker: WorkerId,
    /// What it calls itself.
    pub name: String,
    /// The pool it wants to stand in.
    pub pool: String,
    /// The models it can use; none: all that its key allows.
    pub models: Vec<String>,
    /// Its labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// How well it isolates what it runs.
    pub sandbox: Sandbox,
    /// Sandbox images that it can run; one that ends with `*` stands for all that begin so.
    pub images: Vec<String>,
    /// Handlers that it has registered; one that ends with `*` stands for all that begin so.
    pub handlers: Vec<String>,
    /// Network policies that it can enforce.
    pub networks: BTreeSet<Network>,
    /// How many tasks at once.
    pub seats: u32,
    /// SHA-256 of its secret, hex; empty for one with a key pair.
    pub secret_hash: String,
    /// The identity of the client certificate that it comes with.
    pub certificate: Option<String>,
    /// The public half of its key pair; it proved that it has the other.
    pub public_key: Option<PublicKey>,
    /// It runs in the process of the control plane.
    pub in_process: bool,
}

/// What an administrator decides about a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may work.
    Approve,
    /// It may not join.
    Reject,
    /// It may not work any more.
    Revoke,
    /// It is under suspicion: no new tasks until it is approved again or revoked.
    Quarantine,
    /// It gets no new tasks for now; what it has runs on.
    Pause,
    /// It gets tasks again.
    Resume,
    /// It is no longer locked.
    Unlock,
}

/// The facts of an accepted application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// To the key.
    pub key: key::Event,
    /// To the worker.
    pub worker: Vec<worker::Event>,
}

impl Rolls {
    /// Applies a fact about a key.
    pub fn apply_key(&mut self, id: KeyId, event: &key::Event, stamp: Stamp<'_>) {
        apply(&mut self.keys, id, event, stamp);
    }

    /// Applies a fact about a worker.
    pub fn apply_worker(&mut self, id: WorkerId, event: &worker::Event, stamp: Stamp<'_>) {
        apply(&mut self.workers, id, event, stamp);
    }
}

fn apply<I: Eq + std::hash::Hash, F: Fold>(
    known: &mut HashMap<I, F>,
    id: I,
    event: &F::Event,
    stamp: Stamp<'_>,
) {
    match known.get_mut(&id) {
        Some(state) => state.evolve(event, stamp),
        None => known.extend(F::begin(event, stamp).map(|state| (id, state))),
    }
}

/// Whether a process may join with this key, and as what.
///
/// # Errors
/// Says what is wrong with the key or with what the worker declares.
pub fn register(
    rolls: &Rolls,
    key: KeyId,
    hash: &str,
    application: Application,
    now: i64,
) -> Result<Accepted, Refusal> {
    let key = rolls.keys.get(&key).filter(|key| key.hash == hash).ok_or_else(|| {
        bad_key("the enrollment key is not known here; ask an administrator for a new one")
    })?;
    if rolls.policy.legacy_headers_off
        && application.public_key.is_none()
        && !application.in_process
    {
        let detail =
            "this organisation takes workers with a key pair only: register with public_key";
        return Err(Refusal::new(Kind::Forbidden, "public_key_required", detail));
    }
    usable(key, now)?;
    let (profile, declared_models) = narrow(key, &application, &rolls.policy.models)?;
    let registered = worker::Event::Registered {
        worker: application.worker,
        name: application.name,
        key: key.id,
        profile: Box::new(profile),
        declared_models,
        seats: application.seats,
        secret_hash: application.secret_hash,
        certificate: application.certificate,
        public_key: application.public_key,
        key_name: Some(key.name.clone()),
        in_process: application.in_process,
    };
    let approved = key.binding.auto_approve.then(|| worker::Event::Approved {
        reason: Some(format!("enrollment key {} approves by itself", key.name)),
    });
    let worker = [registered].into_iter().chain(approved).collect();
    Ok(Accepted { key: key::Event::Used { worker: application.worker }, worker })
}

/// The worker whose key pair comes again: with the key that it came with, it is that worker.
///
/// # Errors
/// When it was rejected or revoked, or came with another key.
pub fn come_again(worker: &Worker, key: KeyId) -> Result<(), Refusal> {
    if worker.standing.is_final() {
        let detail = format!(
            "the worker of this key pair was {}: the key pair is not taken again",
            worker.standing.as_str()
        );
        return Err(Refusal::new(Kind::Forbidden, "key_pair_revoked", detail));
    }
    if worker.key != key {
        let detail = "the key pair is that of a worker that came with another enrollment key: go on \
                      with its identity, or make a new key pair";
        return Err(Refusal::new(Kind::Conflict, "key_pair_in_use", detail));
    }
    Ok(())
}

/// Whether a key was refused because it was used up or taken back: somebody may have stolen it.
pub fn is_overused(key: &Key) -> bool {
    key.revoked_by.is_some() || key.is_used_up()
}

/// Why a key cannot be used, from whatever is known of it.
///
/// # Errors
/// When it was taken back, is used up or has ended.
pub fn usable(key: &Key, now: i64) -> Result<(), Refusal> {
    match () {
        () if key.revoked_by.is_some() => Err(bad_key("the enrollment key was revoked")),
        () if key.is_used_up() => Err(bad_key("the enrollment key is used up")),
        () if now >= key.expires_at => Err(bad_key("the enrollment key has expired")),
        () => Ok(()),
    }
}

/// What the worker declares, narrowed by its key. It asks for a subset: more is refused, not cut off.
fn narrow(
    key: &Key,
    application: &Application,
    overrides: &Overrides,
) -> Result<(Profile, Vec<String>), Refusal> {
    let binding = &key.binding;
    if !binding.pools.is_empty() && !binding.pools.contains(&application.pool) {
        let detail = format!(
            "the enrollment key allows the pools {:?}, not {:?}",
            binding.pools, application.pool
        );
        return Err(Refusal::new(Kind::Forbidden, "pool_not_allowed", detail));
    }
    let allowed = canonical_names(&binding.models, overrides);
    let declared = canonical_names(&application.models, overrides);
    let excess: Vec<_> = declared.difference(&allowed).collect();
    if !allowed.is_empty() && !excess.is_empty() {
        let detail = format!("the enrollment key does not allow the models {excess:?}");
        return Err(Refusal::new(Kind::Forbidden, "model_not_allowed", detail));
    }
    let (models, spelled) = if declared.is_empty() {
        (allowed, binding.models.clone())
    } else {
        (declared, application.models.clone())
    };
    let mut labels = application.labels.clone();
    // A project is a matter of trust: it comes from the key alone.
    labels.remove("project_id");
    labels.extend(binding.labels.clone());
    let profile = Profile {
        project: binding.project.clone(),
        shared_with: binding.shared_with.clone(),
        pool: application.pool.clone(),
        models,
        labels,
        sandbox: application.sandbox,
        images: application.images.iter().cloned().collect(),
        networks: application.networks.clone(),
        pinned: None,
        handlers: application.handlers.iter().cloned().collect(),
    };
    Ok((profile, spelled))
}

/// Workers that have waited for approval for too long.
pub fn overdue(rolls: &Rolls, now: i64, patience: Duration) -> Vec<WorkerId> {
    let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
    let waits = |worker: &&Worker| {
        worker.standing == Standing::Pending && now.saturating_sub(worker.registered_at) >= patience
    };
    rolls.workers.values().filter(waits).map(|worker| worker.id).collect()
}

/// Models as a worker or key calls them, by their canonical names.
pub fn canonical_names(spelled: &[String], overrides: &Overrides) -> BTreeSet<String> {
    spelled.iter().map(|name| models::canonical(name, overrides)).collect()
}

/// What an administrator's verdict does to a worker: nothing, where it is so already.
///
/// # Errors
/// When the worker's standing does not allow it.
pub fn decide(
    worker: &Worker,
    verdict: Verdict,
    reason: Option<String>,
) -> Result<Option<worker::Event>, Refusal> {
    match (worker.standing, verdict) {
        (Standing::Pending | Standing::Quarantined, Verdict::Approve) => {
            Ok(Some(worker::Event::Approved { reason }))
        }
        (Standing::Approved, Verdict::Quarantine) => {
            Ok(Some(worker::Event::Quarantined { reason }))
        }
        (Standing::Pending, Verdict::Reject) => Ok(Some(worker::Event::Rejected { reason })),
        (
            Standing::Pending | Standing::Approved | Standing::Quarantined | Standing::Locked,
            Verdict::Revoke,
        ) => Ok(Some(worker::Event::Revoked { reason })),
        (Standing::Locked, Verdict::Unlock) => Ok(Some(worker::Event::Unlocked { reason })),
        (Standing::Approved | Standing::Quarantined, Verdict::Unlock) => Ok(None),
        (Standing::Approved | Standing::Quarantined, Verdict::Pause) => {
            Ok((!worker.paused).then_some(worker::Event::Paused { reason }))
        }
        (Standing::Approved | Standing::Quarantined, Verdict::Resume) => {
            Ok(worker.paused.then_some(worker::Event::Resumed {}))
        }
        (Standing::Approved, Verdict::Approve)
        | (Standing::Rejected, Verdict::Reject)
        | (Standing::Revoked, Verdict::Revoke)
        | (Standing::Quarantined, Verdict::Quarantine) => Ok(None),
        (standing, verdict) => {
            let detail =
                format!("the worker is {}; it cannot be {}", standing.as_str(), past(verdict));
            Err(Refusal::new(Kind::Conflict, "wrong_standing", detail))
        }
    }
}

fn past(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => "approved",
        Verdict::Reject => "rejected",
        Verdict::Revoke => "revoked",
        Verdict::Quarantine => "quarantined",
        Verdict::Pause => "paused",
        Verdict::Resume => "resumed",
        Verdict::Unlock => "unlocked",
    }
}

fn bad_key(detail: &str) -> Refusal {
    Refusal::new(Kind::Unauthenticated, "bad_enrollment_key", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::key::Binding;

    fn stamp(seq: u64) -> Stamp<'static> {
        Stamp { seq, at: 1, by: "token:t" }
    }

    fn rolls(binding: Binding, max_uses: u32) -> (Rolls, KeyId) {
        let key = KeyId::fresh();
        let created = key::Event::Created {
            key,
            name: "k".into(),
            hash: "h".into(),
            max_uses,
            expires_at: 100,
            binding,
        };
        let mut rolls = Rolls::default();
        rolls.apply_key(key, &created, stamp(1));
        (rolls, key)
    }

    fn application() -> Application {
        Application {
            worker: WorkerId::fresh(),
            name: "w".into(),
            pool: "default".into(),
            models: vec!["GPT-4o".into()],
            labels: [("project_id".into(), "forged".into()), ("gpu".into(), "no".into())].into(),
            sandbox: Sandbox::None,
            images: Vec::new(),
            handlers: Vec::new(),
            networks: BTreeSet::new(),
            seats: 1,
            secret_hash: "s".into(),
            certificate: None,
            public_key: None,
            in_process: false,
        }
    }

    fn code(result: Result<Accepted, Refusal>) -> &'static str {
        result.map_or_else(|refusal| refusal.code, |_| "accepted")
    }

    #[test]
    fn key_is_good_until_it_is_used_up_revoked_or_expired() {
        let (mut rolls, key) = rolls(Binding::default(), 1);
        assert_eq!(code(register(&rolls, key, "h", application(), 99)), "accepted");
        assert_eq!(code(register(&rolls, key, "x", application(), 99)), "bad_enrollment_key");
        assert_eq!(code(register(&rolls, key, "h", application(), 100)), "bad_enrollment_key");

        rolls.apply_key(key, &key::Event::Used { worker: WorkerId::fresh() }, stamp(2));
        assert_eq!(code(register(&rolls, key, "h", application(), 99)), "bad_enrollment_key");
    }

    #[test]
    fn declaration_must_lie_within_the_key() {
        let cases = [
            (vec![], vec![], "accepted"),
            (vec!["default"], vec!["gpt-4o"], "accepted"),
            (vec!["gpu"], vec![], "pool_not_allowed"),
            (vec![], vec!["llama3"], "model_not_allowed"),
        ];
        for (pools, models, expected) in cases {
            let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
            let binding =
                Binding { pools: owned(&pools), models: owned(&models), ..Binding::default() };
            let (rolls, key) = rolls(binding, 1);
            let result = register(&rolls, key, "h", application(), 1);
            assert_eq!(code(result), expected, "{pools:?} {models:?}");
        }
    }

    #[test]
    fn labels_and_project_of_the_key_win() {
        let binding = Binding {
            project: Some("finance".into()),
            labels: [("gpu".into(), "yes".into())].into(),
            ..Binding::default()
        };
        let (rolls, key) = rolls(binding, 1);

        let accepted = register(&rolls, key, "h", application(), 1).unwrap();

        let worker::Event::Registered { profile, .. } = &accepted.worker[0] else { panic!() };
        assert_eq!(profile.project.as_deref(), Some("finance"));
        assert_eq!(profile.labels, [("gpu".into(), "yes".into())].into());
    }

    #[test]
    fn worker_without_declared_models_gets_those_of_its_key() {
        let binding = Binding { models: vec!["Llama3".into()], ..Binding::default() };
        let (rolls, key) = rolls(binding, 1);
        let application = Application { models: vec![], ..application() };

        let accepted = register(&rolls, key, "h", application, 1).unwrap();

        let worker::Event::Registered { profile, .. } = &accepted.worker[0] else { panic!() };
        assert_eq!(profile.models, ["llama3".to_owned()].into());
    }

    #[test]
    fn standings_change_one_way() {
        use Standing::{Approved, Locked, Pending, Quarantined, Rejected, Revoked};
        use Verdict::{Approve, Pause, Quarantine, Reject, Resume, Revoke, Unlock};
        let (rolls, key) = rolls(Binding::default(), 1);
        let accepted = register(&rolls, key, "h", application(), 1).unwrap();
        let pending = Worker::begin(&accepted.worker[0], stamp(2)).unwrap();
        let table = [
            (Pending, Approve, "event"),
            (Pending, Reject, "event"),
            (Pending, Revoke, "event"),
            (Approved, Approve, "so already"),
            (Approved, Reject, "refused"),
            (Approved, Revoke, "event"),
            (Rejected, Approve, "refused"),
            (Rejected, Reject, "so already"),
            (Rejected, Revoke, "refused"),
            (Revoked, Approve, "refused"),
            (Revoked, Reject, "refused"),
            (Revoked, Revoke, "so already"),
            (Pending, Quarantine, "refused"),
            (Approved, Quarantine, "event"),
            (Quarantined, Quarantine, "so already"),
            (Quarantined, Approve, "event"),
            (Quarantined, Revoke, "event"),
            (Quarantined, Reject, "refused"),
            (Pending, Pause, "refused"),
            (Approved, Pause, "event"),
            (Approved, Resume, "so already"),
            (Revoked, Resume, "refused"),
            (Locked, Unlock, "event"),
            (Locked, Revoke, "event"),
            (Locked, Approve, "refused"),
            (Locked, Resume, "refused"),
            (Approved, Unlock, "so already"),
            (Pending, Unlock, "refused"),
        ];
        for (standing, verdict, expected) in table {
            let worker = Worker { standing, ..pending.clone() };
            let outcome = match decide(&worker, verdict, None) {
                Ok(Some(_)) => "event",
                Ok(None) => "so already",
                Err(_) => "refused",
            };
            assert_eq!(outcome, expected, "{standing:?} {verdict:?}");
        }
    }
}
