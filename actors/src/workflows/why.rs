//! Why a run stands where it stands, in words. Pure.

use chrono::{DateTime, SecondsFormat};

use super::run::{Phase, Run, Wait};

/// What a run waits for, or why it ended. Of its tasks it says only that they are: those have words of their own.
pub fn explain(run: &Run) -> Vec<String> {
    let mut reasons = Vec::new();
    match &run.phase {
        Phase::Running => {}
        Phase::Paused => {
            reasons.push("it is paused: what runs goes on, nothing new begins".to_owned());
        }
        Phase::Completed { at, .. } => return vec![format!("it completed at {}", time(*at))],
        Phase::Cancelled { at } => return vec![format!("it was cancelled at {}", time(*at))],
        Phase::Discarded { at } => {
            return vec![format!("it had failed, and was discarded at {}", time(*at))];
        }
        Phase::Deleted => return vec!["it was deleted".to_owned()],
        Phase::Failed { at, key, code, .. } => {
            let node = key.as_ref().map_or(String::new(), |key| format!(" at node {key}"));
            return vec![format!(
                "it failed{node} at {}: {code}; it can be retried from there, or discarded",
                time(*at)
            )];
        }
    }
    if let Some(stuck) = &run.stuck {
        reasons.push(format!("it is stuck: {}", stuck.why));
    }
    for (key, function) in run.functions.iter().filter(|(_, known)| !known.waits.is_empty()) {
        let done = function.history.len() - function.waits.len().min(function.history.len());
        let waits = function.waits.iter();
        let waits = waits.map(|wait| key.within(wait.index, &wait.name).to_string());
        let waits = waits.collect::<Vec<_>>().join(" or ");
        reasons.push(format!(
            "{key} is suspended, on no worker, after {done} calls: it goes on behind {waits}"
        ));
    }
    for (key, wait) in &run.waits {
        let since = time(wait.since());
        reasons.push(match wait {
            Wait::Timer { until, .. } => format!("{key} sleeps until {}", time(*until)),
            Wait::Signal { name, until, .. } => {
                let until = until.map_or(String::new(), |at| format!(", until {}", time(at)));
                format!("{key} waits for the signal {name:?} since {since}{until}")
            }
            Wait::Child { run, .. } => format!("{key} waits for the run {run} since {since}"),
            Wait::Gate(gate) => {
                let missing =
                    (gate.approvers.quorum.max(1) as usize).saturating_sub(gate.votes.len());
                let who = match gate.approvers.people.iter().cloned().collect::<Vec<_>>() {
                    people if people.is_empty() => "whoever may".to_owned(),
                    people => people.join(", "),
                };
                let until =
                    gate.expires_at.map_or(String::new(), |at| format!(", until {}", time(at)));
                format!("{key} waits for {missing} more approvals by {who} since {since}{until}")
            }
        });
    }
    for (key, step) in &run.scheduled {
        reasons.push(format!("{key} is task {} since {}", step.task, time(step.since)));
    }
    if reasons.is_empty() {
        reasons.push("it is about to go on".to_owned());
    }
    reasons
}

fn time(us: i64) -> String {
    DateTime::from_timestamp_micros(us)
        .map_or_else(|| us.to_string(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
