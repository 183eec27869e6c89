//! What the registry decides about workers' task tokens: who gets one, which is taken back, and who is locked.

use std::sync::Arc;

use fleetward_runtime::Context;
use fleetward_store::Origin;

use super::rules::tokens as rules;
use super::{Asked, Message, State, index};
use crate::cause::Cause;
use crate::error::{Error, Refusal};
use crate::fleet::worker::tokens::TakenBack;
use crate::fleet::worker::{self, Worker};
use crate::guard::guarded;
use crate::id::{SigningKeyId, TaskTokenId, WorkerId};

/// A token that a worker asks for, with proof of its key.
#[derive(Debug, Clone)]
pub struct NewTaskToken {
    /// Its id.
    pub id: TaskTokenId,
    /// The newest generation that the worker knows of: the token's is the next.
    pub after: u32,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
    /// Which key will sign it.
    pub signed_by: SigningKeyId,
}

impl State {
    pub(super) fn issue_token(
        &mut self,
        id: WorkerId,
        new: NewTaskToken,
        origin: Option<Arc<Origin>>,
        cx: &Context<Message>,
    ) -> Result<Asked<Worker>, Error> {
        let Some(worker) = self.rolls.workers.get(&id) else { return Ok(Asked::NotHere) };
        let used = self.args.credentials.get(id).map_or(0, |known| known.used());
        let now = cx.clock().wall_us();
        let event = guarded(cx, "decide/token", || rules::issue(worker, new, used, now))?;
        let by = Cause::of(format!("worker:{id}")).by_request(origin);
        self.change(id, &event, &by, cx);
        Ok(Asked::Found(self.rolls.workers[&id].clone()))
    }

    /// A token of generation `seen` was shown after one of generation `used` was used.
    pub(super) fn lock(
        &mut self,
        id: WorkerId,
        (seen, used): (u32, u32),
        origin: Option<Arc<Origin>>,
        cx: &Context<Message>,
    ) {
        let Some(worker) = self.rolls.workers.get(&id) else { return };
        if let Some(event) = rules::lock(worker, seen, used) {
            tracing::warn!(worker = %id, seen, used, "a copy of a worker's token was used: it is locked");
            self.change(id, &event, &Cause::system().by_request(origin), cx);
        }
    }

    pub(super) fn revoke_token(
        &mut self,
        token: TaskTokenId,
        reason: Option<String>,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<Worker, Error> {
        let now = cx.clock().wall_us();
        let mut workers = self.rolls.workers.values();
        let found = workers.find_map(|worker| Some((worker, worker.tokens.find(token, now)?)));
        let (worker, issued) = found.ok_or_else(|| Refusal::not_found("task token"))?;
        let (id, expires_at) = (worker.id, issued.expires_at);
        if !worker.tokens.is_taken_back(token) {
            let event = worker::Event::TokenRevoked { token, expires_at, reason };
            self.change(id, &event, by, cx);
        }
        Ok(self.rolls.workers[&id].clone())
    }

    /// Tokens that were taken back and are not over, the last one first.
    pub(super) fn revoked_tokens(&self, cx: &Context<Message>) -> Vec<(WorkerId, TakenBack)> {
        let now = cx.clock().wall_us();
        let of = |worker: &Worker| {
            let good = worker.tokens.revoked.iter().filter(|token| token.expires_at > now);
            good.map(|token| (worker.id, token.clone())).collect::<Vec<_>>()
        };
        let mut revoked: Vec<_> = self.rolls.workers.values().flat_map(of).collect();
        revoked.sort_by_key(|(_, token)| std::cmp::Reverse(token.at));
        revoked
    }

    /// One fact about a worker, and what follows from it.
    fn change(&mut self, id: WorkerId, event: &worker::Event, by: &Cause, cx: &Context<Message>) {
        let mut draft = self.log.begin(cx.clock().wall_us());
        let stamp = draft.push::<Worker>(id, event, by, None);
        self.rolls.apply_worker(id, event, stamp);
        index(&self.args.credentials, &self.rolls.workers[&id], &mut draft);
        draft.submit();
        if let worker::Event::Locked { .. } = event {
            self.tell(id);
        }
    }
}
