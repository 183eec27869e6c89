//! One attempt at a durable function: it replays what is recorded, and goes on from there.

use fleetward_actors::fleet::task::history::Called;
use fleetward_actors::plane::{NewCheckpoint, Outcome, Recorded};
use serde_json::{Value, json};

use super::{AWAY, Held, Stage};
use crate::fixture::code;
use crate::model::functions::{Call, Program};

/// What becomes of an attempt at a function.
pub(super) enum Leg {
    /// Its code is through.
    Through,
    /// This is to be reported.
    Waits(Outcome),
    /// The server gives no answer now, or the worker stops here.
    Stops,
    /// The attempt is not its any more.
    Over,
}

/// What an attempt is told that is not the newest, or whose task is closed.
const OVER: [&str; 4] = ["attempt_superseded", "attempt_over", "task_closed", "task_cancelled"];

impl Stage<'_> {
    /// `lost`: it stops after the next step that it does, whose answer it never reads.
    pub(super) async fn leg(&mut self, worker: usize, held: &Held, lost: bool) -> Leg {
        let Some(program) = Program::of(&held.key) else { return Leg::Through };
        let known = match self.recorded(worker, held).await {
            Ok(known) => known,
            Err(leg) => return leg,
        };
        self.tell().await;
        for call in program.calls() {
            let index = call.index as usize;
            match known.get(index) {
                Some(entry) if entry.entry.outcome.is_some() => self.replayed(held, call, entry),
                _ if call.what == Called::Step => {
                    match self.checkpoint(worker, held, call, lost).await {
                        None if lost => return Leg::Stops,
                        None => {}
                        Some(leg) => return leg,
                    }
                }
                _ => {
                    let asked =
                        (call.what == Called::Approval).then(|| json!({"prompt": "go on?"}));
                    return Leg::Waits(Outcome::Suspended(vec![(call.pending(), asked)]));
                }
            }
        }
        assert!(
            known.len() <= program.calls().len(),
            "{held:?} has done what it was never asked to"
        );
        Leg::Through
    }

    /// What the attempt finds done, in order.
    async fn recorded(&self, worker: usize, held: &Held) -> Result<Vec<Recorded>, Leg> {
        let session = &self.workers[worker].session;
        let claim = (Some(held.attempt), Some(held.token.as_str()));
        let (mut known, mut from) = (Vec::new(), Some(0));
        while let Some(position) = from {
            match session.recorded(held.task, claim, position).await {
                Ok(page) => {
                    from = page.next;
                    known.extend(page.entries);
                }
                Err(error) => return Err(stop(held, &code::<()>(Err(error)))),
            }
        }
        for (index, recorded) in known.iter().enumerate() {
            assert_eq!(recorded.entry.index as usize, index, "{held:?} has a gap: {known:?}");
        }
        Ok(known)
    }

    /// What is recorded is what was asked for, and a value that was acknowledged is that value for ever.
    fn replayed(&mut self, held: &Held, call: &Call, recorded: &Recorded) {
        let entry = &recorded.entry;
        assert_eq!((entry.what, &entry.name), (call.what, &call.name), "{held:?}");
        if call.what == Called::Step {
            let value: Value = serde_json::from_slice(recorded.value.as_ref().unwrap()).unwrap();
            let of = (held.run.clone(), held.key.clone(), call.index);
            let first = self.values.entry(of).or_insert_with(|| value.clone());
            assert_eq!(*first, value, "{held:?} has another value at {}", call.index);
        }
    }

    /// Does a step. None: that is recorded, or nobody knows whether it is.
    async fn checkpoint(
        &mut self,
        worker: usize,
        held: &Held,
        call: &Call,
        lost: bool,
    ) -> Option<Leg> {
        // No two attempts come to the same.
        self.claims += 1;
        let value = json!({ "made": self.claims });
        let (index, name) = (call.index, call.name.clone());
        let new = NewCheckpoint { index, name, value: value.to_string().into(), took_ms: None };
        let session = &self.workers[worker].session;
        let claim = (Some(held.attempt), Some(held.token.as_str()));
        let said = code(session.checkpoint(held.task, claim, new).await);
        if lost && said == "ok" {
            return None;
        }
        if said != "ok" {
            return Some(stop(held, &said));
        }
        self.tell().await;
        let of = (held.run.clone(), held.key.clone(), call.index);
        let before = self.values.insert(of, value);
        assert_eq!(before, None, "{held:?} does {} again, which was acknowledged", call.index);
        None
    }
}

fn stop(held: &Held, said: &str) -> Leg {
    if AWAY.contains(&said) {
        return Leg::Stops;
    }
    assert!(OVER.contains(&said), "{held:?} is answered {said}");
    Leg::Over
}
