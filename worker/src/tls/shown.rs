//! The certificate that a worker shows, as new as its files: each handshake looks whether they changed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;

use super::{TlsError, certificates, read, unusable};

/// What tells a file from what was there before; none while there is no such file.
type Marks = [Option<(u64, i64, i64)>; 2];

/// The files, and what was last read from them.
#[derive(Debug)]
pub(super) struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    /// A handshake is rare, and what is looked at are two small local files: it may wait for them.
    last: Mutex<(Marks, Arc<CertifiedKey>)>,
}

impl Shown {
    pub(super) fn load(
        certificate: &Path,
        key: &Path,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let seen = marks(certificate, key);
        let last = Mutex::new((seen, pair(certificate, key, &provider)?));
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), provider, last })
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = marks(&self.certificate, &self.key);
        if seen != last.0 {
            match pair(&self.certificate, &self.key, &self.provider) {
                Ok(pair) => {
                    tracing::info!(file = %self.certificate.display(), "certificate read again");
                    *last = (seen, pair);
                }
                // Perhaps one of the two is still to come: the next handshake looks again.
                Err(error) => tracing::warn!(%error, "the certificate changed and cannot be used"),
            }
        }
        Some(last.1.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn marks(certificate: &Path, key: &Path) -> Marks {
    [certificate, key].map(|path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.ino(), file.mtime(), file.mtime_nsec()))
    })
}

fn pair(
    certificate: &Path,
    key_file: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read(key_file)?)
        .map_err(|_| unusable(key_file, "it should hold one private key as PEM"))?;
    let pair = CertifiedKey::from_der(chain, key, provider);
    let unfit = |error| unusable(certificate, format!("with {}: {error}", key_file.display()));
    pair.map(Arc::new).map_err(unfit)
}
