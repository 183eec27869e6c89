//! The opener: the last child of the tree. On each of its starts it opens every organisation's cell, so that leases run
//! on and queues move though nobody asks. It is told nothing.

use std::sync::Arc;

use fleetward_runtime::{Actor, Context, Crash, StartError};

use crate::fleet::cell::Cells;
use crate::system::principals::Principals;

/// What the opener starts from.
#[derive(Clone)]
pub(super) struct Args {
    pub(super) cells: Cells,
    pub(super) principals: Arc<Principals>,
}

/// Nothing is sent to it.
#[derive(Debug)]
pub(super) enum Message {}

/// It remembers nothing.
pub(super) struct State;

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, _cx: &mut Context<Message>) -> Result<Self, StartError> {
        for known in args.principals.orgs() {
            args.cells.start(known.org.cell());
        }
        Ok(Self)
    }

    fn handle(&mut self, message: Message, _cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {}
    }
}
