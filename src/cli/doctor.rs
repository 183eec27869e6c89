//! `fleetward doctor`: looks for what is wrong, and says what to do.

use std::collections::HashMap;

use clap::Args;
use fleetward_actors::fact::Unfoldable;
use fleetward_actors::projector::Live;
use fleetward_store::{CellHead, ReadError, ReadLimit, Store, StoredEvent, genesis, verify};
use serde_json::Value;

use super::ClientArgs;
use super::error::Failed;
use super::journal::existing;
use super::print::line;

const PAGE: ReadLimit = ReadLimit { events: 2_000, bytes: 16 << 20 };

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// The store to look at.
    #[arg(long, value_name = "URL", env = "FLEETWARD_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

pub(crate) async fn run(args: DoctorArgs, client: &ClientArgs) -> Result<(), Failed> {
    let url = args.database_url;
    let asks_server = client.server.is_some();
    if url.is_none() && !asks_server {
        return Err(Failed::refused("name what to look at: --database-url, --server, or both"));
    }
    let mut wrong = 0;
    if let Some(url) = url {
        wrong += look_at_store(&url).await?;
    }
    if asks_server {
        wrong += look_at_server(client).await?;
    }
    match wrong {
        0 => line("nothing is wrong"),
        1 => Err(Failed::wrong("one thing is wrong")),
        wrong => Err(Failed::wrong(format!("{wrong} things are wrong"))),
    }
}

async fn look_at_server(client: &ClientArgs) -> Result<usize, Failed> {
    let server = client.client()?;
    let ready = match server.get("/readyz").await {
        Ok(ready) => ready,
        Err(failed) => {
            return line(&format!("WRONG the server is not ready: {failed}")).map(|()| 1);
        }
    };
    line("ok    the server is ready")?;
    let failing = not_ok(&ready);
    failing.iter().try_for_each(|said| line(&format!("WRONG {said}")))?;
    if !failing.is_empty() {
        // Which they are is for administrators of the system.
        let actors = server.get("/api/v1/system/actors").await.unwrap_or_default();
        halted(&actors).iter().try_for_each(|said| line(&format!("note  {said}")))?;
    }
    // Only whoever has a token of an organisation is told, and no more than that.
    if let Ok(policy) = server.get("/api/v1/fleet/policy").await {
        held_back(&policy).iter().try_for_each(|said| line(&format!("note  {said}")))?;
    }
    Ok(failing.len())
}

