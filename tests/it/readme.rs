//! What is documented works: every fenced block of the documentation is typed, read or compiled by the tests, or stands in
//! a table that says why it cannot be.

mod blocks;
mod reader;
mod sections;

use std::thread;

use fleetward::actors::workflows::definition::document;
use fleetward::worker::agent::{AgentCall, Answer, WorkerCredentials};
use serde::Deserialize;
use serde_json::Value;

use blocks::Block;
use reader::{Reader, lines};

/// A heading of the README, and who types the lines of shell below it.
type Section = (&'static str, fn(Vec<String>));
/// All of them.
const SECTIONS: [Section; 8] = [
    ("## Try it", sections::try_it),
    ("## Agents", sections::agents),
    ("## Which task runs next, and where", sections::dispatch),
    ("## Workflows", sections::workflows),
    ("## Who a worker is", sections::identity),
    ("## The record", sections::record),
    ("## TLS", sections::tls),
    ("## What is encrypted", sections::encryption),
];

/// What is not: the file, how the line of shell or the block begins, and why.
const NOT_RUN: [(&str, &str, &str); 7] = [
    ("README.md", "cargo run --release -- demo", "the story `demo` runs what this builds"),
    ("README.md", "scripts/test", "it runs this test"),
    ("README.md", "cargo build --release", "the test has built it"),
    ("ARCHITECTURE.md", "", "a picture"),
    ("benches/peers/README.md", "", "installs other products, for hours of measuring"),
    ("benches/load/main.rs", "cargo bench", "hours of measuring"),
    ("benches/micro/main.rs", "cargo bench", "measures optimised code"),
];

#[test]
fn every_block_of_the_documentation_is_run_or_says_why_not() {
    let mut excused = [false; NOT_RUN.len()];
    let mut excuse = |file: &str, text: &str| {
        let fits = |(of, begins, _): &(&str, &str, &str)| *of == file && text.starts_with(begins);
        let found = NOT_RUN.iter().position(fits);
        found.inspect(|found| excused[*found] = true).is_some()
    };
    let mut typed = SECTIONS.map(|_| Vec::new());
    for block in blocks::all() {
        let section = SECTIONS.iter().position(|(heading, _)| *heading == block.heading);
        match (block.language.as_str(), section) {
            _ if block.is_doctest() => {}
            ("sh", _) if block.file == "README.md" => {
                let lines = lines(&block.text).into_iter();
                let left: Vec<_> = lines.filter(|line| !excuse("README.md", line)).collect();
                match section {
                    Some(section) => typed[section].extend(left),
                    None => assert!(left.is_empty(), "nobody types {}: {left:?}", block.place()),
                }
            }
            ("yaml" | "toml" | "json", _) => read(&block),
            _ => assert!(excuse(&block.file, &block.text), "nobody runs {}", block.place()),
        }
    }
    for (row, used) in NOT_RUN.iter().zip(excused) {
        assert!(used, "nothing is excused by {row:?}");
    }

    thread::scope(|scope| {
        let sections = SECTIONS.iter().zip(typed);
        let sections: Vec<_> = sections
            .map(|((heading, section), lines)| {
                assert!(!lines.is_empty(), "nothing to type under {heading}");
                let thread = thread::Builder::new().name((*heading).to_owned());
                (heading, thread.spawn_scoped(scope, || section(lines)).unwrap())
            })
            .collect();
        for (heading, section) in sections {
            assert!(section.join().is_ok(), "a reader of `{heading}` is stuck");
        }
    });
}

/// Reads what is written for the program and not for the shell.
fn read(block: &Block) {
    let place = block.place();
    match block.language.as_str() {
        "yaml" => {
            let read = document::parse(&block.text);
            assert!(read.is_ok(), "{place}: {:?}", read.err());
        }
        "toml" => {
            let reader = Reader::new();
            reader.writes("agents.toml", &block.text);
            let path = reader.folder.path().join("agents.toml");
            let read = WorkerCredentials::load(&path, |_| Some("secret".to_owned()));
            assert!(read.is_ok(), "{place}: {:?}", read.err());
        }
        _ => {
            let value: Value = serde_json::from_str(&block.text).unwrap();
            let (call, answer) = (AgentCall::read(&value).err(), Answer::deserialize(&value).err());
            assert!(call.is_none() || answer.is_none(), "{place}: {call:?} {answer:?}");
        }
    }
}
