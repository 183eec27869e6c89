//! `fleetward key`: enrollment keys.

use clap::{Args, Subcommand};
use serde_json::json;

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print;

const KEYS: &str = "/api/v1/fleet/enrollment-keys";

#[derive(Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a key; its text is shown this once.
    Create(CreateArgs),
    /// List keys.
    List,
    /// Take a key back.
    Revoke {
        /// Its id.
        id: String,
    },
}

#[derive(Args)]
pub(crate) struct CreateArgs {
    /// What to call it.
    #[arg(long)]
    name: String,
    /// How many workers may register with it [default: 1].
    #[arg(long)]
    max_uses: Option<u32>,
    /// For how many seconds it is good [default: a day].
    #[arg(long)]
    expires_in: Option<u64>,
    /// A pool that its workers may stand in; may be repeated [default: any].
    #[arg(long = "pool")]
    pools: Vec<String>,
    /// A model that its workers may declare; may be repeated [default: any].
    #[arg(long = "model")]
    models: Vec<String>,
    /// A label that its workers get, `name=value`; may be repeated.
    #[arg(long = "label", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The project of its workers.
    #[arg(long)]
    project: Option<String>,
    /// Another project whose tasks its workers take too; may be repeated.
    #[arg(long = "shared-with", value_name = "PROJECT")]
    shared_with: Vec<String>,
    /// Approve its workers without an administrator.
    #[arg(long)]
    auto_approve: bool,
}

pub(crate) async fn run(verb: KeyVerb, client: &ClientArgs) -> Result<(), Failed> {
    match verb {
        KeyVerb::Create(args) => {
            let labels: serde_json::Map<_, _> =
                args.labels.into_iter().map(|(name, value)| (name, value.into())).collect();
            let body = json!({
                "name": args.name,
                "max_uses": args.max_uses,
                "expires_in": args.expires_in,
                "pools": args.pools,
                "models": args.models,
                "labels": labels,
                "project_id": args.project, "shared_with": args.shared_with,
                "auto_approve": args.auto_approve,
            });
            let made = client.client()?.post(KEYS, &body).await?;
            print::one(client.output, &made, &["id", "name", "max_uses", "expires_at", "key"])
        }
        KeyVerb::List => {
            let listed = client.client()?.get(KEYS).await?;
            let fields =
                ["id", "name", "current_uses", "max_uses", "expires_at", "auto_approve", "revoked"];
            print::many(client.output, &listed, "keys", &fields)
        }
        KeyVerb::Revoke { id } => {
            let path = format!("{KEYS}/{}", segment(&id));
            let answer = client.client()?.delete(&path).await?;
            print::one(client.output, &answer, &["status"])
        }
    }
}

/// `name=value`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a label is name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}
