//! A plan and the units it is about: carries out the plan's orders on real children.
//!
//! Supervisors and families keep crews, feed them what happened, and act on the outcomes.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorCell;
use tokio::time::Instant;

use super::ChildSpec;
use super::plan::{Order, Plan};
use crate::core::Core;
use crate::life::{Birth, End, Handle, Manner, News};
use crate::node::{Node, UnitKind};
use crate::{Backoff, LifeState, StartError};

/// Something that concerns one child. It comes back to the crew through its keeper's mailbox.
#[derive(Debug)]
pub(crate) struct Event {
    child: usize,
    /// What it is about is only true of this life.
    life: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    News(News),
    BackoffPassed,
    DrainOver,
}

/// What the keeper of a crew has to know.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All children run, for the first time.
    Up,
    /// They do not yet, and this is why.
    Setback(StartError),
    /// This child is not to run any more.
    Finished,
    /// This child stays down.
    Halted(String),
    /// Everything is down, and the keeper is to end like this.
    Left(End),
}

/// Where a crew sends its events.
pub(crate) type Post = Arc<dyn Fn(Event) + Send + Sync>;

/// What a crew is made with, apart from its children.
pub(crate) struct Keeper {
    pub(crate) core: Arc<Core>,
    /// The ractor actor that the children are linked to.
    pub(crate) cell: ActorCell,
    pub(crate) backoff: Backoff,
    pub(crate) post: Post,
}

pub(crate) struct Crew {
    plan: Plan,
    children: Vec<Child>,
    keeper: Keeper,
}

struct Child {
    spec: ChildSpec,
    node: Arc<Node>,
    handle: Option<Handle>,
}

impl Crew {
    pub(crate) fn new(
        plan: Plan,
        children: impl IntoIterator<Item = (ChildSpec, Arc<Node>)>,
        keeper: Keeper,
    ) -> Self {
        let child = |(spec, node)| Child { spec, node, handle: None };
        Self { plan, children: children.into_iter().map(child).collect(), keeper }
    }

    pub(crate) fn begin(&mut self) -> Vec<Outcome> {
        self.plan.begin();
        self.obey()
    }

    pub(crate) fn on(&mut self, event: Event) -> Vec<Outcome> {
        let Event { child, life, what } = event;
        if self.children[child].node.lives() != life {
            return Vec::new();
        }
        let mut outcomes = Vec::new();
        match what {
            What::News(News::Up) => self.up(child),
            What::News(News::Setback(error)) => self.setback(error, &mut outcomes),
            What::News(News::Ended(end)) => self.ended(child, end, &mut outcomes),
            What::BackoffPassed => self.plan.retry(child),
            What::DrainOver => self.stop(child, Manner::Cut),
        }
        outcomes.append(&mut self.obey());
        outcomes
    }

    /// Brings everything down and ends as `end`; see [`Outcome::Left`].
    pub(crate) fn leave(&mut self, manner: Manner, end: End) -> Vec<Outcome> {
        self.plan.leave(manner, end);
        self.obey()
    }

    /// Ends the lives that there are as crashes.
    pub(crate) fn fail(&self, reason: &str) {
        for handle in self.children.iter().filter_map(|child| child.handle.as_ref()) {
            handle.kill(Manner::Kill, End::Crashed(reason.to_owned()));
        }
    }

    fn up(&mut self, child: usize) {
        let node = &self.children[child].node;
        node.set(LifeState::Running);
        tracing::debug!(actor = node.path(), life = node.lives(), "running");
        self.plan.up(child);
    }

    fn ended(&mut self, child: usize, end: End, outcomes: &mut Vec<Outcome>) {
        let state = &mut self.children[child];
        state.handle = None;
        state.node.set(LifeState::Stopped);
        if end != End::Normal {
            self.setback(end.as_start_error(), outcomes);
        }
        self.plan.ended(child, end, Instant::now());
    }

    fn setback(&self, error: StartError, outcomes: &mut Vec<Outcome>) {
        if !self.plan.was_up() {
            outcomes.push(Outcome::Setback(error));
        }
    }

    fn obey(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some(order) = self.plan.next() {
            match order {
                Order::Start(child) => self.start(child),
                Order::Stop(child, manner) => self.stop(child, manner),
                Order::Wait { child, attempt, reason } => self.wait(child, attempt, reason),
                Order::Finished(_) => outcomes.push(Outcome::Finished),
                Order::Halted(child, reason) => {
                    let reason_seen = reason.clone();
                    self.children[child].node.set(LifeState::Halted { reason: reason_seen });
                    outcomes.push(Outcome::Halted(reason));
                }
                Order::Up => outcomes.push(Outcome::Up),
                Order::Leave(end) => outcomes.push(Outcome::Left(end)),
            }
        }
        outcomes
    }

    fn start(&mut self, child: usize) {
        let Child { spec, node, handle } = &mut self.children[child];
        if node.lives() > 0 {
            let class = node.class().to_string();
            metrics::counter!("fleetward_restarts_total", "actor" => class).increment(1);
            tracing::warn!(actor = node.path(), life = node.lives() + 1, "restarting");
        }
        node.starting();
        let (life, post) = (node.lives(), Arc::clone(&self.keeper.post));
        *handle = Some(spec.kind.start(Birth {
            core: Arc::clone(&self.keeper.core),
            node: Arc::clone(node),
            parent: Some(self.keeper.cell.clone()),
            report: Box::new(move |news| post(Event { child, life, what: What::News(news) })),
        }));
    }

    fn stop(&mut self, child: usize, manner: Manner) {
        let Child { spec, node, handle } = &self.children[child];
        let Some(handle) = handle else { return };
        let is_actor = node.kind() == UnitKind::Actor;
        // An actor that does not run yet has nothing to work off.
        let starting = is_actor && node.state() == LifeState::Starting;
        match manner {
            Manner::Drain if !starting => {
                handle.drain();
                if let Some(limit) = spec.drain_within {
                    self.later(limit, child, What::DrainOver);
                }
            }
            Manner::Drain => handle.kill(Manner::Kill, End::Killed),
            Manner::Cut | Manner::Kill => {
                if manner == Manner::Cut && is_actor && node.waiting() > 0 {
                    self.keeper.core.lives.cut_off(node.path());
                }
                handle.kill(manner, End::Killed);
            }
        }
    }

    fn wait(&mut self, child: usize, attempt: u32, reason: String) {
        let delay = self.keeper.backoff.delay(attempt, &mut rand::rng());
        self.children[child].node.set(LifeState::Waiting { reason });
        self.later(delay, child, What::BackoffPassed);
    }

    fn later(&self, delay: Duration, child: usize, what: What) {
        let event = Event { child, life: self.children[child].node.lives(), what };
        let post = Arc::clone(&self.keeper.post);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            post(event);
        });
    }
}
