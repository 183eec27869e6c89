//! A fleet that comes back at once after a start of the server.

use std::time::Duration;

use fleetward_actors::Config;
use fleetward_store::memory::Memory;
use serde_json::json;

use crate::server::{Client, Server, Setup, runtime};

const FLEET: usize = 20;
const PER_SECOND: usize = 5;

#[test]
fn fleet_that_comes_back_at_once_is_let_in_bit_by_bit_and_its_work_at_once() {
    runtime().block_on(async {
        let memory = Memory::new();
        let before = Setup { memory: Some(memory.clone()), ..Setup::default() };
        let before = Server::start(before).await;
        let key = json!({"name": "k", "auto_approve": true, "max_uses": 100});
        let key = before.admin.key(key).await;
        let mut fleet = Vec::new();
        for _ in 0..FLEET {
            let joined = before.anybody().post("/register", &json!({"enrollment_key": key})).await;
            fleet.push(before.as_worker(&joined));
        }
        before.submit(json!(1)).await;
        let busy = before.worker("busy").await;
        let claimed = busy.take().await;
        before.stop().await;
        let config = Config { admit_per_second: PER_SECOND as u32, ..Config::default() };
        let after = Setup { memory: Some(memory), config, ..Setup::default() };
        let after = Server::start(after).await;
        let fleet: Vec<_> = fleet.iter().map(|worker| moved(&after, worker)).collect();
        let busy = moved(&after, &busy);

        // The first second's worth are let in; the others get turns, one after the other.
        let (let_in, refused, turns) = idle_heartbeats(fleet).await;
        assert_eq!((let_in.len(), refused.len()), (PER_SECOND, FLEET - PER_SECOND));
        assert!(turns.is_sorted_by(|a, b| *a <= b + 1), "{turns:?}");
        assert!(turns[0] <= 2 && (3..=4).contains(turns.last().unwrap()), "{turns:?}");
        let register = json!({"enrollment_key": key});
        let registered = after.anybody().post("/register", &register).await;
        assert_eq!(registered.problem(), (503, "crowded"));
        assert_eq!(busy.claim(0).await.problem(), (503, "crowded"));

        // What was acknowledged is taken whatever else comes.
        let held = json!([{"run_id": claimed["run_id"], "attempt": 1, "claim_token": claimed["claim_token"]}]);
        let beat = busy.post("/heartbeat", &json!({"tasks": held})).await;
        assert_eq!((beat.status, &beat.json["lost"]), (200, &json!([])));
        assert_eq!(busy.complete(&claimed, json!("done")).await.status, 200);

        // Those that are in stay in, and every second as many more come in.
        for worker in &let_in {
            assert_eq!(worker.claim(0).await.status, 204);
            assert_eq!(worker.post("/heartbeat", &json!({"tasks": []})).await.status, 200);
        }
        let mut refused = refused;
        for seconds in 1..=3 {
            after.clock.advance(Duration::from_secs(1));
            let (let_in, still, _) = idle_heartbeats(refused).await;
            assert_eq!(let_in.len(), PER_SECOND, "after {seconds} s");
            refused = still;
        }
        assert!(refused.is_empty(), "all are back");
        after.stop().await;
    });
}

/// The same worker at another server.
fn moved(server: &Server, worker: &Client) -> Client {
    let name = |name| worker.header(name).to_owned();
    let moved = server.anybody().with("x-worker-id", &name("x-worker-id"));
    moved.with("x-worker-secret", &name("x-worker-secret"))
}

/// Every worker says that it lives and holds nothing: those that were let in, those that were not, and when these
/// shall come again, in seconds.
async fn idle_heartbeats(fleet: Vec<Client>) -> (Vec<Client>, Vec<Client>, Vec<u64>) {
    let (mut let_in, mut refused, mut turns) = (Vec::new(), Vec::new(), Vec::new());
    for worker in fleet {
        let beat = worker.post("/heartbeat", &json!({"tasks": []})).await;
        if beat.status == 200 {
            let_in.push(worker);
            continue;
        }
        assert_eq!(beat.problem(), (503, "crowded"));
        turns.push(beat.headers["retry-after"].to_str().unwrap().parse().unwrap());
        refused.push(worker);
    }
    (let_in, refused, turns)
}
