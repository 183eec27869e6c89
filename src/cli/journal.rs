//! `fleetward journal`: reads a store itself, without a server. What is sealed in it is opened by the server that serves
//! it, which puts that on the record; or by hand, where it is said that this is on none.

mod unseal;

use clap::{Args, Subcommand};
use fleetward_actors::fact;
use fleetward_actors::plane::SYSTEM_CELL;
use fleetward_actors::system::org::Org;
use fleetward_store::{CellId, Event, Query, ReadLimit, Store, StoredEvent, chain, genesis};
use serde_json::{Value, json};

use super::ClientArgs;
use super::error::Failed;
use super::master_key::MasterKeyArgs;
use super::print::{Output, line};
use unseal::Opener;

/// Events in one read.
const PAGE: ReadLimit = ReadLimit { events: 1_000, bytes: 8 << 20 };

#[derive(Subcommand)]
pub(crate) enum JournalVerb {
    /// Print events: position, time, kind, who, stream and body. What is sealed stays sealed without --unseal.
    Cat(CatArgs),
}

#[derive(Args)]
pub(crate) struct CatArgs {
    /// The store.
    #[arg(long, value_name = "URL", env = "FLEETWARD_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// A cell by its number, instead of an organisation; 0 holds organisations and tokens.
    #[arg(long, conflicts_with = "unseal")]
    cell: Option<i64>,
    /// The first position.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Most events.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// Open payloads, results, error texts and progress too. The server is asked, and puts each page on the record
    /// before it answers.
    #[arg(long)]
    unseal: bool,
    /// With --unseal: open them here, from the store and with its master key. That is on no record: for when no server
    /// can be run.
    #[arg(long, requires = "unseal")]
    offline: bool,
    #[command(flatten)]
    master_key: MasterKeyArgs,
}

/// What stands sealed beside an event.
struct Part {
    bytes: usize,
    /// The key that it needs; none: a newer build sealed it.
    key: Option<u32>,
    /// What is inside, or why it does not open; none: it is not to be opened.
    opened: Option<Result<String, String>>,
}

pub(crate) async fn run(
    JournalVerb::Cat(args): JournalVerb,
    client: &ClientArgs,
) -> Result<(), Failed> {
    if args.unseal && !args.offline {
        return unseal::ask(args.from, args.limit, client).await;
    }
    let (org, output) = (client.org().unwrap_or("default"), client.output);
    let Some(url) = args.database_url else {
        return Err(Failed::refused("name the store: --database-url"));
    };
    let store = existing(&url).await?;
    let mut opener = match args.unseal {
        true => Opener::offline(store.as_ref(), args.master_key.read()?, org).await?,
        false => Opener::none(),
    };
    let cell = match args.cell {
        Some(number) => CellId(number),
        None => named(store.as_ref(), org).await?,
    };
    let mut after = args.from.saturating_sub(1);
    let mut left = args.limit;
    let mut previous = match after {
        0 => Some(genesis(cell)),
        _ => read(store.as_ref(), cell, after - 1).await?.first().map(|event| event.hash),
    };
    while left > 0 {
        let page = read(store.as_ref(), cell, after).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for event in page.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            check(previous, event)?;
            previous = Some(event.hash);
            let part = opener.part(event);
            line(&shown(output, (event.seq, &event.event), &event.hash.to_string(), part))?;
        }
        left = left.saturating_sub(page.len() as u64);
    }
    opener.end()
}

/// The chain must lead from each event to the next.
fn check(previous: Option<fleetward_store::Hash>, event: &StoredEvent) -> Result<(), Failed> {
    match previous {
        Some(hash) if chain(&hash, event.cell, event.seq, &event.event) != event.hash => {
            Err(Failed::wrong(format!("event {} does not fit the hash chain", event.seq)))
        }
        _ => Ok(()),
    }
}

async fn read(store: &dyn Store, cell: CellId, after: u64) -> Result<Vec<StoredEvent>, Failed> {
    store.read(cell, after, PAGE).await.map_err(|error| Failed::Unavailable(error.to_string()))
}

/// Opens a store that is there: looking at one must not make one.
pub(crate) async fn existing(url: &str) -> Result<std::sync::Arc<dyn Store>, Failed> {
    if let Some(path) = url.strip_prefix("sqlite://")
        && !std::path::Path::new(path).exists()
    {
        return Err(Failed::refused(format!("there is no store at {path}")));
    }
    Ok(fleetward_store::connect(url).await?)
}

/// The cell of an organisation, by name or id.
async fn named(store: &dyn Store, name: &str) -> Result<CellId, Failed> {
    organisations(store)
        .await?
        .into_iter()
        .find(|org| org.name == name || org.id.to_string() == name)
        .map(|org| org.cell())
        .ok_or_else(|| Failed::refused(format!("there is no organisation {name} in this store")))
}

/// The organisations of a store, from its rows.
pub(crate) async fn organisations(store: &dyn Store) -> Result<Vec<Org>, Failed> {
    let query = Query {
        cell: SYSTEM_CELL,
        kind: "org".into(),
        status: None,
        before: None,
        limit: usize::from(u16::MAX),
    };
    let rows = store.list(query).await.map_err(|error| Failed::Unavailable(error.to_string()))?;
    rows.iter().map(|row| fact::from_record(row).map_err(Failed::wrong)).collect()
}

fn shown(output: Output, (seq, event): (u64, &Event), hash: &str, part: Option<Part>) -> String {
    let body: Value = serde_json::from_slice(&event.body)
        .unwrap_or_else(|_| format!("{} bytes, not JSON", event.body.len()).into());
    let time = chrono::DateTime::from_timestamp_micros(event.at)
        .map_or_else(|| event.at.to_string(), |time| time.to_rfc3339());
    match output {
        Output::Json => json!({
            "seq": seq,
            "at": time,
            "kind": event.kind,
            "version": event.version,
            "by": &*event.by,
            "request_id": event.origin.as_ref().map(|origin| &*origin.request),
            "source": event.origin.as_ref().and_then(|origin| origin.source),
            "stream": &*event.stream,
            "body": body,
            "sealed": part.map(Part::json),
            "hash": hash,
        })
        .to_string(),
        Output::Table => {
            let (kind, by, stream) = (&event.kind, &event.by, &event.stream);
            let from = event.origin.as_ref().and_then(|origin| origin.source);
            let from = from.map(|source| format!(" from {source}")).unwrap_or_default();
            let sealed = part.map(Part::text).unwrap_or_default();
            format!("{seq} {time} {kind} by {by}{from} {stream} {body}{sealed}")
        }
    }
}

impl Part {
    fn json(self) -> Value {
        let mut part = json!({"bytes": self.bytes, "key": self.key});
        match self.opened {
            Some(Ok(text)) => part["text"] = text.into(),
            Some(Err(why)) => part["unreadable"] = why.into(),
            None => {}
        }
        part
    }

    fn text(self) -> String {
        let key = self.key.map_or_else(|| "an unknown key".to_owned(), |key| format!("key {key}"));
        let inside = match self.opened {
            Some(Ok(text)) => format!(": {text}"),
            Some(Err(why)) => format!(", UNREADABLE: {why}"),
            None => String::new(),
        };
        format!(" +{} bytes sealed with {key}{inside}", self.bytes)
    }
}
