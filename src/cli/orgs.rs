//! `fleetward org`: organisations.

use clap::Subcommand;
use serde_json::json;

use super::ClientArgs;
use super::config::File;
use super::error::Failed;
use super::print;

const ORGS: &str = "/api/v1/orgs";

#[derive(Subcommand)]
pub(crate) enum OrgVerb {
    /// Make an organisation; its first administrator's token is shown this once.
    Create {
        /// Its name: lower-case letters, digits, hyphens.
        name: String,
    },
    /// List organisations.
    List,
}

pub(crate) async fn run(verb: OrgVerb, client: &ClientArgs, file: &File) -> Result<(), Failed> {
    match verb {
        OrgVerb::Create { name } => {
            let made = client.client(file)?.post(ORGS, &json!({ "name": name })).await?;
            print::one(client.output, &made, &["id", "name", "token"])
        }
        OrgVerb::List => {
            let listed = client.client(file)?.get(ORGS).await?;
            print::many(client.output, &listed, "orgs", &["id", "name", "created_at"])
        }
    }
}
