//! What calendars say, by tables of published transitions and by properties.

use super::*;
use crate::schedules::cron;
use proptest::prelude::*;

const S: i64 = 1_000_000;

fn every(seconds: i64) -> Calendar {
    Calendar { times: Times::Every(seconds), from: None, until: None, jitter: 0, seed: [7; 16] }
}

#[test]
fn intervals_are_counted_from_the_start_or_from_1970() {
    assert_eq!(every(60).next_after(59 * S), Some(60 * S));
    assert_eq!(every(60).next_after(60 * S), Some(120 * S));
    assert_eq!(every(60).last_until(60 * S - 1), Some(0));
    let started = Calendar { from: Some(100 * S), until: Some(200 * S), ..every(60) };
    assert_eq!(started.upcoming(0, 9), [100 * S, 160 * S], "none after the end");
    assert_eq!(started.last_until(99 * S), None);
    assert_eq!(started.last_until(i64::MAX), Some(160 * S));
    let within = Calendar { from: Some(100 * S + 1), ..every(60) };
    assert_eq!(within.upcoming(0, 1), [101 * S], "ticks are whole seconds");
}

#[test]
fn jitter_follows_from_schedule_and_tick_and_never_reaches_the_next() {
    let jittered = Calendar { jitter: 45 * S, ..every(60) };
    let late: Vec<_> = jittered.upcoming(0, 20).iter().map(|t| jittered.fires_at(*t) - t).collect();
    assert!(late.iter().all(|late| (0..45 * S).contains(late)), "{late:?}");
    assert!(late.windows(2).any(|pair| pair[0] != pair[1]), "{late:?}");
    assert_eq!(jittered.fires_at(60 * S), jittered.clone().fires_at(60 * S));
    let other = Calendar { seed: [8; 16], ..jittered.clone() };
    assert_ne!(jittered.fires_at(60 * S), other.fires_at(60 * S));
    let wide = Calendar { jitter: 3_600 * S, ..every(60) };
    assert!(wide.upcoming(0, 50).iter().all(|t| wide.fires_at(*t) < t + 60 * S));
}

#[test]
fn due_ticks_are_the_newest_and_the_last_that_was_left_out_is_told() {
    let calendar = every(10);
    let due = |after, now, most| calendar.due(after * S, now * S, most);
    let ticks = |ticks: &[i64], left_out: Option<i64>| Due {
        ticks: ticks.iter().map(|t| t * S).collect(),
        left_out: left_out.map(|t| t * S),
    };
    assert_eq!(due(0, 9, 5), ticks(&[], None));
    assert_eq!(due(0, 35, 5), ticks(&[10, 20, 30], None));
    assert_eq!(due(0, 35, 2), ticks(&[20, 30], Some(10)));
    assert_eq!(due(30, 35, 2), ticks(&[], None));
    assert_eq!(due(90, 35, 2), ticks(&[], None), "the clock went back");
}

#[test]
fn cron_ticks_keep_to_start_and_end() {
    let times = cron::CronTimes::parse("0 0 * * *", cron::zone("UTC").unwrap()).unwrap();
    let day = 86_400 * S;
    let calendar = Calendar {
        times: Times::Cron(Box::new(times)),
        from: Some(day),
        until: Some(3 * day),
        jitter: 0,
        seed: [0; 16],
    };
    assert_eq!(calendar.upcoming(0, 9), [day, 2 * day, 3 * day]);
    assert_eq!(calendar.last_until(day - 1), None);
}

proptest! {
    #[test]
    fn due_ticks_are_those_that_have_fired(
        every_s in 1..100_i64, jitter in 0..200_i64, after in 0..2_000_i64, passed in 0..3_000_i64,
    ) {
        let calendar = Calendar { jitter: jitter * S, ..every(every_s) };
        let now = (after + passed) * S + 17;
        let due = calendar.due(after * S, now, usize::MAX);
        let first = calendar.next_after(after * S);
        let all = std::iter::successors(first, |t| calendar.next_after(*t));
        let fired: Vec<_> = all.take_while(|t| calendar.fires_at(*t) <= now).collect();
        prop_assert_eq!(due.ticks, fired);
        prop_assert_eq!(due.left_out, None);
    }
}
