//! What may shut classes: a pause, or a cap that is reached. Pure.

use crate::fleet::task::Requirement;

/// Which tasks a limit speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    /// All of the organisation's.
    Org,
    /// Those of a project.
    Project(String),
    /// Those of a pool.
    Pool(String),
    /// Those that ask for a label with this value.
    Label(String, String),
}

/// A gate and how many tasks run behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Which tasks.
    pub gate: Gate,
    /// How many of them may run at once; 0: none, they are paused.
    pub most: usize,
    /// How many do.
    pub running: usize,
}

/// The limits of one cell.
#[derive(Debug, Default)]
pub(super) struct Gates {
    limits: Vec<Limit>,
    /// Classes behind each.
    classes: Vec<Vec<usize>>,
}

impl Gate {
    /// Whether it speaks of such tasks.
    pub fn covers(&self, wants: &Requirement) -> bool {
        match self {
            Self::Org => true,
            Self::Project(project) => wants.project.as_ref() == Some(project),
            Self::Pool(pool) => wants.pool == *pool,
            Self::Label(key, value) => wants.labels.get(key) == Some(value),
        }
    }
}

impl Limit {
    /// Whether no more of its tasks may start.
    pub fn is_reached(&self) -> bool {
        self.running >= self.most
    }
}

impl Gates {
    pub(super) fn new(limits: impl IntoIterator<Item = (Gate, usize)>) -> Self {
        let limit = |(gate, most)| Limit { gate, most, running: 0 };
        let limits: Vec<_> = limits.into_iter().map(limit).collect();
        let classes = limits.iter().map(|_| Vec::new()).collect();
        Self { limits, classes }
    }

    /// Those that such tasks stand behind.
    pub(super) fn of(&self, wants: &Requirement) -> Vec<usize> {
        let covers = |(at, limit): (usize, &Limit)| limit.gate.covers(wants).then_some(at);
        self.limits.iter().enumerate().filter_map(covers).collect()
    }

    /// A class stands behind these.
    pub(super) fn enter(&mut self, class: usize, gates: &[usize]) {
        gates.iter().for_each(|gate| self.classes[*gate].push(class));
    }

    pub(super) fn are_open(&self, gates: &[usize]) -> bool {
        gates.iter().all(|gate| !self.limits[*gate].is_reached())
    }

    /// Whether one of them lets nothing run at all.
    pub(super) fn are_paused(&self, gates: &[usize]) -> bool {
        gates.iter().any(|gate| self.limits[*gate].most == 0)
    }

    /// A task behind these runs.
    pub(super) fn start(&mut self, gates: &[usize]) {
        gates.iter().for_each(|gate| self.limits[*gate].running += 1);
    }

    /// A task behind these runs no more. Answers the classes behind those that have room again.
    pub(super) fn end(&mut self, gates: &[usize]) -> Vec<usize> {
        let mut freed = Vec::new();
        for gate in gates {
            let limit = &mut self.limits[*gate];
            let was_shut = limit.is_reached();
            limit.running = limit.running.saturating_sub(1);
            if was_shut && !limit.is_reached() {
                freed.extend(&self.classes[*gate]);
            }
        }
        freed
    }

    /// Those that such tasks stand behind and that are reached.
    pub(super) fn shut(&self, wants: &Requirement) -> impl Iterator<Item = &Limit> {
        self.limits.iter().filter(move |limit| limit.gate.covers(wants) && limit.is_reached())
    }

    /// All of them.
    pub(super) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The same limits and counts, without classes.
    pub(super) fn emptied(mut self) -> Self {
        self.classes.iter_mut().for_each(Vec::clear);
        self
    }
}
