//! Which servers are believed.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{Pin, TlsError, unusable};

/// Believes a server that has a pinned key, or for which an authority vouches that has one.
///
/// A pinned key of the server itself is its identity: neither name nor dates of its certificate say more. A pinned authority
/// vouches for names and dates, and those are checked. Its certificate comes with the server's, or is one of `known`.
#[derive(Debug)]
pub(super) struct Pinned {
    pins: Vec<Pin>,
    known: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

/// The one verifier that follows from what is known: pins, else authorities of a file, else those of the system.
pub(super) fn verifier(
    authorities: Option<Vec<CertificateDer<'static>>>,
    pins: &[Pin],
    file: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if !pins.is_empty() {
        let (pins, known) = (pins.to_vec(), authorities.unwrap_or_default());
        return Ok(Arc::new(Pinned { pins, known, provider: provider.clone() }));
    }
    let (Some(authorities), Some(file)) = (authorities, file) else {
        let system = rustls_platform_verifier::Verifier::new(provider.clone());
        return Ok(Arc::new(system.map_err(|error| TlsError::NoRoots(error.to_string()))?));
    };
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| unusable(file, error))?;
    }
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    Ok(verifier.map_err(|error| unusable(file, error))?)
}

impl Pinned {
    fn has(&self, certificate: &ParsedCertificate<'_>) -> bool {
        self.pins.contains(&Pin::of_key(&certificate.subject_public_key_info()))
    }

    /// Authorities with a pinned key, among what the server sent and what was known before.
    fn authorities(&self, sent: &[CertificateDer<'_>]) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        for certificate in sent.iter().chain(&self.known) {
            if ParsedCertificate::try_from(certificate).is_ok_and(|parsed| self.has(&parsed)) {
                // One that is no authority vouches for nobody.
                let _ = roots.add(certificate.clone().into_owned());
            }
        }
        roots
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let server = ParsedCertificate::try_from(end_entity)?;
        if self.has(&server) {
            return Ok(ServerCertVerified::assertion());
        }
        let roots = self.authorities(intermediates);
        if roots.is_empty() {
            let key = Pin::of_key(&server.subject_public_key_info());
            let why =
                format!("neither this server's key ({key}) nor one of its authorities is pinned");
            return Err(Error::General(why));
        }
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&server, &roots, intermediates, now, algorithms)?;
        verify_server_name(&server, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
