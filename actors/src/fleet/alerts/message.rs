//! What the alerts' actor can be told.

use fleetward_runtime::Reply;
use fleetward_store::Position;

use crate::cause::Cause;
use crate::error::Error;
use crate::fleet::alert::Alert;
use crate::fleet::registry::Asked;
use crate::fleet::sink::Sink;
use crate::id::{AlertId, SinkId};
use crate::seal::Sealed;

/// A sink to be made.
#[derive(Debug)]
pub struct NewSink {
    /// Its id.
    pub id: SinkId,
    /// What its maker calls it.
    pub name: String,
    /// Scheme and host of its address.
    pub origin: String,
    /// Its address and secret.
    pub sealed: Sealed,
}

/// An alert that is to be taken to a sink.
#[derive(Debug, Clone)]
pub struct Errand {
    /// Where to.
    pub sink: Sink,
    /// What.
    pub alert: Alert,
}

/// How the delivery of one alert ended.
#[derive(Debug)]
pub enum Outcome {
    /// It was taken.
    Delivered,
    /// Nobody tries any more.
    GaveUp {
        /// What went wrong last.
        error: String,
    },
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From the journal: this alert is durable.
    Raised {
        /// The alert.
        alert: Box<Alert>,
    },
    /// From an operator who has seen it.
    Acknowledge {
        /// Which.
        alert: AlertId,
        /// That person's words.
        note: Option<String>,
        /// Who.
        by: Cause,
        /// The alert as it is now, or the record says more.
        reply: Reply<Result<Asked<Alert>, Error>>,
    },
    /// From an administrator.
    CreateSink {
        /// What to make.
        sink: Box<NewSink>,
        /// Who asks.
        by: Cause,
        /// As it is now.
        reply: Reply<Result<Sink, Error>>,
    },
    /// From an administrator.
    RotateSecret {
        /// Of which sink.
        sink: SinkId,
        /// Its address, the new secret and the old one.
        sealed: Sealed,
        /// Who asks.
        by: Cause,
        /// As it is now.
        reply: Reply<Result<Sink, Error>>,
    },
    /// From an administrator.
    RemoveSink {
        /// Which.
        sink: SinkId,
        /// Who asks.
        by: Cause,
        /// Done.
        reply: Reply<Result<(), Error>>,
    },
    /// From a caller that asks for the sinks.
    Sinks {
        /// All of them.
        reply: Reply<Vec<Sink>>,
    },
    /// From the courier: what is there to deliver?
    Due {
        /// The next alert of each sink that has one.
        reply: Reply<Vec<Errand>>,
    },
    /// From the courier.
    Ended {
        /// Where to.
        sink: SinkId,
        /// Which alert.
        alert: AlertId,
        /// Its position.
        position: Position,
        /// How.
        outcome: Outcome,
    },
}

impl Message {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Raised { .. } => "Raised",
            Self::Acknowledge { .. } => "Acknowledge",
            Self::CreateSink { .. } => "CreateSink",
            Self::RotateSecret { .. } => "RotateSecret",
            Self::RemoveSink { .. } => "RemoveSink",
            Self::Sinks { .. } => "Sinks",
            Self::Due { .. } => "Due",
            Self::Ended { .. } => "Ended",
        }
    }
}
