//! One life of a unit: how it is born, how it ends, and who is told.
//!
//! A supervisor hands out a [`Birth`]; the unit keeps the [`Life`] made of it in everything that is
//! part of that life. The end is reported when the last of it is dropped, however that came about,
//! so two lives of one unit never overlap.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use ractor::{ActorCell, ActorRef, ActorRuntime, SupervisionEvent};
use tokio_util::sync::CancellationToken;

use crate::StartError;
use crate::core::Core;
use crate::node::Node;

/// How a life ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// In good order: drained, or by its own wish.
    Normal,
    /// By order of its supervisor.
    Killed,
    /// By a panic, an error from a handler, a failed start or an order to count as such.
    Crashed(String),
    /// A supervisor whose budget was spent; what happened is told by the crashes below it.
    GaveUp(String),
    /// It could not start, through no fault of its own.
    Unavailable(String),
    /// Starting again cannot help, and it is for somebody above to stay down.
    Hopeless(String),
    /// The unit stays down, and nobody above is concerned.
    Halted(String),
}

/// How a unit is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    /// Work off the queue, then stop.
    Drain,
    /// Stop now, because a deadline for draining has passed.
    Cut,
    /// Stop now.
    Kill,
}

/// What a life tells its supervisor.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// It runs.
    Up,
    /// It does not run yet, and this is why.
    Setback(StartError),
    /// It is over: the last thing it tells.
    Ended(End),
}

pub(crate) type Report = Box<dyn Fn(News) + Send + Sync>;

/// Everything a unit needs in order to begin a life.
pub(crate) struct Birth {
    pub(crate) core: Arc<Core>,
    pub(crate) node: Arc<Node>,
    /// The ractor actor to link to; only the root has none.
    pub(crate) parent: Option<ActorCell>,
    pub(crate) report: Report,
}

/// A kind of unit that can be given lives.
pub(crate) trait Kind: Send + Sync {
    /// Begins a life without waiting for anything.
    fn start(&self, birth: Birth) -> Handle;
    /// A node for it in the tree that observers see.
    fn node(&self, parent: &Node, name: &Arc<str>) -> Arc<Node>;
}

/// How a supervisor reaches the life of a child.
pub(crate) struct Handle {
    ending: Ending,
    order: Box<dyn Fn(Manner) + Send + Sync>,
}

/// What an ending will have been: the first to say so is right.
pub(crate) type Ending = Arc<Mutex<Option<End>>>;

/// A life, shared by everything that is part of it.
pub(crate) struct Life {
    pub(crate) core: Arc<Core>,
    pub(crate) node: Arc<Node>,
    pub(crate) number: u64,
    /// What everything that is logged in this life is logged in.
    pub(crate) span: tracing::Span,
    /// Cancelled when the actor is gone, so that what it spawned goes too.
    pub(crate) over: CancellationToken,
    ending: Ending,
    report: Report,
}

impl Life {
    pub(crate) fn begin(birth: Birth) -> Arc<Self> {
        let Birth { core, node, report, .. } = birth;
        let number = node.lives();
        core.lives.begun();
        tracing::debug!(actor = node.path(), life = number, "starting");
        let span = tracing::info_span!(parent: None, "actor", path = node.path(), life = number);
        let (over, ending) = (CancellationToken::new(), Ending::default());
        Arc::new(Self { core, node, number, span, over, ending, report })
    }

    /// Settles how this life will have ended, unless that is settled already.
    pub(crate) fn will_end(&self, end: End) {
        settle(&self.ending, end);
    }

    pub(crate) fn tell(&self, news: News) {
        (self.report)(news);
    }

    pub(crate) fn ending(&self) -> Ending {
        Arc::clone(&self.ending)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let unsaid = || End::Crashed("ended without a reason".to_owned());
        let end = self.ending.lock().take().unwrap_or_else(unsaid);
        let (path, life) = (self.node.path(), self.number);
        match &end {
            End::Normal | End::Killed => tracing::debug!(actor = path, life, "ended"),
            End::Unavailable(reason) => tracing::warn!(actor = path, life, %reason, "unavailable"),
            End::Crashed(reason) | End::Hopeless(reason) | End::GaveUp(reason) => {
                tracing::error!(actor = path, life, %reason, "crashed");
            }
            End::Halted(reason) => tracing::error!(actor = path, life, %reason, "halted"),
        }
        self.core.lives.ended(path, &end);
        self.tell(News::Ended(end));
    }
}

impl Handle {
    pub(crate) fn new(ending: Ending, order: impl Fn(Manner) + Send + Sync + 'static) -> Self {
        Self { ending, order: Box::new(order) }
    }

    /// Lets it work off its queue. It may still crash over that, so the end is not settled.
    pub(crate) fn drain(&self) {
        (self.order)(Manner::Drain);
    }

    /// Stops it now, to be reported as `end`.
    pub(crate) fn kill(&self, manner: Manner, end: End) {
        settle(&self.ending, end);
        (self.order)(manner);
    }
}

impl End {
    /// What somebody who waits for the start is told.
    pub(crate) fn as_start_error(&self) -> StartError {
        match self {
            Self::Unavailable(reason) => StartError::Unavailable(reason.clone()),
            Self::Hopeless(reason) | Self::Halted(reason) => StartError::Halt(reason.clone()),
            Self::Crashed(reason) | Self::GaveUp(reason) => StartError::Failed(reason.clone()),
            Self::Normal | Self::Killed => StartError::Unavailable("stopped".to_owned()),
        }
    }
}

impl Manner {
    /// How somebody ended who was told to end like this.
    pub(crate) fn end(self) -> End {
        match self {
            Self::Drain => End::Normal,
            Self::Cut | Self::Kill => End::Killed,
        }
    }
}

impl From<StartError> for End {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Unavailable(reason) => Self::Unavailable(reason),
            StartError::Failed(reason) => Self::Crashed(format!("failed to start: {reason}")),
            StartError::Halt(reason) => Self::Hopeless(reason),
        }
    }
}

fn settle(ending: &Ending, end: End) {
    ending.lock().get_or_insert(end);
}

/// Spawns a ractor actor without waiting for its start, which reports by the life in `args`.
pub(crate) fn spawn<A: ractor::Actor>(
    actor: A,
    args: A::Arguments,
    parent: Option<ActorCell>,
) -> ActorRef<A::Msg> {
    let spawned = match parent {
        Some(parent) => ActorRuntime::spawn_linked_instant(None, actor, args, parent),
        None => ActorRuntime::spawn_instant(None, actor, args),
    };
    // Only a name that is taken makes it fail, and ours have none.
    spawned.expect("an actor without a name can always be spawned").0
}

/// Lets go of what ractor hands the parent of an actor that ended. The state of one that was killed
/// is in it, and a panic while that is dropped is not to be the parent's.
pub(crate) fn bury(event: SupervisionEvent) {
    if catch_unwind(AssertUnwindSafe(|| drop(event))).is_err() {
        tracing::error!("the state of a killed actor panicked while it was dropped");
    }
}
