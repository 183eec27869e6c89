//! Whose turn it is when a worker may serve several projects: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM
//! 1996) with one task as the unit of service. Pure.

use std::collections::{BTreeMap, HashMap};

/// What one task costs a project of weight 1, in virtual time.
const TASK: u64 = 1 << 20;
/// The greatest weight.
pub const WEIGHT_MAX: u32 = 1_000;

/// The projects of one cell and how much each has had.
#[derive(Debug, Default)]
pub(super) struct Shares {
    ids: HashMap<Option<String>, u32>,
    list: Vec<Share>,
    weights: BTreeMap<String, u32>,
    /// The start of the service that was given last.
    now: u64,
}

#[derive(Debug)]
struct Share {
    weight: u32,
    /// When what it was given so far is served.
    finish: u64,
}

impl Shares {
    /// The number of a project.
    pub(super) fn id(&mut self, project: Option<&String>) -> u32 {
        if let Some(id) = self.ids.get(&project.cloned()) {
            return *id;
        }
        let id = self.list.len() as u32;
        let weight = project.and_then(|name| self.weights.get(name)).copied().unwrap_or(1);
        self.list.push(Share { weight, finish: 0 });
        self.ids.insert(project.cloned(), id);
        id
    }

    /// The lowest goes first. One that had nothing to do is not owed for it.
    pub(super) fn tag(&self, share: u32) -> u64 {
        self.list.get(share as usize).map_or(self.now, |share| share.finish.max(self.now))
    }

    /// A task of it starts.
    pub(super) fn charge(&mut self, share: u32) {
        let start = self.tag(share);
        if let Some(share) = self.list.get_mut(share as usize) {
            self.now = start;
            share.finish = start + TASK / u64::from(share.weight.clamp(1, WEIGHT_MAX));
        }
    }

    /// From now on these weights count; a project without one has 1.
    pub(super) fn weigh(&mut self, weights: &BTreeMap<String, u32>) {
        self.weights = weights.clone();
        for (project, id) in &self.ids {
            let weight = project.as_ref().and_then(|name| weights.get(name)).copied().unwrap_or(1);
            self.list[*id as usize].weight = weight;
        }
    }

    /// As new, with the same weights.
    pub(super) fn start_over(self) -> Self {
        Self { weights: self.weights, ..Self::default() }
    }
}
