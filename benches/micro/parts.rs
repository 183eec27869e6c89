//! The parts that are measured: each makes what it needs and answers a step that can be repeated for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fleetward_actors::effect::Effect;
use fleetward_actors::fact::{Stamp, decode, encode};
use fleetward_actors::fleet::dispatcher::book::{Book, Parked, Served};
use fleetward_actors::fleet::dispatcher::matcher::{Matcher, Order};
use fleetward_actors::fleet::key::Binding;
use fleetward_actors::fleet::registry::Seat;
use fleetward_actors::fleet::task::{Event, Handling, Profile, Requirement, Task};
use fleetward_actors::id::{OrgId, TaskId, WorkerId};
use fleetward_actors::journal::CellLog;
use fleetward_actors::plane::{
    AdminToken, Claim, Enrollment, NewEnrollmentKey, NewSubmit, Options as PlaneOptions, Outcome,
};
use fleetward_actors::seal::{Key, KeyChange, KeyState, Purpose, Ring, Sealed};
use fleetward_actors::{ControlPlane, Operator, Session};
use fleetward_runtime::{
    Actor, Address, ChildSpec, Context, Crash, Options, Reply, StartError, Strategy,
    SupervisorSpec, System,
};
use tokio::runtime::Runtime;

use crate::journaling;

/// Bytes of a payload.
const PAYLOAD: usize = 128;
/// Messages or appends of one step, where one alone is too little.
const MANY: usize = 64;
const ADMIN: &str = "fwt_the-admin-token-of-the-micro-benchmarks";

type Step = Box<dyn FnMut()>;

/// Something to be measured.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// How often callgrind runs it; 0: not at all, because timers decide what it does.
    pub(crate) times: u64,
    pub(crate) make: fn() -> Step,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name)
    }
}

/// All of them.
pub(crate) const PARTS: &[Part] = &[
    Part { name: "matching: a task, 10 classes", times: 2_000, make: || matching(10) },
    Part { name: "matching: a task, 10,000 classes", times: 2_000, make: || matching(10_000) },
    Part { name: "dispatch: a task for a parked poll", times: 500, make: || dispatch(0) },
    Part { name: "dispatch: a task, 10,000 wait", times: 500, make: || dispatch(10_000) },
    Part { name: "event: encode and decode", times: 2_000, make: event },
    Part { name: "seal: a payload", times: 1_000, make: seal },
    Part { name: "open: a payload", times: 1_000, make: open },
    Part { name: "mailbox: 64 messages, an answer each", times: 100, make: mailbox },
    Part { name: "append: 64 events, group commit", times: 100, make: append },
    Part { name: "token check: a worker", times: 1_000, make: worker_check },
    Part { name: "token check: an operator", times: 1_000, make: operator_check },
    Part { name: "whole: submit, claim, report", times: 0, make: whole },
];

fn wants(class: usize) -> Arc<Requirement> {
    let labels = BTreeMap::from([("class".into(), class.to_string())]);
    Arc::new(Requirement { pool: "default".into(), labels, ..Requirement::default() })
}

fn profile(class: usize) -> Profile {
    let labels = BTreeMap::from([("class".into(), class.to_string())]);
    Profile { pool: "default".into(), labels, ..Profile::default() }
}

/// One task into its queue and out of it, beside queues of other classes.
fn matching(classes: usize) -> Step {
    let (mut matcher, worker) = (Matcher::default(), WorkerId::fresh());
    let (classes, party): (Vec<_>, _) = ((0..classes).map(wants).collect(), profile(0));
    matcher.join(&party);
    for (order, class) in classes.iter().enumerate() {
        matcher.queue_task(class, Order::by_age(order as u64), TaskId::fresh());
    }
    matcher.take_task(&party, worker).unwrap();
    let (task, mut order) = (TaskId::fresh(), classes.len() as u64);
    Box::new(move || {
        order += 1;
        matcher.queue_task(&classes[0], Order::by_age(order), task);
        matcher.take_task(&party, worker).unwrap();
    })
}

