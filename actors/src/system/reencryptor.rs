//! The re-encryptor: seals again with the primary key what older keys of a ring sealed, in the background, one page
//! after the other. Told by handles that there is something to do; asks the directory what, and tells it how far it is,
//! so that after a crash it goes on where it was.

mod sweep;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Clock, Context, Crash, StartError, Timer};
use fleetward_store::Store;

use super::directory::{self, RingMessage};
use super::payload_key::{PayloadKey, PayloadKeyEvent};
use super::principals::{KnownOrg, Principals};
use crate::fleet::cell::Cells;
use crate::id::OrgId;
use crate::projector;
use sweep::{Away, Found, Sweep};

/// Pages between two words to the directory: what a crash makes it look at again.
const PAGES: usize = 32;
/// Between two pages in which something was sealed: it takes about half of one processor.
const PAUSE: Duration = Duration::from_millis(2);
/// Before it tries again what did not work.
const RETRY: Duration = Duration::from_secs(1);
/// How long the directory may take.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// What a re-encryptor starts from.
#[derive(Clone)]
pub struct Args {
    /// Knows what is to be done.
    pub directory: Address<directory::Message>,
    /// The rings.
    pub principals: Arc<Principals>,
    /// The cells.
    pub cells: Cells,
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// Writes the rows.
    pub projector: projector::Handle,
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From a handle, and from itself: there may be something to do.
    Look,
    /// What is to be done, if the directory said so.
    Found {
        /// Primary keys whose re-encryption runs.
        keys: Option<Vec<PayloadKey>>,
    },
    /// One came to its end, or did not.
    Ended {
        /// Whose.
        org: OrgId,
        /// Why not.
        failed: Option<String>,
    },
}

/// Its memory: what it is doing.
pub struct State {
    args: Args,
    busy: HashSet<OrgId>,
    retry: Option<Timer>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        cx.send(Message::Look);
        Ok(Self { args, busy: HashSet::new(), retry: None })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Look => self.look(cx),
            Message::Found { keys: Some(keys) } => self.begin(keys, cx),
            Message::Found { keys: None } => self.look_later(cx),
            Message::Ended { org, failed } => self.ended(org, failed, cx),
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Look => "Look",
            Message::Found { .. } => "Found",
            Message::Ended { .. } => "Ended",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "running": self.busy.len() })
    }
}

impl State {
    fn look(&mut self, cx: &Context<Message>) {
        self.retry = None;
        let directory = self.args.directory.clone();
        let ask = async move {
            let list = |reply| directory::Message::Ring(RingMessage::List { org: None, reply });
            directory.call(ASK_WITHIN, list).await.ok()
        };
        cx.spawn(ask, |keys| Message::Found { keys });
    }

    fn look_later(&mut self, cx: &Context<Message>) {
        self.retry = Some(cx.after(RETRY, Message::Look));
    }

    fn begin(&mut self, keys: Vec<PayloadKey>, cx: &Context<Message>) {
        for key in keys.into_iter().filter(PayloadKey::is_reencrypting) {
            let org = key.org;
            let Some(known) = self.args.principals.org(org) else { continue };
            if self.busy.insert(org) {
                let (args, clock) = (self.args.clone(), cx.clock().clone());
                let job = Job { args, known, key, clock };
                cx.spawn(job.run(), move |failed| Message::Ended { org, failed });
            }
        }
    }

    fn ended(&mut self, org: OrgId, failed: Option<String>, cx: &Context<Message>) {
        self.busy.remove(&org);
        match failed {
            // Another may have been asked for meanwhile.
            None => cx.send(Message::Look),
            Some(why) => {
                tracing::warn!(%org, why, "re-encryption is held up; it goes on by itself");
                self.look_later(cx);
            }
        }
    }
}

/// The re-encryption of one cell.
struct Job {
    args: Args,
    known: Arc<KnownOrg>,
    key: PayloadKey,
    clock: Clock,
}

impl Job {
    async fn run(self) -> Option<String> {
        self.all().await.err().map(|away| away.to_string())
    }

    async fn all(&self) -> Result<(), Away> {
        let cell = self.known.org.cell();
        let running = self.args.cells.get_or_start(cell).await;
        let running = running.map_err(|error| Away(format!("cell {cell}: {error}")))?;
        let sweep = Sweep {
            store: self.args.store.clone(),
            projector: self.args.projector.clone(),
            ring: self.known.ring.clone(),
            cell,
            positions: running.positions,
            clock: self.clock.clone(),
        };
        let mut found = self.events(&sweep).await?;
        let rows = sweep.rows().await?;
        found.parts += rows.parts;
        found.broken += rows.broken;
        let (resealed, broken) = (found.parts, found.broken);
        self.tell(PayloadKeyEvent::ReencryptionFinished { resealed, broken }).await?;
        tracing::info!(org = self.known.org.name, resealed, broken, "re-encryption is done");
        Ok(())
    }

    async fn events(&self, sweep: &Sweep) -> Result<Found, Away> {
        let to = sweep.settle().await?;
        let known = self.key.reencryption.as_ref();
        let mut at = known.map_or(0, |reencryption| reencryption.events);
        let parts = known.map_or(0, |reencryption| reencryption.resealed);
        let mut found = Found { parts, broken: 0 };
        for page in 1.. {
            let Some((up_to, more)) = sweep.events(at).await? else { break };
            at = up_to;
            found.parts += more.parts;
            found.broken += more.broken;
            if at >= to {
                break;
            }
            if page % PAGES == 0 {
                let resealed = found.parts;
                self.tell(PayloadKeyEvent::ReencryptionAdvanced { events: at, resealed }).await?;
            }
            if more.parts > 0 {
                self.clock.sleep(PAUSE).await;
            }
        }
        Ok(found)
    }

    /// Once this returns, it is durable.
    async fn tell(&self, event: PayloadKeyEvent) -> Result<(), Away> {
        let (org, number) = (self.key.org, self.key.number);
        let say = |reply| {
            directory::Message::Ring(RingMessage::Reencrypted { org, number, event, reply })
        };
        let said = self.args.directory.call(ASK_WITHIN, say).await;
        said.map_err(|error| Away(format!("directory: {error}")))
    }
}
