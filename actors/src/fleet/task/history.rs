//! What a durable function has done so far: its history, and what it waits for. Pure.
//!
//! Every call of `ctx.step`, `ctx.sleep`, `ctx.wait_signal` and `ctx.approval` has a position, counted from 0 in the order in
//! which the code makes them. Replaying the code asks for the same at the same positions; where it does not, it does not fit.

use fleetward_store::Position;
use serde::{Deserialize, Serialize};

use super::{Phase, Task};
use crate::error::{Kind, Refusal};
use crate::fleet::input;
use crate::id::TaskId;
use crate::workflows::definition::{Approvers, OnExpiry, PEOPLE_MAX, WAIT_MAX_MS};
use crate::workflows::gate::Vote;
use crate::workflows::run::{Outcome, Place, What};

/// Most positions of one function.
pub const ENTRIES_MAX: usize = 1_000;
/// Most bytes of the values of one function's steps together.
pub const BYTES_MAX: u64 = 8 << 20;
/// Most that one attempt asks to wait for at once.
pub const WAITS_MAX: usize = 64;

/// What stands at one position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The position.
    pub index: u32,
    /// What the code asked for.
    pub what: Called,
    /// Under which name.
    pub name: String,
    /// How it ended; none: it is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Of a step: the keyed digest of its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Of a step: the size of its value.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Of an approval: who decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
    /// Of what was waited for: the first of the tasks with which the function went on that knew how it ended, from 1.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub known_from: u32,
}

/// What a function asks for at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Called {
    /// Something to be done once.
    Step,
    /// A time.
    Sleep,
    /// A signal.
    Signal,
    /// People.
    Approval,
}

/// What a function waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The position.
    pub index: u32,
    /// The name; of a signal: the signal's.
    pub name: String,
    /// What for.
    pub wait: Awaited,
}

/// What for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "for")]
pub enum Awaited {
    /// So long.
    Sleep {
        /// In milliseconds.
        ms: u64,
    },
    /// A time.
    Until {
        /// In microseconds UTC.
        at: i64,
    },
    /// A signal.
    Signal {
        /// At most so long, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// People. What they are asked is sealed.
    Approval {
        /// Who may decide.
        approvers: Approvers,
        /// How long it waits, in milliseconds; none: as long as it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_ms: Option<u64>,
        /// What its expiry means.
        #[serde(default)]
        on_expiry: OnExpiry,
        /// How often it is said again, in milliseconds; none: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remind_ms: Option<u64>,
    },
}

/// Entries by their positions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(Vec<Entry>);

/// What a durable function has done and what it waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Function {
    /// What it has done, before this task too.
    pub history: History,
    /// What it waits for, where it is suspended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Pending>,
}

impl Called {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Sleep => "sleep",
            Self::Signal => "signal",
            Self::Approval => "approval",
        }
    }
}

impl Entry {
    /// A step that was done in a task, whose value is sealed beside the event at this position of the journal.
    pub(super) fn done(
        index: u32,
        name: &str,
        (digest, bytes): (&str, u64),
        task: TaskId,
        at: Position,
    ) -> Self {
        let output = Some(Place { at, what: What::Checkpoint { task } });
        Self {
            index,
            what: Called::Step,
            name: name.to_owned(),
            outcome: Some(Outcome::Completed { output }),
            digest: Some(digest.to_owned()),
            bytes,
            votes: Vec::new(),
            known_from: 0,
        }
    }
}

impl Pending {
    /// What stands at its position while nothing has come of it.
    pub fn entry(&self) -> Entry {
        let what = self.called();
        let (index, name) = (self.index, self.name.clone());
        let (outcome, digest, bytes, votes, known_from) = (None, None, 0, Vec::new(), 0);
        Entry { index, what, name, outcome, digest, bytes, votes, known_from }
    }

    /// What kind of call it is.
    pub fn called(&self) -> Called {
        match self.wait {
            Awaited::Sleep { .. } | Awaited::Until { .. } => Called::Sleep,
            Awaited::Signal { .. } => Called::Signal,
            Awaited::Approval { .. } => Called::Approval,
        }
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<(), Refusal> {
        position(self.index, &self.name)?;
        let times = match &self.wait {
            Awaited::Sleep { ms } => [Some(*ms), None],
            Awaited::Until { .. } => [None, None],
            Awaited::Signal { timeout_ms } => [*timeout_ms, None],
            Awaited::Approval { approvers, expires_ms, remind_ms, .. } => {
                if approvers.people.len() > PEOPLE_MAX || approvers.quorum as usize > PEOPLE_MAX {
                    let detail = format!("an approval asks for at most {PEOPLE_MAX} people");
                    return Err(Refusal::invalid("invalid_wait", detail));
                }
                if remind_ms.is_some_and(|ms| ms < 1_000) {
                    let detail = "an approval is said again after a second at least";
                    return Err(Refusal::invalid("invalid_wait", detail));
                }
                [*expires_ms, *remind_ms]
            }
        };
        if times.into_iter().flatten().any(|ms| ms > WAIT_MAX_MS) {
            return Err(Refusal::invalid("invalid_wait", "a wait lasts ten years at most"));
        }
        Ok(())
    }
}

/// Whether a position and a name can be those of an entry.
///
/// # Errors
/// Says what is wrong.
pub fn position(index: u32, name: &str) -> Result<(), Refusal> {
    if index as usize >= ENTRIES_MAX {
        let detail = format!(
            "a function has at most {ENTRIES_MAX} steps and waits; do the rest in another run"
        );
        return Err(Refusal::invalid("too_many_checkpoints", detail));
    }
    input::name("name", name)?;
    if name.contains(['/', '[', ']']) {
        let detail = "the name of a step or wait has no `/`, `[` and `]`";
        return Err(Refusal::invalid("invalid_name", detail));
    }
    Ok(())
}

impl Task {
    /// What its durable function has done, before this task too.
    pub fn history(&self) -> Option<&History> {
        self.function.as_ref().map(|function| &function.history)
    }

