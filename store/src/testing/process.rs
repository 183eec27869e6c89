//! Running the programs of PostgreSQL, which refuse to run as root, and ending them.

use std::{
    env, fs, io,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::{Pid, User, geteuid},
};

/// Where systems put the programs if not on the path; the versions inside are tried newest first.
const FOLDERS: [(&str, &str); 3] = [
    ("/usr/lib/postgresql", "bin"),
    ("/usr/local/lib/postgresql", "bin"),
    ("/opt/homebrew/opt", "bin"),
];

pub(super) struct Programs {
    folder: PathBuf,
    /// Whom to run as; None is ourselves.
    user: Option<User>,
}

impl Programs {
    pub(super) fn find() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path)
            .chain(FOLDERS.iter().flat_map(|(root, bin)| versions(Path::new(root), bin)))
            .find(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists());
        let Some(folder) = found else {
            panic!(
                "PostgreSQL is not installed, and these tests need it: run scripts/test, which \
                 installs it, or set DATABASE_URL to a server where databases may be made"
            );
        };
        let user = geteuid().is_root().then(unprivileged);
        Self { folder, user }
    }

    /// A private directory that the server's user owns. The undertaker removes it.
    pub(super) fn make_folder(&self) -> PathBuf {
        let folder = tempfile::Builder::new()
            .prefix("fw-pg-")
            .tempdir()
            .expect("a temporary directory can be made")
            .keep();
        if let Some(user) = &self.user {
            chown(&folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("we are root");
        }
        folder
    }

    /// Runs a program to its end and panics with what it said if it failed.
    pub(super) fn run(&self, program: &str, folder: &Path, arguments: impl FnOnce(&mut Command)) {
        let mut command = Command::new(self.folder.join(program));
        // Our own working directory may be closed to the other user.
        command.current_dir(folder).env_remove("DATABASE_URL").stdin(Stdio::null());
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        arguments(&mut command);
        // To a file: the server inherits it, and a pipe would never end.
        let said = folder.join(format!("{program}.out"));
        let output = fs::File::create(&said).expect("the directory is ours");
        command.stdout(output.try_clone().expect("it is open")).stderr(output);
        let status = command.status().expect("the program was found");
        let said = fs::read_to_string(said).unwrap_or_default();
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(status.success(), "{program} failed: {said}\n{log}");
    }
}

/// The server's process, from the file in which it notes it.
pub(super) fn postmaster(folder: &Path) -> io::Result<Pid> {
    let noted = fs::read_to_string(folder.join("data/postmaster.pid"))?;
    let first = noted.lines().next().and_then(|line| line.parse().ok());
    first.map(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The processes whose parent is `parent`.
pub(super) fn children(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("killing servers is tested where /proc is");
    let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.map(Pid::from_raw).filter(|id| state(*id).is_some_and(|(_, of)| of == parent)).collect()
}

pub(super) fn kill(process: Pid) {
    // Already gone is as good.
    let _ = signal::kill(process, Signal::SIGKILL);
}

/// Waits until all of them are gone: the next server would take their memory for a rival's. The
/// kernel tells nobody but the parent, so this has to look.
pub(super) fn children_end(server: Pid, children: &[Pid]) {
    let runs = |process: &Pid| state(*process).is_some_and(|(letter, _)| letter != 'Z');
    for _ in 0..10_000 {
        if !runs(&server) && !children.iter().any(runs) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("a killed process is still there");
}

/// The state letter and the parent of a process.
fn state(process: Pid) -> Option<(char, Pid)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let letter = fields.next()?.chars().next()?;
    Some((letter, Pid::from_raw(fields.next()?.parse().ok()?)))
}

fn versions(root: &Path, bin: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.sort();
    folders.iter().rev().map(|folder| folder.join(bin)).collect()
}

fn unprivileged() -> User {
    let known = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok()?);
    known.expect("a system with root has one of `postgres` and `nobody`")
}
