//! Holds the layout: who may import whom, and what each layer must not know. It reads manifests and sources.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file past this wants to be two things.
const LINES_MAX: usize = 500;

/// Which of our crates each crate may depend on.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("runtime", &[]),
    ("seal", &[]),
    ("store", &[]),
    ("actors", &["fleetward-runtime", "fleetward-seal", "fleetward-store"]),
    ("gateway/wire", &[]),
    ("gateway", &["fleetward-actors", "fleetward-store", "fleetward-wire"]),
    ("worker", &["fleetward-seal", "fleetward-wire"]),
];

/// Libraries that have one home.
const HOMES: &[(&str, &str)] = &[
    ("ractor", "runtime"),
    ("sqlx", "store"),
    ("rusqlite", "store"),
    ("axum", "gateway"),
    ("hyper", "gateway"),
    ("jsonwebtoken", "actors"),
    ("fernet", "seal"),
];

/// What server code leaves to `runtime`: spawning, clocks and sleeping.
const ONLY_RUNTIME: &[&str] = &[
    "tokio::spawn",
    "SystemTime::now",
    "Instant::now",
    "tokio::time::sleep",
    "Utc::now",
    "thread::spawn",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names in a manifest's table of dependencies.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let table = manifest.split("\n[dependencies]\n").nth(1).unwrap_or("");
    table
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

/// The part of a file that is not its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn crates_import_only_what_lies_below_them() {
    for (folder, allowed) in MAY_IMPORT {
        let ours = dependencies(folder).into_iter().filter(|name| name.starts_with("fleetward-"));
        let extra: Vec<_> = ours.filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(extra.is_empty(), "{folder} must not depend on {extra:?}");
    }
}

#[test]
fn each_of_these_libraries_has_one_home() {
    for (library, home) in HOMES {
        for (folder, _) in MAY_IMPORT.iter().filter(|(folder, _)| folder != home) {
            assert!(
                !dependencies(folder).contains(*library),
                "{library} belongs to {home}, not {folder}"
            );
        }
        assert!(dependencies(home).contains(*library), "{library} is used in {home}");
    }
}

#[test]
fn server_code_leaves_tasks_clocks_and_sleeping_to_runtime() {
    for folder in ["actors/src", "gateway/src"] {
        for (path, text) in sources(folder) {
            for word in ONLY_RUNTIME {
                assert!(!product(&text).contains(word), "{} uses {word}", path.display());
            }
        }
    }
}

#[test]
fn rules_are_neither_async_nor_log_nor_look_at_a_clock() {
    let mut pure = 0;
    for (path, text) in sources("actors/src") {
        let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        if !header.contains(" Pure") {
            continue;
        }
        pure += 1;
        for word in ["async ", ".await", "tracing::", "rand::", "metrics::", ".clock()"] {
            assert!(!product(&text).contains(word), "{} is pure and uses {word}", path.display());
        }
    }
    assert!(pure >= 10, "only {pure} pure files");
}

#[test]
fn runtime_and_store_know_no_domain_word() {
    for (folder, words) in [
        ("runtime/src", ["worker_id", "tenant", "enrollment", "dispatcher"]),
        ("store/src", ["worker", "tenant", "enrollment", "fleetward_runtime"]),
    ] {
        for (path, text) in sources(folder) {
            let code: String = product(&text)
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            for word in words {
                assert!(!code.contains(word), "{} knows the word {word}", path.display());
            }
        }
    }
}

#[test]
fn files_stay_small_and_say_what_they_are() {
    for folder in
        ["runtime/src", "seal/src", "store/src", "actors/src", "gateway", "worker/src", "src"]
    {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
            assert!(text.starts_with("//!"), "{} says what it is", path.display());
        }
    }
}
