//! How a connection to the file is made, and what an error of SQLite means to us.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind},
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::{
    error::{ConnectError, Unavailable},
    migrations::{self, SQLITE},
};

/// How long one process waits for the write lock of another. Longer than any of our transactions,
/// short enough that a stuck holder is reported as an outage.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// All our statements stay prepared.
const STATEMENTS_PREPARED: usize = 32;

/// Makes the file if needed, readable by its owner only (SQLite gives its companions the same
/// rights), and brings its schema up to date.
pub(super) fn prepare(path: &Path) -> Result<Connection, ConnectError> {
    create(path).map_err(|error| unreachable(path, error))?;
    let mut connection = writable(path).map_err(|error| unreachable(path, error))?;
    let found = migrate(&mut connection).map_err(|error| unreachable(path, error))?;
    let known = migrations::newest(SQLITE);
    if found > known {
        return Err(ConnectError::NewerSchema { store: describe(path), found, known });
    }
    Ok(connection)
}

/// The connection of the writer: a commit has reached the disk when it returns.
pub(super) fn writable(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    let mode = use_write_ahead_log(&connection)?;
    if mode != "wal" {
        tracing::warn!(mode, "file system does not allow a write-ahead log; writes are slower");
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // On Apple systems a plain flush does not reach the disk. Elsewhere it changes nothing.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    Ok(connection)
}

/// A connection that cannot change anything.
pub(super) fn readable(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

pub(super) fn describe(path: &Path) -> String {
    format!("sqlite file {}", path.display())
}

pub(super) fn unreachable(
    path: &Path,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ConnectError {
    ConnectError::Unreachable {
        store: describe(path),
        hint: "check that its folder exists and is writable, that the disk has room, and that no \
               other program holds or owns the file"
            .into(),
        source: Unavailable::new(error),
    }
}

/// Why a row can never be stored; `None` if the error says nothing about the row.
pub(super) fn refusal(error: &rusqlite::Error) -> Option<String> {
    let code = error.sqlite_error_code()?;
    let about_the_row = matches!(
        code,
        ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch
    );
    about_the_row.then(|| error.to_string())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_PATIENCE)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_PREPARED);
    Ok(connection)
}

/// Several programs that start on a new file at once are in each other's way here, and SQLite does
/// not wait for this lock by itself.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<String> {
    let pause = Duration::from_millis(10);
    let mut patience = LOCK_PATIENCE;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)) {
            Err(error) if is_busy(&error) && !patience.is_zero() => {
                patience = patience.saturating_sub(pause);
                thread::sleep(pause);
            }
            other => return other,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn create(path: &Path) -> io::Result<()> {
    // Closing a file ends all locks that this process has on it, those of SQLite included: nobody
    // here may open the file between our making and our closing it.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// Applies what is missing and answers the version found or reached. Holds the write lock, so of
/// two processes that start at once one migrates and the other finds it done.
fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(include_str!("../sql/sqlite/schema.sql"))?;
    let mut version: i64 =
        transaction
            .query_row(include_str!("../sql/sqlite/schema_version.sql"), [], |row| row.get(0))?;
    for migration in migrations::missing(SQLITE, version) {
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            include_str!("../sql/sqlite/schema_applied.sql"),
            (migration.version, migration.name),
        )?;
        version = migration.version;
    }
    transaction.commit()?;
    Ok(version)
}
