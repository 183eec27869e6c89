//! A control plane over the memory store, and people and workers to use it.

use std::sync::Arc;
use std::time::Duration;

use fleetward_actors::fleet::key::Binding;
use fleetward_actors::fleet::registry::rules::Verdict;
use fleetward_actors::fleet::task::Phase;
use fleetward_actors::id::TaskId;
use fleetward_actors::plane::{
    AdminToken, Caller, Claim, Delivery, Enrollment, Heartbeat, NewEnrollmentKey, NewSubmit, Offer,
    Outbound, Outcome, TaskView,
};
use fleetward_actors::seal::MasterKey;
use fleetward_actors::{Config, ControlPlane, Error, Operator, Options, Session};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;

/// The same in every life of a store.
pub(crate) const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
pub(crate) const ADMIN: &str = "fwt_admin-token-of-the-tests";

pub(crate) struct Plane {
    pub(crate) plane: ControlPlane,
    pub(crate) caller: Caller,
    pub(crate) operator: Operator,
}

/// Starts a control plane that belongs to `world`.
pub(crate) async fn start(world: &World, store: &Memory) -> Plane {
    start_with(world, store, Config::default()).await
}

pub(crate) async fn start_with(world: &World, store: &Memory, config: Config) -> Plane {
    let options = Options { config, ..options(world) };
    start_of(world, store, options).await
}

/// A plane that sends what leaves it to `outbound`.
pub(crate) async fn start_sending(
    world: &World,
    store: &Memory,
    config: Config,
    outbound: Arc<dyn Outbound>,
) -> Plane {
    let options = Options { config, outbound: Some(outbound), ..options(world) };
    start_of(world, store, options).await
}

pub(crate) fn options(world: &World) -> Options {
    Options {
        clock: Some(world.clock().clone()),
        faults: world.faults().clone(),
        admin_token: Some(AdminToken(ADMIN.to_owned())),
        master_key: Some(MasterKey::parse(MASTER_KEY).unwrap()),
        ..Options::default()
    }
}

async fn start_of(world: &World, store: &Memory, options: Options) -> Plane {
    let plane = ControlPlane::start(Arc::new(store.clone()), options).await.unwrap();
    world.adopt(plane.system());
    let caller = plane.authenticate(ADMIN).unwrap();
    let operator = plane.operator(&caller, None).await.unwrap();
    Plane { plane, caller, operator }
}

impl Plane {
    /// A worker that may work: registered with a key that approves by itself.
    pub(crate) async fn worker(&self, name: &str) -> Session {
        self.worker_of(&self.operator, enrollment(name)).await
    }

    pub(crate) async fn worker_of(&self, operator: &Operator, enrollment: Enrollment) -> Session {
        let binding = Binding { auto_approve: true, ..Binding::default() };
        self.join(operator, binding, enrollment).await
    }

    pub(crate) async fn join(
        &self,
        operator: &Operator,
        binding: Binding,
        enrollment: Enrollment,
    ) -> Session {
        let new = NewEnrollmentKey { name: "k".into(), binding, ..NewEnrollmentKey::default() };
        let (_, key) = operator.create_key(new).await.unwrap();
        let joined = self.plane.register(&key, enrollment).await.unwrap();
        let secret = joined.secret.unwrap();
        self.plane.session(&joined.worker.id.to_string(), &secret).await.unwrap()
    }

    pub(crate) async fn submit(&self, payload: &str) -> TaskId {
        self.operator.submit(new_task(payload)).await.unwrap().task
    }

    pub(crate) async fn view(&self, task: TaskId) -> TaskView {
        self.operator.task(task).await.unwrap()
    }

    pub(crate) async fn phase(&self, task: TaskId) -> Phase {
        self.view(task).await.task.phase
    }

    pub(crate) async fn revoke(&self, worker: &Session) {
        self.operator.decide(worker.worker(), Verdict::Revoke, None).await.unwrap();
    }

    /// Restarts so far of the actor or unit with this path.
    pub(crate) fn restarts(&self, path: &str) -> u64 {
        let units = self.plane.observe();
        units.iter().find(|unit| unit.path == path).map_or(0, |unit| unit.restarts)
    }
}

pub(crate) fn enrollment(name: &str) -> Enrollment {
    Enrollment {
        name: name.to_owned(),
        pool: "default".into(),
        models: vec!["gpt-4o".into()],
        max_concurrent: 1,
        ..Enrollment::default()
    }
}

pub(crate) fn new_task(payload: &str) -> NewSubmit {
    NewSubmit { payload: format!("{payload:?}").into(), ..NewSubmit::default() }
}

/// A claim as the present worker makes it.
pub(crate) fn named(request: &str) -> Claim {
    Claim { wait: Duration::from_secs(30), request: Some(request.to_owned()), boot: None }
}

/// A claim as older clients make it.
pub(crate) fn plain(seconds: u64) -> Claim {
    Claim { wait: Duration::from_secs(seconds), ..Claim::default() }
}

pub(crate) struct Taken {
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
    pub(crate) token: String,
    pub(crate) payload: String,
}

/// Reads an offer to its end.
pub(crate) fn read((offer, delivery): (Offer, Delivery)) -> Taken {
    let Offer { task, attempt, claim_token, payload, .. } = offer;
    delivery.written();
    let payload = String::from_utf8(payload.to_vec()).unwrap();
    Taken { task, attempt, token: claim_token, payload }
}

pub(crate) async fn take(session: &Session, claim: Claim) -> Option<Taken> {
    session.claim(claim).await.unwrap().map(read)
}

pub(crate) async fn complete(session: &Session, taken: &Taken) -> Result<(), Error> {
    let outcome = Outcome::Completed(taken.payload.clone().into());
    session.report(taken.task, Some(taken.attempt), Some(&taken.token), outcome).await
}

/// A heartbeat that names what was taken.
pub(crate) fn holding(taken: &[&Taken]) -> Heartbeat {
    let held = taken.iter().map(|taken| (taken.task, taken.attempt, taken.token.clone()));
    Heartbeat { held: Some(held.collect()), ..Heartbeat::default() }
}

pub(crate) fn code<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(Error::Refused(refusal)) => refusal.code.to_owned(),
        Err(Error::Unavailable(_)) => "unavailable".to_owned(),
        Err(Error::OutcomeUnknown) => "outcome_unknown".to_owned(),
        Err(Error::Internal(_)) => "internal".to_owned(),
        Err(other) => other.to_string(),
    }
}
