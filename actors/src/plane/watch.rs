//! Keeps an eye on who asks: notes on the record what changes nothing. Refused requests are counted in bounded memory and
//! noted once a minute; sign-ins and reads are noted when they are new.

mod recent;
mod tally;

use std::net::IpAddr;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use fleetward_runtime::Reply;
use fleetward_store::CellId;

use super::{Caller, ControlPlane, SYSTEM_CELL};
use crate::access::Event;
use crate::cause::Cause;
use crate::error::Error;
use crate::fleet::registry;
use crate::id::{RunId, TaskId, TokenId};
use crate::system::directory;
use recent::Recent;
use tally::Tally;

/// Refused requests of this long are one event.
const REFUSED_EVERY: Duration = Duration::from_secs(60);
/// A token that was used from an address is not noted again from there for this long: 12 hours, a day's work.
const SIGN_IN_WINDOW_US: i64 = 12 * 3600 * 1_000_000;
/// A task whose output a token has read is not noted again for that token for this long: 10 minutes.
const READ_WINDOW_US: i64 = 600 * 1_000_000;

/// What is remembered of who asked, within bounds.
#[derive(Debug, Default)]
pub(super) struct Watch {
    refused: DashMap<CellId, Tally>,
    sign_ins: Recent<(TokenId, Option<IpAddr>)>,
    reads: Recent<(TokenId, TaskId)>,
    run_reads: Recent<(TokenId, RunId)>,
}

impl ControlPlane {
    /// Counts a request that was refused: in the record of the organisation whose credentials it proved, or (`None`) in
    /// that of the system. Nothing is stored before a minute is over.
    pub fn refused(&self, cell: Option<CellId>, code: &'static str, source: Option<IpAddr>) {
        let cell = cell.unwrap_or(SYSTEM_CELL);
        let now = self.shared.clock.wall_us();
        match self.shared.watch.refused.entry(cell) {
            Entry::Occupied(mut tally) => tally.get_mut().add(code, source),
            Entry::Vacant(place) => {
                let mut tally = Tally::new(now);
                tally.add(code, source);
                drop(place.insert(tally));
                let plane = self.clone();
                self.shared.system.spawn("refused requests", async move {
                    plane.shared.clock.sleep(REFUSED_EVERY).await;
                    plane.note_refused(cell).await;
                });
            }
        }
    }

    /// What was counted and not yet noted goes on the record now: before a drain.
    pub(super) async fn note_all_refused(&self) {
        let cells: Vec<_> = self.shared.watch.refused.iter().map(|tally| *tally.key()).collect();
        for cell in cells {
            self.note_refused(cell).await;
        }
    }

    /// A minute that cannot be written is lost, and the log says how many it had.
    async fn note_refused(&self, cell: CellId) {
        let Some((_, tally)) = self.shared.watch.refused.remove(&cell) else { return };
        let count = tally.count();
        if let Err(error) = self.note(cell, tally.event(), Cause::system()).await {
            tracing::warn!(%cell, count, %error, "refused requests are not on the record");
        }
    }

    /// Notes that a caller has come, if it is new from where it comes; nobody waits for that. A caller within the process
    /// comes from nowhere.
    pub fn sign_in(&self, caller: &Caller) {
        let Some(origin) = caller.by.origin() else { return };
        let (key, now) = ((caller.token, origin.source), self.shared.clock.wall_us());
        if !self.shared.watch.sign_ins.is_new(key, now, SIGN_IN_WINDOW_US) {
            return;
        }
        let known = caller.org.and_then(|org| self.shared.principals.org(org));
        let cell = known.map_or(SYSTEM_CELL, |known| known.org.cell());
        let event = Event::SignedIn { token: caller.token, role: caller.role };
        let (plane, by) = (self.clone(), caller.by.clone());
        self.shared.system.spawn("sign-in", async move {
            if let Err(error) = plane.note(cell, event, by).await {
                // Its next request says it again.
                plane.shared.watch.sign_ins.forget(&key);
                tracing::warn!(%cell, %error, "a sign-in is not on the record yet");
            }
        });
    }

    /// Notes that a caller is about to be answered with what is sealed in these tasks. Returns once that is durable.
    pub(super) async fn note_reads(
        &self,
        cell: CellId,
        (token, by): (TokenId, &Cause),
        mut tasks: Vec<TaskId>,
    ) -> Result<(), Error> {
        if by.origin().is_none() {
            return Ok(());
        }
        let (reads, now) = (&self.shared.watch.reads, self.shared.clock.wall_us());
        tasks.retain(|task| reads.is_new((token, *task), now, READ_WINDOW_US));
        if tasks.is_empty() {
            return Ok(());
        }
        let event = Event::PayloadRead {
            tasks: tasks.clone(),
            runs: Vec::new(),
            schedules: Vec::new(),
            positions: None,
        };
        let noted = self.note(cell, event, by.clone()).await;
        if noted.is_err() {
            tasks.iter().for_each(|task| reads.forget(&(token, *task)));
        }
        noted
    }

    /// The same for runs.
    pub(super) async fn note_run_reads(
        &self,
        cell: CellId,
        (token, by): (TokenId, &Cause),
        mut runs: Vec<RunId>,
    ) -> Result<(), Error> {
        if by.origin().is_none() {
            return Ok(());
        }
        let (reads, now) = (&self.shared.watch.run_reads, self.shared.clock.wall_us());
        runs.retain(|run| reads.is_new((token, run.clone()), now, READ_WINDOW_US));
        if runs.is_empty() {
            return Ok(());
        }
        let event = Event::PayloadRead {
            tasks: Vec::new(),
            runs: runs.clone(),
            schedules: Vec::new(),
            positions: None,
        };
        let noted = self.note(cell, event, by.clone()).await;
        if noted.is_err() {
            runs.into_iter().for_each(|run| reads.forget(&(token, run)));
        }
        noted
    }

    /// Puts something on the record of a cell that changes nothing.
    pub(super) async fn note(&self, cell: CellId, event: Event, by: Cause) -> Result<(), Error> {
        self.accepting()?;
        let within = self.shared.config.answer_within;
        if cell == SYSTEM_CELL {
            let say = |reply| directory::Message::Note { event, by, reply };
            return Ok(self.shared.directory.call(within, say).await.map(drop)?);
        }
        let gone = || Error::Unavailable("the organisation is not here".to_owned());
        let known = self.shared.principals.org_of(cell).ok_or_else(gone)?;
        let registry = self.cell(&known).await?.registry;
        let say = |reply: Reply<()>| registry::Message::Note { event, by, reply };
        Ok(registry.call(within, say).await?)
    }
}
