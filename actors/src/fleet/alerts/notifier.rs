//! How an alert leaves the process: its secrets are opened, it is signed, and handed to the one client that the
//! composition root gives. Runs beside the actors, never in one.
//!
//! Address and secrets are read from the sink's row each time: what is sealed there may have been sealed anew meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use fleetward_runtime::Clock;
use fleetward_store::{CellId, Record, Store};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use serde::{Deserialize, Serialize};

use super::{Errand, sinks, webhook};
use crate::fact::Fold;
use crate::fleet::alert::Alert;
use crate::fleet::sink::Sink;
use crate::id::SinkId;
use crate::seal::{Purpose, Ring, Sealed};
use crate::system::principals::Principals;

/// The one way by which the control plane calls addresses that its tenants name. Given by the composition root, because the
/// actors speak no HTTP.
pub trait Outbound: Send + Sync + 'static {
    /// Whether an address may be called at all; answers its scheme and host, to be shown.
    ///
    /// # Errors
    /// Says what is wrong with it.
    fn check(&self, url: &str) -> Result<String, String>;

    /// Posts once: within a short time, following no redirects, to no private address.
    /// The error says what went wrong, and nothing of the address.
    fn post(&self, message: Outgoing) -> BoxFuture<'static, Result<(), String>>;
}

/// One message on its way out.
pub struct Outgoing {
    /// Where to.
    pub url: String,
    /// Headers besides those of the body.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Bytes,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outgoing({} bytes)", self.body.len())
    }
}

/// What became of a message at one of several sinks.
pub type Told = (SinkId, Result<(), String>);

/// What is secret of a sink.
#[derive(Serialize, Deserialize)]
pub struct Confidential {
    /// Its address.
    pub url: String,
    /// Its secret.
    pub secret: String,
    /// The one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_secret: Option<String>,
}

/// Signs and sends.
pub struct Notifier {
    outbound: Option<Arc<dyn Outbound>>,
    store: Arc<dyn Store>,
    principals: Arc<Principals>,
    clock: Clock,
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notifier")
    }
}

impl Confidential {
    /// Seals it for one sink.
    pub fn seal(&self, ring: &Ring, sink: SinkId) -> Sealed {
        let text = serde_json::to_vec(self).expect("it has string keys only");
        ring.seal(Purpose::Sink, sink.0.as_bytes(), &text)
    }

    /// Opens what the row of a sink holds.
    ///
    /// # Errors
    /// When there is nothing, or it does not open.
    pub fn open(ring: &Ring, sink: SinkId, row: Option<&Record>) -> Result<Self, String> {
        let sealed = row.and_then(|row| row.sealed.clone()).map(Sealed::from_bytes);
        let sealed = sealed.ok_or("the sink is not written yet")?;
        let opened = ring.open(Purpose::Sink, sink.0.as_bytes(), &sealed);
        let opened = opened.map_err(|error| error.to_string())?;
        serde_json::from_slice(&opened).map_err(|_| "the sink's secrets cannot be read".to_owned())
    }
}

impl Notifier {
    /// One that sends through `outbound`, if there is one.
    pub fn new(
        outbound: Option<Arc<dyn Outbound>>,
        store: Arc<dyn Store>,
        principals: Arc<Principals>,
        clock: Clock,
    ) -> Self {
        Self { outbound, store, principals, clock }
    }

    /// Whether an address may be called; answers its scheme and host.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self, url: &str) -> Result<String, String> {
        self.outbound.as_ref().ok_or_else(no_outbound)?.check(url)
    }

    /// Delivers an alert once.
    pub fn deliver(&self, cell: CellId, errand: &Errand) -> BoxFuture<'static, Result<(), String>> {
        let Errand { sink, alert } = errand;
        self.send(cell, sink, ("alert.raised", &alert.id.to_string(), alert))
    }

    /// Delivers an alert once to every sink of an organisation but these. For one that is down, where nobody can be asked
    /// which sinks there are.
    pub fn tell_all(
        self: &Arc<Self>,
        cell: CellId,
        alert: Alert,
        except: BTreeSet<SinkId>,
    ) -> BoxFuture<'static, Result<Vec<Told>, String>> {
        let notifier = self.clone();
        async move {
            let sinks = sinks::read(&notifier.store, cell).await?;
            let left = sinks.into_iter().filter(|(sink, _)| !except.contains(&sink.id));
            let sent = left.map(|(sink, row)| {
                let what = ("alert.raised", &*alert.id.to_string(), &alert);
                let sent = notifier.signed(cell, &sink, what);
                async move { (sink.id, sent(Some(&row)).await) }
            });
            Ok(join_all(sent).await)
        }
        .boxed()
    }

    /// Sends one message of this type. Its id is the same each time, so that receivers can tell a repeat.
    pub fn send(
        &self,
        cell: CellId,
        sink: &Sink,
        (kind, id_text, alert): (&str, &str, &Alert),
    ) -> BoxFuture<'static, Result<(), String>> {
        let (store, id) = (self.store.clone(), sink.id);
        let signed = self.signed(cell, sink, (kind, id_text, alert));
        async move {
            let rows = store.get(cell, Sink::KIND, &[id.to_string()]).await;
            let rows = rows.map_err(|error| error.to_string())?;
            signed(rows.first()).await
        }
        .boxed()
    }

    /// A message that waits for the sink's row, which has its address and secrets.
    fn signed(
        &self,
        cell: CellId,
        sink: &Sink,
        (kind, id, alert): (&str, &str, &Alert),
    ) -> impl FnOnce(Option<&Record>) -> BoxFuture<'static, Result<(), String>> + Send + use<> {
        let (outbound, known) = (self.outbound.clone(), self.principals.org_of(cell));
        let now = self.clock.wall_us();
        let (sink, old) = (sink.id, sink.old_until.is_some_and(|until| now < until));
        let name = known.as_ref().map(|known| known.org.name.as_str());
        let (body, id) = (body(kind, name, now, alert), id.to_owned());
        move |row| {
            let outgoing = || {
                let outbound = outbound.ok_or_else(no_outbound)?;
                let known = known.ok_or("the organisation is starting")?;
                let Confidential { url, secret, old_secret } =
                    Confidential::open(&known.ring, sink, row)?;
                let secrets = std::iter::once(&secret).chain(old_secret.iter().filter(|_| old));
                let secrets = secrets.map(String::as_str);
                let timestamp = now / 1_000_000;
                let headers = vec![
                    ("webhook-signature", webhook::signatures(secrets, &id, timestamp, &body)),
                    ("webhook-id", id),
                    ("webhook-timestamp", timestamp.to_string()),
                ];
                Ok(outbound.post(Outgoing { url, headers, body }))
            };
            let posted: Result<_, String> = outgoing();
            async move { posted?.await }.boxed()
        }
    }
}

fn no_outbound() -> String {
    "this control plane was started without a client for webhooks".to_owned()
}

/// The body: type, time and data, as Standard Webhooks advises.
fn body(kind: &str, org: Option<&str>, now: i64, alert: &Alert) -> Bytes {
    let body = serde_json::json!({
        "type": kind,
        "timestamp": rfc3339(now),
        "data": {
            "id": alert.id,
            "organisation": org,
            "kind": alert.about,
            "severity": alert.severity,
            "subject_kind": alert.subject_kind,
            "subject": alert.subject,
            "why": alert.why,
            "raised_at": rfc3339(alert.raised_at),
        },
    });
    body.to_string().into()
}

fn rfc3339(us: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(us).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
