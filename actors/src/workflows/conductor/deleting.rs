//! How a run comes to be no more: once it is over, owes nobody anything, and its schedule knows.

use fleetward_runtime::{Context, Reply};

use super::State;
use super::message::{Deletion, Message};
use crate::effect::Effect;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::schedules::scheduler;
use crate::workflows::run::{Command, Event, Run, allowed};

impl State {
    pub(super) fn delete(
        &mut self,
        deletion: Deletion,
        reply: Reply<Result<(), Error>>,
        cx: &Context<Message>,
    ) {
        let run = self.run.as_ref().ok_or_else(|| Refusal::not_found("run"));
        let scheduled = match run.and_then(|run| may_go(run, deletion.closed_before).map(|()| run))
        {
            Ok(run) => run.schedule.as_ref().filter(|_| !deletion.schedule_knows),
            Err(refusal) => return self.log.answer(reply, Err(refusal.into())),
        };
        if let Some(started_for) = scheduled {
            let (schedule, run) = (started_for.schedule, self.args.run.clone());
            let (told, knows) = Reply::channel();
            let tell = scheduler::Message::RunDeleted { schedule, run, reply: told };
            // Where the scheduler is between two lives, the answer is that it does not know.
            let _ = self.args.scheduler.send(tell);
            cx.spawn(knows, move |knows| match knows {
                Ok(()) => {
                    let deletion = Deletion { schedule_knows: true, ..deletion };
                    Message::Delete { deletion, reply }
                }
                Err(_) => Message::NotDeleted { reply },
            });
            return;
        }
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        self.deleted = self.note(&Event::Deleted {}, &deletion.by, None, &mut draft);
        self.run = None;
        draft.allow(Effect::Answer(reply.with(Ok(()))));
        draft.submit();
        metrics::counter!("fleetward_runs_deleted_total").increment(1);
    }

    pub(super) fn not_deleted(&self, reply: Reply<Result<(), Error>>) {
        let detail = "the schedules of the organisation are starting; try again".to_owned();
        self.log.answer(reply, Err(Error::Unavailable(detail)));
    }
}

/// Whether a run may be deleted.
///
/// # Errors
/// When it is not over, not for long enough, or others have yet to hear of its end.
fn may_go(run: &Run, closed_before: Option<i64>) -> Result<(), Refusal> {
    allowed(&run.phase, Command::Delete)?;
    let conflict = |code, detail: &str| Err(Refusal::new(Kind::Conflict, code, detail));
    if run.open() {
        return conflict(
            "run_ending",
            "runs above or below it have yet to hear that it ended; try again",
        );
    }
    match closed_before.zip(run.phase.closed_at()) {
        Some((before, at)) if at >= before => {
            conflict("not_old_enough", "the run ended a short while ago")
        }
        _ => Ok(()),
    }
}
