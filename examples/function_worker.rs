//! A worker process of your own that runs a durable function: it joins a server over HTTP with the key in `ENROLLMENT_KEY`. Kill
//! it wherever you like: another one goes on behind the last step that is done, and the ledger has each line once.
//!
//! `cargo run --example function_worker -- SERVER IDENTITY_FILE LEDGER_FILE [PACKING_SECONDS]`, then
//! `fleetward run start --function parcel --input '"lamp"'`

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use fleetward::wire::{Secret, workers::Register};
use fleetward::worker::{
    Ask, HttpTransport, Identity, OrgKeys, SealedTransport, Worker, WorkerOptions,
};
use fleetward::{HandlerError, Handlers, StepContext};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "SERVER IDENTITY_FILE LEDGER_FILE [PACKING_SECONDS]";
    let server = args.next().ok_or(usage)?;
    let identity: PathBuf = args.next().ok_or(usage)?.into();
    let ledger: PathBuf = args.next().ok_or(usage)?.into();
    let packing = Duration::from_secs(args.next().map_or(Ok(0), |text| text.parse())?);
    let parcel = move |item: String, cx: StepContext| {
        let ledger = ledger.clone();
        async move {
            let price: u32 = cx
                .step("charge", || async {
                    note(&ledger, "charged")?;
                    Ok(42)
                })
                .await?;
            cx.step("pack", || async {
                println!("packing {item}, paid with {price}");
                tokio::time::sleep(packing).await;
                note(&ledger, "packed")
            })
            .await?;
            let ask = Ask::new(format!("Send the {item}?")).requester_may_approve();
            cx.approval("send", ask).await?;
            cx.sleep(Duration::from_secs(1)).await?;
            let address: String = cx.wait_signal("address").await?;
            cx.step("send", || async {
                note(&ledger, "sent")?;
                Ok(format!("the {item} is on its way to {address}"))
            })
            .await
        }
    };
    let handlers = Handlers::new().on("parcel", parcel);

    let register = Register {
        name: "parcels".into(),
        enrollment_key: Some(Secret::new(std::env::var("ENROLLMENT_KEY")?)),
        handlers: handlers.names(),
        ..Register::default()
    };
    let identity = Identity::load_or_register(&identity, &server, register).await?;
    let transport = HttpTransport::of(&identity)?;
    let (options, stop) = (WorkerOptions::default(), CancellationToken::new());
    match std::env::var("ORG_KEYS") {
        // `fleetward org key export FILE`: then what it does and asks is encrypted on its way too.
        Ok(file) => {
            let keys = OrgKeys::parse(&std::fs::read_to_string(file)?)?;
            let sealed = SealedTransport::new(transport, keys);
            Worker::new(sealed, handlers, options).run(stop).await?;
        }
        Err(_) => drop(Worker::new(transport, handlers, options).run(stop).await?),
    }
    Ok(())
}

/// Does something out in the world that must not be done twice.
fn note(ledger: &PathBuf, what: &str) -> Result<(), HandlerError> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(ledger)?;
    Ok(writeln!(file, "{what}")?)
}
