//! TLS of the edge: what a server shows, which clients it believes, and both again whenever their files change.
//!
//! A handshake uses what was loaded last. A client that came with a certificate stays only while it is believed: what a new
//! list of revoked certificates names is closed at once, what expires is closed after the request that it has in flight.
//! Sessions are not resumed where clients show certificates: a resumed session would not be looked at again.

mod files;
mod peer;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fleetward_actors::Clock;
use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::TimeProvider;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub use files::{ClientCerts, TlsError, TlsFiles};
use files::{Loaded, Marks};
pub(crate) use peer::Peer;

use crate::edge::Edge;
use crate::stream::Stream;

/// How often the files are looked at. What changed is read at the next look, so that one file of a pair is not read while
/// the other is still to come: a revoked client is gone after twice this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Refused handshakes are counted; not more than one in this time is written to the log, or anybody could fill it.
const LOG_EVERY_US: i64 = 1_000_000;
/// What ALPN calls HTTP/2.
const HTTP2: &[u8] = b"h2";

/// What is loaded from [`TlsFiles`]. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: TlsFiles,
    time: Arc<Time>,
    config: watch::Sender<Arc<ServerConfig>>,
    /// Who believes clients; none: they are not asked for certificates.
    trust: watch::Sender<Option<Arc<dyn ClientCertVerifier>>>,
    logged_at: AtomicI64,
}

/// The server's clock, as rustls asks for it.
#[derive(Debug)]
struct Time(Clock);

/// A connection after its handshake.
pub(crate) struct Secured {
    pub(crate) stream: Stream,
    pub(crate) http2: bool,
    pub(crate) guest: Option<Guest>,
}

/// A client that showed a certificate, and what ends the belief in it.
pub(crate) struct Guest {
    pub(crate) peer: Arc<Peer>,
    trust: watch::Receiver<Option<Arc<dyn ClientCertVerifier>>>,
    time: Arc<Time>,
}

impl Tls {
    /// Reads the files. Certificates are checked by `clock`: the one of the control plane.
    ///
    /// # Errors
    /// Names the file that cannot be used, and why.
    pub async fn load(files: TlsFiles, clock: &Clock) -> Result<Self, TlsError> {
        let time = Arc::new(Time(clock.clone()));
        let Loaded { config, trust } = files.load(&time).await?;
        let shared = Shared {
            files,
            time,
            config: watch::Sender::new(config),
            trust: watch::Sender::new(trust),
            logged_at: AtomicI64::new(0),
        };
        Ok(Self(Arc::new(shared)))
    }

    /// Reads the files again. Open connections go on, but for clients that are not believed any more.
    ///
    /// # Errors
    /// Names the file that cannot be used; everything stays as it was.
    pub async fn reload(&self) -> Result<(), TlsError> {
        let shared = &self.0;
        let Loaded { config, trust } = shared.files.load(&shared.time).await?;
        shared.config.send_replace(config);
        shared.trust.send_replace(trust);
        Ok(())
    }

    /// Makes a secure connection of `stream`.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<Secured> {
        // Before the configuration is taken: a change in between is seen afterwards.
        let trust = self.0.trust.subscribe();
        let config = self.0.config.borrow().clone();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let (_, session) = stream.get_ref();
        let http2 = session.alpn_protocol() == Some(HTTP2);
        let peer = session.peer_certificates().map(Peer::of).transpose()?;
        let time = self.0.time.clone();
        let guest = peer.map(|peer| Guest { peer: Arc::new(peer), trust, time });
        metrics::counter!("fleetward_tls_handshakes_total", "outcome" => "accepted").increment(1);
        Ok(Secured { stream: Stream::Tls(Box::new(stream)), http2, guest })
    }

    /// A handshake that came to nothing.
    pub(crate) fn refused(&self, error: &std::io::Error) {
        metrics::counter!("fleetward_tls_handshakes_total", "outcome" => "refused").increment(1);
        let (now, last) = (self.0.time.0.wall_us(), &self.0.logged_at);
        let before = last.load(Ordering::Relaxed);
        if now - before >= LOG_EVERY_US
            && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            tracing::warn!(%error, "a TLS handshake was refused");
        }
    }

    /// Reads the files whenever they have changed and then stayed as they are for one look. For ever.
    pub(crate) async fn upkeep(&self, edge: &Edge) {
        let mut known = self.0.files.marks().await;
        let mut seen = known.clone();
        loop {
            edge.sleep(LOOK_EVERY).await;
            let marks: Marks = self.0.files.marks().await;
            let settled = marks == seen;
            seen.clone_from(&marks);
            if !settled || marks == known {
                continue;
            }
            known = marks;
            let outcome = match self.reload().await {
                Ok(()) => {
                    tracing::info!("TLS files were read again");
                    "done"
                }
                Err(error) => {
                    tracing::error!(%error, "TLS files changed and cannot be used: what was read before stays");
                    "failed"
                }
            };
            metrics::counter!("fleetward_tls_reloads_total", "outcome" => outcome).increment(1);
        }
    }
}

impl Guest {
    /// Comes when its certificate is not believed any more.
    pub(crate) async fn distrusted(mut self) {
        loop {
            if self.trust.changed().await.is_err() {
                return std::future::pending().await;
            }
            let trust = self.trust.borrow_and_update().clone();
            let now =
                self.time.current_time().unwrap_or(UnixTime::since_unix_epoch(Duration::ZERO));
            if !trust.is_some_and(|trust| self.peer.is_believed(&*trust, now)) {
                return;
            }
        }
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let us = u64::try_from(self.0.wall_us()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(us)))
    }
}
