//! What an error of PostgreSQL means to us.

use sqlx::Error;

use crate::error::Unavailable;

/// Why a row can never be stored; `None` if the error says nothing about the row. The message of
/// the server names no contents, its detail does and is left out.
pub(super) fn refusal(error: &Error) -> Option<String> {
    match error {
        Error::Database(error) => {
            let code = error.code()?;
            // Data exceptions, integrity constraints, limits of the server.
            let about_the_row = ["22", "23", "54"].contains(&code.get(..2)?);
            about_the_row.then(|| format!("{} ({code})", error.message()))
        }
        Error::Encode(error) => Some(error.to_string()),
        _ => None,
    }
}

/// Everything else: connections, time, locks, a server that starts, stops, is full or read-only.
pub(super) fn unavailable(error: Error) -> Unavailable {
    match &error {
        // The detail of a server's error may quote a row.
        Error::Database(known) => {
            let code = known.code().unwrap_or_default();
            Unavailable::new(format!("{} ({code})", known.message()))
        }
        _ => Unavailable::new(error),
    }
}
