//! Real processes.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use fleetward_worker::command::{ENVIRONMENT, ERROR_CAP, OUTPUT_CAP};
use fleetward_worker::{Command, Execute, Outcome, Stop, StopReason, TaskContext};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::plane::{Plane, gives, once, task};

/// Long enough that a test which waits for it has failed.
const NEVER: &str = "sleep 600";

#[tokio::test]
async fn the_output_is_the_result() {
    assert_eq!(output("echo hello").await, "hello\n");
}

#[tokio::test]
async fn the_whole_task_but_its_token_is_on_the_standard_input() {
    let input: Value = serde_json::from_str(&output("cat").await).unwrap();

    let mut expected = serde_json::to_value(task("t1")).unwrap();
    expected.as_object_mut().unwrap().remove("claim_token");
    assert_eq!(input, expected);
}

#[tokio::test]
async fn a_failure_has_the_code_and_what_was_said() {
    assert_eq!(
        failure("echo out; echo 'no such file' >&2; exit 3").await,
        "exit code 3: no such file"
    );
    assert_eq!(failure("exit 7").await, "exit code 7");
    assert_eq!(failure("kill -SEGV $$").await, "killed by SIGSEGV");
    assert!(failure("no-such-program-here").await.starts_with("exit code 127: "));
}

#[tokio::test]
async fn only_listed_variables_reach_a_command() {
    // Cargo sets this one for tests, so it stands for a secret of the worker.
    let canary = "CARGO_MANIFEST_DIR";
    assert!(std::env::var_os(canary).is_some());
    // Shells set these themselves.
    let own = ["PWD", "OLDPWD", "SHLVL", "_"];

    let environment = output("env").await;
    let passed_on = run(Command::new("env").env(canary).env("NO_SUCH_VARIABLE")).await;

    for line in environment.lines() {
        let name = line.split('=').next().unwrap();
        assert!(ENVIRONMENT.contains(&name) || own.contains(&name), "{name} was passed on");
    }
    assert!(environment.contains("PATH="));
    let Outcome::Completed(Value::String(passed_on)) = passed_on else { panic!("env failed") };
    assert!(passed_on.contains(canary) && !passed_on.contains("NO_SUCH_VARIABLE"));
}

#[tokio::test]
async fn output_beyond_the_cap_is_cut_and_says_so() {
    let written = OUTPUT_CAP + 1_000_000;

    let output = output(&format!("head -c {written} /dev/zero | tr '\\0' x")).await;

    let (kept, note) = output.split_once('\n').unwrap();
    assert_eq!(kept.len(), OUTPUT_CAP);
    assert_eq!(note, format!("[cut: {OUTPUT_CAP} of {written} bytes kept]\n"));
}

#[tokio::test]
async fn of_the_errors_the_end_is_kept() {
    let failure = failure("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo last >&2; false").await;

    assert!(failure.ends_with("xlast"));
    assert!(failure.len() < ERROR_CAP + 100);
}

#[tokio::test]
async fn output_that_is_not_utf_8_is_replaced() {
    assert_eq!(output(r"printf 'a\377b\000c'").await, "a\u{fffd}b\0c");
}

#[tokio::test]
async fn a_command_need_not_read_its_input() {
    let mut large = task("t1");
    large.payload = Value::from("x".repeat(1_000_000)).into();
    let (cx, _stop) = TaskContext::detached();

    let outcome = Command::new("echo done").execute(&large, cx).await;

    assert!(outcome == Outcome::Completed("done\n".into()));
}

#[tokio::test]
async fn a_timeout_ends_the_whole_tree_even_if_it_ignores_sigterm() {
    let mut tree = Tree::new();
    let script = format!("trap '' TERM; {} (trap '' TERM; {NEVER}) & wait; {NEVER}", tree.join());
    let command = Command::new(script).timeout(MOMENT).grace(MOMENT);

    let outcome = run(command).await;

    assert!(outcome == Outcome::Failed(format!("timed out after {MOMENT:?}")));
    tree.dead().await;
}

#[tokio::test]
async fn a_timed_out_command_that_heeds_sigterm_may_clean_up() {
    let script = format!("trap 'echo cleaned >&2; exit 0' TERM; {NEVER} & wait");

    let outcome = run(Command::new(script).timeout(2 * MOMENT)).await;

    assert!(outcome == Outcome::Failed("timed out after 2s: cleaned".to_owned()), "{outcome:?}");
}

#[tokio::test]
async fn a_lost_lease_ends_the_whole_tree_at_once() {
    for reason in [StopReason::Fenced, StopReason::Lost, StopReason::Rejected] {
        let mut tree = Tree::new();
        let script = format!("trap '' TERM; {} {NEVER} & {NEVER}", tree.join());
        let (running, stop) = start(script);
        tree.started().await;
        let asked = Instant::now();

        stop.stop(reason);
        let outcome = running.await.unwrap();

        assert!(matches!(outcome, Outcome::GiveBack(_)));
        tree.dead().await;
        assert!(asked.elapsed() < Duration::from_secs(4), "it was given a grace");
    }
}

#[tokio::test]
async fn a_drained_command_may_clean_up_but_does_not_count_as_done() {
    let mut tree = Tree::new();
    let folder = tree.folder.path().display();
    let script =
        format!("trap 'echo cleaned > {folder}/note; exit 0' TERM; {} {NEVER} & wait", tree.join());
    let (running, stop) = start(script);
    tree.started().await;

    stop.stop(StopReason::Draining);
    let outcome = running.await.unwrap();

    assert!(matches!(outcome, Outcome::GiveBack(_)));
    tree.dead().await;
    let note = std::fs::read_to_string(tree.folder.path().join("note")).unwrap();
    assert_eq!(note, "cleaned\n");
}

