//! The registry's half of anomaly detection: it writes down what the detector saw, acts within its powers, and lets
//! administrators take suspicions back.

use fleetward_runtime::Context;

use super::judging::{Powers, judge};
use super::{Asked, Message, State, index};
use crate::cause::Cause;
use crate::error::Error;
use crate::fact::Fold;
use crate::fleet::anomaly::{self, Sighting};
use crate::fleet::watch::{self, WATCH_ID, Watch};
use crate::fleet::worker::{Event, Worker};
use crate::id::WorkerId;
use crate::journal::Draft;

/// Most workers that one look changes something of; the next look goes on. A network that is gone silences whole fleets.
const CHANGED_MAX: usize = 256;

impl State {
    /// Writes down what is news of what the detector saw.
    pub(super) fn sighted(&mut self, sighting: Sighting, cx: &Context<Message>) {
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let by = Cause::system();
        let fleet = self.rolls.workers.values().filter(|worker| worker.standing.may_work()).count();
        let mut changed = Vec::new();
        for seen in &sighting.observations {
            let Some(worker) = self.rolls.workers.get(&seen.worker) else { continue };
            let events = judge(worker, seen, self.powers(draft.at(), fleet));
            if events.is_empty() {
                continue;
            }
            self.record(seen.worker, &events, &by, &mut draft);
            changed.push(seen.worker);
            if changed.len() == CHANGED_MAX {
                break;
            }
        }
        if let Some((count, too_many)) = sighting.dead_letters {
            self.dead_letters((count, too_many), sighting.window_s, &by, &mut draft);
        }
        draft.submit();
        changed.into_iter().for_each(|worker| self.tell(worker));
        self.forget();
    }

    fn record(&mut self, id: WorkerId, events: &[Event], by: &Cause, draft: &mut Draft<'_>) {
        let standing = self.rolls.workers[&id].standing;
        for event in events {
            let stamp = draft.push::<Worker>(id, event, by, None);
            self.rolls.apply_worker(id, event, stamp);
            if let Event::Revoked { .. } = event {
                self.watch(&watch::Event::Revoked { worker: id }, by, draft);
            }
        }
        if self.rolls.workers[&id].standing != standing {
            index(&self.args.credentials, &self.rolls.workers[&id], draft);
        }
    }

    fn dead_letters(
        &mut self,
        (count, too_many): (u32, bool),
        within_seconds: u64,
        by: &Cause,
        draft: &mut Draft<'_>,
    ) {
        let limit = self.rolls.policy.anomaly.dead_letters;
        // Half of it, so that what stands at the limit does not come and go.
        let over = count <= limit / 2;
        if too_many && !self.rolls.watch.dead_letters {
            let why = format!("{count} tasks failed for good within {within_seconds} s");
            let event = watch::Event::DeadLetters { count, within_seconds, why };
            self.watch(&event, by, draft);
        } else if over && self.rolls.watch.dead_letters {
            self.watch(&watch::Event::DeadLettersOver {}, by, draft);
        }
    }

    fn watch(&mut self, event: &watch::Event, by: &Cause, draft: &mut Draft<'_>) {
        let stamp = draft.push::<Watch>(WATCH_ID, event, by, None);
        self.rolls.watch.evolve(event, stamp);
    }

    fn powers(&self, now: i64, fleet: usize) -> Powers {
        if !self.rolls.policy.anomaly.automatic {
            return Powers::None;
        }
        match self.rolls.watch.may_revoke(now, fleet) {
            true => Powers::Revoke,
            false => Powers::Quarantine,
        }
    }

    /// An administrator says that what was seen of a worker means nothing.
    pub(super) fn absolve(
        &mut self,
        id: WorkerId,
        reason: Option<String>,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<Asked<Worker>, Error> {
        let Some(worker) = self.rolls.workers.get(&id) else { return Ok(Asked::NotHere) };
        if !worker.suspicions.is_empty() {
            let event = Event::SuspicionsReset { reason };
            let log = self.log.clone();
            let mut draft = log.begin(cx.clock().wall_us());
            let stamp = draft.push::<Worker>(id, &event, by, None);
            self.rolls.apply_worker(id, &event, stamp);
            draft.submit();
        }
        self.forget_sightings(id);
        Ok(Asked::Found(self.rolls.workers[&id].clone()))
    }

    /// The detector begins anew with a worker. Should it not hear of it, it says again what it saw.
    pub(super) fn forget_sightings(&self, worker: WorkerId) {
        let _ = self.args.anomaly.send(anomaly::Message::Forget { worker });
    }

    /// Workers that are suspicious, deaf or mute, the newest suspicion first.
    pub(super) fn suspects(&self) -> Vec<Worker> {
        let strange = |worker: &&Worker| {
            !worker.suspicions.is_empty() || worker.deaf_since.or(worker.mute_since).is_some()
        };
        let mut suspects: Vec<_> = self.rolls.workers.values().filter(strange).cloned().collect();
        suspects.sort_by_key(|worker| std::cmp::Reverse(worker.updated));
        suspects
    }
}
