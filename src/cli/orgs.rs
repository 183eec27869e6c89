//! `fleetward org`: organisations.

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::ClientArgs;
use super::error::Failed;
use super::org_keys::{self, OrgKeyVerb};
use super::print;

const ORGS: &str = "/api/v1/orgs";
const POLICY: &str = "/api/v1/fleet/policy";

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
    /// Change how an organisation works (`--org` names another than your own).
    Set {
        /// Whether workers may prove themselves by id and secret (as older ones do), or only by key pair.
        #[arg(long, value_name = "on|off", value_parser = on_or_off, action = clap::ArgAction::Set)]
        legacy_headers: bool,
    },
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("say `on` or `off`".to_owned()),
    }
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
        OrgVerb::Set { legacy_headers } => {
            let asked = client.client()?;
            let body = json!({ "legacy_headers": legacy_headers });
            let request = asked.request(Method::PATCH, POLICY).json(&body);
            print::one(client.output, &asked.send(request).await?, &["legacy_headers"])
        }
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
