//! How one statement is sent: alone, or as a transaction of its own behind a pooler.

use sqlx::{
    Connection, PgConnection,
    postgres::{PgArguments, PgRow},
};

use crate::counter::Statements;

/// A statement with its arguments; it borrows nothing.
pub(super) type Query = sqlx::query::Query<'static, sqlx::Postgres, PgArguments>;

pub(super) struct Session<'a> {
    connection: &'a mut PgConnection,
    pooled: bool,
    statements: &'a Statements,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        connection: &'a mut PgConnection,
        pooled: bool,
        statements: &'a Statements,
    ) -> Self {
        Self { connection, pooled, statements }
    }

    /// All rows of one statement, which has committed when this returns.
    pub(super) async fn all(&mut self, query: Query) -> Result<Vec<PgRow>, sqlx::Error> {
        self.statements.count();
        if !self.pooled {
            return query.fetch_all(&mut *self.connection).await;
        }
        // The driver parses and runs a statement in two steps, and a pooler may send the second to
        // another server unless both are inside one transaction.
        let mut transaction = self.connection.begin().await?;
        let rows = query.persistent(false).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }
}
