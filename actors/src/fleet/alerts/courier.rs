//! The courier of one organisation: takes alerts to sinks, one after the other for each sink, at least once. Told by the
//! alerts' actor that there is something to do, and asks it what; tells it how each delivery ended.
//!
//! It owns no events. A crash restarts it alone; what was under way is tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, CallError, Context, Crash, StartError, Timer};
use fleetward_store::CellId;

use super::notifier::Notifier;
use super::{Errand, Outcome};
use crate::config::Config;
use crate::fleet::alerts;
use crate::id::{AlertId, SinkId};

/// How often it looks for itself, should nobody tell it.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long the alerts' actor may take to answer; the next look asks again.
const DUE_WITHIN: Duration = Duration::from_secs(10);

/// What a courier starts from.
#[derive(Clone)]
pub struct Args {
    /// Whose sinks.
    pub cell: CellId,
    /// Knows what there is to do.
    pub alerts: Address<alerts::Message>,
    /// Signs and sends.
    pub notifier: Arc<Notifier>,
    /// How long to try.
    pub config: Arc<Config>,
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From the alerts' actor, and by timer: there may be something to deliver.
    Wake,
    /// The alerts' actor answered.
    Errands {
        /// The next alert of each sink that has one.
        errands: Result<Vec<Errand>, CallError>,
    },
    /// One attempt ended.
    Tried {
        /// What was to be taken where.
        errand: Box<Errand>,
        /// What went wrong.
        result: Result<(), String>,
    },
    /// Timer: the pause after a failed attempt is over.
    PauseOver {
        /// Of which sink.
        sink: SinkId,
    },
}

/// The courier's memory: which sinks it is busy with.
pub struct State {
    args: Args,
    busy: BTreeMap<SinkId, Trip>,
    look: Timer,
}

/// One alert on its way to a sink.
struct Trip {
    alert: AlertId,
    failures: u32,
    /// An attempt is under way.
    flying: bool,
    /// Holds the next attempt back.
    pause: Option<Timer>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        cx.send(Message::Wake);
        let look = cx.after(LOOK_EVERY, Message::Wake);
        Ok(Self { args, busy: BTreeMap::new(), look })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Wake => self.ask(cx),
            Message::Errands { errands } => match errands {
                Ok(errands) => self.begin(errands, cx),
                Err(error) => tracing::debug!(%error, "it is not known what there is to deliver"),
            },
            Message::Tried { errand, result } => self.tried(*errand, result, cx),
            Message::PauseOver { sink } => {
                self.busy.entry(sink).and_modify(|trip| trip.pause = None);
                // What is to be delivered may have been acknowledged meanwhile, or its sink removed.
                self.ask(cx);
            }
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Wake => "Wake",
            Message::Errands { .. } => "Errands",
            Message::Tried { .. } => "Tried",
            Message::PauseOver { .. } => "PauseOver",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "busy_sinks": self.busy.len() })
    }
}

impl State {
    fn ask(&mut self, cx: &Context<Message>) {
        self.look = cx.after(LOOK_EVERY, Message::Wake);
        let alerts = self.args.alerts.clone();
        let due =
            async move { alerts.call(DUE_WITHIN, |reply| alerts::Message::Due { reply }).await };
        cx.spawn(due, |errands| Message::Errands { errands });
    }

    fn begin(&mut self, errands: Vec<Errand>, cx: &Context<Message>) {
        let is_due = |sink: &SinkId| errands.iter().any(|errand| errand.sink.id == *sink);
        self.busy.retain(|sink, trip| trip.flying || trip.pause.is_some() || is_due(sink));
        for errand in errands {
            let alert = errand.alert.id;
            let fresh = || Trip { alert, failures: 0, flying: false, pause: None };
            let trip = self.busy.entry(errand.sink.id).or_insert_with(fresh);
            if trip.flying || trip.pause.is_some() {
                continue;
            }
            if trip.alert != alert {
                *trip = fresh();
            }
            trip.flying = true;
            self.send(errand, cx);
        }
    }

    fn send(&self, errand: Errand, cx: &Context<Message>) {
        let sent = self.args.notifier.deliver(self.args.cell, &errand);
        let errand = Box::new(errand);
        cx.spawn(sent, |result| Message::Tried { errand, result });
    }

    fn tried(&mut self, errand: Errand, result: Result<(), String>, cx: &Context<Message>) {
        let sink = errand.sink.id;
        let error = match result {
            Ok(()) => return self.end(&errand, Outcome::Delivered, cx),
            Err(error) => error,
        };
        let age = cx.clock().wall_us().saturating_sub(errand.alert.raised_at);
        let patience = i64::try_from(self.args.config.notify_for.as_micros()).unwrap_or(i64::MAX);
        tracing::warn!(%sink, alert = %errand.alert.id, error, "an alert was not delivered");
        if age >= patience {
            return self.end(&errand, Outcome::GaveUp { error }, cx);
        }
        let Some(trip) = self.busy.get_mut(&sink) else { return };
        trip.flying = false;
        let pause = self.args.config.notify_backoff.delay(trip.failures, &mut rand::rng());
        trip.failures = trip.failures.saturating_add(1);
        trip.pause = Some(cx.after(pause, Message::PauseOver { sink }));
    }

    fn end(&mut self, errand: &Errand, outcome: Outcome, cx: &Context<Message>) {
        let (sink, alert, position) = (errand.sink.id, errand.alert.id, errand.alert.created);
        self.busy.remove(&sink);
        let ended = alerts::Message::Ended { sink, alert, position, outcome };
        // Not heard: it is told again after the next delivery of the same.
        let _ = self.args.alerts.send(ended);
        self.ask(cx);
    }
}
