//! What the detector makes of what it sees: suspicions, and who is deaf or mute. Pure.
//!
//! A worker is compared with itself (its usual rate) and with the others (their failures, their rates): what befalls the
//! whole fleet is no worker's fault.

use std::collections::BTreeMap;

use super::baseline::Baseline;
use super::window::{Counts, LOOKS, Window};
use crate::fleet::suspicion::{Finding, Kind, Thresholds};
use crate::id::WorkerId;

/// From so many workers on, rates are compared with those of the others.
const PEERS_MIN: usize = 4;
/// How much worse than the others a worker must do, in so many times their share of failures.
const WORSE: u64 = 2;
/// Microseconds in a minute.
const MINUTE_US: f64 = 60e6;

/// What the dispatcher counted of a worker since it sat down. Only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Times that it had polls.
    pub polls: u64,
    /// Attempts that it completed.
    pub completed: u64,
    /// Attempts that it reported as failed.
    pub failed: u64,
    /// Reports that do not go with its models.
    pub mismatched: u64,
}

/// A worker that may work, as the dispatcher knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Who.
    pub worker: WorkerId,
    /// It could take another task: it has a free seat and is not paused.
    pub able: bool,
    /// It has polls waiting.
    pub parked: bool,
    /// What was counted.
    pub tally: Tally,
}

/// The same, with what its requests left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What the dispatcher knows.
    pub account: Account,
    /// When its last heartbeat came, in microseconds UTC; 0: none in this life of the server.
    pub beaten: i64,
    /// When it last came back after a goodbye, in microseconds UTC; 0: never.
    pub back: i64,
    /// It said goodbye and was not heard of since: nobody waits for it.
    pub left: bool,
    /// Its requests in this life of the server.
    pub calls: u64,
}

/// When the detector looks, and by what it judges.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Now, in microseconds UTC.
    pub now: i64,
    /// No silence from before this counts: the detector began here, or the store came back.
    pub fair_since: i64,
    /// How often workers send heartbeats, in microseconds.
    pub heartbeat: i64,
    /// How often the detector looks, in microseconds.
    pub every: i64,
    /// Nobody has looked since the dispatcher began to count: all that it counted is news.
    pub first: bool,
    /// From where on something is suspicious.
    pub thresholds: &'a Thresholds,
}

/// What is true of a worker at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Who.
    pub worker: WorkerId,
    /// All that is suspicious of it now, in the order of the kinds.
    pub findings: Vec<Finding>,
    /// Since when it is deaf, and why that is said.
    pub deaf: Option<(i64, String)>,
    /// Since when it is mute, and why that is said.
    pub mute: Option<(i64, String)>,
    /// It asks for work.
    pub polling: bool,
    /// It sends heartbeats.
    pub beating: bool,
}

/// What is remembered of one worker: a few hundred bytes, whatever it does.
#[derive(Debug, Clone)]
struct Watched {
    window: Window,
    baseline: Baseline,
    tally: Tally,
    calls: u64,
    since: i64,
    /// Since when it has been there, able to take work, and did not ask for any.
    unasked_since: Option<i64>,
}

/// Everyone who is watched.
#[derive(Debug, Default)]
pub struct Watches {
    watched: BTreeMap<WorkerId, Watched>,
    last_look: Option<i64>,
    dead: Option<u64>,
    dead_letters: Window,
}

/// How the fleet does as a whole.
struct Fleet {
    counts: Counts,
    /// The rate in the middle of those who ask at all; none: too few.
    usual_rate: Option<f64>,
}

impl Watched {
    fn new(seen: &Seen, now: i64, is_new: bool) -> Self {
        // One that was there before the detector began is counted from here on.
        let tally = if is_new { Tally::default() } else { seen.account.tally };
        let (window, baseline) = (Window::default(), Baseline::default());
        Self { window, baseline, tally, calls: seen.calls, since: now, unasked_since: None }
    }

    /// Counts what happened since the last look; answers whether it asked for work.
    fn count(&mut self, tally: Tally) -> bool {
        let since =
            |now: u64, then: u64| u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX);
        let failed = since(tally.failed, self.tally.failed);
        let ended = failed.saturating_add(since(tally.completed, self.tally.completed));
        let mismatched = since(tally.mismatched, self.tally.mismatched);
        self.window.add(Counts { ended, failed, mismatched });
        let polled = tally.polls > self.tally.polls;
        self.tally = tally;
        polled
    }
}

