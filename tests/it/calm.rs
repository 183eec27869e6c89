//! Waiting costs nothing: a thousand parked workers ask the database for nothing.

use std::sync::Arc;
use std::time::Duration;

use fleetward_actors::fleet::key::Binding;
use fleetward_actors::plane::{Claim, Enrollment, NewEnrollmentKey, NewSubmit};
use fleetward_actors::{ControlPlane, Options, Session};

use crate::fixture::*;

const WORKERS: usize = 1_000;
/// The longest poll there is: the idle minute.
const MINUTE: Duration = Duration::from_secs(60);

/// Both stores share the minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_parked_workers_cost_no_query() {
    tokio::join!(story(Place::sqlite()), story(Place::postgres().await));
}

async fn story(place: Place) {
    let store = fleetward_store::connect(&place.url()).await.unwrap();
    let admin = Some(fleetward_actors::plane::AdminToken(ADMIN.to_owned()));
    let master_key = Some(fleetward_actors::seal::MasterKey::fresh());
    let options = Options { admin_token: admin, master_key, ..Options::default() };
    let plane = ControlPlane::start(store.clone(), options).await.unwrap();
    let operator = plane.operator(&plane.authenticate(ADMIN).unwrap(), None).await.unwrap();
    let binding = Binding { auto_approve: true, ..Binding::default() };
    let max_uses = Some(WORKERS as u32);
    let new = NewEnrollmentKey { name: "k".into(), max_uses, binding, ..Default::default() };
    let (_, key) = operator.create_key(new).await.unwrap();
    let mut sessions = Vec::new();
    for n in 0..WORKERS {
        sessions.push(join(&plane, &key, n).await);
    }
    // One empty look each: every connection runs, and the rows have caught up.
    for session in &sessions {
        assert!(session.claim(Claim::default()).await.unwrap().is_none());
    }
    operator.workers(None, None, 1).await.unwrap();

    let before = store.statements();
    let polls: Vec<_> = sessions.into_iter().map(|session| tokio::spawn(park(session))).collect();
    for poll in polls {
        assert!(poll.await.unwrap(), "nothing to do for a minute");
    }
    let asked = store.statements() - before;
    assert_eq!(asked, 0, "statements of 1,000 parked polls in a minute, {}", store.describe());

    // And a submit that matches wakes one at once, with the one write that makes it durable.
    let session = join_one_more(&plane, &operator).await;
    let parked = tokio::spawn(async move { session.claim(wait(MINUTE)).await.unwrap() });
    let new = NewSubmit { payload: "1".into(), ..NewSubmit::default() };
    let task = operator.submit(new).await.unwrap().task;
    assert_eq!(parked.await.unwrap().unwrap().0.task, task);
    plane.drain(Duration::from_secs(10)).await;
}

fn wait(wait: Duration) -> Claim {
    Claim { wait, ..Claim::default() }
}

async fn park(session: Arc<Session>) -> bool {
    session.claim(wait(MINUTE)).await.unwrap().is_none()
}

async fn join(plane: &ControlPlane, key: &str, n: usize) -> Arc<Session> {
    let enrollment = Enrollment {
        name: format!("w{n}"),
        pool: "default".into(),
        max_concurrent: 1,
        ..Enrollment::default()
    };
    let joined = plane.register(key, enrollment).await.unwrap();
    Arc::new(plane.session(&joined.worker.id.to_string(), &joined.secret.unwrap()).await.unwrap())
}

async fn join_one_more(
    plane: &ControlPlane,
    operator: &fleetward_actors::Operator,
) -> Arc<Session> {
    let binding = Binding { auto_approve: true, ..Binding::default() };
    let new = NewEnrollmentKey { name: "one more".into(), binding, ..Default::default() };
    let (_, key) = operator.create_key(new).await.unwrap();
    join(plane, &key, WORKERS).await
}
