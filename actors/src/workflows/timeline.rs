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
}
