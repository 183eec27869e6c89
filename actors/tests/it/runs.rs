//! Runs of workflows: what comes next, what people and times do to it, and that no crash undoes what was done.

mod replay;

mod lives;

use std::time::Duration;

use fleetward_actors::Session;
use fleetward_actors::fact::Fold;
use fleetward_actors::id::RunId;
use fleetward_actors::plane::{Against, Enrollment, NewRunStart, Outcome, Purge, Purged, RunView};
use fleetward_actors::workflows::conductor::Remedy;
use fleetward_actors::workflows::definition::document;
use fleetward_actors::workflows::run::{Phase, Run};
use fleetward_runtime::testkit::World;
use fleetward_store::memory::Memory;
use serde_json::{Value, json};

use crate::fixture::*;

const ARTICLE: &str = r#"
name: article
steps:
  - step: research
  - step: draft
    retries: 2
    retry_delay: 1s
    input: '{"findings": previous, "topic": input}'
  - approval: review
    prompt: '"Publish " + previous + "?"'
    approvers: {requester_may_approve: true}
  - step: publish
output: '{"published": previous, "draft": steps.draft}'
"#;

impl Plane {
    pub(crate) async fn apply(&self, document: &str) {
        let definition = document::parse(document).unwrap_or_else(|wrong| panic!("{wrong}"));
        self.operator.apply_workflow(definition).await.unwrap();
    }

    pub(crate) async fn begin(&self, workflow: &str, id: &str, input: Value) -> RunId {
        let new = NewRunStart {
            workflow: workflow.to_owned(),
            version: None,
            run_id: Some(id.parse().unwrap()),
            input: input.to_string().into(),
            ..NewRunStart::default()
        };
        self.operator.start_run(new).await.unwrap().run
    }

    pub(crate) async fn hand(&self, name: &str) -> Session {
        let enrollment =
            Enrollment { handlers: vec!["*".to_owned()], max_concurrent: 8, ..enrollment(name) };
        self.worker_of(&self.operator, enrollment).await
    }

    pub(crate) async fn run(&self, id: &RunId) -> Run {
        self.operator.run(id).await.unwrap().run
    }

    pub(crate) async fn status(&self, id: &RunId) -> &'static str {
        self.run(id).await.status()
    }

    pub(crate) async fn closed(&self, id: &RunId) -> RunView {
        self.operator.run_when_closed(id, Duration::from_secs(5)).await.unwrap()
    }

    pub(crate) async fn output(&self, id: &RunId) -> Value {
        self.fits(id).await;
        self.only_output(id).await
    }

    pub(crate) async fn only_output(&self, id: &RunId) -> Value {
        let RunView { run, result } = self.closed(id).await;
        assert!(matches!(run.phase, Phase::Completed { .. }), "{:?}", run.phase);
        serde_json::from_slice(&result.unwrap().open().unwrap()).unwrap()
    }

    pub(crate) async fn error(&self, id: &RunId) -> (String, String) {
        self.fits(id).await;
        let RunView { run, result } = self.closed(id).await;
        let Phase::Failed { code, .. } = run.phase else { panic!("{:?}", run.phase) };
        let text = result.map(|sealed| sealed.open().unwrap()).unwrap_or_default();
        (code, String::from_utf8(text.to_vec()).unwrap())
    }

    /// What is on record is what the definition asks for.
    pub(crate) async fn fits(&self, id: &RunId) {
        let run = self.closed(id).await.run;
        let replayed = self.operator.replay_run(id, Against::Kept, None).await.unwrap();
        assert_eq!((replayed.diverged.as_slice(), replayed.incomplete.as_deref()), (&[][..], None));
        assert_eq!(replayed.run, run, "the journal alone says what the record says");
    }

    pub(crate) async fn approve(&self, id: &RunId, gate: &str) -> String {
        code(self.operator.decide_gate(id, gate, true, (None, None)).await)
    }
}

/// Does all the work that there is: `answer` is asked for each step by its key and its input. What was done, in order.
async fn work(
    hand: &Session,
    mut answer: impl FnMut(&str, &Value) -> Result<Value, &'static str>,
) -> Vec<String> {
    let mut done = Vec::new();
    while let Some((offer, delivery)) = hand.claim(plain(2)).await.unwrap() {
        delivery.written();
        let step = offer.step.clone().expect("it is a step");
        let input: Value = serde_json::from_slice(&offer.payload).unwrap();
        let outcome = match answer(step.key.as_str(), &input) {
            Ok(output) => Outcome::Completed(output.to_string().into()),
            Err(error) => Outcome::Failed { error: error.to_owned(), retryable: true },
        };
        done.push(step.key.to_string());
        hand.report(offer.task, Some(offer.attempt), Some(&offer.claim_token), outcome)
            .await
            .unwrap();
    }
    done
}

