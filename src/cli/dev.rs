//! `fleetward dev`: a server on `./.fleetward` and one local worker, for a developer's machine.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use fleetward_actors::fleet::credentials::operator_token;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::client::Client;
use super::error::Failed;
use super::serve::stop_on_signal;

const FOLDER: &str = ".fleetward";
/// How long a child may take to end by itself.
const END_WITHIN: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(crate) struct DevArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    listen: String,
    /// The command of the local worker.
    #[arg(long, value_name = "CMD", default_value = "cat")]
    exec: String,
}

pub(crate) async fn run(args: DevArgs) -> Result<(), Failed> {
    let folder = Path::new(FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let token = kept_token(&folder.join("admin-token"))?;
    let stop = stop_on_signal()?;
    let url = format!("sqlite://{}", folder.join("fleetward.db").display());
    let (mut server, base) = serve(&url, &args.listen, &token, &[]).await?;
    println!("server      {base}");
    println!("admin token {token}");
    println!("store       {url}");
    println!(
        "try         FLEETWARD_SERVER={base} FLEETWARD_TOKEN={token} fleetward task submit --payload '\"hello\"' --wait"
    );
    let identity = folder.join("worker.json");
    let mut worker = local_worker(&base, &token, &identity, &args.exec).await?;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        if let Some(status) = server.try_wait()? {
            end(&mut worker).await?;
            return Err(Failed::wrong(format!("the server ended: {status}")));
        }
    }
    end(&mut worker).await?;
    end(&mut server).await
}

/// The token of the time before, or a fresh one.
fn kept_token(path: &Path) -> Result<String, Failed> {
    if let Ok(text) = std::fs::read_to_string(path) {
        return Ok(text.trim().to_owned());
    }
    let token = operator_token();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    Ok(token)
}

/// Starts this binary as a server and waits until it listens.
pub(super) async fn serve(
    url: &str,
    listen: &str,
    token: &str,
    extra: &[&str],
) -> Result<(Child, String), Failed> {
    let mut child = this_binary()?
        .args(["serve", "--database-url", url, "--listen", listen])
        .args(extra)
        .env("FLEETWARD_ADMIN_TOKEN", token)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let said = child.stdout.take().ok_or_else(|| Failed::wrong("the server has no output"))?;
    let listening = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(said).lines();
        let base = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        // Whatever it prints later must not block it.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        base
    });
    match listening.await.map_err(Failed::wrong)? {
        Some(base) => Ok((child, base)),
        None => {
            let status = child.wait()?;
            Err(Failed::wrong(format!("the server did not start: {status}")))
        }
    }
}

pub(super) fn this_binary() -> Result<Command, Failed> {
    Ok(Command::new(std::env::current_exe()?))
}

async fn local_worker(
    base: &str,
    token: &str,
    identity: &Path,
    exec: &str,
) -> Result<Child, Failed> {
    let mut command = this_binary()?;
    if !identity.exists() {
        let body = json!({ "name": "dev", "auto_approve": true, "expires_in": 300 });
        let made = Client::of(base, token)?.post("/api/v1/fleet/enrollment-keys", &body).await?;
        command.env("ENROLLMENT_KEY", made["key"].as_str().unwrap_or_default());
    }
    let child = command
        .args(["worker", "run", "--server", base, "--name", "local", "--exec", exec])
        .arg("--identity")
        .arg(identity)
        .stdin(Stdio::null())
        .spawn()?;
    Ok(child)
}

/// Asks a child to end, and makes it.
pub(super) async fn end(child: &mut Child) -> Result<(), Failed> {
    let pid = Pid::from_raw(child.id() as i32);
    if child.try_wait()?.is_none() {
        kill(pid, Signal::SIGTERM).map_err(Failed::wrong)?;
    }
    let deadline = tokio::time::Instant::now() + END_WITHIN;
    while child.try_wait()?.is_none() {
        if tokio::time::Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
