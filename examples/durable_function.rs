//! A durable function: plain async code that charges, sleeps, asks a person and waits for a signal, and goes on behind a restart
//! of everything without doing anything twice.
//!
//! `cargo run --example durable_function`

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fleetward::actors::seal::MasterKey;
use fleetward::plane::{AdminToken, Options};
use fleetward::worker::{Ask, Retries};
use fleetward::workflow::{RunHandle, Workers};
use fleetward::{ControlPlane, HandlerError, Operator, StepContext, Workflow};
use serde::{Deserialize, Serialize};

const TOKEN: &str = "fwt_a-token-of-your-own";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    item: String,
    price: u32,
}

/// What happens out in the world: how often a card was charged, and how often a parcel was sent.
#[derive(Default)]
struct World {
    tries: AtomicU32,
    charged: AtomicU32,
    sent: AtomicU32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}", folder.path().join("fleet.db").display());
    let (key, world) = (MasterKey::fresh(), Arc::new(World::default()));
    let order = function(&world)?;

    let run = {
        let (plane, operator) = start(&url, &key).await?;
        let worker = Workers::start(&plane, &operator, "w1", 1, order.handlers()).await?;
        let lamp = Order { item: "lamp".to_owned(), price: 42 };
        let handle = order.start(&operator, Some("order-1"), &lamp).await?;
        println!("started {}", handle.id());
        if !handle.gate_opens("ship").await? {
            return Err("nobody was asked".into());
        }
        println!("ok it was charged and asks whether to ship; its worker's only seat is free");
        worker.stop().await;
        plane.drain(Duration::from_secs(5)).await;
        handle.id().clone()
    };
    println!("everything is gone; only {url} is left");

    let (plane, operator) = start(&url, &key).await?;
    let worker = Workers::start(&plane, &operator, "w2", 1, order.handlers()).await?;
    let handle: RunHandle<String> = RunHandle::of(&operator, run);
    handle.approve("ship", Some("paid and in stock")).await?;
    handle.signal("address", &"1 Long Lane").await?;
    let said = handle.result().await?;
    println!("ok it went on with another worker: {said}");

    worker.stop().await;
    plane.drain(Duration::from_secs(5)).await;
    let counts = [&world.charged, &world.sent].map(|count| count.load(Ordering::SeqCst));
    if counts != [1, 1] || said != "the lamp goes to 1 Long Lane, says administrator" {
        return Err(format!("charged and sent {counts:?} times: {said}").into());
    }
    println!("ok the card was charged once, and one parcel was sent");
    Ok(())
}

fn function(
    world: &Arc<World>,
) -> Result<Workflow<Order, String>, fleetward::workflow::InvalidWorkflow> {
    let world = world.clone();
    let run = move |order: Order, cx: StepContext| {
        let world = world.clone();
        async move {
            let Order { item, price } = order;
            // In life the charge is made under a key that is the same on every attempt.
            let _key = format!("{}/charge", cx.idempotency_key());
            let retries = Retries::new(3).delay(Duration::from_millis(100));
            let charge = || async {
                // The first try does not get through.
                if world.tries.fetch_add(1, Ordering::SeqCst) == 0 {
                    return Err(HandlerError::retryable("no connection"));
                }
                world.charged.fetch_add(1, Ordering::SeqCst);
                Ok(price)
            };
            let charged: u32 = cx.step_retried("charge", retries, charge).await?;
            cx.sleep(Duration::from_millis(500)).await?;
            let ask = Ask::new(format!("{item} for {charged}: ship it?")).requester_may_approve();
            let decision = cx.approval("ship", ask).await?;
            let address: String = cx.wait_signal("address").await?;
            cx.step("send", || async {
                world.sent.fetch_add(1, Ordering::SeqCst);
                Ok(format!("the {item} goes to {address}, says {}", decision.by.join(" and ")))
            })
            .await
        }
    };
    Workflow::function("order", run).retries(2).build()
}

async fn start(
    url: &str,
    key: &MasterKey,
) -> Result<(ControlPlane, Operator), Box<dyn std::error::Error>> {
    let store = fleetward::store::connect(url).await?;
    let admin_token = Some(AdminToken(TOKEN.to_owned()));
    let options = Options { admin_token, master_key: Some(key.clone()), ..Options::default() };
    let plane = ControlPlane::start(store, options).await?;
    let operator = plane.operator(&plane.authenticate(TOKEN)?, None).await?;
    Ok((plane, operator))
}