/// The checks that a server which takes work did not pass.
fn not_ok(ready: &Value) -> Vec<String> {
    let checks = ready["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let failing = checks.iter().filter(|check| check["ok"] == false);
    let text = |check: &Value, field: &str| check[field].as_str().unwrap_or("-").to_owned();
    failing.map(|check| format!("{}: {}", text(check, "name"), text(check, "detail"))).collect()
}

/// What stays down, and why.
fn halted(actors: &Value) -> Vec<String> {
    let actors = actors["actors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let down = actors.iter().filter(|actor| actor["state"]["is"] == "halted");
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    down.map(|actor| {
        let (path, why) = (text(&actor["path"]), text(&actor["state"]["reason"]));
        format!("{path} is down: {why}; `fleetward doctor --database-url URL` looks at its record")
    })
    .collect()
}

/// What keeps tasks waiting though workers are there: meant, but easily forgotten.
fn held_back(policy: &Value) -> Vec<String> {
    let list = |field: &str| policy[field].as_array().map(Vec::as_slice).unwrap_or_default();
    let paused = policy["paused"] == true;
    let organisation = paused.then(|| "the organisation is paused: `fleetward resume`".to_owned());
    let pools = list("paused_pools").iter().filter_map(Value::as_str);
    let pools =
        pools.map(|pool| format!("pool {pool} is paused: `fleetward resume --pool {pool}`"));
    let caps = list("caps").iter().map(|cap| format!("a cap is set: {cap}"));
    organisation.into_iter().chain(pools).chain(caps).collect()
}

async fn look_at_store(url: &str) -> Result<usize, Failed> {
    let store = match existing(url).await {
        Ok(store) => store,
        Err(failed) => {
            line(&format!("WRONG the store cannot be opened: {failed}"))?;
            return Ok(1);
        }
    };
    line(&format!("ok    {} is reachable, its schema is ours", store.describe()))?;
    let advice = store.advice().await.map_err(|error| Failed::Unavailable(error.to_string()))?;
    advice.iter().try_for_each(|said| line(&format!("note  {said}")))?;
    let cells = store.cells().await.map_err(|error| Failed::Unavailable(error.to_string()))?;
    let mut wrong = 0;
    for head in cells {
        match look_at_cell(store.as_ref(), head).await? {
            Ok(said) => line(&format!("ok    {said}"))?,
            Err(said) => {
                wrong += 1;
                line(&format!("WRONG {said}"))?;
            }
        }
    }
    Ok(wrong)
}

/// Reads a cell from its first event: the chain must hold, every event must fold, and the rows must be the fold.
async fn look_at_cell(store: &dyn Store, head: CellHead) -> Result<Result<String, String>, Failed> {
    let away = |error: &dyn std::fmt::Display| Failed::Unavailable(error.to_string());
    let cell = head.cell;
    let rows_at = store.position(cell).await.map_err(|error| away(&error))?;
    let (mut at, mut hash) = (0, genesis(cell));
    let mut open: HashMap<String, Live> = HashMap::new();
    while at < head.head {
        let page = store.read(cell, at, PAGE).await.map_err(|error| away(&error))?;
        let Some(last) = page.last().map(|event| event.seq) else {
            return Ok(Err(format!("cell {cell}: event {} is missing; restore a backup", at + 1)));
        };
        match verify(cell, at, hash, &page) {
            Ok(next) => hash = next,
            Err(broken) => {
                return Ok(Err(format!(
                    "cell {cell}: {broken}; the record was changed, restore a backup"
                )));
            }
        }
        for event in page {
            let stream = event.event.stream.to_string();
            let known = match open.remove(&stream) {
                None if folded(None, &event).is_err() => {
                    read_again(store, &event).await.map_err(|error| away(&error))?
                }
                known => known,
            };
            match folded(known, &event) {
                // What rests or is closed is mostly looked at no more: memory is for what is open.
                Ok(live) if live.is_open() => drop(open.insert(stream, live)),
                Ok(_) => {}
                Err(error) => {
                    return Ok(Err(format!(
                        "cell {cell}: {error}; run the build that wrote it, or a newer one"
                    )));
                }
            }
        }
        at = last;
    }
    let behind = head.head - rows_at;
    let (epoch, head) = (head.epoch, head.head);
    Ok(Ok(format!(
        "cell {cell}: {head} events, epoch {epoch}, chain and folds hold, rows {behind} behind"
    )))
}

/// What was not open any more when this event came: the fold of what its stream had before it.
async fn read_again(store: &dyn Store, event: &StoredEvent) -> Result<Option<Live>, ReadError> {
    let (mut known, mut at) = (None, 0);
    loop {
        let page = store.read_stream(event.cell, &event.event.stream, at, PAGE).await?;
        let before = page.iter().take_while(|earlier| earlier.seq < event.seq);
        let count = before.clone().count();
        for earlier in before {
            // One that does not fold was found before.
            known = folded(known, earlier).ok();
        }
        match page.last() {
            Some(last) if count == page.len() => at = last.seq,
            _ => return Ok(known),
        }
    }
}

fn folded(known: Option<Live>, event: &StoredEvent) -> Result<Live, Unfoldable> {
    match known {
        None => Live::begin(event.cell, event.seq, &event.event),
        Some(mut live) => live.apply(event.seq, &event.event).map(|()| live),
    }
}
