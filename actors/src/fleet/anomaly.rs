//! The anomaly detector of one organisation. It asks the dispatcher once a minute what was counted, is told by it of
//! reports that matter at once, and tells the registry what is suspicious: it raises suspicion and never acts by itself.
//!
//! It owns no events. A crash restarts it alone, with empty windows.

pub mod baseline;
pub mod rules;
pub mod window;

use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Address, CallError, Context, Crash, Moment, StartError, Timer};

use super::credentials::Credentials;
use super::suspicion::Thresholds;
use super::{dispatcher, registry};
use crate::config::Config;
use crate::id::WorkerId;
use crate::journal::Outage;
use rules::{Account, Look, Observation, Seen, Watches};

/// How long the dispatcher may take to say what it counted; the next look asks again.
const CENSUS_WITHIN: Duration = Duration::from_secs(10);

/// What a detector starts from.
#[derive(Clone)]
pub struct Args {
    /// Counts.
    pub dispatcher: Address<dispatcher::Message>,
    /// Decides.
    pub registry: Address<registry::Message>,
    /// What requests leave behind.
    pub credentials: Arc<Credentials>,
    /// While the store is away nobody is silent.
    pub outage: Arc<Outage>,
    /// How often to look, and how often heartbeats are due.
    pub config: Arc<Config>,
}

/// What the dispatcher counted.
#[derive(Debug, Clone)]
pub struct Census {
    /// Everyone who may work.
    pub accounts: Vec<Account>,
    /// Tasks that failed for good, since the dispatcher started.
    pub dead: u64,
    /// Nobody has asked before since it started.
    pub first: bool,
    /// From where on something is suspicious.
    pub thresholds: Thresholds,
}

/// What the detector saw at one look: a state, harmless to repeat.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Those that were looked at.
    pub observations: Vec<Observation>,
    /// Tasks that failed for good within the window, and whether they are too many; none: not looked at.
    pub dead_letters: Option<(u32, bool)>,
    /// How long the window is, in seconds.
    pub window_s: u64,
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// Timer: look at everyone.
    SweepDue,
    /// The dispatcher answered.
    Counted {
        /// What it counted.
        census: Result<Census, CallError>,
    },
    /// From the dispatcher: reports that may be suspicious came from these.
    Noticed {
        /// What was counted of them.
        accounts: Vec<Account>,
        /// From where on something is suspicious.
        thresholds: Box<Thresholds>,
    },
    /// From the registry: an administrator says that what was seen of this worker means nothing.
    Forget {
        /// Who.
        worker: WorkerId,
    },
}

/// The detector's memory.
pub struct State {
    args: Args,
    watches: Watches,
    /// Silence from before this says nothing.
    fair_since: Moment,
    sweep: (Moment, Timer),
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        let fair_since = cx.clock().now();
        let sweep = next_sweep(&args, cx);
        Ok(Self { args, watches: Watches::default(), fair_since, sweep })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::SweepDue => self.ask(cx),
            Message::Counted { census } => match census {
                Ok(census) => self.sweep(census, cx),
                Err(error) => tracing::debug!(%error, "the dispatcher did not say what it counted"),
            },
            Message::Noticed { accounts, thresholds } => self.notice(&accounts, &thresholds, cx),
            Message::Forget { worker } => self.watches.forget(worker),
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::SweepDue => "SweepDue",
            Message::Counted { .. } => "Counted",
            Message::Noticed { .. } => "Noticed",
            Message::Forget { .. } => "Forget",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "watched": self.watches.len() })
    }
}

impl State {
    fn ask(&mut self, cx: &Context<Message>) {
        let now = cx.clock().now();
        // Nobody is silent because the server itself slept.
        if now - self.sweep.0 > self.args.config.heartbeat {
            self.fair_since = now;
        }
        self.sweep = next_sweep(&self.args, cx);
        let dispatcher = self.args.dispatcher.clone();
        let census = async move {
            dispatcher.call(CENSUS_WITHIN, |reply| dispatcher::Message::Census { reply }).await
        };
        cx.spawn(census, |census| Message::Counted { census });
    }

    fn sweep(&mut self, census: Census, cx: &Context<Message>) {
        let Census { accounts, dead, first, thresholds } = census;
        if !thresholds.enabled || self.args.outage.is_down() {
            self.watches = Watches::default();
            return;
        }
        let seen = |account: Account| {
            let Some(known) = self.args.credentials.get(account.worker) else {
                return Seen { account, beaten: 0, back: 0, left: false, calls: 0 };
            };
            let (pulse, presence) = (&known.pulse, &known.presence);
            let (beaten, calls) = (pulse.beaten(), pulse.calls());
            Seen { account, beaten, back: presence.back(), left: presence.left().is_some(), calls }
        };
        let mut seen: Vec<_> = accounts.into_iter().map(seen).collect();
        // Always in one order: what is done within a limit must not hang on chance.
        seen.sort_unstable_by_key(|seen| seen.account.worker);
        let look = Look { first, ..self.look(&thresholds, cx) };
        let observations = self.watches.sweep(&seen, &look);
        let dead_letters = Some(self.watches.dead_letters(dead, &look));
        self.tell(observations, dead_letters);
    }

    fn notice(&mut self, accounts: &[Account], thresholds: &Thresholds, cx: &Context<Message>) {
        if !thresholds.enabled {
            return;
        }
        let found = self.watches.notice(accounts, &self.look(thresholds, cx));
        let observations = found.into_iter().map(|(worker, findings)| Observation {
            worker,
            findings,
            deaf: None,
            mute: None,
            polling: false,
            beating: false,
        });
        let observations: Vec<_> = observations.collect();
        if !observations.is_empty() {
            self.tell(observations, None);
        }
    }

    fn tell(&self, observations: Vec<Observation>, dead_letters: Option<(u32, bool)>) {
        let window_s = self.args.config.sweep.as_secs() * window::LOOKS as u64;
        let sighting = Box::new(Sighting { observations, dead_letters, window_s });
        // A registry between two lives is told by the next look.
        let _ = self.args.registry.send(registry::Message::Sighted { sighting });
    }

    fn look<'a>(&self, thresholds: &'a Thresholds, cx: &Context<Message>) -> Look<'a> {
        let clock = cx.clock();
        let up_since = self.args.outage.up_since();
        let fair_since = up_since.map_or(self.fair_since, |up| up.max(self.fair_since));
        let now = clock.wall_us();
        Look {
            now,
            fair_since: now - micros(clock.now() - fair_since),
            heartbeat: micros(self.args.config.heartbeat).max(1),
            every: micros(self.args.config.sweep).max(1),
            first: false,
            thresholds,
        }
    }
}

fn next_sweep(args: &Args, cx: &Context<Message>) -> (Moment, Timer) {
    let at = cx.clock().now() + args.config.sweep;
    (at, cx.at(at, Message::SweepDue))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 100)
}
