//! The keys that an organisation's payloads are sealed with, and their rotation: add, promote, re-encrypt, retire.

use std::sync::Arc;

use fleetward_runtime::Reply;

use super::Operator;
use crate::error::{Error, Kind, Refusal};
use crate::plane::SYSTEM_CELL;
use crate::seal::{Key, KeyState, Purpose};
use crate::system::directory::{self, NewPayloadKey, RingMessage, primary};
use crate::system::org::Role;
use crate::system::payload_key::PayloadKey;
use crate::system::reencryptor;

impl Operator {
    /// The keys of the organisation's ring, by number, and the position up to which there are events.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn payload_keys(&self) -> Result<(Vec<PayloadKey>, u64), Error> {
        let org = Some(self.org().id);
        let keys = self.ask_ring(|reply| RingMessage::List { org, reply }).await?;
        Ok((keys, self.cell().await?.positions.given()))
    }

    /// Adds a fresh key. It opens, and does not seal before it is promoted: time to give it to those who need it.
    ///
    /// # Errors
    /// When the caller may not, or the ring is full.
    pub async fn add_payload_key(&self) -> Result<PayloadKey, Error> {
        self.may(Role::Admin)?;
        let org = self.org().id;
        let known = self.known().ring.keys();
        let number = known.last().map_or(0, |last| last.number) + 1;
        let key = Key::fresh();
        let master = &self.plane().shared.master;
        let (purpose, subject) = (Purpose::PayloadKey, PayloadKey::subject(number));
        let sealed = master.seal(purpose, org, &subject, key.expose().as_bytes());
        let new = Box::new(NewPayloadKey { org, number, key: Arc::new(key), sealed });
        let by = self.by().clone();
        self.ask_ring(|reply| RingMessage::Add { new, by, reply }).await?
    }

    /// Lets a key seal from now on. The one before it is retained.
    ///
    /// # Errors
    /// When the caller may not, or there is no such key, or it is retired.
    pub async fn promote_payload_key(&self, number: u32) -> Result<PayloadKey, Error> {
        self.may(Role::Admin)?;
        let (org, by) = (self.org().id, self.by().clone());
        self.ask_ring(|reply| RingMessage::Promote { org, number, by, reply }).await?
    }

    /// Has everything sealed again with the primary key, in the background: what it says is in the list of keys.
    /// Answers the primary key.
    ///
    /// # Errors
    /// When the caller may not.
    pub async fn reencrypt(&self) -> Result<PayloadKey, Error> {
        self.may(Role::Admin)?;
        let (org, by) = (self.org().id, self.by().clone());
        let key = self.ask_ring(|reply| RingMessage::Reencrypt { org, by, reply }).await??;
        // One that starts at this moment looks by itself.
        let _ = self.plane().shared.reencryptor.send(reencryptor::Message::Look);
        Ok(key)
    }

    /// Retires a key: it opens nothing any more. That takes a re-encryption which came to its end after the key sealed for
    /// the last time: nothing is looked through here.
    ///
    /// # Errors
    /// When the caller may not, the key is the primary one, or something may still be sealed with it.
    pub async fn retire_payload_key(&self, number: u32) -> Result<PayloadKey, Error> {
        self.may(Role::Admin)?;
        let (keys, of_events) = self.payload_keys().await?;
        let key = keys.iter().find(|key| key.number == number);
        let key = key.ok_or_else(|| Refusal::not_found("key"))?;
        match key.state {
            KeyState::Retired => return Ok(key.clone()),
            KeyState::Primary => return Err(primary().into()),
            KeyState::Added | KeyState::Retained if !key.is_free(&keys) => {
                return Err(in_use(&keys, number, of_events).into());
            }
            KeyState::Added | KeyState::Retained => {}
        }
        let (org, as_of, by) = (self.org().id, key.updated, self.by().clone());
        self.ask_ring(|reply| RingMessage::Retire { org, number, as_of, by, reply }).await?
    }

    /// Gives the keys out that are not retired, for workers that shall get payloads encrypted. It is on the record
    /// before this returns.
    ///
    /// # Errors
    /// When the caller may not.
    pub async fn export_payload_keys(&self) -> Result<Vec<(u32, Arc<Key>)>, Error> {
        self.may(Role::Admin)?;
        let ring = &self.known().ring;
        let keys = ring.keys().into_iter().map(|key| key.number);
        let keys: Vec<_> = keys.filter_map(|number| Some((number, ring.key(number)?))).collect();
        let (org, by) = (self.org().id, self.by().clone());
        let numbers = keys.iter().map(|(number, _)| *number).collect();
        self.ask_ring(|reply| RingMessage::Export { org, keys: numbers, by, reply }).await??;
        Ok(keys)
    }

    async fn ask_ring<T: Send + 'static>(
        &self,
        make: impl FnOnce(Reply<T>) -> RingMessage,
    ) -> Result<T, Error> {
        let plane = self.plane();
        let permit = plane.permit(SYSTEM_CELL, 0)?;
        let within = plane.shared.config.answer_within;
        let ask = |reply| directory::Message::Ring(make(reply));
        Ok(plane.shared.directory.call_with_permit(permit, within, ask).await?)
    }
}

/// Why a key cannot be retired yet, and how far that is.
fn in_use(keys: &[PayloadKey], number: u32, of_events: u64) -> Refusal {
    let running = keys.iter().find(|key| key.is_reencrypting());
    let progress = running.and_then(|key| key.reencryption.as_ref());
    let last = keys.iter().filter_map(|key| key.reencryption.as_ref()).max_by_key(|r| r.started);
    let detail = match (progress, last) {
        (Some(known), _) => format!(
            "values may be sealed with key {number}: re-encryption has looked at {} of {of_events} events; retire the key when it is done",
            known.events
        ),
        (None, Some(known)) if known.broken > 0 => format!(
            "{} values do not open and may be sealed with key {number}: the log of the re-encryption says so",
            known.broken
        ),
        (None, _) => format!(
            "values may be sealed with key {number}; re-encrypt, and retire it when that is done"
        ),
    };
    Refusal::new(Kind::Conflict, "key_in_use", detail)
}
