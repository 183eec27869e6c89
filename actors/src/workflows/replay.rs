//! Whether the history of a run is what a definition asks for: its events are folded one by one, and each is held against
//! what the plan wanted there. Pure.
//!
//! A conductor plans with the values that it has: where it had to read one first, it may have gone on with the rest before.
//! So an event is as it should be where the plan wants it with every value, or with one of them late, or where the plan
//! wanted it a moment ago: what one plan comes to is several events.

mod fits;
mod recorded;
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::BTreeSet;

use fleetward_store::Position;

use super::definition::Definition;
use super::plan::{self, Values};
use super::run::{Event, Key, Phase, Place, Run};
use crate::fact::{Fold, Stamp};
use crate::seal::CellKey;
use fits::{fits, key_of};
pub use recorded::Recorded;
use wanted::{Deed, Verdict};
pub use wanted::{Want, Wanted};

/// Most places where they part that are told.
pub const DIVERGENCES_MAX: usize = 100;
/// Most values that are tried as the one that was late, for one event.
const LATE_MAX: usize = 64;
/// Most plans that are made to find it, for one history.
const LATE_PLANS: usize = 2_000;

/// One event of a run, as the journal has it.
#[derive(Debug, Clone)]
pub struct Fact {
    /// Its position.
    pub seq: Position,
    /// When, in microseconds UTC.
    pub at: i64,
    /// Who.
    pub by: String,
    /// What.
    pub event: Event,
}

/// A place where history and definition part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The event; of what never happened, the last one.
    pub at: Position,
    /// Its kind.
    pub kind: String,
    /// The node.
    pub key: Option<Key>,
    /// In what way.
    pub how: Parting,
    /// In words.
    pub detail: String,
}

/// In what way history and definition part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parting {
    /// It happened, and the definition does not ask for it there.
    NotWanted,
    /// It happened, and the definition asks for it otherwise: with another input, say.
    Otherwise,
    /// The definition asks for it, and it never happened.
    NeverHappened,
    /// It cannot happen to a run that stands as the events before say.
    Impossible,
    /// It cannot be read.
    Unreadable,
}

/// A history that is being replayed.
pub struct Replay<'a> {
    definition: &'a Definition,
    key: &'a CellKey,
    recorded: Recorded,
    run: Option<Run>,
    /// What the plan wanted that the last events were made from.
    carry: Option<Wanted>,
    late_plans: usize,
    /// Why it compares no more.
    lost: Option<String>,
    diverged: Vec<Divergence>,
    more: bool,
}

impl Parting {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotWanted => "not_wanted",
            Self::Otherwise => "otherwise",
            Self::NeverHappened => "never_happened",
            Self::Impossible => "impossible",
            Self::Unreadable => "unreadable",
        }
    }
}

impl<'a> Replay<'a> {
    /// Nothing has happened yet. `key` is what the digests of the record were made with.
    pub fn new(definition: &'a Definition, key: &'a CellKey) -> Self {
        Self {
            definition,
            key,
            recorded: Recorded::default(),
            run: None,
            carry: None,
            late_plans: 0,
            lost: None,
            diverged: Vec::new(),
            more: false,
        }
    }

    /// More is known of tasks and children.
    pub fn know(&mut self, recorded: Recorded) {
        self.recorded.tasks.extend(recorded.tasks);
        self.recorded.children.extend(recorded.children);
    }

    /// It can compare no more; events are folded all the same.
    pub fn lose(&mut self, why: String) {
        self.lost.get_or_insert(why);
    }

    /// Why it compares no more, if it does not.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// The run as the events say that were taken.
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Where they part, in order, and whether there was more than is told.
    pub fn diverged(&self) -> (&[Divergence], bool) {
        (&self.diverged, self.more)
    }

    /// Takes one more event.
    ///
    /// # Errors
    /// The values that are needed first; nothing has changed then.
    pub fn take(&mut self, fact: &Fact, values: &Values) -> Result<(), BTreeSet<Place>> {
        let stamp = Stamp { seq: fact.seq, at: fact.at, by: &fact.by };
        let Some(mut run) = self.run.take() else {
            if self.lost.is_some() {
                return Ok(());
            }
            self.run = Run::begin(&fact.event, stamp);
            if self.run.is_none() {
                let detail = "the run has no beginning: what came before is gone".to_owned();
                self.part(fact, None, Parting::Unreadable, detail);
                self.lose("the beginning of the run is gone".to_owned());
            }
            return Ok(());
        };
        let judged = match self.lost.is_some() {
            true => Ok(()),
            false => self.judge(&run, fact, values),
        };
        if judged.is_ok() {
            run.evolve(&fact.event, stamp);
        }
        self.run = Some(run);
        judged
    }

    /// An event that cannot be read: nothing behind it is known.
    pub fn unreadable(&mut self, at: Position, kind: &str, detail: String) {
        let kind = kind.to_owned();
        self.say(Divergence { at, kind, key: None, how: Parting::Unreadable, detail });
        self.lose("an event cannot be read".to_owned());
    }

    /// What the definition asks for now: nothing, where the run does not go on.
    ///
    /// # Errors
    /// The values that are needed first.
    pub fn wants(&self, values: &Values) -> Result<Wanted, BTreeSet<Place>> {
        match &self.run {
            Some(run) if self.lost.is_none() => wanted(self.definition, run, values),
            _ => Ok(Wanted::default()),
        }
    }

    /// The history has ended, and this was still wanted: it never happened.
    pub fn end(&mut self, wanted: &Wanted) {
        let Some(run) = &self.run else { return };
        let (at, status) = (run.updated, run.phase.as_str());
        for want in wanted.list() {
            let detail = format!("the definition asks for {}; the run is {status}", want.words());
            let kind = String::new();
            self.say(Divergence { at, kind, key: want.key, how: Parting::NeverHappened, detail });
        }
    }

