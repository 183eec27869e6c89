//! `fleetward audit`: the record of what happened.

use clap::{Args, Subcommand};

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print;

#[derive(Subcommand)]
pub(crate) enum AuditVerb {
    /// List events, newest first.
    List(ListArgs),
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only this kind, `worker.approved`.
    #[arg(long = "type")]
    kind: Option<String>,
    /// Only what concerns this worker.
    #[arg(long)]
    worker: Option<String>,
    /// Only from this time on, `2026-01-31T12:00:00Z`.
    #[arg(long)]
    since: Option<String>,
    /// Most events.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

pub(crate) async fn run(
    AuditVerb::List(args): AuditVerb,
    client: &ClientArgs,
) -> Result<(), Failed> {
    let mut path = format!("/api/v1/fleet/audit?limit={}", args.limit);
    for (name, value) in [("type", args.kind), ("worker_id", args.worker), ("since", args.since)] {
        if let Some(value) = value {
            path += &format!("&{name}={}", segment(&value));
        }
    }
    let listed = client.client()?.get(&path).await?;
    print::many(client.output, &listed, "events", &["position", "at", "type", "by", "worker_id"])
}
