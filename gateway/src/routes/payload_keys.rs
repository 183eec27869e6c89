//! The keys that payloads are encrypted with: listed, added, promoted and retired, and what is sealed with older ones
//! sealed again.

use axum::Json as Answer;
use axum::http::StatusCode;
use fleetward_actors::system::payload_key::PayloadKey;
use fleetward_wire::payload_keys::{
    ExportedKey, PayloadKeyExport, PayloadKeyList, PayloadKeyView, ReencryptionView,
};

use crate::auth::{CanAdminister, InOrg};
use crate::extract::PathId;
use crate::problem::Problem;
use crate::times::rfc3339;

/// All of them, never a key itself.
pub(super) async fn list(InOrg(operator): InOrg) -> Result<Answer<PayloadKeyList>, Problem> {
    let (keys, of_events) = operator.payload_keys().await?;
    let keys = keys.into_iter().map(|key| view(key, of_events)).collect();
    Ok(Answer(PayloadKeyList { keys }))
}

/// A fresh one, which does not seal yet.
pub(super) async fn add(
    CanAdminister(operator): CanAdminister,
) -> Result<(StatusCode, Answer<PayloadKeyView>), Problem> {
    let key = operator.add_payload_key().await?;
    Ok((StatusCode::CREATED, Answer(view(key, 0))))
}

/// It seals from now on.
pub(super) async fn promote(
    CanAdminister(operator): CanAdminister,
    PathId(number): PathId<u32>,
) -> Result<Answer<PayloadKeyView>, Problem> {
    Ok(Answer(view(operator.promote_payload_key(number).await?, 0)))
}

/// It opens nothing any more.
pub(super) async fn retire(
    CanAdminister(operator): CanAdminister,
    PathId(number): PathId<u32>,
) -> Result<Answer<PayloadKeyView>, Problem> {
    Ok(Answer(view(operator.retire_payload_key(number).await?, 0)))
}

/// Starts sealing everything with the primary key; the list says how far that is.
pub(super) async fn reencrypt(
    CanAdminister(operator): CanAdminister,
) -> Result<(StatusCode, Answer<PayloadKeyView>), Problem> {
    let key = operator.reencrypt().await?;
    let (_, of_events) = operator.payload_keys().await?;
    Ok((StatusCode::ACCEPTED, Answer(view(key, of_events))))
}

/// The keys themselves, for workers that shall get payloads encrypted. On the record.
pub(super) async fn export(
    CanAdminister(operator): CanAdminister,
) -> Result<Answer<PayloadKeyExport>, Problem> {
    let keys = operator.export_payload_keys().await?;
    let exported = |(number, key): (u32, std::sync::Arc<fleetward_actors::seal::Key>)| {
        ExportedKey { number, key: key.expose().into() }
    };
    let org_id = operator.org().id.to_string();
    Ok(Answer(PayloadKeyExport { org_id, keys: keys.into_iter().map(exported).collect() }))
}

fn view(key: PayloadKey, of_events: u64) -> PayloadKeyView {
    let reencryption = key.reencryption.map(|known| ReencryptionView {
        state: if known.finished_at.is_some() { "done" } else { "running" }.to_owned(),
        started_at: rfc3339(known.started_at),
        finished_at: known.finished_at.map(rfc3339),
        events: if known.finished_at.is_some() { of_events } else { known.events },
        of_events,
        resealed: known.resealed,
        broken: known.broken,
    });
    PayloadKeyView {
        number: key.number,
        state: key.state.as_str().to_owned(),
        created_at: rfc3339(key.created_at),
        created_by: key.created_by,
        changed_at: rfc3339(key.changed_at),
        reencryption,
    }
}
