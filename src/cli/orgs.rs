//! `fleetward org`: organisations.

use clap::Subcommand;
use serde_json::json;

use super::ClientArgs;
use super::error::Failed;
use super::org_keys::{self, OrgKeyVerb};
use super::print;

const ORGS: &str = "/api/v1/orgs";

#[derive(Subcommand)]
pub(crate) enum OrgVerb {
    /// Make an organisation; its first administrator's token is shown this once.
    Create {
        /// Its name: lower-case letters, digits, hyphens.
        name: String,
        /// Its name for people.
        #[arg(long)]
        display_name: Option<String>,
    },
    /// List organisations.
    List,
    /// The keys that an organisation's payloads are encrypted with.
    #[command(subcommand)]
    Key(OrgKeyVerb),
}

pub(crate) async fn run(verb: OrgVerb, client: &ClientArgs) -> Result<(), Failed> {
    match verb {
        OrgVerb::Create { name, display_name } => {
            let made = client
                .client()?
                .post(ORGS, &json!({ "name": name, "display_name": display_name }))
                .await?;
            print::one(client.output, &made, &["id", "name", "token"])
        }
        OrgVerb::Key(verb) => org_keys::run(verb, client).await,
        OrgVerb::List => {
            let listed = client.client()?.get(ORGS).await?;
            print::many(
                client.output,
                &listed,
                "orgs",
                &["id", "name", "display_name", "cell", "created_at"],
            )
        }
    }
}
