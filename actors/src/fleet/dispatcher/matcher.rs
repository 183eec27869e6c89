//! Which waiting task goes to which parked poll, at a cost that grows with neither. Pure.
//!
//! Tasks with equal requirements are one class, workers with equal profiles one party, and whether a
//! class fits a party is computed once. Classes and parties are the two sides of one structure: each
//! node has a queue of its own items and a heap of nodes of the other side that may have some. A heap
//! entry is a hint: it is corrected when it is seen, and a node found empty is dropped and asked to
//! say when it is not (it keeps the asker in `asleep`). So an operation pays only for hints that earlier
//! operations left behind: amortised O(log n) in classes, parties and items.
//!
//! The polls of a party stand in lines, each a node of its own, because a hint must never be above the head: what is put into a
//! queue in front of the others is found late. Which line, and so who of several waiting workers is served, is up to the caller.
//!
//! A class behind a gate that is shut (a pause, a cap) counts as empty. When a gate opens, every class behind it is
//! looked at: the one cost that grows with classes. A task that shall not go to certain workers is passed over by
//! those and keeps its place.

mod gates;
mod order;
mod shares;
mod sides;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use fleetward_store::Origin;

use crate::fleet::task::{Profile, Requirement};
use crate::id::{TaskId, WorkerId};
use gates::Gates;
pub use gates::{Gate, Limit};
pub use order::{Order, Place};
use shares::Shares;
pub use shares::WEIGHT_MAX;
use sides::{Side, introduce, present, put, take, wake};

/// Classes without a task and parties without a worker that are kept for their next one; beyond it all
/// of them are dropped (a tenant may make up labels for ever).
const IDLE_NODES: usize = 32_768;
/// Tasks of one class that a poll is looked for, where some of them may not go to every worker.
const TRIES: usize = 64;

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
    /// By which request.
    pub origin: Option<Arc<Origin>>,
}

/// The queues of one cell.
#[derive(Debug, Default)]
pub struct Matcher {
    classes: Side<Arc<Requirement>, TaskId>,
    parties: Side<Profile, Poll>,
    lanes: HashMap<(Option<String>, String), Lane>,
    gates: Gates,
    shares: Shares,
    /// Workers that shall not get a task, by task.
    avoided: HashMap<TaskId, BTreeSet<WorkerId>>,
    /// Classes behind a gate that has opened.
    woken: Vec<usize>,
    idle: usize,
    steps: u64,
}

/// Classes and parties of one project and pool: no pair outside a lane can fit.
#[derive(Debug, Default)]
struct Lane {
    classes: Vec<usize>,
    parties: Vec<usize>,
}

impl Matcher {
    /// A worker with this profile may work.
    pub fn join(&mut self, profile: &Profile) {
        let id = self.party(profile);
        let members = &mut self.parties.nodes[id].members;
        *members += 1;
        if *members == 1 {
            self.idle -= 1 + self.parties.nodes[id].lines.len();
        }
    }

    /// One such worker less.
    pub fn leave(&mut self, profile: &Profile) {
        if let Some(&id) = self.parties.ids.get(profile) {
            let party = &mut self.parties.nodes[id];
            if party.members == 1 {
                self.idle += 1 + party.lines.len();
            }
            party.members = party.members.saturating_sub(1);
            self.forget_idle();
        }
    }

    /// Puts a task into the queue of its class; the lowest `order` goes first. Answers the requirements as the class has
    /// them.
    pub fn queue_task(
        &mut self,
        wants: &Arc<Requirement>,
        order: Order,
        task: TaskId,
    ) -> Arc<Requirement> {
        let id = self.class(wants);
        if put(&mut self.classes, &mut self.parties, id, order, task) {
            self.idle -= 1;
        }
        self.classes.nodes[id].key.clone()
    }

