//! The sinks of an organisation that is down: read from its rows and from what its record says after them, as its keeper
//! would read them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use fleetward_store::{CellId, Query, ReadLimit, Record, Store};

use crate::fact::{Fold, split_stream};
use crate::fleet::sink::{SINKS_MAX, Sink};
use crate::projector::{Rows, numbered};

/// How much of the record is read at a time.
const PAGE: ReadLimit = ReadLimit { events: 1_024, bytes: 8 << 20 };

/// The sinks that are not removed, with their rows.
pub(super) async fn read(
    store: &Arc<dyn Store>,
    cell: CellId,
) -> Result<Vec<(Sink, Record)>, String> {
    let mut position = store.position(cell).await.map_err(|error| error.to_string())?;
    let query = Query {
        cell,
        kind: Cow::Borrowed(Sink::KIND),
        status: Some("active".to_owned()),
        before: None,
        limit: SINKS_MAX,
    };
    let known = store.list(query).await.map_err(|error| error.to_string())?;
    let mut known: BTreeMap<_, _> = known.into_iter().map(|row| (row.id.clone(), row)).collect();
    let mut rows = Rows::unwritten(store.clone());
    loop {
        let read = store.read(cell, position, PAGE).await;
        let mut events = read.map_err(|error| error.to_string())?;
        let Some(last) = events.last().map(|event| event.seq) else { break };
        position = last;
        // What nobody can understand, and is why the organisation is down, is hardly a sink.
        events.retain(|stored| split_stream(&stored.event.stream).0 == Sink::KIND);
        let touched =
            rows.apply(cell, &numbered(&events)).await.map_err(|error| error.to_string())?;
        known.extend(touched.upserts.into_iter().map(|row| (row.id.clone(), row)));
    }
    let active = known.into_values().filter(|row| row.open);
    let understood = active.map(|row| Ok((serde_json::from_slice(&row.body)?, row)));
    let understood: Result<_, serde_json::Error> = understood.collect();
    understood.map_err(|_| "the rows of the sinks cannot be read".to_owned())
}
