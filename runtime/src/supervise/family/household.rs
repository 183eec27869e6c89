//! The unit that keeps the children of a family: a crew of one for each key.
//!
//! Told by callers through the family, by the children what becomes of them, and by its own
//! supervisor to leave. Keeps the family's map in step with what is true.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{oneshot, watch};

use super::{ChildSpec, Home, Inner, Standing};
use crate::LifeState;
use crate::life::{self, Birth, End, Handle, Kind, Life, Manner, News};
use crate::node::{Node, UnitKind};
use crate::supervise::Strategy;
use crate::supervise::crew::{Crew, Event, Keeper, Outcome};
use crate::supervise::plan::Plan;

/// The recipe of a household.
pub(super) struct Recipe<K, V>(pub(super) Arc<Inner<K, V>>);

pub(super) enum Message<K> {
    /// By a caller who has put the child into the map.
    Start {
        key: K,
        serial: u64,
        spec: ChildSpec,
        node: Arc<Node>,
        standing: Arc<watch::Sender<Standing>>,
    },
    /// By a caller.
    Stop { key: K, done: oneshot::Sender<()> },
    /// By a caller who has taken the halted child out of the map.
    Forget { key: K, serial: u64 },
    /// By a caller.
    Fail { key: K, reason: String },
    /// By a caller.
    Halt { key: K, reason: String },
    /// By a child or a timer of ours.
    Crew { key: K, serial: u64, event: Event },
    /// By our own supervisor.
    Leave(Manner),
}

struct Household<K, V>(Arc<Inner<K, V>>);

struct State<K: Eq + Hash, V> {
    me: ActorRef<Message<K>>,
    family: Arc<Inner<K, V>>,
    members: HashMap<K, Member>,
    /// Once we are told to leave: how we shall have ended.
    leaving: Option<End>,
    // The last field: the end is reported when the map is empty.
    life: Arc<Life>,
}

struct Member {
    serial: u64,
    crew: Crew,
    node: Arc<Node>,
    standing: Arc<watch::Sender<Standing>>,
    waiting_for_stop: Vec<oneshot::Sender<()>>,
}

impl<K, V> Kind for Recipe<K, V>
where
    K: Eq + Hash + Clone + Display + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn start(&self, birth: Birth) -> Handle {
        let parent = birth.parent.clone();
        let life = Life::begin(birth);
        let ending = life.ending();
        let household = Household(Arc::clone(&self.0));
        let me = life::spawn(household, life, parent);
        Handle::new(ending, move |manner| {
            // Whoever is gone needs to be told nothing.
            let _ = me.send_message(Message::Leave(manner));
        })
    }

    fn node(&self, parent: &Node, name: &Arc<str>) -> Arc<Node> {
        parent.below(name, UnitKind::Family, None)
    }
}

impl<K, V> ractor::Actor for Household<K, V>
where
    K: Eq + Hash + Clone + Display + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Msg = Message<K>;
    // Empty once everything is down.
    type State = Option<State<K, V>>;
    type Arguments = Arc<Life>;

    async fn pre_start(
        &self,
        me: ActorRef<Message<K>>,
        life: Arc<Life>,
    ) -> Result<Self::State, ActorProcessingErr> {
        let family = Arc::clone(&self.0);
        Ok(Some(State { me, family, members: HashMap::new(), leaving: None, life }))
    }

    async fn post_start(
        &self,
        me: ActorRef<Message<K>>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(state) = state {
            let node = Arc::clone(&state.life.node);
            *state.family.home.write() = Some(Home { household: me, node });
            state.life.tell(News::Up);
        }
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<Message<K>>,
        message: Message<K>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(family) = state else { return Ok(()) };
        family.receive(message);
        if family.is_over() {
            *state = None;
            me.stop(None);
        }
        Ok(())
    }

    /// Our children report by themselves; ractor's default would end us when one of them ends.
    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<Message<K>>,
        event: SupervisionEvent,
        _state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        life::bury(event);
        Ok(())
    }
}

