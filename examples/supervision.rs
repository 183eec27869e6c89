//! A shop with two tills: a crash, a restart, too many crashes, and closing time.
//!
//! Run it with `cargo run --example supervision`. It exits non-zero if anything goes otherwise than
//! it should.

use std::process::ExitCode;
use std::time::Duration;

use fleetward_runtime::{
    Actor, Address, Budget, CallError, ChildSpec, Context, Crash, Options, Reply, StartError,
    Strategy, SupervisorSpec, System,
};
use tokio::sync::mpsc;

/// How long anybody waits for anything here.
const PATIENCE: Duration = Duration::from_secs(5);

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// What a till can be told.
enum Message {
    /// By the till itself, when it starts.
    SwitchedOn,
    /// By a customer.
    Pay { cents: u64, reply: Reply<u64> },
    /// By a clumsy one.
    SpillCoffee,
}

/// Adds up what was paid since it was switched on.
struct Till {
    takings: u64,
    on: mpsc::Sender<u64>,
}

impl Actor for Till {
    /// Who wants to know that it is on, and in which life.
    type Args = mpsc::Sender<u64>;
    type Message = Message;

    async fn start(on: Self::Args, cx: &mut Context<Message>) -> Result<Self, StartError> {
        // Nobody can reach it yet; this will be the first message that it handles.
        cx.send(Message::SwitchedOn);
        Ok(Self { takings: 0, on })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::SwitchedOn => {
                println!("  {} is switched on, life {}", cx.name(), cx.life());
                self.on.try_send(cx.life()).map_err(Crash::new)
            }
            Message::Pay { cents, reply } => {
                self.takings += cents;
                reply.send(self.takings);
                Ok(())
            }
            Message::SpillCoffee => Err(Crash::new("coffee in the drawer")),
        }
    }

    fn stopped(&mut self, cx: &mut Context<Message>) {
        println!("  {} closes with {} cents", cx.name(), self.takings);
    }
}

/// A till as the rest of the shop sees it.
struct Counter {
    till: Address<Message>,
    switched_on: mpsc::Receiver<u64>,
    spec: ChildSpec,
}

impl Counter {
    fn new(name: &str) -> Self {
        let (on, switched_on) = mpsc::channel(8);
        let till = Address::new(name);
        let spec = ChildSpec::actor::<Till>(name, till.clone(), on);
        Self { till, switched_on, spec }
    }

    async fn pay(&self, cents: u64) -> Result<u64, CallError> {
        self.till.call(PATIENCE, |reply| Message::Pay { cents, reply }).await
    }

    /// Waits until it was switched on once more, and tells in which life it is.
    async fn life(&mut self) -> Outcome<u64> {
        let life = tokio::time::timeout(PATIENCE, self.switched_on.recv()).await?;
        life.ok_or_else(|| "the till is gone".into())
    }
}

async fn open(name: &str, counters: [&Counter; 2]) -> Outcome<System> {
    let budget = Budget { restarts: 2, within: Duration::from_secs(60) };
    let spec = SupervisorSpec::new(Strategy::OneForOne).budget(budget);
    let spec = counters.iter().fold(spec, |spec, counter| spec.child(counter.spec.clone()));
    Ok(System::start(name, spec, Options::default()).await?)
}

/// One till crashes; what was queued there is lost, and the other till notices nothing.
async fn crash(first: &mut Counter, second: &Counter) -> Outcome {
    first.pay(250).await?;
    second.pay(400).await?;

    first.till.send(Message::SpillCoffee)?;
    let behind = first.pay(100).await;
    println!("  the payment behind the coffee: {behind:?}");
    check(matches!(behind, Err(CallError::Lost | CallError::Unavailable)), "it is not taken")?;

    check(first.life().await? == 2, "the till has a second life")?;
    check(second.pay(100).await? == 500, "the other till has kept its takings")
}

/// Three crashes where two restarts are allowed.
async fn ruin(kiosk: &System, counter: &mut Counter) -> Outcome {
    for life in 1..=3 {
        check(counter.life().await? == life, "the till is switched on again")?;
        counter.till.send(Message::SpillCoffee)?;
    }
    let reason = tokio::time::timeout(PATIENCE, kiosk.ended()).await?;
    println!("  the kiosk gives up: {reason}");
    check(reason.contains("coffee in the drawer"), "the reason is the coffee")
}

/// Everything that was sent before closing time is still taken.
async fn close(shop: &System, counter: &Counter) -> Outcome {
    for _ in 0..100 {
        let (reply, _nobody_waits) = Reply::channel();
        counter.till.send(Message::Pay { cents: 1, reply })?;
    }
    let drained = shop.drain(PATIENCE).await;
    check(drained.is_clean(), "nobody is cut off")?;
    check(shop.alive() == 0, "nobody is left")?;
    check(counter.pay(1).await == Err(CallError::Unavailable), "a closed shop takes nothing")
}

fn check(holds: bool, claim: &str) -> Outcome {
    println!("  {claim}: {}", if holds { "yes" } else { "NO" });
    if holds { Ok(()) } else { Err(claim.into()) }
}

async fn story() -> Outcome {
    println!("A crash, and a restart");
    let (mut first, second) = (Counter::new("till-1"), Counter::new("till-2"));
    let shop = open("shop", [&first, &second]).await?;
    check(first.life().await? == 1, "the till is on")?;
    crash(&mut first, &second).await?;

    println!("Too many crashes");
    let (mut third, fourth) = (Counter::new("till-3"), Counter::new("till-4"));
    let kiosk = open("kiosk", [&third, &fourth]).await?;
    ruin(&kiosk, &mut third).await?;

    println!("Closing time");
    close(&shop, &second).await
}

#[tokio::main]
async fn main() -> ExitCode {
    match story().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("this should not have happened: {error}");
            ExitCode::FAILURE
        }
    }
}
