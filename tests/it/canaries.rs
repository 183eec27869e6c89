//! Nothing secret is found in a dump of the database, in its files, or in the server's log.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::fixture::*;

/// Everything that the server and its libraries can say.
const LOG: &str = "debug,fleetward=trace";
const PAYLOAD: &str = "canary-of-the-payload-5d1a";
const RESULT: &str = "canary-of-the-result-91c3";
const ERROR: &str = "canary-of-the-error-77e0";
const PROGRESS: &str = "canary-of-the-progress-b2f4";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_in_the_files_of_sqlite_or_in_the_log() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_in_a_dump_of_postgres_or_in_the_log() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let master_key = folder.path().join("master-key");
    let made = fleetward().args(["master-key", "new"]).arg(&master_key).output().unwrap();
    assert!(made.status.success());
    let mut command = fleetward();
    command.env("FLEETWARD_MASTER_KEY_FILE", &master_key);
    command.args(["serve", "--database-url", &place.url(), "--listen", "127.0.0.1:0"]);
    command.env("FLEETWARD_ADMIN_TOKEN", ADMIN).env("FLEETWARD_LOG", LOG);
    command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
    let mut server = Process(command.spawn().unwrap());
    let output = Lines::of("server", server.0.stdout.take().unwrap());
    let base = output.until("listening on http://").replace("listening on ", "");
    let mut secrets = plant(&base, folder.path()).await;
    let master_key = std::fs::read_to_string(&master_key).unwrap();
    let bytes = STANDARD.decode(master_key.trim()).or_else(|_| URL_SAFE.decode(master_key.trim()));
    secrets.push(("the master key", hex::encode(bytes.unwrap())));
    secrets.push(("the master key", master_key.trim().to_owned()));

    let while_it_runs = dump(&place).await;
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(), Some(0));
    let after_it = dump(&place).await;

    let log = std::fs::read(&log).unwrap();
    for (name, bytes) in while_it_runs.iter().chain(&after_it).chain([&("the log".to_owned(), log)])
    {
        for (what, secret) in &secrets {
            assert!(!contains(bytes, secret), "{what} is in {name}");
        }
    }
    // It was looked for where it would be: names are not secret.
    let whole: Vec<_> = after_it.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    assert!(contains(&whole, "the-name-of-the-worker"), "the dump is one");
}

/// Gives the server everything that it must not show, and answers what that was.
async fn plant(base: &str, folder: &Path) -> Vec<(&'static str, String)> {
    let client = Client::of(base);
    let key = client.key(1).await;
    let token = json!({"name": "t", "role": "operator"});
    let token = client.post("/api/v1/tokens", token).await["token"].as_str().unwrap().to_owned();
    let exec = format!(
        "echo '::progress 50 {PROGRESS}' >&2; case \"$(cat)\" in *doomed*) echo {ERROR} >&2; exit 1;; esac; echo {RESULT}"
    );
    let name = "the-name-of-the-worker";
    let worker = WorkerProcess { server: base, key: &key, folder, name, seats: 1, exec: &exec };
    let (_worker, _log) = worker.start();
    let task = client.submit("one", &json!(PAYLOAD)).await;
    let doomed = client.submit("two", &json!(format!("doomed {PAYLOAD}"))).await;
    assert_eq!(client.result(&task).await["output"], format!("{RESULT}\n"));
    assert!(client.result(&doomed).await["error"].as_str().unwrap().contains(ERROR));
    let by_token = fleetward()
        .args(["task", "get", &task, "--server", base])
        .env("FLEETWARD_TOKEN", &token)
        .output();
    assert!(by_token.unwrap().status.success());

    let identity = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
    let mut secrets = secrets_of(&serde_json::from_slice(&identity).unwrap());
    assert!(!secrets.is_empty(), "a worker has a secret");
    secrets.extend([("the enrollment key", key), ("an operator's token", token)]);
    secrets.push(("the administrator's token", ADMIN.to_owned()));
    let texts = [PAYLOAD, RESULT, ERROR, PROGRESS];
    secrets.extend(texts.map(|text| ("a text of a task", text.to_owned())));
    secrets
}

