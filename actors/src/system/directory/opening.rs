//! What a starting directory makes of its rows: organisations with the keys that the master key opens. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use fleetward_runtime::StartError;

use crate::fact::Fold;
use crate::id::OrgId;
use crate::projector::Folded;
use crate::seal::{CellKey, Key, KeyChange, KeyState, MasterKey, Purpose, Ring, Sealed};
use crate::system::org::Org;
use crate::system::payload_key::PayloadKey;
use crate::system::principals::KnownOrg;
use crate::system::signer::{AuditKey, Signer};
use crate::system::signers::SigningSecret;
use crate::system::signing_key::SigningKey;

/// Every organisation, ready to be used.
///
/// # Errors
/// Halt: a row is not what this build writes, or its key does not open.
pub(in crate::system) fn organisations(
    orgs: &[Folded<Org>],
    keys: &[Folded<PayloadKey>],
    master: &MasterKey,
) -> Result<Vec<KnownOrg>, StartError> {
    let mut rings: HashMap<OrgId, Vec<KeyChange>> = HashMap::new();
    for key in keys {
        rings.entry(key.state.org).or_default().push(payload_key(key, master)?);
    }
    let orgs = orgs.iter().map(|folded| {
        let org = folded.state.clone();
        let keys = rings.remove(&org.id).unwrap_or_default();
        if !keys.iter().any(|key| key.state == KeyState::Primary) {
            return Err(halt(format!("organisation {} has no key to seal with", org.name)));
        }
        let (key, ring) = (cell_key(folded, master)?, Arc::new(Ring::new(org.id, keys)));
        Ok(KnownOrg { org, key, ring })
    });
    orgs.collect()
}

/// What signs heads of the record, if there is a key.
///
/// # Errors
/// Halt: it does not open.
pub(super) fn signer(
    keys: &[Folded<AuditKey>],
    master: &MasterKey,
) -> Result<Option<Signer>, StartError> {
    let read = |folded| {
        let sealed = sealed(folded).ok_or_else(|| halt("the key that signs the record"))?;
        Signer::from_sealed(&sealed, master).map_err(halt)
    };
    keys.first().map(read).transpose()
}

fn cell_key(folded: &Folded<Org>, master: &MasterKey) -> Result<CellKey, StartError> {
    let org = &folded.state;
    let what = || format!("the key of organisation {}", org.name);
    let sealed = sealed(folded).ok_or_else(|| halt(what()))?;
    let opened = master.open(Purpose::CellKey, org.id, &[], &sealed);
    let bytes = opened.map_err(|error| halt(format!("{}: {error}", what())))?;
    CellKey::from_bytes(&bytes).ok_or_else(|| halt(what()))
}

fn payload_key(folded: &Folded<PayloadKey>, master: &MasterKey) -> Result<KeyChange, StartError> {
    let PayloadKey { org, number, state, .. } = folded.state;
    if state == KeyState::Retired {
        return Ok(KeyChange { number, state, key: None });
    }
    let what = || format!("payload key {number} of organisation {org}");
    let sealed = sealed(folded).ok_or_else(|| halt(what()))?;
    let opened = master.open(Purpose::PayloadKey, org, &PayloadKey::subject(number), &sealed);
    let bytes = opened.map_err(|error| halt(format!("{}: {error}", what())))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| halt(what()))?;
    let key = Key::parse(text).map_err(|error| halt(format!("{}: {error}", what())))?;
    Ok(KeyChange { number, state, key: Some(Arc::new(key)) })
}

/// The keys that may be used to sign and check task tokens.
///
/// # Errors
/// Halt: a row is not what this build writes, or its key does not open.
pub(super) fn signing_keys(
    keys: &[Folded<SigningKey>],
    master: &MasterKey,
) -> Result<Vec<(SigningKey, SigningSecret)>, StartError> {
    let usable = keys.iter().filter(|folded| folded.state.open());
    let keys = usable.map(|folded| {
        let id = folded.state.id;
        let what = || format!("the signing key {id}");
        let sealed = sealed(folded).ok_or_else(|| halt(what()))?;
        let secret = SigningSecret::open(master, id, &sealed);
        let secret = secret.map_err(|error| halt(format!("{}: {error}", what())))?;
        Ok((folded.state.clone(), secret.ok_or_else(|| halt(what()))?))
    });
    keys.collect()
}

fn sealed<F>(folded: &Folded<F>) -> Option<Sealed> {
    folded.sealed.clone().map(Sealed::from_bytes)
}

fn halt(why: impl std::fmt::Display) -> StartError {
    StartError::Halt(format!("{why} cannot be read"))
}
