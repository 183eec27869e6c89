//! When the ticks of a schedule are. Pure: the same schedule has the same ticks, wherever and whenever it is asked.

use sha2::{Digest, Sha256};

use super::cron::CronTimes;

/// Microseconds in a second: ticks are at whole seconds.
const SECOND: i64 = 1_000_000;

/// The ticks of one schedule. Times are microseconds UTC.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// When they are.
    pub times: Times,
    /// None is before this.
    pub from: Option<i64>,
    /// None is after this.
    pub until: Option<i64>,
    /// A tick fires less than this after its time, and before the next one.
    pub jitter: i64,
    /// What the jitter of a tick follows from, together with the tick.
    pub seed: [u8; 16],
}

/// What ticks go by.
#[derive(Debug, Clone)]
pub enum Times {
    /// A cron expression.
    Cron(Box<CronTimes>),
    /// An interval of so many seconds, counted from the start of the schedule, or from 1970.
    Every(i64),
}

/// Ticks whose time has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// The newest of them, oldest first.
    pub ticks: Vec<i64>,
    /// The last one before those, if any was left out.
    pub left_out: Option<i64>,
}

impl Calendar {
    /// One without any tick.
    pub fn never() -> Self {
        let times = Times::Every(1);
        Self { times, from: None, until: Some(i64::MIN), jitter: 0, seed: [0; 16] }
    }

    /// The first tick after `t`.
    pub fn next_after(&self, t: i64) -> Option<i64> {
        let t = self.from.map_or(t, |from| t.max(from - 1));
        let second = t.div_euclid(SECOND);
        let next = match &self.times {
            Times::Cron(cron) => cron.next_after(second)?,
            Times::Every(every) => {
                let anchor = self.anchor();
                anchor + ((second - anchor).div_euclid(*every) + 1) * every
            }
        };
        let next = next.checked_mul(SECOND)?;
        self.until.is_none_or(|until| next <= until).then_some(next)
    }

    /// The last tick up to `t`.
    pub fn last_until(&self, t: i64) -> Option<i64> {
        let t = self.until.map_or(t, |until| t.min(until));
        let second = t.div_euclid(SECOND);
        let last = match &self.times {
            Times::Cron(cron) => cron.last_until(second)?,
            Times::Every(every) => {
                let anchor = self.anchor();
                second - second.checked_sub(anchor)?.rem_euclid(*every)
            }
        };
        let last = last.checked_mul(SECOND)?;
        self.from.is_none_or(|from| last >= from).then_some(last)
    }

    /// When a tick fires: at its time, or a while later that follows from schedule and tick. Ticks fire in their order.
    pub fn fires_at(&self, tick: i64) -> i64 {
        if self.jitter <= 0 {
            return tick;
        }
        let to_next = self.next_after(tick).map_or(i64::MAX, |next| next - tick);
        let span = self.jitter.min(to_next).unsigned_abs();
        let digest =
            Sha256::new().chain_update(self.seed).chain_update(tick.to_be_bytes()).finalize();
        let mut drawn = [0; 8];
        drawn.copy_from_slice(&digest[..8]);
        tick.saturating_add_unsigned(u64::from_be_bytes(drawn) % span)
    }

    /// The newest `most` ticks after `after` that have fired by `now`.
    pub fn due(&self, after: i64, now: i64, most: usize) -> Due {
        let mut ticks = Vec::new();
        let mut tick = self.last_until(now).filter(|tick| *tick > after);
        // The one before fires before this one's time.
        if let Some(late) = tick.filter(|tick| self.fires_at(*tick) > now) {
            tick = self.last_until(late - 1).filter(|tick| *tick > after);
        }
        while let Some(found) = tick.filter(|_| ticks.len() < most) {
            ticks.push(found);
            tick = self.last_until(found - 1).filter(|tick| *tick > after);
        }
        ticks.reverse();
        Due { ticks, left_out: tick }
    }

    /// The next ticks after `t`, at most so many.
    pub fn upcoming(&self, t: i64, most: usize) -> Vec<i64> {
        let next = |tick: &i64| self.next_after(*tick);
        std::iter::successors(self.next_after(t), next).take(most).collect()
    }

    fn anchor(&self) -> i64 {
        self.from.map_or(0, |from| from.div_euclid(SECOND) + i64::from(from.rem_euclid(SECOND) > 0))
    }
}

#[cfg(test)]
mod tests;
