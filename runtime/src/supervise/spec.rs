//! What a tree shall look like: plain descriptions, written by the program, read by supervisors.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::supervisor;
use super::{Budget, Family};
use crate::host::Recipe;
use crate::life::Kind;
use crate::{Actor, Address, Backoff};

/// How long an actor may work off its queue in a drain unless its [`ChildSpec`] says otherwise.
/// Handlers do not wait, so seconds are many messages; and a person waits for the shutdown.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// Who else is restarted when a child crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Nobody: the children know nothing of each other.
    OneForOne,
    /// Those listed after it: each child builds on those before it.
    RestForOne,
    /// Everybody: the children build on each other.
    OneForAll,
}

/// When a child is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Whenever its life ends.
    Permanent,
    /// When its life ended in a crash, but not when it stopped by itself.
    Transient,
    /// Never. Its crash spends no budget and concerns no sibling.
    Temporary,
}

/// What happens when a budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The unit counts as crashed, and the one above deals with it.
    Escalate,
    /// The unit stays down, visible with its reason. Its siblings notice nothing, and nothing above
    /// hears of it.
    Halt,
}

/// One child, of any kind.
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Arc<dyn Kind>,
    pub(crate) restart: Restart,
    pub(crate) drain_within: Option<Duration>,
}

impl ChildSpec {
    /// An actor that `address` will lead to.
    pub fn actor<A: Actor>(
        name: impl Into<Arc<str>>,
        address: Address<A::Message>,
        args: A::Args,
    ) -> Self {
        let kind = Arc::new(Recipe::<A> { address, args });
        Self { drain_within: Some(DRAIN_WITHIN), ..Self::new(name, kind) }
    }

    /// A supervisor with children of its own.
    pub fn supervisor(name: impl Into<Arc<str>>, spec: SupervisorSpec) -> Self {
        Self::new(name, Arc::new(supervisor::Recipe(Arc::new(spec))))
    }

    /// A family. A child of a family that is started again finds it empty.
    pub fn family<K, V>(name: impl Into<Arc<str>>, family: &Family<K, V>) -> Self
    where
        K: Eq + Hash + Clone + fmt::Display + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        Self::new(name, family.kind())
    }

    fn new(name: impl Into<Arc<str>>, kind: Arc<dyn Kind>) -> Self {
        Self { name: name.into(), kind, restart: Restart::Permanent, drain_within: None }
    }

    /// When it is started again; [`Restart::Permanent`] unless said otherwise.
    #[must_use]
    pub fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    /// How long it may take to drain; then it is stopped hard. 5 s for an actor unless said
    /// otherwise; supervisors and families take as long as their children.
    #[must_use]
    pub fn drain_within(self, limit: Duration) -> Self {
        Self { drain_within: Some(limit), ..self }
    }
}

/// A supervisor: its children, top to bottom, and what it does when they crash.
#[derive(Debug, Clone)]
pub struct SupervisorSpec {
    /// Who else is restarted with a child.
    pub strategy: Strategy,
    /// The restarts allowed, of all children together.
    pub budget: Budget,
    /// How long a restart waits; also how often a start is tried again during an outage.
    pub backoff: Backoff,
    /// What happens when the budget is spent.
    pub exhausted: Exhausted,
    /// In the order in which they start.
    pub children: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// No children yet, the default budget and back-off, and escalation.
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        let (budget, backoff) = (Budget::default(), Backoff::default());
        Self { strategy, budget, backoff, exhausted: Exhausted::Escalate, children: Vec::new() }
    }

    /// Sets the budget.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// Sets the back-off.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Sets what happens when the budget is spent.
    #[must_use]
    pub fn exhausted(self, exhausted: Exhausted) -> Self {
        Self { exhausted, ..self }
    }

    /// Adds a child below those there are.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Adds children, to be started after those added before and in this order.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = ChildSpec>) -> Self {
        self.children.extend(children);
        self
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("restart", &self.restart)
            .field("drain_within", &self.drain_within)
            .finish_non_exhaustive()
    }
}
