//! Alerts, and the sinks that they are sent to.

use fleetward_runtime::Reply;
use fleetward_store::Position;

use super::Operator;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::alert::{Alert, Severity};
use crate::fleet::alerts::notifier::Confidential;
use crate::fleet::alerts::{Message, NewSink, webhook};
use crate::fleet::input;
use crate::fleet::registry::Asked;
use crate::fleet::sink::Sink;
use crate::id::{AlertId, SinkId};
use crate::plane::reading::state;
use crate::system::org::Role;

/// Longest address of a sink, in bytes.
const URL_MAX: usize = 2_048;

/// The text of a sink's secret, shown once.
#[derive(Clone)]
pub struct SinkSecret(pub String);

impl std::fmt::Debug for SinkSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SinkSecret")
    }
}

impl Operator {
    /// Alerts, newest first: only `open` or `acknowledged` ones, where a status is given. `before` is the `created` position
    /// of the last one of the page before.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn alerts(
        &self,
        status: Option<&str>,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Alert>, Error> {
        self.list::<Alert>(status, before, limit).await?.iter().map(state::<Alert>).collect()
    }

    /// Says that an alert was seen. It is not delivered any more where it was not yet. Once this returns, that is durable.
    ///
    /// # Errors
    /// When this organisation has no such alert.
    pub async fn acknowledge(&self, id: AlertId, note: Option<String>) -> Result<Alert, Error> {
        self.may(Role::Operator)?;
        if let Some(note) = &note {
            input::printable("note", note, input::REASON_MAX)?;
        }
        let by = self.by().clone();
        let say = |reply| Message::Acknowledge { alert: id, note, by, reply };
        match self.ask_alerts(say).await?? {
            Asked::Found(alert) => Ok(alert),
            Asked::NotHere => {
                self.caught_up().await?;
                let row = self.plane().row(self.number(), Alert::KIND, id.to_string()).await?;
                let alert = state::<Alert>(&row.ok_or_else(|| Refusal::not_found("alert"))?)?;
                match alert.open() {
                    // It is open in its record and not in memory: its cell is starting.
                    true => Err(Error::Unavailable("the organisation is starting".to_owned())),
                    false => Ok(alert),
                }
            }
        }
    }

    /// The sinks of the organisation, oldest first.
    ///
    /// # Errors
    /// When the organisation's cell does not run.
    pub async fn sinks(&self) -> Result<Vec<Sink>, Error> {
        self.ask_alerts(|reply| Message::Sinks { reply }).await
    }

    /// Makes a webhook that every later alert is sent to. Its secret is returned this once.
    ///
    /// # Errors
    /// When the address may not be called, or there are too many sinks.
    pub async fn create_sink(&self, name: &str, url: &str) -> Result<(Sink, SinkSecret), Error> {
        self.may(Role::Admin)?;
        input::name("name", name)?;
        input::size("url", url.len(), URL_MAX)?;
        let origin = self
            .plane()
            .shared
            .notifier
            .check(url)
            .map_err(|why| Refusal::invalid("invalid_url", why))?;
        let secret = webhook::secret(rand::random());
        let confidential =
            Confidential { url: url.to_owned(), secret: secret.clone(), old_secret: None };
        let id = SinkId::fresh();
        let sealed = confidential.seal(&self.known().ring, id);
        let new = NewSink { id, name: name.to_owned(), origin, sealed };
        let (sink, by) = (Box::new(new), self.by().clone());
        let made = self.ask_alerts(|reply| Message::CreateSink { sink, by, reply }).await??;
        Ok((made, SinkSecret(secret)))
    }

    /// Gives a sink another secret, returned this once; the one before it signs too for a day.
    ///
    /// # Errors
    /// When this organisation has no such sink.
    pub async fn rotate_sink(&self, id: SinkId) -> Result<(Sink, SinkSecret), Error> {
        self.may(Role::Admin)?;
        let (_, old) = self.confidential(id).await?;
        let secret = webhook::secret(rand::random());
        let confidential =
            Confidential { url: old.url, secret: secret.clone(), old_secret: Some(old.secret) };
        let (sealed, by) = (confidential.seal(&self.known().ring, id), self.by().clone());
        let rotate = |reply| Message::RotateSecret { sink: id, sealed, by, reply };
        let sink = self.ask_alerts(rotate).await??;
        Ok((sink, SinkSecret(secret)))
    }

    /// Sends nothing more to a sink.
    ///
    /// # Errors
    /// When this organisation has no such sink.
    pub async fn remove_sink(&self, id: SinkId) -> Result<(), Error> {
        self.may(Role::Admin)?;
        let by = self.by().clone();
        self.ask_alerts(|reply| Message::RemoveSink { sink: id, by, reply }).await?
    }

    /// Sends a sink a message of type `sink.test`, once and now. `Ok(Err(_))` says what went wrong on the way.
    ///
    /// # Errors
    /// When this organisation has no such sink.
    pub async fn test_sink(&self, id: SinkId) -> Result<Result<(), String>, Error> {
        self.may(Role::Admin)?;
        let (sink, _) = self.confidential(id).await?;
        let alert = sample(&sink, self.plane().shared.clock.wall_us());
        let message_id = format!("test_{}", uuid::Uuid::now_v7());
        let notifier = &self.plane().shared.notifier;
        let sent = notifier.send(self.number(), &sink, ("sink.test", &message_id, &alert));
        Ok(sent.await)
    }

    async fn confidential(&self, id: SinkId) -> Result<(Sink, Confidential), Error> {
        self.caught_up().await?;
        let row = self.plane().row(self.number(), Sink::KIND, id.to_string()).await?;
        let sink = row.as_ref().map(state::<Sink>).transpose()?.filter(Fold::open);
        let sink = sink.ok_or_else(|| Refusal::not_found("sink"))?;
        let opened = Confidential::open(&self.known().ring, id, row.as_ref())
            .map_err(|why| Refusal::new(Kind::Conflict, "sink_unreadable", why))?;
        Ok((sink, opened))
    }

    async fn ask_alerts<T: Send + 'static>(
        &self,
        make: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, Error> {
        let cell = self.cell().await?;
        let permit = self.plane().permit(cell.cell, 0)?;
        let within = self.plane().shared.config.answer_within;
        Ok(cell.alerts.call_with_permit(permit, within, make).await?)
    }
}

/// What a test sends.
fn sample(sink: &Sink, now: i64) -> Alert {
    Alert {
        id: AlertId(sink.id.0),
        about: "sink.test".to_owned(),
        position: 0,
        severity: Severity::Warning,
        subject_kind: Sink::KIND.to_owned(),
        subject: sink.id.to_string(),
        why: "somebody tests whether alerts arrive here".to_owned(),
        raised_at: now,
        acknowledged_at: None,
        acknowledged_by: None,
        note: None,
        created: 0,
        updated: 0,
    }
}