    /// The task is no longer there to be taken.
    pub fn unqueue_task(&mut self, wants: &Arc<Requirement>, order: Order) {
        if let Some(&id) = self.classes.ids.get(wants) {
            let queue = &mut self.classes.nodes[id].queue;
            let removed = queue.remove(&order);
            self.idle += usize::from(removed.is_some() && queue.is_empty());
            if let Some(task) = removed {
                self.avoided.remove(&task);
            }
        }
    }

    /// The task, while it is queued, passes these workers over.
    pub fn avoid(&mut self, task: TaskId, workers: &BTreeSet<WorkerId>) {
        if workers.is_empty() {
            self.avoided.remove(&task);
        } else {
            self.avoided.insert(task, workers.clone());
        }
    }

    /// Parks a poll; among all lines the lowest order is served first. In its line it must be the highest.
    pub fn park(&mut self, profile: &Profile, place: Place, poll: Poll) {
        let id = self.line(profile, place.line);
        put(&mut self.parties, &mut self.classes, id, place.order, poll);
    }

    /// The poll is no longer there to be answered.
    pub fn unpark(&mut self, profile: &Profile, place: Place) -> Option<Poll> {
        let party = *self.parties.ids.get(profile)?;
        let id = self.line_of(party, place.line).ok()?;
        self.parties.nodes[id].queue.remove(&place.order)
    }

    /// Takes the task that a worker of this profile should do next; it runs until [`Matcher::ended`].
    pub fn take_task(&mut self, profile: &Profile, worker: WorkerId) -> Option<TaskId> {
        let party = self.party(profile);
        let Self { classes, parties, gates, shares, avoided, steps, .. } = self;
        let may = |task: &TaskId| avoided.get(task).is_none_or(|not| !not.contains(&worker));
        let is_open = |class: &sides::Node<_, _>| gates.are_open(&class.gates);
        let tag = |share| shares.tag(share);
        let (class, task) = take(parties, classes, party, tag, is_open, may, steps)?;
        let node = &classes.nodes[class];
        gates.start(&node.gates);
        shares.charge(node.share);
        avoided.remove(&task);
        if node.queue.is_empty() {
            self.idle += 1;
            self.forget_idle();
        }
        Some(task)
    }

    /// Takes the poll that comes first among those that may be given such a task.
    pub fn take_poll(&mut self, wants: &Arc<Requirement>) -> Option<Poll> {
        let class = self.class(wants);
        let node = &self.classes.nodes[class];
        if !self.gates.are_open(&node.gates) {
            return None;
        }
        let taken = if self.avoided.is_empty() || node.queue.is_empty() {
            self.take_poll_of(class, None)
        } else {
            let tasks: Vec<_> = node.queue.values().take(TRIES).copied().collect();
            tasks.into_iter().find_map(|task| self.take_poll_of(class, Some(task)))
        };
        self.forget_idle();
        taken
    }

    fn take_poll_of(&mut self, class: usize, task: Option<TaskId>) -> Option<Poll> {
        let Self { classes, parties, avoided, steps, .. } = self;
        let not = task.and_then(|task| avoided.get(&task));
        let may = |poll: &Poll| not.is_none_or(|not| !not.contains(&poll.worker));
        take(classes, parties, class, |_| 0, |_| true, may, steps).map(|(_, poll)| poll)
    }

    /// A task that ran when the cell started, or that was given out past the queues, runs.
    pub fn started(&mut self, wants: &Requirement) {
        let gates = self.gates.of(wants);
        self.gates.start(&gates);
    }

    /// The same, where the gates are open: false where they are not. It counts to the share of its project.
    pub fn start(&mut self, wants: &Requirement) -> bool {
        if self.gates.shut(wants).next().is_some() {
            return false;
        }
        self.started(wants);
        let share = self.shares.id(wants.project.as_ref());
        self.shares.charge(share);
        true
    }

    /// A task runs no more. Classes that this lets go on wait for [`Matcher::next_woken`].
    pub fn ended(&mut self, wants: &Requirement) {
        let gates = self.gates.of(wants);
        let freed = self.gates.end(&gates);
        self.wake_all(freed);
    }

