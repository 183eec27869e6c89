//! The processes of the demo: a server and workers, dead when the stage is gone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleetward::master_key;
use fleetward_actors::fleet::credentials::operator_token;

use crate::cli::children::{self, Child};
use crate::cli::client::Client;
use crate::cli::error::Failed;

/// Short terms, so that a killed worker is noticed while somebody watches.
const TERMS: [&str; 6] =
    ["--lease-seconds", "3", "--start-lease-seconds", "2", "--heartbeat-seconds", "0.5"];

pub(super) struct Stage {
    folder: PathBuf,
    base: String,
    token: String,
    // Workers go before the server.
    workers: BTreeMap<String, Child>,
    server: Child,
}

impl Stage {
    pub(super) async fn open(folder: &Path, url: &str) -> Result<Self, Failed> {
        let token = operator_token();
        let mut extra = TERMS.to_vec();
        extra.extend(["--log", "error"]);
        let key = folder.join("master-key");
        master_key::kept(&key).map_err(Failed::refused)?;
        let (server, base) = children::serve((url, &key), "127.0.0.1:0", &token, &extra).await?;
        Ok(Self { folder: folder.to_owned(), base, token, workers: BTreeMap::new(), server })
    }

    pub(super) fn server(&self) -> &str {
        &self.base
    }

    /// A client with the system's own token.
    pub(super) fn client(&self) -> Result<Client, Failed> {
        Client::of(&self.base, &self.token)
    }

    /// Starts a worker process that registers with a key.
    pub(super) fn worker(&mut self, name: &str, key: &str) -> Result<(), Failed> {
        let exec = format!("'{}' demo-step", std::env::current_exe()?.display());
        let identity = self.folder.join(format!("{name}.json"));
        let extra = ["--exec", &exec, "--max-concurrent", "2", "--log", "error"];
        let child = children::worker(&self.base, name, &identity, Some(key), &extra)?;
        self.workers.insert(name.to_owned(), child);
        Ok(())
    }

    /// kill -9.
    pub(super) fn kill(&mut self, name: &str) -> Result<(), Failed> {
        let worker = self.workers.remove(name);
        worker.map(drop).ok_or_else(|| Failed::wrong(format!("no worker {name} runs")))
    }

    /// Lets everybody end in order.
    pub(super) async fn close(self) -> Result<(), Failed> {
        for worker in self.workers.into_values() {
            worker.end().await?;
        }
        self.server.end().await
    }
}