/// What the identity of a worker keeps to itself.
fn secrets_of(identity: &Value) -> Vec<(&'static str, String)> {
    let fields = identity.as_object().unwrap().iter();
    let secret = |(name, _): &(&String, &Value)| {
        ["secret", "private", "token"].iter().any(|word| name.contains(word))
    };
    let texts = fields.filter(secret).filter_map(|(_, value)| value.as_str());
    texts.map(|text| ("a secret of the worker", text.to_owned())).collect()
}

/// Every table as text, and the files as they are, where there are some.
async fn dump(place: &Place) -> Vec<(String, Vec<u8>)> {
    match place {
        Place::Sqlite(folder) => {
            let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
            let files =
                files.map(|file| (file.display().to_string(), std::fs::read(file).unwrap()));
            files.chain(sqlite_tables(&folder.path().join("f.db"))).collect()
        }
        Place::Postgres(url) => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
            let tables = sqlx::query(tables).fetch_all(&mut connection).await.unwrap();
            let mut dump = Vec::new();
            for table in tables {
                let table: String = table.get(0);
                let rows = AssertSqlSafe(format!("SELECT t::text FROM \"{table}\" t"));
                let rows = sqlx::query(rows).fetch_all(&mut connection).await.unwrap();
                let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                dump.push((format!("table {table}"), rows.join("\n").into_bytes()));
            }
            dump
        }
    }
}

/// Every value of every table: in the files a long one may be in pieces.
fn sqlite_tables(file: &Path) -> Vec<(String, Vec<u8>)> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let names = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let mut names = connection.prepare(names).unwrap();
    let names: Vec<String> =
        names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let dump = |table: String| {
        let mut rows = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = rows.column_count();
        let (mut rows, mut bytes) = (rows.query([]).unwrap(), Vec::new());
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                let value = row.get_ref(column).unwrap();
                bytes.extend(value.as_bytes_or_null().ok().flatten().unwrap_or_default());
                bytes.push(b'\n');
            }
        }
        (format!("table {table}"), bytes)
    };
    names.into_iter().map(dump).collect()
}

/// Whether a text is in there as it is, or as hex or base64 write it.
fn contains(bytes: &[u8], text: &str) -> bool {
    let mut forms = vec![text.as_bytes().to_vec(), hex::encode(text).into_bytes()];
    for shift in 0..3 {
        // What stands beside it decides about the first and last characters of its base64.
        let shifted: Vec<_> = std::iter::repeat_n(0, shift).chain(text.bytes()).collect();
        let whole = shifted.len() / 3 * 3;
        let skip = if shift == 0 { 0 } else { 4 };
        forms.push(STANDARD_NO_PAD.encode(&shifted[..whole]).into_bytes()[skip..].to_vec());
        forms.push(URL_SAFE_NO_PAD.encode(&shifted[..whole]).into_bytes()[skip..].to_vec());
    }
    forms.iter().any(|form| find(bytes, form))
}

fn find(bytes: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return false };
    let starts = bytes.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.map(|(at, _)| at).any(|at| bytes[at..].starts_with(needle))
}

#[test]
fn texts_are_found_in_every_form() {
    let secret = "wrt-1.abc_def-0";
    let text = format!("xx{secret}yy");
    let table: [Vec<u8>; 4] = [
        text.clone().into(),
        hex::encode(&text).into(),
        STANDARD_NO_PAD.encode(&text).into(),
        URL_SAFE_NO_PAD.encode(&text[1..]).into(),
    ];
    for bytes in table {
        assert!(contains(&bytes, secret), "{}", String::from_utf8_lossy(&bytes));
        assert!(!contains(&bytes, "wrt-1.abc_dff-0"));
    }
}
