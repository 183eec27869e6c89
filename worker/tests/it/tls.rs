//! Which servers are believed; the others are told nothing, least of all the enrollment key.

use std::path::PathBuf;
use std::sync::Arc;

use fleetward_wire::workers::Register;
use fleetward_worker::{Endpoint, Pin, Tls, TlsOptions, TransportError, register};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const KEY: &str = "wrt-1.very-secret";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn pin(&self) -> Pin {
        Pin::of_key(&self.issuer.key().subject_public_key_info())
    }
}

/// A server with a certificate of `authority` for `name`, which sends the authority's own too: its port, its pin, and all
/// that one client sent to it once it was secured.
async fn server(authority: &Authority, name: &str) -> (u16, Pin, JoinHandle<String>) {
    let key = KeyPair::generate().unwrap();
    let pin = Pin::of_key(&key.subject_public_key_info());
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &authority.issuer).unwrap();
    let chain = vec![leaf.der().clone(), authority.certificate.der().clone()];
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key.serialize_der().try_into().unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else {
            return String::new();
        };
        let mut heard = vec![0; 4096];
        let count = stream.read(&mut heard).await.unwrap_or(0);
        let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
        let _ = stream.shutdown().await;
        String::from_utf8_lossy(&heard[..count]).into_owned()
    });
    (port, pin, heard)
}

/// Registers with these options: what the server heard, and what became of it.
async fn try_it(
    authority: &Authority,
    name: &str,
    options: impl FnOnce(Pin) -> TlsOptions,
) -> (String, TransportError) {
    let (port, pin, heard) = server(authority, name).await;
    let tls = Tls::load(&options(pin)).unwrap();
    let endpoint = Endpoint { server: format!("https://localhost:{port}"), tls };
    let request = Register { enrollment_key: Some(KEY.to_owned().into()), ..Register::default() };
    let error = register(endpoint, request).await.unwrap_err();
    (heard.await.unwrap(), error)
}

#[tokio::test]
async fn only_a_server_that_is_believed_hears_the_enrollment_key() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (ours, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, authority: &Authority| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.certificate.pem()).unwrap();
        path
    };
    let (our_file, other_file) = (file("ours.pem", &ours), file("other.pem", &other));
    let pinned = |pin: Pin| TlsOptions { pins: vec![pin], ..TlsOptions::default() };
    let vouched = |ca: &PathBuf| TlsOptions { ca: Some(ca.clone()), ..TlsOptions::default() };

    let good = [
        ("the authority's pin", try_it(&ours, "localhost", |_| pinned(ours.pin())).await),
        ("one pin of two", {
            let pins = vec![other.pin(), ours.pin()];
            try_it(&ours, "localhost", |_| TlsOptions { pins, ..TlsOptions::default() }).await
        }),
        ("its own pin, whatever it is called", try_it(&ours, "elsewhere", pinned).await),
        ("its authority's file", try_it(&ours, "localhost", |_| vouched(&our_file)).await),
    ];
    for (why, (heard, error)) in good {
        assert!(heard.contains(KEY), "{why}: {error}");
    }
    let bad = [
        ("another authority's pin", try_it(&ours, "localhost", |_| pinned(other.pin())).await),
        (
            "the right authority, another name",
            try_it(&ours, "elsewhere", |_| pinned(ours.pin())).await,
        ),
        ("another authority's file", try_it(&ours, "localhost", |_| vouched(&other_file)).await),
        ("the system's authorities", try_it(&ours, "localhost", |_| TlsOptions::default()).await),
        ("a right file does not help a wrong pin", {
            let options = TlsOptions { pins: vec![other.pin()], ..vouched(&our_file) };
            try_it(&ours, "localhost", |_| options).await
        }),
    ];
    for (why, (heard, error)) in bad {
        assert_eq!(heard, "", "{why}");
        assert!(
            matches!(&error, TransportError::Refused { code, .. } if code == "untrusted_server"),
            "{why}: {error}"
        );
    }
}

#[tokio::test]
async fn pin_without_tls_is_refused() {
    let pins = vec![Pin::of_key(b"x")];
    let tls = Tls::load(&TlsOptions { pins, ..TlsOptions::default() }).unwrap();
    let endpoint = Endpoint { server: "http://127.0.0.1:9".to_owned(), tls };

    let error = register(endpoint, Register::default()).await.unwrap_err();

    assert!(error.to_string().contains("https"), "{error}");
}
