//! What expressions give and what is said where they do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{EvaluationError, Expression, Scope};

fn scope() -> Scope {
    let step = |value: Value| Arc::new(value);
    Scope {
        input: step(json!({
            "topic": "lakes", "items": [{"name": "a", "price": 3}, {"name": "b", "price": 9.5}],
            "nothing": null,
        })),
        previous: step(json!({"score": 0.9, "text": "Grüße, Welt", "n": 7, "big": u64::MAX})),
        steps: BTreeMap::from([
            ("draft".to_owned(), step(json!({"text": "A draft", "ok": true}))),
            ("cool-down".to_owned(), step(json!([1, 2, 3]))),
        ]),
        iteration: Some(2),
        run_id: "r-1".to_owned(),
    }
}

#[track_caller]
fn check(sources: &str, expected: Expect) {
    let mut said = String::new();
    for source in sources.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let outcome = match Expression::parse(source) {
            Err(bad) => format!("{}:{} {bad}", bad.line, bad.column),
            Ok(expression) => match expression.evaluate(&scope()) {
                Ok(value) => value.to_string(),
                Err(error) => format!("error: {error}"),
            },
        };
        said += &format!("{source}\n    {outcome}\n");
    }
    expected.assert_eq(&said);
}

#[test]
fn values() {
    check(
        r#"
        1 + 2 * 3
        previous.score > 0.8
        previous.n / 2
        previous.n * 1.5
        previous.big
        "Approve: " + steps.draft.text
        steps["cool-down"][1]
        {"topic": input.topic, "findings": previous.n, "list": [1, 2.0, null, true]}
        input.items.map(item, item.name)
        input.items.filter(item, item.price > 5).map(item, item.price)
        input.items.all(item, item.price > 1) && input.items.exists(item, item.name == "b")
        input.items.exists_one(item, item.price == 3)
        has(previous.score) && !has(previous.missing.deeper)
        "cool-down" in steps && !("nobody" in steps)
        iteration == 2 ? run.id : "first"
        size(previous.text) + size(input.items) + previous.text.size()
        previous.text.truncate(5) + previous.text.substring(7)
        "a,b".split(",").join("-") + " x ".trim().upperAscii() + "B".lowerAscii()
        previous.text.matches("^Gr.*t$") && previous.text.contains("Welt")
        json({"a": [1, "x"]}) + string(1.5) + string(true)
        parseJson("{\"a\": [1, 2.5]}").a
        int("12") + int(3.9) + double("1.5")
        "x" in ["x", "y"] && "topic" in input
        input.nothing == null && 1 == 1.0 && [1, {"a": 2}] == [1.0, {"a": 2}]
        "aXbXc".replace("X", "--").indexOf("b")
        false && 1 / 0 == 1 || true
        "tern" + (1 < 2 ? "ary" : "")
        -previous.n
        steps
        "#,
        expect![[r#"
            1 + 2 * 3
                7
            previous.score > 0.8
                true
            previous.n / 2
                3
            previous.n * 1.5
                10.5
            previous.big
                18446744073709551615
            "Approve: " + steps.draft.text
                "Approve: A draft"
            steps["cool-down"][1]
                2
            {"topic": input.topic, "findings": previous.n, "list": [1, 2.0, null, true]}
                {"findings":7,"list":[1,2.0,null,true],"topic":"lakes"}
            input.items.map(item, item.name)
                ["a","b"]
            input.items.filter(item, item.price > 5).map(item, item.price)
                [9.5]
            input.items.all(item, item.price > 1) && input.items.exists(item, item.name == "b")
                true
            input.items.exists_one(item, item.price == 3)
                true
            has(previous.score) && !has(previous.missing.deeper)
                true
            "cool-down" in steps && !("nobody" in steps)
                true
            iteration == 2 ? run.id : "first"
                "r-1"
            size(previous.text) + size(input.items) + previous.text.size()
                24
            previous.text.truncate(5) + previous.text.substring(7)
                "GrüßeWelt"
            "a,b".split(",").join("-") + " x ".trim().upperAscii() + "B".lowerAscii()
                "a-bXb"
            previous.text.matches("^Gr.*t$") && previous.text.contains("Welt")
                true
            json({"a": [1, "x"]}) + string(1.5) + string(true)
                "{\"a\":[1,\"x\"]}1.5true"
            parseJson("{\"a\": [1, 2.5]}").a
                [1,2.5]
            int("12") + int(3.9) + double("1.5")
                16.5
            "x" in ["x", "y"] && "topic" in input
                true
            input.nothing == null && 1 == 1.0 && [1, {"a": 2}] == [1.0, {"a": 2}]
                true
            "aXbXc".replace("X", "--").indexOf("b")
                3
            false && 1 / 0 == 1 || true
                true
            "tern" + (1 < 2 ? "ary" : "")
                "ternary"
            -previous.n
                -7
            steps
                {"cool-down":[1,2,3],"draft":{"ok":true,"text":"A draft"}}
        "#]],
    );
}

#[test]
fn what_is_wrong_at_run_time_is_said_without_values() {
    check(
        r#"
        previous.scoer > 1
        steps.review.text
        previous.text.length
        previous.text + 1
        previous.text + input.items
        previous.score > "a"
        input.items[5]
        input[previous.text]
        1 / 0
        9223372036854775807 + 1
        "x" && true
        previous.n ? 1 : 2
        size(1)
        int("twelve")
        previous.text.substring(3, 99)
        1.0 / 0.0
        string(input)
        input.items.map(item, item.price + "x")
        parseJson(previous.text)
        "#,
        expect![[r#"
            previous.scoer > 1
                error: `previous` has no `scoer` (in `previous.scoer > 1`)
            steps.review.text
                error: `steps.review` has no output: it has not run (in `steps.review.text`)
            previous.text.length
                error: no `length`: `previous.text` is text, not an object (in `previous.text.length`)
            previous.text + 1
                error: `+` does not go between text and an integer; write string(...) around the one that is no text (in `previous.text + 1`)
            previous.text + input.items
                error: `+` does not go between text and a list; write json(...) around the one that is no text (in `previous.text + input.items`)
            previous.score > "a"
                error: `>` does not go between a float and text (in `previous.score > "a"`)
            input.items[5]
                error: no element 5 in a list of 2 (in `input.items[5]`)
            input[previous.text]
                error: no such key in the object (in `input[previous.text]`)
            1 / 0
                error: division by zero (in `1 / 0`)
            9223372036854775807 + 1
                error: an integer becomes too large (in `9223372036854775807 + 1`)
            "x" && true
                error: `&&` asks for true or false, and got text (in `"x" && true`)
            previous.n ? 1 : 2
                error: `? :` asks for true or false, and got an integer (in `previous.n ? 1 : 2`)
            size(1)
                error: `size` asks for text, a list or an object, and got an integer (in `size(1)`)
            int("twelve")
                error: `int` cannot read the text it got (in `int("twelve")`)
            previous.text.substring(3, 99)
                error: `substring` asks for characters that are not there; `truncate` takes what there is (in `previous.text.substring(3, 99)`)
            1.0 / 0.0
                error: it is a number that JSON does not know: infinite, or none at all (in `1.0 / 0.0`)
            string(input)
                error: `string` does not take an object: use json(...) (in `string(input)`)
            input.items.map(item, item.price + "x")
                error: `+` does not go between an integer and text; write string(...) around the one that is no text (in `input.items.map(item, item.price + "x")`)
            parseJson(previous.text)
                error: `parseJson` got text that is no JSON, at line 1, column 1 (in `parseJson(previous.text)`)
        "#]],
    );
}

#[test]
fn what_is_no_expression_is_said_with_its_place() {
    check(
        r#"
        previous.score >
        previous.score = 1
        inputs.topic
        input.topic and previous
        (1 + 2
        "open
        1 2
        foo(1)
        truncate("a")
        "a".truncate()
        "a".trunc(2)
        "a".matches("(")
        has(previous)
        input.items.filter(item.ok, true)
        input.items.map(item)
        run.name
        b"bytes"
        Thing{a: 1}
        ${input.topic}
        input.topic ? 1
        size
        99999999999999999999
        [1, 2
        if x then y
        'it''s'
        steps.cool-down.x + 1
        "#,
        expect![[r#"
            previous.score >
                1:17 it ends where more is expected
            previous.score = 1
                1:16 `=` is not expected here; write `==` to compare
            inputs.topic
                1:1 there is no variable `inputs`; did you mean `input`?
            input.topic and previous
                1:13 write `&&` for `and`
            (1 + 2
                1:7 `)` is expected here
            "open
                1:1 this text has no quote at its end
            1 2
                1:3 `2` is not expected here: is an operator missing? text stands in quotes of its own: '"text"'
            foo(1)
                1:1 there is no function `foo`
            truncate("a")
                1:1 `truncate` is called text.truncate(n)
            "a".truncate()
                1:5 `truncate` is called text.truncate(n)
            "a".trunc(2)
                1:5 there is no function `trunc`; did you mean `truncate`?
            "a".matches("(")
                1:5 `(` is no regular expression: found open group without closing ')'
            has(previous)
                1:5 has(...) asks for a key: has(previous.score)
            input.items.filter(item.ok, true)
                1:24 the first argument is a name for the element: list.filter(item, item.ok)
            input.items.map(item)
                1:13 `map` is written list.map(item, value)
            run.name
                1:5 `run` has no `name`, only `id`
            b"bytes"
                1:1 there are no bytes here, only text
            Thing{a: 1}
                1:1 `Thing{...}` is no type here; an object is {"key": value}
            ${input.topic}
                1:1 no `${...}` here: the whole text is an expression; text stands in quotes
            input.topic ? 1
                1:16 `:` is expected here: condition ? value : other
            size
                1:1 there is no variable `size`; a function is called: size(value)
            99999999999999999999
                1:1 this integer is too large
            [1, 2
                1:6 `]` is expected here
            if x then y
                1:1 write `condition ? value : other` for `if`
            'it''s'
                1:5 `s` is not expected here: is an operator missing? text stands in quotes of its own: '"text"'
            steps.cool-down.x + 1
                1:12 a name with a dash is written steps["cool-down"]
        "#]],
    );
    let (deep, long) = ("(".repeat(100) + &")".repeat(100), "1+".repeat(3_000) + "1");
    let wide = "1+".repeat(500) + "1";
    for source in [deep, long, wide, String::new(), " ".into(), "1".repeat(70_000)] {
        assert!(Expression::parse(&source).is_err());
    }
    Expression::parse(&format!("\"{}\"", "x".repeat(50_000))).unwrap();
    // What is allowed fits on the stack of whoever evaluates it.
    let nested = "[1].map(x, ".repeat(30) + "x" + &")".repeat(30);
    let chain = "1+".repeat(90) + "1";
    let minus = "-".repeat(2_001) + "1";
    let dots = "input".to_owned() + &".a".repeat(90);
    let both = "(".repeat(30) + "1" + &")".repeat(30);
    for (source, is_value) in
        [(nested, true), (chain, true), (minus, true), (dots, false), (both, true)]
    {
        let expression = Expression::parse(&source).unwrap();
        assert_eq!(expression.evaluate(&scope()).is_ok(), is_value, "{source}");
    }
    assert!(Expression::parse(&("input".to_owned() + &".a".repeat(1_500))).is_err());
    assert!(Expression::parse(&("!".repeat(4_000) + "true")).is_ok());
}

#[test]
fn no_expression_takes_long_or_much() {
    let items: Vec<Value> =
        (0..10_000).map(|n| json!({ "n": n, "text": "x".repeat(90) })).collect();
    let scope = Scope { input: Arc::new(json!({ "items": items })), ..scope() };
    let evaluate = |source: &str| Expression::parse(source).unwrap().evaluate(&scope);
    let text = "x".repeat(1 << 20);
    let big = Scope { input: Arc::new(json!(text)), ..Scope::default() };
    let with_text = |source: &str| Expression::parse(source).unwrap().evaluate(&big);

    let filtered = evaluate("size(input.items.filter(item, item.n % 2 == 0))").unwrap();
    let nested = evaluate("input.items.all(a, input.items.all(b, a.n + b.n >= 0))");
    let absorbed = evaluate("input.items.all(a, input.items.all(b, a.n + b.n >= 0)) || true");
    let whole = evaluate("input.items.map(a, input.items)");
    let same =
        evaluate("[input, input, input, input, input] == [input, input, input, input, input]");
    let doubled = with_text("[input].map(a, a + a + a + a).map(b, b + b + b + b)");
    let spread = with_text(r#"input.replace("", input)"#);
    let shared = "[".repeat(12) + "input" + &"]".repeat(12);
    let grown = (0..12).fold(shared, |source, _| format!("{source}.map(x, [x, x, x, x])"));
    let grown = with_text(&grown);

    assert_eq!(filtered, json!(5_000));
    assert_eq!(nested, Err(EvaluationError::TooCostly));
    assert_eq!(absorbed, Err(EvaluationError::TooCostly));
    assert_eq!(whole, Err(EvaluationError::TooLarge));
    assert_eq!(same, Err(EvaluationError::TooCostly));
    assert_eq!(doubled, Err(EvaluationError::TooLarge));
    assert_eq!(spread, Err(EvaluationError::TooLarge));
    assert_eq!(grown, Err(EvaluationError::TooLarge));
    assert_eq!(with_text("input"), Err(EvaluationError::TooLarge));
    assert_eq!(with_text("size(input)"), Ok(json!(1 << 20)));
}

#[test]
fn references_are_what_an_expression_needs() {
    let references = |source: &str| {
        let expression = Expression::parse(source).unwrap();
        let r = expression.references().clone();
        let mut all: Vec<String> = r.steps.into_iter().collect();
        all.extend(r.asked_for.into_iter().map(|name| format!("{name}?")));
        let flags = [
            (r.input, "input"),
            (r.previous, "previous"),
            (r.iteration, "iteration"),
            (r.run, "run"),
            (r.every_step, "every step"),
        ];
        all.extend(flags.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned()));
        all.join(" ")
    };
    let table = [
        ("input.topic", "input"),
        ("steps.a.b + steps[\"c-d\"]", "a c-d"),
        ("has(steps.a.b) && \"x\" in steps", "a x a? x?"),
        ("[1].map(input, input)", ""),
        ("[previous].map(steps, steps.a)", "previous"),
        ("steps[run.id]", "run every step"),
        ("size(steps) > iteration", "iteration every step"),
        ("\"steps.a input\"", ""),
    ];
    for (source, expected) in table {
        assert_eq!(references(source), expected, "{source}");
    }
}

#[test]
fn every_function_is_documented_in_order() {
    let names: Vec<_> = super::functions::Function::names().collect();
    assert!(names.is_sorted());
    assert!(super::functions().all(|f| !f.gives.is_empty() && f.call.contains('(')));
}

#[test]
fn an_expression_is_its_text() {
    let expression: Expression = serde_json::from_value(json!("previous.score > 1")).unwrap();
    assert_eq!(serde_json::to_value(&expression).unwrap(), json!("previous.score > 1"));
    let broken: Expression = serde_json::from_value(json!("previous.")).unwrap();
    assert!(broken.check().is_err() && broken.evaluate(&Scope::default()).is_err());
    assert_eq!(Expression::parse("1 + 1").unwrap().constant(), Some(Ok(json!(2))));
    assert_eq!(Expression::parse("input").unwrap().constant(), None);
}
