//! `fleetward model`: what models are called.

use clap::Subcommand;
use fleetward_actors::fleet::models::{self, Overrides};
use serde_json::json;

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print;

#[derive(Subcommand)]
pub(crate) enum ModelVerb {
    /// Say by which name a model is compared.
    Normalize {
        /// Names in any spelling.
        #[arg(required = true)]
        names: Vec<String>,
        /// Ask the server, which knows the organisation's own names too.
        #[arg(long)]
        here: bool,
    },
}

pub(crate) async fn run(verb: ModelVerb, client: &ClientArgs) -> Result<(), Failed> {
    let ModelVerb::Normalize { names, here } = verb;
    let mut said = Vec::with_capacity(names.len());
    for name in &names {
        said.push(if here {
            let path = format!("/api/v1/fleet/models/normalize?name={}", segment(name));
            client.client()?.get(&path).await?
        } else {
            let canonical = models::canonical(name, &Overrides::new());
            json!({ "name": name, "canonical": canonical, "table": models::table_version() })
        });
    }
    print::many(client.output, &json!({ "models": said }), "models", &["name", "canonical"])
}