impl Watches {
    /// Looks at everyone. Who is not named is not watched any more.
    pub fn sweep(&mut self, seen: &[Seen], look: &Look<'_>) -> Vec<Observation> {
        let last = self.last_look.replace(look.now);
        let elapsed = last.map_or(look.every, |last| (look.now - last).max(1)) as f64;
        let is_new = look.first || last.is_some();
        let mut watched = std::mem::take(&mut self.watched);
        let mut facts = Vec::with_capacity(seen.len());
        for seen in seen {
            let worker = seen.account.worker;
            let known = watched.remove(&worker);
            let fresh = known.is_none();
            let mut watch = known.unwrap_or_else(|| Watched::new(seen, look.now, is_new));
            let polled = watch.count(seen.account.tally) || seen.account.parked;
            let calls = seen.calls.saturating_sub(watch.calls) as f64;
            let rate = (!fresh).then_some(calls * MINUTE_US / elapsed);
            watch.calls = seen.calls;
            self.watched.insert(worker, watch);
            facts.push((seen, polled, rate));
        }
        let fleet = self.fleet(facts.iter().filter_map(|(.., rate)| *rate));
        let mut observations = Vec::with_capacity(facts.len());
        for (seen, polled, rate) in facts {
            let Some(watch) = self.watched.get_mut(&seen.account.worker) else { continue };
            observations.push(observe(watch, seen, (polled, rate), &fleet, look));
            watch.window.turn();
        }
        observations
    }

    /// Looks at some between two sweeps, because of their reports; judges those alone. Who sat down a moment ago is first
    /// seen by a sweep.
    pub fn notice(
        &mut self,
        accounts: &[Account],
        look: &Look<'_>,
    ) -> Vec<(WorkerId, Vec<Finding>)> {
        for account in accounts {
            let Some(watch) = self.watched.get_mut(&account.worker) else { continue };
            // Whether it asked for work is for the sweep to see.
            let polls = watch.tally.polls;
            watch.count(account.tally);
            watch.tally.polls = polls;
        }
        let fleet = self.fleet(std::iter::empty());
        let judge = |account: &Account| {
            let watch = self.watched.get(&account.worker)?;
            let found = [failures(watch, &fleet, look), mismatches(watch, look)];
            let found: Vec<_> = found.into_iter().flatten().collect();
            (!found.is_empty()).then_some((account.worker, found))
        };
        accounts.iter().filter_map(judge).collect()
    }

    /// Counts tasks that failed for good: how many within the window, where that is too many.
    pub fn dead_letters(&mut self, dead: u64, look: &Look<'_>) -> (u32, bool) {
        let before = self.dead.replace(dead).unwrap_or(dead);
        let ended = u32::try_from(dead.saturating_sub(before)).unwrap_or(u32::MAX);
        self.dead_letters.add(Counts { ended, ..Counts::default() });
        let count = self.dead_letters.total().ended;
        self.dead_letters.turn();
        (count, count >= look.thresholds.dead_letters)
    }

    /// Begins anew with a worker: an administrator says that what was seen means nothing.
    pub fn forget(&mut self, worker: WorkerId) {
        if let Some(watch) = self.watched.get_mut(&worker) {
            watch.window = Window::default();
            watch.baseline = Baseline::default();
        }
    }

    /// How many are watched.
    pub fn len(&self) -> usize {
        self.watched.len()
    }

    /// Whether nobody is watched.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    fn fleet(&self, rates: impl Iterator<Item = f64>) -> Fleet {
        let mut counts = Counts::default();
        for watch in self.watched.values() {
            let total = watch.window.total();
            counts.ended = counts.ended.saturating_add(total.ended);
            counts.failed = counts.failed.saturating_add(total.failed);
        }
        let mut rates: Vec<f64> = rates.filter(|rate| *rate > 0.0).collect();
        rates.sort_unstable_by(f64::total_cmp);
        let usual_rate = (rates.len() >= PEERS_MIN).then(|| rates[rates.len() / 2]);
        Fleet { counts, usual_rate }
    }
}

