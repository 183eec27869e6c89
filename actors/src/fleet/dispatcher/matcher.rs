//! Which waiting task goes to which parked poll, at a cost that grows with neither. Pure.
//!
//! Tasks with equal requirements are one class, workers with equal profiles one party, and whether a
//! class fits a party is computed once. Classes and parties are the two sides of one structure: each
//! node has a queue of its own items and a heap of nodes of the other side that may have some. A heap
//! entry is a hint: it is corrected when it is seen, and a node found empty is dropped and asked to
//! say when it is not (it keeps the asker in `asleep`). So an operation pays only for hints that earlier
//! operations left behind: amortised O(log n) in classes, parties and items.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use crate::fleet::task::{Profile, Requirement};
use crate::id::{TaskId, WorkerId};

/// Classes without a task and parties without a worker that are kept for their next one; beyond it all
/// of them are dropped (a tenant may make up labels for ever).
const IDLE_NODES: usize = 32_768;

/// A free seat that waits for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// Whose.
    pub worker: WorkerId,
    /// Its number; unique in this process.
    pub poll: u64,
    /// The claim's own name, where the worker gave one.
    pub request: Option<String>,
    /// Most tasks that it takes.
    pub max: usize,
}

/// The queues of one cell.
#[derive(Debug, Default)]
pub struct Matcher {
    classes: Side<Arc<Requirement>, TaskId>,
    parties: Side<Profile, Poll>,
    lanes: HashMap<(Option<String>, String), Lane>,
    idle: usize,
    steps: u64,
}

/// Classes and parties of one project and pool: no pair outside a lane can fit.
#[derive(Debug, Default)]
struct Lane {
    classes: Vec<usize>,
    parties: Vec<usize>,
}

#[derive(Debug)]
struct Side<K, T> {
    nodes: Vec<Node<K, T>>,
    ids: HashMap<K, usize>,
}

#[derive(Debug)]
struct Node<K, T> {
    key: K,
    /// Own items by order: the lowest goes first.
    queue: BTreeMap<u64, T>,
    /// Nodes of the other side that may have items, by an order not above their head's.
    hints: BinaryHeap<Reverse<(u64, usize)>>,
    /// Nodes of the other side that found this one empty.
    asleep: Vec<usize>,
    /// Workers with this profile; unused by classes.
    members: usize,
}

impl<K, T> Default for Side<K, T> {
    fn default() -> Self {
        Self { nodes: Vec::new(), ids: HashMap::new() }
    }
}

impl<K: Clone + Eq + std::hash::Hash, T> Side<K, T> {
    fn insert(&mut self, key: K) -> usize {
        let id = self.nodes.len();
        self.ids.insert(key.clone(), id);
        self.nodes.push(Node {
            key,
            queue: BTreeMap::new(),
            hints: BinaryHeap::new(),
            asleep: Vec::new(),
            members: 0,
        });
        id
    }
}

impl Matcher {
    /// A worker with this profile may work.
    pub fn join(&mut self, profile: &Profile) {
        let id = self.party(profile);
        let members = &mut self.parties.nodes[id].members;
        *members += 1;
        self.idle -= usize::from(*members == 1);
    }

    /// One such worker less.
    pub fn leave(&mut self, profile: &Profile) {
        if let Some(&id) = self.parties.ids.get(profile) {
            let members = &mut self.parties.nodes[id].members;
            self.idle += usize::from(*members == 1);
            *members = members.saturating_sub(1);
            self.forget_idle();
        }
    }

    /// Puts a task into the queue of its class; the lowest `order` goes first.
    pub fn queue_task(&mut self, wants: &Arc<Requirement>, order: u64, task: TaskId) {
        let id = self.class(wants);
        if put(&mut self.classes, &mut self.parties, id, order, task) {
            self.idle -= 1;
        }
    }

    /// The task is no longer there to be taken.
    pub fn unqueue_task(&mut self, wants: &Arc<Requirement>, order: u64) {
        if let Some(&id) = self.classes.ids.get(wants) {
            let queue = &mut self.classes.nodes[id].queue;
            let removed = queue.remove(&order).is_some();
            self.idle += usize::from(removed && queue.is_empty());
        }
    }

    /// Parks a poll; the lowest `order` is served first.
    pub fn park(&mut self, profile: &Profile, order: u64, poll: Poll) {
        let id = self.party(profile);
        put(&mut self.parties, &mut self.classes, id, order, poll);
    }

    /// The poll is no longer there to be answered.
    pub fn unpark(&mut self, profile: &Profile, order: u64) {
        if let Some(&id) = self.parties.ids.get(profile) {
            self.parties.nodes[id].queue.remove(&order);
        }
    }

    /// Takes the task that a worker of this profile should do next.
    pub fn take_task(&mut self, profile: &Profile) -> Option<TaskId> {
        let party = self.party(profile);
        let (class, task) = take(&mut self.parties, &mut self.classes, party, &mut self.steps)?;
        if self.classes.nodes[class].queue.is_empty() {
            self.idle += 1;
            self.forget_idle();
        }
        Some(task)
    }

