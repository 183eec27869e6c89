//! Dead letters by their age: failed runs that nobody will try again leave, many at once.

use std::borrow::Cow;
use std::time::Duration;

use fleetward_store::{Position, Query};
use futures_util::{StreamExt as _, stream};

use super::RunFilter;
use crate::error::Error;
use crate::fact::Fold;
use crate::fleet::input;
use crate::id::RunId;
use crate::plane::operator::Operator;
use crate::plane::reading::{PAGE_MAX, state};
use crate::system::org::Role;
use crate::workflows::conductor::Remedy;
use crate::workflows::run::{Phase, Run};

/// Pages of rows that one call looks at.
const PAGES: usize = 10;
/// Runs that are discarded at once.
const AT_ONCE: usize = 32;

/// Which failed runs are to leave the dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purge {
    /// Those that failed at least so long ago.
    pub older_than: Duration,
    /// Of this workflow.
    pub workflow: Option<String>,
    /// With this error group.
    pub group: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// Where the call before ended.
    pub before: Option<Position>,
}

/// What became of a purge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// How many left.
    pub discarded: usize,
    /// Where the next call is to begin, if there may be more.
    pub next: Option<Position>,
}

impl Operator {
    /// Discards the failed runs that are meant, of a stretch of them: newest started first. Once this returns, that is
    /// durable. Repeating it is harmless.
    ///
    /// # Errors
    /// When the rows cannot be read, or one cannot be discarded for now; those before it are.
    pub async fn purge_runs(&self, purge: Purge) -> Result<Purged, Error> {
        self.may(Role::Operator)?;
        if let Some(reason) = &purge.reason {
            input::printable("reason", reason, input::REASON_MAX)?;
        }
        self.caught_up().await?;
        let age = i64::try_from(purge.older_than.as_micros()).unwrap_or(i64::MAX);
        let failed_by = self.plane.shared.clock.wall_us().saturating_sub(age);
        let filter =
            RunFilter { workflow: purge.workflow, group: purge.group, ..RunFilter::default() };
        let mut purged = Purged { discarded: 0, next: purge.before };
        for _ in 0..PAGES {
            let query = Query {
                cell: self.number(),
                kind: Cow::Borrowed(Run::KIND),
                status: Some("failed".to_owned()),
                before: purged.next,
                limit: PAGE_MAX,
            };
            let rows = self.plane.rows(query).await?;
            let runs = rows.iter().map(state::<Run>).collect::<Result<Vec<_>, _>>()?;
            let meant =
                |run: &Run| matches!(run.phase, Phase::Failed { at, .. } if at <= failed_by);
            let meant = runs.into_iter().filter(|run| meant(run) && filter.fits(run));
            let ids = meant.map(|run| run.id).collect();
            purged.discarded += self.discard_all(ids, &purge.reason).await?;
            purged.next = rows.last().map(|row| row.created);
            if rows.len() < PAGE_MAX {
                return Ok(Purged { next: None, ..purged });
            }
        }
        Ok(purged)
    }

    async fn discard_all(&self, runs: Vec<RunId>, reason: &Option<String>) -> Result<usize, Error> {
        let discards = runs.into_iter().map(|run| async move {
            let reason = reason.clone();
            self.amend_run(&run, Remedy::Discard { reason }).await
        });
        let mut discards = stream::iter(discards).buffer_unordered(AT_ONCE);
        let mut count = 0;
        while let Some(discarded) = discards.next().await {
            match discarded {
                Ok(_) => count += 1,
                // Somebody tried it again meanwhile.
                Err(Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}
