//! What changes nothing and is yet on the record: requests that were refused, first uses of tokens, reads of what is
//! sealed, exports; in that of the system also organisations that are down. Pure. Each cell has one such stream; the registry writes an organisation's, the directory the system's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::fact::{Fold, Stamp};
use crate::id::{OrgId, RunId, ScheduleId, TaskId, TokenId};
use crate::system::org::Role;

/// The one stream of a cell.
pub const ACCESS_ID: &str = "requests";

/// How much of it there was: the particulars are in the events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Requests that were refused.
    pub refused: u64,
    /// First uses of tokens.
    pub sign_ins: u64,
    /// Answers with sealed contents.
    pub reads: u64,
    /// Exports of the record.
    pub exports: u64,
    /// Organisations that were found to stay down.
    #[serde(default)]
    pub halts: u64,
    /// Times that the master key was rotated.
    #[serde(default)]
    pub rotations: u64,
}

/// Refused requests from one address, or from one IPv6 network of 64 bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The address; none: there is no socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// How many; where there were more addresses than are counted, at most so many.
    pub count: u64,
}

/// Events between two positions, both among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Requests were refused: all of a minute in one event.
    #[serde(rename = "request.refused")]
    Refused {
        /// How many.
        count: u64,
        /// By the code of the refusal.
        codes: BTreeMap<String, u64>,
        /// Where most came from, the most first.
        sources: Vec<Source>,
        /// When the first of them came, in microseconds UTC.
        since: i64,
    },
    /// An operator's token was used from an address from where it was not used for a while: a sign-in.
    #[serde(rename = "token.used")]
    SignedIn {
        /// Which.
        token: TokenId,
        /// What its holder may do.
        role: Role,
    },
    /// An operator was answered with payloads, outputs, error texts or progress of tasks.
    #[serde(rename = "payload.read")]
    PayloadRead {
        /// Of which.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tasks: Vec<TaskId>,
        /// Everything that is sealed beside these events; none: what is newest of each task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        positions: Option<Stretch>,
        /// Of which runs: inputs, outputs, error texts and what is asked at gates.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        runs: Vec<RunId>,
        /// Of which schedules: what their runs are given.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        schedules: Vec<ScheduleId>,
    },
    /// The record was exported.
    #[serde(rename = "audit.exported")]
    Exported {
        /// From after this position.
        after: u64,
        /// Up to this one.
        position: u64,
    },
    /// The system's secrets are sealed with another master key from here on.
    #[serde(rename = "master_key.rotated")]
    MasterKeyRotated {
        /// How many values of events and rows were sealed with the one before.
        values: u64,
    },
    /// The cell of an organisation stays down on this server: nothing of it can be written into its own record.
    #[serde(rename = "cell.halted")]
    CellHalted {
        /// Which.
        cell: i64,
        /// Whose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        org: Option<OrgId>,
        /// Why.
        why: String,
    },
}

impl Fold for Access {
    type Event = Event;
    const KIND: &'static str = "access";

    fn kind(event: &Event) -> &'static str {
        match event {
            Event::Refused { .. } => "request.refused",
            Event::SignedIn { .. } => "token.used",
            Event::PayloadRead { .. } => "payload.read",
            Event::Exported { .. } => "audit.exported",
            Event::CellHalted { .. } => "cell.halted",
            Event::MasterKeyRotated { .. } => "master_key.rotated",
        }
    }

    fn begin(event: &Event, stamp: Stamp<'_>) -> Option<Self> {
        let mut access = Self::default();
        access.evolve(event, stamp);
        Some(access)
    }

    fn evolve(&mut self, event: &Event, _stamp: Stamp<'_>) {
        match event {
            Event::Refused { count, .. } => self.refused += count,
            Event::SignedIn { .. } => self.sign_ins += 1,
            Event::PayloadRead { .. } => self.reads += 1,
            Event::Exported { .. } => self.exports += 1,
            Event::CellHalted { .. } => self.halts += 1,
            Event::MasterKeyRotated { .. } => self.rotations += 1,
        }
    }

    fn open(&self) -> bool {
        true
    }

    fn status(&self) -> &'static str {
        "active"
    }
}
