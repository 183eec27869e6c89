//! Alerts and sinks of one organisation. Told by the journal of alerts that are durable, by operators who acknowledge them
//! or make sinks, and by the courier of what became of a delivery; tells the courier what there is to deliver, and the log.

pub mod courier;
mod message;
pub mod notifier;
mod sinks;
pub mod webhook;

use std::collections::BTreeMap;

use fleetward_runtime::{Actor, Address, Context, Crash, StartError};
use fleetward_store::Position;

use super::alert::{self, Alert};
use super::cell::keeper;
use super::registry::Asked;
use super::sink::{self, ROTATION_US, SINKS_MAX, Sink};
use crate::cause::Cause;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::id::{AlertId, SinkId};
use crate::journal::CellLog;
use crate::seal::Sealed;
pub use message::{Errand, Message, NewSink, Outcome};

/// Most alerts that nobody has acknowledged; beyond it the oldest counts as seen.
const OPEN_MAX: usize = 1_000;
/// Longest error of a delivery that is kept, in characters.
const ERROR_MAX: usize = 300;

/// What it starts from.
#[derive(Clone)]
pub struct Args {
    /// Gives it what was true.
    pub keeper: keeper::Handle,
    /// Delivers.
    pub courier: Address<courier::Message>,
}

/// Its memory: alerts that nobody has acknowledged, and sinks.
pub struct State {
    args: Args,
    log: CellLog,
    /// By position: the order in which they are delivered.
    alerts: BTreeMap<Position, Alert>,
    sinks: BTreeMap<SinkId, Sink>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, _cx: &mut Context<Message>) -> Result<Self, StartError> {
        let mut part = args.keeper.take(&[Alert::KIND, Sink::KIND]).await?;
        let alerts = part.states::<Alert>().into_iter().filter(Fold::open);
        let sinks = part.states::<Sink>().into_iter().filter(Fold::open);
        Ok(Self {
            alerts: alerts.map(|alert| (alert.created, alert)).collect(),
            sinks: sinks.map(|sink| (sink.id, sink)).collect(),
            log: part.log,
            args,
        })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Raised { alert } => self.raised(*alert, cx),
            Message::Acknowledge { alert, note, by, reply } => {
                let outcome = self.acknowledge(alert, note, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::CreateSink { sink, by, reply } => {
                let outcome = self.create(*sink, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::RotateSecret { sink, sealed, by, reply } => {
                let outcome = self.rotate(sink, sealed, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::RemoveSink { sink, by, reply } => {
                let outcome = self.remove(sink, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::Sinks { reply } => {
                self.log.answer(reply, self.sinks.values().cloned().collect());
            }
            Message::Due { reply } => self.log.answer(reply, self.due()),
            Message::Ended { sink, alert, position, outcome } => {
                self.ended(sink, (alert, position), outcome, cx);
            }
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        message.label()
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "open_alerts": self.alerts.len(), "sinks": self.sinks.len() })
    }
}

impl State {
    /// An alert is durable: the log has it at once, whoever else is told.
    fn raised(&mut self, alert: Alert, cx: &Context<Message>) {
        let Alert { id, about, severity, subject_kind, subject, why, .. } = &alert;
        let (cell, severity) = (self.log.cell().0, severity.as_str());
        tracing::warn!(cell, %id, about, severity, subject_kind, subject, why, "alert");
        metrics::counter!("fleetward_alerts_total", "severity" => severity).increment(1);
        self.alerts.insert(alert.created, alert);
        while self.alerts.len() > OPEN_MAX
            && let Some(oldest) = self.alerts.values().next().map(|alert| alert.id)
        {
            let note = Some(format!("nobody had acknowledged {OPEN_MAX} newer alerts"));
            let _ = self.acknowledge(oldest, note, &Cause::system(), cx);
        }
        self.wake();
    }

    fn acknowledge(
        &mut self,
        id: AlertId,
        note: Option<String>,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<Asked<Alert>, Error> {
        let Some(at) = self.alerts.iter().find(|(_, alert)| alert.id == id).map(|(at, _)| *at)
        else {
            return Ok(Asked::NotHere);
        };
        let Some(mut alert) = self.alerts.remove(&at) else { return Ok(Asked::NotHere) };
        let event = alert::Event::Acknowledged { note };
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let stamp = draft.push::<Alert>(id, &event, by, None);
        alert.evolve(&event, stamp);
        draft.submit();
        Ok(Asked::Found(alert))
    }

    fn create(&mut self, new: NewSink, by: &Cause, cx: &Context<Message>) -> Result<Sink, Error> {
        if self.sinks.len() >= SINKS_MAX {
            let detail = format!("an organisation has at most {SINKS_MAX} sinks; remove one");
            return Err(Refusal::new(Kind::Conflict, "too_many_sinks", detail).into());
        }
        let NewSink { id, name, origin, sealed } = new;
        let event = sink::Event::Created { sink: id, name, origin };
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let stamp = draft.push::<Sink>(id, &event, by, Some(sealed));
        let sink = Sink::begin(&event, stamp).expect("a creation begins a sink");
        draft.submit();
        self.sinks.insert(id, sink.clone());
        Ok(sink)
    }

    fn rotate(
        &mut self,
        id: SinkId,
        sealed: Sealed,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<Sink, Error> {
        let now = cx.clock().wall_us();
        let event = sink::Event::SecretRotated { old_until: now + ROTATION_US };
        self.write(id, &event, by, Some(sealed), cx)
            .ok_or_else(|| Refusal::not_found("sink").into())
    }

    fn remove(&mut self, id: SinkId, by: &Cause, cx: &Context<Message>) -> Result<(), Error> {
        let removed = self.write(id, &sink::Event::Removed {}, by, None, cx);
        removed.ok_or_else(|| Refusal::not_found("sink"))?;
        self.sinks.remove(&id);
        Ok(())
    }

    fn ended(
        &mut self,
        id: SinkId,
        (alert, position): (AlertId, Position),
        outcome: Outcome,
        cx: &Context<Message>,
    ) {
        // Said twice after a crash of the courier: once is enough.
        if self.sinks.get(&id).is_none_or(|sink| sink.cursor >= position) {
            return;
        }
        let event = match outcome {
            Outcome::Delivered => sink::Event::Delivered { alert, position },
            Outcome::GaveUp { error } => {
                let error = error.chars().take(ERROR_MAX).collect();
                sink::Event::GaveUp { alert, position, error }
            }
        };
        self.write(id, &event, &Cause::system(), None, cx);
    }

    fn write(
        &mut self,
        id: SinkId,
        event: &sink::Event,
        by: &Cause,
        sealed: Option<Sealed>,
        cx: &Context<Message>,
    ) -> Option<Sink> {
        let sink = self.sinks.get_mut(&id)?;
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let stamp = draft.push::<Sink>(id, event, by, sealed);
        sink.evolve(event, stamp);
        draft.submit();
        Some(sink.clone())
    }

    /// The first alert of each sink that is neither delivered nor given up. One that was acknowledged meanwhile was seen.
    fn due(&self) -> Vec<Errand> {
        let first = |sink: &Sink| {
            let (_, alert) = self.alerts.range(sink.cursor + 1..).next()?;
            Some(Errand { sink: sink.clone(), alert: alert.clone() })
        };
        self.sinks.values().filter_map(first).collect()
    }

    fn wake(&self) {
        if !self.sinks.is_empty() {
            // A courier between two lives looks for itself when it starts.
            let _ = self.args.courier.send(courier::Message::Wake);
        }
    }
}
