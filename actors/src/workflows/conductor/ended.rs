//! What ended elsewhere: tasks and child runs, as they say themselves or as they are found.

use fleetward_runtime::{Context, Reply};

use super::message::{ChildEnded, Message, Stands, StepEnded};
use super::reading;
use super::{AGAIN, State};
use crate::cause::Cause;
use crate::workflows::run::{Event, Key, Place, Wait, What};

impl State {
    pub(super) fn step_ended(&mut self, ended: StepEnded, cx: &Context<Message>) {
        self.ended(vec![(ended.key.clone(), Stands::Ended(Box::new(ended)))], cx);
    }

    pub(super) fn child_ended(
        &mut self,
        ended: ChildEnded,
        reply: Reply<()>,
        cx: &Context<Message>,
    ) {
        self.ended(vec![(ended.key.clone(), Stands::ChildEnded(Box::new(ended)))], cx);
        self.log.answer(reply, ());
    }

    /// Notes what ended, and goes on.
    fn ended(&mut self, found: Vec<(Key, Stands)>, cx: &Context<Message>) {
        // What they bring is opened before the order of the cell is taken.
        let news = |(_, stands)| match stands {
            Stands::Ended(ended) => self.of_step(*ended),
            Stands::ChildEnded(ended) => self.of_child(*ended),
            Stands::Open
            | Stands::Unclaimed
            | Stands::Absent(_)
            | Stands::NoChild
            | Stands::Born(_) => None,
        };
        let news: Vec<_> = found.into_iter().filter_map(news).collect();
        if news.is_empty() {
            return self.log.nothing_follows();
        }
        let by = Cause::system();
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        for event in news {
            self.note(&event, &by, None, &mut draft);
        }
        let out = self.advance(&mut draft, cx);
        draft.submit();
        self.send(out, cx);
    }

    /// The end of a task, if that is the one that the run waits for.
    fn of_step(&mut self, ended: StepEnded) -> Option<Event> {
        let StepEnded { key, task, failed, at, sealed, seen, steps, waits } = ended;
        let wanted = self.run.as_ref()?.scheduled.get(&key)?.task == task;
        if !wanted {
            return None;
        }
        let what = match &failed {
            None if waits.is_some() => What::Asked { task },
            None => What::Result { task },
            Some(_) => What::Error { task },
        };
        if let (Some(at), Some(sealed)) = (at, sealed) {
            self.keep(Place { at, what }, &sealed);
        }
        if let (Some(waits), Some(at)) = (waits, at) {
            return Some(Event::StepSuspended { key, task, at, seen, steps, waits });
        }
        Some(match (failed, at) {
            (None, Some(at)) => Event::StepCompleted { key, task, at, seen },
            (None, None) => {
                let code = "result_lost".to_owned();
                Event::StepFailed { key, task, at: None, code, seen, steps }
            }
            (Some(code), at) => Event::StepFailed { key, task, at, code, seen, steps },
        })
    }

    fn of_child(&mut self, ended: ChildEnded) -> Option<Event> {
        let ChildEnded { key, run, failed, at } = ended;
        let waits = match self.run.as_ref()?.waits.get(&key)? {
            Wait::Child { run: child, .. } => *child == run,
            _ => false,
        };
        waits.then(|| match (failed, at) {
            (None, Some(at)) => Event::ChildCompleted { key, run, at },
            (None, None) => {
                Event::ChildFailed { key, run, at: None, code: "result_lost".to_owned() }
            }
            (Some(code), at) => Event::ChildFailed { key, run, at, code },
        })
    }

    /// How the tasks and children stand that nothing was heard of.
    pub(super) fn found(
        &mut self,
        found: Result<Vec<(Key, Stands)>, String>,
        cx: &Context<Message>,
    ) {
        self.asking = false;
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                tracing::debug!(run = %self.args.run, %why, "what a run waits for is not known yet");
                self.tend = Some(cx.after(AGAIN, Message::TendDue));
                return;
            }
        };
        self.know_children(&found);
        self.disown(&found, cx);
        self.watch_over(&found, cx);
        let absent: Vec<_> = found
            .iter()
            .filter_map(|(key, stands)| match stands {
                Stands::Absent(as_of) => Some((key.clone(), Some(*as_of))),
                Stands::NoChild => Some((key.clone(), None)),
                _ => None,
            })
            .collect();
        self.ended(found, cx);
        self.want_again(&absent, cx);
    }

    /// Whether all children that it waits for were found at work.
    fn know_children(&mut self, found: &[(Key, Stands)]) {
        let open = |key: &Key| found.iter().any(|(of, is)| of == key && matches!(is, Stands::Open));
        let waits = self.run.iter().flat_map(|run| &run.waits);
        let mut children = waits.filter(|(_, wait)| matches!(wait, Wait::Child { .. }));
        self.children_known |= children.all(|(key, _)| open(key));
    }

    /// Ends children that began only after they were not wanted any more, and were not there to be told so.
    fn disown(&self, found: &[(Key, Stands)], cx: &Context<Message>) {
        let (Some(run), Some(runs)) = (&self.run, self.args.runs.get()) else { return };
        for (key, stands) in found {
            if let Stands::Born(child) = stands
                && run.waits.get(key).and_then(Wait::child) != Some(child)
            {
                reading::cancel_child(runs.clone(), child.clone(), cx);
            }
        }
    }

    /// Looks at everything that it waits for and that is not in its own hands.
    pub(super) fn ask(&mut self, cx: &Context<Message>) {
        let Some(run) = self.run.as_ref().filter(|run| !run.is_closed()) else { return };
        if self.asking {
            // What is asked after already may not be all of it.
            self.tend = Some(cx.after(AGAIN, Message::TendDue));
            return;
        }
        let tasks: Vec<_> =
            run.scheduled.iter().map(|(key, step)| (key.clone(), step.task)).collect();
        let child = |(key, wait): (&Key, &Wait)| match wait {
            Wait::Child { run, .. } => Some((key.clone(), run.clone())),
            _ => None,
        };
        let children: Vec<_> = run.waits.iter().filter_map(child).collect();
        if tasks.is_empty() && children.is_empty() {
            return;
        }
        self.asking = true;
        let look = reading::Look {
            dispatcher: self.args.dispatcher.clone(),
            runs: self.args.runs.get().cloned(),
            store: self.args.store.clone(),
            cell: self.args.cell,
            projector: self.args.projector.clone(),
            positions: self.log.positions().clone(),
            within: self.args.config.answer_within,
        };
        cx.spawn(look.all(tasks, children), |found| Message::Found { found });
    }

    /// Asks after what nothing was heard of, and goes on where it can.
    pub(super) fn tend(&mut self, cx: &Context<Message>) {
        self.tend = None;
        self.tell_parent(cx);
        self.end_orphans(cx);
        self.ask(cx);
        if !self.asking {
            self.watch_over(&[], cx);
        }
        if self.is_paused() {
            return;
        }
        self.go_on(cx);
    }
}
