//! What policies make of ticks, by tables and by properties.

use super::super::schedule::{Event, Schedule};
use super::super::spec::{CatchUp, Timing};
use super::*;
use crate::fact::{Fold, Stamp};
use crate::id::{RunId, ScheduleId};
use proptest::prelude::*;
use std::collections::BTreeSet;

const S: i64 = 1_000_000;
const BORN: i64 = 1_000_000 * S;

/// A schedule, its runs that are open, and a clock.
struct World {
    schedule: Schedule,
    calendar: Calendar,
    open: BTreeSet<RunId>,
    now: i64,
    latest: i64,
    fired: Vec<i64>,
    transcript: String,
}

fn spec(policy: Missed, overlap: Overlap) -> Spec {
    let catch_up = CatchUp { policy, ..CatchUp::default() };
    Spec { catch_up, overlap, ..Spec::new("w", Timing::Every { seconds: 10 }) }
}

impl World {
    fn new(spec: Spec) -> Self {
        let id = ScheduleId(uuid::Uuid::nil());
        let calendar = spec.calendar(id).unwrap();
        let created = Event::Created {
            schedule: id,
            name: "s".into(),
            spec: Box::new(spec),
            digest: String::new(),
            since: BORN,
        };
        let schedule = Schedule::begin(&created, Stamp { seq: 1, at: BORN, by: "x" }).unwrap();
        let (open, fired, transcript) = (BTreeSet::new(), Vec::new(), String::new());
        Self { schedule, calendar, open, now: BORN, latest: BORN, fired, transcript }
    }

    fn note(&mut self, event: &Event) {
        let stamp = Stamp { seq: self.schedule.updated + 1, at: self.now, by: "system" };
        self.schedule.evolve(event, stamp);
    }

    /// Does everything that is to be done now.
    fn play(&mut self) {
        self.latest = self.latest.max(self.now);
        for _ in 0..10_000 {
            let step = next(&View {
                spec: &self.schedule.spec,
                calendar: &self.calendar,
                last: self.schedule.last,
                buffered: self.schedule.buffered,
                now: self.now,
                open: Some(!self.open.is_empty()),
                room: 8,
                starting: false,
            });
            let since = |tick: i64| (tick - BORN) / S;
            match step {
                Step::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now), "it would spin");
                    return;
                }
                Step::Look => unreachable!("it is known"),
                Step::Skip { until, why } => {
                    self.transcript += &format!("skip ..{} {why:?}\n", since(until));
                    self.note(&Event::Skipped { until, why });
                }
                Step::Buffer { tick } => {
                    self.transcript += &format!("buffer {}\n", since(tick));
                    self.note(&Event::Buffered { tick });
                }
                Step::Fire { tick, buffered, cancel } => {
                    let how = if cancel { " in place of another" } else { "" };
                    self.transcript += &format!("fire {}{how}\n", since(tick));
                    if cancel {
                        self.open.clear();
                    }
                    let run = self.schedule.run_of(tick);
                    assert!(self.open.insert(run.clone()), "{run} twice");
                    self.fired.push(tick);
                    let (version, manual, own_input) = (String::new(), false, false);
                    self.note(&Event::Fired { tick, run, version, manual, buffered, own_input });
                }
            }
        }
        panic!("it does not end:\n{}", self.transcript);
    }

    fn script(mut self, script: &str) -> String {
        for line in script.split(", ") {
            match line.split_once(' ') {
                Some(("pass", seconds)) => {
                    for _ in 0..seconds.parse::<i64>().unwrap() {
                        self.now += S;
                        self.play();
                    }
                }
                Some(("away", seconds)) => {
                    self.now += seconds.parse::<i64>().unwrap() * S;
                    self.play();
                }
                None if line == "ends" => {
                    self.open.clear();
                    self.play();
                }
                _ => panic!("unknown line `{line}`"),
            }
        }
        self.transcript
    }
}

#[track_caller]
fn check(policy: Missed, overlap: Overlap, script: &str, expected: &[&str]) {
    let transcript = World::new(spec(policy, overlap)).script(script);
    assert_eq!(transcript.lines().collect::<Vec<_>>(), expected, "{policy:?} {overlap:?}");
}

#[test]
fn missed_ticks_are_caught_up_as_the_policy_says() {
    let away = "pass 15, away 200, pass 10";
    check(
        Missed::Skip,
        Overlap::Allow,
        away,
        &[
            "fire 10",
            "skip ..150 Missed",
            "fire 160",
            "fire 170",
            "fire 180",
            "fire 190",
            "fire 200",
            "fire 210",
            "fire 220",
        ],
    );
    check(
        Missed::Latest,
        Overlap::Allow,
        away,
        &["fire 10", "skip ..200 Missed", "fire 210", "fire 220"],
    );
    let some = Spec {
        catch_up: CatchUp { policy: Missed::All, window_ms: 100_000, most: 3 },
        ..spec(Missed::All, Overlap::Allow)
    };
    let transcript = World::new(some).script(away);
    let expected = ["fire 10", "skip ..180 Missed", "fire 190", "fire 200", "fire 210", "fire 220"];
    assert_eq!(transcript.lines().collect::<Vec<_>>(), expected);
    let old = Spec {
        catch_up: CatchUp { policy: Missed::All, window_ms: 25_000, most: 100 },
        ..spec(Missed::All, Overlap::Allow)
    };
    let transcript = World::new(old).script("away 100");
    assert_eq!(
        transcript.lines().collect::<Vec<_>>(),
        ["skip ..70 Missed", "fire 80", "fire 90", "fire 100"]
    );
}

