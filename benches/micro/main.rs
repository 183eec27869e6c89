//! What the small parts of the hot path cost: time and allocations, or instructions.
//!
//! ```text
//! cargo bench --bench micro                      # time and allocations of each part
//! cargo bench --bench micro -- matching          # of those whose name has that in it
//! cargo bench --bench micro -- --instructions    # counted by valgrind, beside the last baseline
//! cargo bench --bench micro -- --baseline        # the same, and they are the baseline from now on
//! ```
//!
//! Time on a shared machine says little and instructions say much: the same binary executes the same number of them,
//! whatever else runs, but for the order in which hash maps with random keys are looked through. A part is run by
//! callgrind `N` and `2 N` times in processes of their own, and what the second took more is divided by `N`: setting
//! up is left out. Valgrind lacks the processor's own SHA-256, so what hashes looks dearer there than it is. The exit
//! code is 1 when a part takes over a tenth more than `benches/micro/baseline.txt` says, which holds for one
//! architecture, one compiler and the profile `bench`.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../shared/journaling.rs"]
mod journaling;
mod parts;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use divan::{AllocProfiler, Bencher};
use mimalloc::MiMalloc;

use parts::{PARTS, Part};

#[global_allocator]
static ALLOCATOR: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

/// How much more than the baseline is a regression.
const MORE: f64 = 1.1;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let done = if let Some(at) = arguments.iter().position(|argument| argument == "--run") {
        run(&arguments[at + 1], &arguments[at + 2])
    } else if has("--instructions") || has("--baseline") {
        instructions(has("--baseline"))
    } else {
        divan::main();
        Ok(true)
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[divan::bench(args = PARTS, sample_count = 30)]
fn part(bencher: Bencher<'_, '_>, part: &Part) {
    let step = (part.make)();
    bencher.bench_local(step);
}

/// One part, so many times; under callgrind.
fn run(name: &str, times: &str) -> Result<bool> {
    let part = PARTS.iter().find(|part| part.name == name).context("there is no such part")?;
    let mut step = (part.make)();
    for _ in 0..times.parse::<u64>()? {
        step();
    }
    Ok(true)
}

fn instructions(becomes_baseline: bool) -> Result<bool> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/micro/baseline.txt");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let known = baseline(&text);
    println!("| part | instructions | baseline | ratio |\n| --- | ---: | ---: | ---: |");
    let (mut lines, mut good) = (String::new(), true);
    for part in PARTS.iter().filter(|part| part.times > 0) {
        let (once, twice) =
            (executed(part.name, part.times)?, executed(part.name, 2 * part.times)?);
        let each = twice.saturating_sub(once) / part.times;
        let before = known.get(part.name).copied();
        let ratio = before.map(|before| each as f64 / before as f64);
        good &= ratio.is_none_or(|ratio| ratio <= MORE);
        let column = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let (before, ratio) = (before.map(|n| n.to_string()), ratio.map(|n| format!("{n:.2}")));
        println!("| {} | {each} | {} | {} |", part.name, column(before), column(ratio));
        lines += &format!("{each} {}\n", part.name);
    }
    if becomes_baseline {
        std::fs::write(&file, lines)?;
        return Ok(true);
    }
    Ok(good)
}

/// `INSTRUCTIONS NAME` in each line.
fn baseline(text: &str) -> BTreeMap<&str, u64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(count, name)| Some((name, count.parse().ok()?))).collect()
}

/// Instructions of a process that runs a part so many times.
fn executed(name: &str, times: u64) -> Result<u64> {
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--run", name, &times.to_string()])
        .output()
        .context("cannot run valgrind: install Debian's package of that name")?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{name} under valgrind: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = collected.with_context(|| format!("valgrind did not count: {said}"))?;
    Ok(count.trim().parse()?)
}
