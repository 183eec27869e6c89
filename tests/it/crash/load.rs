//! Submitters that never tire, and count what they do: the clock by which the server is killed.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fixture::{Client, PATIENCE};

const SUBMITTERS: usize = 4;
/// Every so many tasks a submitter waits for the result before it goes on: so reports are counted
/// as submits are, and the queue does not run away from the workers.
const WAITS_EVERY: usize = 4;

/// Payloads by task.
pub(super) type Tasks = BTreeMap<String, Value>;

pub(super) struct Load {
    submitters: Vec<JoinHandle<Tasks>>,
    /// A submit that goes out, its acknowledgement, the end of its task: one step each.
    steps: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

impl Load {
    pub(super) fn start(client: &Client) -> Self {
        let (steps, stop) = (watch::Sender::new(0), watch::Sender::new(false));
        let submitters = (0..SUBMITTERS).map(|number| {
            let submitter = Submitter {
                number,
                client: client.clone(),
                steps: steps.clone(),
                stop: stop.subscribe(),
            };
            tokio::spawn(submitter.work())
        });
        Self { submitters: submitters.collect(), steps, stop }
    }

    /// Waits until so many more steps were made.
    pub(super) async fn passes(&self, more: u64) {
        let mut steps = self.steps.subscribe();
        let target = *steps.borrow_and_update() + more;
        let passed = timeout(PATIENCE, steps.wait_for(|made| *made >= target)).await;
        let stuck = || panic!("the load is stuck at step {}", *self.steps.borrow());
        passed.unwrap_or_else(|_| stuck()).unwrap();
    }

    /// Lets everybody finish what they are at; answers what was acknowledged.
    pub(super) async fn stop(self) -> Tasks {
        self.stop.send(true).unwrap();
        let mut acknowledged = Tasks::new();
        for submitter in self.submitters {
            acknowledged.extend(submitter.await.unwrap());
        }
        acknowledged
    }
}

struct Submitter {
    number: usize,
    client: Client,
    steps: watch::Sender<u64>,
    stop: watch::Receiver<bool>,
}

impl Submitter {
    async fn work(self) -> Tasks {
        let mut acknowledged = Tasks::new();
        for n in 0.. {
            if *self.stop.borrow() {
                break;
            }
            let payload = json!({"submitter": self.number, "n": n});
            self.step();
            let task = self.client.submit(&format!("{}/{n}", self.number), &payload).await;
            self.step();
            if n % WAITS_EVERY == 0 {
                self.client.result(&task).await;
                self.step();
            }
            let known = acknowledged.insert(task, payload);
            assert!(known.is_none(), "every key makes a task of its own");
        }
        acknowledged
    }

    fn step(&self) {
        self.steps.send_modify(|made| *made += 1);
    }
}
