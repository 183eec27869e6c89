//! Logs: to standard error, as text or JSON.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::error::Failed;

#[derive(Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArgs {
    /// What to log: a level, or `target=level` pairs.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "FLEETWARD_LOG",
        default_value = "info"
    )]
    log: String,
    /// How logs look.
    #[arg(long, global = true, value_enum, env = "FLEETWARD_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogArgs {
    pub(crate) fn install(&self) -> Result<(), Failed> {
        let filter: Targets = self
            .log
            .parse()
            .map_err(|error| Failed::refused(format!("--log {}: {error}", self.log)))?;
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        let lines = match self.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        tracing_subscriber::registry().with(lines.with_filter(filter)).init();
        Ok(())
    }
}
