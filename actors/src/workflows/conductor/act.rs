//! From a plan to events, tasks and ends.

use std::sync::Arc;

use bytes::Bytes;
use fleetward_runtime::Context;
use fleetward_store::Position;
use serde_json::Value;

use super::State;
use super::message::Message;
use super::outbox::{Birth, Outbox, Wanted};
use crate::cause::Cause;
use crate::fact::Fold;
use crate::fleet::fingerprint::fingerprint;
use crate::fleet::task::{Affinity, Handling, PRIORITY_DEFAULT, StepRef};
use crate::id::{RunId, TaskId};
use crate::journal::Draft;
use crate::seal::{Purpose, Sealed};
use crate::workflows::definition::{Definition, Kind, Step};
use crate::workflows::gate::{self, Gate};
use crate::workflows::plan::{self, Begin, Failure, Next, Waits};
use crate::workflows::run::{EVENTS_MAX, Event, Key, Parent, Phase, Place, Run, Scheduled, Wait};

/// Deepest nesting of child runs.
const CHILD_DEPTH_MAX: u32 = 8;
/// Longest text of a failure that is kept, in bytes.
const ERROR_MAX: usize = 16 << 10;

/// What a plan comes to, without borrowing from it.
enum Act {
    Schedule { key: Key, task: Box<Wanted> },
    Wait { key: Key, wait: Wait, child: Option<Box<Birth>> },
    Gate { key: Key, gate: Box<Gate>, sealed: Sealed },
    Take { key: Key, at: Position },
    Drop { key: Key },
    Complete { value: Arc<Value> },
    Fail { failure: Failure },
}

impl State {
    /// Applies a fact about the run.
    pub(super) fn note(
        &mut self,
        event: &Event,
        by: &Cause,
        sealed: Option<Sealed>,
        draft: &mut Draft<'_>,
    ) -> Position {
        let stamp = draft.push::<Run>(&self.args.run, event, by, sealed);
        match &mut self.run {
            Some(run) => run.evolve(event, stamp),
            None => self.run = Run::begin(event, stamp),
        }
        stamp.seq
    }

    /// Goes on, though nothing has happened to the run: more is known of it.
    pub(super) fn go_on(&mut self, cx: &Context<Message>) {
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let out = self.advance(&mut draft, cx);
        draft.submit();
        self.send(out, cx);
    }

    /// Goes on as far as it can without anybody else.
    pub(super) fn advance(&mut self, draft: &mut Draft<'_>, cx: &Context<Message>) -> Outbox {
        let mut out = Outbox::default();
        loop {
            let Some(definition) = self.definition.clone() else { break };
            let Some(run) = self.run.take() else { break };
            if run.phase != Phase::Running {
                self.run = Some(run);
                break;
            }
            let now = draft.at();
            let plan = plan::plan(&definition, &run, &self.values);
            let mut missing = plan.missing.clone();
            self.hungry = !missing.is_empty();
            if let Some(Err(Failure { text: None, error: Some(place), .. })) = &plan.end
                && !self.values.contains_key(&place.at)
            {
                // Its text goes with it.
                missing.insert(place.clone());
                self.run = Some(run);
                self.fetch(missing, cx);
                break;
            }
            let acts = self.acts(plan, &definition, &run, now);
            let rests = missing.is_empty() && only_begins_to_wait(&run, &acts);
            self.run = Some(run);
            self.fetch(missing, cx);
            let taken = acts.iter().any(|act| matches!(act, Act::Take { .. } | Act::Drop { .. }));
            self.carry_out(acts, rests, draft, &mut out);
            // What was taken or dropped may lead on at once.
            if !taken {
                break;
            }
        }
        self.trim_values();
        if !out.tasks.is_empty() {
            draft.more_follows();
        }
        out
    }

