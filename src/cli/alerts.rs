//! `fleetward alert` and `fleetward sink`: what somebody should look at, and where it is sent.

use std::io::Read;

use clap::Subcommand;
use serde_json::json;

use super::ClientArgs;
use super::client::segment;
use super::error::Failed;
use super::print;

const ALERTS: &str = "/api/v1/fleet/alerts";
const SINKS: &str = "/api/v1/fleet/sinks";

#[derive(Subcommand)]
pub(crate) enum AlertVerb {
    /// List alerts, newest first.
    List {
        /// Only `open` or `acknowledged` ones.
        #[arg(long)]
        status: Option<String>,
        /// Most alerts, up to 200.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Say that an alert was seen.
    Ack {
        /// Its id.
        id: String,
        /// What was found, for the record.
        #[arg(long)]
        note: Option<String>,
    },
}

#[derive(Subcommand)]
pub(crate) enum SinkVerb {
    /// List where alerts are sent.
    List,
    /// Send every later alert to a webhook, signed by the rules of Standard Webhooks; its secret is shown this once.
    Create {
        /// What to call it.
        #[arg(long)]
        name: String,
        /// Its address; `-` reads it from standard input.
        url: String,
    },
    /// Make another secret, shown this once; the one before it signs too for a day.
    Rotate {
        /// Its id.
        id: String,
    },
    /// Send nothing more there.
    Remove {
        /// Its id.
        id: String,
    },
    /// Send a test message now.
    Test {
        /// Its id.
        id: String,
    },
}

pub(crate) async fn run(verb: AlertVerb, client: &ClientArgs) -> Result<(), Failed> {
    match verb {
        AlertVerb::List { status, limit } => {
            let status = status.map(|status| format!("&status={}", segment(&status)));
            let path = format!("{ALERTS}?limit={limit}{}", status.unwrap_or_default());
            let listed = client.client()?.get(&path).await?;
            let fields =
                ["id", "severity", "kind", "subject", "raised_at", "acknowledged_by", "why"];
            print::many(client.output, &listed, "alerts", &fields)
        }
        AlertVerb::Ack { id, note } => {
            let path = format!("{ALERTS}/{}/acknowledge", segment(&id));
            let alert = client.client()?.post(&path, &json!({ "note": note })).await?;
            print::one(client.output, &alert, &["id", "kind", "acknowledged_by", "acknowledged_at"])
        }
    }
}

pub(crate) async fn sinks(verb: SinkVerb, client: &ClientArgs) -> Result<(), Failed> {
    let asked = client.client()?;
    match verb {
        SinkVerb::List => {
            let listed = asked.get(SINKS).await?;
            let fields =
                ["id", "name", "origin", "delivered", "delivered_at", "given_up", "last_error"];
            print::many(client.output, &listed, "sinks", &fields)
        }
        SinkVerb::Create { name, url } => {
            let body = json!({ "name": name, "url": address(url)? });
            let made = asked.post(SINKS, &body).await?;
            print::one(client.output, &made, &["id", "name", "secret"])
        }
        SinkVerb::Rotate { id } => {
            let path = format!("{SINKS}/{}/rotate", segment(&id));
            let made = asked.post(&path, &json!({})).await?;
            print::one(client.output, &made, &["id", "name", "secret"])
        }
        SinkVerb::Remove { id } => {
            let removed = asked.delete(&format!("{SINKS}/{}", segment(&id))).await?;
            print::one(client.output, &removed, &["status"])
        }
        SinkVerb::Test { id } => {
            let path = format!("{SINKS}/{}/test", segment(&id));
            let tested = asked.post(&path, &json!({})).await?;
            print::one(client.output, &tested, &["delivered", "error"])?;
            match tested["delivered"].as_bool() {
                Some(true) => Ok(()),
                _ => Err(Failed::wrong("the test message was not delivered")),
            }
        }
    }
}

/// An address from the command line, where other users of the machine see it, or from standard input.
fn address(url: String) -> Result<String, Failed> {
    if url != "-" {
        return Ok(url);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}
