//! A worker of your own, in Rust, over HTTP: it registers with an enrollment key and answers tasks. The server runs in
//! this example too, so that there is somebody to talk to.
//!
//! `cargo run --example hello_worker`

use std::time::Duration;

use fleetward::actors::fleet::key::Binding;
use fleetward::plane::{AdminToken, NewEnrollmentKey, NewSubmit, Options};
use fleetward::wire::{Secret, workers::Register};
use fleetward::worker::{HttpTransport, Identity, Worker, WorkerOptions};
use fleetward::{ControlPlane, Outcome, from_fn};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "fwt_a-token-of-your-own";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The server.
    let store = fleetward::store::connect("memory:").await?;
    let admin_token = Some(AdminToken(TOKEN.to_owned()));
    let plane = ControlPlane::start(store, Options { admin_token, ..Options::default() }).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let options = fleetward_gateway::GatewayOptions::default();
    let served =
        tokio::spawn(fleetward_gateway::serve(plane.clone(), listener, options, stop.clone()));

    // Its administrator makes an enrollment key and submits a task.
    let operator = plane.operator(&plane.authenticate(TOKEN)?, None).await?;
    let binding = Binding { auto_approve: true, ..Binding::default() };
    let new = NewEnrollmentKey { name: "hello".into(), binding, ..NewEnrollmentKey::default() };
    let (_, key) = operator.create_key(new).await?;
    let new = NewSubmit { payload: r#"{"name":"Ada"}"#.into(), ..NewSubmit::default() };
    let task = operator.submit(new).await?.task;

    // The worker: on another machine it would be all of the program.
    let folder = tempfile::tempdir()?;
    let register = Register {
        name: "hello".into(),
        enrollment_key: Some(Secret::new(key)),
        ..Register::default()
    };
    let identity =
        Identity::load_or_register(&folder.path().join("identity.json"), &server, register).await?;
    println!("registered as {}", identity.worker_id);
    let hello = from_fn(|task, _cx| async move {
        let name = task.payload.expose()["name"].as_str().unwrap_or("nobody").to_owned();
        println!("task {} in attempt {}", task.run_id, task.attempt);
        Outcome::Completed(format!("Hello, {name}!").into())
    });
    let once = WorkerOptions { once: true, ..WorkerOptions::default() };
    let transport = HttpTransport::of(&identity)?;
    Worker::new(transport, hello, once).run(CancellationToken::new()).await?;

    let done = operator.task_when_closed(task, Duration::from_secs(10)).await?;
    let result = done.result.ok_or("the task has no result")?.open()?;
    println!("result {}", String::from_utf8_lossy(&result));
    stop.cancel();
    served.await??;
    plane.drain(Duration::from_secs(5)).await;
    if result.as_ref() == br#""Hello, Ada!""# { Ok(()) } else { Err("a wrong answer".into()) }
}
