//! Expressions against dates that were looked up. Changes of clocks are those of the IANA time zone database: the Union's by
//! directive 2000/84/EC, those of the United States by the Energy Policy Act of 2005, Lord Howe's half hours, and the
//! Friday that Samoa left out at the end of 2011.

use super::*;
use proptest::prelude::*;

fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp()
}

fn times(expression: &str, name: &str) -> CronTimes {
    CronTimes::parse(expression, zone(name).unwrap()).unwrap()
}

fn after(expression: &str, name: &str, from: &str, count: usize) -> Vec<String> {
    let times = times(expression, name);
    let ticks = std::iter::successors(times.next_after(at(from)), |t| times.next_after(*t));
    ticks.take(count).map(|t| utc(t).unwrap().format("%Y-%m-%dT%H:%MZ").to_string()).collect()
}

#[track_caller]
fn check(expression: &str, name: &str, from: &str, expected: &[&str]) {
    assert_eq!(after(expression, name, from, expected.len()), expected, "{expression} {name}");
}

#[test]
fn named_time_that_does_not_exist_is_at_the_first_instant_after_the_gap() {
    // 29 March 2026, 01:00 UTC: 02:00 becomes 03:00.
    let spring = ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"];
    check("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", &spring);
    let both = ["2026-03-29T01:00Z", "2026-03-30T00:00Z", "2026-03-30T01:00Z"];
    check("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &both);
    let range = ["2026-03-29T00:00Z", "2026-03-29T01:00Z", "2026-03-29T02:00Z"];
    check("0 1-4 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &range);
    // 8 March 2026, 07:00 UTC: 02:00 becomes 03:00.
    let march = ["2026-03-08T07:00Z", "2026-03-09T06:30Z"];
    check("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", &march);
    // 4 October 2026: 02:00 becomes 02:30.
    let half = ["2026-10-03T15:30Z", "2026-10-04T15:15Z"];
    check("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", &half);
    // After 29 December 2011 came the 31st.
    let friday = ["2011-12-29T19:00Z", "2011-12-30T10:00Z", "2011-12-30T19:00Z"];
    check("0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", &friday);
}

#[test]
fn named_time_that_is_there_twice_is_once_at_the_first() {
    // 25 October 2026, 01:00 UTC: 03:00 becomes 02:00.
    let autumn = ["2026-10-25T00:30Z", "2026-10-26T01:30Z"];
    check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &autumn);
    let range = ["2026-10-24T23:00Z", "2026-10-25T00:00Z", "2026-10-25T02:00Z"];
    check("0 1-4 * * *", "Europe/Berlin", "2026-10-24T22:30:00Z", &range);
    // From within the second time: the first is over.
    check("30 2 * * *", "Europe/Berlin", "2026-10-25T01:15:00Z", &["2026-10-26T01:30Z"]);
    // 1 November 2026, 06:00 UTC: 02:00 becomes 01:00.
    let november = ["2026-11-01T05:30Z", "2026-11-02T06:30Z"];
    check("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", &november);
    // 5 April 2026: 02:00 becomes 01:30.
    let half = ["2026-04-04T14:45Z", "2026-04-05T15:15Z"];
    check("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", &half);
}

#[test]
fn repeating_times_go_by_elapsed_time() {
    let spring = ["2026-03-29T00:30Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z"];
    check("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:29:00Z", &spring);
    let autumn =
        ["2026-10-25T00:00Z", "2026-10-25T00:30Z", "2026-10-25T01:00Z", "2026-10-25T01:30Z"];
    check("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:59:00Z", &autumn);
    let gap = ["2026-03-28T23:00Z", "2026-03-29T02:00Z"];
    check("0 */2 * * *", "Europe/Berlin", "2026-03-28T22:30:00Z", &gap);
    let twice =
        ["2026-10-24T22:00Z", "2026-10-25T00:00Z", "2026-10-25T01:00Z", "2026-10-25T03:00Z"];
    check("0 */2 * * *", "Europe/Berlin", "2026-10-24T21:30:00Z", &twice);
    let november = ["2026-11-01T05:30Z", "2026-11-01T06:00Z", "2026-11-01T06:30Z"];
    check("*/30 * * * *", "America/New_York", "2026-11-01T05:15:00Z", &november);
    let hourly = ["2026-11-01T05:00Z", "2026-11-01T06:00Z", "2026-11-01T07:00Z"];
    check("@hourly", "America/New_York", "2026-11-01T04:59:59Z", &hourly);
}

#[test]
fn days_are_those_that_the_fields_say() {
    let start = "2026-02-01T00:00:00Z";
    let table: [(&str, &[&str]); 9] = [
        ("0 9 * * MON-FRI", &["2026-02-02T09:00Z", "2026-02-03T09:00Z"]),
        ("0 0 L * *", &["2026-02-28T00:00Z", "2026-03-31T00:00Z"]),
        ("0 0 15W * *", &["2026-02-16T00:00Z", "2026-03-16T00:00Z"]),
        ("0 9 * * MON#2", &["2026-02-09T09:00Z", "2026-03-09T09:00Z"]),
        // Both days and weekdays: either, as cron has it; with `+`: both.
        ("0 0 13 * FRI", &["2026-02-06T00:00Z", "2026-02-13T00:00Z", "2026-02-20T00:00Z"]),
        ("0 0 13 * +FRI", &["2026-02-13T00:00Z", "2026-03-13T00:00Z", "2026-11-13T00:00Z"]),
        ("0 0 29 2 *", &["2028-02-29T00:00Z"]),
        ("@monthly", &["2026-03-01T00:00Z"]),
        ("0 0 * * 7", &["2026-02-08T00:00Z"]),
    ];
    for (expression, expected) in table {
        check(expression, "UTC", start, expected);
    }
    let seconds = times("*/20 * * * * *", "UTC");
    assert_eq!(seconds.next_after(at("2026-02-01T00:00:20Z")), Some(at("2026-02-01T00:00:40Z")));
    assert_eq!(times("0 0 30 2 *", "UTC").next_after(at(start)), None);
}

#[test]
fn mistakes_are_told_with_their_place_and_what_would_be_right() {
    let table = [
        ("", "the cron expression is empty; it has five fields: minute, hour"),
        ("* * * *", "column 7: the cron expression has 4 fields; five are needed"),
        ("0 0 9 * * MON 2026", "column 15: the cron expression has 7 fields"),
        ("0 25 * * *", "column 3: `25` is no hour: 0 to 23; `*`, lists (`8,12`)"),
        ("60 * * * *", "column 1: `60` is no minute: 0 to 59"),
        ("0 9 32 * *", "column 5: `32` is no day of the month: 1 to 31, `L`"),
        ("0  9 *  JANUARY *", "column 9: `JANUARY` is no month: 1 to 12, or JAN to DEC"),
        ("0 9 * * MONDAY", "column 9: `MONDAY` is no day of the week: 0 to 7 or SUN to SAT"),
        ("x 0 9 * * *", "column 1: `x` is no second"),
        ("@dayly", "`@dayly` stands for no cron expression; did you mean `@daily`?; there are"),
        ("0 9 @daily * *", "column 5: `@daily` stands alone, or not at all"),
    ];
    for (expression, expected) in table {
        let said = CronTimes::parse(expression, Tz::UTC).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{expression}: {said}");
    }
    assert!(CronTimes::parse(&"* ".repeat(200), Tz::UTC).is_err());
}

#[test]
fn zone_that_is_not_there_is_told_with_the_nearest() {
    let table = [
        ("Europe/Berln", "`Europe/Berln` is no time zone; did you mean `Europe/Berlin`?"),
        ("berlin", "`berlin` is no time zone; did you mean `Europe/Berlin`?"),
        ("New York", "`New York` is no time zone; did you mean `America/New_York`?"),
        ("", "`` is no time zone; write a name as `Europe/Berlin`"),
        ("Mars/Olympus Mons", "`Mars/Olympus Mons` is no time zone"),
    ];
    for (text, expected) in table {
        let said = zone(text).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
    }
}

const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "America/Sao_Paulo",
];
const EXPRESSIONS: [&str; 12] = [
    "30 2 * * *",
    "0 0 * * *",
    "15,45 1-3 * * *",
    "0 2,3 * * *",
    "*/20 * * * *",
    "0 */2 * * *",
    "*/10 2 * * *",
    "5 * * * *",
    "0 9 * * MON-FRI",
    "30 1 L * *",
    "0 30 2 * * SUN",
    "@hourly",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    /// From 2010 to 2035, most often near a change.
    #[test]
    fn looking_back_finds_what_looking_ahead_found(
        from in 1_262_304_000_i64..2_051_222_400,
        zone in 0..ZONES.len(),
        expression in 0..EXPRESSIONS.len(),
    ) {
        let (name, expression) = (ZONES[zone], EXPRESSIONS[expression]);
        let times = times(expression, name);
        // To the next change of this zone's clocks, if it is within a year.
        let offset = |t: i64| times.civil(t).unwrap() - t;
        let days = (0..366).map(|day| from + day * 86_400);
        let change = days.clone().zip(days.skip(1)).find(|(a, b)| offset(*a) != offset(*b));
        let mut t = change.map_or(from, |(day, _)| day - 7_200);
        for _ in 0..60 {
            let next = times.next_after(t).unwrap();
            prop_assert!(next > t, "{expression} {name} after {t}: {next}");
            prop_assert_eq!(times.last_until(next), Some(next), "{} {} at {}", expression, name, next);
            let before = times.last_until(next - 1).unwrap();
            prop_assert!(before <= t, "{expression} {name}: {before} lies between {t} and {next}");
            prop_assert_eq!(times.next_after(before), Some(next), "{} {}", expression, name);
            t = next;
        }
    }
}