fn echo(key: &str, input: &Value) -> Result<Value, &'static str> {
    Ok(json!(format!("{key}({})", input.to_string().replace('"', ""))))
}

#[test]
fn what_a_step_results_in_is_what_the_next_is_given() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply(ARTICLE).await;
        let hand = plane.hand("h").await;
        let run = plane.begin("article", "a1", json!("ants")).await;

        assert_eq!(work(&hand, echo).await, ["research", "draft"]);
        assert_eq!(plane.status(&run).await, "waiting");
        let gates = plane.operator.gates(&plane.run(&run).await).await.unwrap();
        let asked: Value = serde_json::from_slice(&gates[0].2.open().unwrap()).unwrap();
        let draft = "draft({findings:research(ants),topic:ants})";
        assert_eq!(asked["prompt"], json!(format!("Publish {draft}?")));
        assert_eq!(plane.approve(&run, "review").await, "ok");
        assert_eq!(work(&hand, echo).await, ["publish"]);

        let published = format!("publish({draft})");
        assert_eq!(plane.output(&run).await, json!({"published": published, "draft": draft}));
        assert_eq!(plane.approve(&run, "review").await, "run_closed");
    });
}

#[test]
fn start_under_the_same_id_starts_once() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply(ARTICLE).await;
        let again = |input: Value| NewRunStart {
            workflow: "article".into(),
            version: None,
            run_id: Some("a1".parse().unwrap()),
            input: input.to_string().into(),
            ..NewRunStart::default()
        };
        plane.begin("article", "a1", json!("ants")).await;

        assert!(plane.operator.start_run(again(json!("ants"))).await.unwrap().repeated);
        let other = plane.operator.start_run(again(json!("bees"))).await;
        assert_eq!(code(other), "run_id_reused");
        plane
            .operator
            .amend_run(&"a1".parse().unwrap(), Remedy::Cancel { reason: None })
            .await
            .unwrap();
        world.clock().sleep(Duration::from_secs(60)).await;
        let late = plane.operator.start_run(again(json!("ants"))).await.unwrap();
        assert!(late.repeated, "its conductor is gone, its record is not");
        let missing = NewRunStart { workflow: "nothing".into(), ..again(json!(1)) };
        assert_eq!(code(plane.operator.start_run(missing).await), "not_found");
    });
}

#[test]
fn failed_run_goes_on_from_its_failure_and_repeats_nothing_that_completed() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply(ARTICLE).await;
        let hand = plane.hand("h").await;
        let run = plane.begin("article", "a1", json!("ants")).await;
        let fails = |key: &str, input: &Value| match key {
            "draft" => Err("the writer is ill"),
            _ => echo(key, input),
        };

        assert_eq!(work(&hand, fails).await, ["research", "draft", "draft", "draft"]);
        assert_eq!(plane.error(&run).await, ("reported".into(), "the writer is ill".into()));
        plane.operator.amend_run(&run, Remedy::Retry).await.unwrap();
        assert_eq!(work(&hand, echo).await, ["draft"]);
        assert_eq!(plane.approve(&run, "review").await, "ok");
        assert_eq!(work(&hand, echo).await, ["publish"]);

        assert_eq!(plane.status(&run).await, "completed");
        let again = plane.operator.amend_run(&run, Remedy::Retry).await;
        assert_eq!(code(again), "run_closed");
    });
}

#[test]
fn failed_runs_leave_the_dead_letters_by_their_age() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply("name: one\nsteps:\n  - step: a\n").await;
        let hand = plane.hand("h").await;
        let mut runs = Vec::new();
        for id in ["old", "new"] {
            runs.push(plane.begin("one", id, json!(1)).await);
            work(&hand, |_, _| Err("no")).await;
            world.clock().sleep(Duration::from_secs(3_600)).await;
        }
        let purge = |workflow: &str| {
            let older_than = Duration::from_secs(5_400);
            Purge { older_than, workflow: Some(workflow.to_owned()), ..Purge::default() }
        };

        assert_eq!(plane.operator.purge_runs(purge("two")).await.unwrap(), Purged::default());
        let purged = plane.operator.purge_runs(purge("one")).await.unwrap();

        assert_eq!(purged, Purged { discarded: 1, next: None });
        assert_eq!(plane.status(&runs[0]).await, "discarded");
        assert_eq!(plane.status(&runs[1]).await, "failed");
    });
}

