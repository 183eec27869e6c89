//! What is found unwise, and what is not.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};

use super::Workers;
use crate::fleet::models::Overrides;
use crate::fleet::task::Profile;
use crate::workflows::definition::document;

#[track_caller]
fn check(text: &str, workers: Option<&Workers<'_>>, expected: Expect) {
    let document = document::read(text).unwrap_or_else(|problems| panic!("{problems}"));
    let said: Vec<_> = document.lint(workers).iter().map(ToString::to_string).collect();
    expected.assert_eq(&said.join("\n"));
}

#[test]
fn what_nothing_reaches_is_found() {
    check(
        r#"
name: a
steps:
  - branch: first
    cases:
      - when: "false"
        steps: [{step: never}]
      - when: 1 + 1 == 2
        steps: [{step: always}]
      - when: input.x
        steps: [{step: too-late}]
      - when: '"text"'
        steps: [{step: wrong}]
    otherwise: [{step: not-either}]
  - loop: once
    max: 1
    until: "true"
    steps: [{step: b, retry_delay: 5s, backoff: 3}]
  - parallel: few
    limit: 5
    branches: [{step: c}, {step: d}]
  - approval: gate
    prompt: '"?"'
    expires: 1h
    remind: 2h
  - approval: open
    prompt: '"?"'
    on_expiry: approve
  - sleep_until: tomorrow
    at: '"tomorrow"'
"#,
        None,
        expect![[r#"
            6:15: warning: steps[0].cases[0].when: it never holds: its nodes are never reached
            10:15: warning: steps[0].cases[2].when: it is never reached: case 1 always holds
            12:15: warning: steps[0].cases[3].when: it is never reached: case 1 always holds
            12:15: error: steps[0].cases[3].when: it is neither true nor false
            14:5: warning: steps[0].otherwise: it is never reached: case 1 always holds
            16:10: warning: steps[1].max: it runs once, as a sequence does
            17:12: warning: steps[1].until: it always holds: it runs once
            18:36: warning: steps[1].steps[0].retry_delay: it has no effect without `retries`
            18:49: warning: steps[1].steps[0].backoff: it has no effect without `retries`
            20:12: warning: steps[2].limit: it limits nothing: there are no more branches
            25:13: warning: steps[3].remind: it expires before anybody is reminded
            28:16: warning: steps[4].on_expiry: it has no effect without `expires`
            30:9: error: steps[5].at: `tomorrow` is no time; write 2027-01-31T09:00:00Z"#]],
    );
}

#[test]
fn references_to_what_has_not_run_are_found() {
    check(
        r#"
name: a
steps:
  - step: first
    input: steps.last
  - parallel: both
    branches:
      - step: left
        input: steps.right
      - sequence: rights
        steps:
          - step: right
            input: steps.first
          - step: after
            input: steps.right.x + steps.both.x + steps.after.x
  - branch: fork
    cases:
      - when: steps.right.ok && steps.left.ok
        steps: [{step: yes}]
    otherwise:
      - step: no
        input: steps.yes
  - loop: again
    max: 3
    until: steps.inner.ok && steps.second.ok
    steps:
      - step: inner
        input: 'has(steps.second) ? steps.second : iteration'
      - step: second
        input: steps.third
      - step: third
  - parallel: loose
    on_failure: collect
    branches: [{step: e}, {step: f-g}]
  - step: last
    input: '[steps.yes, steps.fork, steps.third, steps.e, steps["f-g"], iteration]'
output: steps.last
"#,
        None,
        expect![[r#"
            5:12: error: steps[0].input: `steps.last` has no output here: it runs later
            9:16: error: steps[1].branches[0].input: `steps.right` has no output here: it runs at the same time, in `both`
            15:20: error: steps[1].branches[1].steps[1].input: `steps.after` has no output here: it is this node itself; what it is given is `previous`
            15:20: error: steps[1].branches[1].steps[1].input: `steps.both` has no output here: this node is inside of it
            22:16: error: steps[2].otherwise[0].input: `steps.yes` has no output here: it is in another case of `fork`
            30:16: warning: steps[3].steps[1].input: `steps.third` may have no output: the first time of `again` has not reached it; ask with has(steps.third)
            36:12: warning: steps[5].input: `steps.e` may have no output: it may have failed in `loose`; ask with has(steps.e)
            36:12: warning: steps[5].input: `steps.f-g` may have no output: it may have failed in `loose`; ask with "f-g" in steps
            36:12: warning: steps[5].input: `steps.yes` may have no output: it runs only in a case of `fork`; ask with has(steps.yes)
            36:12: warning: steps[5].input: `iteration` is null here: this is in no loop"#]],
    );
}

#[test]
fn steps_that_no_worker_could_run_are_found() {
    let handlers = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    let writer = Profile {
        pool: "writers".into(),
        models: handlers(&["gpt-4o"]),
        labels: [("zone".to_owned(), "eu".to_owned())].into(),
        handlers: handlers(&["dra*", "review"]),
        ..Profile::default()
    };
    let handlers = handlers(&["publish"]);
    let other = Profile { pool: "default".into(), handlers, ..Profile::default() };
    let names = Overrides::default();
    let workers = Workers { offers: vec![&writer, &other], names: &names };
    check(
        r#"
name: a
pool: writers
labels: {zone: eu}
steps:
  - step: draft
    model: openai/gpt-4o-2024-08-06
  - step: publish
  - step: review
    model: claude-sonnet-4
  - sequence: inside
    steps:
      - step: far
        pool: gpu
        handler: draft
      - step: us
        handler: draft
        labels: {zone: us}
      - step: any
        handler: null
        sandbox: vm
      - step: finance
        handler: draft
        project: finance
"#,
        Some(&workers),
        expect![[r#"
            8:5: warning: steps[1].handler: no worker could run it: no worker has registered the handler "publish"; there is dra*, review; there is 1 worker in pool "writers" for no project; it needs a worker in pool "writers" that has label zone=eu and has registered the handler "publish"
            10:12: warning: steps[2].model: no worker could run it: no worker has model "claude-sonnet-4"; there is gpt-4o; there is 1 worker in pool "writers" for no project; it needs a worker in pool "writers" that has model "claude-sonnet-4" and has label zone=eu and has registered the handler "review"
            14:15: warning: steps[3].steps[0].pool: no worker could run it: no approved worker stands in pool "gpu" for no project; it needs a worker in pool "gpu" that has label zone=eu and has registered the handler "draft"
            18:9: warning: steps[3].steps[1].labels: no worker could run it: no worker has label zone=us; there is zone=eu; there is 1 worker in pool "writers" for no project; it needs a worker in pool "writers" that has label zone=us and has registered the handler "draft"
            21:18: warning: steps[3].steps[2].sandbox: no worker could run it: no worker offers the sandbox level vm or more; there is none; there is 1 worker in pool "writers" for no project; it needs a worker in pool "writers" that has label zone=eu and offers the sandbox level vm or more
            24:18: warning: steps[3].steps[3].project: no worker could run it: no approved worker stands in pool "writers" for project "finance"; it needs a worker in pool "writers" for project "finance" that has label zone=eu and has registered the handler "draft""#]],
    );
}
