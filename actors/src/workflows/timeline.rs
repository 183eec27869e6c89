//! What the time of a run went to: waiting for a worker, running, backing off, waiting for people, times, signals and
//! children. Made from the events of the run and of its tasks. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::run::Key;

/// One event, as far as it matters here.
#[derive(Debug, Clone)]
pub struct Moment<'a> {
    /// When, in microseconds UTC.
    pub at: i64,
    /// Its kind.
    pub kind: &'a str,
    /// The node that it is about.
    pub key: Option<&'a Key>,
    /// What is in the open.
    pub body: &'a Value,
}

/// What a stretch of time went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Spent {
    /// No worker had it yet.
    Queued,
    /// A worker had it.
    Running,
    /// An attempt had failed, and the next was not due.
    BackOff,
    /// Its durable function did a step, while a worker had it.
    Step,
    /// People were asked.
    Approval,
    /// It waited for a time.
    Timer,
    /// It waited for a signal.
    Signal,
    /// It waited for another run.
    Child,
}

/// A stretch of time of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The node.
    pub key: Key,
    /// What it went to.
    pub what: Spent,
    /// When it began, in microseconds UTC.
    pub from: i64,
    /// When it ended; what goes on ends now.
    pub to: i64,
    /// Of an attempt: which.
    pub attempt: Option<u32>,
    /// Of an attempt: who had it.
    pub worker: Option<String>,
}

impl Spent {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::BackOff => "back_off",
            Self::Step => "step",
            Self::Approval => "approval",
            Self::Timer => "timer",
            Self::Signal => "signal",
            Self::Child => "child",
        }
    }
}

/// What is open of a node, and since when.
struct Open {
    what: Spent,
    from: i64,
    attempt: Option<u32>,
    worker: Option<String>,
    /// Of a back-off: when it ends.
    until: Option<i64>,
}

/// The stretches of time of a run, by when they began. `moments` in order; what is open goes to `now`.
pub fn spans<'a>(moments: impl IntoIterator<Item = Moment<'a>>, now: i64) -> Vec<Span> {
    let mut open: BTreeMap<Key, Open> = BTreeMap::new();
    let mut spans = Vec::new();
    for moment in moments {
        if moment.kind == "run.scheduled" {
            let steps = moment.body.get("steps").and_then(Value::as_array);
            for step in steps.into_iter().flatten() {
                let Some(key) = step.get("key").and_then(Value::as_str) else { continue };
                open.insert(Key::from(key), begun(Spent::Queued, moment.at));
            }
            continue;
        }
        if matches!(moment.kind, "run.completed" | "run.failed" | "run.cancelled") {
            let left = std::mem::take(&mut open);
            left.into_iter().for_each(|(key, open)| close(&mut spans, key, open, moment.at));
            continue;
        }
        let Some(key) = moment.key else { continue };
        if moment.kind == "task.checkpointed" {
            spans.extend(step(&moment, key, open.get(key)));
            continue;
        }
        if matches!(moment.kind, "run.step_completed" | "run.step_failed" | "run.step_dropped") {
            // What a durable function still waited for nobody waits for any more.
            let left: Vec<_> = open.keys().filter(|known| known.is_within(key)).cloned().collect();
            for key in left {
                let Some(was) = open.remove(&key) else { continue };
                close(&mut spans, key, was, moment.at);
            }
        }
        let next = next(&moment);
        let changes = next.is_some() || ends(moment.kind);
        if changes && let Some(was) = open.remove(key) {
            close(&mut spans, key.clone(), was, moment.at);
        }
        open.extend(next.map(|next| (key.clone(), next)));
    }
    open.into_iter().for_each(|(key, open)| close(&mut spans, key, open, now));
    spans.sort_by(|a, b| (a.from, &a.key, a.what).cmp(&(b.from, &b.key, b.what)));
    spans
}

/// A step of a durable function: as long as its worker says, within its attempt.
fn step(moment: &Moment<'_>, key: &Key, open: Option<&Open>) -> Option<Span> {
    let number = |name| moment.body.get(name).and_then(Value::as_u64);
    let name = moment.body.get("name").and_then(Value::as_str)?;
    let index = u32::try_from(number("index")?).ok()?;
    let took_us = number("took_ms").unwrap_or(0).saturating_mul(1_000);
    let began = open.map_or(moment.at, |open| open.from.min(moment.at));
    let from = moment.at.saturating_sub_unsigned(took_us).max(began);
    let (attempt, worker) = open.map_or((None, None), |open| (open.attempt, open.worker.clone()));
    let key = key.within(index, name);
    Some(Span { key, what: Spent::Step, from, to: moment.at, attempt, worker })
}

fn begun(what: Spent, from: i64) -> Open {
    Open { what, from, attempt: None, worker: None, until: None }
}

