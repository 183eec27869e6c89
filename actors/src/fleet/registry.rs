//! The registry of one organisation: enrollment keys and workers. Told by administrators and by processes that want
//! to join; tells the journal, then the dispatcher and the connections what is true of each worker.

mod joining;
pub mod judging;
mod message;
pub mod rules;
mod suspicions;
mod tokens;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Context, Crash, StartError, Timer};
use fleetward_store::Position;

use super::anomaly;
use super::cell::keeper;
use super::connection::{self, Connections};
use super::credentials::{Credential, Credentials};
use super::dispatcher;
use super::key::{self, Binding, Key};
use super::models::ModelNames;
use super::policy::{self, Change, POLICY_ID, Policy};
use super::task::Profile;
use super::watch::Watch;
use super::worker::{Standing, Worker};
use crate::access::{ACCESS_ID, Access};
use crate::cause::Cause;
use crate::config::Config;
use crate::effect::Effect;
use crate::error::Error;
use crate::fact::Fold;
use crate::guard::guarded;
use crate::id::{KeyId, WorkerId};
use crate::journal::{CellLog, Draft};
use joining::Overuses;
pub(crate) use joining::refuse_from_record;
pub use joining::{Attempt, Joined};
pub use message::Message;
use rules::{Rolls, Verdict};
pub use tokens::NewTaskToken;

/// How often the dispatcher is told of all workers again, in case it missed a message, and the metrics are set.
const RECONCILE_EVERY: Duration = Duration::from_secs(10);

/// What a worker in memory may be.
const STANDINGS: [&str; 4] = ["pending", "approved", "quarantined", "locked"];

/// What a registry starts from.
#[derive(Clone)]
pub struct Args {
    /// Gives it what was true.
    pub keeper: keeper::Handle,
    /// Told of workers that may work.
    pub dispatcher: Address<dispatcher::Message>,
    /// Told of their own standing.
    pub connections: Connections,
    /// What requests are checked against.
    pub credentials: Arc<Credentials>,
    /// What names of models are read by.
    pub models: Arc<ModelNames>,
    /// Looks for what is suspicious.
    pub anomaly: Address<anomaly::Message>,
    /// Terms.
    pub config: Arc<Config>,
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// What its maker calls it.
    pub name: String,
    /// SHA-256 of its text.
    pub hash: String,
    /// How many workers may register with it.
    pub max_uses: u32,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
    /// What it binds a worker to.
    pub binding: Binding,
}

/// What the dispatcher knows of a worker that may work.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Which worker.
    pub worker: WorkerId,
    /// What it may and can run.
    pub profile: Profile,
    /// How many tasks at once.
    pub seats: u32,
    /// It gets no new ones for now.
    pub paused: bool,
    /// Models that it declared and that it does not see at its endpoints now: not in its profile.
    pub gone: BTreeSet<String>,
    /// Those of them of which it is certain, since all of its endpoints answer: with when they did, in microseconds UTC.
    pub lacking: BTreeMap<String, i64>,
    /// True as of this position.
    pub as_of: Position,
}

/// What the dispatcher is told now and then, so that no message that was lost matters.
#[derive(Debug, Clone)]
pub struct Roster {
    /// Everyone who may work.
    pub seats: Vec<Seat>,
    /// What the organisation lets run.
    pub policy: Policy,
}

/// The outcome of a question about something that may have left memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<T> {
    /// Here it is.
    Found(T),
    /// Not in memory: its record says what is true.
    NotHere,
}

