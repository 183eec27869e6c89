//! What the address says, and how connections are made from it.

use std::{str::FromStr, time::Duration};

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};

use super::line::in_time;
use crate::error::ConnectError;

/// How long making a connection may take. A server that is there answers in milliseconds.
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);

/// How long a write may take before its connection is given up and the same bytes are written
/// again on another. With the time to connect it stays below the 15 s in which we promise to be
/// back after the database is.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(8);

/// How long a read may take: loading all open rows of a large cell is the longest.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(30);

/// Reads at a time. They are short, and a small database has few connections to give.
pub(super) const READERS: usize = 6;

pub(super) struct Options {
    connect: PgConnectOptions,
    /// Behind a pooler that cannot keep anything from one statement to the next.
    pub(super) pooled: bool,
}

impl Options {
    pub(super) fn parse(url: &str) -> Result<Self, ConnectError> {
        let (url, pooled) = take_pgbouncer(url)?;
        let connect = PgConnectOptions::from_str(&url)
            .map_err(|error| ConnectError::BadUrl(error.to_string()))?
            // We send no floats, and poolers refuse settings they do not know.
            .extra_float_digits(None)
            .disable_statement_logging();
        Ok(Self { connect, pooled })
    }

    /// A connection whose statements take no longer than `patience`. The server gives up when we
    /// do; a pooler would refuse the setting, and there our own patience has to do.
    pub(super) async fn connect(&self, patience: Duration) -> Result<PgConnection, sqlx::Error> {
        let mut options = self.connect.clone();
        if !self.pooled {
            let patience = patience.as_millis().to_string();
            options = options.options([("statement_timeout", patience.as_str())]);
        }
        in_time(CONNECT_PATIENCE, options.connect()).await
    }

    /// The place in words, without the password.
    pub(super) fn describe(&self) -> String {
        let options = &self.connect;
        let user = options.get_username();
        let database = options.get_database().unwrap_or(user);
        match options.get_socket() {
            Some(folder) => format!("postgres {user}@{}/{database}", folder.display()),
            None => {
                format!("postgres {user}@{}:{}/{database}", options.get_host(), options.get_port())
            }
        }
    }
}

/// Takes our own option out of the address.
fn take_pgbouncer(url: &str) -> Result<(String, bool), ConnectError> {
    let Some((place, query)) = url.split_once('?') else { return Ok((url.to_owned(), false)) };
    let (mut kept, mut pooled) = (Vec::new(), false);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("pgbouncer", "true")) => pooled = true,
            Some(("pgbouncer", "false")) => pooled = false,
            Some(("pgbouncer", _)) => {
                return Err(ConnectError::BadUrl("pgbouncer is true or false".into()));
            }
            _ => kept.push(pair),
        }
    }
    Ok((format!("{place}?{}", kept.join("&")), pooled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_has_no_password() {
        let options = Options::parse("postgres://ann:hunter2@db.example:6000/fleet").unwrap();

        assert_eq!(options.describe(), "postgres ann@db.example:6000/fleet");
    }

    #[test]
    fn pgbouncer_is_our_own_option() {
        let (url, pooled) =
            take_pgbouncer("postgres://h/d?sslmode=require&pgbouncer=true").unwrap();

        assert_eq!((url.as_str(), pooled), ("postgres://h/d?sslmode=require", true));
    }
}
