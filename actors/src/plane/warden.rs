//! The warden: says which organisations are down. A halted cell can write nothing, so the record of the system says it,
//! the log, and the warden itself to the organisation's sinks. Told by the family of cells that one halted; tells the
//! directory. It remembers what it said in this life: an organisation that is still down in the next one is said to be
//! down again.

mod errand;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, Context, Crash, StartError, Timer};
use fleetward_store::{CellId, Position};
use tokio::sync::watch;

use crate::access::Event;
use crate::cause::Cause;
use crate::config::Config;
use crate::fleet::alerts::notifier::{Notifier, Told};
use crate::fleet::cell::Cells;
use crate::id::AlertId;
use crate::system::directory;
use crate::system::principals::Principals;
use errand::Errand;

/// How long the directory may take to write it down.
const NOTE_WITHIN: Duration = Duration::from_secs(10);
/// Before it is asked again.
const RETRY: Duration = Duration::from_secs(30);
/// Most characters of a reason.
const WHY_MAX: usize = 2_048;

/// What the warden starts from.
#[derive(Clone)]
pub(super) struct Args {
    pub(super) cells: Cells,
    pub(super) principals: Arc<Principals>,
    pub(super) directory: Address<directory::Message>,
    pub(super) notifier: Arc<Notifier>,
    pub(super) config: Arc<Config>,
}

/// The protocol.
#[derive(Debug)]
pub(super) enum Message {
    /// From the family: a cell halted.
    Halted {
        /// Says when the next one does.
        halts: watch::Receiver<u64>,
    },
    /// Timer: something is not on the record yet.
    RetryDue,
    /// The directory answered.
    Noted {
        /// About which cell.
        cell: CellId,
        /// Where it is on the record, if it is.
        at: Option<Position>,
    },
    /// The sinks of a halted cell were told, or not.
    Told {
        /// Which cell.
        cell: CellId,
        /// What.
        alert: AlertId,
        /// What became of it at each sink, or why nobody knows which there are.
        outcome: Result<Vec<Told>, String>,
    },
    /// Timer: the pause after a failed delivery is over.
    PauseOver {
        /// About which cell.
        cell: CellId,
    },
}

/// How far a halted cell is on the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    No,
    Asked,
    Yes,
}

/// A cell that is down.
struct Halted {
    why: String,
    said: Said,
    /// What its sinks have still to be told.
    errand: Option<Errand>,
}

/// Those that are down.
pub(super) struct State {
    args: Args,
    known: BTreeMap<CellId, Halted>,
    retry: Option<Timer>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        cx.send(Message::Halted { halts: args.cells.halts() });
        Ok(Self { args, known: BTreeMap::new(), retry: None })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Halted { halts } => {
                self.look();
                self.write_down(cx);
                wait(halts, cx);
            }
            Message::RetryDue => {
                self.retry = None;
                self.write_down(cx);
            }
            Message::Noted { cell, at } => self.noted(cell, at, cx),
            Message::Told { cell, alert, outcome } => self.told((cell, alert), outcome, cx),
            Message::PauseOver { cell } => self.tell(cell, cx),
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Halted { .. } => "Halted",
            Message::RetryDue => "RetryDue",
            Message::Noted { .. } => "Noted",
            Message::Told { .. } => "Told",
            Message::PauseOver { .. } => "PauseOver",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "halted": self.known.len() })
    }
}

impl State {
    fn look(&mut self) {
        let mut before = std::mem::take(&mut self.known);
        for (cell, why) in self.args.cells.halted() {
            let why: String = why.chars().take(WHY_MAX).collect();
            let known = before.remove(&cell).filter(|known| known.why == why);
            if known.is_none() {
                let org = self.args.principals.org_of(cell).map(|known| known.org.name.clone());
                tracing::error!(cell = cell.0, org, why, "alert: an organisation is down");
            }
            let fresh = || Halted { why, said: Said::No, errand: None };
            self.known.insert(cell, known.unwrap_or_else(fresh));
        }
    }

    fn write_down(&mut self, cx: &Context<Message>) {
        for (cell, halted) in self.known.iter_mut().filter(|(_, known)| known.said == Said::No) {
            halted.said = Said::Asked;
            let org = self.args.principals.org_of(*cell).map(|known| known.org.id);
            let event = Event::CellHalted { cell: cell.0, org, why: halted.why.clone() };
            let (directory, cell) = (self.args.directory.clone(), *cell);
            let asked = async move {
                let by = Cause::system();
                let note = |reply| directory::Message::Note { event, by, reply };
                directory.call(NOTE_WITHIN, note).await.ok()
            };
            cx.spawn(asked, move |at| Message::Noted { cell, at });
        }
    }

    fn noted(&mut self, cell: CellId, at: Option<Position>, cx: &Context<Message>) {
        let org = self.args.principals.org_of(cell).map(|known| known.org.id);
        if let Some(halted) = self.known.get_mut(&cell) {
            halted.said = if at.is_some() { Said::Yes } else { Said::No };
            let now = cx.clock().wall_us();
            halted.errand = at.map(|at| Errand::new((cell, org), at, &halted.why, now));
        }
        match at {
            Some(_) => self.tell(cell, cx),
            None if self.retry.is_none() => self.retry = Some(cx.after(RETRY, Message::RetryDue)),
            None => {}
        }
    }

    fn tell(&mut self, cell: CellId, cx: &Context<Message>) {
        let halted = self.known.get_mut(&cell);
        let Some(errand) = halted.and_then(|halted| halted.errand.as_mut()) else { return };
        let (alert, told) = errand.begin(&self.args.notifier, cell);
        cx.spawn(told, move |outcome| Message::Told { cell, alert, outcome });
    }

    fn told(
        &mut self,
        (cell, alert): (CellId, AlertId),
        outcome: Result<Vec<Told>, String>,
        cx: &Context<Message>,
    ) {
        let Some(halted) = self.known.get_mut(&cell) else { return };
        // An errand that was given up, or is another one by now, needs no answer.
        let Some(mut errand) = halted.errand.take_if(|errand| errand.alert() == alert) else {
            return;
        };
        let pause = errand.ended(outcome, &self.args.config, cx.clock().wall_us());
        halted.errand = pause.map(|pause| {
            errand.rests(cx.after(pause, Message::PauseOver { cell }));
            errand
        });
    }
}

/// Waits beside the actor for the next cell that halts.
fn wait(mut halts: watch::Receiver<u64>, cx: &Context<Message>) {
    // What halted between the last look and now is seen at once.
    let changed = async move {
        // The family outlives whoever waits for it.
        let _ = halts.changed().await;
        halts
    };
    cx.spawn(changed, |halts| Message::Halted { halts });
}
