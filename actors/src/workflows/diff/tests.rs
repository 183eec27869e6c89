//! Definitions and runs that differ in one thing each.

use super::*;
use crate::fact::{Fold, Stamp};
use crate::id::TaskId;
use crate::workflows::definition::document;
use crate::workflows::run::{Event, Scheduled, Seen};

/// A node: key, output or code of the failure (none: it runs), attempts.
type Ended<'a> = (&'a str, Option<Result<&'a str, &'a str>>, u32);

const BASE: &str = "name: w\nsteps:\n  - step: a\n  - parallel: p\n    branches: [{step: b}, {step: c}]\n  - step: d\n";

fn changes(from: &str, to: &str) -> Vec<String> {
    let read = |text: &str| document::parse(text).unwrap();
    let told = |change: &NodeChange| {
        let keys = match &change.change {
            Change::Changed(keys) => format!(" {}", keys.join(",")),
            _ => String::new(),
        };
        let name = change.name.as_deref().unwrap_or("-");
        format!("{name} {}{keys}", change.change.as_str())
    };
    structure(&read(BASE), &read(&BASE.replace(from, to))).iter().map(told).collect()
}

#[test]
fn definitions_differ_by_the_names_of_their_nodes() {
    let table: [(&str, &str, &[&str]); 8] = [
        ("", "", &[]),
        ("step: d", "step: e", &["d removed", "e added"]),
        ("step: d", "step: d\n    retries: 2", &["d changed retry"]),
        ("step: a", "step: z\n  - step: a", &["z added"]),
        (
            "branches: [{step: b}, {step: c}]",
            "branches: [{step: c}, {step: b}]",
            &["b moved", "c moved"],
        ),
        (
            "branches: [{step: b}, {step: c}]",
            "on_failure: collect\n    branches: [{step: b}, {step: c}]",
            &["p changed on_failure"],
        ),
        ("name: w", "name: w\npool: gpu", &["- changed routing"]),
        ("  - step: d\n", "  - sleep: d\n    for: 1s\n", &["d changed handler,kind,ms"]),
    ];
    for (from, to, expected) in table {
        assert_eq!(changes(from, to), expected, "{from} -> {to}");
    }
}

/// A run of nodes one after the other: key, output or code of the failure, attempts; none of these: it runs.
fn run(input: &str, nodes: &[Ended<'_>]) -> (Run, BTreeMap<Place, Told>) {
    let started = Event::Started {
        run: "r".parse().unwrap(),
        workflow: "w".into(),
        version: "v".into(),
        request: String::new(),
        digest: String::new(),
        parent: None,
        inherited: None,
        awaited: false,
        schedule: None,
    };
    let stamp = |seq| Stamp { seq, at: seq as i64 * 10, by: "t" };
    let mut run = Run::begin(&started, stamp(1)).unwrap();
    let said = |text: &str| Told { digest: Some(text.to_owned()), worker: None };
    let mut told = BTreeMap::from([(run.input.clone(), said(input))]);
    for (at, (key, ended, attempts)) in nodes.iter().enumerate() {
        let (seq, task) = (2 + 2 * at as u64, TaskId::fresh());
        let (key, seen) = (Key::from(*key), Seen { attempts: *attempts, claimed_at: None });
        let steps = vec![Scheduled { key: key.clone(), task }];
        run.evolve(&Event::Scheduled { steps }, stamp(seq));
        let Some(ended) = ended else { continue };
        let event = match ended {
            Ok(_) => Event::StepCompleted { key: key.clone(), task, at: seq, seen },
            Err(code) => Event::StepFailed {
                key: key.clone(),
                task,
                at: None,
                code: (*code).to_owned(),
                seen,
                steps: Vec::new(),
            },
        };
        run.evolve(&event, stamp(seq + 1));
        let output = ended.ok().zip(place(&run.done[&key].outcome).cloned());
        told.extend(output.map(|(text, place)| (place, said(text))));
    }
    (run, told)
}

#[test]
fn runs_part_where_something_first_became_otherwise() {
    let base: &[Ended<'_>] = &[("a", Some(Ok("1")), 1), ("b", Some(Ok("2")), 1), ("c", None, 0)];
    let definition = document::parse(BASE).unwrap();
    let first = |input: &str, nodes: &[Ended<'_>]| {
        let ((a, of_a), (b, of_b)) = (run("x", base), run(input, nodes));
        let side = |run, told| Side { run, definition: &definition, told };
        let found = diff(side(&a, &of_a), side(&b, &of_b));
        let differs = found.nodes.iter().filter(|pair| !pair.differs.is_empty());
        let words = differs.map(|pair| {
            let words: Vec<_> = pair.differs.iter().map(|aspect| aspect.as_str()).collect();
            format!("{} {}", pair.key, words.join(","))
        });
        (found.first, words.collect::<Vec<_>>())
    };
    let at = |key: &str, aspect| Some(First::Node(key.into(), aspect));

    assert_eq!(first("x", base), (None, Vec::new()));
    assert_eq!(first("y", base), (Some(First::Input), Vec::new()));
    let retried = [base[0], ("b", Some(Ok("2")), 3), base[2]];
    assert_eq!(first("x", &retried), (None, vec!["b attempts".to_owned()]));
    let other = [("a", Some(Ok("7")), 1), ("b", Some(Ok("8")), 1), base[2]];
    let told = ["a output", "b output"].map(str::to_owned).to_vec();
    assert_eq!(first("x", &other), (at("a", Aspect::Output), told));
    let failed = [base[0], ("b", Some(Err("reported")), 1)];
    let told = ["b outcome,output", "c presence"].map(str::to_owned).to_vec();
    assert_eq!(first("x", &failed), (at("b", Aspect::Outcome), told));
    let less = [base[0]];
    let told = ["b presence", "c presence"].map(str::to_owned).to_vec();
    assert_eq!(first("x", &less), (at("b", Aspect::Presence), told));
}
