//! Every rule at its edge, and what befalls a whole fleet.

use super::*;
use expect_test::{Expect, expect};

const SECOND: i64 = 1_000_000;

/// A fleet whose counters a test moves, and which is looked at once a minute.
struct Story {
    watches: Watches,
    thresholds: Thresholds,
    now: i64,
    fleet: Vec<Seen>,
}

impl Story {
    fn of(workers: usize) -> Self {
        let seen = |n: usize| Seen {
            account: Account {
                worker: WorkerId(uuid::Uuid::from_u128(n as u128)),
                able: true,
                parked: true,
                tally: Tally::default(),
            },
            beaten: 1,
            back: 0,
            left: false,
            calls: 0,
        };
        let fleet = (0..workers).map(seen).collect();
        let (watches, thresholds) = (Watches::default(), Thresholds::default());
        let mut story = Self { watches, thresholds, now: 0, fleet };
        story.look();
        story
    }

    /// A minute passes in which everybody is heard, but for what `during` says.
    fn minute(&mut self, during: impl Fn(usize, &mut Seen)) -> Vec<Observation> {
        self.now += 60 * SECOND;
        for (n, seen) in self.fleet.iter_mut().enumerate() {
            seen.beaten = self.now;
            during(n, seen);
        }
        self.look()
    }

    fn look(&mut self) -> Vec<Observation> {
        let look = Look {
            now: self.now,
            fair_since: 0,
            heartbeat: 10 * SECOND,
            every: 60 * SECOND,
            first: false,
            thresholds: &self.thresholds,
        };
        self.watches.sweep(&self.fleet, &look)
    }
}

/// What is said of the first worker.
#[track_caller]
fn check(seen: &[Observation], expected: Expect) {
    let first = &seen[0];
    let mut said: Vec<_> =
        first.findings.iter().map(|f| format!("{}: {}", f.suspicion.as_str(), f.why)).collect();
    said.extend(first.deaf.iter().map(|(_, why)| format!("deaf: {why}")));
    said.extend(first.mute.iter().map(|(_, why)| format!("mute: {why}")));
    assert!(seen[1..].iter().all(|other| other.findings.is_empty()), "{seen:#?}");
    expected.assert_eq(&said.join("\n"));
}

#[test]
fn silence_is_suspicious_from_the_fourth_heartbeat_on() {
    let mut story = Story::of(2);
    let heard = |ago: i64, now: i64| {
        move |n: usize, seen: &mut Seen| {
            if n == 0 {
                seen.beaten = now - ago * SECOND;
            }
        }
    };
    check(&story.minute(heard(39, 60 * SECOND)), expect![""]);
    check(
        &story.minute(heard(40, 120 * SECOND)),
        expect!["missed_heartbeats: it has missed 4 heartbeats in a row, one is due every 10 s"],
    );
    check(&story.minute(|_, _| {}), expect![""]);
}

#[test]
fn who_said_goodbye_is_missed_by_nobody_until_it_is_back_for_a_while() {
    let mut story = Story::of(2);
    let gone = |left: bool, back: i64| {
        move |n: usize, seen: &mut Seen| {
            if n == 0 {
                (seen.beaten, seen.left, seen.back) = (1, left, back);
                seen.account.parked = false;
            }
        }
    };
    for _ in 0..10 {
        let seen = story.minute(gone(true, 0));
        check(&seen, expect![""]);
        assert!(seen[0].polling && seen[0].beating, "whatever it was missed for is over");
    }
    check(&story.minute(gone(false, 640 * SECOND)), expect![""]);
    check(
        &story.minute(gone(false, 640 * SECOND)),
        expect!["missed_heartbeats: it has missed 8 heartbeats in a row, one is due every 10 s"],
    );
}

#[test]
fn failures_are_judged_from_enough_of_them_on_and_against_the_others() {
    let mut story = Story::of(3);
    let report = |n: usize, completed: u64, failed: u64| {
        move |at: usize, seen: &mut Seen| {
            if at == n {
                seen.account.tally.completed += completed;
                seen.account.tally.failed += failed;
            }
        }
    };
    check(&story.minute(report(0, 0, 19)), expect![""]);
    check(
        &story.minute(report(0, 0, 1)),
        expect![
            "excessive_failures: 20 of its 20 attempts in the last 600 s failed (100 %); too little is known of others"
        ],
    );
    // The others fail as much: it is the tasks.
    let seen = story.minute(report(1, 10, 30));
    assert!(seen.iter().all(|seen| seen.findings.is_empty()), "{seen:#?}");
    // One that does well shows that it is not the tasks.
    let seen = story.minute(report(2, 500, 0));
    let suspects: Vec<_> = seen.iter().map(|seen| !seen.findings.is_empty()).collect();
    assert_eq!(suspects, [true, true, false], "{seen:#?}");
    assert!(seen[0].findings[0].why.ends_with("failed (100 %); 5 % at the others"));
    for _ in 0..10 {
        story.minute(|_, _| {});
    }
    check(&story.minute(|_, _| {}), expect![""]);
}

