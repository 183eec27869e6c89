//! How a conductor ends: when nothing is to be done for its run but to wait, or when that is closed, and the rows say so.
//!
//! The family removes it first, and the rows contain all that it did; so its next life needs to read its row and nothing
//! more. What still comes is given to that life.

use std::time::Duration;

use fleetward_runtime::{Address, CallError, Context, Reply, StartError};
use fleetward_store::Due;

use super::message::Message;
use super::reading::cancel_child;
use super::{AGAIN, Runs, State};
use crate::cause::Cause;
use crate::error::Error;
use crate::id::RunId;
use crate::workflows::clockwork;
use crate::workflows::run::{Event, Wait};

/// What is due within this time is waited for in memory, in microseconds.
const SOON_US: i64 = 10_000_000;
/// How often a conductor is started for one message: it may be about to leave each time.
const LOOKS: usize = 3;

/// Gives a message to the conductor of a run, which is started for it if there is none.
///
/// # Errors
/// When it does not start; the message was certainly not handled.
pub(crate) async fn hand(runs: &Runs, run: &RunId, mut message: Message) -> Result<(), StartError> {
    for _ in 0..LOOKS {
        let conductor: Address<Message> = runs.get_or_start(run.clone()).await?;
        match conductor.offer(message) {
            Ok(()) => return Ok(()),
            Err(back) => message = back,
        }
    }
    Err(StartError::Unavailable("the run is changing; try again".to_owned()))
}

/// Asks the conductor of a run, which is started for it if there is none, and waits `within` the time for its answer.
///
/// # Errors
/// When it does not start, or does not answer.
pub(crate) async fn ask<T: Send + 'static>(
    runs: &Runs,
    run: &RunId,
    within: Duration,
    make: impl FnOnce(Reply<T>) -> Message,
) -> Result<T, Error> {
    let (reply, answered) = Reply::channel();
    let handed = hand(runs, run, make(reply)).await;
    handed.map_err(|error| Error::Unavailable(format!("run: {error}")))?;
    let answered = tokio::time::timeout(within, answered).await;
    Ok(answered.unwrap_or(Err(CallError::Late))?)
}

impl State {
    /// Ends, unless there is something to do, somebody who waits, or rows that are behind: then it looks again later.
    pub(super) fn leave(&mut self, cx: &Context<Message>) {
        self.linger = None;
        self.watchers.retain(|(_, watcher)| !watcher.is_closed());
        let waits = self.reading || self.asking || self.telling || self.setting;
        let busy = waits || !self.watchers.is_empty();
        if busy || !self.is_at_rest(cx) {
            return;
        }
        let run = self.run.as_ref();
        let last = run.map_or(self.deleted, |run| run.updated);
        if self.log.positions().projected() < last {
            return;
        }
        if let Some(run) = run.filter(|run| run.rests) {
            if let Some(at) = run.due().filter(|at| self.alarm != Some(*at)) {
                let due = Due { at, id: run.id.to_string() };
                return self.set_alarm(due, cx);
            }
            metrics::counter!("fleetward_runs_passivated_total").increment(1);
        }
        if let Some(runs) = self.args.runs.get() {
            self.leaving = true;
            runs.dismiss(&self.args.run);
        }
    }

    /// Asks the clockwork to start its next life in time. The rows say when that is, if this one ends otherwise.
    fn set_alarm(&mut self, due: Due, cx: &Context<Message>) {
        self.setting = true;
        let at = due.at;
        let (reply, answered) = Reply::channel();
        // Where the clockwork is between two lives, the answer is that there is none.
        let _ = self.args.clockwork.send(clockwork::Message::Asleep { due, reply });
        cx.spawn(answered, move |set| Message::AlarmSet { at: set.ok().map(|()| at) });
    }

    pub(super) fn alarm_set(&mut self, at: Option<i64>, cx: &Context<Message>) {
        (self.setting, self.alarm) = (false, at);
        if at.is_some() {
            self.leave(cx);
        }
    }

