//! An authority and what it signs, in a folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use fleetward_gateway::{ClientCerts, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;

use super::{DAY_S, NOON_S};

pub(crate) struct Papers {
    folder: tempfile::TempDir,
    ca: Issuer<'static, KeyPair>,
    ca_pem: String,
    serials: AtomicU8,
}

/// A certificate with its key.
pub(crate) struct Paper {
    pem: String,
    key: String,
    serial: u8,
}

impl Papers {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = params.self_signed(&key).unwrap().pem();
        let ca = Issuer::new(params, key);
        let serials = AtomicU8::new(1);
        let this = Self { folder: tempfile::tempdir().unwrap(), ca, ca_pem, serials };
        let server = this.server();
        std::fs::write(this.path("server.pem"), &server.pem).unwrap();
        std::fs::write(this.path("server-key.pem"), &server.key).unwrap();
        std::fs::write(this.path("ca.pem"), &this.ca_pem).unwrap();
        this.write_list(Vec::new());
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn files(&self, client_certs: ClientCerts) -> TlsFiles {
        TlsFiles {
            cert: self.path("server.pem"),
            key: self.path("server-key.pem"),
            client_ca: Some(self.path("ca.pem")),
            crl: Some(self.path("crl.pem")),
            client_certs,
        }
    }

    pub(crate) fn all_files(&self) -> [PathBuf; 4] {
        ["server.pem", "server-key.pem", "ca.pem", "crl.pem"].map(|name| self.path(name))
    }

    /// Of a worker of the default organisation; it expires so many seconds after noon.
    pub(crate) fn worker(&self, name: &str, seconds: i64) -> Paper {
        let uri = format!("fleetward://org/default/worker/{name}");
        let names = vec![SanType::URI(uri.try_into().unwrap())];
        self.sign(names, ExtendedKeyUsagePurpose::ClientAuth, seconds)
    }

    /// Of somebody with no name but a common one.
    pub(crate) fn nameless(&self) -> Paper {
        self.sign(Vec::new(), ExtendedKeyUsagePurpose::ClientAuth, DAY_S)
    }

    pub(crate) fn server(&self) -> Paper {
        let names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, 1000 * DAY_S)
    }

    fn sign(&self, names: Vec<SanType>, purpose: ExtendedKeyUsagePurpose, seconds: i64) -> Paper {
        let (key, serial) =
            (KeyPair::generate().unwrap(), self.serials.fetch_add(1, Ordering::Relaxed));
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "a leaf");
        params.subject_alt_names = names;
        params.extended_key_usages = vec![purpose];
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.use_authority_key_identifier_extension = true;
        let until = Duration::from_secs((NOON_S + seconds) as u64);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + until;
        let pem = params.signed_by(&key, &self.ca).unwrap().pem();
        Paper { pem, key: key.serialize_pem(), serial }
    }

    pub(crate) fn revoke(&self, paper: &Paper) {
        self.write_list(vec![RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[paper.serial]),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }]);
    }

    fn write_list(&self, revoked_certs: Vec<RevokedCertParams>) {
        // Long out of date: that does not make anybody good again, nor everybody bad.
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2025, 1, 1),
            next_update: rcgen::date_time_ymd(2025, 1, 2),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = list.signed_by(&self.ca).unwrap().pem().unwrap();
        std::fs::write(self.path("crl.pem"), pem).unwrap();
    }

    /// A client that believes servers of this authority, and shows `paper`.
    pub(crate) fn http(&self, paper: Option<&Paper>) -> reqwest::Client {
        let ca = reqwest::Certificate::from_pem(self.ca_pem.as_bytes()).unwrap();
        let mut builder = reqwest::Client::builder().no_proxy().tls_certs_only([ca]);
        if let Some(Paper { pem, key, .. }) = paper {
            let identity = reqwest::Identity::from_pem(format!("{pem}{key}").as_bytes());
            builder = builder.identity(identity.unwrap());
        }
        builder.build().unwrap()
    }

    /// A client below HTTP that shows nothing.
    pub(crate) fn connector(&self, protocols: &[&[u8]]) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).unwrap()).unwrap();
        let mut config =
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}
