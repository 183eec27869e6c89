//! Who a worker is, kept in a file that nobody else may read: it registers once in its life.
//!
//! The key pair is written down before it is registered, so that a registration whose answer was lost is repeated with
//! the same one, and gives the same worker.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleetward_wire::Secret;
use fleetward_wire::workers::Register;
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::http::{Endpoint, register};
use crate::key_pair::KeyPair;
use crate::transport::TransportError;

/// How long a registration is repeated while the control plane cannot be reached: long enough for
/// one that starts at the same time.
const REGISTER_WITHIN: Duration = Duration::from_secs(60);
/// An identity is a few hundred bytes; a file that is larger is something else.
const LARGEST_FILE: u64 = 64 * 1024;

/// A registered worker, as its control plane knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    /// Base URL of the control plane that it registered with.
    pub server: String,
    /// Who it is there.
    pub worker_id: String,
    /// Proof of it.
    #[serde(flatten)]
    pub proof: Proof,
    /// Its name for people.
    pub name: String,
}

/// What a worker proves itself with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Proof {
    /// A key pair, for which it gets task tokens.
    KeyPair {
        /// The private half.
        private_key: Secret,
        /// Its organisation.
        org_id: String,
    },
    /// A secret, from a control plane that takes no key pairs.
    Secret {
        /// The secret.
        worker_secret: Secret,
    },
}

/// What the file holds until the registration was answered.
#[derive(Serialize, Deserialize)]
struct Unregistered {
    server: String,
    private_key: Secret,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Others may have read the secret: reject that worker, delete the file, register anew.
    #[error("{path} may be read or written by others (mode {mode:o}): chmod 600, or register anew")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Sending its secret to another server would give it away: name another file.
    #[error("{path} is an identity at {known}, not at {wanted}: name another file or delete it")]
    OtherServer {
        /// The file.
        path: PathBuf,
        /// The server it is good for.
        known: String,
        /// The server it was to be used with.
        wanted: String,
    },
    /// Not an identity: name another file.
    #[error("{path} is not the identity of a worker: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file or its folder cannot be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The control plane did not register it.
    #[error("registration failed: {0}")]
    Register(#[from] TransportError),
}

impl Identity {
    /// Reads an identity; `None` if there is no such file, or its worker did not register yet.
    ///
    /// # Errors
    ///
    /// The file may be read by others, is no identity, or cannot be read.
    pub fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        Ok(match read(path)? {
            Some(Kept::Registered(identity)) => Some(identity),
            Some(Kept::Unregistered(_)) | None => None,
        })
    }

    /// Writes it, so that after a crash there is the whole file or none.
    ///
    /// # Errors
    ///
    /// The file or its folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        write(path, self)
    }

    /// The identity in `path`, or a new one: registered at `server` with a fresh key pair and saved there.
    ///
    /// Repeats the registration for a minute while the server cannot be reached.
    ///
    /// # Errors
    ///
    /// The file is unusable or of another server, or the registration failed.
    pub async fn load_or_register(
        path: &Path,
        server: impl Into<Endpoint>,
        mut request: Register,
    ) -> Result<Self, IdentityError> {
        let endpoint = server.into();
        let server = endpoint.server.trim_end_matches('/');
        let begun = match read(path)? {
            Some(Kept::Registered(known)) if known.server == server => return Ok(known),
            Some(Kept::Registered(Self { server: known, .. })) => {
                let (path, wanted) = (path.to_owned(), server.to_owned());
                return Err(IdentityError::OtherServer { path, known, wanted });
            }
            Some(Kept::Unregistered(begun)) if begun.server == server => {
                KeyPair::read(&begun.private_key)
            }
            Some(Kept::Unregistered(_)) | None => None,
        };
        let pair = match begun {
            Some(pair) => pair,
            None => begin(path, server)?,
        };
        let key = request.enrollment_key.as_ref().map_or("", |key| key.expose().as_str());
        request.signature = Some(pair.sign_registration(key));
        request.public_key = Some(pair.public());
        let name = request.name.clone();
        let registered = register_patiently(&endpoint, request).await?;
        let proof = match (registered.worker_secret, registered.org_id) {
            (None, Some(org_id)) => Proof::KeyPair { private_key: pair.private(), org_id },
            // It took no notice of the key pair.
            (Some(worker_secret), _) => Proof::Secret { worker_secret },
            (None, None) => {
                let why = "the answer to the registration has neither secret nor organisation";
                return Err(TransportError::unavailable(why).into());
            }
        };
        let server = server.to_owned();
        let identity = Self { server, worker_id: registered.worker_id, proof, name };
        identity.save(path)?;
        Ok(identity)
    }
}

/// What a file holds.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    Registered(Identity),
    Unregistered(Unregistered),
}

fn read(path: &Path) -> Result<Option<Kept>, IdentityError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(path)(error)),
    };
    // Of the open file, not of the path, which may be another file by now.
    let mode = file.metadata().map_err(io_at(path))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(io_at(path))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| IdentityError::Malformed {
        path: path.to_owned(),
        // The place only: the message of a parser may quote the secret.
        reason: format!("line {}, column {}", error.line(), error.column()),
    })
}

/// A fresh key pair, written down before anybody hears of it.
fn begin(path: &Path, server: &str) -> Result<KeyPair, IdentityError> {
    let pair = KeyPair::generate();
    let (server, private_key) = (server.to_owned(), pair.private());
    write(path, &Unregistered { server, private_key })?;
    Ok(pair)
}

fn write(path: &Path, kept: &impl Serialize) -> Result<(), IdentityError> {
    let bytes = serde_json::to_vec_pretty(kept).map_err(|error| IdentityError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    write_whole(path, &bytes).map_err(io_at(path))
}

async fn register_patiently(
    server: &Endpoint,
    request: Register,
) -> Result<fleetward_wire::workers::Registered, TransportError> {
    let mut backoff = Backoff::default();
    let give_up = tokio::time::Instant::now() + REGISTER_WITHIN;
    loop {
        let error = match register(server.clone(), request.clone()).await {
            Ok(registered) => return Ok(registered),
            Err(error) => error,
        };
        let TransportError::Unavailable { retry_after, .. } = &error else {
            return Err(error);
        };
        let wait = backoff.next(*retry_after);
        if tokio::time::Instant::now() + wait >= give_up {
            return Err(error);
        }
        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "cannot register yet");
        tokio::time::sleep(wait).await;
    }
}

/// Temporary file, sync, rename, sync of the folder: the usual four steps.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = path.with_extension(format!("{}.tmp", uuid::Uuid::new_v4()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the error that matters is the one we return.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> IdentityError + '_ {
    |source| IdentityError::Io { path: path.to_owned(), source }
}