fn observe(
    watch: &mut Watched,
    seen: &Seen,
    (polled, rate): (bool, Option<f64>),
    fleet: &Fleet,
    look: &Look<'_>,
) -> Observation {
    let heard = seen.beaten.max(seen.back).max(look.fair_since);
    let missed = u64::try_from((look.now - heard) / look.heartbeat).unwrap_or(0);
    let beating = seen.beaten > 0 && missed <= u64::from(look.thresholds.missed_heartbeats);
    let findings = [
        rate.and_then(|rate| spike(watch, rate, fleet, look)),
        failures(watch, fleet, look),
        (seen.beaten > 0 && !seen.left).then(|| missing(missed, look)).flatten(),
        mismatches(watch, look),
    ];
    let waits = seen.account.able && !polled && beating && !seen.left;
    watch.unasked_since = waits.then(|| watch.unasked_since.unwrap_or(look.now));
    let unheard_since = heard.max(watch.since);
    Observation {
        worker: seen.account.worker,
        findings: findings.into_iter().flatten().collect(),
        deaf: watch.unasked_since.filter(|_| beating).and_then(|since| {
            let long = seconds(look.now - since);
            (long >= u64::from(look.thresholds.deaf_after_seconds)).then(|| {
                let why = format!(
                    "it sends heartbeats and has free seats, and has not asked for work for {long} s"
                );
                (since, why)
            })
        }),
        mute: Some(unheard_since).filter(|_| polled && !seen.left).and_then(|since| {
            let long = seconds(look.now - since);
            (long >= u64::from(look.thresholds.mute_after_seconds)).then(|| {
                let why = format!("it asks for work, and has sent no heartbeat for {long} s");
                (since, why)
            })
        }),
        // A goodbye is a sign of life: what it was missed for is over.
        polling: polled || seen.left,
        beating: beating || seen.left,
    }
}

fn spike(watch: &mut Watched, rate: f64, fleet: &Fleet, look: &Look<'_>) -> Option<Finding> {
    let factor = f64::from(look.thresholds.spike_factor);
    let usual = watch.baseline;
    let limit = usual.limit(factor);
    watch.baseline.learn(rate, limit);
    let peers = fleet.usual_rate.map_or(0.0, |rate| rate * factor);
    let limit = limit?.max(peers).max(f64::from(look.thresholds.spike_min_per_minute));
    (rate > limit).then(|| Finding {
        suspicion: Kind::RateSpike,
        observed: rate as u64,
        limit: limit as u64,
        samples: u64::from(usual.looks()),
        why: format!(
            "it made {rate:.0} requests a minute; {:.0} were usual for it in {} looks, and {limit:.0} are the limit",
            usual.mean(),
            usual.looks()
        ),
    })
}

fn failures(watch: &Watched, fleet: &Fleet, look: &Look<'_>) -> Option<Finding> {
    let Thresholds { min_samples, failure_percent, .. } = *look.thresholds;
    let own = watch.window.total();
    if own.ended < min_samples.max(1) {
        return None;
    }
    let percent = |part: u32, of: u32| u64::from(part) * 100 / u64::from(of.max(1));
    let others = fleet.counts.ended.saturating_sub(own.ended);
    let theirs = percent(fleet.counts.failed.saturating_sub(own.failed), others);
    let known = others >= min_samples;
    let limit = u64::from(failure_percent).max(if known { theirs * WORSE } else { 0 });
    let observed = percent(own.failed, own.ended);
    let compared = if known {
        format!("{theirs} % at the others")
    } else {
        "too little is known of others".to_owned()
    };
    (observed >= limit).then(|| Finding {
        suspicion: Kind::ExcessiveFailures,
        observed,
        limit,
        samples: u64::from(own.ended),
        why: format!(
            "{} of its {} attempts in the last {} s failed ({observed} %); {compared}",
            own.failed,
            own.ended,
            span(look)
        ),
    })
}

fn missing(missed: u64, look: &Look<'_>) -> Option<Finding> {
    let limit = u64::from(look.thresholds.missed_heartbeats);
    (missed > limit).then(|| Finding {
        suspicion: Kind::MissedHeartbeats,
        observed: missed,
        limit,
        samples: missed,
        why: format!(
            "it has missed {missed} heartbeats in a row, one is due every {} s",
            seconds(look.heartbeat)
        ),
    })
}

fn mismatches(watch: &Watched, look: &Look<'_>) -> Option<Finding> {
    let (observed, limit) = (watch.window.total().mismatched, look.thresholds.mismatches);
    (observed >= limit).then(|| Finding {
        suspicion: Kind::ModelMismatch,
        observed: u64::from(observed),
        limit: u64::from(limit),
        samples: u64::from(observed),
        why: format!(
            "{observed} of its reports in the last {} s do not go with the models it has",
            span(look)
        ),
    })
}

fn span(look: &Look<'_>) -> u64 {
    seconds(look.every.saturating_mul(LOOKS as i64))
}

fn seconds(us: i64) -> u64 {
    u64::try_from(us / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
