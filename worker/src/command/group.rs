//! A process group of our own: the command and whatever it starts.
//!
//! The group is signalled only while its leader is not reaped: until then the kernel cannot give
//! its number to anybody else.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command as Process};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::timeout;

/// A killed process ends at once, unless the kernel itself is stuck with it.
const REAP_WITHIN: Duration = Duration::from_secs(5);

/// Killed as a whole when dropped.
pub(super) struct Group {
    child: Child,
    /// `None` once the leader is reaped.
    id: Option<Pid>,
    /// Rings when any child of this process changed.
    changed: unix::Signal,
}

/// The three pipes of a leader.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Group {
    /// Starts `process`, whose three streams must be pipes, as the leader of a new group.
    pub(super) fn spawn(mut process: Process) -> io::Result<(Self, Pipes)> {
        // Before the start, so that no exit is missed.
        let changed = signal(SignalKind::child())?;
        let mut child = process.process_group(0).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
        let group = Self { child, id, changed };
        let ((stdin, stdout), stderr) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((group, Pipes { stdin, stdout, stderr }))
    }

    /// Resolves when the leader has ended, without reaping it.
    pub(super) async fn exited(&mut self) {
        while !self.has_exited() {
            if self.changed.recv().await.is_none() {
                // The runtime is going down, and drops us next.
                return;
            }
        }
    }

    /// Signals every process of the group.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            // It fails where nobody is left, which is what we want.
            let _ = killpg(id, signal);
        }
    }

    /// How the leader ended, after killing whatever is left of the group.
    pub(super) async fn reap(mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGKILL);
        // By its own number too: it may have moved itself to another group.
        let _ = self.child.start_kill();
        let status = timeout(REAP_WITHIN, self.child.wait()).await??;
        self.id = None;
        Ok(status)
    }

    /// Whether the leader has ended.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    pub(super) fn has_exited(&mut self) -> bool {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

        let Some(id) = self.id else { return true };
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(id), look), Ok(WaitStatus::StillAlive))
    }

    /// Where the system cannot look without reaping, the group's number may in theory be given
    /// away between this and the signal that follows at once.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    pub(super) fn has_exited(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}
