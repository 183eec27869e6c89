//! Logs: to standard error, as text or JSON.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::config::File;
use super::error::Failed;

#[derive(Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArgs {
    /// What to log: a level, or `target=level` pairs [default: info].
    #[arg(long, global = true, value_name = "FILTER", env = "FLEETWARD_LOG")]
    log: Option<String>,
    /// How logs look [default: text].
    #[arg(long, global = true, value_enum, env = "FLEETWARD_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogArgs {
    pub(crate) fn install(&self, file: &File) -> Result<(), Failed> {
        let filter = super::config::choose(self.log.clone(), &file.log, "info");
        let filter = EnvFilter::try_new(&filter)
            .map_err(|error| Failed::refused(format!("--log {filter}: {error}")))?;
        let from_file = match file.log_format.as_deref() {
            None => None,
            Some(text) => Some(LogFormat::from_str(text, true).map_err(Failed::refused)?),
        };
        let colours = std::io::stderr().is_terminal();
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(colours);
        match self.log_format.or(from_file).unwrap_or(LogFormat::Text) {
            LogFormat::Text => logs.init(),
            LogFormat::Json => logs.json().init(),
        }
        Ok(())
    }
}
