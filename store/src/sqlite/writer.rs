//! The one writer: a thread that commits everything waiting for it in one transaction.
//!
//! SQLite is told nothing by the async side but commands; an answer goes back when its transaction
//! is on the disk. A blocking thread is several times faster than handing over single statements.

use std::{
    path::{Path, PathBuf},
    thread,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{append, connection, project, sealing};
use crate::{
    attempt::Attempt,
    counter::Statements,
    error::{AppendError, ProjectError, ReadError, Unavailable},
    event::CellId,
    journal::CellHead,
    records::Projection,
    sealing::{Resealed, ResealedRow},
};

/// Commands in one transaction. The journal has one append in flight and the projector one
/// projection; the rest are cells being opened.
const GROUP: usize = 64;

type Appended = Vec<Result<CellHead, AppendError>>;
type Projected = Vec<Result<(), ProjectError>>;
type Replaced = Result<u64, ReadError>;
type Opened = Result<CellHead, Unavailable>;

/// The way to the thread; it ends when this is dropped.
pub(super) struct Writer(mpsc::Sender<Command>);

enum Command {
    Open { cell: CellId, reply: oneshot::Sender<Opened> },
    Append { batch: Vec<Attempt>, reply: oneshot::Sender<Appended> },
    Project { batch: Vec<Projection>, reply: oneshot::Sender<Projected> },
    Reseal { cell: CellId, changes: Vec<Resealed>, reply: oneshot::Sender<Replaced> },
    ResealRows { cell: CellId, changes: Vec<ResealedRow>, reply: oneshot::Sender<Replaced> },
}

/// What a command will be answered once its transaction is on the disk.
enum Answer {
    Opened(CellHead),
    Appended(Appended),
    Projected(Projected),
    Replaced(Replaced),
}

/// The state of the thread.
struct Thread {
    path: PathBuf,
    /// None after an error of the file: whatever was half done is undone by a fresh connection.
    connection: Option<Connection>,
    statements: Statements,
}

impl Writer {
    pub(super) fn start(
        path: &Path,
        connection: Connection,
        statements: Statements,
    ) -> std::io::Result<Self> {
        let (sender, inbox) = mpsc::channel(GROUP);
        let mut state = Thread { path: path.to_owned(), connection: Some(connection), statements };
        thread::Builder::new().name("sqlite-writer".into()).spawn(move || state.run(inbox))?;
        Ok(Self(sender))
    }

    pub(super) async fn open(&self, cell: CellId) -> Opened {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Open { cell, reply }).await;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    pub(super) async fn append(&self, batch: Vec<Attempt>) -> Appended {
        let cells = batch.len();
        let (reply, answer) = oneshot::channel();
        self.send(Command::Append { batch, reply }).await;
        answer.await.unwrap_or_else(|_| (0..cells).map(|_| Err(gone().into())).collect())
    }

    pub(super) async fn project(&self, batch: Vec<Projection>) -> Projected {
        let cells = batch.len();
        let (reply, answer) = oneshot::channel();
        self.send(Command::Project { batch, reply }).await;
        answer.await.unwrap_or_else(|_| (0..cells).map(|_| Err(gone().into())).collect())
    }

    pub(super) async fn reseal(&self, cell: CellId, changes: Vec<Resealed>) -> Replaced {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Reseal { cell, changes, reply }).await;
        answer.await.unwrap_or_else(|_| Err(gone().into()))
    }

    pub(super) async fn reseal_rows(
        &self,
        cell: CellId,
        changes: Vec<ResealedRow>,
    ) -> Result<u64, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::ResealRows { cell, changes, reply }).await;
        let replaced = answer.await.unwrap_or_else(|_| Err(gone().into()));
        replaced.map_err(|error| match error {
            ReadError::Unavailable(away) => away,
            unreadable @ ReadError::Unreadable { .. } => Unavailable::new(unreadable),
        })
    }

    async fn send(&self, command: Command) {
        // If the thread is gone the command is dropped, and its caller sees that as no answer.
        let _ = self.0.send(command).await;
    }
}

impl Thread {
    fn run(&mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut group = Vec::with_capacity(GROUP);
        while inbox.blocking_recv_many(&mut group, GROUP) > 0 {
            match self.commit(&group) {
                Ok(answers) => {
                    for (command, answer) in group.drain(..).zip(answers) {
                        command.answer(answer);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "sqlite transaction failed");
                    self.connection = None;
                    let error = Unavailable::new(error);
                    group.drain(..).for_each(|command| command.fail(&error));
                }
            }
        }
    }

    /// All commands in one transaction; an error means that none is known to have happened.
    fn commit(&mut self, group: &[Command]) -> rusqlite::Result<Vec<Answer>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connection::writable(&self.path)?),
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let apply = |command: &Command| command.apply(&transaction, &self.statements);
        let answers = group.iter().map(apply).collect::<rusqlite::Result<_>>()?;
        transaction.commit()?;
        Ok(answers)
    }
}

impl Command {
    fn apply(&self, transaction: &Transaction<'_>, count: &Statements) -> rusqlite::Result<Answer> {
        match self {
            Self::Open { cell, .. } => append::open(transaction, *cell, count).map(Answer::Opened),
            Self::Append { batch, .. } => {
                let appended = batch.iter().map(|one| append::append(transaction, one, count));
                appended.collect::<rusqlite::Result<_>>().map(Answer::Appended)
            }
            Self::Project { batch, .. } => {
                let projected = batch.iter().map(|one| project::project(transaction, one, count));
                projected.collect::<rusqlite::Result<_>>().map(Answer::Projected)
            }
            Self::Reseal { cell, changes, .. } => {
                sealing::reseal(transaction, *cell, changes, count).map(Answer::Replaced)
            }
            Self::ResealRows { cell, changes, .. } => {
                let replaced = sealing::reseal_rows(transaction, *cell, changes, count);
                replaced.map(|rows| Answer::Replaced(Ok(rows)))
            }
        }
    }

    fn answer(self, answer: Answer) {
        // A caller that has left gets no answer: what happened stays happened.
        match (self, answer) {
            (Self::Open { reply, .. }, Answer::Opened(head)) => drop(reply.send(Ok(head))),
            (Self::Append { reply, .. }, Answer::Appended(all)) => drop(reply.send(all)),
            (Self::Project { reply, .. }, Answer::Projected(all)) => drop(reply.send(all)),
            (Self::Reseal { reply, .. }, Answer::Replaced(all)) => drop(reply.send(all)),
            (Self::ResealRows { reply, .. }, Answer::Replaced(all)) => drop(reply.send(all)),
            // No command is answered with the answer of another.
            (_, _) => {}
        }
    }

    fn fail(self, error: &Unavailable) {
        match self {
            Self::Open { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Append { batch, reply } => {
                drop(reply.send(batch.iter().map(|_| Err(error.clone().into())).collect()));
            }
            Self::Project { batch, reply } => {
                drop(reply.send(batch.iter().map(|_| Err(error.clone().into())).collect()));
            }
            Self::Reseal { reply, .. } | Self::ResealRows { reply, .. } => {
                drop(reply.send(Err(error.clone().into())));
            }
        }
    }
}

fn gone() -> Unavailable {
    Unavailable::new("the sqlite writer has stopped")
}
