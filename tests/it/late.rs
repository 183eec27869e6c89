//! A worker that is stopped past its lease and goes on when another one has finished its task.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::fixture::*;

/// Short: the story waits for one of them to end.
const TERMS: [&str; 6] =
    ["--lease-seconds", "3", "--start-lease-seconds", "2", "--heartbeat-seconds", "1"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_report_of_a_stopped_worker_is_refused_and_on_record_on_sqlite() {
    story(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_report_of_a_stopped_worker_is_refused_and_on_record_on_postgres() {
    story(Place::postgres().await).await;
}

async fn story(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let (alive, go) = (folder.path().join("alive"), folder.path().join("go"));
    [&alive, &go].iter().for_each(|pipe| mkfifo(*pipe, Mode::S_IRWXU).unwrap());
    // The first attempt belongs to the pipe `alive` until it is told to go on.
    let exec = format!(
        r#"case "$(cat)" in *'"attempt":1,'*) exec 9>{}; read line <{}; echo late;; *) echo early;; esac"#,
        alive.display(),
        go.display()
    );
    let server = Server::start_with(&place.url(), &TERMS);
    let client = server.client();
    let key = client.key(2).await;
    let worker = |name: &'static str| WorkerProcess {
        server: &server.base,
        key: &key,
        folder: folder.path(),
        name,
        seats: 1,
        exec: &exec,
    };
    let task = client.submit("t", &json!("x")).await;

    let (stopped, log) = worker("stopped").start();
    let mut running = opened(&alive).await;
    stopped.signal(Signal::SIGSTOP);
    let (_other, _log) = worker("other").start();
    let result = client.result(&task).await;
    assert_eq!((&result["output"], &result["attempt"]), (&json!("early\n"), &json!(2)));
    std::fs::write(&go, "on\n").unwrap();
    // The command has ended by itself, and nobody has noticed yet.
    tokio::task::spawn_blocking(move || running.read_to_end(&mut Vec::new()))
        .await
        .unwrap()
        .unwrap();
    stopped.signal(Signal::SIGCONT);
    let said = log.until("the end of an attempt was not accepted");

    assert!(said.contains("attempt_superseded") || said.contains("task_closed"), "{said}");
    let result = client.result(&task).await;
    assert_eq!(result["output"], "early\n", "nothing was changed");
    let history = run(&server.base, &["task", "history", &task]);
    let history = String::from_utf8_lossy(&history.stdout);
    let kinds: Vec<_> = history
        .lines()
        .filter_map(|l| l.split_whitespace().find(|word| word.contains("task.")))
        .collect();
    let expected = [
        "task.submitted",
        "task.claimed",
        "task.returned",
        "task.claimed",
        "task.completed",
        "task.report_refused",
    ];
    assert_eq!(kinds, expected, "{history}");
    verify(&events(&place.url()).await);
}

/// The reading end of a pipe, once somebody has the writing end.
async fn opened(pipe: &Path) -> File {
    let pipe = pipe.to_owned();
    tokio::task::spawn_blocking(move || File::open(pipe).unwrap()).await.unwrap()
}
