//! A running tree: started, observed and drained as a whole.
//!
//! The program's composition root holds it; it tells the root supervisor.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::core::{Core, CrashRecord, Lives};
use crate::life::{Birth, End, Handle, Manner, News};
use crate::node::Node;
use crate::panics;
use crate::{ChildSpec, Clock, Faults, LifeState, Snapshot, StartError, SupervisorSpec};

/// How long after a hard stop the end may take. Nothing is waited for any more then but handlers
/// that run at that moment.
const HARD_STOP: Duration = Duration::from_secs(1);

/// What a system is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The time that actors see.
    pub clock: Clock,
    /// Where tests make things go wrong.
    pub faults: Faults,
}

impl Default for Options {
    /// The real clock, and no faults.
    fn default() -> Self {
        Self { clock: Clock::real(), faults: Faults::default() }
    }
}

/// A handle to a running tree. Cheap to clone; the tree runs on when the last handle is dropped.
#[derive(Clone)]
pub struct System {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    root: Arc<Node>,
    handle: Handle,
    standing: watch::Receiver<Standing>,
    background: Mutex<JoinSet<()>>,
}

#[derive(Debug, Clone)]
enum Standing {
    Starting,
    Running,
    Ended(End),
}

/// How a drain went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// Actors that were stopped with messages still in their mailbox, in the order of stopping.
    pub cut_off: Vec<String>,
    /// Actors that did not even end when they were stopped hard.
    pub alive: Vec<String>,
}

impl Drained {
    /// Whether every actor worked off its queue and ended.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cut_off.is_empty() && self.alive.is_empty()
    }
}

impl System {
    /// Starts a tree and returns when every child of the first start runs.
    ///
    /// An outage is waited out, however long it takes; put a time-out around it to give up.
    /// Dropping the future before it is ready stops what was started.
    ///
    /// # Errors
    /// [`StartError::Failed`] or [`StartError::Halt`] when the root gave up.
    pub async fn start(
        name: &str,
        spec: SupervisorSpec,
        options: Options,
    ) -> Result<Self, StartError> {
        let Options { clock, faults } = options;
        let core = Arc::new(Core { clock, faults, lives: Lives::default() });
        let root = Node::root(name);
        root.starting();
        let (tell, standing) = watch::channel(Standing::Starting);
        let (node, seen) = (Arc::clone(&root), Arc::clone(&root));
        let report = Box::new(move |news| note(&seen, &tell, news));
        let birth = Birth { core: Arc::clone(&core), node, parent: None, report };
        let handle = ChildSpec::supervisor(name, spec).kind.start(birth);
        let background = Mutex::new(JoinSet::new());
        let inner = Arc::new(Inner { core, root, handle, standing, background });
        let abandoned = StopOnDrop(Some(&inner));
        inner.started().await?;
        abandoned.disarm();
        Ok(Self { inner })
    }

    /// Ends the tree bottom to top: each child works off its queue within its own deadline and is
    /// then stopped hard; `deadline` bounds it all. Then background tasks are aborted.
    ///
    /// Deadlines run on tokio's clock, not on the system's.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        let until = Instant::now() + deadline;
        self.inner.handle.drain();
        if timeout_at(until, self.ended()).await.is_err() {
            self.inner.handle.kill(Manner::Cut, End::Killed);
            // What does not end now is told below.
            let _ = timeout_at(Instant::now() + HARD_STOP, self.ended()).await;
        }
        let background = std::mem::take(&mut *self.inner.background.lock());
        shut_down(background).await;
        Drained { cut_off: self.inner.core.lives.all_cut_off(), alive: self.still_alive() }
    }

    /// Waits until the root has given up or was drained, and tells why.
    pub async fn ended(&self) -> String {
        let mut standing = self.inner.standing.clone();
        let ended = standing.wait_for(|standing| matches!(standing, Standing::Ended(_))).await;
        match ended.as_deref() {
            Ok(Standing::Ended(End::Normal)) => "drained".to_owned(),
            Ok(Standing::Ended(
                End::Crashed(reason)
                | End::GaveUp(reason)
                | End::Unavailable(reason)
                | End::Hopeless(reason)
                | End::Halted(reason),
            )) => reason.clone(),
            _ => "stopped".to_owned(),
        }
    }

    /// The whole tree, depth first. Sends no messages and waits for nobody.
    #[must_use]
    pub fn observe(&self) -> Vec<Snapshot> {
        let mut snapshots = Vec::new();
        self.inner.root.observe(&mut snapshots);
        snapshots
    }

    /// The crashes that are remembered, oldest first: the last few hundred.
    #[must_use]
    pub fn crashes(&self) -> Vec<CrashRecord> {
        self.inner.core.lives.crashes()
    }

    /// How many lives there are at this moment, supervisors included.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.inner.core.lives.alive()
    }

    /// The clock that it was started with.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.core.clock
    }

    /// The faults that it was started with.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.inner.core.faults
    }

    /// Runs something beside the tree that is no actor, such as an accept loop. It is aborted at
    /// the end of a drain. A panic in it is logged, and ends nothing else.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let mut background = self.inner.background.lock();
        // What has finished is let go here, so that the set does not grow with short tasks.
        while background.try_join_next().is_some() {}
        // By combinators: an async block would have room for the future twice.
        background.spawn(AssertUnwindSafe(future).catch_unwind().map(move |ended| {
            if let Err(panic) = ended {
                tracing::error!(task = name, reason = panics::reason(&*panic), "task panicked");
            }
        }));
    }

    fn still_alive(&self) -> Vec<String> {
        if self.alive() == 0 {
            return Vec::new();
        }
        let down = |state: &LifeState| !matches!(state, LifeState::Starting | LifeState::Running);
        let snapshots = self.observe().into_iter();
        snapshots.filter(|unit| !down(&unit.state)).map(|unit| unit.path).collect()
    }
}

impl Inner {
    async fn started(&self) -> Result<(), StartError> {
        let mut standing = self.standing.clone();
        let settled = |standing: &Standing| !matches!(standing, Standing::Starting);
        let standing = standing.wait_for(settled).await;
        match standing.as_deref() {
            Ok(Standing::Ended(end)) => Err(end.as_start_error()),
            Ok(Standing::Starting | Standing::Running) => Ok(()),
            Err(_) => Err(StartError::Failed("the root is gone".to_owned())),
        }
    }
}

/// Stops a tree whose start nobody waits for any more.
struct StopOnDrop<'a>(Option<&'a Arc<Inner>>);

impl StopOnDrop<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(inner) = self.0 {
            inner.handle.kill(Manner::Kill, End::Killed);
        }
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "System({}, {} alive)", self.inner.root.path(), self.alive())
    }
}

/// The root has no supervisor; this is what one would do.
fn note(root: &Node, tell: &watch::Sender<Standing>, news: News) {
    match news {
        News::Up => {
            root.set(LifeState::Running);
            tell.send_replace(Standing::Running);
        }
        News::Setback(reason) => tracing::warn!(actor = root.path(), %reason, "not up yet"),
        News::Ended(end) => {
            root.set(match &end {
                End::Halted(reason) => LifeState::Halted { reason: reason.clone() },
                _ => LifeState::Stopped,
            });
            tell.send_replace(Standing::Ended(end));
        }
    }
}

async fn shut_down(mut background: JoinSet<()>) {
    background.shutdown().await;
}