    fn judge(&mut self, run: &Run, fact: &Fact, values: &Values) -> Result<(), BTreeSet<Place>> {
        let deeds = Deed::all(&fact.event);
        if deeds.is_empty() {
            self.carry = None;
            if let Err(detail) = fits(run, &fact.event) {
                self.part(fact, key_of(&fact.event), Parting::Impossible, detail);
            } else if matches!(fact.event, Event::Rested {}) {
                let wanted = wanted(self.definition, run, values)?;
                self.rests(fact, &wanted);
            }
            return Ok(());
        }
        if run.phase != Phase::Running {
            let detail = format!("the run is {}: nothing begins", run.phase.as_str());
            self.part(fact, deeds[0].key(), Parting::Impossible, detail);
            return Ok(());
        }
        // Values are asked for before anything is noted.
        let mut now = wanted(self.definition, run, values)?;
        let wants = now.words();
        let (mut carry, mut found) = (self.carry.clone(), Vec::new());
        for deed in deeds {
            let verdict = self.weigh(deed, run, (&mut carry, &mut now), values)?;
            found.push((deed, verdict));
        }
        for (deed, verdict) in found {
            match verdict {
                Verdict::Wanted => {}
                Verdict::Otherwise(why) => {
                    let detail = format!("{}; {why}", deed.words());
                    self.part(fact, deed.key(), Parting::Otherwise, detail);
                }
                Verdict::NotWanted => {
                    let detail = format!("{}; the definition asks for {wants}", deed.words());
                    self.part(fact, deed.key(), Parting::NotWanted, detail);
                }
            }
        }
        let ends = matches!(fact.event, Event::Completed { .. } | Event::Failed { .. });
        if let Some(left) = carry.as_ref().filter(|_| ends) {
            // What is dropped or taken comes before the end.
            for want in left.list() {
                let detail = format!("the definition asks for {} before", want.words());
                self.part(fact, want.key.as_ref(), Parting::NeverHappened, detail);
            }
        }
        let rests = matches!(
            fact.event,
            Event::Waiting { rests: true, .. } | Event::GateOpened { rests: true, .. }
        );
        if let Some(left) = carry.as_ref().filter(|_| rests) {
            self.rests(fact, left);
        }
        self.carry = carry;
        Ok(())
    }

    /// A run that rests is woken by what it waits for and by nothing else: there must be nothing to do.
    fn rests(&mut self, fact: &Fact, left: &Wanted) {
        if !left.is_empty() {
            let detail = format!("the run rests; the definition asks for {}", left.words());
            self.part(fact, None, Parting::NotWanted, detail);
        }
    }

    /// Whether a deed was wanted: by the plan that the events before it are of, by the plan of now, or by one for which a
    /// value was late.
    fn weigh(
        &mut self,
        deed: Deed<'_>,
        run: &Run,
        (carry, now): (&mut Option<Wanted>, &mut Wanted),
        values: &Values,
    ) -> Result<Verdict, BTreeSet<Place>> {
        let known = (&self.recorded, self.key);
        let before = carry.as_mut().map(|before| before.judge(deed, run, known));
        let verdict = now.judge(deed, run, known);
        if before == Some(Verdict::Wanted) {
            return Ok(Verdict::Wanted);
        }
        if verdict == Verdict::Wanted {
            *carry = Some(now.clone());
            return Ok(verdict);
        }
        if let Some(late) = self.late(deed, run, values)? {
            *carry = Some(late);
            return Ok(Verdict::Wanted);
        }
        Ok(verdict)
    }

    /// The plan that wanted a deed, because a value was late.
    fn late(
        &mut self,
        deed: Deed<'_>,
        run: &Run,
        values: &Values,
    ) -> Result<Option<Wanted>, BTreeSet<Place>> {
        let mut newest: Vec<_> = values.keys().copied().collect();
        newest.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        let mut without = values.clone();
        for at in newest.into_iter().take(LATE_MAX) {
            if self.late_plans >= LATE_PLANS {
                break;
            }
            self.late_plans += 1;
            let Some(value) = without.remove(&at) else { continue };
            let plan = plan::plan(self.definition, run, &without);
            let missing: BTreeSet<_> =
                plan.missing.iter().filter(|place| place.at != at).cloned().collect();
            if !missing.is_empty() {
                return Err(missing);
            }
            let mut wanted = Wanted::of(plan);
            without.insert(at, value);
            if wanted.judge(deed, run, (&self.recorded, self.key)) == Verdict::Wanted {
                return Ok(Some(wanted));
            }
        }
        Ok(None)
    }

    fn part(&mut self, fact: &Fact, key: Option<&Key>, how: Parting, detail: String) {
        let kind = fact.event.kind().to_owned();
        self.say(Divergence { at: fact.seq, kind, key: key.cloned(), how, detail });
    }

    fn say(&mut self, divergence: Divergence) {
        if self.diverged.len() < DIVERGENCES_MAX {
            return self.diverged.push(divergence);
        }
        self.more = true;
        self.lose(format!("they part in more than {DIVERGENCES_MAX} places"));
    }
}

/// What a definition asks for now.
fn wanted(definition: &Definition, run: &Run, values: &Values) -> Result<Wanted, BTreeSet<Place>> {
    if run.phase != Phase::Running {
        return Ok(Wanted::default());
    }
    let plan = plan::plan(definition, run, values);
    match plan.missing.is_empty() {
        true => Ok(Wanted::of(plan)),
        false => Err(plan.missing),
    }
}
