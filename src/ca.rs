//! A small certificate authority in a folder, for people who have none: `fleetward ca`.
//!
//! It signs certificates of servers, workers and operators, and the list of those that it revoked. Certificates are short:
//! a day unless somebody says otherwise. One that is stolen without anybody noticing ends by itself, and one that is noticed
//! goes on the list, which a server reads within seconds. A responder that is asked at every handshake (OCSP) would be one
//! more service that has to be up whenever a worker connects, and says nothing that a list of a day's certificates does not.
//!
//! | file | what |
//! | --- | --- |
//! | `ca.pem`, `ca-key.pem` | the authority's certificate, and its key: whoever has that may sign |
//! | `crl.pem` | the list of revoked certificates |
//! | `index.json` | what was issued and not yet forgotten |

mod index;
mod leaf;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use fleetward_worker::Pin;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SerialNumber,
};

use index::Index;
pub use index::Issued;
pub use leaf::Subject;

/// Machines' clocks differ: a certificate is good from this long before it was made.
const SKEW: Duration = Duration::from_secs(300);
const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca-key.pem";
const LIST: &str = "crl.pem";
const INDEX: &str = "index.json";
const LOCK: &str = "index.lock";
/// Files that anybody may read, and those that nobody else may.
const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

/// Why the authority did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Name another folder: what is there would be lost.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// Name another file or folder, or let this process use it.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Say a name that a certificate can carry.
    #[error("{0}")]
    BadName(String),
    /// This authority did not issue it, or it expired long ago.
    #[error("no certificate with the serial {0} is known here")]
    Unknown(String),
    /// Issue a new one instead.
    #[error("the certificate {0} was revoked: it cannot be renewed")]
    Revoked(String),
    /// A bug, or a key that cannot sign.
    #[error("signing failed: {0}")]
    Sign(#[from] rcgen::Error),
}

/// An authority and its folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A new certificate, and where it is.
#[derive(Debug, Clone)]
pub struct Made {
    /// The certificate with the authority's own: what a server or worker is given.
    pub certificate: PathBuf,
    /// Its key; none where it was renewed, which keeps the key that is there.
    pub key: Option<PathBuf>,
    /// What the index says of it.
    pub issued: Issued,
}

impl Authority {
    /// Makes an authority in `folder`, good for `valid`, with an empty list of revoked certificates.
    ///
    /// # Errors
    /// When there is one already, or the folder cannot be written.
    pub fn init(
        folder: &Path,
        name: &str,
        now: DateTime<Utc>,
        valid: Duration,
    ) -> Result<Self, CaError> {
        let key_file = folder.join(KEY);
        if key_file.exists() {
            return Err(CaError::Exists(key_file));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(at(folder))?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.serial_number = Some(serial());
        leaf::term(&mut params, now, valid);
        let certificate = params.self_signed(&key)?.pem();
        write(&key_file, key.serialize_pem().as_bytes(), SECRET)?;
        write(&folder.join(CERTIFICATE), certificate.as_bytes(), PUBLIC)?;
        let issuer = Issuer::new(params, key);
        let this = Self { folder: folder.to_owned(), certificate, issuer };
        this.change(|_| Ok(()))?;
        this.sign_list(now, leaf::LIST_VALID)?;
        Ok(this)
    }

    /// The authority in `folder`.
    ///
    /// # Errors
    /// When there is none, or its files cannot be read.
    pub fn open(folder: &Path) -> Result<Self, CaError> {
        let read = |name| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(at(&path))
        };
        let (certificate, key) = (read(CERTIFICATE)?, read(KEY)?);
        let bad = |name, error: rcgen::Error| malformed(&folder.join(name), &error);
        let key = KeyPair::from_pem(&key).map_err(|error| bad(KEY, error))?;
        let issuer =
            Issuer::from_ca_cert_pem(&certificate, key).map_err(|error| bad(CERTIFICATE, error))?;
        Ok(Self { folder: folder.to_owned(), certificate, issuer })
    }

    /// What workers and clients may pin: the authority's own key.
    pub fn pin(&self) -> Pin {
        Pin::of_key(&self.issuer.key().subject_public_key_info())
    }

    /// The authority's certificate: what servers get as `--client-ca`, workers as `--ca`.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// The list of revoked certificates: what servers get as `--crl`.
    pub fn list(&self) -> PathBuf {
        self.folder.join(LIST)
    }

