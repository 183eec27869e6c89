//! What is asked of a run from outside: to begin, to decide at a gate, to take a signal, to pause, to end, to go on.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleetward_runtime::{Context, Reply};

use super::State;
use super::message::{Begun, Decision, Message, NewRun, Remedy};
use super::outbox::Outbox;
use crate::cause::Cause;
use crate::effect::Effect;
use crate::error::{Error, Kind, Refusal};
use crate::guard::guarded;
use crate::journal::Draft;
use crate::seal::Sealed;
use crate::workflows::clockwork;
use crate::workflows::definition::Definition;
use crate::workflows::gate::{self, Vote};
use crate::workflows::plan;
use crate::workflows::run::{
    Command, EVENTS_MAX, Event, Key, Phase, Run, SIGNALS_MAX, Wait, allowed,
};

/// Events that a run may still have for what ends it, once it has too many.
const EVENTS_SPARE: u32 = 1_000;

type Answer = Reply<Result<Box<Run>, Error>>;

impl State {
    pub(super) fn begin(
        &mut self,
        new: NewRun,
        by: &Cause,
        reply: Reply<Result<Begun, Error>>,
        cx: &Context<Message>,
    ) {
        if let Some(run) = &self.run {
            let said = same_request(run, &new.request).map(|()| Begun::Repeated);
            return self.log.answer(reply, said.map_err(Error::from));
        }
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let workflow = new.definition.name.clone();
        let event = Event::Started {
            run: new.id,
            workflow,
            version: new.version,
            request: new.request,
            digest: new.digest,
            parent: new.parent,
            inherited: new.inherited,
            awaited: new.awaited,
            schedule: new.schedule,
        };
        let bytes = new.input.len();
        let at = self.note(&event, by, Some(new.input), &mut draft);
        // Once the event has its position: whoever fills them from there on finds the run or is told of it.
        if self.args.nursery.used.begun(&self.args.run, log.positions().opened()) {
            let _ = self.args.clockwork.send(clockwork::Message::FillUsedIds);
        }
        self.definition = Some(new.definition);
        // What a fork takes over is where it was; what it is given anew is here.
        if self.run.as_ref().is_some_and(|run| run.input.at == at) {
            self.values.insert(at, new.value);
            self.value_bytes += bytes;
        }
        draft.allow(Effect::Answer(reply.with(Ok(Begun::Started))));
        let out = self.advance(&mut draft, cx);
        cx.faults().hit("run/decided");
        draft.submit();
        self.send(out, cx);
        metrics::counter!("fleetward_runs_started_total").increment(1);
    }

    pub(super) fn decide(&mut self, decision: Decision, reply: Answer, cx: &Context<Message>) {
        let outcome = self.judge(&decision, cx);
        let (key, event) = match outcome {
            Ok(found) => found,
            Err(error) => return self.log.answer(reply, Err(error)),
        };
        let by = decision.by;
        self.change(reply, cx, |state, draft| {
            state.note(&event, &by, None, draft);
            tracing::debug!(run = %state.args.run, %key, "somebody decided");
        });
    }

    fn judge(&self, decision: &Decision, cx: &Context<Message>) -> Result<(Key, Event), Error> {
        let run = self.living(Command::Decide)?;
        let Decision { approve, reason, digest, voter, .. } = decision;
        guarded(cx, "decide/gate", || {
            let (key, gate) = open_gate(run, &decision.gate)?;
            gate::may_decide(gate, voter, &run.by, *approve, digest.as_deref())?;
            let vote =
                Vote { by: voter.by.clone(), name: voter.name.clone(), reason: reason.clone() };
            let (key, of) = (key.clone(), key.clone());
            let event = match approve {
                true => Event::GateApproved { key: of, vote },
                false => Event::GateRejected { key: of, vote },
            };
            Ok::<_, Refusal>((key, event))
        })
    }

