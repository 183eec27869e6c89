//! Bringing the schema up to date, and looking at the server while we are there.

use sqlx::{Connection, Error, PgConnection, Row, raw_sql};

use super::{
    error::unavailable,
    options::{Options, WRITE_PATIENCE},
};
use crate::{
    error::ConnectError,
    migrations::{self, POSTGRES},
};

/// The oldest PostgreSQL we are tested with, as its `server_version_num`.
const OLDEST_SERVER: i32 = 140_000;

pub(super) async fn migrate(options: &Options) -> Result<(), ConnectError> {
    let mut connection = options.connect(WRITE_PATIENCE).await.map_err(|error| {
        let hint = "check that PostgreSQL runs there, and the host, port, user, password and \
                    database of the address; for a pooler in transaction mode, add pgbouncer=true";
        unreachable(options, hint, error)
    })?;
    check_settings(&mut connection, options).await?;
    let found = apply(&mut connection).await.map_err(|error| {
        let hint = "the schema could not be brought up to date; check that the user may create \
                    tables there and that the database holds nothing but Fleetward";
        unreachable(options, hint, error)
    })?;
    // A failure to say goodbye changes nothing.
    let _ = connection.close().await;
    let known = migrations::newest(POSTGRES);
    if found > known {
        return Err(ConnectError::NewerSchema { store: options.describe(), found, known });
    }
    Ok(())
}

async fn check_settings(
    connection: &mut PgConnection,
    options: &Options,
) -> Result<(), ConnectError> {
    let settings = raw_sql(include_str!("../sql/postgres/settings.sql"));
    let read = async {
        let row = settings.fetch_one(connection).await?;
        Ok((row.try_get::<i32, _>(0)?, row.try_get::<bool, _>(1)?))
    };
    let (version, durable) = read
        .await
        .map_err(|error: Error| unreachable(options, "it did not tell its settings", error))?;
    if version < OLDEST_SERVER {
        let error = Error::Protocol(format!("the server has version {version}"));
        return Err(unreachable(options, "use PostgreSQL 14 or newer", error));
    }
    if !durable {
        tracing::warn!(
            store = options.describe(),
            "fsync or synchronous_commit is off: what is acknowledged can be lost in a crash"
        );
    }
    Ok(())
}

/// Applies what is missing in one transaction and answers the version found or reached. Parameters
/// are not used: without them nothing is prepared, which any pooler can carry.
async fn apply(connection: &mut PgConnection) -> Result<i64, Error> {
    let mut transaction = connection.begin().await?;
    raw_sql(include_str!("../sql/postgres/schema_lock.sql")).execute(&mut *transaction).await?;
    let exists = raw_sql(include_str!("../sql/postgres/schema_exists.sql"))
        .fetch_one(&mut *transaction)
        .await?;
    if !exists.try_get::<bool, _>(0)? {
        raw_sql(include_str!("../sql/postgres/schema.sql")).execute(&mut *transaction).await?;
    }
    let version = raw_sql(include_str!("../sql/postgres/schema_version.sql"))
        .fetch_one(&mut *transaction)
        .await?;
    let mut version: i64 = version.try_get(0)?;
    for migration in migrations::missing(POSTGRES, version) {
        raw_sql(migration.sql).execute(&mut *transaction).await?;
        sqlx::query(include_str!("../sql/postgres/schema_applied.sql"))
            .persistent(false)
            .bind(migration.version)
            .bind(migration.name)
            .execute(&mut *transaction)
            .await?;
        version = migration.version;
    }
    transaction.commit().await?;
    Ok(version)
}

fn unreachable(options: &Options, hint: &str, error: Error) -> ConnectError {
    ConnectError::Unreachable {
        store: options.describe(),
        hint: hint.into(),
        source: unavailable(error),
    }
}