    /// Takes the poll that has waited longest among those that may be given such a task.
    pub fn take_poll(&mut self, wants: &Arc<Requirement>) -> Option<Poll> {
        let class = self.class(wants);
        let taken = take(&mut self.classes, &mut self.parties, class, &mut self.steps);
        self.forget_idle();
        taken.map(|(_, poll)| poll)
    }

    /// Waiting tasks, and the one that has waited longest.
    pub fn waiting(&self) -> (usize, Option<TaskId>) {
        let heads = self.classes.nodes.iter().filter_map(|node| node.queue.first_key_value());
        let count = self.classes.nodes.iter().map(|node| node.queue.len()).sum();
        (count, heads.min().map(|(_, task)| *task))
    }

    /// Parked polls.
    pub fn parked(&self) -> usize {
        self.parties.nodes.iter().map(|node| node.queue.len()).sum()
    }

    /// Hints looked at since the start: what the cost of matching is counted in.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn class(&mut self, wants: &Arc<Requirement>) -> usize {
        if let Some(&id) = self.classes.ids.get(wants) {
            return id;
        }
        let id = self.classes.insert(wants.clone());
        self.idle += 1;
        let lane = self.lanes.entry((wants.project.clone(), wants.pool.clone())).or_default();
        lane.classes.push(id);
        for &party in &lane.parties {
            if self.parties.nodes[party].key.fits(wants) {
                introduce(&mut self.classes, id, &mut self.parties, party);
            }
        }
        id
    }

    fn party(&mut self, profile: &Profile) -> usize {
        if let Some(&id) = self.parties.ids.get(profile) {
            return id;
        }
        let id = self.parties.insert(profile.clone());
        self.idle += 1;
        let lane = self.lanes.entry((profile.project.clone(), profile.pool.clone())).or_default();
        lane.parties.push(id);
        for &class in &lane.classes {
            if profile.fits(&self.classes.nodes[class].key) {
                introduce(&mut self.classes, class, &mut self.parties, id);
            }
        }
        id
    }

    /// Starts over with the classes that have tasks and the parties that have workers.
    fn forget_idle(&mut self) {
        if self.idle <= IDLE_NODES {
            return;
        }
        let old = std::mem::take(self);
        self.steps = old.steps;
        for node in old.parties.nodes.into_iter().filter(|node| node.members > 0) {
            let id = self.party(&node.key);
            self.idle -= 1;
            self.parties.nodes[id].members = node.members;
            self.parties.nodes[id].queue = node.queue;
        }
        for node in old.classes.nodes.into_iter().filter(|node| !node.queue.is_empty()) {
            for (order, task) in node.queue {
                self.queue_task(&node.key, order, task);
            }
        }
    }
}

/// Two nodes that fit learn of each other: each gets a hint, or the promise of one.
fn introduce<A, T, B, U>(
    left: &mut Side<A, T>,
    left_id: usize,
    right: &mut Side<B, U>,
    right_id: usize,
) {
    let (a, b) = (&mut left.nodes[left_id], &mut right.nodes[right_id]);
    match b.queue.first_key_value() {
        Some((&head, _)) => a.hints.push(Reverse((head, right_id))),
        None => b.asleep.push(left_id),
    }
    match a.queue.first_key_value() {
        Some((&head, _)) => b.hints.push(Reverse((head, left_id))),
        None => a.asleep.push(right_id),
    }
}

/// Adds an item and wakes the nodes that wait for one. True when the queue was empty before.
fn put<A, T, B, U>(
    own: &mut Side<A, T>,
    other: &mut Side<B, U>,
    id: usize,
    order: u64,
    item: T,
) -> bool {
    let node = &mut own.nodes[id];
    let was_empty = node.queue.is_empty();
    node.queue.insert(order, item);
    for sleeper in node.asleep.drain(..) {
        other.nodes[sleeper].hints.push(Reverse((order, id)));
    }
    was_empty
}

/// Takes the head of the best node that `id` has a hint of.
fn take<A, T, B, U>(
    own: &mut Side<A, T>,
    other: &mut Side<B, U>,
    id: usize,
    steps: &mut u64,
) -> Option<(usize, U)> {
    let node = &mut own.nodes[id];
    while let Some(Reverse((hinted, peer_id))) = node.hints.pop() {
        *steps += 1;
        let peer = &mut other.nodes[peer_id];
        match peer.queue.first_key_value().map(|(&head, _)| head) {
            None => peer.asleep.push(id),
            Some(head) if head > hinted => node.hints.push(Reverse((head, peer_id))),
            Some(head) => {
                node.hints.push(Reverse((head, peer_id)));
                return peer.queue.pop_first().map(|(_, item)| (peer_id, item));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
