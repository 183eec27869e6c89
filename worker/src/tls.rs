//! How a client of a control plane makes sure of it, and what it shows of itself.
//!
//! A server is believed because an authority vouches for it (those of the system, or the ones in a file), or because its
//! key, or that of its authority, is the one that was pinned. That is settled before a byte of a request is sent.

mod shown;
mod trust;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use shown::Shown;

/// How a pin begins.
const SCHEME: &str = "sha256:";

/// What is known beforehand of the other side, and what is shown of this one.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// A file (PEM) with the authorities that may vouch for the server. None: those of the system.
    pub ca: Option<PathBuf>,
    /// Keys, one of which the server or its authority must have.
    pub pins: Vec<Pin>,
    /// A certificate with its chain, and its key (PEM): shown to a server that asks, and read again when they change.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A public key: `sha256:` and the SHA-256 of its SubjectPublicKeyInfo, in hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

/// Why TLS cannot begin.
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
    /// The system names no authority.
    #[error(
        "the system's certificate authorities cannot be used ({0}): name a file with --ca, or a key with --ca-pin"
    )]
    NoRoots(String),
}

/// TLS as [`TlsOptions`] describe it. Clones share what they show.
#[derive(Debug, Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads the files; `None` where nothing differs from what a client does anyway.
    ///
    /// # Errors
    /// Names the file that cannot be used, and why.
    pub fn load(options: &TlsOptions) -> Result<Option<Self>, TlsError> {
        let TlsOptions { ca, pins, certificate } = options;
        if ca.is_none() && pins.is_empty() && certificate.is_none() {
            return Ok(None);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let authorities = ca.as_deref().map(certificates).transpose()?;
        let believed = trust::verifier(authorities, pins, ca.as_deref(), &provider)?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::NoRoots(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(believed);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let shown = Shown::load(certificate, key, provider)?;
                builder.with_client_cert_resolver(Arc::new(shown))
            }
        };
        // All that our HTTP client speaks.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self(Arc::new(config))))
    }

    /// For an HTTP client that takes the configuration of `rustls` itself.
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::clone(&self.0)
    }
}

impl Pin {
    /// The pin of a public key, from its SubjectPublicKeyInfo (DER).
    pub fn of_key(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim().strip_prefix(SCHEME);
        let bytes = digits.and_then(|digits| hex::decode(digits).ok());
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| {
            format!(
                "a pin is {SCHEME} and 64 hexadecimal digits (`fleetward ca pin FILE` prints it)"
            )
        })
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The certificates in a file: at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unusable(path, "it should hold certificates as PEM")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn unusable(path: &Path, why: impl fmt::Display) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_is_read_as_it_is_written() {
        let pin = Pin::of_key(b"a key");
        assert_eq!(pin.to_string().parse(), Ok(pin));
        for wrong in ["", "sha256:", "sha256:00", "md5:00", &pin.to_string()[7..], "sha256:zz"] {
            assert!(wrong.parse::<Pin>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_said_is_no_configuration() {
        assert!(Tls::load(&TlsOptions::default()).unwrap().is_none());
    }
}
