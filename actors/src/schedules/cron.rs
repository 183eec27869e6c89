//! Cron expressions: five fields, or six with seconds in front, in a time zone. Pure.
//!
//! Where clocks change: an expression that *names* its times of day (no `*` and no step in its seconds, minutes and hours,
//! as in `30 2 * * *` or `0 9-17 * * *`) has each of them once on every day that it is for. One that does not exist is at
//! the first instant after the gap, one that is there twice at the first of them. Any other expression, as `*/15 * * * *`,
//! *repeats*: it goes by elapsed time, so nothing is in a gap, and an hour that is there twice has its ticks twice.

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::workflows::expression::meant;

/// Longest expression, in characters.
const EXPRESSION_MAX: usize = 200;
/// No change of a clock is larger than this, in seconds: the largest ever left a whole day out.
const CHANGE_MAX: i64 = 26 * 3_600;
/// What stands for a whole expression.
const NICKNAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];
/// The fields, seconds first: what each is, and what may stand there.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, `L` for the last, `15W` for the working day next to the 15th"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT (0 and 7 are Sunday), `MON#2`, `FRI#L` for the last"),
];

/// An expression in a zone. Times are whole seconds since 1970, UTC.
#[derive(Debug, Clone)]
pub struct CronTimes {
    cron: Cron,
    zone: Tz,
    /// Whether it names its times of day.
    named: bool,
}

/// An expression that makes no sense: says where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCron(String);

/// Text that names no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadZone(String);

/// A zone by its name in the IANA time zone database.
///
/// # Errors
/// Says which name may have been meant.
pub fn zone(text: &str) -> Result<Tz, BadZone> {
    if let Ok(zone) = text.parse() {
        return Ok(zone);
    }
    let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
    // `berlin` for `Europe/Berlin`.
    let city = text.replace(' ', "_").to_lowercase();
    let ends = |name: &&str| name.to_lowercase().rsplit('/').next() == Some(&city);
    let hint = match names().find(ends) {
        Some(name) if !city.is_empty() => format!("; did you mean `{name}`?"),
        _ => meant(text, names()),
    };
    let hint = match hint.is_empty() {
        true => "; write a name as `Europe/Berlin`, `America/New_York` or `UTC`".to_owned(),
        false => hint,
    };
    let shown: String = text.chars().take(60).collect();
    Err(BadZone(format!("`{shown}` is no time zone{hint}")))
}

impl CronTimes {
    /// Reads an expression.
    ///
    /// # Errors
    /// Says where it is wrong, and what would be right.
    pub fn parse(expression: &str, zone: Tz) -> Result<Self, BadCron> {
        let fields = fields(expression)?;
        let parser =
            CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        for (place, (column, field)) in fields.iter().enumerate() {
            let place = place + FIELDS.len() - fields.len();
            let mut alone = ["*"; FIELDS.len()];
            alone[place] = *field;
            if fields.len() > 1 && parser.parse(&alone.join(" ")).is_err() {
                let (name, allowed) = FIELDS[place];
                return Err(BadCron(format!(
                    "column {column}: `{field}` is no {name}: {allowed}; `*`, lists (`8,12`), ranges (`9-17`) and steps (`*/2`) of \
                     them are"
                )));
            }
        }
        let cron = parser
            .parse(expression)
            .map_err(|error| BadCron(format!("the cron expression cannot be read: {error}")))?;
        let named = match fields.as_slice() {
            [(_, nickname)] => *nickname != "@hourly",
            all => {
                let time_of_day = &all[..all.len() - 3];
                let (hour, finer) = time_of_day.split_last().expect("there is an hour");
                !hour.1.contains(['*', '/'])
                    && !finer.iter().any(|(_, field)| field.contains(['*', '/', '-']))
            }
        };
        Ok(Self { cron, zone, named })
    }