/// What the dispatcher's memory does for one task: submitted, matched, claimed, completed, forgotten.
fn dispatch(backlog: usize) -> Step {
    let mut book = Book::default();
    let (worker, by) = (WorkerId::fresh(), "bench");
    book.seat(Seat {
        worker,
        profile: profile(0),
        seats: 1,
        paused: false,
        gone: Default::default(),
        lacking: Default::default(),
        as_of: 1,
    });
    let mut seq = 1;
    let mut apply = move |book: &mut Book, task, event: &Event| {
        seq += 1;
        book.apply(task, event, Stamp { seq, at: 0, by });
        seq
    };
    let class = wants(0);
    let submitted = move |task| Event::Submitted {
        task,
        wants: class.clone(),
        request: None,
        digest: "d".repeat(64),
        payload_bytes: PAYLOAD as u64,
        handling: Handling::default(),
        step: None,
        history: Vec::new(),
    };
    for _ in 0..backlog {
        let task = TaskId::fresh();
        apply(&mut book, task, &submitted(task));
        book.queue(task, 0);
    }
    let mut poll = 0;
    Box::new(move || {
        poll += 1;
        let parked = Parked { poll, request: None, once: false, max: 1, origin: None };
        book.set_polls(worker, &[parked]);
        let waited = match book.serve(worker) {
            Served::Match(found) => Some(found),
            Served::Empty(_) => None,
        };
        let new = TaskId::fresh();
        apply(&mut book, new, &submitted(new));
        book.queue(new, 0);
        let found = waited.or_else(|| {
            let wants = book.ready(new, 0)?.wants.clone();
            book.match_for(&wants)
        });
        let task = found.unwrap().tasks[0];
        apply(&mut book, task, &Event::Claimed { attempt: 1, worker, request: None });
        let done = Event::Completed { attempt: 1, worker, digest: "d".repeat(64) };
        let last = apply(&mut book, task, &done);
        book.forget(last);
    })
}

/// An event to what is stored, and back.
fn event() -> Step {
    let (task, by): (_, Arc<str>) = (TaskId::fresh(), "worker:1".into());
    let event = Event::Completed { attempt: 1, worker: WorkerId::fresh(), digest: "d".repeat(64) };
    let sealed = ring().seal(Purpose::Result, b"a task", &[7; PAYLOAD]).into_bytes();
    Box::new(move || {
        let sealed = Some(sealed.clone());
        let stored = encode::<Task>(task, &event, 0, (by.clone(), None), sealed);
        decode::<Task>(1, &stored).unwrap();
    })
}

fn ring() -> Ring {
    let key = Some(Arc::new(Key::fresh()));
    Ring::new(OrgId::fresh(), vec![KeyChange { number: 1, state: KeyState::Primary, key }])
}

/// A payload into what is stored.
fn seal() -> Step {
    let ring = ring();
    Box::new(move || drop(ring.seal(Purpose::Payload, b"the id of a task", &[7; PAYLOAD])))
}

/// What is stored into a payload.
fn open() -> Step {
    let ring = ring();
    let sealed = ring.seal(Purpose::Payload, b"the id of a task", &[7; PAYLOAD]).kept();
    Box::new(move || drop(ring.open(Purpose::Payload, b"the id of a task", &sealed).unwrap()))
}

struct Echo;

impl Actor for Echo {
    type Args = ();
    type Message = Reply<()>;

    async fn start((): (), _: &mut Context<Reply<()>>) -> Result<Self, StartError> {
        Ok(Self)
    }

    fn handle(&mut self, reply: Reply<()>, _: &mut Context<Reply<()>>) -> Result<(), Crash> {
        reply.send(());
        Ok(())
    }
}

/// Messages to one actor, and their answers.
fn mailbox() -> Step {
    let runtime = runtime();
    let address = Address::<Reply<()>>::new("echo");
    let child = ChildSpec::actor::<Echo>("echo", address.clone(), ());
    let tree = SupervisorSpec::new(Strategy::OneForOne).child(child);
    let system = runtime.block_on(System::start("bench", tree, Options::default())).unwrap();
    Box::new(move || {
        let _alive = &system;
        runtime.block_on(async {
            let mut answers = Vec::with_capacity(MANY);
            for _ in 0..MANY {
                let (reply, answered) = Reply::channel();
                address.send(reply).unwrap();
                answers.push(answered);
            }
            for answered in answers {
                answered.await.unwrap();
            }
        });
    })
}

