//! Runs by what they are, newest first.

use std::borrow::Cow;

use fleetward_store::{Position, Query, Record};

use super::RunView;
use crate::error::Error;
use crate::fact::Fold;
use crate::plane::Envelope;
use crate::plane::operator::Operator;
use crate::plane::reading::{PAGE_MAX, state};
use crate::seal::Sealed;
use crate::workflows::run::{Phase, Run};

/// Rows that one page of a filtered list looks at.
const SCAN: usize = 2_000;

/// Which runs are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// In this status: `running`, `waiting`, `paused`, `completed`, `failed`, `cancelled` or `discarded`.
    pub status: Option<String>,
    /// Of this workflow.
    pub workflow: Option<String>,
    /// With this error group.
    pub group: Option<String>,
    /// Of the schedule of this name.
    pub schedule: Option<String>,
}

/// Runs, newest first.
#[derive(Debug, Clone)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunView>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Position>,
}

impl Operator {
    /// Runs, newest first. `before` is where the page before ended.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn runs(
        &self,
        filter: &RunFilter,
        before: Option<Position>,
        limit: usize,
    ) -> Result<RunPage, Error> {
        let limit = limit.clamp(1, PAGE_MAX);
        self.caught_up().await?;
        let (mut next, mut seen, mut runs) = (before, 0, Vec::new());
        while seen < SCAN {
            let query = Query {
                cell: self.number(),
                kind: Cow::Borrowed(Run::KIND),
                status: filter.status.clone(),
                before: next,
                limit: PAGE_MAX,
            };
            let rows = self.plane.rows(query).await?;
            seen += rows.len();
            let last_page = rows.len() < PAGE_MAX;
            for row in &rows {
                next = Some(row.created);
                let run = state::<Run>(row)?;
                if filter.fits(&run) {
                    runs.push(self.row_view(row, run));
                }
                if runs.len() == limit {
                    return self.page(runs, next).await;
                }
            }
            if last_page {
                return self.page(runs, None).await;
            }
        }
        self.page(runs, next).await
    }

    async fn page(&self, runs: Vec<RunView>, next: Option<Position>) -> Result<RunPage, Error> {
        let shown = runs.iter().filter(|view| view.result.is_some());
        self.note_run_reads(shown.map(|view| view.run.id.clone()).collect()).await?;
        Ok(RunPage { runs, next })
    }

    pub(super) fn row_view(&self, row: &Record, run: Run) -> RunView {
        let sealed = row.sealed.clone().map(Sealed::from_bytes);
        let result = run.result().zip(sealed);
        let result = result.map(|(place, sealed)| Envelope::of_run(&self.known, &place, sealed));
        RunView { run, result }
    }
}

impl RunFilter {
    pub(super) fn fits(&self, run: &Run) -> bool {
        let group = || match &run.phase {
            Phase::Failed { group, .. } => group.as_ref(),
            _ => None,
        };
        let schedule = || run.schedule.as_ref().map(|of| &of.name);
        self.workflow.as_ref().is_none_or(|name| *name == run.workflow)
            && self.schedule.as_ref().is_none_or(|wanted| schedule() == Some(wanted))
            && self.group.as_ref().is_none_or(|wanted| group() == Some(wanted))
    }
}
