//! What a run knows of its steps that are durable functions. Pure.
//!
//! Each suspension ends a task, and the next task goes on: a leg. What the function waits for is what the run waits for, under
//! keys of its own below the step's.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Done, Key, Outcome, Phase, Place, Run, Seen};
use crate::fleet::task::history::{Called, Entry, History, Pending};

/// A step that is a durable function, while it has not ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Function {
    /// How often it was suspended.
    pub leg: u32,
    /// When its first task was wanted, in microseconds UTC.
    pub since: i64,
    /// How often its earlier tasks were claimed.
    pub attempts: u32,
    /// How often a task went on with it.
    #[serde(skip_serializing_if = "is_zero")]
    pub turns: u32,
    /// What it has done; how its waits ended is with the run.
    pub history: History,
    /// What it waits for, while it is suspended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Pending>,
    /// Where what it asks people is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Place>,
}

impl Run {
    /// What the function that is a step has done, as far as this run knows: by position.
    pub fn history_of(&self, key: &Key) -> Vec<Entry> {
        let Some(function) = self.functions.get(key) else { return Vec::new() };
        let whole = |entry: &Entry| {
            let mut entry = entry.clone();
            if entry.what != Called::Step
                && let Some(done) = self.done.get(&key.within(entry.index, &entry.name))
            {
                entry.outcome = Some(done.outcome.clone());
                entry.votes = done.votes.clone();
            }
            entry
        };
        function.history.iter().map(whole).collect()
    }

    /// The history that a task goes on with. How a wait ended is in it from the next task on: each attempt learns of it where
    /// the code first did, so a `select!` comes to what it came to, however many of its waits are over by now.
    pub fn history_for_task(&self, key: &Key) -> Vec<Entry> {
        let next = self.functions.get(key).map_or(0, |function| function.turns) + 1;
        // A task that is wanted again knows what it knew.
        let wanted = self.scheduled.contains_key(key);
        let mut history = self.history_of(key);
        for entry in history.iter_mut().filter(|entry| entry.what != Called::Step) {
            match (&entry.outcome, entry.known_from) {
                (Some(_), 0) if wanted => (entry.outcome, entry.votes) = (None, Vec::new()),
                (Some(_), 0) => entry.known_from = next,
                _ => {}
            }
        }
        history
    }

    /// Waits of functions that ended without what was asked for, where the function went on behind that: it would not fit what
    /// it did then if they ended in another way.
    pub(super) fn settled(&self) -> BTreeSet<Key> {
        let of_function = |(key, function): (&Key, &Function)| {
            let at = |entry: &Entry| key.within(entry.index, &entry.name);
            let ended =
                |entry: &&Entry| entry.what == Called::Step || self.done.contains_key(&at(entry));
            let last = function.history.iter().filter(ended).map(|entry| entry.index).max();
            let before = |entry: &&Entry| last.is_some_and(|last| entry.index < last);
            function.history.iter().filter(before).map(at).collect::<Vec<_>>()
        };
        self.functions.iter().flat_map(of_function).collect()
    }

    /// Everything that failed is wanted again, unless something was done with its failure.
    pub(super) fn start_over(&mut self, used: &BTreeSet<Key>) {
        self.phase = Phase::Running;
        self.parent_told = false;
        self.round += 1;
        let settled = self.settled();
        let stays = |key: &Key, done: &Done| {
            matches!(done.outcome, Outcome::Completed { .. })
                || settled.contains(key)
                || used.contains(key)
        };
        self.done.retain(|key, done| stays(key, done));
    }

    pub(super) fn suspend(
        &mut self,
        key: &Key,
        (asked, seen): (Place, Seen),
        steps: &[Entry],
        waits: &[Pending],
    ) {
        let since = self.scheduled.remove(key).map(|step| step.since);
        self.keep_steps(key, steps);
        let function = self.functions.entry(key.clone()).or_default();
        if function.leg == 0 {
            function.since = since.unwrap_or_default();
        }
        function.leg += 1;
        function.attempts += seen.attempts;
        for wait in waits {
            if function.history.get(wait.index).is_some() {
                continue;
            }
            function.history.put(wait.entry());
        }
        (function.waits, function.asked) = (waits.to_vec(), Some(asked));
    }

    pub(super) fn keep_steps(&mut self, key: &Key, steps: &[Entry]) {
        if steps.is_empty() {
            return;
        }
        let function = self.functions.entry(key.clone()).or_default();
        steps.iter().for_each(|step| function.history.put(step.clone()));
    }

    /// A task goes on with the function.
    pub(super) fn go_on(&mut self, key: &Key) {
        let Some(function) = self.functions.get_mut(key) else { return };
        (function.waits, function.asked) = (Vec::new(), None);
        function.turns += 1;
        for entry in function.history.iter_mut() {
            let is_fresh = entry.what != Called::Step && entry.known_from == 0;
            if is_fresh && self.done.contains_key(&key.within(entry.index, &entry.name)) {
                entry.known_from = function.turns;
            }
        }
    }

    /// A step has ended: nobody waits for what it may still have waited for. What a failed one has done stays done.
    pub(super) fn end_function(&mut self, key: &Key, outcome: &Outcome) {
        let Some(function) = self.functions.get(key) else { return };
        for entry in function.history.iter().filter(|entry| entry.what != Called::Step) {
            self.waits.remove(&key.within(entry.index, &entry.name));
        }
        if matches!(outcome, Outcome::Completed { .. }) {
            self.functions.remove(key);
        }
    }
}

fn is_zero(turns: &u32) -> bool {
    *turns == 0
}
