//! Many threads, many crashes, real time: the promises that hold only if nothing races.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{
    Actor, Address, Backoff, Budget, CallError, ChildSpec, Context, Crash, Exhausted, Family,
    FamilySpec, Options, Reply, Restart, StartError, Strategy, SupervisorSpec, System,
};
use parking_lot::Mutex;

const LONG: Duration = Duration::from_secs(60);
const CALLERS: u32 = 8;
const CALLS: u32 = 300;

/// Which keys have a life now.
type Alive = Arc<Mutex<HashMap<u32, u32>>>;

/// Its presence is one life of one key.
struct Presence(u32, Alive);

impl Presence {
    fn begin(key: u32, alive: &Alive) -> Self {
        let lives = *alive.lock().entry(key).and_modify(|lives| *lives += 1).or_insert(1);
        assert_eq!(lives, 1, "two lives of {key} overlap");
        Self(key, Arc::clone(alive))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.1.lock().entry(self.0).and_modify(|lives| *lives -= 1);
    }
}

enum Message {
    Add { reply: Reply<u32> },
    Crash,
    Stop,
}

struct Counter {
    _presence: Arc<Presence>,
    sum: u32,
}

impl Actor for Counter {
    type Args = (u32, Alive);
    type Message = Message;

    async fn start(
        (key, alive): (u32, Alive),
        cx: &mut Context<Message>,
    ) -> Result<Self, StartError> {
        let presence = Arc::new(Presence::begin(key, &alive));
        tokio::task::yield_now().await;
        // What it does beside itself is part of its life.
        let beside = Arc::clone(&presence);
        let work = async move {
            let _beside = beside;
            std::future::pending().await
        };
        cx.spawn(work, |()| Message::Crash);
        Ok(Self { _presence: presence, sum: 0 })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Add { reply } => {
                self.sum += 1;
                reply.send(self.sum);
            }
            Message::Crash => return Err(Crash::new("storm")),
            Message::Stop => cx.stop(),
        }
        Ok(())
    }
}

fn counters(alive: &Alive) -> Family<u32, Address<Message>> {
    let alive = Arc::clone(alive);
    let rules = FamilySpec {
        budget: Budget { restarts: u32::MAX, within: LONG },
        backoff: Backoff::doubling(Duration::from_micros(10), Duration::from_micros(10)),
        exhausted: Exhausted::Halt,
    };
    Family::new(rules, move |key| {
        let address = Address::new("counter");
        let args = (*key, Arc::clone(&alive));
        let spec = ChildSpec::actor::<Counter>("counter", address.clone(), args);
        (address, spec.restart(Restart::Transient))
    })
}

/// One caller among many, who now and then breaks something.
async fn call_and_break(family: Family<u32, Address<Message>>, caller: u32) {
    for call in 0..CALLS {
        let key = (call * 7 + caller) % 4;
        let address = match family.get_or_start(key).await {
            Ok(address) => address,
            Err(StartError::Unavailable(_)) => continue,
            // Somebody failed it while it started.
            Err(StartError::Failed(reason)) if reason == "storm" => continue,
            Err(error) => panic!("{error}"),
        };
        match call % 11 {
            3 => drop(address.send(Message::Crash)),
            5 => drop(address.send(Message::Stop)),
            7 => family.fail(&key, "storm"),
            9 => family.stop(&key).await,
            _ => {}
        }
        let answer = address.call(LONG, |reply| Message::Add { reply }).await;
        assert_ne!(answer, Err(CallError::Late), "every call ends in an answer or an error");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lives_of_one_key_never_overlap_and_no_caller_is_forgotten() {
    let alive = Alive::default();
    let family = counters(&alive);
    let spec = SupervisorSpec::new(Strategy::OneForOne);
    let spec = spec.child(ChildSpec::family("counters", &family));
    let system = System::start("system", spec, Options::default()).await.unwrap();

    let callers = (0..CALLERS).map(|caller| tokio::spawn(call_and_break(family.clone(), caller)));
    let results = futures_util::future::join_all(callers).await;
    let drained = system.drain(LONG).await;

    assert!(results.iter().all(Result::is_ok));
    assert!(drained.is_clean(), "{drained:?}");
    assert_eq!(system.alive(), 0);
    assert!(alive.lock().values().all(|lives| *lives == 0));
    assert!(!system.crashes().iter().any(|crash| crash.reason.contains("overlap")));
}
