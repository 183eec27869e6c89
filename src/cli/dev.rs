//! `fleetward dev`: a server on `./.fleetward` and one local worker, for a developer's machine.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use clap::Args;
use fleetward::master_key;
use fleetward_actors::fleet::credentials::operator_token;
use serde_json::json;

use super::children::{self, Child};
use super::client::Client;
use super::end::stop_on_signal;
use super::error::Failed;

const FOLDER: &str = ".fleetward";

#[derive(Args)]
pub(crate) struct DevArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", env = "FLEETWARD_LISTEN", default_value = "127.0.0.1:7700")]
    listen: String,
    /// The command of the local worker.
    #[arg(long, value_name = "CMD", default_value = "cat")]
    exec: String,
}

pub(crate) async fn run(args: DevArgs) -> Result<(), Failed> {
    let folder = Path::new(FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let token = kept_token(&folder.join("admin-token"))?;
    let stop = stop_on_signal()?;
    let url = format!("sqlite://{}", folder.join("fleetward.db").display());
    let key = folder.join("master-key");
    master_key::kept(&key).map_err(Failed::refused)?;
    let (mut server, base) = children::serve((&url, &key), &args.listen, &token, &[]).await?;
    println!("server      {base}");
    println!("admin token {token}");
    println!("store       {url}");
    println!(
        "try         FLEETWARD_SERVER={base} FLEETWARD_TOKEN={token} fleetward task submit --payload '\"hello\"' --wait"
    );
    let identity = folder.join("worker.json");
    let mut worker = local_worker(&base, &token, &identity, &args.exec).await?;
    let ended = tokio::select! {
        () = stop.cancelled() => None,
        status = server.ended() => Some(("server", status?)),
        status = worker.ended() => Some(("worker", status?)),
    };
    worker.end().await?;
    server.end().await?;
    match ended {
        None => Ok(()),
        Some((which, status)) => Err(Failed::wrong(format!("the {which} ended: {status}"))),
    }
}

/// The token of the time before, or a fresh one.
fn kept_token(path: &Path) -> Result<String, Failed> {
    if let Ok(text) = std::fs::read_to_string(path) {
        return Ok(text.trim().to_owned());
    }
    let token = operator_token();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    Ok(token)
}

async fn local_worker(
    base: &str,
    token: &str,
    identity: &Path,
    exec: &str,
) -> Result<Child, Failed> {
    let key = if is_identity_at(identity, base) {
        None
    } else {
        // One of a server at another address (`--listen` changed) would be refused.
        let _ = std::fs::remove_file(identity);
        let body = json!({ "name": "dev", "auto_approve": true, "expires_in": 300 });
        let made = Client::of(base, token)?.post("/api/v1/fleet/enrollment-keys", &body).await?;
        made["key"].as_str().map(str::to_owned)
    };
    children::worker(base, "local", identity, key.as_deref(), &["--exec", exec])
}

fn is_identity_at(path: &Path, base: &str) -> bool {
    let read = std::fs::read(path).ok();
    let kept: Option<serde_json::Value> = read.and_then(|text| serde_json::from_slice(&text).ok());
    kept.is_some_and(|kept| kept["server"] == base && kept["worker_id"].is_string())
}
