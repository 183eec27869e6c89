//! The unit that keeps a fixed list of children.
//!
//! Told by its children what becomes of them and by its own supervisor to leave; tells the latter
//! when all children run, and how it ended. It decides nothing: that is `plan`.

use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef, SupervisionEvent};

use super::SupervisorSpec;
use super::crew::{Crew, Event, Keeper, Outcome};
use super::plan::Plan;
use crate::life::{self, Birth, Handle, Kind, Life, Manner, News};
use crate::node::{Node, UnitKind};

/// The recipe of a supervisor.
pub(crate) struct Recipe(pub(crate) Arc<SupervisorSpec>);

enum Message {
    /// By a child or a timer of ours.
    Crew(Event),
    /// By our own supervisor.
    Leave(Manner),
}

struct Supervisor;

struct State {
    crew: Crew,
    life: Arc<Life>,
}

impl Kind for Recipe {
    fn start(&self, birth: Birth) -> Handle {
        let parent = birth.parent.clone();
        let life = Life::begin(birth);
        let ending = life.ending();
        let me = life::spawn(Supervisor, (Arc::clone(&self.0), life), parent);
        // Never ractor's kill: the children have to be down before this life ends.
        Handle::new(ending, move |manner| tell(&me, Message::Leave(manner)))
    }

    fn node(&self, parent: &Node, name: &Arc<str>) -> Arc<Node> {
        parent.below(name, UnitKind::Supervisor, None)
    }
}

impl ractor::Actor for Supervisor {
    type Msg = Message;
    // Empty once everything is down.
    type State = Option<State>;
    type Arguments = (Arc<SupervisorSpec>, Arc<Life>);

    async fn pre_start(
        &self,
        me: ActorRef<Message>,
        (spec, life): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(Some(State { crew: assemble(&me, &spec, &life), life }))
    }

    async fn post_start(
        &self,
        me: ActorRef<Message>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        drive(&me, state, Crew::begin);
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        message: Message,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Crew(event) => drive(&me, state, |crew| crew.on(event)),
            Message::Leave(manner) => drive(&me, state, |crew| crew.leave(manner, manner.end())),
        }
        Ok(())
    }

    /// Our children report by themselves; ractor's default would end us when one of them ends.
    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<Message>,
        event: SupervisionEvent,
        _state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        life::bury(event);
        Ok(())
    }
}

fn assemble(me: &ActorRef<Message>, spec: &SupervisorSpec, life: &Life) -> Crew {
    let restarts = spec.children.iter().map(|child| child.restart);
    let plan = Plan::new(spec.strategy, spec.budget, spec.exhausted, restarts);
    let children = spec.children.iter().zip(0..).map(|(child, place)| {
        let node = life.node.child(place, || child.kind.node(&life.node, &child.name));
        (child.clone(), node)
    });
    let (cell, core, backoff) = (me.get_cell(), Arc::clone(&life.core), spec.backoff);
    let me = me.clone();
    let post = Arc::new(move |event| tell(&me, Message::Crew(event)));
    Crew::new(plan, children, Keeper { core, cell, backoff, post })
}

fn drive(
    me: &ActorRef<Message>,
    state: &mut Option<State>,
    step: impl FnOnce(&mut Crew) -> Vec<Outcome>,
) {
    let Some(State { crew, life }) = state else { return };
    let mut left = None;
    for outcome in step(crew) {
        match outcome {
            Outcome::Up => life.tell(News::Up),
            Outcome::Setback(error) => life.tell(News::Setback(error)),
            // The rest of the children goes on without it.
            Outcome::Finished | Outcome::Halted(_) => {}
            Outcome::Left(end) => left = Some(end),
        }
    }
    if let Some(end) = left {
        life.will_end(end);
        *state = None;
        me.stop(None);
    }
}

/// Whoever is gone needs to be told nothing.
fn tell(me: &ActorRef<Message>, message: Message) {
    let _ = me.send_message(message);
}
