//! What tasks ask for and carry, and what workers offer, so that every worker fits every task.
//!
//! The requirement of a class is a set of labels, the same number for every class: with ten
//! classes a task is as large on the wire as with ten thousand. A task's payload carries the
//! moment it was meant to be submitted, so that whoever starts it knows how long that took.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::options::Options;

/// Fewest labels that a fleet with classes has: half of them make 12,870 sets.
const LABELS_MIN: u32 = 16;

/// The workflow whose runs are measured, and what its steps are done by.
pub(crate) const WORKFLOW: &str = "nothing";
const HANDLER: &str = "nothing";

/// Labels and payloads of one run.
pub(crate) struct Shape {
    /// For each class, which labels it asks for.
    classes: Vec<u32>,
    labels: u32,
    profiles: usize,
    padding: String,
    /// Steps of the workflow whose runs there are, if any.
    steps: usize,
}

/// A task to be submitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewTask {
    /// Unique in this run.
    pub(crate) number: u64,
    /// When it was meant to be submitted, in microseconds of this run.
    pub(crate) at_us: u64,
}

/// What a payload says that matters here.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) at_us: u64,
}

impl Shape {
    pub(crate) fn new(options: &Options) -> Self {
        let labels = if options.classes == 1 { 0 } else { labels_for(options.classes) };
        Self {
            classes: sets(labels).take(options.classes).collect(),
            labels,
            profiles: options.profiles,
            padding: "x".repeat(options.payload),
            steps: options.workflow.unwrap_or_default(),
        }
    }

    /// Labels that a task asks for.
    pub(crate) fn wants(&self, task: NewTask) -> BTreeMap<String, String> {
        let at = task.number % self.classes.len() as u64;
        named(self.classes[at as usize], self.labels)
    }

    /// Labels that a worker has.
    pub(crate) fn offers(&self, worker: usize) -> BTreeMap<String, String> {
        let mut labels = named(u32::MAX, self.labels);
        if self.profiles > 1 {
            labels.insert("profile".to_owned(), (worker % self.profiles).to_string());
        }
        labels
    }

    /// What workers do by name.
    pub(crate) fn handlers(&self) -> Vec<String> {
        if self.steps == 0 { Vec::new() } else { vec![HANDLER.to_owned()] }
    }

    /// A workflow whose steps do nothing, one after the other; each is given what the run is given.
    pub(crate) fn workflow(&self) -> String {
        let step = |at| format!("  - {{step: s{at}, handler: {HANDLER}, input: input}}\n");
        let steps: String = (1..=self.steps).map(step).collect();
        format!("name: {WORKFLOW}\nsteps:\n{steps}")
    }

    /// A payload, as JSON.
    pub(crate) fn payload(&self, task: NewTask) -> String {
        format!(r#"{{"at_us":{},"padding":"{}"}}"#, task.at_us, self.padding)
    }
}

/// The fewest labels of which half make so many sets.
fn labels_for(classes: usize) -> u32 {
    let halves = |labels: u32| {
        (1..=labels / 2)
            .fold(1_usize, |sets, taken| sets * (labels + 1 - taken) as usize / taken as usize)
    };
    (LABELS_MIN..=30).step_by(2).find(|labels| halves(*labels) >= classes).unwrap_or(30)
}

/// Every set of half of the labels, as bits, smallest first.
fn sets(labels: u32) -> impl Iterator<Item = u32> {
    let first = (1_u32 << (labels / 2)) - 1;
    std::iter::successors(Some(first), |set| {
        // The next larger number with as many bits.
        let lowest = set & set.wrapping_neg();
        let carried = set.checked_add(lowest)?;
        Some((((set ^ carried) >> 2).checked_div(lowest)?) | carried)
    })
}

fn named(set: u32, labels: u32) -> BTreeMap<String, String> {
    let asked = (0..labels).filter(|label| set & (1 << label) != 0);
    asked.map(|label| (format!("l{label}"), "1".to_owned())).collect()
}
