//! An actor that does what it is told and writes down what becomes of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{
    Actor, Address, ChildSpec, Context, Crash, Moment, Reply, StartError, Timer,
};
use parking_lot::Mutex;

/// What happened, in order, over all probes that share it.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    /// What was added since the last time, one line each.
    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock()).join("\n")
    }
}

/// How the coming starts go; then all succeed.
pub(crate) type Starts = Arc<Mutex<VecDeque<Start>>>;

pub(crate) enum Start {
    Fail,
    Panic,
    Away,
    Halt,
    /// Succeeds after this much time.
    Slow(Duration),
    /// Says something to itself, then succeeds after this much time.
    Talking(&'static str, Duration),
    /// Says something to itself, asks for its own end, and succeeds.
    Leaving(&'static str),
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) name: String,
    pub(crate) log: Log,
    pub(crate) starts: Starts,
}

#[derive(Debug)]
pub(crate) enum Message {
    Say(&'static str),
    Crash,
    Panic,
    Stop,
    Echo { text: &'static str, reply: Reply<String> },
    Keep { reply: Reply<String> },
    After { wait: Duration, text: &'static str },
    At { moment: Moment, text: &'static str },
    Cancel,
    Spawn { wait: Duration, text: &'static str },
    SpawnPanic,
}

/// Writes down when the life is really over.
struct Last {
    name: String,
    log: Log,
}

impl Drop for Last {
    fn drop(&mut self) {
        self.log.add(format!("{} ended", self.name));
    }
}

pub(crate) struct Probe {
    last: Last,
    kept: Vec<Reply<String>>,
    timers: Vec<Timer>,
}

impl Actor for Probe {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let next = args.starts.lock().pop_front();
        match next {
            None => {}
            Some(Start::Fail) => return Err(StartError::Failed("told to".to_owned())),
            Some(Start::Panic) => panic!("told to"),
            Some(Start::Away) => return Err(StartError::Unavailable("told to".to_owned())),
            Some(Start::Halt) => return Err(StartError::Halt("told to".to_owned())),
            Some(Start::Slow(wait)) => cx.clock().sleep(wait).await,
            Some(Start::Talking(text, wait)) => {
                cx.send(Message::Say(text));
                cx.clock().sleep(wait).await;
            }
            Some(Start::Leaving(text)) => {
                cx.send(Message::Say(text));
                cx.stop();
            }
        }
        args.log.add(format!("{} started, life {}", args.name, cx.life()));
        let last = Last { name: args.name, log: args.log };
        Ok(Self { last, kept: Vec::new(), timers: Vec::new() })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::Say(text) => self.say(text),
            Message::Crash => return Err(Crash::new("told to")),
            Message::Panic => panic!("told to"),
            Message::Stop => cx.stop(),
            Message::Echo { text, reply } => reply.send(text.to_owned()),
            Message::Keep { reply } => self.kept.push(reply),
            Message::After { wait, text } => self.timers.push(cx.after(wait, Message::Say(text))),
            Message::At { moment, text } => self.timers.push(cx.at(moment, Message::Say(text))),
            Message::Cancel => self.timers.drain(..).for_each(Timer::cancel),
            Message::Spawn { wait, text } => {
                cx.spawn(tokio::time::sleep(wait), move |()| Message::Say(text));
            }
            Message::SpawnPanic => cx.spawn(async { panic!("told to") }, |()| Message::Stop),
        }
        Ok(())
    }

    fn stopped(&mut self, _cx: &mut Context<Message>) {
        self.say("is stopped");
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::Say(_) => "Say",
            Message::Echo { .. } => "Echo",
            _ => "other",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "kept": self.kept.len() })
    }
}

impl Probe {
    fn say(&self, text: &str) {
        self.last.log.add(format!("{} {text}", self.last.name));
    }
}

/// A probe that is to be put into a tree, and the strings to it.
#[derive(Clone)]
pub(crate) struct Puppet {
    pub(crate) address: Address<Message>,
    pub(crate) args: Args,
}

impl Puppet {
    pub(crate) fn new(name: &str, log: &Log) -> Self {
        let (name, log) = (name.to_owned(), log.clone());
        let address = Address::new(name.as_str());
        Self { address, args: Args { name, log, starts: Starts::default() } }
    }

    /// How the coming starts are to go.
    pub(crate) fn will(&self, starts: impl IntoIterator<Item = Start>) {
        self.args.starts.lock().extend(starts);
    }

    pub(crate) fn spec(&self) -> ChildSpec {
        let name = self.args.name.as_str();
        ChildSpec::actor::<Probe>(name, self.address.clone(), self.args.clone())
    }

    pub(crate) fn send(&self, message: Message) {
        self.address.send(message).expect("the probe is alive");
    }
}
