//! `fleetward.toml`, the environment and flags.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::fixture::*;

const FILE: &str = r#"
database_url = "memory:"
listen = "127.0.0.1:0"
lease_seconds = 31
start_lease_seconds = 12
heartbeat_seconds = 2.5
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = folder(FILE);

    let of_the_file = lease(serve(folder.path())).await;
    let mut with_environment = serve(folder.path());
    with_environment.env("FLEETWARD_LEASE_SECONDS", "32");
    let of_the_environment = lease(with_environment).await;
    let mut with_flag = serve(folder.path());
    with_flag.env("FLEETWARD_LEASE_SECONDS", "32").args(["--lease-seconds", "33"]);
    let of_the_flag = lease(with_flag).await;

    assert_eq!((of_the_file, of_the_environment, of_the_flag), (31.0, 32.0, 33.0));
}

#[test]
fn setting_that_does_not_exist_is_refused_by_name() {
    let folder = folder("lease_secnods = 31\n");

    let ended = serve(folder.path()).output().unwrap();

    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("lease_secnods"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_runs_on_as_many_threads_as_it_is_told() {
    let folder = folder(&format!("{FILE}threads = 3\n"));
    let none = serve(folder.path()).args(["--threads", "0"]).output().unwrap();
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(none.status.code() == Some(2) && said.contains("1..=512"), "{said}");

    let (_process, base, _log) = listen(serve(folder.path()));
    let metrics = reqwest::get(format!("{base}/metrics")).await.unwrap().text().await.unwrap();

    assert!(metrics.contains("\nfleetward_threads 3\n"), "{metrics}");
}

fn folder(settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fleetward.toml"), settings).unwrap();
    folder
}

fn serve(folder: &Path) -> Command {
    let mut command = fleetward();
    command.arg("serve").current_dir(folder).env("FLEETWARD_ADMIN_TOKEN", ADMIN);
    command
}

/// The lease that a worker is told when it joins.
async fn lease(server: Command) -> f64 {
    let (_process, base, _log) = listen(server);
    let client = Client::of(&base);
    let key = client.key(1).await;
    let joined = client.post("/api/v1/fleet/register", json!({"enrollment_key": key})).await;
    assert_eq!(joined["heartbeat_seconds"], 2.5, "what only the file says holds");
    joined["lease_seconds"].as_f64().unwrap()
}
