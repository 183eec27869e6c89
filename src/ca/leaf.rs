//! Certificates of servers, workers and operators: what stands in them, and how one is read again.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fleetward_worker::Pin;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose,
    SanType, SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CaError, SKEW, at, malformed};

/// When the next list of revoked certificates is promised for. Servers honour an older one too: certificates end sooner.
pub(super) const LIST_VALID: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest name of a worker or operator, in characters.
const NAME_MAX: usize = 64;

/// Whose certificate it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A server, by the names and addresses that clients use.
    Server {
        /// At least one.
        names: Vec<String>,
    },
    /// A worker of an organisation.
    Worker {
        /// The organisation's name or id.
        org: String,
        /// What it is called there.
        name: String,
    },
    /// A person or program that uses the API, for servers that want a certificate of everybody.
    Operator {
        /// What it is called.
        name: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { names } => f.write_str(&names.join(", ")),
            Self::Worker { org, name } => write!(f, "fleetward://org/{org}/worker/{name}"),
            Self::Operator { name } => write!(f, "fleetward://operator/{name}"),
        }
    }
}

impl Subject {
    /// The first part of its files' names.
    pub(super) fn file(&self) -> &str {
        match self {
            Self::Server { .. } => "server",
            Self::Worker { name, .. } | Self::Operator { name } => name,
        }
    }

    pub(super) fn params(&self) -> Result<CertificateParams, CaError> {
        let (names, common) = match self {
            Self::Server { names } => {
                let Some(first) = names.first() else {
                    return Err(CaError::BadName("name the hosts of the server".to_owned()));
                };
                let unfit =
                    |_| CaError::BadName(format!("{names:?} are no host names or addresses"));
                let params = CertificateParams::new(names.clone()).map_err(unfit)?;
                (params.subject_alt_names, first)
            }
            Self::Worker { org, name } => {
                plain("the organisation", org)?;
                (vec![self.uri(name)?], name)
            }
            Self::Operator { name } => (vec![self.uri(name)?], name),
        };
        let purpose = match self {
            Self::Server { .. } => ExtendedKeyUsagePurpose::ServerAuth,
            Self::Worker { .. } | Self::Operator { .. } => ExtendedKeyUsagePurpose::ClientAuth,
        };
        Ok(params(names, common, vec![purpose]))
    }

    fn uri(&self, name: &str) -> Result<SanType, CaError> {
        plain("the name", name)?;
        Ok(SanType::URI(self.to_string().try_into()?))
    }
}

/// A name that needs no escaping in a URI or in the name of a file.
fn plain(what: &str, name: &str) -> Result<(), CaError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('.') {
        return Ok(());
    }
    let why = format!("{what} {name:?}: 1 to {NAME_MAX} letters, digits, and - _ . are allowed");
    Err(CaError::BadName(why))
}

fn params(
    names: Vec<SanType>,
    common: &str,
    purposes: Vec<ExtendedKeyUsagePurpose>,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = purposes;
    params.use_authority_key_identifier_extension = true;
    params
}

/// The serial of the first certificate in a file.
pub(super) fn serial_in(path: &Path) -> Result<String, CaError> {
    let der = first(path)?;
    let certificate = parsed(path, &der)?;
    Ok(hex::encode(certificate.raw_serial()))
}

/// The pin of the first certificate in a file.
pub(super) fn pin_in(path: &Path) -> Result<Pin, CaError> {
    let der = first(path)?;
    Ok(Pin::of_key(parsed(path, &der)?.public_key().raw))
}

/// The names, purposes and key of the first certificate in a file.
pub(super) fn read(path: &Path) -> Result<(CertificateParams, SubjectPublicKeyInfo), CaError> {
    let der = first(path)?;
    let certificate = parsed(path, &der)?;
    let unfit = |why: &dyn fmt::Display| malformed(path, why);
    let names = certificate.subject_alternative_name().map_err(|error| unfit(&error))?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let names: Result<Vec<_>, CaError> = names.iter().map(|name| san(path, name)).collect();
    let purposes = certificate.extended_key_usage().map_err(|error| unfit(&error))?;
    let (server, client) =
        purposes.map_or((false, false), |found| (found.value.server_auth, found.value.client_auth));
    let purposes = [
        server.then_some(ExtendedKeyUsagePurpose::ServerAuth),
        client.then_some(ExtendedKeyUsagePurpose::ClientAuth),
    ];
    let common = certificate.subject().iter_common_name().next();
    let common = common.and_then(|name| name.as_str().ok()).unwrap_or_default();
    let key = SubjectPublicKeyInfo::from_der(certificate.public_key().raw)?;
    Ok((params(names?, common, purposes.into_iter().flatten().collect()), key))
}

fn san(path: &Path, name: &GeneralName<'_>) -> Result<SanType, CaError> {
    let address = |bytes: &[u8]| {
        let four = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
        four.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from)).ok()
    };
    match name {
        GeneralName::DNSName(name) => Ok(SanType::DnsName((*name).try_into()?)),
        GeneralName::URI(uri) => Ok(SanType::URI((*uri).try_into()?)),
        GeneralName::IPAddress(bytes) if address(bytes).is_some() => {
            Ok(SanType::IpAddress(address(bytes).expect("it was one just now")))
        }
        other => Err(malformed(path, &format!("it has a name that we do not write: {other:?}"))),
    }
}

fn first(path: &Path) -> Result<CertificateDer<'static>, CaError> {
    let pem = std::fs::read(path).map_err(at(path))?;
    CertificateDer::from_pem_slice(&pem).map_err(|_| malformed(path, &"it is no certificate (PEM)"))
}

fn parsed<'a>(path: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CaError> {
    let parsed = X509Certificate::from_der(der).map_err(|error| malformed(path, &error))?;
    Ok(parsed.1)
}

/// Gives a certificate its term.
pub(super) fn term(params: &mut CertificateParams, now: DateTime<Utc>, valid: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(now - SKEW);
    params.not_after = epoch + since_1970(now + valid);
}

/// rcgen counts in a library of its own, which both sides reach from here.
pub(super) fn since_1970(at: DateTime<Utc>) -> Duration {
    Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or(0))
}