    /// Whether nothing is to be done, now or soon. Of a run that only waits this is put on record first.
    fn is_at_rest(&mut self, cx: &Context<Message>) -> bool {
        let Some(run) = &self.run else { return true };
        if !run.orphans.is_empty() {
            return false;
        }
        if run.is_closed() {
            return run.owes().is_none();
        }
        let now = cx.clock().wall_us();
        let soon = run.due().is_some_and(|at| at < now.saturating_add(SOON_US));
        if soon || !run.only_waits() || self.hungry || self.stuck.is_some() {
            return false;
        }
        if run.rests {
            return true;
        }
        let is_child = |wait: &Wait| matches!(wait, Wait::Child { .. });
        if run.waits.values().any(is_child) && !self.children_known {
            // One that has not begun would never end.
            self.ask(cx);
            return false;
        }
        let log = self.log.clone();
        let mut draft = log.begin(now);
        self.note(&Event::Rested {}, &Cause::system(), None, &mut draft);
        draft.submit();
        false
    }

    /// Keeps for the next life what came after it asked to be removed. What was its own ends with it.
    pub(super) fn park(&mut self, message: Message) {
        if !message.is_own() {
            self.parked.push(message);
            self.log.nothing_follows();
        }
    }

    /// Gives what was kept to the next life, in order.
    pub(super) fn hand_over(&mut self, cx: &Context<Message>) {
        let parked = std::mem::take(&mut self.parked);
        let Some(runs) = self.args.runs.get().cloned().filter(|_| !parked.is_empty()) else {
            return;
        };
        let run = self.args.run.clone();
        cx.leave_behind(async move {
            for message in parked {
                if let Err(error) = hand(&runs, &run, message).await {
                    tracing::debug!(%run, %error, "what came as a conductor left is lost");
                }
            }
        });
    }

    /// Tells the run above a closed one of its end, until that has noted it.
    pub(super) fn tell_parent(&mut self, cx: &Context<Message>) {
        let owes = self.run.as_ref().and_then(|run| Some((run.owes()?.clone(), run)));
        let Some((parent, run)) = owes.filter(|_| !self.telling) else { return };
        let Some(runs) = self.args.runs.get().cloned() else { return };
        let ended = Box::new(super::reading::ended(&parent.key, run));
        self.telling = true;
        let (reply, answered) = Reply::channel();
        let told = async move {
            let message = Message::ChildEnded { ended, reply };
            hand(&runs, &parent.run, message).await.is_ok() && answered.await.is_ok()
        };
        cx.spawn(told, |told| Message::ParentTold { told });
    }

    pub(super) fn parent_told(&mut self, told: bool, cx: &Context<Message>) {
        self.telling = false;
        if !told {
            self.tend = Some(cx.after(AGAIN, Message::TendDue));
            return;
        }
        if self.run.as_ref().is_some_and(|run| run.owes().is_some()) {
            let log = self.log.clone();
            let mut draft = log.begin(cx.clock().wall_us());
            self.note(&Event::ParentTold {}, &Cause::system(), None, &mut draft);
            draft.submit();
        }
    }

    /// Ends the child runs that it does not want any more, until each is seen to be ended.
    pub(super) fn end_orphans(&self, cx: &Context<Message>) {
        let (Some(run), Some(runs)) = (&self.run, self.args.runs.get()) else { return };
        for orphan in &run.orphans {
            cancel_child(runs.clone(), orphan.clone(), cx);
        }
    }

    pub(super) fn orphan_told(&mut self, run: RunId, told: bool, cx: &Context<Message>) {
        if !self.run.as_ref().is_some_and(|known| known.orphans.contains(&run)) {
            return;
        }
        if !told {
            self.tend = Some(cx.after(AGAIN, Message::TendDue));
            return;
        }
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        self.note(&Event::OrphanEnded { run }, &Cause::system(), None, &mut draft);
        draft.submit();
    }
}
