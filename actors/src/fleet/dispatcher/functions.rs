//! What durable functions say of themselves: a step is done, or nothing is left to do until something happens.

use std::sync::Arc;

use fleetward_runtime::Context;
use fleetward_store::Origin;

use super::report::{self, Claimant};
use super::{Checkpoint, Message, State};
use crate::error::{Error, Kind, Refusal};
use crate::fleet::registry::Asked;
use crate::fleet::task::history::{self, BYTES_MAX, Called, ENTRIES_MAX, History, Pending};
use crate::fleet::task::{Event, Phase, Task};
use crate::guard::guarded;
use crate::id::TaskId;

impl State {
    /// Keeps what a step of a durable function resulted in: once, whatever its worker repeats.
    pub(super) fn checkpoint(
        &mut self,
        id: TaskId,
        claimant: Claimant,
        said: Checkpoint,
        origin: Option<Arc<Origin>>,
        cx: &Context<Message>,
    ) -> Result<Asked<()>, Error> {
        let Some(task) = self.book.task(id) else { return Ok(Asked::NotHere) };
        let Some(attempt) = guarded(cx, "decide/checkpoint", || taken(task, claimant, &said))?
        else {
            return Ok(Asked::Found(()));
        };
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us()).asked_by(origin);
        let Checkpoint { index, name, sealed, digest, bytes, took_ms } = said;
        let worker = claimant.worker;
        let event = Event::Checkpointed { attempt, worker, index, name, digest, bytes, took_ms };
        let by = self.book.author(worker);
        let stamp = draft.push::<Task>(id, &event, &by, Some(sealed));
        self.book.apply(id, &event, stamp);
        draft.submit();
        Ok(Asked::Found(()))
    }
}

/// Whether a checkpoint is taken, and of which attempt; none: it was taken before.
fn taken(task: &Task, claimant: Claimant, said: &Checkpoint) -> Result<Option<u32>, Refusal> {
    let attempt = report::owned(task, claimant)?;
    let failed = task.attempt.as_ref().is_some_and(|attempt| attempt.failed);
    if task.is_closed() || (task.phase == Phase::Waiting && failed) {
        let detail = "the attempt is over; stop working on the task";
        return Err(Refusal::new(Kind::Conflict, "attempt_over", detail));
    }
    let nothing = History::default();
    let known = task.history().unwrap_or(&nothing);
    if let Some(entry) = known.fits(said.index, Called::Step, &said.name)? {
        if entry.digest.as_ref() == Some(&said.digest) {
            return Ok(None);
        }
        let detail = format!(
            "position {} has a value already; a step that is done is not done again",
            said.index
        );
        return Err(Refusal::new(Kind::Conflict, "checkpoint_taken", detail));
    }
    history::position(said.index, &said.name)?;
    let bytes = known.bytes() + said.bytes;
    if bytes > BYTES_MAX {
        let detail = format!(
            "the steps of a function result in at most {BYTES_MAX} bytes together; this one would make it {bytes}"
        );
        return Err(Refusal::new(Kind::TooLarge, "checkpoints_too_large", detail));
    }
    Ok(Some(attempt))
}

/// Whether a task may be suspended for these waits.
///
/// # Errors
/// When nothing could go on with it, or the code does not fit what was done.
pub(super) fn may_suspend(task: &Task, waits: &[Pending]) -> Result<(), Refusal> {
    if task.step.is_none() {
        let detail = "only the step of a run can wait: start the function as a run";
        return Err(Refusal::new(Kind::Conflict, "not_a_step", detail));
    }
    let nothing = History::default();
    let known = task.history().unwrap_or(&nothing);
    let mut fresh = 0;
    for wait in waits {
        fresh += usize::from(known.fits(wait.index, wait.called(), &wait.name)?.is_none());
    }
    if known.len() + fresh > ENTRIES_MAX {
        let detail = format!("a function has at most {ENTRIES_MAX} steps and waits");
        return Err(Refusal::invalid("too_many_checkpoints", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fold, Stamp};
    use crate::fleet::task::{StepRef, history::Awaited, sample};
    use crate::id::WorkerId;
    use crate::seal::Sealed;

    fn said(index: u32, name: &str, digest: &str, bytes: u64) -> Checkpoint {
        let (name, digest) = (name.to_owned(), digest.to_owned());
        let sealed = Sealed::from_bytes(bytes::Bytes::new());
        Checkpoint { index, name, sealed, digest, bytes, took_ms: None }
    }

    #[test]
    fn checkpoint_is_taken_once_and_from_the_newest_attempt_only() {
        let (me, other) = (WorkerId::fresh(), WorkerId::fresh());
        let mut task = sample();
        let mut happens = |event: &Event| {
            task.evolve(event, Stamp { seq: 2, at: 1, by: "t" });
            task.clone()
        };
        let claimed = |attempt, worker| Event::Claimed { attempt, worker, request: None };
        happens(&claimed(1, me));
        let done = happens(&Event::Checkpointed {
            attempt: 1,
            worker: me,
            index: 0,
            name: "charge".to_owned(),
            digest: "d".to_owned(),
            bytes: 5,
            took_ms: None,
        });
        let lost = happens(&claimed(2, other));
        let claimant = Claimant { worker: me, attempt: Some(1), proved: true };
        let table = [
            (&done, said(1, "ship", "e", 1), "taken"),
            (&done, said(0, "charge", "d", 5), "before"),
            (&done, said(0, "charge", "x", 5), "checkpoint_taken"),
            (&done, said(0, "ship", "d", 5), "nondeterminism"),
            (&done, said(1_000, "ship", "e", 5), "too_many_checkpoints"),
            (&done, said(1, "ship", "e", BYTES_MAX - 4), "checkpoints_too_large"),
            (&lost, said(1, "ship", "e", 1), "attempt_superseded"),
            (
                &Task { phase: Phase::Cancelled { at: 1 }, ..done.clone() },
                said(1, "s", "e", 1),
                "attempt_over",
            ),
        ];
        for (task, said, expected) in table {
            let outcome = match taken(task, claimant, &said) {
                Ok(Some(1)) => "taken",
                Ok(Some(_)) => "of another attempt",
                Ok(None) => "before",
                Err(refusal) => refusal.code,
            };
            assert_eq!(outcome, expected, "{} {}", said.index, said.name);
        }
    }

    #[test]
    fn only_steps_of_runs_are_suspended() {
        let wait = Pending { index: 0, name: "nap".into(), wait: Awaited::Sleep { ms: 1 } };
        let step = StepRef { run: "r".parse().unwrap(), key: "s".into() };
        let task = Task { step: Some(step), ..sample() };

        assert!(may_suspend(&task, std::slice::from_ref(&wait)).is_ok());
        assert_eq!(may_suspend(&sample(), &[wait]).unwrap_err().code, "not_a_step");
    }
}
