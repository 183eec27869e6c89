//! `fleetward workflow`, offline.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::fixture::*;

const BAD: &str = "name: pipeline\nsteps:\n  - step: draft\n    retrys: 3\n  - step: publish\n    \
                   input: steps.drafts.text +\n";
const UNWISE: &str =
    "name: pipeline\nsteps:\n  - step: draft\n    input: steps.publish\n  - step: publish\n";

fn workflow(args: &[&str]) -> Output {
    fleetward().arg("workflow").args(args).current_dir(root()).output().unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn examples_are_linted_and_nothing_is_wrong() {
    let examples = std::fs::read_dir(root().join("examples/workflows")).unwrap();
    let examples: Vec<_> =
        examples.map(|entry| entry.unwrap().path().display().to_string()).collect();
    let files: Vec<&str> = examples.iter().map(String::as_str).collect();

    let done = workflow(&[&["lint", "--strict"], files.as_slice()].concat());

    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}");
    assert_eq!(said.lines().count(), files.len(), "{said}");
}

#[test]
fn what_is_wrong_is_said_as_compilers_say_it() {
    let folder = tempfile::tempdir().unwrap();
    let bad = file(&folder, BAD);
    let bad = bad.to_str().unwrap();

    let people = workflow(&["lint", bad]);
    let programs = workflow(&["--output", "json", "lint", bad]);
    let unwise = file(&folder, UNWISE);
    let unwise = workflow(&["lint", unwise.to_str().unwrap()]);
    let absent = workflow(&["lint", "nowhere.yaml"]);

    let said = String::from_utf8_lossy(&people.stdout);
    let expected = [
        ":4:5: error: steps[0].retrys: there is no key `retrys` here; did you mean `retries`?",
        ":6:31: error: steps[1].input: it ends where more is expected",
    ];
    assert_eq!(said, expected.map(|line| format!("{bad}{line}\n")).concat());
    assert_eq!(said_found(&programs), 2);
    let said = String::from_utf8_lossy(&unwise.stdout);
    assert!(said.contains("has no output here: it runs later"), "{said}");
    let codes = [&people, &programs, &unwise, &absent].map(|output| output.status.code());
    assert_eq!(codes, [Some(2); 4]);
}

fn said_found(output: &Output) -> usize {
    said(output)["files"][0]["found"].as_array().unwrap().len()
}

#[test]
fn schema_is_the_one_that_is_published() {
    let printed = workflow(&["schema"]);
    let functions = workflow(&["functions"]);

    let published = std::fs::read(root().join("docs/workflow.schema.json")).unwrap();
    assert_eq!(printed.stdout, published);
    assert!(String::from_utf8_lossy(&functions.stdout).contains("text.truncate(n)"));
}
