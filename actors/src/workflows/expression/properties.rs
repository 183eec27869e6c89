//! Properties: JSON goes through unchanged, nothing panics, and the `cel` crate's own evaluation gives the same.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Expression, Scope};

fn scope(input: Value) -> Scope {
    Scope { input: Arc::new(input), ..Scope::default() }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("JSON knows it", |f| {
            serde_json::Number::from_f64(f).map(Value::Number)
        }),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Integers, over `input.n`, a list and, inside of macros, `x`.
fn int(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        (-20_i64..20).prop_map(|n| format!("({n})")),
        Just("input.n".to_owned()),
        Just("input.list[1]".to_owned()),
        Just("input.missing".to_owned()),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let operator = prop_oneof![Just("+"), Just("-"), Just("*"), Just("/"), Just("%")];
    prop_oneof![
        leaf,
        (int(depth - 1), operator, int(depth - 1)).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        (truth(depth - 1), int(depth - 1), int(depth - 1))
            .prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
        list(depth - 1).prop_map(|list| format!("size({list})")),
        text(depth - 1).prop_map(|text| format!("{text}.size()")),
    ]
    .boxed()
}

fn truth(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("has(input.n)".to_owned()),
        Just("has(input.missing)".to_owned()),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let order = prop_oneof![Just("<"), Just("<="), Just(">"), Just(">="), Just("=="), Just("!=")];
    let inner = || truth(depth - 1);
    prop_oneof![
        leaf,
        (int(depth - 1), order, int(depth - 1)).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        (inner(), inner()).prop_map(|(a, b)| format!("({a} && {b})")),
        (inner(), inner()).prop_map(|(a, b)| format!("({a} || {b})")),
        inner().prop_map(|a| format!("!{a}")),
        (int(depth - 1), list(depth - 1)).prop_map(|(a, list)| format!("({a} in {list})")),
        (list(depth - 1), inner()).prop_map(|(l, t)| format!("{l}.all(x, x > 1 || {t})")),
        (list(depth - 1), inner()).prop_map(|(l, t)| format!("{l}.exists(x, x == 3 && {t})")),
        list(depth - 1).prop_map(|list| format!("{list}.exists_one(x, x % 3 == 0)")),
        (text(depth - 1), text(depth - 1)).prop_map(|(a, b)| format!("{a}.startsWith({b})")),
        (list(depth - 1), list(depth - 1)).prop_map(|(a, b)| format!("({a} == {b})")),
    ]
    .boxed()
}

fn text(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("\"\"".to_owned()),
        Just("\"aé\"".to_owned()),
        Just("input.text".to_owned())
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![
        leaf,
        (text(depth - 1), text(depth - 1)).prop_map(|(a, b)| format!("({a} + {b})")),
        int(depth - 1).prop_map(|n| format!("string({n})")),
    ]
    .boxed()
}

fn list(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![Just("[]".to_owned()), Just("input.list".to_owned())];
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![
        leaf,
        prop::collection::vec(int(depth - 1), 0..3)
            .prop_map(|items| format!("[{}]", items.join(", "))),
        (list(depth - 1), int(depth - 1)).prop_map(|(l, n)| format!("{l}.map(x, x * {n})")),
        (list(depth - 1), truth(depth - 1))
            .prop_map(|(l, t)| format!("{l}.filter(x, x > 2 && {t})")),
        list(depth - 1).prop_map(|l| format!("{l}.map(x, x > 1, x + 1)")),
        (list(depth - 1), list(depth - 1)).prop_map(|(a, b)| format!("({a} + {b})")),
    ]
    .boxed()
}

/// With integers that have a sign, as ours have: the crate would take a positive number of JSON for one without.
#[derive(serde::Serialize)]
struct Input {
    n: i64,
    list: Vec<i64>,
    text: &'static str,
}

fn theirs(source: &str, input: &Input) -> Option<Value> {
    let program = cel::Program::compile(source).ok()?;
    let mut context = cel::Context::default();
    context.add_variable("input", input).ok()?;
    program.execute(&context).ok()?.json().ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn json_goes_through_unchanged(value in any_json()) {
        let scope = scope(value.clone());
        for source in ["input", "[input][0]", r#"{"a": input}.a"#, "true ? input : null"] {
            prop_assert_eq!(Expression::parse(source).unwrap().evaluate(&scope), Ok(value.clone()));
        }
        let text = Expression::parse("parseJson(json(input)) == input").unwrap();
        prop_assert_eq!(text.holds(&scope), Ok(true));
    }

    #[test]
    fn nothing_panics(source in "[a-z.()\\[\\]{}?:+*/\"'<>=!&|, 0-9\\\\\n-]{0,60}", rest in ".*") {
        for source in [source, rest] {
            if let Ok(expression) = Expression::parse(&source) {
                drop(expression.evaluate(&scope(json!({"n": 1}))));
            }
        }
    }

    #[test]
    fn the_crate_that_knows_the_grammar_evaluates_to_the_same(
        source in prop_oneof![int(4), truth(4), text(3), list(4)],
        n in -3_i64..30,
    ) {
        let input = Input { n, list: vec![3, 1, 4, 1, 5], text: "aéb" };
        let expression = match Expression::parse(&source) {
            Ok(expression) => expression,
            // Larger than what we allow, and both say no to that.
            Err(_) => return Ok(()),
        };
        let ours = expression.evaluate(&scope(serde_json::to_value(&input).unwrap())).ok();
        prop_assert_eq!(ours, theirs(&source, &input), "{}", source);
    }
}
