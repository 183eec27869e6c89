//! The store as a whole: a journal and its records behind one address.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

use crate::{
    error::{ConnectError, Unavailable},
    journal::Journal,
    memory::Memory,
    postgres::Postgres,
    records::Records,
    sealing::Sealing,
    sqlite::Sqlite,
};

/// Everything that is true, used as `Arc<dyn Store>`.
#[async_trait]
pub trait Store: Journal + Records + Sealing {
    /// `memory`, `sqlite` or `postgres`.
    fn backend(&self) -> &'static str;

    /// Backend and place in words, for logs and `doctor`. Never a password.
    fn describe(&self) -> String;

    /// Whether the store answers: one round trip.
    ///
    /// # Errors
    /// `Unavailable`: it does not.
    async fn ping(&self) -> Result<(), Unavailable>;

    /// Which settings of the database cost throughput under steady load, and what to set, as sentences.
    ///
    /// # Errors
    /// `Unavailable`: the store does not answer.
    async fn advice(&self) -> Result<Vec<String>, Unavailable> {
        Ok(Vec::new())
    }

    /// Statements sent to the database since this store was opened, pings included; transaction
    /// control and the setting up of connections are not counted.
    fn statements(&self) -> u64;
}

/// Opens the store at an address and brings its schema up to date: `memory:`, `sqlite://PATH`
/// (relative or absolute) or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
///
/// PostgreSQL takes the options of libpq (`sslmode`, `host` and so on) and `pgbouncer=true`, for a
/// pooler in transaction mode that cannot keep prepared statements: each statement then is a
/// transaction of its own with four round trips in place of one.
///
/// # Errors
/// Says what to do; see [`ConnectError`]. No error contains the password.
pub async fn connect(url: &str) -> Result<Arc<dyn Store>, ConnectError> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(Memory::new())),
        Some(("sqlite", path)) => Ok(Arc::new(Sqlite::open(&sqlite_path(path)?).await?)),
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(Postgres::open(url).await?)),
        Some((scheme, _)) => Err(ConnectError::BadUrl(format!("unknown scheme `{scheme}`"))),
        None => Err(ConnectError::BadUrl("it has no scheme".into())),
    }
}

fn sqlite_path(rest: &str) -> Result<PathBuf, ConnectError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    match path {
        "" => Err(ConnectError::BadUrl("it names no file".into())),
        ":memory:" => Err(ConnectError::BadUrl("sqlite is for files; use memory:".into())),
        path if path.contains('?') => {
            Err(ConnectError::BadUrl("sqlite:// takes no options".into()))
        }
        path => Ok(PathBuf::from(path)),
    }
}
