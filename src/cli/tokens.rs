//! `fleetward token`: operators' tokens.

use clap::Subcommand;
use serde_json::json;

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print;

const TOKENS: &str = "/api/v1/tokens";

#[derive(Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token; its text is shown this once.
    Create {
        /// What to call it.
        #[arg(long)]
        name: String,
        /// `viewer`, `operator` or `admin` (of an organisation), or `system`.
        #[arg(long, default_value = "admin")]
        role: String,
        /// For how many seconds it is good [default: until it is revoked].
        #[arg(long)]
        expires_in: Option<u64>,
    },
    /// List the good tokens of an organisation, or of the system.
    List,
    /// Take a token back.
    Revoke {
        /// Its id.
        id: String,
    },
}

pub(crate) async fn run(verb: TokenVerb, client: &ClientArgs) -> Result<(), Failed> {
    match verb {
        TokenVerb::Create { name, role, expires_in } => {
            let body = json!({ "name": name, "role": role, "expires_in": expires_in });
            let made = client.client()?.post(TOKENS, &body).await?;
            print::one(client.output, &made, &["id", "name", "role", "token"])
        }
        TokenVerb::List => {
            let listed = client.client()?.get(TOKENS).await?;
            let fields = ["id", "name", "role", "created_at", "expires_at"];
            print::many(client.output, &listed, "tokens", &fields)
        }
        TokenVerb::Revoke { id } => {
            let path = format!("{TOKENS}/{}", segment(&id));
            let answer = client.client()?.delete(&path).await?;
            print::one(client.output, &answer, &["status"])
        }
    }
}
