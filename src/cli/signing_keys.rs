//! `fleetward signing-key`: the keys that workers' task tokens are signed with.

use clap::Subcommand;
use serde_json::json;

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print;

const KEYS: &str = "/api/v1/signing-keys";
const FIELDS: [&str; 5] = ["id", "state", "fingerprint", "created_at", "demoted_at"];

#[derive(Subcommand)]
pub(crate) enum SigningKeyVerb {
    /// List the keys that may be used.
    List,
    /// Add a key: it is published, and signs once it is promoted.
    Add {
        /// Let it sign at once.
        #[arg(long)]
        promote: bool,
    },
    /// Let a key sign from now on; tokens of the one before stay good until they end.
    Promote {
        /// Its id.
        id: String,
    },
    /// End a key that no longer signs.
    Retire {
        /// Its id.
        id: String,
        /// Although tokens of it may be in use: their workers ask for new ones.
        #[arg(long)]
        force: bool,
    },
}

pub(crate) async fn run(verb: SigningKeyVerb, client: &ClientArgs) -> Result<(), Failed> {
    let asked = client.client()?;
    let key = match verb {
        SigningKeyVerb::List => {
            return print::many(client.output, &asked.get(KEYS).await?, "keys", &FIELDS);
        }
        SigningKeyVerb::Add { promote } => asked.post(KEYS, &json!({ "promote": promote })).await?,
        SigningKeyVerb::Promote { id } => {
            asked.post(&format!("{KEYS}/{}/promote", segment(&id)), &json!({})).await?
        }
        SigningKeyVerb::Retire { id, force } => {
            let path = format!("{KEYS}/{}/retire", segment(&id));
            asked.post(&path, &json!({ "force": force })).await?
        }
    };
    print::one(client.output, &key, &FIELDS)
}
