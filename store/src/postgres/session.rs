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

    /// All rows of a statement that takes the next few in the order of an index. A planner without
    /// statistics, as after a first million tasks, would fetch and sort all that follow for every
    /// page; so for this statement, and no other, it may not.
    pub(super) async fn page(&mut self, query: Query) -> Result<Vec<PgRow>, sqlx::Error> {
        self.statements.count();
        let mut transaction = self.connection.begin().await?;
        let settings = "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off";
        sqlx::raw_sql(settings).execute(&mut *transaction).await?;
        let rows = query.persistent(!self.pooled).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::{postgres::options::Options, testing};
    use sqlx::{Row, query};
    use std::time::Duration;

    #[tokio::test]
    async fn planner_is_held_back_for_pages_alone() {
        let url = testing::Postgres::shared().fresh_database().await;
        let options = Options::parse(&url).unwrap();
        let mut connection = options.connect(Duration::from_secs(8)).await.unwrap();
        let statements = Statements::default();
        let mut session = Session::new(&mut connection, false, &statements);
        let asked = || query("SELECT current_setting('enable_sort')");
        let said = |rows: Vec<PgRow>| rows[0].get::<String, _>(0);

        assert_eq!(said(session.page(asked()).await.unwrap()), "off");
        assert_eq!(said(session.all(asked()).await.unwrap()), "on");
    }
}