/// What begins with an event.
fn next(moment: &Moment<'_>) -> Option<Open> {
    let at = moment.at;
    match moment.kind {
        "task.claimed" => Some(Open {
            attempt: moment.body.get("attempt").and_then(Value::as_u64).map(|n| n as u32),
            worker: moment.body.get("worker").and_then(Value::as_str).map(str::to_owned),
            ..begun(Spent::Running, at)
        }),
        "task.returned" | "task.revived" => Some(begun(Spent::Queued, at)),
        "task.retry_scheduled" => {
            let until = moment.body.get("ready_at").and_then(Value::as_i64);
            Some(Open { until, ..begun(Spent::BackOff, at) })
        }
        "run.gate_opened" => Some(begun(Spent::Approval, at)),
        "run.waiting" => {
            let what = match moment.body.pointer("/wait/for").and_then(Value::as_str)? {
                "timer" => Spent::Timer,
                "signal" => Spent::Signal,
                "child" => Spent::Child,
                _ => return None,
            };
            Some(begun(what, at))
        }
        _ => None,
    }
}

/// Whether a node has ended with an event.
fn ends(kind: &str) -> bool {
    matches!(
        kind,
        "task.completed"
            | "task.failed"
            | "task.suspended"
            | "task.cancelled"
            | "task.discarded"
            | "run.timer_fired"
            | "run.gate_rejected"
            | "run.gate_expired"
            | "run.signal_taken"
            | "run.signal_missed"
            | "run.child_completed"
            | "run.child_failed"
            | "run.step_completed"
            | "run.step_suspended"
            | "run.step_failed"
            | "run.step_dropped"
    )
}

fn close(spans: &mut Vec<Span>, key: Key, open: Open, at: i64) {
    let Open { what, from, attempt, worker, until } = open;
    // Behind its back-off a task waits for a worker.
    let cut = until.map_or(at, |until| until.clamp(from, at));
    spans.push(Span { key: key.clone(), what, from, to: cut, attempt, worker });
    if cut < at {
        let queued = Spent::Queued;
        spans.push(Span { key, what: queued, from: cut, to: at, attempt: None, worker: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn queue_run_back_off_and_approval_are_told_apart() {
        let (draft, review) = (Key::from("draft"), Key::from("review"));
        let story = [
            (0, "run.scheduled", None, json!({"steps": [{"key": "draft", "task": "t"}]})),
            (2, "task.claimed", Some(&draft), json!({"attempt": 1, "worker": "w"})),
            (5, "task.retry_scheduled", Some(&draft), json!({"attempt": 1, "ready_at": 9})),
            (11, "task.claimed", Some(&draft), json!({"attempt": 2, "worker": "w"})),
            (20, "task.completed", Some(&draft), json!({})),
            (20, "run.step_completed", Some(&draft), json!({})),
            (20, "run.gate_opened", Some(&review), json!({})),
            (60, "run.gate_approved", Some(&review), json!({})),
            (60, "run.completed", None, json!({})),
        ];
        let moments =
            story.iter().map(|(at, kind, key, body)| Moment { at: *at, kind, key: *key, body });

        let told: Vec<_> = spans(moments, 100)
            .iter()
            .map(|span| format!("{} {} {}-{}", span.key, span.what.as_str(), span.from, span.to))
            .collect();

        assert_eq!(
            told,
            [
                "draft queued 0-2",
                "draft running 2-5",
                "draft back_off 5-9",
                "draft queued 9-11",
                "draft running 11-20",
                "review approval 20-60",
            ]
        );
    }

    #[test]
    fn steps_and_waits_of_a_durable_function_have_spans_of_their_own() {
        let (order, nap) = (Key::from("order"), Key::from("order[1]/sleep"));
        let other = Key::from("order[2]/stop");
        let story = [
            (0, "task.claimed", &order, json!({"attempt": 1, "worker": "w"})),
            (
                5_000,
                "task.checkpointed",
                &order,
                json!({"index": 0, "name": "charge", "took_ms": 3}),
            ),
            (6_000, "task.suspended", &order, json!({"attempt": 1})),
            (6_000, "run.step_suspended", &order, json!({})),
            (6_000, "run.waiting", &nap, json!({"wait": {"for": "timer"}})),
            (6_000, "run.waiting", &other, json!({"wait": {"for": "signal"}})),
            (9_000, "run.timer_fired", &nap, json!({})),
            (9_500, "task.claimed", &order, json!({"attempt": 1, "worker": "w"})),
            (9_900, "run.step_completed", &order, json!({})),
        ];
        let moments = story.iter().map(|(at, kind, key, body)| {
            let key = Some(*key);
            Moment { at: *at, kind, key, body }
        });

        let told: Vec<_> = spans(moments, 20_000)
            .iter()
            .map(|span| format!("{} {} {}-{}", span.key, span.what.as_str(), span.from, span.to))
            .collect();

        assert_eq!(
            told,
            [
                "order running 0-6000",
                "order[0]/charge step 2000-5000",
                "order[1]/sleep timer 6000-9000",
                "order[2]/stop signal 6000-9900",
                "order running 9500-9900",
            ]
        );
    }
}
