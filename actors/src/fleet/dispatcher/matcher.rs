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
mod tests {
    use super::*;

    fn wants(pool: &str, label: Option<(&str, &str)>) -> Arc<Requirement> {
        Arc::new(Requirement {
            project: None,
            pool: pool.into(),
            model: None,
            labels: label.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
        })
    }

    fn profile(pool: &str, labels: &[(&str, &str)]) -> Profile {
        Profile {
            project: None,
            pool: pool.into(),
            models: Default::default(),
            labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        }
    }

    fn poll(number: u64) -> Poll {
        Poll { worker: WorkerId::fresh(), poll: number, request: None }
    }

    #[test]
    fn class_is_first_in_first_out_and_a_returned_task_goes_first() {
        let mut matcher = Matcher::default();
        let (a, b, c) = (TaskId::fresh(), TaskId::fresh(), TaskId::fresh());
        let class = wants("p", None);
        for (order, task) in [(2, b), (3, c)] {
            matcher.queue_task(&class, order, task);
        }
        matcher.queue_task(&class, 1, a);

        let party = profile("p", &[]);
        let taken: Vec<_> = std::iter::from_fn(|| matcher.take_task(&party)).collect();

        assert_eq!(taken, [a, b, c]);
    }

    #[test]
    fn worker_without_the_label_is_never_offered_the_task() {
        let mut matcher = Matcher::default();
        let task = TaskId::fresh();
        matcher.queue_task(&wants("p", Some(("gpu", "true"))), 1, task);

        assert_eq!(matcher.take_task(&profile("p", &[])), None);
        assert_eq!(matcher.take_task(&profile("q", &[("gpu", "true")])), None);
        assert_eq!(matcher.take_task(&profile("p", &[("gpu", "true"), ("x", "y")])), Some(task));
    }

    #[test]
    fn longest_parked_poll_is_served_first_and_a_left_one_never() {
        let mut matcher = Matcher::default();
        let (one, two) = (profile("p", &[]), profile("p", &[("x", "y")]));
        matcher.park(&one, 1, poll(1));
        matcher.park(&two, 2, poll(2));
        matcher.park(&one, 3, poll(3));
        matcher.unpark(&one, 1);

        let class = wants("p", None);
        let served: Vec<_> =
            std::iter::from_fn(|| matcher.take_poll(&class)).map(|poll| poll.poll).collect();

        assert_eq!(served, [2, 3]);
    }

    /// Cost is counted in hints, with 10,000 classes and 5,000 distinct profiles.
    #[test]
    fn cost_of_a_match_grows_with_neither_classes_nor_profiles() {
        let mut matcher = Matcher::default();
        let profiles: Vec<_> = (0..5_000).map(|n| profile("p", &[("n", &n.to_string())])).collect();
        let classes: Vec<_> =
            (0..10_000).map(|n| wants("p", Some(("n", &(n % 5_000).to_string())))).collect();
        profiles.iter().for_each(|profile| matcher.join(profile));
        for (order, class) in classes.iter().enumerate() {
            matcher.queue_task(class, order as u64, TaskId::fresh());
        }
        let open = wants("p", None);
        matcher.queue_task(&open, 20_000, TaskId::fresh());

        let mut matches = 0;
        for round in 0..4_u64 {
            for (n, profile) in profiles.iter().enumerate() {
                match matcher.take_task(profile) {
                    Some(_) => matches += 1,
                    None => matcher.park(profile, round * 10_000 + n as u64, poll(n as u64)),
                }
            }
        }
        for order in 0..1_000 {
            matches += u64::from(matcher.take_poll(&open).is_some());
            matcher.queue_task(&open, 30_000 + order, TaskId::fresh());
        }

        assert_eq!(matches, 10_001 + 1_000);
        assert!(matcher.steps() < 8 * 21_000, "{} hints looked at", matcher.steps());
    }

    #[test]
    fn made_up_classes_do_not_pile_up() {
        let mut matcher = Matcher::default();
        let party = profile("p", &[]);
        matcher.join(&party);
        let kept = TaskId::fresh();
        matcher.queue_task(&wants("q", None), 1, kept);

        for n in 0..IDLE_NODES as u64 + 10 {
            let class = Requirement { model: None, ..(*wants("p", None)).clone() };
            let class = Arc::new(Requirement { labels: [].into(), ..class });
            matcher.class(&wants("p", Some(("n", &n.to_string()))));
            matcher.queue_task(&class, n, TaskId::fresh());
            assert!(matcher.take_task(&party).is_some());
        }

        assert!(matcher.classes.nodes.len() < IDLE_NODES);
        assert_eq!(matcher.take_task(&profile("q", &[])), Some(kept));
    }

    mod properties {
        use super::*;
        use proptest::prelude::*;

        #[derive(Debug, Clone)]
        enum Op {
            Task(u8),
            Poll(u8),
            Leave(u8),
            Take(u8),
            Offer(u8),
        }

        fn ops() -> impl Strategy<Value = Vec<Op>> {
            let op = (0..5_u8, 0..6_u8).prop_map(|(what, n)| match what {
                0 => Op::Task(n),
                1 => Op::Poll(n),
                2 => Op::Leave(n),
                3 => Op::Take(n),
                _ => Op::Offer(n),
            });
            proptest::collection::vec(op, 1..120)
        }

        fn class_of(n: u8) -> Arc<Requirement> {
            let label = n % 3;
            wants(
                if n < 3 { "p" } else { "q" },
                (label > 0).then_some(("l", ["", "a", "b"][label as usize])),
            )
        }

        fn party_of(n: u8) -> Profile {
            let labels: &[_] = match n % 3 {
                0 => &[],
                1 => &[("l", "a")],
                _ => &[("l", "b")],
            };
            profile(if n < 3 { "p" } else { "q" }, labels)
        }

        proptest! {
            /// Against the obvious lists: whatever fits is found, and nothing else.
            #[test]
            fn finds_a_match_exactly_when_there_is_one(ops in ops()) {
                let mut matcher = Matcher::default();
                let mut tasks: Vec<(u64, TaskId, u8)> = Vec::new();
                let mut polls: Vec<(u64, u8)> = Vec::new();
                for (order, op) in ops.into_iter().enumerate() {
                    let order = order as u64;
                    match op {
                        Op::Task(n) => {
                            let task = TaskId::fresh();
                            matcher.queue_task(&class_of(n), order, task);
                            tasks.push((order, task, n));
                        }
                        Op::Poll(n) => {
                            matcher.park(&party_of(n), order, poll(order));
                            polls.push((order, n));
                        }
                        Op::Leave(n) => {
                            if let Some(at) = polls.iter().position(|(_, party)| *party == n) {
                                let (order, n) = polls.remove(at);
                                matcher.unpark(&party_of(n), order);
                            }
                        }
                        Op::Take(n) => {
                            let party = party_of(n);
                            let best = tasks.iter().position(|(_, _, c)| party.fits(&class_of(*c)));
                            let expected = best.map(|at| tasks.remove(at).1);
                            prop_assert_eq!(matcher.take_task(&party), expected);
                        }
                        Op::Offer(n) => {
                            let class = class_of(n);
                            let best = polls.iter().position(|(_, p)| party_of(*p).fits(&class));
                            let expected = best.map(|at| polls.remove(at).0);
                            prop_assert_eq!(matcher.take_poll(&class).map(|p| p.poll), expected);
                        }
                    }
                    prop_assert_eq!(matcher.waiting().0, tasks.len());
                    prop_assert_eq!(matcher.parked(), polls.len());
                }
            }
        }
    }
}
