//! The files that TLS is made of, and what is read from them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::{HTTP2, Time};

/// Largest file that is read. Lists of revoked certificates may be long.
const FILE_MAX: u64 = 64 << 20;

/// Which files, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those that lead to its authority.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Authorities whose certificates clients show. None: clients are not asked for any.
    pub client_ca: Option<PathBuf>,
    /// What these authorities revoked: with this, a list of each of them.
    pub crl: Option<PathBuf>,
    /// Whether a client has to show one.
    pub client_certs: ClientCerts,
}

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCerts {
    /// Who has none is not served at all, not even `/healthz`.
    #[default]
    Required,
    /// Only workers that registered with one have to show it again.
    Optional,
}

/// Why TLS cannot begin, or goes on with what was read before.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Name another file, or let this process read it.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not hold what it should.
    #[error("{path}: {why}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what it should hold.
        why: String,
    },
}

/// What was read.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    pub(super) trust: Option<Arc<dyn ClientCertVerifier>>,
}

/// What tells a file from what was there before; none while there is no such file.
pub(super) type Marks = Vec<Option<(u64, i64, i64, u64)>>;

impl TlsFiles {
    pub(super) async fn marks(&self) -> Marks {
        let mut marks = Vec::new();
        for path in [Some(&self.cert), Some(&self.key), self.client_ca.as_ref(), self.crl.as_ref()]
        {
            let Some(path) = path else { continue };
            let there = tokio::fs::metadata(path).await.ok();
            marks.push(there.map(|file| (file.ino(), file.mtime(), file.mtime_nsec(), file.len())));
        }
        marks
    }

    pub(super) async fn load(&self, time: &Arc<Time>) -> Result<Loaded, TlsError> {
        let chain: Vec<CertificateDer<'static>> = certificates(&self.cert).await?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key).await?)
            .map_err(|_| unusable(&self.key, "it should hold one private key as PEM"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trust = self.trust(&provider).await?;
        let builder = ServerConfig::builder_with_details(provider, time.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&self.cert, error))?;
        let builder = match &trust {
            Some(trust) => builder.with_client_cert_verifier(trust.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            unusable(&self.cert, format!("with {}: {error}", self.key.display()))
        })?;
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        if trust.is_some() {
            // The certificate of a resumed session is not checked again: a revoked one could come back.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Loaded { config: Arc::new(config), trust })
    }

    async fn trust(
        &self,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let Some(path) = &self.client_ca else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for authority in certificates(path).await? {
            roots.add(authority).map_err(|error| unusable(path, error))?;
        }
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let mut last = path;
        if let Some(path) = &self.crl {
            last = path;
            builder = builder.with_crls(lists(path).await?);
        }
        if self.client_certs == ClientCerts::Optional {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map(Some).map_err(|error| unusable(last, error))
    }
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path).await?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let wanted = "it should hold certificates as PEM";
    let found = read.map_err(|_| unusable(path, wanted))?;
    if found.is_empty() { Err(unusable(path, wanted)) } else { Ok(found) }
}

async fn lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let pem = read(path).await?;
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    let wanted = "it should hold lists of revoked certificates (X509 CRL) as PEM";
    let found = read.map_err(|_| unusable(path, wanted))?;
    if found.is_empty() { Err(unusable(path, wanted)) } else { Ok(found) }
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
    if tokio::fs::metadata(path).await.map_err(unreadable)?.len() > FILE_MAX {
        return Err(unusable(path, format!("it has more than {FILE_MAX} bytes")));
    }
    tokio::fs::read(path).await.map_err(unreadable)
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), why: why.to_string() }
}