    /// Those steps that its durable function did in this task.
    pub fn own_steps(&self) -> Vec<Entry> {
        let own = |entry: &&Entry| match &entry.outcome {
            Some(Outcome::Completed { output: Some(place) }) => {
                matches!(place.what, What::Checkpoint { task } if task == self.id)
            }
            _ => false,
        };
        self.history().into_iter().flat_map(History::iter).filter(own).cloned().collect()
    }

    /// What its durable function waits for, where it is suspended.
    pub fn suspension(&self) -> Option<Vec<Pending>> {
        let suspended = matches!(self.phase, Phase::Suspended { .. });
        let waits = self.function.as_ref().map(|function| function.waits.clone());
        suspended.then(|| waits.unwrap_or_default())
    }
}

impl History {
    /// What stands at a position.
    pub fn get(&self, index: u32) -> Option<&Entry> {
        self.at(index).ok().map(|at| &self.0[at])
    }

    /// Puts an entry at its position, in the place of what stood there.
    pub fn put(&mut self, entry: Entry) {
        match self.at(entry.index) {
            Ok(at) => self.0[at] = entry,
            Err(at) => self.0.insert(at, entry),
        }
    }

    /// All of them, to be changed but for their positions.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.0.iter_mut()
    }

    /// All of them, by their positions.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was done yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of the values of its steps.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|entry| entry.bytes).sum()
    }

    /// What stands where the code asks for this.
    ///
    /// # Errors
    /// When something else does: the code does not fit.
    pub fn fits(&self, index: u32, what: Called, name: &str) -> Result<Option<&Entry>, Refusal> {
        let Some(known) = self.get(index) else { return Ok(None) };
        if known.what == what && known.name == name {
            return Ok(Some(known));
        }
        let detail = format!(
            "the code does not fit the history: at position {index} the history has the {} {:?}, and the code asks for the \
             {} {name:?}; run the code that the run began with, or start another run",
            known.what.as_str(),
            known.name,
            what.as_str(),
        );
        Err(Refusal::new(Kind::Conflict, "nondeterminism", detail))
    }

    fn at(&self, index: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&index, |entry| entry.index)
    }
}

impl FromIterator<Entry> for History {
    fn from_iter<T: IntoIterator<Item = Entry>>(entries: T) -> Self {
        let mut history = Self::default();
        entries.into_iter().for_each(|entry| history.put(entry));
        history
    }
}

fn is_unknown(known_from: &u32) -> bool {
    *known_from == 0
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_asks_for_something_else_does_not_fit() {
        let wait = Awaited::Sleep { ms: 5 };
        let nap = Pending { index: 1, name: "nap".to_owned(), wait };
        let history = History::from_iter([nap.entry()]);

        assert!(history.fits(1, Called::Sleep, "nap").unwrap().is_some());
        assert!(history.fits(0, Called::Step, "any").unwrap().is_none());
        for (what, name) in [(Called::Sleep, "doze"), (Called::Step, "nap")] {
            let refusal = history.fits(1, what, name).unwrap_err();
            assert_eq!(refusal.code, "nondeterminism");
            let told = refusal.detail;
            assert!(told.contains("position 1") && told.contains("sleep \"nap\""), "{told}");
            assert!(told.contains(&format!("{} {name:?}", what.as_str())), "{told}");
        }
    }

    #[test]
    fn waits_that_make_no_sense_are_refused() {
        let pending = |index, name: &str, wait| Pending { index, name: name.to_owned(), wait };
        let approval = |quorum, remind_ms| Awaited::Approval {
            approvers: Approvers { quorum, ..Approvers::default() },
            expires_ms: None,
            on_expiry: OnExpiry::Reject,
            remind_ms,
        };
        let table = [
            (pending(0, "a", Awaited::Sleep { ms: WAIT_MAX_MS }), "ok"),
            (pending(0, "a", Awaited::Sleep { ms: WAIT_MAX_MS + 1 }), "invalid_wait"),
            (pending(1_000, "a", Awaited::Sleep { ms: 1 }), "too_many_checkpoints"),
            (pending(0, "a/b", Awaited::Sleep { ms: 1 }), "invalid_name"),
            (pending(0, " ", Awaited::Signal { timeout_ms: None }), "invalid_name"),
            (pending(0, "a", Awaited::Signal { timeout_ms: Some(u64::MAX) }), "invalid_wait"),
            (pending(0, "a", approval(65, None)), "invalid_wait"),
            (pending(0, "a", approval(1, Some(1))), "invalid_wait"),
            (pending(0, "a", approval(2, Some(60_000))), "ok"),
        ];
        for (pending, expected) in table {
            let said = pending.check().map_or_else(|refusal| refusal.code, |()| "ok");
            assert_eq!(said, expected, "{pending:?}");
        }
    }
}
