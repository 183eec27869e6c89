//! The reporter: sends what waits in the outbox, one request at a time.
//!
//! A report goes out at once if none is under way; what ends meanwhile goes together with the next
//! request, so that a busy worker sends few. Told by the seats; tells each what became of its own.

use std::sync::Arc;
use std::time::Duration;

use fleetward_wire::tasks::ReportMany;
use tokio::time::sleep;

use crate::backoff::{Backoff, approval_backoff};
use crate::crew::Crew;
use crate::outbox::Waiting;
use crate::transport::{Transport, TransportError};

/// Reports until it is dropped. Whether a single report is worth another try is for its seat to
/// say; here a request that came to nothing is repeated.
pub(crate) async fn report<T: Transport, X>(crew: Arc<Crew<T, X>>) {
    let mut outage = Backoff::default();
    let mut approval = approval_backoff();
    loop {
        let batch = crew.outbox.next().await;
        let reports = batch.iter().map(|waiting| waiting.report.clone()).collect();
        match crew.transport.report_many(ReportMany { reports }).await {
            Ok(verdicts) => {
                outage.reset();
                approval.reset();
                let told = batch.into_iter().zip(verdicts);
                told.for_each(|(waiting, verdict)| waiting.told(verdict));
            }
            Err(TransportError::Pending) => {
                crew.outbox.put_back(batch);
                pause(&crew, &mut approval, None).await;
            }
            Err(TransportError::Unavailable { detail, retry_after }) => {
                tracing::warn!(detail, reports = batch.len(), "cannot report");
                crew.outbox.put_back(batch);
                pause(&crew, &mut outage, retry_after).await;
            }
            Err(TransportError::Refused { code, detail }) if batch.len() > 1 => {
                // One of them may have spoilt it for the others, if only by its length.
                tracing::warn!(code, detail, reports = batch.len(), "reports refused together");
                crew.outbox.put_back(batch.into_iter().map(Waiting::alone).collect());
            }
            Err(error) => batch.into_iter().for_each(|waiting| waiting.told(Err(error.clone()))),
        }
    }
}

/// Waits before the next try. The moment when last words are due ends the wait: there may be no
/// time for another try after it.
async fn pause<T, X>(crew: &Crew<T, X>, backoff: &mut Backoff, asked: Option<Duration>) {
    let wait = sleep(backoff.next(asked));
    if crew.overdue.is_cancelled() {
        wait.await;
    } else if crew.overdue.run_until_cancelled(wait).await.is_none() {
        backoff.reset();
    }
}
