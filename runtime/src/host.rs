//! What carries an actor of ours inside an actor of ractor.
//!
//! Supervisors start it; it starts, feeds and ends the actor. Panics are caught here and not left
//! to ractor, because the reason is needed and a failed start would otherwise tell nobody.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use ractor::{ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::Instrument as _;

use crate::address::Binding;
use crate::faults::Fault;
use crate::life::{self, Birth, End, Handle, Kind, Life, Manner, News};
use crate::mailbox::{Envelope, Ticket};
use crate::node::{Node, UnitKind};
use crate::panics;
use crate::{Actor, Address, Context, Crash, StartError};

/// The recipe of an actor: everything its lives have in common.
pub(crate) struct Recipe<A: Actor> {
    pub(crate) address: Address<A::Message>,
    pub(crate) args: A::Args,
}

impl<A: Actor> Kind for Recipe<A> {
    fn start(&self, birth: Birth) -> Handle {
        let parent = birth.parent.clone();
        let life = Life::begin(birth);
        let (ending, address) = (life.ending(), self.address.clone());
        let cradle = Cradle { args: self.args.clone(), address, parent, life };
        // Not linked: ractor would do that after the start, and lets go of an actor that was told
        // to drain by then.
        let mailbox = life::spawn(Host::<A>(PhantomData), cradle, None);
        Handle::new(ending, move |manner| match manner {
            Manner::Drain => drop(mailbox.drain()),
            Manner::Cut | Manner::Kill => mailbox.kill(),
        })
    }

    fn node(&self, parent: &Node, name: &Arc<str>) -> Arc<Node> {
        parent.below(name, UnitKind::Actor, Some(Arc::clone(self.address.gauge())))
    }
}

struct Host<A>(PhantomData<fn() -> A>);

/// What a life starts from.
struct Cradle<A: Actor> {
    args: A::Args,
    address: Address<A::Message>,
    parent: Option<ActorCell>,
    life: Arc<Life>,
}

/// A life in progress. The order of the fields is the order in which it ends: first nobody can send
/// to it, then the actor goes, then what it spawned.
struct Living<A: Actor> {
    _binding: Binding<A::Message>,
    actor: A,
    cx: Context<A::Message>,
    life: Arc<Life>,
}

impl<A: Actor> ractor::Actor for Host<A> {
    type Msg = Envelope<A::Message>;
    // Empty once the life was ended in good order.
    type State = Option<Living<A>>;
    type Arguments = Cradle<A>;

    async fn pre_start(
        &self,
        me: ActorRef<Self::Msg>,
        cradle: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let Cradle { args, address, parent, life } = cradle;
        if let Some(parent) = parent {
            me.link(parent);
            if me.try_get_supervisor().is_none() {
                life.will_end(End::Killed);
                return Err("the supervisor is gone".into());
            }
        }
        let mut cx = Context::new(address.clone(), me.clone(), Arc::clone(&life));
        let start = A::start(args, &mut cx).instrument(life.span.clone());
        let started = AssertUnwindSafe(start).catch_unwind().await;
        let panicked = |panic: Box<_>| Err(StartError::Failed(panics::reason(&*panic)));
        match started.unwrap_or_else(panicked) {
            Ok(actor) => {
                let _binding = address.bind(life.number, me);
                life.tell(News::Up);
                Ok(Some(Living { _binding, actor, cx, life }))
            }
            Err(error) => {
                life.will_end(error.clone().into());
                Err(error.into())
            }
        }
    }

    async fn handle(
        &self,
        _me: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let living = state.as_mut().expect("no message is handled after the last");
        living.receive(envelope).map_err(|crash| {
            living.life.will_end(End::Crashed(crash.to_string()));
            crash.into()
        })
    }

    async fn post_stop(
        &self,
        _me: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(living) = state.take() {
            living.stop();
        }
        Ok(())
    }

    /// ractor's default would stop us when a child stops; we have no ractor children.
    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<Self::Msg>,
        _event: SupervisionEvent,
        _state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

impl<A: Actor> Living<A> {
    fn receive(&mut self, envelope: Envelope<A::Message>) -> Result<(), Crash> {
        match envelope {
            Envelope::Message { message, ticket } => self.deliver(message, ticket),
            Envelope::Inspect(reply) => {
                reply.send(guarded(|| Ok(self.actor.inspect()))?);
                Ok(())
            }
        }
    }

    fn deliver(&mut self, message: A::Message, ticket: Ticket) -> Result<(), Crash> {
        ticket.begin();
        let Self { actor, cx, life, .. } = self;
        let _inside = life.span.enter();
        guarded(|| {
            let strike = life.core.faults.strike(life.node.path(), || A::label(&message));
            match strike {
                Some(Fault::Drop) => return Ok(()),
                Some(Fault::Panic) => panic!("fault: panic on {}", A::label(&message)),
                None => actor.handle(message, cx)?,
            }
            ticket.finish();
            Ok(())
        })
    }

    fn stop(mut self) {
        let _inside = self.life.span.clone().entered();
        let stopped = guarded(|| {
            self.actor.stopped(&mut self.cx);
            Ok(())
        });
        self.life.will_end(match stopped {
            Ok(()) => End::Normal,
            Err(crash) => End::Crashed(crash.to_string()),
        });
    }
}

/// Runs the actor's own code; a panic in it is a crash like any other.
fn guarded<T>(code: impl FnOnce() -> Result<T, Crash>) -> Result<T, Crash> {
    // Sound to resume from: whatever the panic left half-done is dropped with the life.
    catch_unwind(AssertUnwindSafe(code))
        .unwrap_or_else(|panic| Err(Crash::new(format!("panic: {}", panics::reason(&*panic)))))
}