#[tokio::test]
async fn a_command_whose_task_was_cancelled_may_clean_up_before_it_is_killed() {
    let mut tree = Tree::new();
    let folder = tree.folder.path().display();
    let script = format!(
        "trap 'echo cleaned > {folder}/note' TERM; {} {NEVER} & wait; {NEVER}",
        tree.join()
    );
    let (cx, stop) = TaskContext::detached();
    let command = Command::new(script).grace(MOMENT);
    let running = tokio::spawn(async move { command.execute(&task("t1"), cx).await });
    tree.started().await;

    stop.stop(StopReason::Cancelled);
    let outcome = running.await.unwrap();

    assert!(matches!(outcome, Outcome::GiveBack(_)));
    tree.dead().await;
    let note = std::fs::read_to_string(tree.folder.path().join("note")).unwrap();
    assert_eq!(note, "cleaned\n");
}

#[tokio::test]
async fn what_a_command_says_of_its_progress_is_told_and_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    mkfifo(&go, Mode::S_IRWXU).unwrap();
    let script =
        format!("echo '::progress 40 half' >&2; echo oops >&2; read x < {}; exit 3", go.display());
    let plane = Plane::new().claims([gives(["t1"])]);

    let worker = plane.start(Command::new(script), once());
    plane.asked("progress", 1).await;
    std::fs::write(&go, "go\n").unwrap();
    worker.ended.await.unwrap().unwrap();

    let said = plane.transcript();
    assert!(said.contains(r#"progress t1/1 token-of-t1 Some(40) "half""#), "{said}");
    assert!(said.contains("exit code 3: oops"), "{said}");
    assert!(!said.contains("::progress"), "{said}");
}

#[tokio::test]
async fn a_command_that_is_dropped_takes_its_tree_along() {
    let mut tree = Tree::new();
    let script = format!("trap '' TERM; {} {NEVER} & {NEVER}", tree.join());
    let (running, _stop) = start(script);
    tree.started().await;

    running.abort();

    tree.dead().await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_neither_stays_nor_holds_it_up() {
    let mut tree = Tree::new();
    // The grandchild inherits all three pipes.
    let script = format!("{} (trap '' TERM HUP; {NEVER}) & echo left", tree.join());

    let outcome = timeout(Duration::from_secs(10), run(Command::new(script))).await.unwrap();

    assert!(outcome == Outcome::Completed("left\n".into()), "{outcome:?}");
    tree.dead().await;
}

#[tokio::test]
async fn a_process_that_left_the_group_does_not_hold_a_command_up() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!(
        "setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; {NEVER}' & \
                          while ! test -e {0}; do sleep 0.01; done; echo left",
        pid.display()
    );

    let outcome = timeout(Duration::from_secs(20), run(Command::new(script))).await.unwrap();

    assert!(outcome == Outcome::Completed("left\n".into()), "{outcome:?}");
    let escaped = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(escaped), nix::sys::signal::SIGKILL)
        .unwrap();
}

/// Long enough for a shell to set its traps, short enough to wait for.
const MOMENT: Duration = Duration::from_secs(1);

/// A test that waits for longer has failed.
const SOON: Duration = Duration::from_secs(20);

/// Notices when every process that belongs to it is gone: only then does the kernel close the
/// last writing end of its pipe.
struct Tree {
    folder: tempfile::TempDir,
    started: oneshot::Receiver<()>,
    dead: oneshot::Receiver<()>,
}

impl Tree {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alive");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let (tell_started, started) = oneshot::channel();
        let (tell_dead, dead) = oneshot::channel();
        // A thread of its own: a test that fails does not wait for it.
        std::thread::spawn(move || {
            // Opening a pipe to read waits until somebody opens it to write.
            let mut pipe = File::open(path).unwrap();
            let _ = tell_started.send(());
            pipe.read_to_end(&mut Vec::new()).unwrap();
            let _ = tell_dead.send(());
        });
        Self { folder, started, dead }
    }

    /// Shell words after which a process and all that it starts belong to this tree.
    fn join(&self) -> String {
        format!("exec 9>{}/alive;", self.folder.path().display())
    }

    async fn started(&mut self) {
        timeout(SOON, &mut self.started).await.expect("the command starts").unwrap();
    }

    async fn dead(&mut self) {
        timeout(SOON, &mut self.dead).await.expect("nothing of the tree is left").unwrap();
    }
}

async fn run(command: Command) -> Outcome {
    let (cx, _stop) = TaskContext::detached();
    command.execute(&task("t1"), cx).await
}

async fn output(script: &str) -> String {
    match run(Command::new(script)).await {
        Outcome::Completed(Value::String(output)) => output,
        Outcome::Failed(error) => panic!("{script}: {error}"),
        other => panic!("{script}: {other:?}"),
    }
}

async fn failure(script: &str) -> String {
    match run(Command::new(script)).await {
        Outcome::Failed(error) => error,
        other => panic!("{script}: {other:?}"),
    }
}

/// Starts `script` beside the test; what is returned stops it.
fn start(script: String) -> (JoinHandle<Outcome>, Stop) {
    let (cx, stop) = TaskContext::detached();
    let command = Command::new(script);
    (tokio::spawn(async move { command.execute(&task("t1"), cx).await }), stop)
}