    /// What was issued and has not long expired, oldest first.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn issued(&self) -> Result<Vec<Issued>, CaError> {
        Ok(Index::read(&self.folder.join(INDEX))?.issued)
    }

    /// Makes a key and a certificate for it in `into`: `NAME.pem` and `NAME-key.pem`.
    ///
    /// # Errors
    /// When the subject's names are none, or the files cannot be written.
    pub fn issue(
        &self,
        subject: &Subject,
        into: &Path,
        now: DateTime<Utc>,
        valid: Duration,
    ) -> Result<Made, CaError> {
        let params = subject.params()?;
        let file = subject.file();
        let certificate = into.join(format!("{file}.pem"));
        let key_file = into.join(format!("{file}-key.pem"));
        let key = KeyPair::generate()?;
        let (pem, issued) = self.sign(params, &key, subject.to_string(), now, valid)?;
        std::fs::create_dir_all(into).map_err(at(into))?;
        write(&key_file, key.serialize_pem().as_bytes(), SECRET)?;
        write(&certificate, pem.as_bytes(), PUBLIC)?;
        Ok(Made { certificate, key: Some(key_file), issued })
    }

    /// Signs a certificate of this authority anew, in place: the same names, the same key, another term. The key itself
    /// does not have to be here.
    ///
    /// # Errors
    /// When it is no certificate of this authority, or was revoked.
    pub fn renew(
        &self,
        certificate: &Path,
        now: DateTime<Utc>,
        valid: Duration,
    ) -> Result<Made, CaError> {
        let known = self.find(&leaf::serial_in(certificate)?)?;
        if known.revoked_at.is_some() {
            return Err(CaError::Revoked(known.serial));
        }
        let (params, key) = leaf::read(certificate)?;
        let (pem, issued) = self.sign(params, &key, known.subject, now, valid)?;
        write(certificate, pem.as_bytes(), PUBLIC)?;
        Ok(Made { certificate: certificate.to_owned(), key: None, issued })
    }

    /// Revokes a certificate (a file, or a serial) with those that it was renewed from, which have its key, and signs the
    /// list. Harmless twice.
    ///
    /// # Errors
    /// When this authority does not know it.
    pub fn revoke(&self, certificate: &str, now: DateTime<Utc>) -> Result<Issued, CaError> {
        let file = Path::new(certificate);
        let serial = match file.exists() {
            true => leaf::serial_in(file)?,
            false => certificate.trim().replace(':', "").to_lowercase(),
        };
        self.find(&serial)?;
        self.change(|index| {
            index.revoke(&serial, now);
            Ok(())
        })?;
        self.sign_list(now, leaf::LIST_VALID)?;
        self.find(&serial)
    }

    /// Signs the list of revoked certificates, which says that the next one comes within `valid`.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn sign_list(&self, now: DateTime<Utc>, valid: Duration) -> Result<usize, CaError> {
        let mut count = 0;
        let time = |at| rcgen::date_time_ymd(1970, 1, 1) + leaf::since_1970(at);
        self.change(|index| {
            let listed = index.revoked(now);
            count = listed.len();
            let revoked = listed.into_iter().map(|(serial, at)| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial),
                revocation_time: time(at),
                reason_code: None,
                invalidity_date: None,
            });
            index.lists += 1;
            let params = CertificateRevocationListParams {
                this_update: time(now - SKEW),
                next_update: time(now + valid),
                crl_number: SerialNumber::from_slice(&index.lists.to_be_bytes()),
                issuing_distribution_point: None,
                revoked_certs: revoked.collect(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            let list = params.signed_by(&self.issuer)?;
            write(&self.list(), list.pem()?.as_bytes(), PUBLIC)
        })?;
        Ok(count)
    }

    /// Signs, and remembers it first: no certificate is out that could not be revoked.
    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        subject: String,
        now: DateTime<Utc>,
        valid: Duration,
    ) -> Result<(String, Issued), CaError> {
        let serial = serial();
        let issued = Issued {
            serial: hex::encode(serial.to_bytes()),
            subject,
            key: Some(Pin::of_key(&key.subject_public_key_info()).to_string()),
            issued_at: now,
            expires_at: now + valid,
            revoked_at: None,
        };
        params.serial_number = Some(serial);
        leaf::term(&mut params, now, valid);
        let pem = params.signed_by(key, &self.issuer)?.pem();
        self.change(|index| {
            index.add(issued.clone(), now);
            Ok(())
        })?;
        Ok((format!("{pem}{}", self.certificate), issued))
    }

    fn find(&self, serial: &str) -> Result<Issued, CaError> {
        let found = self.issued()?.into_iter().find(|issued| issued.serial == serial);
        found.ok_or_else(|| CaError::Unknown(serial.to_owned()))
    }

    /// Changes the index, alone.
    fn change(
        &self,
        change: impl FnOnce(&mut Index) -> Result<(), CaError>,
    ) -> Result<(), CaError> {
        let (path, lock) = (self.folder.join(INDEX), self.folder.join(LOCK));
        let held = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let held: File = held.map_err(at(&lock))?;
        held.lock().map_err(at(&lock))?;
        let mut index = Index::read(&path)?;
        change(&mut index)?;
        write(&path, &index.bytes(), SECRET)
    }
}

/// The pin of the first certificate in a file.
///
/// # Errors
/// When it holds none.
pub fn pin_of(certificate: &Path) -> Result<Pin, CaError> {
    leaf::pin_in(certificate)
}

/// 127 random bits: nobody guesses the next one, and it is no negative number.
fn serial() -> SerialNumber {
    let mut bytes = rand::random::<[u8; 16]>();
    // Not zero either at the front, which encodings drop.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// Writes a whole file or none, readable by whom `mode` says.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    let temporary = path.with_extension(format!("{}.tmp", hex::encode(rand::random::<[u8; 8]>())));
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(&temporary);
    let written = file
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the error that matters is the one we return.
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> CaError + '_ {
    |source| CaError::Io { path: path.to_owned(), source }
}

fn malformed(path: &Path, why: &dyn std::fmt::Display) -> CaError {
    CaError::Malformed { path: path.to_owned(), why: why.to_string() }
}
