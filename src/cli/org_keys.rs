//! `fleetward org key`: the keys that an organisation's payloads are encrypted with.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::ClientArgs;
use super::client::Client;
use super::error::Failed;
use super::print;

const KEYS: &str = "/api/v1/fleet/payload-keys";
const FIELDS: [&str; 8] = [
    "number",
    "state",
    "created_at",
    "created_by",
    "reencryption.state",
    "reencryption.events",
    "reencryption.of_events",
    "reencryption.resealed",
];
/// Between two looks at a re-encryption.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Subcommand)]
pub(crate) enum OrgKeyVerb {
    /// List the keys, and how far a re-encryption is.
    List,
    /// Add a key. It encrypts nothing before it is promoted.
    Add,
    /// Encrypt with this key from now on.
    Promote {
        /// Its number.
        number: u32,
    },
    /// Encrypt everything with the primary key, in the background.
    Reencrypt {
        /// Wait until it is done.
        #[arg(long)]
        wait: bool,
    },
    /// Write the keys into a new file (mode 0600), for `worker run --org-key-file`. It is on the record.
    Export {
        /// The file. It must not be there yet.
        file: PathBuf,
    },
    /// Give up a key that nothing is encrypted with any more.
    Retire {
        /// Its number.
        number: u32,
    },
}

pub(crate) async fn run(verb: OrgKeyVerb, args: &ClientArgs) -> Result<(), Failed> {
    let client = args.client()?;
    let post = async |path: &str| client.post(&format!("{KEYS}{path}"), &json!({})).await;
    let answer = match verb {
        OrgKeyVerb::List => {
            let listed = client.get(KEYS).await?;
            return print::many(args.output, &listed, "keys", &FIELDS);
        }
        OrgKeyVerb::Export { file } => {
            let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
            let failed = |error| Failed::refused(format!("{}: {error}", file.display()));
            let mut opened = options.map_err(failed)?;
            writeln!(opened, "{}", post("/export").await?)?;
            return print::line(&format!("made {}; whoever has it reads payloads", file.display()));
        }
        OrgKeyVerb::Add => post("").await?,
        OrgKeyVerb::Promote { number } => post(&format!("/{number}/promote")).await?,
        OrgKeyVerb::Retire { number } => post(&format!("/{number}/retire")).await?,
        OrgKeyVerb::Reencrypt { wait } => {
            let started = post("/reencrypt").await?;
            if wait { done(&client, &started["number"]).await? } else { started }
        }
    };
    print::one(args.output, &answer, &["number", "state", "changed_at"])
}

/// The key, once its re-encryption is done.
async fn done(client: &Client, number: &Value) -> Result<Value, Failed> {
    loop {
        let listed = client.get(KEYS).await?;
        let keys = listed["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        let key = keys.iter().find(|key| key["number"] == *number);
        match key {
            Some(key) if key["reencryption"]["state"] == "running" => {
                tokio::time::sleep(LOOK).await;
            }
            Some(key) => return Ok(key.clone()),
            None => return Err(Failed::wrong("the key is gone")),
        }
    }
}
