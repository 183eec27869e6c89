//! What is secret is not in the store, and opens with the right master key alone.

use serde_json::json;

use crate::fixture::*;

/// Stands in every secret of the story.
const CANARY: &str = "canary-7f3a9c";

/// One seat's command: it says how far it is, and answers with the payload.
const ECHO: &str = "cat";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_holds_no_payload_and_no_result() {
    let place = Place::sqlite();
    let Place::Sqlite(folder) = &place else { unreachable!() };
    let mut server = Server::start(&place.url());
    let client = server.client();
    let key = client.key(1).await;
    let keys = tempfile::tempdir().unwrap();
    let worker = WorkerProcess {
        server: &server.base,
        key: &key,
        folder: keys.path(),
        name: "w",
        seats: 1,
        exec: ECHO,
    };
    let (_worker, _log) = worker.start();

    let submitted =
        client.post("/api/v1/fleet/tasks", json!({"payload": {"secret": CANARY}})).await;
    let result = client.result(submitted["run_id"].as_str().unwrap()).await;
    assert!(result["output"].as_str().unwrap().contains(CANARY), "{result}");

    server.process.kill9();
    let mut looked_at = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let found = bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes());
        assert!(!found, "a file of the store holds a payload");
        looked_at += bytes.len();
    }
    assert!(looked_at > 10_000, "something was looked at");
    let shown = fleetward().args(["journal", "cat", "--database-url", &place.url()]).output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    assert!(shown.contains("task.completed") && !shown.contains(CANARY), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_values_are_opened_on_the_record_or_by_hand_on_sqlite() {
    unsealed(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_values_are_opened_on_the_record_or_by_hand_on_postgres() {
    unsealed(Place::postgres().await).await;
}

async fn unsealed(place: Place) {
    let mut server = Server::start(&place.url());
    let client = server.client();
    client.post("/api/v1/fleet/tasks", json!({"payload": {"secret": CANARY}})).await;
    let cat = |args: &[&str]| {
        let output = run(&server.base, &[&["journal", "cat", "--unseal"], args].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };

    let (code, shown) = cat(&[]);
    assert!(code == Some(0) && shown.contains(&format!(r#": {{"secret":"{CANARY}"}}"#)), "{shown}");
    let reads = client.get("/api/v1/fleet/audit?type=payload.read").await;
    assert_eq!(reads["total"], 1, "{reads}");
    server.process.kill9();
    let (code, refused) = cat(&["--database-url", &place.url()]);
    assert!(code == Some(3) && refused.contains("--offline"), "{refused}");
    let (code, shown) = cat(&["--offline", "--database-url", &place.url()]);
    assert!(code == Some(0) && shown.contains(CANARY), "{shown}");
    assert!(shown.contains("on no record") && shown.contains("payload.read"), "{shown}");
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other").to_str().unwrap().to_owned();
    assert!(fleetward().args(["master-key", "new", &other]).status().unwrap().success());
    let (code, refused) =
        cat(&["--offline", "--database-url", &place.url(), "--master-key-file", &other]);
    assert!(code == Some(2) && !refused.contains("task.submitted"), "{refused}");
}

#[test]
fn server_starts_with_the_master_key_of_its_store_alone() {
    let (place, folder) = (Place::sqlite(), tempfile::tempdir().unwrap());
    Server::start(&place.url()).process.kill9();
    let other = folder.path().join("other");
    let made = fleetward().args(["master-key", "new"]).arg(&other).output().unwrap();
    assert!(made.status.success());

    let url = place.url();
    let serve = || {
        let mut command = fleetward();
        command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", &url]);
        command
    };
    let table = [
        (serve().env_remove("FLEETWARD_MASTER_KEY_FILE").output(), "needs a master key"),
        (serve().arg("--master-key-file").arg(&other).output(), "is not the one"),
        (serve().arg("--master-key-file").arg(folder.path()).output(), "directory"),
        (fleetward().args(["master-key", "new"]).arg(&other).output(), "exists"),
    ];
    for (output, expected) in table {
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn master_key_is_rotated_with_the_server_stopped_on_sqlite() {
    rotated(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn master_key_is_rotated_with_the_server_stopped_on_postgres() {
    rotated(Place::postgres().await).await;
}

async fn rotated(place: Place) {
    let (folder, url) = (tempfile::tempdir().unwrap(), place.url());
    let mut server = Server::start(&url);
    let task = server.client().submit("one", &json!({"secret": CANARY})).await;
    assert!(run(&server.base, &["signing-key", "add"]).status.success());
    server.process.kill9();
    let new = folder.path().join("new").to_str().unwrap().to_owned();
    let rotate = || {
        let args = ["master-key", "rotate", "--database-url", &url, "--new", &new];
        let output = fleetward().args(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };

    let (code, said) = rotate();
    assert!(code == Some(0) && said.contains("values are sealed with"), "{said}");
    let (code, said) = rotate();
    assert!(code == Some(0) && said.contains("already"), "{said}");

    let old =
        fleetward().args(["serve", "--listen", "127.0.0.1:0", "--database-url", &url]).output();
    let old = old.unwrap();
    assert_eq!(old.status.code(), Some(2), "the old key is none any more");
    assert!(String::from_utf8_lossy(&old.stderr).contains("is not the one"));
    let server = Server::start_with(&url, &["--master-key-file", &new]);
    let shown = run(&server.base, &["journal", "cat", "--unseal"]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains(CANARY));
    let client = server.client();
    let record = client.get("/api/v1/system/audit?type=master_key.rotated").await;
    assert_eq!(record["total"], 1, "{record}");
    client.post(&format!("/api/v1/fleet/tasks/{task}/cancel"), json!({})).await;
    let export = folder.path().join("export").to_str().unwrap().to_owned();
    assert!(run(&server.base, &["audit", "export", "--system", &export]).status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_with_the_organisations_key_gets_and_says_nothing_in_plaintext() {
    let place = Place::sqlite();
    let server = Server::start(&place.url());
    let (client, folder) = (server.client(), tempfile::tempdir().unwrap());
    let keys = folder.path().join("org.keys");
    let file = keys.to_str().unwrap();
    assert!(run(&server.base, &["org", "key", "export", file]).status.success());
    let submitted =
        client.post("/api/v1/fleet/tasks", json!({"payload": {"secret": CANARY}})).await;
    let task = submitted["run_id"].as_str().unwrap();

    // As a worker of another make: it gets a token, and plaintext is refused as an answer to nothing.
    let joined = {
        let key = client.key(2).await;
        let body = json!({"name": "raw", "enrollment_key": key, "max_concurrent": 2});
        (client.post("/api/v1/fleet/register", body).await, key)
    };
    let claim = async |body: serde_json::Value| {
        let sent = reqwest::Client::new()
            .post(format!("{}/api/v1/fleet/claim", server.base))
            .header("X-Worker-Id", joined.0["worker_id"].as_str().unwrap())
            .header("X-Worker-Secret", joined.0["worker_secret"].as_str().unwrap());
        let answer = sent.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, said) = claim(json!({"poll_timeout": 5, "org_keys": [9]})).await;
    assert!(status == 409 && said.contains("org_keys_outdated"), "{status} {said}");
    let (status, said) = claim(json!({"poll_timeout": 5, "org_keys": [1]})).await;
    assert_eq!(status, 200);
    assert!(said.contains("payload_sealed") && !said.contains(CANARY), "{said}");
    let claimed: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&claimed["payload"], &claimed["payload_sealed"]["key"]), (&json!(null), &json!(1)));
    let back = json!({"run_id": task, "attempt": 1, "claim_token": claimed["claim_token"], "reason": "not mine"});
    let released = reqwest::Client::new()
        .post(format!("{}/api/v1/fleet/tasks/{task}/release", server.base))
        .header("X-Worker-Id", joined.0["worker_id"].as_str().unwrap())
        .header("X-Worker-Secret", joined.0["worker_secret"].as_str().unwrap());
    assert!(released.json(&back).send().await.unwrap().status().is_success());

    let _worker = {
        let mut command = fleetward();
        command.args(["worker", "run", "--server", &server.base, "--name", "w", "--exec", ECHO]);
        command.args(["--org-key-file", file, "--identity"]).arg(folder.path().join("w.json"));
        Process(command.env("ENROLLMENT_KEY", &joined.1).spawn().unwrap())
    };
    let result = client.result(task).await;
    assert_eq!((&result["status"], &result["attempt"]), (&json!("completed"), &json!(2)));
    assert!(result["output"].as_str().unwrap().contains(CANARY), "{result}");
}
