//! The server under test: this package's own binary, as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::options::Options;
use crate::usage;

/// Good for every organisation of the server under test.
pub(crate) const ADMIN: &str = "fwt_the-admin-token-of-the-load-test";

/// A running `fleetward serve`. It is killed when this is dropped.
pub(crate) struct Server {
    url: String,
    arguments: Vec<String>,
    address: SocketAddr,
    life: Mutex<Life>,
}

struct Life {
    process: Child,
    /// Processor time of the lives before this one.
    spent: Duration,
}

impl Server {
    /// Starts a server on the store at `url` and waits until it listens.
    pub(crate) fn start(url: &str, options: &Options) -> Result<Self> {
        let mut arguments: Vec<String> = Vec::new();
        if options.chaos {
            // Short terms, so that what chaos loses comes back while tasks still run; and no task
            // fails for having been lost too often.
            let terms = "--lease-seconds 4 --start-lease-seconds 2 --heartbeat-seconds 1 \
                         --attempt-cap 1000000";
            arguments.extend(terms.split_whitespace().map(str::to_owned));
        }
        let more = options.serve_args.as_deref().unwrap_or_default();
        arguments.extend(more.split_whitespace().map(str::to_owned));
        let (process, address) = spawn(url, "127.0.0.1:0", &arguments)?;
        let life = Mutex::new(Life { process, spent: Duration::ZERO });
        Ok(Self { url: url.to_owned(), arguments, address, life })
    }

    /// Where it listens, in all its lives.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Processor time of all its lives.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let life = self.life();
        Ok(life.spent + usage::cpu(life.process.id())?)
    }

    /// Bytes that are resident now, and the most that ever were in this life.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        usage::memory(self.life().process.id())
    }

    /// kill -9, and a new process on the same store and the same port.
    pub(crate) fn crash_and_restart(&self) -> Result<()> {
        let mut life = self.life();
        let spent = usage::cpu(life.process.id())?;
        life.spent += spent;
        life.process.kill()?;
        life.process.wait()?;
        let (process, _) = spawn(&self.url, &self.address.to_string(), &self.arguments)?;
        life.process = process;
        Ok(())
    }

    /// Lets it drain and end; what it acknowledged is in its store then.
    pub(crate) fn stop(&self) -> Result<()> {
        let mut life = self.life();
        kill(Pid::from_raw(i32::try_from(life.process.id())?), Signal::SIGTERM)?;
        let status = life.process.wait()?;
        if !status.success() {
            bail!("the server ended badly: {status}");
        }
        Ok(())
    }

    fn life(&self) -> std::sync::MutexGuard<'_, Life> {
        self.life.lock().expect("nobody panics while holding it")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut life = self.life();
        // Already gone is as good.
        let _ = life.process.kill();
        let _ = life.process.wait();
    }
}

/// The key of the stores that are measured: the same for every life of a server, and for a control plane in this process.
pub(crate) fn key() -> Result<fleetward_actors::seal::MasterKey> {
    Ok(fleetward::master_key::kept(&master_key()?)?)
}

/// The file with that key.
fn master_key() -> Result<PathBuf> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("master-key-of-loads");
    fleetward::master_key::kept(&file)?;
    Ok(file)
}

fn spawn(url: &str, listen: &str, arguments: &[String]) -> Result<(Child, SocketAddr)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetward"));
    // Nothing of this process's environment may change what is measured.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLEETWARD_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(["serve", "--database-url", url, "--listen", listen, "--drain-seconds", "5"])
        // What is measured is a fleet that is there, not how it comes.
        .args(["--admit-per-second", "1000000"])
        .args(arguments)
        .env("FLEETWARD_ADMIN_TOKEN", ADMIN)
        .env("FLEETWARD_MASTER_KEY_FILE", master_key()?)
        .env("FLEETWARD_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("the server cannot be started")?;
    let mut lines = BufReader::new(child.stdout.take().context("its output is a pipe")?);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            bail!("the server ended before it listened: {}", child.wait()?);
        }
        if let Some((_, address)) = line.split_once("http://") {
            let address = address.trim().parse()?;
            // Whatever it prints later must not block it.
            std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
            return Ok((child, address));
        }
    }
}
