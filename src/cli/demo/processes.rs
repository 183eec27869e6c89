//! The processes of the demo: a server and workers, dead when the stage is gone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use fleetward_actors::fleet::credentials::operator_token;

use crate::cli::client::Client;
use crate::cli::dev;
use crate::cli::error::Failed;

/// Short terms, so that a killed worker is noticed while somebody watches.
const TERMS: [&str; 6] =
    ["--lease-seconds", "3", "--start-lease-seconds", "2", "--heartbeat-seconds", "0.5"];

/// A child that does not outlive the demo, however it ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) struct Stage {
    folder: PathBuf,
    base: String,
    token: String,
    // Workers go before the server.
    workers: BTreeMap<String, Killed>,
    server: Killed,
}

impl Stage {
    pub(super) async fn open(folder: &Path, url: &str) -> Result<Self, Failed> {
        let token = operator_token();
        let mut extra = TERMS.to_vec();
        extra.extend(["--log", "error"]);
        let (server, base) = dev::serve(url, "127.0.0.1:0", &token, &extra).await?;
        let (folder, server) = (folder.to_owned(), Killed(server));
        Ok(Self { folder, base, token, workers: BTreeMap::new(), server })
    }

    pub(super) fn server(&self) -> &str {
        &self.base
    }

    /// A client with the system's own token.
    pub(super) fn client(&self) -> Result<Client, Failed> {
        Client::of(&self.base, &self.token)
    }

    /// Starts a worker process that registers with a key.
    pub(super) async fn worker(&mut self, name: &str, key: &str) -> Result<(), Failed> {
        let exec = format!("'{}' demo-step", std::env::current_exe()?.display());
        let child = dev::this_binary()?
            .args(["worker", "run", "--server", &self.base, "--name", name, "--exec", &exec])
            .args(["--max-concurrent", "2", "--log", "error"])
            .arg("--identity")
            .arg(self.folder.join(format!("{name}.json")))
            .env("ENROLLMENT_KEY", key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        self.workers.insert(name.to_owned(), Killed(child));
        Ok(())
    }

    /// kill -9.
    pub(super) fn kill(&mut self, name: &str) -> Result<(), Failed> {
        let worker = self.workers.remove(name);
        worker.map(drop).ok_or_else(|| Failed::wrong(format!("no worker {name} runs")))
    }

    /// Lets everybody end in order.
    pub(super) async fn close(mut self) -> Result<(), Failed> {
        for worker in self.workers.values_mut() {
            dev::end(&mut worker.0).await?;
        }
        dev::end(&mut self.server.0).await
    }
}
