//! Words of progress on their way to the control plane: the newest, at most one a second.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::execute::TaskContext;
use crate::transport::TransportError;

/// Between two words that are passed on; what was said meanwhile and is not the newest is dropped.
const EVERY: Duration = Duration::from_secs(1);

/// A word of progress.
#[derive(Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) percent: Option<u8>,
    pub(crate) data: Value,
}

/// Passes the newest word on, again and again; ends with whoever says them.
pub(crate) async fn relay(mut newest: watch::Receiver<Option<Said>>, cx: &TaskContext) {
    while newest.changed().await.is_ok() {
        let Some(Said { percent, data }) = newest.borrow_and_update().clone() else { continue };
        match cx.progress(percent, data).await {
            Ok(()) => {}
            // The next word may get through, or the one that was not sent if there is none.
            Err(TransportError::Unavailable { .. }) => newest.mark_changed(),
            Err(error) => tracing::debug!(%error, "a word of progress was not taken"),
        }
        sleep(EVERY).await;
    }
}