/// Drafts of one event each through the journaling actor into a store in memory.
fn append() -> Step {
    let runtime = runtime();
    let (log, system) = runtime.block_on(async {
        journaling::start(fleetward_store::connect("memory:").await.unwrap()).await
    });
    let by: Arc<str> = "bench".into();
    Box::new(move || {
        let _alive = &system;
        runtime.block_on(async {
            let answers: Vec<_> = (0..MANY).map(|_| append_one(&log, &by)).collect();
            for answered in answers {
                answered.await.unwrap();
            }
        });
    })
}

fn append_one(log: &CellLog, by: &Arc<str>) -> fleetward_runtime::Answered<()> {
    let (reply, answered) = Reply::channel();
    let mut draft = log.begin(0);
    let claimed =
        Event::Claimed { attempt: 1, worker: WorkerId(Default::default()), request: None };
    let sealed = Some(Sealed::from_bytes(Bytes::from_static(&[7; PAYLOAD])));
    draft.push::<Task>(TaskId::fresh(), &claimed, by, sealed);
    draft.allow(Effect::Answer(reply.with(())));
    draft.submit();
    answered
}

/// A control plane in memory, with one worker.
struct Fleet {
    plane: ControlPlane,
    operator: Operator,
    worker: String,
    secret: String,
}

impl Fleet {
    async fn start() -> Self {
        let store = fleetward_store::connect("memory:").await.unwrap();
        let admin_token = Some(AdminToken(ADMIN.to_owned()));
        let options = PlaneOptions { admin_token, ..PlaneOptions::default() };
        let plane = ControlPlane::start(store, options).await.unwrap();
        let caller = plane.authenticate(ADMIN).unwrap();
        let operator = plane.operator(&caller, None).await.unwrap();
        let binding = Binding { auto_approve: true, ..Binding::default() };
        let name = "bench".to_owned();
        let new = NewEnrollmentKey { name, max_uses: None, expires_in_s: None, binding };
        let (_, key) = operator.create_key(new).await.unwrap();
        let enrollment = Enrollment {
            name: "bench".to_owned(),
            pool: "default".to_owned(),
            labels: BTreeMap::new(),
            max_concurrent: 1,
            ..Enrollment::default()
        };
        let joined = plane.register(&key, enrollment).await.unwrap();
        Self {
            plane,
            operator,
            worker: joined.worker.id.to_string(),
            secret: joined.secret.unwrap_or_default(),
        }
    }

    async fn session(&self) -> Session {
        self.plane.session(&self.worker, &self.secret).await.unwrap()
    }
}

fn worker_check() -> Step {
    let runtime = runtime();
    let fleet = runtime.block_on(Fleet::start());
    Box::new(move || drop(runtime.block_on(fleet.session())))
}

fn operator_check() -> Step {
    let runtime = runtime();
    let fleet = runtime.block_on(Fleet::start());
    Box::new(move || drop(fleet.plane.authenticate(ADMIN).unwrap()))
}

/// One task through all actors and a store in memory.
fn whole() -> Step {
    let runtime = runtime();
    let fleet = runtime.block_on(Fleet::start());
    let session = runtime.block_on(fleet.session());
    Box::new(move || {
        runtime.block_on(async {
            let payload = vec![b'1'; PAYLOAD].into();
            fleet.operator.submit(NewSubmit { payload, ..NewSubmit::default() }).await.unwrap();
            let (offer, delivery) = session.claim(Claim::default()).await.unwrap().unwrap();
            delivery.written();
            let outcome = Outcome::Completed("1".into());
            let (attempt, token) = (Some(offer.attempt), Some(offer.claim_token.as_str()));
            session.report(offer.task, attempt, token, outcome).await.unwrap();
        });
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
