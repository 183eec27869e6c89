//! What the directory decides about the keys of rings, and what it is told of re-encryptions.

use std::sync::Arc;

use fleetward_runtime::{Context, Reply};
use fleetward_store::Position;

use super::{Message, State};
use crate::cause::Cause;
use crate::effect::Effect;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::id::OrgId;
use crate::seal::{Key, KeyChange, KeyState, Sealed};
use crate::system::payload_key::{PayloadKey, PayloadKeyEvent};
use crate::system::principals::Change;

/// Most keys of a ring that are not retired: each is held in memory, and a rotation needs two.
const KEYS_MAX: usize = 16;

/// A key to be added.
#[derive(Debug)]
pub struct NewPayloadKey {
    /// Whose.
    pub org: OrgId,
    /// The number that it was sealed for: the next one of its ring.
    pub number: u32,
    /// The key.
    pub key: Arc<Key>,
    /// The same, for the record.
    pub sealed: Sealed,
}

/// The part of the protocol that is about rings.
#[derive(Debug)]
pub enum RingMessage {
    /// From an administrator. It opens, and does not seal yet.
    Add {
        /// What to add.
        new: Box<NewPayloadKey>,
        /// Who asks.
        by: Cause,
        /// As it is now.
        reply: Reply<Result<PayloadKey, Error>>,
    },
    /// From an administrator: this key seals from now on.
    Promote {
        /// Whose.
        org: OrgId,
        /// Which.
        number: u32,
        /// Who asks.
        by: Cause,
        /// As it is now.
        reply: Reply<Result<PayloadKey, Error>>,
    },
    /// From an administrator whose handle found nothing that is sealed with it.
    Retire {
        /// Whose.
        org: OrgId,
        /// Which.
        number: u32,
        /// Position of its last event when that was found.
        as_of: Position,
        /// Who asks.
        by: Cause,
        /// As it is now.
        reply: Reply<Result<PayloadKey, Error>>,
    },
    /// From an administrator: everything is to be sealed with the primary key.
    Reencrypt {
        /// Whose.
        org: OrgId,
        /// Who asks.
        by: Cause,
        /// The primary key.
        reply: Reply<Result<PayloadKey, Error>>,
    },
    /// From an administrator's handle, which gives these keys out once it is answered.
    Export {
        /// Whose.
        org: OrgId,
        /// Their numbers.
        keys: Vec<u32>,
        /// Who asks.
        by: Cause,
        /// It is durable.
        reply: Reply<Result<(), Error>>,
    },
    /// From the re-encryptor: how far it is.
    Reencrypted {
        /// Whose.
        org: OrgId,
        /// The key that was primary when it began.
        number: u32,
        /// What happened.
        event: PayloadKeyEvent,
        /// It is durable.
        reply: Reply<()>,
    },
    /// From handles, and from the re-encryptor.
    List {
        /// Of this organisation; none: of all.
        org: Option<OrgId>,
        /// By number.
        reply: Reply<Vec<PayloadKey>>,
    },
}

impl State {
    pub(super) fn ring(&mut self, message: RingMessage, cx: &Context<Message>) {
        match message {
            RingMessage::Add { new, by, reply } => {
                let outcome = self.add_key(*new, &by, cx);
                self.log.answer(reply, outcome);
            }
            RingMessage::Promote { org, number, by, reply } => {
                let outcome = self.promote_key((org, number), &by, cx);
                self.log.answer(reply, outcome);
            }
            RingMessage::Retire { org, number, as_of, by, reply } => {
                let outcome = self.retire_key((org, number), as_of, &by, cx);
                self.log.answer(reply, outcome);
            }
            RingMessage::Reencrypt { org, by, reply } => {
                let outcome = self.reencrypt(org, &by, cx);
                self.log.answer(reply, outcome);
            }
            RingMessage::Export { org, keys, by, reply } => {
                let outcome = self.primary_of(org).map(|at| {
                    self.happened(vec![(at, PayloadKeyEvent::Exported { keys })], &by, cx);
                });
                self.log.answer(reply, outcome);
            }
            RingMessage::Reencrypted { org, number, event, reply } => {
                if self.payload_keys.contains_key(&(org, number)) {
                    self.happened(vec![((org, number), event)], &Cause::system(), cx);
                }
                self.log.answer(reply, ());
            }
            RingMessage::List { org, reply } => self.log.answer(reply, self.keys_of(org)),
        }
    }