#[test]
fn first_failure_drops_the_other_branches_or_is_collected() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        for on_failure in ["fail_fast", "collect"] {
            plane
                .apply(&format!(
                    "name: {on_failure}\nsteps:\n  - parallel: checks\n    on_failure: {on_failure}\n    \
                     branches:\n      - step: facts\n      - step: style\n      - wait_signal: word\n"
                ))
                .await;
        }
        let hand = plane.hand("h").await;
        let fails = |key: &str, input: &Value| match key {
            "style" => Err("no style"),
            _ => echo(key, input),
        };

        let fast = plane.begin("fail_fast", "f", json!(1)).await;
        work(&hand, fails).await;
        assert_eq!(plane.error(&fast).await, ("reported".into(), "no style".into()));

        let collect = plane.begin("collect", "c", json!(1)).await;
        work(&hand, fails).await;
        assert_eq!(plane.status(&collect).await, "waiting");
        plane.operator.signal_run(&collect, "word", "7".into()).await.unwrap();
        let error = json!({"error": {"code": "reported", "message": "no style"}});
        let expected = json!({"facts": "facts(1)", "style": error, "word": 7});
        assert_eq!(plane.output(&collect).await, expected);
    });
}

#[test]
fn loops_end_when_their_condition_holds_and_branches_take_the_first_case() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane
            .apply(
                "name: refine\nsteps:\n  - loop: again\n    until: previous.score >= 3\n    max: 5\n    steps:\n      \
                 - step: improve\n  - branch: grade\n    cases:\n      - when: previous.score > 5\n        steps: \
                 [{step: praise}]\n      - when: previous.score == 3\n        steps: [{step: accept}]\n    \
                 otherwise: [{step: reject}]\n",
            )
            .await;
        let hand = plane.hand("h").await;
        let run = plane.begin("refine", "r", json!({"score": 0})).await;

        let done = work(&hand, |key, input| match key {
            "accept" => Ok(json!("accepted")),
            _ => Ok(json!({"score": input["score"].as_i64().unwrap() + 1})),
        });

        let expected = ["again[1]/improve", "again[2]/improve", "again[3]/improve", "accept"];
        assert_eq!(done.await, expected);
        assert_eq!(plane.output(&run).await, json!("accepted"));
    });
}

#[test]
fn signals_are_kept_until_somebody_waits_for_them_and_missed_ones_fail() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane
            .apply(
                "name: pay\nsteps:\n  - step: order\n  - wait_signal: paid\n    timeout: 1h\n  - step: ship\n",
            )
            .await;
        let hand = plane.hand("h").await;
        let early = plane.begin("pay", "early", json!(1)).await;
        plane.operator.signal_run(&early, "paid", "5".into()).await.unwrap();

        assert_eq!(work(&hand, echo).await, ["order", "ship"]);
        assert_eq!(plane.output(&early).await, json!("ship(5)"));
        let late = plane.operator.signal_run(&early, "paid", "6".into()).await;
        assert_eq!(code(late), "run_closed");

        let missed = plane.begin("pay", "missed", json!(1)).await;
        work(&hand, echo).await;
        world.clock().sleep(Duration::from_secs(3_700)).await;
        assert_eq!(plane.error(&missed).await.0, "signal_timeout");
    });
}

#[test]
fn sleep_lasts_as_long_as_it_says_whatever_the_server_does() {
    World::run(async |world| {
        let store = Memory::new();
        let plane = start(world, &store).await;
        plane
            .apply(
                "name: nap\nsteps:\n  - sleep: doze\n    for: 2h\n  - sleep: again\n    for: 1s\n",
            )
            .await;
        let run = plane.begin("nap", "n", json!("rested")).await;
        world.clock().sleep(Duration::from_secs(3_600)).await;
        plane.plane.drain(Duration::from_secs(1)).await;

        let plane = start(world, &store).await;
        world.clock().sleep(Duration::from_secs(3_595)).await;
        assert_eq!(plane.status(&run).await, "waiting");
        world.clock().sleep(Duration::from_secs(10)).await;
        assert_eq!(plane.output(&run).await, json!("rested"));
    });
}

#[test]
fn child_run_gives_its_output_and_ends_with_its_parent() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply("name: inner\nsteps:\n  - step: deep\n").await;
        plane
            .apply("name: outer\nsteps:\n  - child: call\n    workflow: inner\n  - step: last\n")
            .await;
        let hand = plane.hand("h").await;

        let run = plane.begin("outer", "o1", json!(1)).await;
        assert_eq!(work(&hand, echo).await, ["deep", "last"]);
        assert_eq!(plane.output(&run).await, json!("last(deep(1))"));

        let run = plane.begin("outer", "o2", json!(1)).await;
        assert_eq!(work(&hand, |_, _| Err("no")).await, ["deep"]);
        assert_eq!(plane.error(&run).await, ("reported".into(), "no".into()));

        let run = plane.begin("outer", "o3", json!(1)).await;
        world.clock().sleep(Duration::from_secs(1)).await;
        plane.operator.amend_run(&run, Remedy::Cancel { reason: None }).await.unwrap();
        world.clock().sleep(Duration::from_secs(1)).await;
        assert_eq!(work(&hand, echo).await, [""; 0], "nobody wants the child's step any more");
    });
}