    /// The first time after `t`.
    pub fn next_after(&self, t: i64) -> Option<i64> {
        if !self.named {
            let next = self.cron.find_next_occurrence(&self.local(t)?, false).ok()?;
            return Some(next.timestamp());
        }
        let mut civil = self.civil(t)?;
        // Every named time up to the one that clocks show at `t` is at `t` or before: none is left out.
        loop {
            civil = self.cron.find_next_occurrence(&utc(civil)?, false).ok()?.timestamp();
            let at = self.instant(civil)?;
            if at > t {
                return Some(at);
            }
        }
    }

    /// The last time up to `t`.
    pub fn last_until(&self, t: i64) -> Option<i64> {
        if !self.named {
            let last = self.cron.find_previous_occurrence(&self.local(t)?, true).ok()?;
            return Some(last.timestamp());
        }
        // Where clocks went back a moment ago, later times of theirs were before `t` too.
        let before = self.civil(t - CHANGE_MAX)? + CHANGE_MAX;
        let mut civil = self.civil(t)?.max(before);
        let mut inclusive = true;
        loop {
            civil = self.cron.find_previous_occurrence(&utc(civil)?, inclusive).ok()?.timestamp();
            inclusive = false;
            let at = self.instant(civil)?;
            if at <= t {
                return Some(at);
            }
        }
    }

    fn local(&self, t: i64) -> Option<DateTime<Tz>> {
        self.zone.timestamp_opt(t, 0).single()
    }

    /// What clocks show at `t`, as if that were UTC.
    fn civil(&self, t: i64) -> Option<i64> {
        let offset = self.local(t)?.offset().fix().local_minus_utc();
        Some(t + i64::from(offset))
    }

    /// When clocks show this: for the first time, or after the gap that it is in.
    fn instant(&self, civil: i64) -> Option<i64> {
        let naive: NaiveDateTime = utc(civil)?.naive_utc();
        if let Some(time) = self.zone.from_local_datetime(&naive).earliest() {
            return Some(time.timestamp());
        }
        let (mut before, mut after) = (civil - CHANGE_MAX, civil + CHANGE_MAX);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            match self.civil(middle)? > civil {
                true => after = middle,
                false => before = middle,
            }
        }
        Some(after)
    }
}

fn utc(t: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(t, 0)
}

/// The fields of an expression with their columns, in characters from 1.
fn fields(expression: &str) -> Result<Vec<(usize, &str)>, BadCron> {
    const FIVE: &str = "minute, hour, day of the month, month, day of the week, as in `0 9 * * MON-FRI`; or six, with \
                        seconds in front";
    let bad = |text: String| Err(BadCron(text));
    if expression.chars().count() > EXPRESSION_MAX {
        return bad(format!("the cron expression is longer than {EXPRESSION_MAX} characters"));
    }
    let mut fields = Vec::new();
    let mut rest = expression;
    while let Some(begin) = rest.find(|c: char| !c.is_whitespace()) {
        let end = rest[begin..].find(char::is_whitespace).map_or(rest.len(), |end| begin + end);
        let column = expression[..expression.len() - rest.len() + begin].chars().count() + 1;
        fields.push((column, &rest[begin..end]));
        rest = &rest[end..];
    }
    match fields.as_slice() {
        [] => bad(format!("the cron expression is empty; it has five fields: {FIVE}")),
        [(_, nickname)] if nickname.starts_with('@') => {
            match NICKNAMES.contains(&nickname.to_lowercase().as_str()) {
                true => Ok(fields),
                false => bad(format!(
                    "`{nickname}` stands for no cron expression{}; there are {}",
                    meant(nickname, NICKNAMES),
                    NICKNAMES.join(", ")
                )),
            }
        }
        [.., (column, _)] if !(5..=6).contains(&fields.len()) => bad(format!(
            "column {column}: the cron expression has {} field{}; five are needed: {FIVE}",
            fields.len(),
            if fields.len() == 1 { "" } else { "s" },
        )),
        [..] => match fields.iter().find(|(_, field)| field.contains('@')) {
            Some((column, field)) => {
                bad(format!("column {column}: `{field}` stands alone, or not at all"))
            }
            None => Ok(fields),
        },
    }
}

#[cfg(test)]
mod tests;
