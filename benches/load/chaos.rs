//! Kills the server at random moments, for as long as it is left running.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::server::Server;

/// Mean time between two crashes: long enough that tasks go through in between.
const MEAN: Duration = Duration::from_secs(4);
/// And the least: a server that never gets up proves nothing.
const LEAST: Duration = Duration::from_millis(500);

/// Ends only with what went wrong.
pub(crate) async fn torment(server: Option<Arc<Server>>) -> Result<()> {
    let Some(server) = server else { return std::future::pending().await };
    loop {
        let drawn = -(1.0 - rand::random::<f64>()).ln();
        tokio::time::sleep(LEAST + MEAN.mul_f64(drawn.min(4.0))).await;
        let server = server.clone();
        let restarted = tokio::task::spawn_blocking(move || server.crash_and_restart()).await?;
        if let Err(error) = restarted {
            bail!("the server did not come back: {error:#}");
        }
    }
}