#[test]
fn tick_does_beside_an_open_run_what_the_policy_says() {
    let script = "pass 35, ends, pass 6";
    check(
        Missed::Latest,
        Overlap::Skip,
        script,
        &["fire 10", "skip ..20 Overlap", "skip ..30 Overlap", "fire 40"],
    );
    check(
        Missed::Latest,
        Overlap::BufferOne,
        script,
        &["fire 10", "buffer 20", "skip ..30 Overlap", "fire 20", "buffer 40"],
    );
    check(Missed::Latest, Overlap::Allow, script, &["fire 10", "fire 20", "fire 30", "fire 40"]);
    check(
        Missed::Latest,
        Overlap::CancelOther,
        script,
        &["fire 10", "fire 20 in place of another", "fire 30 in place of another", "fire 40"],
    );
}

#[test]
fn nothing_is_decided_before_it_is_known_whether_a_run_is_open() {
    let world = World::new(spec(Missed::Latest, Overlap::Skip));
    let view = View {
        spec: &world.schedule.spec,
        calendar: &world.calendar,
        last: BORN,
        buffered: None,
        now: BORN + 10 * S,
        open: None,
        room: 8,
        starting: false,
    };
    assert_eq!(next(&view), Step::Look);
    assert_eq!(next(&View { starting: true, ..view }), Step::Wait(None), "one is about to begin");
    assert_eq!(next(&View { room: 0, open: Some(false), ..view }), Step::Wait(None));
    assert_eq!(next(&View { now: BORN, ..view }), Step::Wait(Some(BORN + 10 * S)));
    let buffered = View { buffered: Some(BORN), now: BORN + S, open: Some(true), ..view };
    let overlap = Spec { overlap: Overlap::BufferOne, ..world.schedule.spec.clone() };
    let buffered = View { spec: &overlap, ..buffered };
    assert_eq!(
        next(&buffered),
        Step::Wait(Some(BORN + 10 * S)),
        "its tick, and a look, are to come"
    );
    let told_otherwise = View { spec: &world.schedule.spec, ..buffered };
    assert!(matches!(next(&told_otherwise), Step::Fire { buffered: true, cancel: false, .. }));
}

#[derive(Debug, Clone)]
enum Op {
    Pass(i64),
    Away(i64),
    SetBack(i64),
    End,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (1..40_i64).prop_map(Op::Pass),
        2 => (1..500_i64).prop_map(Op::Away),
        1 => (1..300_i64).prop_map(Op::SetBack),
        2 => Just(Op::End),
    ];
    proptest::collection::vec(op, 1..40)
}

fn overlaps() -> impl Strategy<Value = Overlap> {
    prop_oneof![
        Just(Overlap::Skip),
        Just(Overlap::BufferOne),
        Just(Overlap::Allow),
        Just(Overlap::CancelOther)
    ]
}

proptest! {
    #[test]
    fn no_tick_fires_twice_and_none_is_lost_that_is_to_be_caught_up(
        ops in ops(), overlap in overlaps(), missed in 0..3_usize, jitter_ms in 0..20_000_u64,
    ) {
        let policy = [Missed::Skip, Missed::Latest, Missed::All][missed];
        let catch_up = CatchUp { policy, most: 1_000, ..CatchUp::default() };
        let mut world = World::new(Spec { jitter_ms, catch_up, ..spec(policy, overlap) });
        for op in ops {
            match op {
                Op::Pass(seconds) => {
                    for _ in 0..seconds {
                        world.now += S;
                        world.play();
                    }
                }
                Op::Away(seconds) => {
                    world.now += seconds * S;
                    world.play();
                }
                // Somebody sets the clock; the server may start anew at any time: what it knows is the fold.
                Op::SetBack(seconds) => {
                    world.now -= seconds * S;
                    let stored = serde_json::to_string(&world.schedule).unwrap();
                    world.schedule = serde_json::from_str(&stored).unwrap();
                    world.play();
                }
                Op::End => {
                    world.open.clear();
                    world.play();
                }
            }
        }
        prop_assert!(world.fired.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", world.fired);
        if policy == Missed::All && overlap == Overlap::Allow {
            let calendar = &world.calendar;
            let all = std::iter::successors(calendar.next_after(BORN), |t| calendar.next_after(*t));
            let come: Vec<_> = all.take_while(|t| calendar.fires_at(*t) <= world.latest).collect();
            prop_assert_eq!(&world.fired, &come);
        }
    }
}
