//! `fleetward master-key`: the key that everything secret in a store is sealed with, in the end.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use fleetward::master_key;
use fleetward_actors::seal::MasterKey;
use fleetward_actors::system::rotation;

use super::error::Failed;
use super::journal::existing;
use super::print::line;

#[derive(Subcommand)]
pub(crate) enum MasterKeyVerb {
    /// Make a master key in a new file (mode 0600). Keep a copy apart from the store.
    New {
        /// The file. It must not be there yet.
        file: PathBuf,
    },
    /// Give a store another master key, with its server stopped. Broken off, it is begun again the same way; until it is
    /// done no server starts.
    Rotate {
        /// The store.
        #[arg(long, value_name = "URL", env = "FLEETWARD_DATABASE_URL", hide_env_values = true)]
        database_url: Option<String>,
        #[command(flatten)]
        master_key: MasterKeyArgs,
        /// The file with the new key; it is made (mode 0600) if it is not there.
        #[arg(long, value_name = "FILE")]
        new: PathBuf,
    },
}

/// The master key of a store, for verbs that read or serve one.
#[derive(Args)]
pub(crate) struct MasterKeyArgs {
    /// The file with the master key of the store: a Fernet key, as `fleetward master-key new FILE` makes one.
    #[arg(long, value_name = "FILE", env = "FLEETWARD_MASTER_KEY_FILE")]
    master_key_file: Option<PathBuf>,
}

impl MasterKeyArgs {
    /// The key, if one is named.
    pub(crate) fn read(&self) -> Result<Option<MasterKey>, Failed> {
        let read = |file: &PathBuf| master_key::read(file).map_err(Failed::refused);
        self.master_key_file.as_ref().map(read).transpose()
    }
}

pub(crate) async fn run(verb: MasterKeyVerb) -> Result<(), Failed> {
    match verb {
        MasterKeyVerb::New { file } => make(&file),
        MasterKeyVerb::Rotate { database_url, master_key, new } => {
            let url =
                database_url.ok_or_else(|| Failed::refused("name the store: --database-url"))?;
            let old = master_key.read()?;
            let old = old.ok_or_else(|| Failed::refused("name its key: --master-key-file"))?;
            rotate(&url, &old, &new).await
        }
    }
}

fn make(file: &Path) -> Result<(), Failed> {
    master_key::create(file).map_err(Failed::refused)?;
    line(&format!(
        "made {}; keep a copy apart from the store: without it nothing that is sealed can be read",
        file.display()
    ))
}

async fn rotate(url: &str, old: &MasterKey, file: &Path) -> Result<(), Failed> {
    let store = existing(url).await?;
    let new = master_key::kept(file).map_err(Failed::refused)?;
    let now = chrono::Utc::now().timestamp_micros();
    let done = rotation::rotate(store.as_ref(), old, &new, now).await;
    let values = done.map_err(|error| match error {
        rotation::Error::Store(_) => Failed::Unavailable(error.to_string()),
        rotation::Error::Fenced => Failed::Refused(format!("{error}; stop it, and rotate again")),
        _ => Failed::refused(error),
    })?;
    let file = file.display();
    match values {
        0 => line(&format!("everything is sealed with {file} already")),
        _ => line(&format!(
            "{values} values are sealed with {file} now; keep a copy of it apart from the store, and the old one for as long as there are backups from before"
        )),
    }
}
