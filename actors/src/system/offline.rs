//! Organisations and their keys, folded from a store that no server has to run on: for looking at one by hand.
//! What is read in this way is on no record; a server is to be asked wherever one runs.

use std::collections::HashMap;

use fleetward_runtime::StartError;
use fleetward_store::{ReadError, ReadLimit, Store};

use super::directory::opening;
use super::org::Org;
use super::payload_key::PayloadKey;
use super::principals::KnownOrg;
use crate::fact::{Fold, Unfoldable, split_stream};
use crate::plane::SYSTEM_CELL;
use crate::projector::{Folded, Live};
use crate::seal::MasterKey;

/// Events of one read.
const PAGE: ReadLimit = ReadLimit { events: 2_000, bytes: 8 << 20 };

/// Why nothing was opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Look whether the store is there.
    #[error("the store cannot be read: {0}")]
    Store(#[from] ReadError),
    /// Use the build that wrote it, or a newer one.
    #[error(transparent)]
    Unfoldable(#[from] Unfoldable),
    /// Name the master key that the store was made with; one that is right finds that the store was changed.
    #[error("{0}")]
    Key(String),
}

/// Every organisation of a store, with the keys that open what is sealed in it.
///
/// # Errors
/// When the store cannot be read, or the master key is not its own.
pub async fn organisations(store: &dyn Store, master: &MasterKey) -> Result<Vec<KnownOrg>, Error> {
    let mut streams: HashMap<String, Live> = HashMap::new();
    let mut after = 0;
    loop {
        let page = store.read(SYSTEM_CELL, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for stored in &page {
            let stream = &*stored.event.stream;
            if ![Org::KIND, PayloadKey::KIND].contains(&split_stream(stream).0) {
                continue;
            }
            let (seq, event) = (stored.seq, &stored.event);
            match streams.get_mut(stream) {
                Some(known) => known.apply(seq, event)?,
                None => {
                    let begun = Live::begin(SYSTEM_CELL, seq, event)?;
                    streams.insert(stream.to_owned(), begun);
                }
            }
        }
    }
    let (mut orgs, mut keys): (Vec<Folded<Org>>, Vec<Folded<PayloadKey>>) = Default::default();
    for known in streams.into_values() {
        match known.into_state::<Org>() {
            Ok(org) => orgs.push(org),
            Err(other) => keys.extend(other.into_state::<PayloadKey>().ok()),
        }
    }
    opening::organisations(&orgs, &keys, master).map_err(|error| match error {
        StartError::Unavailable(why) | StartError::Failed(why) | StartError::Halt(why) => {
            Error::Key(why)
        }
    })
}
