//! Mutual TLS with the small authority: one story from `ca init` to a revoked worker, with real processes on both stores.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_is_let_in_renewed_and_revoked_by_its_certificate_on_sqlite() {
    tokio::task::block_in_place(|| Story::new(&Place::sqlite().url()).play());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_is_let_in_renewed_and_revoked_by_its_certificate_on_postgres() {
    let place = Place::postgres().await;
    tokio::task::block_in_place(|| Story::new(&place.url()).play());
}

struct Story {
    folder: tempfile::TempDir,
    pin: String,
    server: Server,
}

impl Story {
    /// An authority, certificates of everybody, and a server that wants one of each client.
    fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let made = said(&ca(at, &["init"]));
        for issue in [
            &["server", "localhost", "127.0.0.1"][..],
            &["worker", "w1"],
            &["worker", "w2"],
            &["operator", "ops"],
        ] {
            said(&ca(at, &[&["issue"], issue, &["--out", "."]].concat()));
        }
        let path = |name: &str| at.join(name).to_str().unwrap().to_owned();
        let (cert, key, client_ca, crl) =
            (path("server.pem"), path("server-key.pem"), path("ca/ca.pem"), path("ca/crl.pem"));
        let files =
            ["--tls-cert", &cert, "--tls-key", &key, "--client-ca", &client_ca, "--crl", &crl];
        let terms =
            ["--heartbeat-seconds", "1", "--lease-seconds", "6", "--start-lease-seconds", "3"];
        let server = Server::start_with(url, &[&files[..], &terms[..]].concat());
        let pin = made["pin"].as_str().unwrap().to_owned();
        Self { folder, pin, server }
    }

    fn play(mut self) {
        let at = self.folder.path().to_owned();
        let key = said(&self.ops(&["key", "create", "--name", "k", "--auto-approve"]));
        let key = key["key"].as_str().unwrap().to_owned();
        let (mut worker, log) = self.worker("w1", "w1", &self.pin, &key);
        log.until("registered");
        assert_eq!(self.task()["status"], "completed");

        // Another machine got hold of the worker's identity, but not of its certificate.
        std::fs::copy(at.join("w1.json"), at.join("w2.json")).unwrap();
        let (mut thief, complaint) = self.worker("w2", "w2", &self.pin, &key);
        complaint.until("another client certificate");
        assert_eq!(thief.wait(), Some(2));
        // A machine that waits for another server than it finds.
        let wrong = format!("sha256:{}", "0".repeat(64));
        let (mut careful, complaint) = self.worker("w3", "w2", &wrong, &key);
        complaint.until("is pinned");
        assert_eq!(careful.wait(), Some(2));
        let nobody = self.command().args(["task", "list"]).output().unwrap();
        assert_eq!(nobody.status.code(), Some(3), "no certificate: {nobody:?}");

        // Renewed in place: the next handshakes show and use the new ones.
        let before = std::fs::read(at.join("w1.pem")).unwrap();
        for file in ["w1.pem", "server.pem"] {
            said(&ca(&at, &["renew", file, "--hours", "48"]));
        }
        assert_ne!(std::fs::read(at.join("w1.pem")).unwrap(), before);
        self.server.crash_and_restart();
        log.until("certificate read again");
        assert_eq!(self.task()["status"], "completed");

        let revoked = said(&ca(&at, &["revoke", "w1.pem"]));
        assert_eq!(revoked["subject"], "fleetward://org/default/worker/w1");
        let closed = self.server.log.until("not believed any more");
        assert!(closed.contains("worker/w1"), "{closed}");
        self.server.log.until("Revoked");
        log.until("no heartbeat");
        let listed = said(&ca(&at, &["list"]));
        let of_w1 = |row: &&Value| row["subject"].as_str().unwrap().ends_with("/w1");
        let rows = listed["certificates"].as_array().unwrap().iter().filter(of_w1);
        let revoked: Vec<_> = rows.map(|row| !row["revoked_at"].is_null()).collect();
        assert_eq!(revoked, [true, true], "the renewed one, and the one before with the same key");
        worker.kill9();
    }

    /// A verb as somebody without a certificate.
    fn command(&self) -> std::process::Command {
        let mut command = fleetward();
        command
            .current_dir(self.folder.path())
            .env("FLEETWARD_SERVER", &self.server.base)
            .env("FLEETWARD_TOKEN", ADMIN)
            .env("FLEETWARD_CA_PIN", &self.pin);
        command
    }

    /// A verb as an operator with one.
    fn ops(&self, args: &[&str]) -> Output {
        let shown = ["--cert", "ops.pem", "--cert-key", "ops-key.pem", "--output", "json"];
        self.command().args(args).args(shown).output().unwrap()
    }

    fn task(&self) -> Value {
        said(&self.ops(&["task", "submit", "--payload", "1", "--wait"]))
    }

    fn worker(&self, name: &str, paper: &str, pin: &str, key: &str) -> (Process, Lines) {
        let mut child = self
            .command()
            .args(["worker", "run", "--name", name, "--exec", "cat"])
            .args(["--identity", &format!("{name}.json"), "--ca-pin", pin])
            .args(["--tls-cert", &format!("{paper}.pem"), "--tls-key", &format!("{paper}-key.pem")])
            .env("ENROLLMENT_KEY", key)
            .env("FLEETWARD_LOG", "warn,fleetward=info,fleetward_worker=info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Lines::of(name, child.stderr.take().unwrap());
        (Process(child), log)
    }
}

fn ca(folder: &Path, args: &[&str]) -> Output {
    let args = [&["ca"], args, &["--output", "json"]].concat();
    fleetward().current_dir(folder).args(args).output().unwrap()
}