    pub(super) fn signal(
        &mut self,
        name: String,
        (payload, digest): (Sealed, String),
        by: &Cause,
        reply: Answer,
        cx: &Context<Message>,
    ) {
        let room = self.living(Command::Signal).and_then(|run| {
            if run.signals.len() < SIGNALS_MAX && run.events < EVENTS_MAX {
                return Ok(());
            }
            let detail = format!("{SIGNALS_MAX} signals wait to be taken; send this one later");
            Err(Refusal::new(Kind::TooMany, "too_many_signals", detail).into())
        });
        if let Err(error) = room {
            return self.log.answer(reply, Err(error));
        }
        self.change(reply, cx, |state, draft| {
            state.note(&Event::Signalled { name, digest }, by, Some(payload), draft);
        });
    }

    pub(super) fn amend(
        &mut self,
        remedy: Remedy,
        by: &Cause,
        reply: Answer,
        cx: &Context<Message>,
    ) {
        let command = match &remedy {
            Remedy::Pause { .. } => Command::Pause,
            Remedy::Resume => Command::Resume,
            Remedy::Cancel { .. } => Command::Cancel,
            Remedy::Retry => Command::Retry,
            Remedy::Discard { .. } => Command::Discard,
        };
        let run = self.run.as_ref().ok_or_else(|| Refusal::not_found("run"));
        match run.and_then(|run| Ok((allowed(&run.phase, command)?, run))) {
            Err(refusal) => self.log.answer(reply, Err(refusal.into())),
            Ok((false, run)) => {
                let known = Box::new(run.clone());
                self.log.answer(reply, Ok(known));
            }
            Ok((true, run)) if command == Command::Retry && self.definition.is_none() => {
                // It was closed when this conductor started.
                let named = (run.workflow.clone(), run.version.clone());
                self.load_definition(named, (remedy, by.clone(), reply), cx);
            }
            Ok((true, _)) => self.change(reply, cx, |state, draft| {
                let event = match remedy {
                    Remedy::Pause { reason } => Event::Paused { reason },
                    Remedy::Resume => Event::Resumed {},
                    Remedy::Cancel { reason } => return state.cancel(reason, by, draft),
                    Remedy::Retry => Event::Revived { settled: state.settled() },
                    Remedy::Discard { reason } => Event::Discarded { reason },
                };
                state.note(&event, by, None, draft);
            }),
        }
    }

    fn cancel(&mut self, reason: Option<String>, by: &Cause, draft: &mut Draft<'_>) {
        let mut out = Outbox::default();
        self.unwant_all(&mut out);
        self.note(&Event::Cancelled { reason }, by, None, draft);
        self.over(&mut out);
        self.pending = out;
        metrics::counter!("fleetward_runs_ended_total", "as" => "cancelled").increment(1);
    }

    /// What stays failed when this run is tried again.
    fn settled(&self) -> BTreeSet<Key> {
        let known = self.definition.as_ref().zip(self.run.as_ref());
        known.map_or_else(BTreeSet::new, |(definition, run)| plan::settled(definition, run))
    }

    /// The definition of a run that was closed when this conductor started.
    pub(super) fn defined(
        &mut self,
        definition: Result<Arc<Definition>, Error>,
        (remedy, by, reply): (Remedy, Cause, Answer),
        cx: &Context<Message>,
    ) {
        match definition {
            Ok(definition) => {
                self.definition = Some(definition);
                self.amend(remedy, &by, reply, cx);
            }
            Err(error) => self.log.answer(reply, Err(error)),
        }
    }

