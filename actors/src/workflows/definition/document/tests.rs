//! Documents that are read, and what is said of those that are not.

use std::path::Path;
use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::json;

use super::{parse, written};
use crate::workflows::definition::{Definition, Kind};
use crate::workflows::expression::Scope;

#[track_caller]
fn check(document: &str, expected: Expect) {
    let said = match parse(document) {
        Ok(_) => "nothing is wrong".to_owned(),
        Err(problems) => problems.to_string(),
    };
    expected.assert_eq(&said);
}

fn example(name: &str) -> Definition {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workflows");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    parse(&text).unwrap_or_else(|problems| panic!("{name}: {problems}"))
}

#[test]
fn examples_say_what_they_mean() {
    let definition = example("article-pipeline.yaml");

    let words: Vec<_> = definition.nodes.iter().map(|node| node.kind.word()).collect();
    let Some(Kind::Step(draft)) = definition.node("draft").map(|node| &node.kind) else {
        panic!("draft is a step");
    };

    assert_eq!(words, ["step", "step", "approval", "step"]);
    assert_eq!((draft.retry.max_attempts, draft.retry.initial_ms), (4, 2_000));
    assert_eq!(draft.handler.as_deref(), Some("draft"));
    assert_eq!(definition.output.unwrap().text(), r#"{"result": previous, "topic": input.topic}"#);
}

#[test]
fn version_is_of_what_is_said_and_not_of_how_it_is_written() {
    let definition = example("article-pipeline.yaml");
    let json = written(&definition).to_string();
    expect!["4b9115c5972b48936d1a524a5339a235f7643360ef86d6e100b4839e5357c63e"]
        .assert_eq(&definition.version());
    assert_eq!(parse(&json).unwrap().version(), definition.version());
    let other = json.replace("2s", "3s");
    assert_ne!(parse(&other).unwrap().version(), definition.version());
}

#[test]
fn examples_survive_being_written_and_stored() {
    for name in ["article-pipeline.yaml", "article-pipeline-agents.yaml", "every-node.yaml"] {
        let definition = example(name);
        let document = written(&definition);
        let stored = serde_json::to_string(&definition).unwrap();
        assert_eq!(parse(&document.to_string()).unwrap(), definition, "{name}");
        assert_eq!(parse(&format!("{document:#}")).unwrap(), definition, "{name}");
        assert_eq!(serde_json::from_str::<Definition>(&stored).unwrap(), definition, "{name}");
    }
    let nodes = example("every-node.yaml");
    let depths: Vec<_> = nodes.all_nodes().map(|p| format!("{}{}", p.node.name, p.depth)).collect();
    assert_eq!(depths[2..7], ["checks1", "facts2", "style2", "editor3", "count3"]);
}

#[test]
fn several_things_are_told_at_once_with_their_places() {
    check(
        r#"
name: 9lives
pol: writers
steps:
  - step: a
    timout: 10m
    retries: "3"
    priority: high
  - stepp: b
  - step: c
    sleep: d
  - approval: e
    approvers: {quorom: 2}
    on_expiry: explode
  - loop: f
    steps: []
    max: -1
    must_hold: yes
  - just text
  - parallel: g
  - sleep: h
    for: 10
  - branch: i
    cases:
      - when: input.x =
        steps: [{step: j}]
      - steps: nothing
"#,
        expect![[r#"
            3:1: pol: there is no key `pol` here; did you mean `pool`?
            6:5: steps[0].timout: there is no key `timout` here; did you mean `timeout`?
            7:14: steps[0].retries: an integer, without quotes, is expected here, not text
            8:15: steps[0].priority: an integer, without quotes, is expected here, not text
            9:5: steps[1]: this does not say what kind of node it is; did you mean `step`?
            11:5: steps[2]: this is both `step` and `sleep`
            12:5: steps[3]: the key `prompt` is missing
            13:17: steps[3].approvers.quorom: there is no key `quorom` here; did you mean `quorum`?
            14:16: steps[3].on_expiry: `explode` is none of `reject`, `approve`
            17:10: steps[4].max: an integer from 0 is expected here
            18:16: steps[4].must_hold: write `true` or `false`; `yes` is text
            19:5: steps[5]: a node is a mapping such as `step: build`, not text
            20:5: steps[6]: the key `branches` is missing
            22:10: steps[7].for: `10` has no unit; write `10s` for seconds
            25:23: steps[8].cases[0].when: `=` is not expected here; write `==` to compare
            27:9: steps[8].cases[1]: the key `when` is missing
            27:16: steps[8].cases[1].steps: a list is expected here, not text"#]],
    );
}

#[test]
fn what_a_definition_says_is_checked_once_it_can_be_read() {
    check(
        r#"
name: 9lives
pool: ""
steps:
  - step: draft
    retries: 100
    retry_delay: 10m
    max_delay: 1m
    priority: 10
    backoff: 0.5
  - step: draft
    input: steps.darft.text + steps.cool.x
  - sleep: cool-down
    for: 0s
  - loop: again
    max: 1001
    steps: []
  - approval: gate
    prompt: '"?"'
    approvers: {people: [ann], quorum: 2}
  - branch: none
    cases: []
  - parallel: one
    limit: 0
    branches: [{step: with blank}]
  - child: other
    version: latest
output:
  text: steps.nobody
"#,
        expect![[r#"
            2:7: name: `9lives` is no name: at most 64 letters, digits, `-` and `_`, a letter first
            3:7: pool: pool must not be empty
            6:14: steps[0].retries: retries are 0 to 99
            8:16: steps[0].max_delay: it is shorter than `retry_delay`
            9:15: steps[0].priority: priorities are 0 to 9, the highest first
            10:14: steps[0].backoff: it is a factor of 1 to 100
            11:11: steps[1].step: the name `draft` is taken by steps[0]; names are unique
            12:12: steps[1].input: there is no node `cool` for `steps.cool`; a name with a dash is written steps["cool-down"]
            12:12: steps[1].input: there is no node `darft` for `steps.darft`; did you mean `draft`?
            14:10: steps[2].for: it must be longer than nothing
            16:10: steps[3].max: a loop ends after 1 to 1000 times
            17:5: steps[3].steps: at least one node is needed here
            20:40: steps[4].approvers.quorum: only 1 can approve
            22:5: steps[5].cases: at least one case is needed here
            24:12: steps[6].limit: at least one branch runs at once
            25:23: steps[6].branches[0].step: `with blank` is no name: at most 64 letters, digits, `-` and `_`, a letter first
            27:14: steps[7].version: a version is 8 to 64 hexadecimal digits, as `workflow list` shows it
            28:1: output: there is no node `nobody` for `steps.nobody`"#]],
    );
}

#[test]
fn places_inside_of_expressions_are_told() {
    check(
        r#"
name: a
steps:
  - step: plain
    input: previous.x + inputs.y
  - step: quoted
    input: 'previous.x + inputs.y'
  - step: block
    input: |
      previous.x +
        inputs.y
  - step: folded
    input: >
      previous.x +
      inputs.y
  - step: mapping
    input:
      one: input.x
      two: [1, nothing]
      three:
  - branch: cases
    cases:
      - when: steps.plain.ok and true
        steps: [{step: last}]
"#,
        expect![[r#"
            5:25: steps[0].input: there is no variable `inputs`; did you mean `input`?
            7:26: steps[1].input: there is no variable `inputs`; did you mean `input`?
            12:11: steps[2].input: there is no variable `inputs`; did you mean `input`?
            14:7: steps[3].input: there is no variable `inputs`; did you mean `input`? (line 1 of the expression)
            19:16: steps[4].input.two[1]: there is no variable `nothing`; there are `input`, `previous`, `steps`, `iteration` and `run`, and text stands in quotes
            23:30: steps[5].cases[0].when: write `&&` for `and`"#]],
    );
}

#[test]
fn what_is_no_yaml_is_said_with_its_place() {
    for (document, expected) in [
        ("", expect!["1:1: the document is empty"]),
        ("just text", expect!["1:1: a mapping is expected here, not text"]),
        ("name: a\nname: b\n", expect!["2:1: the key `name` stands here twice, first in line 1"]),
        (
            "name: a: b\n",
            expect![
                "1:8: this is no YAML: mapping values are not allowed in this context: text with `: ` in it stands in quotes"
            ],
        ),
        (
            "name: a\n\tsteps: []\n",
            expect![
                "1:7: this is no YAML: while scanning a plain scalar, found a tab: indent with blanks"
            ],
        ),
        (
            "name: [a\n",
            expect!["2:1: this is no YAML: while parsing a flow sequence, expected ',' or ']'"],
        ),
        ("name: !!str a\n", expect!["1:7: tags (`!...`) mean nothing here; text stands in quotes"]),
        ("name: *b\n", expect!["1:7: this is no YAML: while parsing node, found unknown anchor"]),
        ("a: &a\n  <<: {x: 1}\n", expect!["2:3: `<<` merges nothing here: write the keys out"]),
        (
            "name: a\n---\nname: b\n",
            expect!["2:1: a second document begins here; a file holds one"],
        ),
        ("? [a]\n: b\n", expect!["1:3: a key is text"]),
        (
            r#"{"name": "a", "steps": [{"step": "a"}, ]"#,
            expect![
                "2:1: this is no YAML: while parsing a flow mapping, did not find expected ',' or '}'"
            ],
        ),
        (
            r#"{"name": "a", "name": "b"}"#,
            expect!["1:15: the key `name` stands here twice, first in line 1"],
        ),
        (
            "name:\nsteps:\n",
            expect![[r#"
            1:1: name: `name` has no value
            2:1: steps: `steps` has no value"#]],
        ),
    ] {
        check(document, expected);
    }
}

#[test]
fn documents_are_bounded() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &('b'..='h')
            .map(|c| {
                let before = char::from(c as u8 - 1);
                format!("{c}: &{c} [{}]\n", vec![format!("*{before}"); 9].join(","))
            })
            .collect::<String>();
    check(&bomb, expect!["4:4: the document has more than 50000 parts"]);
    check(&"[".repeat(1_000), expect!["1:256: this is no YAML: recursion limit exceeded"]);
    check(
        &("{\"a\":".repeat(1_000) + "1" + &"}".repeat(1_000)),
        expect!["1:1276: this is no YAML: recursion limit exceeded"],
    );
    check(&" ".repeat(300_000), expect!["the document is larger than 256 KiB"]);
    let many: String = (0..1_001).map(|n| format!("  - step: s{n}\n")).collect();
    check(
        &format!("name: a\nsteps:\n{many}"),
        expect!["1003:5: steps[1000]: a workflow has at most 1000 nodes"],
    );
    let deep = |depth: usize| {
        (0..depth).fold(r#"{"step": "s"}"#.to_owned(), |inner, n| {
            format!(r#"{{"branch": "b{n}", "cases": [{{"when": "true", "steps": [{inner}]}}]}}"#)
        })
    };
    check(&format!(r#"{{"name": "a", "steps": [{}]}}"#, deep(23)), expect!["nothing is wrong"]);
    let deeper = parse(&format!(r#"{{"name": "a", "steps": [{}]}}"#, deep(24))).unwrap_err();
    assert!(deeper.to_string().ends_with("nodes are nested deeper than 24 levels"));
}

#[test]
fn deepest_definition_can_be_stored_inside_of_something() {
    let inner = (1..super::super::DEPTH_MAX).fold(r#"{"step": "s"}"#.to_owned(), |inner, n| {
        format!(r#"{{"branch": "b{n}", "cases": [{{"when": "true", "steps": [{inner}]}}]}}"#)
    });
    let definition = parse(&format!(r#"{{"name": "a", "steps": [{inner}]}}"#)).unwrap();
    // As deep as events, rows and answers may put it.
    let stored = serde_json::to_string(&[[[[&definition]]]]).unwrap();
    let read: [[[[Definition; 1]; 1]; 1]; 1] = serde_json::from_str(&stored).unwrap();
    assert_eq!(read[0][0][0][0], definition);
}

#[test]
fn what_is_said_stays_short_however_long_the_mistake_is() {
    let long = "x".repeat(100_000);
    for document in [
        format!("{long}: 1\n"),
        format!("name: {long}\nsteps: [{{step: a, input: {long}, {long}: 1}}]\n"),
        format!("name: a\nsteps: [{{step: a, timeout: {long}, network: {long}}}]\n"),
        format!("name: {long}\nlabels: {{{long}: a}}\nsteps: [{{step: {long}}}]\n"),
    ] {
        let said = parse(&document).unwrap_err().to_string();
        assert!(said.len() < 5_000, "{} bytes", said.len());
    }
    check(
        "name: a\nsteps:\n  - approval: b\n    prompt: Publish this?\n",
        expect![[
            r#"4:21: steps[0].prompt: `this` is not expected here: is an operator missing? text stands in quotes of its own: '"text"'"#
        ]],
    );
}

#[test]
fn documented_documents_can_be_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut read = 0;
    for file in ["../README.md", "src/workflows/definition/document.rs"] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let text = text.replace("\n//! ", "\n").replace("\n//!\n", "\n\n");
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            parse(block).unwrap_or_else(|problems| panic!("{file}: {problems}"));
            read += 1;
        }
    }
    assert!(read >= 2);
}

#[test]
fn agents_and_commands_are_steps_that_say_what_to_call() {
    let definition = parse(
        r#"
name: a
model: gpt-4o
steps:
  - agent: writer
    system: Say "it" \ and no more.
    parameters: {temperature: 0.2, stop: [END], json: true}
    input: '"Write: " + input.topic // why'
  - command: count
    run: [wc, -w]
"#,
    )
    .unwrap();
    let scope = Scope { input: Arc::new(json!({"topic": "lakes"})), ..Scope::default() };
    let given: Vec<_> = definition
        .nodes
        .iter()
        .map(|node| {
            let Kind::Step(step) = &node.kind else { panic!("a step") };
            let input = node.input.as_ref().unwrap().evaluate(&scope).unwrap();
            format!("{}: {input}", step.handler.as_deref().unwrap())
        })
        .collect();
    expect![[r#"
        agent: {"agent":{"model":"gpt-4o","name":"writer","parameters":{"json":true,"stop":["END"],"temperature":0.2},"system":"Say \"it\" \\ and no more."},"input":"Write: lakes"}
        command: {"argv":["wc","-w"],"input":null}"#]].assert_eq(&given.join("\n"));
    check(
        "name: a\nsteps:\n  - agent: b\n    parameters: {temprature: 1, max_tokens: many}\n",
        expect![[r#"
            4:18: steps[0].parameters.temprature: there is no key `temprature` here; did you mean `temperature`?
            4:45: steps[0].parameters.max_tokens: an integer, without quotes, is expected here, not text"#]],
    );
}

#[test]
fn words_that_yaml_takes_for_something_else_stay_text() {
    let definition = parse(
        "name: on\nlabels: {gpu: true, zone: no, n: 1.0}\nsteps:\n  - step: yes\n    handler: null\n",
    )
    .unwrap();
    let labels: Vec<_> = definition.routing.labels.values().map(String::as_str).collect();
    assert_eq!(labels, ["true", "1.0", "no"]);
    assert_eq!((definition.name.as_str(), definition.nodes[0].name.as_str()), ("on", "yes"));
    let Kind::Step(step) = &definition.nodes[0].kind else { panic!("a step") };
    assert_eq!(step.handler, None);
    let json = r#"{"name": "a", "description": "\ud83d\ude00\t\/", "steps": [{"step": "a"}]}"#;
    assert_eq!(parse(json).unwrap().description.as_deref(), Some("😀\t/"));
}

#[test]
fn schema_knows_what_can_be_read() {
    let schema = super::schema();
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/workflow.schema.json");
    expect_test::expect_file![published].assert_eq(&format!("{schema:#}\n"));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for name in ["article-pipeline.yaml", "article-pipeline-agents.yaml", "every-node.yaml"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workflows");
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let tree = super::yaml::read(&text).unwrap();
        let json = super::Reader::new(&text).json(&(&tree, String::new())).unwrap();
        let wrong: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
        assert!(validator.is_valid(&written(&parse(&text).unwrap())), "{name}, written");
        for (what, instead) in [("step", "stepp"), ("name", "nam"), ("steps", "stages")] {
            let mut broken = json.clone();
            let keys = if what == "step" { &mut broken["steps"][0] } else { &mut broken };
            let keys = keys.as_object_mut().unwrap();
            if let Some(value) = keys.remove(what) {
                keys.insert(instead.to_owned(), value);
                assert!(!validator.is_valid(&broken), "{name}: {instead}");
            }
        }
    }
}

#[test]
fn sticky_is_yes_no_or_how_long_and_a_mode_is_what_there_is() {
    let sticky = |said: &str| {
        let document = format!("name: w\nsticky: {said}\nmode: sandboxed\nsteps: [{{step: a}}]");
        parse(&document).map(|definition| definition.sticky_ms).map_err(|wrong| wrong.to_string())
    };
    assert_eq!((sticky("true"), sticky("false")), (Ok(Some(5_000)), Ok(None)));
    assert_eq!(sticky("10s"), Ok(Some(10_000)));
    assert!(sticky("yes").unwrap_err().starts_with("2:9: sticky: "));

    check(
        "name: w\nsticky: 10m\nmode: agent\nsteps:\n  - step: a\n    mode: bare\n    sandbox: vm\n",
        expect![[r#"
            2:9: sticky: a step waits for its worker for 1ms to 300s
            3:7: mode: the mode `agent` needs secrets that are lent to sandboxes, which do not exist yet; write `sandboxed`, and let the worker hold the credentials
            6:11: steps[0].mode: `bare` asks for no sandbox, and `sandbox` for one; leave one of them out"#]],
    );
    check(
        "name: w\nsteps:\n  - step: a\n    mode: sandboxed\n    sandbox: none\n  - step: b\n    mode: fast\n",
        expect![[r#"
            4:11: steps[0].mode: `sandboxed` asks for a sandbox, and `sandbox` for none; leave one of them out
            7:11: steps[1].mode: `fast` is none of `bare`, `sandboxed`"#]],
    );
}