    fn acts(&self, plan: plan::Plan<'_>, definition: &Definition, run: &Run, now: i64) -> Vec<Act> {
        let mut acts: Vec<_> = plan.drop.into_iter().map(|key| Act::Drop { key }).collect();
        acts.extend(plan.take.into_iter().map(|(key, at)| Act::Take { key, at }));
        if let Some(end) = plan.end {
            acts.push(match end {
                Ok(value) => self.completion(value),
                Err(failure) => Act::Fail { failure },
            });
            return acts;
        }
        if run.events >= EVENTS_MAX {
            let text = format!("a run has at most {EVENTS_MAX} events; split it into child runs");
            acts.push(fail(None, "too_many_events", text));
            return acts;
        }
        acts.extend(plan.schedule.into_iter().map(|next| self.step(next, definition, run)));
        acts.extend(plan.wait.into_iter().map(|begin| self.wait(begin, run, now)));
        // One that cannot begin ends the run: nothing else of this plan begins.
        match acts.iter().position(|act| matches!(act, Act::Fail { .. })) {
            Some(first) => vec![acts.swap_remove(first)],
            None => acts,
        }
    }

    fn completion(&self, value: Arc<Value>) -> Act {
        let bytes = serde_json::to_vec(&*value).map_or(0, |bytes| bytes.len());
        let most = self.args.config.payload_max;
        if bytes > most {
            let text = format!("the output of the run has {bytes} bytes; at most {most} are kept");
            return fail(None, "output_too_large", text);
        }
        Act::Complete { value }
    }

    fn step(&self, next: Next<'_>, definition: &Definition, run: &Run) -> Act {
        let Next { key, node, input } = next;
        let Kind::Step(step) = &node.kind else {
            return fail(Some(key), "not_a_step", "only a step becomes a task".to_owned());
        };
        let payload = serde_json::to_vec(&*input).expect("JSON is written as JSON");
        let most = self.args.config.payload_max;
        if payload.len() > most {
            let text = format!("its input has {} bytes; at most {most} are sent", payload.len());
            return fail(Some(key), "input_too_large", text);
        }
        let leg = run.functions.get(&key).map_or(0, |function| function.leg);
        let id = self.task_of(&key, run, leg);
        let mut wants = definition.requirement(step, &self.args.models.now());
        wants.handler = step.handler.clone();
        let task = Box::new(Wanted {
            id,
            wants,
            handling: handling(step, definition, run),
            payload,
            absent_at: run.updated,
            step: StepRef { run: run.id.clone(), key: key.clone() },
            history: run.history_for_task(&key),
        });
        Act::Schedule { key, task }
    }

    /// The task of a step, in this round of the run and after so many suspensions: always the same.
    fn task_of(&self, key: &Key, run: &Run, leg: u32) -> TaskId {
        let (id, round) = (run.id.as_str().as_bytes(), run.round.to_be_bytes());
        let parts = [id, key.as_str().as_bytes(), &round, &leg.to_be_bytes()];
        TaskId::from_time_and_digest(run.started_at, &self.known.key.mac("run step", &parts))
    }

    fn wait(&self, begin: Begin<'_>, run: &Run, now: i64) -> Act {
        let Begin { key, what } = begin;
        let after = |ms: u64| now.saturating_add_unsigned(ms.saturating_mul(1_000));
        let wait = match what {
            Waits::For(ms) => Wait::Timer { until: after(ms), since: now },
            Waits::Until(at) => Wait::Timer { until: at, since: now },
            Waits::Signal { name, timeout_ms } => {
                Wait::Signal { name: name.to_owned(), until: timeout_ms.map(after), since: now }
            }
            Waits::Gate { rules, prompt, context, input } => {
                let bytes = gate::asked(&prompt, &context);
                let most = self.args.config.payload_max;
                if bytes.len() > most {
                    let text = format!("what is asked has more than {most} bytes");
                    return fail(Some(key), "prompt_too_large", text);
                }
                let gate = Box::new(Gate {
                    approvers: rules.approvers.clone(),
                    digest: self.known.key.digest(&gate::seen(&bytes, &input)),
                    expires_at: rules.expires_ms.map(after),
                    on_expiry: rules.on_expiry,
                    remind_ms: rules.remind_ms,
                    reminded_at: None,
                    votes: Vec::new(),
                    opened: 0,
                    opened_at: now,
                });
                let bound = run.id.as_str().as_bytes();
                let sealed = self.known.ring.seal(Purpose::Gate, bound, &bytes);
                return Act::Gate { key, gate, sealed };
            }
            Waits::Child { workflow, version, input } => {
                let depth = run.parent.as_ref().map_or(0, |parent| parent.depth) + 1;
                if depth > CHILD_DEPTH_MAX {
                    let text = format!("child runs are nested {CHILD_DEPTH_MAX} deep at most");
                    return fail(Some(key), "too_deep", text);
                }
                let id = self.child_of(&key, run);
                let parent = Parent { run: run.id.clone(), key: key.clone(), depth };
                let child = Box::new(Birth {
                    id: id.clone(),
                    workflow: workflow.to_owned(),
                    version: version.map(str::to_owned),
                    input,
                    parent,
                });
                let wait = Wait::Child { run: id, since: now };
                return Act::Wait { key, wait, child: Some(child) };
            }
        };
        Act::Wait { key, wait, child: None }
    }

