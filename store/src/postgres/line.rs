//! Connections that do one piece of work at a time and are thrown away after any error.

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Error, PgConnection, postgres::PgRow};
use tokio::sync::Semaphore;

use super::{
    error::unavailable,
    options::Options,
    session::{Query, Session},
};
use crate::{counter::Statements, error::Unavailable};

/// A few connections, made when they are needed; with one, work is done in the order it arrives.
pub(super) struct Line {
    options: Arc<Options>,
    statements: Statements,
    turns: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
    patience: Duration,
}

/// How a statement is sent.
#[derive(Clone, Copy)]
enum Ask {
    Rows,
    Page,
}

impl Line {
    pub(super) fn new(
        options: &Arc<Options>,
        statements: &Statements,
        connections: usize,
        patience: Duration,
    ) -> Self {
        Self {
            options: Arc::clone(options),
            statements: statements.clone(),
            turns: Semaphore::new(connections),
            idle: Mutex::default(),
            patience,
        }
    }

    /// Does `work` on one of the connections.
    pub(super) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut Session<'_>) -> Result<T, Error>,
    ) -> Result<T, Unavailable> {
        let _turn = self.turns.acquire().await.map_err(Unavailable::new)?;
        let connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        self.run_on(connection, work).await.map_err(unavailable)
    }

    /// The rows of one statement that may be sent twice: a connection that was idle may have died
    /// since, and then the statement is sent again on a new one.
    pub(super) async fn rows(&self, query: impl Fn() -> Query) -> Result<Vec<PgRow>, Unavailable> {
        self.ask(Ask::Rows, query).await
    }

    /// The same for a page of rows in the order of an index.
    pub(super) async fn page(&self, query: impl Fn() -> Query) -> Result<Vec<PgRow>, Unavailable> {
        self.ask(Ask::Page, query).await
    }

    async fn ask(&self, ask: Ask, query: impl Fn() -> Query) -> Result<Vec<PgRow>, Unavailable> {
        let _turn = self.turns.acquire().await.map_err(Unavailable::new)?;
        if let Some(connection) = self.take_idle() {
            match self.ask_on(connection, ask, query()).await {
                Err(error) if !is_late(&error) => {}
                known => return known.map_err(unavailable),
            }
            // What killed one of them killed them all.
            self.idle().clear();
        }
        let connection = self.connect().await?;
        self.ask_on(connection, ask, query()).await.map_err(unavailable)
    }

    async fn ask_on(
        &self,
        connection: PgConnection,
        ask: Ask,
        query: Query,
    ) -> Result<Vec<PgRow>, Error> {
        let send = async |session: &mut Session<'_>| match ask {
            Ask::Rows => session.all(query).await,
            Ask::Page => session.page(query).await,
        };
        self.run_on(connection, send).await
    }

    /// Only a connection that answered in full is used again: of any other nobody knows what it
    /// will say next. One whose user was dropped half-way ends here, too.
    async fn run_on<T>(
        &self,
        mut connection: PgConnection,
        work: impl AsyncFnOnce(&mut Session<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut session = Session::new(&mut connection, self.options.pooled, &self.statements);
        let answer = in_time(self.patience, work(&mut session)).await?;
        self.idle().push(connection);
        Ok(answer)
    }

    async fn connect(&self) -> Result<PgConnection, Unavailable> {
        self.options.connect(self.patience).await.map_err(unavailable)
    }

    fn take_idle(&self) -> Option<PgConnection> {
        self.idle().pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends waiting after `patience`, as an error of the connection.
pub(super) async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {patience:?}"));
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| Err(late().into()))
}

fn is_late(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}
