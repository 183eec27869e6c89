//! The record, taken out of the server and checked without it, on both stores.

use serde_json::json;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_is_exported_and_verified_on_sqlite() {
    let place = Place::sqlite();
    story(&place).await;
    tampering_is_named(&place.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_is_exported_and_verified_on_postgres() {
    story(&Place::postgres().await).await;
}

/// Runs `fleetward audit`; says whether it succeeded, and everything that it printed.
fn audit(server: &str, args: &[&str]) -> (bool, String) {
    let output = run(server, &[&["audit"], args].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn good(server: &str, args: &[&str]) -> String {
    let (succeeded, text) = audit(server, args);
    assert!(succeeded, "{args:?}: {text}");
    text
}

fn wrong(server: &str, args: &[&str]) -> String {
    let (succeeded, text) = audit(server, args);
    assert!(!succeeded, "{args:?}: {text}");
    text
}

async fn story(place: &Place) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut server = Server::start(&place.url());
    let client = server.client();
    let base = server.base.clone();
    for n in 0..3 {
        client.submit(&format!("k{n}"), &json!({"secret": "hush"})).await;
    }
    std::fs::write(path("head"), good(&base, &["head"])).unwrap();
    std::fs::write(path("key"), good(&base, &["key"])).unwrap();
    client.submit("k9", &json!(9)).await;
    // Another key signs from now on; the file with the keys has both.
    good(&base, &["rotate-key"]);
    std::fs::write(path("keys"), good(&base, &["key"])).unwrap();

    let said = good(&base, &["export", &path("export")]);
    server.crash_and_restart();
    good(&base, &["export", "--system", &path("system")]);
    server.process.kill9();
    let (export, key, head) = (path("export"), path("keys"), path("head"));
    let early = wrong(&base, &["verify", &export, "--key", &path("key")]);
    assert!(early.contains("signed by the key"), "{early}");

    let held = good(&base, &["verify", &export, "--key", &key, "--since-head", &head]);
    assert!(said.contains(" events up to ") && held.contains("1 to "), "{said} {held}");
    good(&base, &["verify", &path("system"), "--key", &key]);
    let text = std::fs::read_to_string(&export).unwrap();
    assert!(
        !text.contains("hush") && text.contains("task.submitted") && text.contains("127.0.0.1")
    );
    let damaged = path("damaged");
    let line = text.lines().position(|line| line.contains("task.submitted")).unwrap() + 1;
    std::fs::write(&damaged, text.replacen(r#""task.submitted""#, r#""task.submittes""#, 1))
        .unwrap();
    let found = wrong(&base, &["verify", &damaged, "--key", &key]);
    assert!(found.contains(&format!("line {line}, event {}", line - 1)), "{found}");
    let cut: Vec<&str> = text.split_inclusive('\n').collect();
    std::fs::write(&damaged, cut[..cut.len() - 1].concat()).unwrap();
    assert!(wrong(&base, &["verify", &damaged]).contains("the end is missing"));
    let found = wrong(&base, &["verify", &path("system"), "--since-head", &head]);
    assert!(found.contains("of another record"), "{found}");
}

/// Somebody who can write to the file changes one digit of the journal.
async fn tampering_is_named(url: &str) {
    let file = url.trim_start_matches("sqlite://");
    let store = rusqlite::Connection::open(file).unwrap();
    let submitted =
        events(url).await.into_iter().find(|stored| &*stored.event.kind == "task.submitted");
    let seq = submitted.unwrap().seq;
    let find = "SELECT rowid, body FROM segments WHERE cell = 1 AND first <= ?1 AND last >= ?1";
    let (row, mut body): (i64, Vec<u8>) =
        store.query_row(find, [seq as i64], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let digest = br#""digest":""#;
    let at = body.windows(digest.len()).position(|bytes| bytes == digest).unwrap() + digest.len();
    body[at] = if body[at] == b'0' { b'1' } else { b'0' };
    store.execute("UPDATE segments SET body = ?1 WHERE rowid = ?2", (body, row)).unwrap();
    drop(store);
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("export").to_str().unwrap().to_owned();
    let server = Server::start(url);

    let found = wrong(&server.base, &["export", &export]);
    let looked = run("", &["doctor", "--database-url", url]);

    assert!(found.contains(&format!("event {seq}:")), "{seq}: {found}");
    let looked = String::from_utf8(looked.stdout).unwrap();
    assert!(looked.contains(&format!("broken at event {seq}")), "{seq}: {looked}");
}
