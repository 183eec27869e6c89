//! A few connections that only read, each used by one blocking call at a time.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{connection, read::Reader};
use crate::{counter::Statements, error::Unavailable};

/// Reads at a time. They come from the cache of the file system and finish in microseconds; more
/// would only fight over the processors.
const READERS: usize = 4;

pub(super) struct Readers {
    path: PathBuf,
    statements: Statements,
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: &Path, statements: Statements) -> Self {
        Self {
            path: path.to_owned(),
            statements,
            turns: Arc::new(Semaphore::new(READERS)),
            idle: Arc::default(),
        }
    }

    /// Runs one read on a connection of its own. A connection that saw an error is not used again.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(Unavailable::new)?;
        let (path, statements) = (self.path.clone(), self.statements.clone());
        let idle = Arc::clone(&self.idle);
        let work = move || {
            // Kept to the end of the read, even if the caller leaves before it.
            let _turn = turn;
            let waiting = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = waiting.map_or_else(|| connection::readable(&path), Ok)?;
            let answer = read(&Reader::new(&connection, &statements))?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok::<T, rusqlite::Error>(answer)
        };
        tokio::task::spawn_blocking(work).await.map_err(Unavailable::new)?.map_err(Unavailable::new)
    }
}