    /// From now on these limits and weights count. `running` are the tasks that run.
    pub fn govern<'a>(
        &mut self,
        limits: impl IntoIterator<Item = (Gate, usize)>,
        weights: &BTreeMap<String, u32>,
        running: impl Iterator<Item = &'a Requirement>,
    ) {
        self.shares.weigh(weights);
        self.gates = Gates::new(limits);
        running.for_each(|wants| self.started(wants));
        for (id, class) in self.classes.nodes.iter_mut().enumerate() {
            class.gates = self.gates.of(&class.key);
            self.gates.enter(id, &class.gates);
        }
        self.wake_all((0..self.classes.nodes.len()).collect());
    }

    /// A class that a gate let go, for which a poll may be parked.
    pub fn next_woken(&mut self) -> Option<Arc<Requirement>> {
        let class = self.woken.pop()?;
        Some(self.classes.nodes[class].key.clone())
    }

    /// The limits that keep such tasks waiting.
    pub fn shut(&self, wants: &Requirement) -> Vec<Limit> {
        self.gates.shut(wants).cloned().collect()
    }

    /// How many tasks of the class go before this place, counted up to `most`.
    pub fn ahead(&self, wants: &Arc<Requirement>, order: Order, most: usize) -> usize {
        let class = self.classes.ids.get(wants).map(|id| &self.classes.nodes[*id]);
        class.map_or(0, |class| class.queue.range(..order).take(most).count())
    }

    /// Waiting tasks, and those that go first in their classes.
    pub fn waiting(&self) -> (usize, impl Iterator<Item = TaskId>) {
        let nodes = &self.classes.nodes;
        let heads = nodes.iter().filter_map(|node| node.queue.first_key_value());
        (nodes.iter().map(|node| node.queue.len()).sum(), heads.map(|(_, task)| *task))
    }

    /// Waiting tasks that a pause holds back, and those that only a cap does.
    pub fn held(&self) -> (usize, usize) {
        let (mut paused, mut capped) = (0, 0);
        let shut = |class: &&sides::Node<_, TaskId>| !self.gates.are_open(&class.gates);
        for class in self.classes.nodes.iter().filter(shut) {
            let held = if self.gates.are_paused(&class.gates) { &mut paused } else { &mut capped };
            *held += class.queue.len();
        }
        (paused, capped)
    }

    /// How many tasks run behind a cap.
    pub fn running(&self, gate: &Gate, most: usize) -> usize {
        let is = |limit: &&Limit| limit.gate == *gate && limit.most == most;
        self.gates.limits().iter().find(is).map_or(0, |limit| limit.running)
    }

    /// How many tasks of a class wait, for each of the polls that one party has parked and one more.
    pub fn queued_per_poll(&self, wants: &Arc<Requirement>, profile: &Profile) -> usize {
        let class = self.classes.ids.get(wants);
        let queued = class.map_or(0, |id| self.classes.nodes[*id].queue.len());
        let party = self.parties.ids.get(profile).filter(|_| queued > 1);
        let party = party.map(|id| &self.parties.nodes[*id]);
        let polls = party.map_or(0, |party| {
            let lines = party.lines.iter().map(|(_, id)| self.parties.nodes[*id].queue.len());
            party.queue.len() + lines.sum::<usize>()
        });
        queued.div_ceil(polls + 1)
    }

    /// Parked polls.
    pub fn parked(&self) -> usize {
        self.parties.nodes.iter().map(|node| node.queue.len()).sum()
    }

    /// Hints looked at since the start: what the cost of matching is counted in.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn wake_all(&mut self, classes: Vec<usize>) {
        for id in classes {
            let class = &self.classes.nodes[id];
            if !class.queue.is_empty() && self.gates.are_open(&class.gates) {
                wake(&mut self.classes, &mut self.parties, id);
                self.woken.push(id);
            }
        }
    }

    fn class(&mut self, wants: &Arc<Requirement>) -> usize {
        if let Some(&id) = self.classes.ids.get(wants) {
            return id;
        }
        let gates = self.gates.of(wants);
        let share = self.shares.id(wants.project.as_ref());
        let id = self.classes.insert(wants.clone(), share, gates);
        self.gates.enter(id, &self.classes.nodes[id].gates);
        self.idle += 1;
        let lane = self.lanes.entry((wants.project.clone(), wants.pool.clone())).or_default();
        lane.classes.push(id);
        for &party in &lane.parties {
            if self.parties.nodes[party].key.fits(wants) {
                introduce(&mut self.classes, id, &mut self.parties, party);
                for at in 0..self.parties.nodes[party].lines.len() {
                    let (_, line) = self.parties.nodes[party].lines[at];
                    present(&mut self.classes, id, &mut self.parties, line);
                }
            }
        }
        id
    }

    /// The node of a line of a party's polls: the first is the party's own.
    fn line(&mut self, profile: &Profile, line: u8) -> usize {
        let party = self.party(profile);
        let place = match self.line_of(party, line) {
            Ok(id) => return id,
            Err(place) => place,
        };
        let id = self.parties.push(profile.clone(), 0, Vec::new());
        let node = &mut self.parties.nodes[party];
        node.lines.insert(place, (line, id));
        self.idle += usize::from(node.members == 0);
        for project in profile.projects() {
            let lane = self.lanes.get(&(project.cloned(), profile.pool.clone()));
            for &class in lane.into_iter().flat_map(|lane| &lane.classes) {
                if profile.fits(&self.classes.nodes[class].key) {
                    present(&mut self.classes, class, &mut self.parties, id);
                }
            }
        }
        id
    }

    /// The same where it is known, or where it is to be.
    fn line_of(&self, party: usize, line: u8) -> Result<usize, usize> {
        if line == 0 {
            return Ok(party);
        }
        let lines = &self.parties.nodes[party].lines;
        lines.binary_search_by_key(&line, |(line, _)| *line).map(|at| lines[at].1)
    }

    fn party(&mut self, profile: &Profile) -> usize {
        if let Some(&id) = self.parties.ids.get(profile) {
            return id;
        }
        let id = self.parties.insert(profile.clone(), 0, Vec::new());
        self.idle += 1;
        for project in profile.projects() {
            let lane = self.lanes.entry((project.cloned(), profile.pool.clone())).or_default();
            lane.parties.push(id);
            for &class in &lane.classes {
                if profile.fits(&self.classes.nodes[class].key) {
                    introduce(&mut self.classes, class, &mut self.parties, id);
                }
            }
        }
        id
    }

    /// Starts over with the classes that have tasks and the parties that have workers.
    fn forget_idle(&mut self) {
        if self.idle <= IDLE_NODES {
            return;
        }
        let mut old = std::mem::take(self);
        self.steps = old.steps;
        self.gates = old.gates.emptied();
        self.shares = old.shares.start_over();
        self.avoided = old.avoided;
        let woken: Vec<_> =
            old.woken.drain(..).map(|id| old.classes.nodes[id].key.clone()).collect();
        for at in 0..old.parties.nodes.len() {
            let node = &mut old.parties.nodes[at];
            if node.members == 0 {
                continue;
            }
            let (queue, lines) = (std::mem::take(&mut node.queue), std::mem::take(&mut node.lines));
            let (profile, members) = (node.key.clone(), node.members);
            let id = self.party(&profile);
            self.idle -= 1;
            self.parties.nodes[id].members = members;
            self.parties.nodes[id].queue = queue;
            for (line, of) in lines {
                let queue = std::mem::take(&mut old.parties.nodes[of].queue);
                if !queue.is_empty() {
                    let id = self.line(&profile, line);
                    self.parties.nodes[id].queue = queue;
                }
            }
        }
        for node in old.classes.nodes.into_iter().filter(|node| !node.queue.is_empty()) {
            for (order, task) in node.queue {
                self.queue_task(&node.key, order, task);
            }
        }
        let woken = woken.iter().filter_map(|wants| self.classes.ids.get(wants).copied());
        self.woken = woken.collect();
    }
}

#[cfg(test)]
mod tests;
