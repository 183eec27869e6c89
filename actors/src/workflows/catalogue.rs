//! The catalogue of workflows of one organisation. Told by operators who apply or retire a definition; tells the shelf,
//! where everybody reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetward_runtime::{Actor, Context, Crash, Reply, StartError};

use super::definition::Definition;
use super::shelf::Shelf;
use super::workflow::{Event, Workflow};
use crate::cause::Cause;
use crate::effect::Effect;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::keeper;
use crate::journal::CellLog;

/// Most workflows of an organisation.
const WORKFLOWS_MAX: usize = 10_000;
/// Most versions of one workflow.
const VERSIONS_MAX: usize = 1_000;

/// What it starts from.
#[derive(Clone)]
pub struct Args {
    /// Gives it what was true.
    pub keeper: keeper::Handle,
    /// Where everybody reads.
    pub shelf: Arc<Shelf>,
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From an operator.
    Apply {
        /// What new runs get.
        definition: Arc<Definition>,
        /// Its hash.
        version: String,
        /// Only runs that name this version get it.
        aside: bool,
        /// Who, by which request.
        by: Cause,
        /// As it is then.
        reply: Reply<Result<Arc<Workflow>, Error>>,
    },
    /// From an operator.
    Retire {
        /// Which.
        name: String,
        /// Who, by which request.
        by: Cause,
        /// As it is then.
        reply: Reply<Result<Arc<Workflow>, Error>>,
    },
}

/// Its memory.
pub struct State {
    args: Args,
    log: CellLog,
    workflows: BTreeMap<String, Arc<Workflow>>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, _cx: &mut Context<Message>) -> Result<Self, StartError> {
        let mut part = args.keeper.take(&[Workflow::KIND]).await?;
        let all = part.states::<Workflow>().into_iter().map(Arc::new);
        let workflows: BTreeMap<_, _> = all.map(|known| (known.name.clone(), known)).collect();
        workflows.values().for_each(|known| args.shelf.set(known.clone()));
        Ok(Self { args, log: part.log, workflows })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Apply { definition, version, aside, by, reply } => {
                let event = self.applied(definition, version, aside);
                self.change(event, &by, reply, cx);
            }
            Message::Retire { name, by, reply } => {
                let event = self.retired(name);
                self.change(event, &by, reply, cx);
            }
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Apply { .. } => "Apply",
            Message::Retire { .. } => "Retire",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "workflows": self.workflows.len() })
    }
}

impl State {
    /// What an apply does: nothing, where it is so already.
    fn applied(
        &self,
        definition: Arc<Definition>,
        version: String,
        aside: bool,
    ) -> Result<(String, Option<Event>), Refusal> {
        let name = definition.name.clone();
        let known = self.workflows.get(&name);
        let too_many = |what| Err(Refusal::new(Kind::Conflict, "too_many", what));
        match known {
            None if self.workflows.len() >= WORKFLOWS_MAX => {
                return too_many(format!("an organisation has at most {WORKFLOWS_MAX} workflows"));
            }
            Some(known) if known.latest == version && !known.retired => return Ok((name, None)),
            Some(known) if aside && known.versions.contains_key(&version) => {
                return Ok((name, None));
            }
            Some(known)
                if known.versions.len() >= VERSIONS_MAX
                    && !known.versions.contains_key(&version) =>
            {
                return too_many(format!("a workflow has at most {VERSIONS_MAX} versions"));
            }
            _ => {}
        }
        Ok((name, Some(Event::Applied { version, definition, aside })))
    }

    fn retired(&self, name: String) -> Result<(String, Option<Event>), Refusal> {
        let known = self.workflows.get(&name).ok_or_else(|| Refusal::not_found("workflow"))?;
        let event = (!known.retired).then_some(Event::Retired {});
        Ok((name, event))
    }

    fn change(
        &mut self,
        event: Result<(String, Option<Event>), Refusal>,
        by: &Cause,
        reply: Reply<Result<Arc<Workflow>, Error>>,
        cx: &Context<Message>,
    ) {
        let (name, event) = match event {
            Ok(found) => found,
            Err(refusal) => return self.log.answer(reply, Err(refusal.into())),
        };
        let mut draft = self.log.begin(cx.clock().wall_us());
        if let Some(event) = event {
            let stamp = draft.push::<Workflow>(&name, &event, by, None);
            let now = match self.workflows.remove(&name) {
                None => Workflow::begin(&event, stamp),
                Some(known) => {
                    let mut known = Arc::unwrap_or_clone(known);
                    known.evolve(&event, stamp);
                    Some(known)
                }
            };
            if let Some(now) = now.map(Arc::new) {
                self.workflows.insert(name.clone(), now.clone());
                let index = self.args.shelf.clone();
                draft.allow(Effect::Workflow { index, workflow: now });
            }
        }
        let now = self.workflows.get(&name).cloned();
        let answer = now.ok_or_else(|| Refusal::not_found("workflow").into());
        draft.allow(Effect::Answer(reply.with(answer)));
        draft.submit();
    }
}
