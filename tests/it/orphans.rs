//! kill -9 of what started other processes: they end by themselves.
//!
//! All of them inherit one pipe, and it ends when the last of them is gone: nobody has to look
//! again and again.

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::*;

#[test]
fn server_and_worker_end_when_dev_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Family::start(folder.path(), &["dev", "--listen", "127.0.0.1:0"]);
    dev.output.until("server ");
    dev.log.until("registered");

    let children = dev.kill9();

    assert_eq!(children, 2, "a server and a worker");
    assert!(dev.is_extinct(), "they outlive the one who started them");
}

#[test]
fn server_and_workers_end_when_the_demo_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Family::start(folder.path(), &["demo"]);
    demo.output.until("tasks ");

    let children = demo.kill9();

    assert!(children >= 4, "a server and the workers, of which the demo kills one: {children}");
    assert!(demo.is_extinct(), "they outlive the one who started them");
}

/// A process, those that it starts, and what they print.
struct Family {
    parent: Process,
    output: Lines,
    log: Lines,
    children: Vec<Pid>,
}

impl Family {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = fleetward()
            .args(args)
            .current_dir(folder)
            .env("TMPDIR", folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Lines::of(args[0], child.stdout.take().unwrap());
        let log = Lines::of(args[0], child.stderr.take().unwrap());
        Self { parent: Process(child), output, log, children: Vec::new() }
    }

    /// Kills the parent; answers how many children it had.
    fn kill9(&mut self) -> usize {
        self.children = children(self.parent.pid());
        self.parent.kill9();
        self.children.len()
    }

    fn is_extinct(&mut self) -> bool {
        let gone = self.log.end();
        if gone {
            self.children.clear();
        }
        gone
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        for orphan in self.children.drain(..) {
            // The story failed; what it left shall not run on.
            let _ = kill(orphan, Signal::SIGKILL);
        }
    }
}

/// The processes whose parent is `parent`.
fn children(parent: Pid) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").expect("this is tested where /proc is").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.map(Pid::from_raw).filter(|id| parent_of(*id) == Some(parent)).collect()
}

fn parent_of(process: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before them is in parentheses and may hold anything; then come the state and the
    // parent.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok().map(Pid::from_raw)
}