    fn add_key(
        &mut self,
        new: NewPayloadKey,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<PayloadKey, Error> {
        let NewPayloadKey { org, number, key, sealed } = new;
        let known = self.keys_of(Some(org));
        let next = known.last().map_or(0, |last| last.number) + 1;
        if number != next {
            let detail = "another key was added at the same time; look at the keys and try again";
            return Err(Refusal::new(Kind::Conflict, "ring_changed", detail).into());
        }
        if known.iter().filter(|key| key.state != KeyState::Retired).count() >= KEYS_MAX {
            let detail = format!("a ring has at most {KEYS_MAX} keys; retire one first");
            return Err(Refusal::new(Kind::Conflict, "too_many_keys", detail).into());
        }
        let event = PayloadKeyEvent::Added { org, number, primary: false };
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let id = PayloadKey::id(org, number);
        let stamp = draft.push::<PayloadKey>(&id, &event, by, Some(sealed));
        let added = PayloadKey::begin(&event, stamp).expect("an addition begins a key");
        self.payload_keys.insert((org, number), added.clone());
        let keys = vec![KeyChange { number, state: KeyState::Added, key: Some(key) }];
        let index = self.args.principals.clone();
        let change = Change::PayloadKeys { org, keys };
        draft.allow(Effect::Principals { index, change });
        draft.submit();
        Ok(added)
    }

    fn promote_key(
        &mut self,
        at: (OrgId, u32),
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<PayloadKey, Error> {
        match self.key(at)?.state {
            KeyState::Primary => return self.key(at).cloned(),
            KeyState::Retired => {
                let detail = "the key is retired; add a new one";
                return Err(Refusal::new(Kind::Conflict, "key_retired", detail).into());
            }
            KeyState::Added | KeyState::Retained => {}
        }
        let was_primary = |key: &&PayloadKey| key.org == at.0 && key.state == KeyState::Primary;
        let before = self.payload_keys.values().find(was_primary).map(|key| (key.org, key.number));
        let mut events: Vec<_> =
            before.into_iter().map(|before| (before, PayloadKeyEvent::Retained {})).collect();
        events.push((at, PayloadKeyEvent::Promoted {}));
        self.happened(events, by, cx);
        self.key(at).cloned()
    }

    fn retire_key(
        &mut self,
        at: (OrgId, u32),
        as_of: Position,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<PayloadKey, Error> {
        let key = self.key(at)?;
        match key.state {
            KeyState::Retired => return Ok(key.clone()),
            KeyState::Primary => return Err(primary().into()),
            KeyState::Added | KeyState::Retained if key.updated != as_of => {
                let detail = "the key was promoted meanwhile; look at the keys and try again";
                return Err(Refusal::new(Kind::Conflict, "ring_changed", detail).into());
            }
            KeyState::Added | KeyState::Retained => {}
        }
        self.happened(vec![(at, PayloadKeyEvent::Retired {})], by, cx);
        self.key(at).cloned()
    }

    /// Starts one, unless it runs.
    fn reencrypt(
        &mut self,
        org: OrgId,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<PayloadKey, Error> {
        let at = self.primary_of(org)?;
        if !self.key(at)?.is_reencrypting() {
            self.happened(vec![(at, PayloadKeyEvent::ReencryptionStarted {})], by, cx);
        }
        self.key(at).cloned()
    }

    fn primary_of(&self, org: OrgId) -> Result<(OrgId, u32), Error> {
        let primary = |key: &&PayloadKey| key.org == org && key.state == KeyState::Primary;
        let key = self.payload_keys.values().find(primary);
        Ok((org, key.ok_or_else(|| Refusal::not_found("organisation"))?.number))
    }

    /// Writes events of keys that there are, and lets their ring know, all at once.
    fn happened(
        &mut self,
        events: Vec<((OrgId, u32), PayloadKeyEvent)>,
        by: &Cause,
        cx: &Context<Message>,
    ) {
        let Some(org) = events.first().map(|((org, _), _)| *org) else { return };
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let mut keys = Vec::new();
        for (at, event) in events {
            let Some(key) = self.payload_keys.get_mut(&at) else { continue };
            let stamp = draft.push::<PayloadKey>(PayloadKey::id(at.0, at.1), &event, by, None);
            key.evolve(&event, stamp);
            keys.push(KeyChange { number: at.1, state: key.state, key: None });
        }
        let index = self.args.principals.clone();
        draft.allow(Effect::Principals { index, change: Change::PayloadKeys { org, keys } });
        draft.submit();
    }

    fn key(&self, at: (OrgId, u32)) -> Result<&PayloadKey, Error> {
        self.payload_keys.get(&at).ok_or_else(|| Refusal::not_found("key").into())
    }

    fn keys_of(&self, org: Option<OrgId>) -> Vec<PayloadKey> {
        let wanted = |key: &&PayloadKey| org.is_none_or(|org| key.org == org);
        self.payload_keys.values().filter(wanted).cloned().collect()
    }
}

/// The refusal to retire the key that seals.
pub(crate) fn primary() -> Refusal {
    let detail = "the primary key cannot be retired; promote another one first";
    Refusal::new(Kind::Conflict, "key_is_primary", detail)
}
