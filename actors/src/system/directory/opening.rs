//! What a starting directory makes of its rows: organisations with the keys that the master key opens. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use fleetward_runtime::StartError;
use fleetward_store::Record;

use crate::fact::{Fold, from_record};
use crate::fleet::cell::keeper::Part;
use crate::id::OrgId;
use crate::seal::{CellKey, Key, KeyChange, KeyState, MasterKey, Purpose, Ring, Sealed};
use crate::system::org::Org;
use crate::system::payload_key::PayloadKey;
use crate::system::principals::KnownOrg;

/// Every organisation, ready to be used.
///
/// # Errors
/// Halt: a row is not what this build writes, or its key does not open.
pub(super) fn organisations(part: &Part, master: &MasterKey) -> Result<Vec<KnownOrg>, StartError> {
    let mut rings: HashMap<OrgId, Vec<KeyChange>> = HashMap::new();
    for row in rows::<PayloadKey>(part) {
        let known = from_record::<PayloadKey>(row).map_err(halt)?;
        rings.entry(known.org).or_default().push(payload_key(&known, row, master)?);
    }
    let orgs = rows::<Org>(part).map(|row| {
        let org = from_record::<Org>(row).map_err(halt)?;
        let keys = rings.remove(&org.id).unwrap_or_default();
        if !keys.iter().any(|key| key.state == KeyState::Primary) {
            return Err(halt(format!("organisation {} has no key to seal with", org.name)));
        }
        let (key, ring) = (cell_key(&org, row, master)?, Arc::new(Ring::new(org.id, keys)));
        Ok(KnownOrg { org, key, ring })
    });
    orgs.collect()
}

fn rows<F: Fold>(part: &Part) -> impl Iterator<Item = &Record> {
    part.records.iter().filter(|row| row.kind == F::KIND)
}

fn cell_key(org: &Org, row: &Record, master: &MasterKey) -> Result<CellKey, StartError> {
    let what = || format!("the key of organisation {}", org.name);
    let sealed = sealed(row).ok_or_else(|| halt(what()))?;
    let opened = master.open(Purpose::CellKey, org.id, &[], &sealed);
    let bytes = opened.map_err(|error| halt(format!("{}: {error}", what())))?;
    CellKey::from_bytes(&bytes).ok_or_else(|| halt(what()))
}

fn payload_key(
    known: &PayloadKey,
    row: &Record,
    master: &MasterKey,
) -> Result<KeyChange, StartError> {
    let &PayloadKey { org, number, state, .. } = known;
    if state == KeyState::Retired {
        return Ok(KeyChange { number, state, key: None });
    }
    let what = || format!("payload key {number} of organisation {org}");
    let sealed = sealed(row).ok_or_else(|| halt(what()))?;
    let opened = master.open(Purpose::PayloadKey, org, &PayloadKey::subject(number), &sealed);
    let bytes = opened.map_err(|error| halt(format!("{}: {error}", what())))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| halt(what()))?;
    let key = Key::parse(text).map_err(|error| halt(format!("{}: {error}", what())))?;
    Ok(KeyChange { number, state, key: Some(Arc::new(key)) })
}

fn sealed(row: &Record) -> Option<Sealed> {
    row.sealed.clone().map(Sealed::from_bytes)
}

fn halt(why: impl std::fmt::Display) -> StartError {
    StartError::Halt(format!("{why} cannot be read"))
}
