//! How the registry takes workers in: registrations, those that come again, and enrollment keys that are tried after
//! their end.

use std::collections::HashMap;
use std::sync::Arc;

use fleetward_runtime::Context;
use fleetward_store::{Origin, Position};

use super::rules::{self, Application};
use super::{Message, State, index};
use crate::cause::Cause;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::certificate;
use crate::fleet::key::{self, Key};
use crate::fleet::worker::Worker;
use crate::guard::guarded;
use crate::id::{KeyId, WorkerId};

/// At most one event about the use of a key after its end in this time, in microseconds.
const OVERUSE_EVERY_US: i64 = 60_000_000;
/// Most keys whose uses after their end are counted: beyond it those that have nothing to tell are forgotten.
const OVERUSES_MAX: usize = 10_000;

/// What a process comes with that wants to be a worker.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The enrollment key.
    pub key: KeyId,
    /// SHA-256 of its text.
    pub hash: String,
    /// At which position of the rows there was no worker of this id; where its id was made for it: the highest.
    pub absent_at: Position,
    /// By which request.
    pub origin: Option<Arc<Origin>>,
}

/// What became of a registration.
#[derive(Debug, Clone)]
pub enum Joined {
    /// The worker: a new one, or the one that comes again.
    Worker(Box<Worker>),
    /// The key is not in memory: its record says what is wrong with it.
    NoSuchKey,
    /// A worker with this key pair may have left memory since the rows were read: read them again.
    LookAgain,
}

/// Uses of keys after their end that no event tells of yet.
#[derive(Debug, Default)]
pub(super) struct Overuses(HashMap<KeyId, Overuse>);

#[derive(Debug)]
struct Overuse {
    told_at: i64,
    untold: u32,
    first_worker: Option<WorkerId>,
    tried: Tried,
}

/// Who tried: its name, the fingerprint of its public key, its request.
type Tried = (String, Option<String>, Option<Arc<Origin>>);

impl State {
    pub(super) fn register(
        &mut self,
        attempt: &Attempt,
        application: Application,
        cx: &Context<Message>,
    ) -> Result<Joined, Error> {
        let (id, key, now) = (application.worker, attempt.key, cx.clock().wall_us());
        if let Some(worker) = self.rolls.workers.get(&id) {
            rules::come_again(worker, key)?;
            let (bound, shown) = (&worker.certificate, &application.certificate);
            certificate::check(bound.as_deref(), shown.as_deref())?;
            return Ok(Joined::Worker(Box::new(worker.clone())));
        }
        if self.forgotten > attempt.absent_at {
            return Ok(Joined::LookAgain);
        }
        let Some(known) = self.rolls.keys.get(&key) else { return Ok(Joined::NoSuchKey) };
        if known.hash == attempt.hash && rules::is_overused(known) {
            let (known, name) = (known.clone(), application.name.clone());
            let fingerprint = application.public_key.map(|key| key.fingerprint());
            self.overused(&known, (name, fingerprint, attempt.origin.clone()), cx);
        }
        let accepted = guarded(cx, "decide/register", || {
            rules::register(&self.rolls, key, &attempt.hash, application, now)
        })?;
        let by = Cause::of(format!("key:{key}")).by_request(attempt.origin.clone());
        let mut draft = self.log.begin(now);
        let stamp = draft.push::<Key>(key, &accepted.key, &by, None);
        self.rolls.apply_key(key, &accepted.key, stamp);
        for event in &accepted.worker {
            let stamp = draft.push::<Worker>(id, event, &by, None);
            self.rolls.apply_worker(id, event, stamp);
        }
        index(&self.args.credentials, &self.rolls.workers[&id], &mut draft);
        draft.submit();
        self.tell(id);
        self.forget();
        Ok(Joined::Worker(Box::new(self.rolls.workers[&id].clone())))
    }

    /// Somebody tried a key that is used up or was taken back: an event, unless there was one within the minute.
    pub(super) fn overused(&mut self, key: &Key, tried: Tried, cx: &Context<Message>) {
        let known = &mut self.overuses.0;
        if known.len() >= OVERUSES_MAX {
            known.retain(|_, overuse| overuse.untold > 0);
        }
        let first_worker = key.first_worker;
        let nobody = (String::new(), None, None);
        let new = || Overuse { told_at: i64::MIN, untold: 0, first_worker, tried: nobody };
        let overuse = known.entry(key.id).or_insert_with(new);
        overuse.untold = overuse.untold.saturating_add(1);
        overuse.tried = tried;
        self.tell_overuse(key.id, cx);
    }

    /// Tells what was only counted, once its minute is over.
    pub(super) fn tell_overuses(&mut self, cx: &Context<Message>) {
        let keys: Vec<_> = self.overuses.0.keys().copied().collect();
        keys.into_iter().for_each(|key| self.tell_overuse(key, cx));
        let now = cx.clock().wall_us();
        let known = &mut self.overuses.0;
        known.retain(|_, overuse| overuse.untold > 0 || !overuse.may_be_told(now));
    }

    fn tell_overuse(&mut self, key: KeyId, cx: &Context<Message>) {
        let now = cx.clock().wall_us();
        let Some(overuse) = self.overuses.0.get_mut(&key) else { return };
        if overuse.untold == 0 || !overuse.may_be_told(now) {
            return;
        }
        let (name, fingerprint, origin) = overuse.tried.clone();
        let event = key::Event::Overused {
            first_worker: overuse.first_worker,
            name,
            fingerprint,
            times: std::mem::take(&mut overuse.untold),
        };
        overuse.told_at = now;
        let by = Cause::system().by_request(origin);
        let mut draft = self.log.begin(now);
        let stamp = draft.push::<Key>(key, &event, &by, None);
        if let Some(known) = self.rolls.keys.get_mut(&key) {
            known.evolve(&event, stamp);
        }
        draft.submit();
    }
}

impl Overuse {
    fn may_be_told(&self, now: i64) -> bool {
        now.saturating_sub(self.told_at) >= OVERUSE_EVERY_US
    }
}

/// What the record of a key says to a process that wants to register with it.
pub(crate) fn refuse_from_record(key: Option<&Key>, hash: &str, now: i64) -> Refusal {
    let unknown = || {
        let detail = "the enrollment key is not known here; ask an administrator for a new one";
        Refusal::new(Kind::Unauthenticated, "bad_enrollment_key", detail)
    };
    let key = key.filter(|key| key.hash == hash);
    key.and_then(|key| rules::usable(key, now).err()).unwrap_or_else(unknown)
}
