//! Whether what came from outside can happen to a run that stands as its events say. Pure.

use crate::workflows::run::{Command, Event, Key, Run, Wait, allowed};

/// Whether what came from outside can happen to a run that stands so; if not, why.
pub(super) fn fits(run: &Run, event: &Event) -> Result<(), String> {
    let waits = |key: &Key, fits: fn(&Wait) -> bool, what: &str| match run.waits.get(key) {
        Some(wait) if fits(wait) => Ok(()),
        _ => Err(format!("{key} does not wait for {what}")),
    };
    let takes = |command| match allowed(&run.phase, command) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("the run is {} already", run.phase.as_str())),
        Err(refusal) => Err(refusal.detail),
    };
    match event {
        Event::StepCompleted { key, task, .. }
        | Event::StepSuspended { key, task, .. }
        | Event::StepFailed { key, task, .. } => match run.scheduled.get(key) {
            Some(step) if step.task == *task => Ok(()),
            Some(_) => Err(format!("{key} is another task now")),
            None => Err(format!("no task of {key} is open")),
        },
        Event::TimerFired { key } => {
            waits(key, |wait| matches!(wait, Wait::Timer { .. }), "a time")
        }
        Event::GateApproved { key, .. }
        | Event::GateRejected { key, .. }
        | Event::GateExpired { key, .. }
        | Event::GateReminded { key } => waits(key, |wait| matches!(wait, Wait::Gate(_)), "people"),
        Event::SignalMissed { key } => {
            waits(key, |wait| matches!(wait, Wait::Signal { .. }), "a signal")
        }
        Event::ChildCompleted { key, run: child, .. }
        | Event::ChildFailed { key, run: child, .. } => match run.waits.get(key) {
            Some(Wait::Child { run, .. }) if run == child => Ok(()),
            _ => Err(format!("{key} does not wait for the run {child}")),
        },
        // Said of a run, and not done by it.
        Event::Stuck { .. } | Event::Unstuck {} => Ok(()),
        Event::Rested {} if run.only_waits() => Ok(()),
        Event::Rested {} => Err("the run does not only wait".to_owned()),
        Event::ParentTold {} if run.owes().is_some() => Ok(()),
        Event::ParentTold {} => Err("no run above it has yet to note its end".to_owned()),
        Event::OrphanEnded { run: child } if run.orphans.contains(child) => Ok(()),
        Event::OrphanEnded { run: child } => {
            Err(format!("{child} is wanted, or is no child of it"))
        }
        Event::Started { .. } => Err("the run has begun before".to_owned()),
        Event::Signalled { .. } => takes(Command::Signal),
        Event::Paused { .. } => takes(Command::Pause),
        Event::Resumed {} => takes(Command::Resume),
        Event::Cancelled { .. } => takes(Command::Cancel),
        Event::Revived { .. } => takes(Command::Retry),
        Event::Discarded { .. } => takes(Command::Discard),
        Event::Deleted {} => takes(Command::Delete),
        // These are held against the plan.
        Event::Scheduled { .. }
        | Event::Waiting { .. }
        | Event::GateOpened { .. }
        | Event::SignalTaken { .. }
        | Event::StepDropped { .. }
        | Event::Completed { .. }
        | Event::Failed { .. } => Ok(()),
    }
}

/// The node that something from outside came for.
pub(super) fn key_of(event: &Event) -> Option<&Key> {
    match event {
        Event::StepCompleted { key, .. }
        | Event::StepSuspended { key, .. }
        | Event::StepFailed { key, .. }
        | Event::TimerFired { key }
        | Event::GateApproved { key, .. }
        | Event::GateRejected { key, .. }
        | Event::GateExpired { key, .. }
        | Event::GateReminded { key }
        | Event::SignalMissed { key }
        | Event::ChildCompleted { key, .. }
        | Event::ChildFailed { key, .. } => Some(key),
        _ => None,
    }
}