#[test]
fn rate_is_compared_with_what_was_usual_and_with_the_others() {
    let mut story = Story::of(5);
    let calls = |n: usize, calls: u64| {
        move |at: usize, seen: &mut Seen| {
            seen.calls += if at == n { calls } else { 150 };
        }
    };
    for _ in 0..12 {
        check(&story.minute(calls(0, 150)), expect![""]);
    }
    check(&story.minute(calls(0, 700)), expect![""]);
    check(
        &story.minute(calls(0, 1_100)),
        expect![
            "rate_spike: it made 1100 requests a minute; 205 were usual for it in 13 looks, and 1025 are the limit"
        ],
    );
    // Everybody is called upon at once.
    let surge = story.minute(|_, seen| seen.calls += 20_000);
    assert!(surge.iter().all(|seen| seen.findings.is_empty()), "{surge:#?}");
}

#[test]
fn newcomer_and_quiet_worker_make_no_spike() {
    let mut story = Story::of(1);
    check(&story.minute(|_, seen| seen.calls += 1_000_000), expect![""]);
    let mut quiet = Story::of(1);
    for _ in 0..20 {
        quiet.minute(|_, seen| seen.calls += 1);
    }
    check(&quiet.minute(|_, seen| seen.calls += 600), expect![""]);
}

#[test]
fn reports_that_do_not_go_with_the_models_add_up() {
    let mut story = Story::of(2);
    let wrong = |n: usize, seen: &mut Seen| seen.account.tally.mismatched += u64::from(n == 0);
    check(&story.minute(wrong), expect![""]);
    check(&story.minute(wrong), expect![""]);
    check(
        &story.minute(wrong),
        expect![
            "model_mismatch: 3 of its reports in the last 600 s do not go with the models it has"
        ],
    );
}

#[test]
fn who_has_free_seats_and_does_not_ask_is_deaf() {
    let mut story = Story::of(1);
    let silent = |_: usize, seen: &mut Seen| seen.account.parked = false;
    for _ in 0..3 {
        check(&story.minute(silent), expect![""]);
    }
    check(
        &story.minute(silent),
        expect![
            "deaf: it sends heartbeats and has free seats, and has not asked for work for 180 s"
        ],
    );
    // A poll that came and went between two looks counts, and so does being busy.
    check(&story.minute(|_, seen| seen.account.tally.polls += 1), expect![""]);
    check(&story.minute(|_, seen| seen.account.able = false), expect![""]);
    for _ in 0..3 {
        check(&story.minute(|_, seen| seen.account.able = true), expect![""]);
    }
}

#[test]
fn who_asks_and_sends_no_heartbeats_is_mute() {
    let mut story = Story::of(1);
    let mute = |_: usize, seen: &mut Seen| seen.beaten = 0;
    for _ in 0..2 {
        check(&story.minute(mute), expect![""]);
    }
    check(
        &story.minute(mute),
        expect!["mute: it asks for work, and has sent no heartbeat for 180 s"],
    );
    assert!(!story.minute(mute)[0].beating);
}

#[test]
fn what_the_server_did_not_see_is_no_silence() {
    let mut story = Story::of(1);
    story.now = 3_600 * SECOND;
    let look = Look {
        now: story.now,
        fair_since: story.now - 30 * SECOND,
        heartbeat: 10 * SECOND,
        every: 60 * SECOND,
        first: false,
        thresholds: &story.thresholds,
    };
    check(&story.watches.sweep(&story.fleet, &look), expect![""]);
}

#[test]
fn reports_are_judged_between_two_sweeps_too() {
    let mut story = Story::of(2);
    story.fleet[0].account.tally.failed = 20;
    let accounts: Vec<_> = story.fleet.iter().map(|seen| seen.account).collect();
    let look = Look {
        now: 5 * SECOND,
        fair_since: 0,
        heartbeat: 10 * SECOND,
        every: 60 * SECOND,
        first: false,
        thresholds: &story.thresholds,
    };
    let found = story.watches.notice(&accounts, &look);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1[0].suspicion, Kind::ExcessiveFailures);

    // What was noticed is not counted again.
    assert_eq!(story.look()[0].findings[0].samples, 20);
    story.watches.forget(accounts[0].worker);
    assert!(story.look()[0].findings.is_empty());
}

#[test]
fn dead_letters_are_too_many_within_a_window() {
    let mut story = Story::of(0);
    let thresholds = Thresholds { dead_letters: 10, ..Thresholds::default() };
    let look = Look {
        now: 0,
        fair_since: 0,
        heartbeat: 10 * SECOND,
        every: 60 * SECOND,
        first: false,
        thresholds: &thresholds,
    };
    // The first look only learns how many there were.
    assert_eq!(story.watches.dead_letters(1_000, &look), (0, false));
    assert_eq!(story.watches.dead_letters(1_009, &look), (9, false));
    assert_eq!(story.watches.dead_letters(1_010, &look), (10, true));
    for _ in 0..8 {
        story.watches.dead_letters(1_010, &look);
    }
    assert_eq!(story.watches.dead_letters(1_010, &look), (1, false));
}