    fn child_of(&self, key: &Key, run: &Run) -> RunId {
        let parts = [run.id.as_str().as_bytes(), key.as_str().as_bytes(), &run.round.to_be_bytes()];
        RunId::of_child(run.started_at, &self.known.key.mac("run child", &parts))
    }

    /// What a plan begins, where its events are on record already.
    pub(super) fn again(&self, plan: plan::Plan<'_>, definition: &Definition, run: &Run) -> Outbox {
        let mut out = Outbox::default();
        for next in plan.schedule {
            if let Act::Schedule { task, .. } = self.step(next, definition, run) {
                out.tasks.push(*task);
            }
        }
        for begin in plan.wait {
            if let Act::Wait { child: Some(child), .. } = self.wait(begin, run, 0) {
                out.children.push(*child);
            }
        }
        out
    }

    /// `rests`: nothing is to be done then but to wait. The last event says so.
    fn carry_out(&mut self, acts: Vec<Act>, rests: bool, draft: &mut Draft<'_>, out: &mut Outbox) {
        let by = &Cause::system();
        let (mut steps, count) = (Vec::new(), acts.len());
        for (n, act) in acts.into_iter().enumerate() {
            let rests = rests && n + 1 == count;
            match act {
                Act::Schedule { key, task } => {
                    steps.push(Scheduled { key, task: task.id });
                    out.tasks.push(*task);
                }
                Act::Wait { key, wait, child } => {
                    self.note(&Event::Waiting { key, wait, rests }, by, None, draft);
                    self.children_known &= child.is_none();
                    out.children.extend(child.map(|child| *child));
                }
                Act::Gate { key, gate, sealed } => {
                    self.note(&Event::GateOpened { key, gate, rests }, by, Some(sealed), draft);
                }
                Act::Take { key, at } => {
                    self.note(&Event::SignalTaken { key, at }, by, None, draft);
                }
                Act::Drop { key } => {
                    self.unwant(std::iter::once(&key), out);
                    self.note(&Event::StepDropped { key }, by, None, draft);
                }
                Act::Complete { value } => self.complete(&value, by, draft, out),
                Act::Fail { failure } => self.fail(failure, by, draft, out),
            }
        }
        if !steps.is_empty() {
            let at = self.note(&Event::Scheduled { steps }, by, None, draft);
            // Nobody can have made one of them before this.
            out.tasks.iter_mut().for_each(|task| task.absent_at = task.absent_at.max(at));
        }
    }

