//! `fleetward master-key`: the key that everything secret in a store is sealed with, in the end.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fleetward::master_key;
use fleetward_actors::seal::MasterKey;

use super::error::Failed;
use super::print::line;

#[derive(Subcommand)]
pub(crate) enum MasterKeyVerb {
    /// Make a master key in a new file (mode 0600). Keep a copy apart from the store.
    New {
        /// The file. It must not be there yet.
        file: PathBuf,
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

pub(crate) fn run(MasterKeyVerb::New { file }: MasterKeyVerb) -> Result<(), Failed> {
    master_key::create(&file).map_err(Failed::refused)?;
    line(&format!(
        "made {}; keep a copy apart from the store: without it nothing that is sealed can be read",
        file.display()
    ))
}
