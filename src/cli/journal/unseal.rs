//! `fleetward journal cat --unseal`: by the server, which puts it on the record; or by hand, which is on none.

use std::sync::Arc;

use fleetward::audit;
use fleetward_actors::plane::unsealed::{self, Content};
use fleetward_actors::seal::{MasterKey, Ring, Sealed};
use fleetward_actors::system::offline;
use fleetward_store::{Store, StoredEvent};
use fleetward_wire::audit::{SealedPart, UnsealedEvent, UnsealedList};

use super::super::ClientArgs;
use super::super::error::Failed;
use super::super::print::line;
use super::{Part, shown};

/// Events of one question.
const PAGE: u64 = 200;

/// Opens what stands sealed beside events, if it has the keys, and counts what does not open.
pub(super) struct Opener {
    ring: Option<Arc<Ring>>,
    unreadable: u64,
}

impl Opener {
    /// One that opens nothing.
    pub(super) fn none() -> Self {
        Self { ring: None, unreadable: 0 }
    }

    /// One with the keys of an organisation, from the store itself.
    pub(super) async fn offline(
        store: &dyn Store,
        master: Option<MasterKey>,
        org: &str,
    ) -> Result<Self, Failed> {
        let Some(master) = master else {
            return Err(Failed::refused("name the master key of the store: --master-key-file"));
        };
        let known = offline::organisations(store, &master).await.map_err(|error| match error {
            offline::Error::Store(_) => Failed::Unavailable(error.to_string()),
            offline::Error::Unfoldable(_) => Failed::wrong(error),
            offline::Error::Key(_) => Failed::refused(error),
        })?;
        let found = known
            .into_iter()
            .find(|known| known.org.name == org || known.org.id.to_string() == org)
            .ok_or_else(|| Failed::refused(format!("there is no organisation {org}")))?;
        eprintln!("note: what is opened here is on no record");
        Ok(Self { ring: Some(found.ring), unreadable: 0 })
    }

    /// What stands sealed beside an event.
    pub(super) fn part(&mut self, stored: &StoredEvent) -> Option<Part> {
        let sealed = Sealed::from_bytes(stored.event.sealed.clone()?);
        let content = self.ring.as_ref().map(|ring| unsealed::open(ring, stored));
        let opened = match content {
            None | Some(Content::Nothing | Content::Secret) => None,
            Some(Content::Open(content)) => Some(match String::from_utf8(content.into()) {
                Ok(text) => Ok(text),
                Err(_) => Err("it is no text".to_owned()),
            }),
            Some(Content::Unreadable(error)) => Some(Err(error.to_string())),
        };
        Some(self.counted(Part { bytes: sealed.len(), key: sealed.key().ok(), opened }))
    }

    fn counted(&mut self, part: Part) -> Part {
        self.unreadable += u64::from(matches!(part.opened, Some(Err(_))));
        part
    }

    /// Everything was printed.
    pub(super) fn end(self) -> Result<(), Failed> {
        match self.unreadable {
            0 => Ok(()),
            count => Err(Failed::wrong(format!("{count} of the sealed values do not open"))),
        }
    }
}

/// Prints what a server opens.
pub(super) async fn ask(from: u64, limit: u64, args: &ClientArgs) -> Result<(), Failed> {
    let client = args.client()?;
    let (mut after, mut left, mut count) = (from.saturating_sub(1), limit, Opener::none());
    while left > 0 {
        let path = format!("/api/v1/fleet/audit/unsealed?after={after}&limit={}", left.min(PAGE));
        let answer = client.get(&path).await.map_err(|failed| match failed {
            Failed::Unavailable(why) => Failed::Unavailable(format!(
                "{why}; `--offline` opens it from the store itself, which is on no record"
            )),
            other => other,
        })?;
        let page: UnsealedList = serde_json::from_value(answer).map_err(Failed::wrong)?;
        left = left.saturating_sub(page.events.len() as u64);
        for UnsealedEvent { event, sealed } in page.events {
            let part = sealed.map(|sealed| count.counted(part(sealed)));
            let known = audit::event(&event).map_err(Failed::wrong)?;
            line(&shown(args.output, (event.position, &known), &event.hash, part))?;
        }
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    count.end()
}

fn part(SealedPart { bytes, key, text, unreadable }: SealedPart) -> Part {
    let opened = text.map(|text| Ok(text.into_exposed())).or_else(|| unreadable.map(Err));
    Part { bytes: bytes.try_into().unwrap_or(usize::MAX), key, opened }
}