#[test]
fn paused_run_begins_nothing_and_cancelled_one_takes_its_tasks_back() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply("name: two\nsteps:\n  - step: a\n  - step: b\n").await;
        let hand = plane.hand("h").await;
        let run = plane.begin("two", "t", json!(1)).await;
        plane.operator.amend_run(&run, Remedy::Pause { reason: None }).await.unwrap();

        assert_eq!(work(&hand, echo).await, ["a"], "it was begun before the pause");
        assert_eq!(plane.status(&run).await, "paused");
        plane.operator.amend_run(&run, Remedy::Resume).await.unwrap();
        plane
            .operator
            .amend_run(&run, Remedy::Cancel { reason: Some("enough".into()) })
            .await
            .unwrap();
        world.clock().sleep(Duration::from_secs(1)).await;

        assert_eq!(work(&hand, echo).await, [""; 0]);
        assert_eq!(plane.status(&run).await, "cancelled");
    });
}

#[test]
fn fork_takes_over_what_ran_before_its_node() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply(ARTICLE).await;
        let hand = plane.hand("h").await;
        let first = plane.begin("article", "a1", json!("ants")).await;
        work(&hand, echo).await;

        let fork = plane.operator.fork_run(&first, "draft", None, Some("\"bees\"".into())).await;
        let fork = fork.unwrap().run;
        assert_eq!(work(&hand, echo).await, ["draft"]);
        assert_eq!(plane.approve(&fork, "review").await, "ok");
        assert_eq!(work(&hand, echo).await, ["publish"]);

        let draft = "draft({findings:research(ants),topic:bees})";
        assert_eq!(plane.output(&fork).await["draft"], json!(draft));
        assert_eq!(plane.status(&first).await, "waiting", "the first is where it was");
        let nowhere = plane.operator.fork_run(&first, "nothing", None, None).await;
        assert_eq!(code(nowhere), "no_such_node");
    });
}

#[test]
fn attempt_that_takes_too_long_is_tried_again_and_fails_in_the_end() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane.apply("name: slow\nsteps:\n  - step: s\n    timeout: 5s\n    retries: 1\n    retry_delay: 1s\n").await;
        let hand = plane.hand("h").await;
        let run = plane.begin("slow", "s", json!(1)).await;

        for attempt in 1..=2 {
            let (offer, delivery) = hand.claim(plain(10)).await.unwrap().unwrap();
            delivery.written();
            assert_eq!(offer.attempt, attempt);
            world.clock().sleep(Duration::from_secs(7)).await;
        }

        assert_eq!(plane.error(&run).await.0, "timed_out");
    });
}

#[test]
fn step_may_need_more_values_than_a_conductor_keeps() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        let names: Vec<_> = (1..=18).map(|number| format!("s{number}")).collect();
        let steps: String = names.iter().map(|name| format!("  - step: {name}\n")).collect();
        let all: Vec<_> = names.iter().map(|name| format!("has(steps.{name})")).collect();
        let last = format!("  - step: all\n    input: {}\n", all.join(" && "));
        plane.apply(&format!("name: large\nsteps:\n{steps}{last}")).await;
        let hand = plane.hand("h").await;
        let run = plane.begin("large", "l", json!("")).await;

        work(&hand, |key, input| match key {
            "all" => Ok(input.clone()),
            _ => Ok("x".repeat(1_000_000).into()),
        })
        .await;

        // What a replay opens of it is nothing new, and much in a build for tests.
        assert_eq!(plane.only_output(&run).await, json!(true));
    });
}

#[test]
fn failure_that_was_collected_and_used_stays_when_the_run_is_tried_again() {
    World::run(async |world| {
        let plane = start(world, &Memory::new()).await;
        plane
            .apply(
                "name: w\nsteps:\n  - parallel: all\n    on_failure: collect\n    branches:\n      - step: a\n      - step: b\n  - step: s\n  - step: t\n",
            )
            .await;
        let hand = plane.hand("h").await;
        let run = plane.begin("w", "w1", json!("in")).await;
        let broken = |key: &str, input: &Value| match key {
            "a" | "t" => Err("broken"),
            _ => echo(key, input),
        };
        assert_eq!(work(&hand, broken).await, ["a", "b", "s", "t"]);

        plane.operator.amend_run(&run, Remedy::Retry).await.unwrap();

        assert_eq!(work(&hand, echo).await, ["t"]);
        assert!(plane.output(&run).await.as_str().unwrap().contains("error"));
    });
}
