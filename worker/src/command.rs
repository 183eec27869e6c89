//! Tasks run by a shell command: task JSON on its standard input, result from its output.
//!
//! Each runs in a process group of its own, which does not outlive the attempt.

mod capture;
mod group;
mod progress;

use std::ffi::OsString;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use fleetward_wire::tasks::Claimed;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::process::{ChildStdin, Command as Process};
use tokio::time::{sleep, timeout};

use crate::execute::{Execute, Outcome, StopReason, TaskContext};
use crate::progress::relay;
use capture::{Head, Tail};
use group::{Group, Pipes};
use progress::Sieve;
pub use progress::{PROGRESS_CAP, PROGRESS_PREFIX};

/// How long a command may run unless it is told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How much of the standard output is kept, from its beginning, in bytes.
pub const OUTPUT_CAP: usize = 256 * 1024;
/// How much of the standard error is kept, from its end, in bytes.
pub const ERROR_CAP: usize = 16 * 1024;
/// Variables that a command gets without being asked for. No other, so that nothing secret in the
/// worker's own environment reaches a task by accident.
pub const ENVIRONMENT: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// Between SIGTERM and SIGKILL, unless it is told otherwise.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);
/// Longer than that, and the worker would drop the attempt first.
const LONGEST_GRACE: Duration = Duration::from_secs(10);
/// A process that left the group may hold our pipes for ever; we read on for this long.
const PIPES_WITHIN: Duration = Duration::from_secs(1);

/// A command, run by `sh -c` once for each task.
///
/// Its standard input is the whole task as one JSON object, without the claim token. If it exits
/// with 0 the task completed, with its standard output as the result (a JSON string; bytes that
/// are not UTF-8 are replaced; output beyond [`OUTPUT_CAP`] is cut, with a last line that says
/// so; of a task that names a handler, a step of a workflow say, JSON where it is JSON). Otherwise the task failed, with the exit code or signal and the end of its standard error.
///
/// A line on its standard error that begins with [`PROGRESS_PREFIX`] is no error but says how far it
/// is: `::progress 40 half of the files`, with or without the percentage, and JSON where it is an
/// object or array. The newest one is shown with the task, at most one a second.
///
/// On a timeout, when the task is cancelled, and when the worker drains, the group gets SIGTERM, then
/// SIGKILL; when the lease is lost it gets SIGKILL at once, because another worker may already be at it. Whatever it
/// leaves running in its group is killed when it ends. A process that starts a session of its
/// own escapes all this, and all processes do if the worker itself is killed by SIGKILL.
#[derive(Debug, Clone)]
pub struct Command {
    script: String,
    pass: Vec<String>,
    timeout: Duration,
    grace: Duration,
}

impl Command {
    /// Runs `script` with the default limits and environment.
    pub fn new(script: impl Into<String>) -> Self {
        Self {
            script: script.into(),
            pass: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            grace: DEFAULT_GRACE,
        }
    }

