//! The shell lines of the README's section on workflows, typed one after the other by somebody who has a `dev` server.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::fixture::*;

const README: &str = include_str!("../../README.md");

/// What a reader puts in for themselves, and what the line that prints it begins with.
const BLANKS: [(&str, &str, &str); 2] =
    [("wrt-1...", "fleetward key create", "wrt-1."), ("fwt_...", "fleetward token create", "fwt_")];

#[test]
fn lines_of_the_workflow_section_lead_from_a_document_to_a_picture_of_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::os::unix::fs::symlink(here.join("examples"), folder.path().join("examples")).unwrap();
    let mut dev = fleetward();
    dev.args(["dev", "--listen", "127.0.0.1:0"]).current_dir(folder.path());
    let mut dev = Process(dev.stdout(Stdio::piped()).spawn().unwrap());
    let output = Lines::of("dev", dev.0.stdout.take().unwrap());
    let last = |line: String| line.rsplit(' ').next().unwrap().to_owned();
    let (server, token) = (last(output.until("server ")), last(output.until("admin token ")));
    let shell = Shell { folder: folder.path(), server, token };

    let (mut known, mut behind) = (Vec::new(), Vec::new());
    for line in lines("## Workflows") {
        let line = filled_in(&line, &known);
        if line.contains(" worker run ") || line.contains(" run watch ") {
            // It goes on while the reader types in another window.
            behind.push((line.contains(" run watch "), shell.start(&line)));
            continue;
        }
        if line.starts_with("fleetward run approve") {
            // They read what they are asked.
            behind
                .iter()
                .find(|(watches, _)| *watches)
                .unwrap()
                .1
                .1
                .until("wait  review  approval");
        }
        let said = shell.run(&line);
        for (blank, command, begins) in BLANKS {
            let word = said.split_whitespace().find(|word| word.starts_with(begins));
            if let Some(word) = word.filter(|_| line.starts_with(command)) {
                known.push((blank, word.to_owned()));
            }
        }
    }

    let (_, (watch, screen)) = behind.iter_mut().find(|(watches, _)| *watches).unwrap();
    screen.until("completed");
    assert_eq!(watch.wait(), Some(0));
    let schema = std::fs::read_to_string(folder.path().join("workflow.schema.json")).unwrap();
    assert!(schema.contains("json-schema.org"), "{schema}");
    let picture = std::fs::read_to_string(folder.path().join("ants.svg")).unwrap();
    assert!(picture.contains("waits for people"), "{picture}");
}

/// The lines of shell under a heading, up to the next one of its kind.
fn lines(heading: &str) -> Vec<String> {
    let section = README.split_once(&format!("\n{heading}\n")).expect("the README has it").1;
    let section = section.split("\n## ").next().unwrap_or(section);
    let blocks = section.split("\n```sh\n").skip(1);
    let code = blocks.map(|block| block.split("\n```").next().unwrap_or(block));
    let lines = code.flat_map(str::lines).filter(|line| !line.trim().is_empty());
    let lines: Vec<_> = lines.map(str::to_owned).collect();
    assert!(lines.len() >= 8, "{lines:?}");
    lines
}

fn filled_in(line: &str, known: &[(&str, String)]) -> String {
    let put = |line: String, (blank, word): &(&str, String)| line.replace(blank, word);
    let line = known.iter().fold(line.to_owned(), put);
    // What comes behind a `#` may speak of anything.
    let typed = line.split(" # ").next().unwrap_or(&line);
    assert!(!typed.contains("..."), "a reader does not know what to put in: {typed}");
    line
}

/// A shell of somebody who has done what stands before that section.
struct Shell<'a> {
    folder: &'a Path,
    server: String,
    token: String,
}

impl Shell<'_> {
    fn command(&self, line: &str) -> Command {
        let own = fleetward();
        let binary = Path::new(own.get_program()).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.folder).stdin(Stdio::null());
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell
            .env("PATH", format!("{}:{path}", binary.display()))
            .env("FLEETWARD_SERVER", &self.server)
            .env("FLEETWARD_TOKEN", &self.token);
        shell
    }

    /// Runs a line to its end; answers what it printed.
    fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "$ {line}\n{said}{errors}");
        said
    }

    /// Begins a line that goes on: the process, and what it prints. The shell makes way for it, so that it can be ended.
    fn start(&self, line: &str) -> (Process, Lines) {
        let at = line.find("fleetward").unwrap();
        let line = format!("{}exec {}", &line[..at], &line[at..]);
        let mut child = self.command(&line).stdout(Stdio::piped()).spawn().unwrap();
        let output = Lines::of("shell", child.stdout.take().unwrap());
        (Process(child), output)
    }
}