    /// A change by somebody outside, what follows from it, and the answer: the run as it is then.
    fn change(
        &mut self,
        reply: Answer,
        cx: &Context<Message>,
        make: impl FnOnce(&mut Self, &mut Draft<'_>),
    ) {
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        make(self, &mut draft);
        let mut out = std::mem::take(&mut self.pending);
        let more = self.advance(&mut draft, cx);
        out.take(more);
        let answer = self.run.clone().map(Box::new).ok_or_else(|| Refusal::not_found("run"));
        draft.allow(Effect::Answer(reply.with(answer.map_err(Error::from))));
        draft.submit();
        self.send(out, cx);
    }

    /// The run, where it takes this command.
    fn living(&self, command: Command) -> Result<&Run, Error> {
        let run = self.run.as_ref().ok_or_else(|| Refusal::not_found("run"))?;
        allowed(&run.phase, command)?;
        if run.events >= EVENTS_MAX + EVENTS_SPARE {
            let detail = format!("the run has {} events; it takes no more", run.events);
            return Err(Refusal::new(Kind::Conflict, "too_many_events", detail).into());
        }
        Ok(run)
    }

    /// A time of the run has come.
    pub(super) fn due(&mut self, cx: &Context<Message>) {
        self.due = None;
        let Some(run) = self.run.as_ref().filter(|run| !run.is_closed()) else { return };
        let now = cx.clock().wall_us();
        let come = |wait: &Wait| wait.until().is_some_and(|at| at <= now);
        let waits = run.waits.iter().filter(|(_, wait)| come(wait));
        let events: Vec<_> = waits.filter_map(|(key, wait)| came(key, wait, now)).collect();
        if events.is_empty() {
            return;
        }
        let by = Cause::system();
        let log = self.log.clone();
        let mut draft = log.begin(now);
        for event in events {
            self.note(&event, &by, None, &mut draft);
        }
        let out = self.advance(&mut draft, cx);
        draft.submit();
        self.send(out, cx);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.phase == Phase::Paused)
    }
}

/// What the coming of its time means for a wait.
fn came(key: &Key, wait: &Wait, now: i64) -> Option<Event> {
    let key = key.clone();
    match wait {
        Wait::Timer { .. } => Some(Event::TimerFired { key }),
        Wait::Signal { .. } => Some(Event::SignalMissed { key }),
        Wait::Gate(gate) => gate.due(now).map(|due| match due {
            gate::Due::Expired { approved } => Event::GateExpired { key, approved },
            gate::Due::Remind => Event::GateReminded { key },
        }),
        Wait::Child { .. } => None,
    }
}

/// The gate that is meant: by its key, or by the name of its node where one of that name is open.
fn open_gate<'a>(run: &'a Run, named: &str) -> Result<(&'a Key, &'a gate::Gate), Refusal> {
    let gates = run.waits.iter().filter_map(|(key, wait)| match wait {
        Wait::Gate(gate) => Some((key, gate.as_ref())),
        _ => None,
    });
    let gates: Vec<_> = gates.collect();
    if let Some(found) = gates.iter().find(|(key, _)| key.as_str() == named) {
        return Ok(*found);
    }
    let mut of_name = gates.iter().filter(|(key, _)| key.node() == named);
    match (of_name.next(), of_name.next()) {
        (Some(found), None) => Ok(*found),
        (Some(_), Some(_)) => {
            let detail = "several gates of this name are open; name one by its key";
            Err(Refusal::new(Kind::Conflict, "ambiguous_gate", detail))
        }
        (None, _) => {
            let settled = run.done.keys().any(|key| key.as_str() == named || key.node() == named);
            if settled {
                let detail = "somebody has decided at this gate, or its time is over";
                return Err(Refusal::new(Kind::Conflict, "gate_settled", detail));
            }
            Err(Refusal::new(Kind::NotFound, "no_such_gate", "no gate of this name is open"))
        }
    }
}

/// Whether a run was started by the same request.
///
/// # Errors
/// When its id was used for another one.
fn same_request(run: &Run, request: &str) -> Result<(), Refusal> {
    if run.request == request {
        return Ok(());
    }
    let detail = "there is a run of this id, with another workflow, version or input; use a new id";
    Err(Refusal::invalid("run_id_reused", detail))
}