    /// Nobody wants the tasks and children behind these keys any more.
    fn unwant<'k>(&self, keys: impl Iterator<Item = &'k Key>, out: &mut Outbox) {
        let Some(run) = &self.run else { return };
        for key in keys {
            out.unwanted.extend(run.scheduled.get(key).map(|step| step.task));
            if let Some(Wait::Child { run, .. }) = run.waits.get(key) {
                out.orphans.push(run.clone());
            }
        }
    }

    /// Nothing that was begun is wanted any more.
    pub(super) fn unwant_all(&self, out: &mut Outbox) {
        let Some(run) = &self.run else { return };
        self.unwant(run.scheduled.keys().chain(run.waits.keys()), out);
    }

    fn complete(&mut self, value: &Value, by: &Cause, draft: &mut Draft<'_>, out: &mut Outbox) {
        let bytes = serde_json::to_vec(value).expect("JSON is written as JSON");
        let bound = self.args.run.as_str().as_bytes();
        let digest = self.known.key.digest(&bytes);
        let sealed = self.known.ring.seal_at_hand(Purpose::RunOutput, bound, bytes.into());
        self.unwant_all(out);
        self.last_words = Some(sealed.clone());
        self.note(&Event::Completed { digest }, by, Some(sealed), draft);
        self.over(out);
        metrics::counter!("fleetward_runs_ended_total", "as" => "completed").increment(1);
    }

    /// The run failed: its text is sealed beside that, wherever it came from.
    fn fail(&mut self, failure: Failure, by: &Cause, draft: &mut Draft<'_>, out: &mut Outbox) {
        let Failure { key, code, text, error } = failure;
        let text = text.or_else(|| self.text_at(error.as_ref()?));
        self.unwant_all(out);
        let sealed = text.as_ref().map(|text| {
            let cut = text.floor_char_boundary(ERROR_MAX.min(text.len()));
            let bound = self.args.run.as_str().as_bytes();
            self.known.ring.seal(Purpose::RunError, bound, &text.as_bytes()[..cut])
        });
        let group = text.as_ref().map(|text| {
            let mac = self.known.key.mac("error group", &[fingerprint(text).as_bytes()]);
            hex::encode(&mac[..8])
        });
        self.last_words = sealed.clone();
        let told = sealed.is_some();
        self.note(&Event::Failed { key, code, group, told }, by, sealed, draft);
        self.over(out);
        metrics::counter!("fleetward_runs_ended_total", "as" => "failed").increment(1);
    }

    /// The text of what failed, where it was read.
    fn text_at(&self, place: &Place) -> Option<String> {
        match self.values.get(&place.at).map(AsRef::as_ref) {
            Some(Value::String(text)) => Some(text.clone()),
            None | Some(Value::Null) => None,
            Some(other) => Some(other.to_string()),
        }
    }

    /// Nothing of it is needed any more, and the run above it is told.
    pub(super) fn over(&mut self, out: &mut Outbox) {
        self.values.clear();
        self.value_bytes = 0;
        out.ended = true;
    }
}

/// Whether nothing else comes of a plan but waits that end by themselves or by somebody outside. (A child has to be seen to
/// have begun.)
fn only_begins_to_wait(run: &Run, acts: &[Act]) -> bool {
    let waits = |act: &Act| matches!(act, Act::Wait { child: None, .. } | Act::Gate { .. });
    let is_child = |wait: &Wait| matches!(wait, Wait::Child { .. });
    let idle = run.scheduled.is_empty() && run.orphans.is_empty();
    idle && !run.waits.values().any(is_child) && acts.iter().all(waits)
}

fn fail(key: Option<Key>, code: &str, text: String) -> Act {
    Act::Fail { failure: Failure { key, code: code.to_owned(), text: Some(text), error: None } }
}

fn handling(step: &Step, definition: &Definition, run: &Run) -> Handling {
    let affinity = |wait_ms| Box::new(Affinity { key: run.id.as_str().to_owned(), wait_ms });
    Handling {
        affinity: definition.sticky_ms.map(affinity),
        priority: step.priority.unwrap_or(PRIORITY_DEFAULT),
        retry: step.retry.clone(),
        timeout_ms: step.timeout_ms,
        ..Handling::default()
    }
}

/// JSON of what was opened; what is none is text, as older workers report it.
pub(crate) fn value_of(bytes: &Bytes, is_text: bool) -> Arc<Value> {
    let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
    Arc::new(if is_text {
        text()
    } else {
        serde_json::from_slice(bytes).unwrap_or_else(|_| text())
    })
}
