//! Children by key, started on demand.
//!
//! Callers look children up in a concurrent map and never wait for the family's own actor, the
//! `household`, which starts, restarts and stops them.

mod household;

use std::fmt::{self, Display};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::RwLock;
use ractor::ActorRef;
use tokio::sync::{oneshot, watch};

use super::{Budget, ChildSpec, Exhausted};
use crate::life::Kind;
use crate::node::Node;
use crate::{Backoff, LifeState, StartError};
use household::Message;

/// What holds for each child of a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FamilySpec {
    /// The restarts allowed, of one child.
    pub budget: Budget,
    /// How long a restart waits; also how often a start is tried again during an outage.
    pub backoff: Backoff,
    /// What happens when a child has spent its budget. Escalation ends the whole family.
    pub exhausted: Exhausted,
}

impl Default for FamilySpec {
    /// The default budget and back-off; a child that has spent its budget halts, because its
    /// siblings have nothing to do with it.
    fn default() -> Self {
        let (budget, backoff) = (Budget::default(), Backoff::default());
        Self { budget, backoff, exhausted: Exhausted::Halt }
    }
}

/// Children by key, started on demand. `V` is what callers hold for a key: an
/// [`Address`](crate::Address), or a struct of several. Cheap to clone.
///
/// It runs where [`ChildSpec::family`] puts it in the tree; before, after and between its lives it
/// is empty and answers [`StartError::Unavailable`].
pub struct Family<K, V> {
    inner: Arc<Inner<K, V>>,
}

type Make<K, V> = Box<dyn Fn(&K) -> (V, ChildSpec) + Send + Sync>;

struct Inner<K, V> {
    spec: FamilySpec,
    make: Make<K, V>,
    children: DashMap<K, Child<V>>,
    // Read-locked while a child is added, so that a life that ends leaves none behind.
    home: RwLock<Option<Home<K>>>,
    serials: AtomicU64,
    /// How often a child was found to stay down.
    halts: watch::Sender<u64>,
}

/// The current life of the family.
struct Home<K> {
    household: ActorRef<Message<K>>,
    node: Arc<Node>,
}

struct Child<V> {
    value: V,
    node: Arc<Node>,
    serial: u64,
    standing: Arc<watch::Sender<Standing>>,
}

/// Where a child stands, for those who wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Not running, and what came in between so far.
    Starting(Option<StartError>),
    Running,
    Halted(String),
    /// On its way out: whoever wants it has to wait and start it anew.
    Leaving,
}