/// The registry's memory.
pub struct State {
    args: Args,
    log: CellLog,
    rolls: Rolls,
    /// The last event of the newest worker that left memory.
    forgotten: Position,
    overuses: Overuses,
    reconcile: Timer,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let mut part =
            args.keeper.take(&[Worker::KIND, Key::KIND, Policy::KIND, Watch::KIND]).await?;
        let workers: HashMap<_, _> =
            part.states::<Worker>().into_iter().map(|worker| (worker.id, worker)).collect();
        let keys = part.states::<Key>().into_iter().map(|key| (key.id, key)).collect();
        let policy = part.states::<Policy>().pop().unwrap_or_default();
        let watch = part.states::<Watch>().pop().unwrap_or_default();
        args.credentials.reset(workers.values(), policy.legacy_headers_off);
        args.models.set(Arc::new(policy.models.clone()));
        let reconcile = cx.after(RECONCILE_EVERY, Message::ReconcileDue);
        let rolls = Rolls { keys, workers, policy, watch };
        // What closed before is in no memory: whoever read the rows earlier has to look again.
        let forgotten = part.log.positions().projected();
        let (log, overuses) = (part.log, Overuses::default());
        let state = Self { args, log, rolls, forgotten, overuses, reconcile };
        state.publish();
        Ok(state)
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::CreateKey { key, by, reply } => {
                let outcome = self.create_key(*key, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::RevokeKey { key, by, reply } => {
                let outcome = self.revoke_key(key, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::Register { attempt, application, reply } => {
                let outcome = self.register(&attempt, *application, cx);
                self.log.answer(reply, outcome);
            }
            Message::Overused { key, name, fingerprint, origin, reply } => {
                self.overused(&key, (name, fingerprint, origin), cx);
                self.log.answer(reply, ());
            }
            Message::IssueToken { worker, token, origin, reply } => {
                let outcome = self.issue_token(worker, token, origin, cx);
                self.log.answer(reply, outcome);
            }
            Message::RevokeToken { token, reason, by, reply } => {
                let outcome = self.revoke_token(token, reason, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::Lock { worker, seen, used, origin, reply } => {
                self.lock(worker, (seen, used), origin, cx);
                self.log.answer(reply, ());
            }
            Message::Decide { worker, verdict, reason, by, reply } => {
                let outcome = self.decide(worker, (verdict, reason), &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::Govern { change, by, reply } => {
                let policy = self.govern(change, &by, cx);
                self.log.answer(reply, policy);
            }
            Message::Note { event, by, reply } => {
                let mut draft = self.log.begin(cx.clock().wall_us());
                draft.push::<Access>(ACCESS_ID, &event, &by, None);
                draft.allow(Effect::Answer(reply.with(())));
                draft.submit();
            }
            Message::Probed { worker, reply } => {
                self.tell(worker);
                reply.send(());
            }
            Message::Policy { reply } => self.log.answer(reply, self.rolls.policy.clone()),
            Message::Roster { reply } => reply.send(self.roster()),
            Message::Look { worker, reply } => {
                self.log.answer(reply, self.rolls.workers.get(&worker).cloned());
            }
            Message::Sighted { sighting } => self.sighted(*sighting, cx),
            Message::Absolve { worker, reason, by, reply } => {
                let outcome = self.absolve(worker, reason, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::Suspects { reply } => self.log.answer(reply, self.suspects()),
            Message::RevokedTokens { reply } => self.log.answer(reply, self.revoked_tokens(cx)),
            Message::ReconcileDue => self.reconcile(cx),
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        message.label()
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "keys": self.rolls.keys.len(), "workers": self.standings() })
    }
}

impl State {
    fn create_key(&mut self, new: NewKey, by: &Cause, cx: &Context<Message>) -> Result<Key, Error> {
        let NewKey { id, name, hash, max_uses, expires_at, binding } = new;
        let created = key::Event::Created { key: id, name, hash, max_uses, expires_at, binding };
        let mut draft = self.log.begin(cx.clock().wall_us());
        let stamp = draft.push::<Key>(id, &created, by, None);
        self.rolls.apply_key(id, &created, stamp);
        draft.submit();
        Ok(self.rolls.keys[&id].clone())
    }

    fn revoke_key(
        &mut self,
        id: KeyId,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<Asked<()>, Error> {
        let Some(key) = self.rolls.keys.get(&id) else { return Ok(Asked::NotHere) };
        if key.open() {
            let mut draft = self.log.begin(cx.clock().wall_us());
            let stamp = draft.push::<Key>(id, &key::Event::Revoked {}, by, None);
            self.rolls.apply_key(id, &key::Event::Revoked {}, stamp);
            draft.submit();
        }
        Ok(Asked::Found(()))
    }

    fn decide(
        &mut self,
        id: WorkerId,
        (verdict, reason): (Verdict, Option<String>),
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<Asked<Worker>, Error> {
        let Some(worker) = self.rolls.workers.get(&id) else { return Ok(Asked::NotHere) };
        let event = guarded(cx, "decide/verdict", || rules::decide(worker, verdict, reason))?;
        if let Some(event) = event {
            let mut draft = self.log.begin(cx.clock().wall_us());
            let stamp = draft.push::<Worker>(id, &event, by, None);
            self.rolls.apply_worker(id, &event, stamp);
            index(&self.args.credentials, &self.rolls.workers[&id], &mut draft);
            draft.submit();
            self.tell(id);
            if verdict == Verdict::Approve {
                self.forget_sightings(id);
            }
        }
        let worker = self.rolls.workers[&id].clone();
        self.forget();
        Ok(Asked::Found(worker))
    }

    /// Tells the rest of the cell what is true of a worker. Lost messages are made up for by `reconcile`.
    fn tell(&self, id: WorkerId) {
        let Some(worker) = self.rolls.workers.get(&id) else { return };
        if worker.standing != Standing::Pending {
            let message = match worker.standing {
                standing if standing.may_work() => {
                    dispatcher::Message::Seated { seat: Box::new(self.seat(worker)) }
                }
                _ => dispatcher::Message::Unseated { worker: id, as_of: worker.updated },
            };
            let _ = self.args.dispatcher.send(message);
        }
        if let Some(connection) = self.args.connections.get(&id) {
            let (standing, as_of) = (worker.standing, worker.updated);
            let _ = connection.send(connection::Message::Standing { standing, as_of });
        }
    }

    fn govern(&mut self, change: Change, by: &Cause, cx: &Context<Message>) -> Policy {
        let new = self.rolls.policy.with(change);
        if new == self.rolls.policy {
            return new;
        }
        let renamed = new.models != self.rolls.policy.models;
        let event = policy::Event::Changed { policy: new };
        let mut draft = self.log.begin(cx.clock().wall_us());
        let stamp = draft.push::<Policy>(POLICY_ID, &event, by, None);
        self.rolls.policy.evolve(&event, stamp);
        let policy = self.rolls.policy.clone();
        if renamed {
            let overrides = Arc::new(policy.models.clone());
            draft.allow(Effect::ModelNames { index: self.args.models.clone(), overrides });
        }
        let (index, off) = (self.args.credentials.clone(), policy.legacy_headers_off);
        draft.allow(Effect::LegacyHeaders { index, off });
        draft.submit();
        if renamed {
            self.tell_roster();
        } else {
            let policy = Box::new(policy.clone());
            let _ = self.args.dispatcher.send(dispatcher::Message::Govern { policy });
        }
        policy
    }

    fn roster(&self) -> Roster {
        let approved = |worker: &&Worker| worker.standing.may_work();
        let seats = self.rolls.workers.values().filter(approved).map(|worker| self.seat(worker));
        Roster { seats: seats.collect(), policy: self.rolls.policy.clone() }
    }

    fn tell_roster(&self) {
        let (roster, as_of) = (self.roster(), self.log.positions().given());
        let _ = self.args.dispatcher.send(dispatcher::Message::Roster { roster, as_of });
    }

    /// What the dispatcher is to know of a worker: those of its models that are there by the names that count now.
    fn seat(&self, worker: &Worker) -> Seat {
        let policy = &self.rolls.policy;
        let mut models = rules::canonical_names(&worker.declared_models, &policy.models);
        let (gone, lacking) = self.gone(worker.id, &models);
        models.retain(|model| !gone.contains(model));
        Seat {
            worker: worker.id,
            profile: Profile { models, ..worker.profile.clone() },
            seats: worker.seats,
            paused: worker.rests(),
            gone,
            lacking,
            as_of: worker.updated.max(policy.as_of),
        }
    }

    fn gone(
        &self,
        worker: WorkerId,
        declared: &BTreeSet<String>,
    ) -> (BTreeSet<String>, BTreeMap<String, i64>) {
        let known = self.args.credentials.get(worker);
        let Some(seen) = known.and_then(|known| known.pulse.models()) else {
            return Default::default();
        };
        let gone = seen.gone(declared, &self.rolls.policy.models);
        let lacking = seen.lacking(&gone);
        (gone, lacking)
    }

    fn reconcile(&mut self, cx: &Context<Message>) {
        self.tell_roster();
        self.expire(cx);
        self.tell_overuses(cx);
        self.forget();
        self.publish();
        self.reconcile = cx.after(RECONCILE_EVERY, Message::ReconcileDue);
    }

    /// Turns away who has waited for approval for too long.
    fn expire(&mut self, cx: &Context<Message>) {
        let now = cx.clock().wall_us();
        let patience = self.args.config.pending_for;
        let by = Cause::system();
        for worker in rules::overdue(&self.rolls, now, patience) {
            let reason = Some("nobody approved it in time".to_owned());
            if let Err(error) = self.decide(worker, (Verdict::Reject, reason), &by, cx) {
                tracing::warn!(%worker, %error, "a worker that waits was not turned away");
            }
        }
    }

    fn standings(&self) -> BTreeMap<&'static str, usize> {
        let mut standings = BTreeMap::from(STANDINGS.map(|standing| (standing, 0)));
        for worker in self.rolls.workers.values() {
            *standings.entry(worker.standing.as_str()).or_default() += 1;
        }
        standings
    }

    fn publish(&self) {
        let cell = self.log.cell().to_string();
        for state in STANDINGS {
            let count = self.standings().get(state).copied().unwrap_or(0);
            metrics::gauge!("fleetward_workers", "cell" => cell.clone(), "state" => state)
                .set(count as f64);
        }
    }

    /// A closed thing leaves memory once the rows contain its last event.
    fn forget(&mut self) {
        let passed = self.log.positions().projected();
        self.rolls.keys.retain(|_, key| key.open() || key.updated > passed);
        let forgotten = &mut self.forgotten;
        self.rolls.workers.retain(|_, worker| {
            let stays = worker.open() || worker.updated > passed;
            if !stays {
                *forgotten = worker.updated.max(*forgotten);
            }
            stays
        });
    }
}

/// Lets requests be checked against what is true of the worker, once it is durable.
fn index(credentials: &Arc<Credentials>, worker: &Worker, draft: &mut Draft<'_>) {
    draft.allow(Effect::Credential {
        index: credentials.clone(),
        worker: worker.id,
        credential: Credential::from(worker),
    });
}
