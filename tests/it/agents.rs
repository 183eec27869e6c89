//! A worker that answers tasks with a model: from the submit to the result, with keys that nobody else sees.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::*;

const KEY: &str = "sk-canary-that-stays-on-the-worker";
/// What OpenAI's interface streams; whoever asks for `forbidden` is refused.
const EVENTS: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"Bees "},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"content":"dance."},"finish_reason":"stop"}]}

data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":3}}

data: [DONE]

"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_call_is_answered_and_its_key_stays_on_the_worker() {
    let (place, folder) = (Place::sqlite(), tempfile::tempdir().unwrap());
    let (base, asked) = provider().await;
    let file = credentials(folder.path(), &base, 0o600);
    let server = Server::start(&place.url());
    let client = server.client();
    let log = folder.path().join("worker.log");
    let worker = fleetward()
        .args(["worker", "run", "--server", &server.base, "--name", "w1", "--agents"])
        .args(["--exec", "cat", "--agent-credentials", file.to_str().unwrap(), "--identity"])
        .arg(folder.path().join("w1.json"))
        .env("ENROLLMENT_KEY", client.key(1).await)
        .env("FLEETWARD_LOG", "debug")
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut worker = Process(worker);
    let agent = |model: &str| {
        let agent = json!({"name": "writer", "model": model, "system": "Be brief."});
        json!({"payload": {"agent": agent, "input": "Bees?"}, "retry": {"max_attempts": 3}})
    };
    let submit = async |body: Value| {
        let made = client.post("/api/v1/fleet/tasks", body).await;
        client.result(made["run_id"].as_str().unwrap()).await
    };

    let answered = submit(agent("gpt-4o")).await;
    let refused = submit(agent("forbidden")).await;
    let other = submit(json!({"payload": {"say": "hello"}})).await;

    let usage = json!({"input_tokens": 11, "output_tokens": 3, "requests": 1});
    let said = json!({"text": "Bees dance.", "model": "local/small", "usage": usage, "finish_reason": "stop"});
    assert_eq!(answered["output"], said, "{answered}");
    let why = "local: HTTP 401: Incorrect API key: [key]";
    let found = (&refused["status"], &refused["attempt"], &refused["error"]);
    assert_eq!(found, (&json!("failed"), &json!(1), &json!(why)), "{refused}");
    assert!(other["output"].as_str().unwrap().contains("hello"), "{other}");
    let asked = asked.lock().unwrap().clone();
    assert!(asked[0].contains(&format!("Bearer {KEY}")) && asked[0].contains(r#""model":"small""#));
    worker.kill9();
    for file in [place_files(&place), vec![log]].concat() {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes());
        assert!(!found, "the key is in {}", file.display());
    }
}

#[test]
fn worker_that_has_nothing_to_run_tasks_with_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let exposed = credentials(folder.path(), "http://127.0.0.1:1", 0o644);
    let exposed = exposed.to_str().unwrap();
    let table: [(&[&str], &str); 4] = [
        (&[], "--exec CMD, --agents or both"),
        (&["--agents"], "OPENAI_API_KEY"),
        (&["--exec", "cat", "--agent-credentials", exposed], "is for --agents"),
        (&["--agents", "--agent-credentials", exposed], "chmod 600"),
    ];
    for (arguments, words) in table {
        let ended = fleetward()
            .args(["worker", "run", "--server", "http://127.0.0.1:1"])
            .args(arguments)
            .current_dir(folder.path())
            .env_remove("OPENAI_API_KEY")
            .env_remove("OPENAI_BASE_URL")
            .env_remove("ANTHROPIC_API_KEY")
            .env_remove("OLLAMA_HOST")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

fn credentials(folder: &Path, base: &str, mode: u32) -> std::path::PathBuf {
    let file = folder.join("agents.toml");
    let overrides = "forbidden = \"local/forbidden\"\ndefault = \"local/small\"";
    let provider = format!("kind = \"openai\"\napi_base = \"{base}/v1\"\napi_key = \"{KEY}\"");
    let text = format!("[model_overrides]\n{overrides}\n[providers.local]\n{provider}\n");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    file
}

fn place_files(place: &Place) -> Vec<std::path::PathBuf> {
    let Place::Sqlite(folder) = place else { return Vec::new() };
    std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect()
}

/// A provider of a few lines, and what it was asked.
pub(crate) async fn provider() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let request = answer(connection).await;
            log.lock().unwrap().push(request);
        }
    });
    (base, asked)
}

async fn answer(mut connection: TcpStream) -> String {
    let mut bytes = Vec::new();
    let text = loop {
        let read = connection.read_buf(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if read == 0 || is_whole(&text) {
            break text;
        }
    };
    let (status, body) = match text.contains(r#""model":"forbidden""#) {
        true => {
            let said = json!({"error": {"message": format!("Incorrect API key: {KEY}")}});
            ("401 Unauthorized", said.to_string())
        }
        false => ("200 OK", EVENTS.to_owned()),
    };
    let head = "content-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let response = format!("HTTP/1.1 {status}\r\n{head}{body}");
    connection.write_all(response.as_bytes()).await.unwrap();
    text
}

/// Whether a request has come to its end.
fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}