impl<K, V> Family<K, V>
where
    K: Eq + Hash + Clone + Display + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// A family that makes its children with `make`: the value for callers, and the child itself
    /// (its name is replaced by the key). `make` has to be cheap and without effects: of two
    /// callers who want the same key at once, one's is thrown away.
    pub fn new(
        spec: FamilySpec,
        make: impl Fn(&K) -> (V, ChildSpec) + Send + Sync + 'static,
    ) -> Self {
        let (children, home) = (DashMap::new(), RwLock::new(None));
        let (make, serials) = (Box::new(make), AtomicU64::new(0));
        let halts = watch::Sender::new(0);
        Self { inner: Arc::new(Inner { spec, make, children, home, serials, halts }) }
    }

    /// What callers hold for `key`, if the child is present: running, starting, between lives or
    /// halted.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<V> {
        let child = self.inner.children.get(key)?;
        (*child.standing.borrow() != Standing::Leaving).then(|| child.value.clone())
    }

    /// Starts the child if it is absent, and waits until its first life runs. Callers who come at
    /// the same time share one start. A child that is between lives, or that stops by itself right
    /// after, is found all the same; its addresses answer `Unavailable` until it runs again.
    ///
    /// # Errors
    /// What the start came to, as soon as that is known. After `Unavailable` and `Failed` the
    /// family keeps trying; `Halt` is for good, and gives the reason.
    pub async fn get_or_start(&self, key: K) -> Result<V, StartError> {
        loop {
            let (value, mut standing) = self.find_or_start(&key)?;
            let mut first = true;
            loop {
                let now = standing.borrow_and_update().clone();
                match now {
                    Standing::Running => return Ok(value),
                    Standing::Halted(reason) => return Err(StartError::Halt(reason)),
                    // An outage lasts: nobody has to find that out again for themselves.
                    Standing::Starting(Some(error @ StartError::Unavailable(_))) => {
                        return Err(error);
                    }
                    Standing::Starting(Some(error)) if !first => return Err(error),
                    Standing::Starting(_) | Standing::Leaving => {}
                }
                first = false;
                if standing.changed().await.is_err() {
                    // It is gone; if the family is too, finding it says so.
                    break;
                }
            }
        }
    }

    /// Starts the child if it is absent, and does not wait. One on its way out is started anew when it has left.
    pub fn start(&self, key: K) {
        // Without a family there is nothing to start, and nobody who waits to be told.
        let Ok((_, standing)) = self.find_or_start(&key) else { return };
        if *standing.borrow() == Standing::Leaving {
            let family = self.clone();
            tokio::spawn(async move {
                // Nobody waits to be told.
                let _ = family.get_or_start(key).await;
            });
        }
    }

    /// Lets the child work off its queue, ends it and forgets it. Returns when that is done. A
    /// halted child stays halted, see [`remove`](Self::remove).
    pub async fn stop(&self, key: &K) {
        let (done, stopped) = oneshot::channel();
        self.tell(Message::Stop { key: key.clone(), done });
        // Dropped unanswered when the family itself ended, which stops everything in it.
        let _ = stopped.await;
    }

    /// The same, without waiting for it: a child asks for its own end. From when the family heard of it nobody finds the
    /// child any more; whoever wants it gets its next life, once this one is over.
    pub fn dismiss(&self, key: &K) {
        let (done, _) = oneshot::channel();
        self.tell(Message::Stop { key: key.clone(), done });
    }

    /// Forgets a halted child, so that it can be started again. Tells whether there was one.
    pub fn remove(&self, key: &K) -> bool {
        let halted =
            |_: &K, child: &Child<V>| matches!(*child.standing.borrow(), Standing::Halted(_));
        let Some((key, child)) = self.inner.children.remove_if(key, halted) else { return false };
        self.tell(Message::Forget { key, serial: child.serial });
        true
    }

    /// Ends the child's life as a crash: counted against its budget, and restarted.
    pub fn fail(&self, key: &K, reason: &str) {
        self.tell(Message::Fail { key: key.clone(), reason: reason.to_owned() });
    }

    /// Ends the child's life and keeps it down, with this reason.
    pub fn halt(&self, key: &K, reason: &str) {
        self.tell(Message::Halt { key: key.clone(), reason: reason.to_owned() });
    }

    /// Where the child stands, if it is present.
    #[must_use]
    pub fn state(&self, key: &K) -> Option<LifeState> {
        self.inner.children.get(key).map(|child| child.node.state())
    }

    /// The keys of the children that are present, in no order.
    #[must_use]
    pub fn keys(&self) -> Vec<K> {
        let present = self.inner.children.iter();
        let staying = present.filter(|child| *child.standing.borrow() != Standing::Leaving);
        staying.map(|child| child.key().clone()).collect()
    }

    /// The children that stay down, and why, in no order.
    #[must_use]
    pub fn halted(&self) -> Vec<(K, String)> {
        let down = |standing: &Standing| match standing {
            Standing::Halted(reason) => Some(reason.clone()),
            Standing::Starting(_) | Standing::Running | Standing::Leaving => None,
        };
        let present = self.inner.children.iter();
        let halted = present.filter_map(|child| {
            let reason = down(&child.standing.borrow())?;
            Some((child.key().clone(), reason))
        });
        halted.collect()
    }

    /// Changes each time that a child halts; [`halted`](Self::halted) names it by then.
    #[must_use]
    pub fn halts(&self) -> watch::Receiver<u64> {
        self.inner.halts.subscribe()
    }

    pub(super) fn kind(&self) -> Arc<dyn Kind> {
        Arc::new(household::Recipe(Arc::clone(&self.inner)))
    }

    fn tell(&self, message: Message<K>) {
        if let Some(home) = &*self.inner.home.read() {
            // A household that is gone has taken all children with it.
            let _ = home.household.send_message(message);
        }
    }

    fn find_or_start(&self, key: &K) -> Result<(V, watch::Receiver<Standing>), StartError> {
        if let Some(child) = self.inner.children.get(key) {
            return Ok((child.value.clone(), child.standing.subscribe()));
        }
        // Before anything is locked: `make` is not ours and might ask the family something.
        let (value, spec) = (self.inner.make)(key);
        let home = self.inner.home.read();
        let absent = || StartError::Unavailable("the family is not running".to_owned());
        let Home { household, node } = home.as_ref().ok_or_else(absent)?;
        let vacant = match self.inner.children.entry(key.clone()) {
            Entry::Occupied(child) => {
                let child = child.get();
                return Ok((child.value.clone(), child.standing.subscribe()));
            }
            Entry::Vacant(vacant) => vacant,
        };
        let serial = self.inner.serials.fetch_add(1, Relaxed);
        let node = node.child(serial, || spec.kind.node(node, &key.to_string().into()));
        let standing = Arc::new(watch::Sender::new(Standing::Starting(None)));
        let found = (value.clone(), standing.subscribe());
        let start = Message::Start {
            key: key.clone(),
            serial,
            spec,
            node: Arc::clone(&node),
            standing: Arc::clone(&standing),
        };
        // Under the lock of the map, so that nobody's `Stop` overtakes it.
        let added = vacant.insert(Child { value, node, serial, standing });
        household.send_message(start).map_err(|_| absent())?;
        drop(added);
        Ok(found)
    }
}

impl<K, V> Clone for Family<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K, V> fmt::Debug for Family<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("spec", &self.inner.spec).finish_non_exhaustive()
    }
}