    /// Also passes on the worker's own variable `name`, if it has one.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>) -> Self {
        self.pass.push(name.into());
        self
    }

    /// How long it may run before it is stopped and the task failed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long it has between SIGTERM and SIGKILL, at most 10 s.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(LONGEST_GRACE);
        self
    }

    fn process(&self) -> Process {
        let mut process = Process::new("sh");
        process
            .arg("-c")
            .arg(&self.script)
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        process
    }

    fn environment(&self) -> impl Iterator<Item = (&str, OsString)> {
        let names = ENVIRONMENT.into_iter().chain(self.pass.iter().map(String::as_str));
        names.filter_map(|name| Some((name, std::env::var_os(name)?)))
    }

    async fn run(&self, started: (Group, Pipes), input: Vec<u8>, cx: &TaskContext) -> Outcome {
        let (mut group, pipes) = started;
        let (mut output, mut errors) = (Head::new(OUTPUT_CAP), Tail::new(ERROR_CAP));
        let (mut sieve, newest) = Sieve::new();
        let ending = {
            let mut pipes = pin!(async {
                tokio::join!(
                    feed(pipes.stdin, input),
                    drain(pipes.stdout, |bytes| output.push(bytes)),
                    drain(pipes.stderr, |bytes| sieve.push(bytes, |bytes| errors.push(bytes))),
                );
            });
            let ending = tokio::select! {
                ending = beside(pipes.as_mut(), self.watch(&mut group, cx)) => ending,
                never = never(relay(newest, cx)) => match never {},
            };
            group.signal(Signal::SIGKILL);
            if !ending.pipes_closed {
                // Late is no error: what was read until now is what there is.
                let _ = timeout(PIPES_WITHIN, pipes).await;
            }
            ending.value
        };
        match (ending, group.reap().await) {
            (Ending::Cancelled(_), _) => Outcome::GiveBack("the command was stopped".to_owned()),
            (Ending::TimedOut, _) => errors.after(&format!("timed out after {:?}", self.timeout)),
            (Ending::Exited, Ok(status)) if status.success() => {
                Outcome::Completed(Value::String(output.into_text()))
            }
            (Ending::Exited, Ok(status)) => errors.after(&describe(status)),
            (Ending::Exited, Err(error)) => errors.after(&format!("exit unknown: {error}")),
        }
    }

    /// Waits until the command ends by itself or was asked to and had its time.
    async fn watch(&self, group: &mut Group, cx: &TaskContext) -> Ending {
        let ending = tokio::select! {
            biased;
            // First: what has ended by itself has an outcome, whatever became known since.
            () = group.exited() => Ending::Exited,
            reason = cx.cancelled() => Ending::Cancelled(reason),
            () = sleep(self.timeout) => Ending::TimedOut,
        };
        // Its end may be there before the runtime has heard of it: the worker was stopped, say, and goes on.
        let ending = if group.has_exited() { Ending::Exited } else { ending };
        let gently = match ending {
            Ending::Exited => false,
            Ending::TimedOut => true,
            Ending::Cancelled(why) => matches!(why, StopReason::Draining | StopReason::Cancelled),
        };
        if gently {
            group.signal(Signal::SIGTERM);
            tokio::select! {
                () = group.exited() => {}
                () = sleep(self.grace) => {}
            }
        }
        ending
    }
}

#[async_trait]
impl Execute for Command {
    async fn execute(&self, task: &Claimed, cx: TaskContext) -> Outcome {
        let input = match input(task) {
            Ok(input) => input,
            Err(error) => return Outcome::Failed(format!("cannot write the task: {error}")),
        };
        match Group::spawn(self.process()) {
            Ok(started) => result(task, self.run(started, input, &cx).await),
            Err(error) => Outcome::Failed(format!("cannot start the command: {error}")),
        }
    }
}

/// Why a command is over.
enum Ending {
    Exited,
    TimedOut,
    Cancelled(StopReason),
}

/// A future's value, and whether the pipes were closed before it came.
struct Beside<T> {
    value: T,
    pipes_closed: bool,
}

/// Drives `pipes` while waiting for `main`.
async fn beside<T>(
    mut pipes: Pin<&mut impl Future<Output = ()>>,
    main: impl Future<Output = T>,
) -> Beside<T> {
    let mut main = pin!(main);
    let mut pipes_closed = false;
    loop {
        tokio::select! {
            value = &mut main => return Beside { value, pipes_closed },
            () = &mut pipes, if !pipes_closed => pipes_closed = true,
        }
    }
}

/// Drives `beside` and does not end with it.
async fn never(beside: impl Future<Output = ()>) -> std::convert::Infallible {
    beside.await;
    pending().await
}

/// The task as the command reads it. The token stays here: with it the command could report.
fn input(task: &Claimed) -> serde_json::Result<Vec<u8>> {
    let mut value = serde_json::to_value(task)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("claim_token");
    }
    let mut line = serde_json::to_vec(&value)?;
    line.push(b'\n');
    Ok(line)
}

async fn feed(mut stdin: ChildStdin, input: Vec<u8>) {
    // A command need not read its input: a closed pipe is not an error.
    let _ = stdin.write_all(&input).await;
}

async fn drain(mut pipe: impl AsyncRead + Unpin, mut keep: impl FnMut(&[u8])) {
    use tokio::io::AsyncReadExt;

    let mut buffer = vec![0; 16 * 1024];
    // A pipe that cannot be read any more has ended, for us.
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        keep(&buffer[..read]);
    }
}

/// Whoever asks for a handler goes on with what it results in; other tasks keep the text that they always had.
fn result(task: &Claimed, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Completed(Value::String(text)) if task.handler.is_some() => {
            let parsed = serde_json::from_str(&text);
            Outcome::Completed(parsed.unwrap_or(Value::String(text)))
        }
        other => other,
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;

    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => "ended without an exit code".to_owned(),
    }
}
