//! When a process of ours ends in order: by SIGTERM or SIGINT, and where its parent asked for it, with its parent.

use std::io::Read;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::error::Failed;

/// The flag that ties a child to its parent.
pub(crate) const WITH_STDIN: &str = "--end-with-stdin";

#[derive(Args)]
pub(crate) struct EndArgs {
    /// End as by SIGTERM when standard input is closed: a parent that is killed takes its children along.
    #[arg(long, hide = true)]
    end_with_stdin: bool,
}

impl EndArgs {
    /// Cancelled when the process should end.
    pub(crate) fn asked(&self) -> Result<CancellationToken, Failed> {
        let asked = stop_on_signal()?;
        if self.end_with_stdin {
            let closed = asked.clone();
            // A thread of its own: a read of standard input cannot be cancelled, and must hold nobody up.
            std::thread::spawn(move || {
                while matches!(std::io::stdin().read(&mut [0; 64]), Ok(1..)) {}
                closed.cancel();
            });
        }
        Ok(asked)
    }
}

/// Cancelled by SIGTERM or SIGINT.
pub(crate) fn stop_on_signal() -> Result<CancellationToken, Failed> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}
