//! The stories in `examples/`: each proves what it says, over HTTP, and fails on a leak.

use std::path::PathBuf;
use std::process::Command;

#[test]
fn stories_hold() {
    for story in ["scoped_dispatch", "multi_tenant", "fleet_under_load", "durable_function"] {
        let output = Command::new(built(story)).output().unwrap();

        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{story}\n{said}\n{errors}");
        assert!(
            said.lines().filter(|line| line.starts_with("ok ")).count() >= 3,
            "{story}\n{said}"
        );
    }
}

/// Where cargo puts an example that it builds together with this test.
pub(crate) fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(example);
    assert!(
        path.exists(),
        "{} is built by `cargo test`, or `cargo build --examples`",
        path.display()
    );
    path
}
