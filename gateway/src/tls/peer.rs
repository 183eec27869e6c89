//! Who a client is by its certificate. Pure.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A client that proved that it has the key of its certificate.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its one URI, or the hash of its key: see `fleetward_actors::fleet::certificate`.
    pub(crate) identity: Arc<str>,
    /// When the first certificate of its chain expires, in seconds since 1970.
    expires_s: i64,
    /// To be checked again when more were revoked.
    chain: Vec<CertificateDer<'static>>,
}

impl Peer {
    /// # Errors
    /// When what the handshake accepted cannot be read.
    pub(crate) fn of(chain: &[CertificateDer<'static>]) -> io::Result<Self> {
        let read = |der| parsed(der).ok_or_else(|| unreadable("the client's certificate"));
        let leaf = read(chain.first().ok_or_else(|| unreadable("an empty chain"))?)?;
        let mut expires_s = i64::MAX;
        for certificate in chain {
            expires_s = expires_s.min(read(certificate)?.validity().not_after.timestamp());
        }
        Ok(Self { identity: identity(&leaf).into(), expires_s, chain: chain.to_vec() })
    }

    /// For how long its certificates are still good at `now_us`, in microseconds since 1970.
    pub(crate) fn good_for(&self, now_us: i64) -> Duration {
        let left = self.expires_s.saturating_mul(1_000_000).saturating_sub(now_us);
        Duration::from_micros(u64::try_from(left).unwrap_or(0))
    }

    /// Whether it would be let in now.
    pub(super) fn is_believed(&self, trust: &dyn ClientCertVerifier, now: UnixTime) -> bool {
        let Some((leaf, others)) = self.chain.split_first() else { return false };
        trust.verify_client_cert(leaf, others, now).is_ok()
    }
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

/// The one URI that it has, or else the hash of its public key.
fn identity(leaf: &X509Certificate<'_>) -> String {
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.map(|names| &names.value.general_names);
    let mut uris = names.into_iter().flatten().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => uri.to_owned(),
        _ => format!("sha256:{}", hex::encode(Sha256::digest(leaf.public_key().raw))),
    }
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} cannot be read"))
}
