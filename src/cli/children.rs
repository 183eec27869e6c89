//! Processes of this binary that `dev` and `demo` run: a server and workers, none of which outlives its parent.
//!
//! A child is asked to end, or is killed when its handle is dropped; where the parent itself is killed, the
//! child sees its standard input close.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{self, ChildStdin, Command};

use super::end::WITH_STDIN;
use super::error::Failed;

/// How long the task of a worker may go on once it shall end. Short: where the parent was killed, so was the
/// server, and nobody is left to report to.
const DRAIN_SECONDS: &str = "2";
/// How long a child may take to end by itself.
const END_WITHIN: Duration = Duration::from_secs(30);
/// How long a killed child may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// A running child.
pub(super) struct Child {
    process: process::Child,
    /// Open for as long as the child shall run.
    _stdin: Option<ChildStdin>,
}

impl Child {
    fn start(command: &mut Command) -> Result<Self, Failed> {
        let mut process = command.arg(WITH_STDIN).stdin(Stdio::piped()).spawn()?;
        let stdin = process.stdin.take();
        Ok(Self { process, _stdin: stdin })
    }

    /// When it ended by itself.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus, Failed> {
        Ok(self.process.wait().await?)
    }

    /// Asks it to end, and makes it.
    pub(super) async fn end(mut self) -> Result<(), Failed> {
        if let Some(pid) = self.process.id() {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).map_err(Failed::wrong)?;
        }
        if tokio::time::timeout(END_WITHIN, self.process.wait()).await.is_err() {
            self.process.kill().await?;
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let gone = |child: &mut process::Child| !matches!(child.try_wait(), Ok(None));
        if gone(&mut self.process) || self.process.start_kill().is_err() {
            return;
        }
        // Whoever drops it may remove its files next: it must not be there to write them again.
        let pause = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        while !gone(&mut self.process) && waited < GONE_WITHIN {
            std::thread::sleep(pause);
            waited += pause;
        }
    }
}

/// Starts a server and waits until it listens; answers where.
pub(super) async fn serve(
    (url, master_key): (&str, &Path),
    listen: &str,
    token: &str,
    extra: &[&str],
) -> Result<(Child, String), Failed> {
    let mut command = this_binary()?;
    command.args(["serve", "--database-url", url, "--listen", listen]).args(extra);
    command.arg("--master-key-file").arg(master_key);
    command.env("FLEETWARD_ADMIN_TOKEN", token).stdout(Stdio::piped());
    let mut child = Child::start(&mut command)?;
    let said = child.process.stdout.take().ok_or_else(|| Failed::wrong("it has no output"))?;
    let mut lines = BufReader::new(said).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(base) = line.strip_prefix("listening on ") {
            let base = base.to_owned();
            // Whatever it prints later must not block it.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok((child, base));
        }
    }
    let status = child.ended().await?;
    Err(Failed::wrong(format!("the server did not start: {status}")))
}

/// Starts a worker; `key` is needed where `identity` is not there yet.
pub(super) fn worker(
    server: &str,
    name: &str,
    identity: &Path,
    key: Option<&str>,
    extra: &[&str],
) -> Result<Child, Failed> {
    let mut command = this_binary()?;
    command.args(["worker", "run", "--server", server, "--name", name]).args(extra);
    command.args(["--drain-seconds", DRAIN_SECONDS]);
    command.arg("--identity").arg(identity).stdout(Stdio::null());
    if let Some(key) = key {
        command.env("ENROLLMENT_KEY", key);
    }
    Child::start(&mut command)
}

fn this_binary() -> Result<Command, Failed> {
    Ok(Command::new(std::env::current_exe()?))
}