impl<K, V> State<K, V>
where
    K: Eq + Hash + Clone + Display + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn receive(&mut self, message: Message<K>) {
        match message {
            // Asked for while the order to leave was in the mailbox: whoever waits finds that the family is gone.
            Message::Start { key, serial, .. } if self.leaving.is_some() => {
                self.disown(&key, serial);
            }
            Message::Start { key, serial, spec, node, standing } => {
                let crew = self.crew(&key, serial, spec, &node);
                let waiting_for_stop = Vec::new();
                let member = Member { serial, crew, node, standing, waiting_for_stop };
                self.members.insert(key.clone(), member);
                self.drive(&key, |member| member.crew.begin());
            }
            Message::Stop { key, done } => self.drive(&key, |member| member.stop(done)),
            Message::Forget { key, serial } => self.forget(&key, serial),
            Message::Fail { key, reason } => self.drive(&key, |member| member.fail(&reason)),
            Message::Halt { key, reason } => {
                self.drive(&key, |member| member.crew.leave(Manner::Kill, End::Halted(reason)))
            }
            Message::Crew { key, serial, event } => self.drive(&key, |member| {
                if member.serial == serial { member.crew.on(event) } else { Vec::new() }
            }),
            Message::Leave(manner) => self.leave(manner, manner.end()),
        }
    }

    fn crew(&self, key: &K, serial: u64, spec: ChildSpec, node: &Arc<Node>) -> Crew {
        let rules = self.family.spec;
        // A crew of one: the strategy is of no consequence.
        let plan = Plan::new(Strategy::OneForOne, rules.budget, rules.exhausted, [spec.restart]);
        let (me, key) = (self.me.clone(), key.clone());
        let keeper = Keeper {
            core: Arc::clone(&self.life.core),
            cell: me.get_cell(),
            backoff: rules.backoff,
            post: Arc::new(move |event| {
                let _ = me.send_message(Message::Crew { key: key.clone(), serial, event });
            }),
        };
        Crew::new(plan, [(spec, Arc::clone(node))], keeper)
    }

    fn drive(&mut self, key: &K, step: impl FnOnce(&mut Member) -> Vec<Outcome>) {
        let Some(member) = self.members.get_mut(key) else { return };
        let outcomes = step(member);
        for outcome in outcomes {
            self.note(key, outcome);
        }
    }

    fn note(&mut self, key: &K, outcome: Outcome) {
        let Some(member) = self.members.get_mut(key) else { return };
        match outcome {
            // A subtree that halted in its first life is not to come any more either.
            Outcome::Up if member.is_halted() => {}
            Outcome::Up => member.stand(Standing::Running),
            Outcome::Setback(error) => member.stand(Standing::Starting(Some(error))),
            Outcome::Halted(reason) | Outcome::Left(End::Halted(reason))
                if self.leaving.is_none() =>
            {
                member.halted(reason);
                self.family.halts.send_modify(|halts| *halts += 1);
            }
            Outcome::Halted(_) | Outcome::Finished => self.forget_member(key),
            Outcome::Left(end @ (End::GaveUp(_) | End::Hopeless(_))) => {
                self.forget_member(key);
                self.leave(Manner::Kill, end);
            }
            Outcome::Left(_) => self.forget_member(key),
        }
    }

    fn leave(&mut self, manner: Manner, end: End) {
        *self.family.home.write() = None;
        self.leaving.get_or_insert(end);
        self.members.retain(|_, member| !member.is_halted());
        for key in self.members.keys().cloned().collect::<Vec<_>>() {
            self.drive(&key, |member| {
                member.stand(Standing::Leaving);
                member.crew.leave(manner, manner.end())
            });
        }
    }

    fn forget(&mut self, key: &K, serial: u64) {
        if self.members.get(key).is_some_and(|member| member.serial == serial) {
            self.members.remove(key);
        }
        self.life.node.forget(serial);
    }

    fn forget_member(&mut self, key: &K) {
        if let Some(member) = self.members.remove(key) {
            self.disown(key, member.serial);
        }
    }

    /// Nobody finds it any more.
    fn disown(&self, key: &K, serial: u64) {
        self.life.node.forget(serial);
        self.family.children.remove_if(key, |_, child| child.serial == serial);
    }

    fn is_over(&self) -> bool {
        match &self.leaving {
            Some(end) if self.members.is_empty() => {
                self.life.will_end(end.clone());
                true
            }
            _ => false,
        }
    }
}

impl<K: Eq + Hash, V> Drop for State<K, V> {
    fn drop(&mut self) {
        // Also when we panic: a new life finds the family empty.
        *self.family.home.write() = None;
        self.family.children.clear();
        self.life.node.forget_all();
    }
}

impl Member {
    fn stand(&self, standing: Standing) {
        // Nobody has to be waiting for it.
        self.standing.send_replace(standing);
    }

    fn stop(&mut self, done: oneshot::Sender<()>) -> Vec<Outcome> {
        if self.is_halted() {
            return Vec::new();
        }
        self.stand(Standing::Leaving);
        self.waiting_for_stop.push(done);
        self.crew.leave(Manner::Drain, End::Normal)
    }

    fn fail(&mut self, reason: &str) -> Vec<Outcome> {
        self.crew.fail(reason);
        Vec::new()
    }

    fn halted(&mut self, reason: String) {
        self.node.set(LifeState::Halted { reason: reason.clone() });
        self.stand(Standing::Halted(reason));
        self.waiting_for_stop.clear();
    }

    fn is_halted(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Halted(_))
    }
}
