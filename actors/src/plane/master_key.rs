//! Which master key a control plane starts with, and whether it is that of the store.

use fleetward_store::{ReadLimit, Store};

use super::{BootError, SYSTEM_CELL};
use crate::seal::{MasterKey, Sealed};

/// The first things in the system cell: the key of the first organisation is among them.
const BEGINNING: ReadLimit = ReadLimit { events: 16, bytes: 1 << 20 };

/// The given key, if it opens what the store holds.
///
/// # Errors
/// When there is none for a store that outlives this process, or it is not that of the store.
pub(super) async fn of(
    store: &dyn Store,
    given: Option<MasterKey>,
) -> Result<MasterKey, BootError> {
    let master = match given {
        Some(master) => master,
        None if store.backend() == "memory" => MasterKey::fresh(),
        None => return Err(BootError::NoMasterKey(store.describe())),
    };
    let events = store.read(SYSTEM_CELL, 0, BEGINNING).await?;
    let sealed = events.into_iter().filter_map(|stored| stored.event.sealed);
    let made = sealed.map(Sealed::from_bytes).find_map(|sealed| master.made(&sealed));
    match made {
        Some(false) => Err(BootError::WrongMasterKey(store.describe())),
        Some(true) | None => Ok(master),
    }
}
