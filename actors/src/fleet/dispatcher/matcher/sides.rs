//! Classes and parties as two sides of one structure, each a list of nodes with hints of the other. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use foldhash::{HashMap, HashMapExt as _};

use super::order::Order;

/// How many items of one queue are looked at that the taker may not have.
const LOOK_MAX: usize = 64;

type Hints = BinaryHeap<Reverse<(Order, usize)>>;

#[derive(Debug)]
pub(super) struct Side<K, T> {
    pub(super) nodes: Vec<Node<K, T>>,
    pub(super) ids: HashMap<K, usize>,
}

#[derive(Debug)]
pub(super) struct Node<K, T> {
    pub(super) key: K,
    /// Own items by order: the lowest goes first.
    pub(super) queue: BTreeMap<Order, T>,
    /// Nodes of the other side that may have items, by an order not above their head's; those of each share apart.
    hints: Vec<(u32, Hints)>,
    /// Nodes of the other side that found this one empty or shut.
    asleep: Vec<usize>,
    /// Whose share its items are charged to; unused by parties.
    pub(super) share: u32,
    /// What may shut it; unused by parties.
    pub(super) gates: Vec<usize>,
    /// Workers with this profile; unused by classes.
    pub(super) members: usize,
    /// Of a party: the nodes of its further lines of polls, by number.
    pub(super) lines: Vec<(u8, usize)>,
}

impl<K, T> Default for Side<K, T> {
    fn default() -> Self {
        Self { nodes: Vec::new(), ids: HashMap::new() }
    }
}

impl<K: Clone + Eq + std::hash::Hash, T> Side<K, T> {
    pub(super) fn insert(&mut self, key: K, share: u32, gates: Vec<usize>) -> usize {
        self.ids.insert(key.clone(), self.nodes.len());
        self.push(key, share, gates)
    }

    /// A node that is found by no key of its own.
    pub(super) fn push(&mut self, key: K, share: u32, gates: Vec<usize>) -> usize {
        let id = self.nodes.len();
        self.nodes.push(Node {
            key,
            queue: BTreeMap::new(),
            hints: Vec::new(),
            asleep: Vec::new(),
            share,
            gates,
            members: 0,
            lines: Vec::new(),
        });
        id
    }
}

impl<K, T> Node<K, T> {
    fn head(&self) -> Option<Order> {
        self.queue.first_key_value().map(|(head, _)| *head)
    }

    fn hint(&mut self, share: u32, order: Order, peer: usize) {
        let hints = match self.hints.iter().position(|(known, _)| *known == share) {
            Some(at) => &mut self.hints[at].1,
            None => &mut self.hints.push_mut((share, Hints::new())).1,
        };
        hints.push(Reverse((order, peer)));
    }
}

/// Two nodes that fit learn of each other.
pub(super) fn introduce<A, T, B, U>(
    left: &mut Side<A, T>,
    left_id: usize,
    right: &mut Side<B, U>,
    right_id: usize,
) {
    present(left, left_id, right, right_id);
    present(right, right_id, left, left_id);
}

/// One node learns of another that fits: it gets a hint, or the promise of one.
pub(super) fn present<A, T, B, U>(
    to: &mut Side<A, T>,
    to_id: usize,
    of: &mut Side<B, U>,
    of_id: usize,
) {
    let known = &mut of.nodes[of_id];
    match known.head() {
        Some(head) => to.nodes[to_id].hint(known.share, head, of_id),
        None => known.asleep.push(to_id),
    }
}

/// Adds an item and wakes the nodes that wait for one. True when the queue was empty before.
pub(super) fn put<A, T, B, U>(
    own: &mut Side<A, T>,
    other: &mut Side<B, U>,
    id: usize,
    order: Order,
    item: T,
) -> bool {
    let node = &mut own.nodes[id];
    let was_empty = node.queue.is_empty();
    node.queue.insert(order, item);
    wake(own, other, id);
    was_empty
}

/// Tells the nodes that found this one empty or shut that it is not.
pub(super) fn wake<A, T, B, U>(own: &mut Side<A, T>, other: &mut Side<B, U>, id: usize) {
    let node = &mut own.nodes[id];
    let Some(head) = node.head() else { return };
    for sleeper in node.asleep.drain(..) {
        other.nodes[sleeper].hint(node.share, head, id);
    }
}

/// Takes from the best node that `id` has a hint of: of the share that comes first by `tag`, the head with the lowest
/// order, unless its node is shut or it may not be had.
pub(super) fn take<A, T, B, U>(
    own: &mut Side<A, T>,
    other: &mut Side<B, U>,
    id: usize,
    tag: impl Fn(u32) -> u64,
    is_open: impl Fn(&Node<B, U>) -> bool,
    may: impl Fn(&U) -> bool,
    steps: &mut u64,
) -> Option<(usize, U)> {
    let hints = &mut own.nodes[id].hints;
    if hints.len() > 1 {
        hints.sort_by_cached_key(|(share, hints)| {
            (tag(*share), hints.peek().map(|Reverse((order, _))| *order))
        });
    }
    hints.iter_mut().find_map(|(_, hints)| take_one(hints, other, id, (&is_open, &may), steps))
}

fn take_one<B, U>(
    hints: &mut Hints,
    other: &mut Side<B, U>,
    id: usize,
    (is_open, may): (&impl Fn(&Node<B, U>) -> bool, &impl Fn(&U) -> bool),
    steps: &mut u64,
) -> Option<(usize, U)> {
    let mut passed = Vec::new();
    let found = loop {
        let Some(Reverse((hinted, peer_id))) = hints.pop() else { break None };
        *steps += 1;
        let peer = &mut other.nodes[peer_id];
        match peer.head() {
            Some(head) if is_open(peer) => {
                if head > hinted {
                    hints.push(Reverse((head, peer_id)));
                    continue;
                }
                let fit = peer.queue.iter().take(LOOK_MAX).find(|(_, item)| may(item));
                let Some(order) = fit.map(|(order, _)| *order) else {
                    passed.push(Reverse((head, peer_id)));
                    continue;
                };
                hints.push(Reverse((head, peer_id)));
                break peer.queue.remove(&order).map(|item| (peer_id, item));
            }
            _ => peer.asleep.push(id),
        }
    };
    hints.extend(passed);
    found
}
