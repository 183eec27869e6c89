//! `fleetward run diff`: two runs side by side.

use serde_json::{Value, json};

use super::RUNS;
use crate::cli::client::{Client, segment};
use crate::cli::error::Failed;
use crate::cli::print::{self, Output};

/// Most characters of a value that a line shows.
const VALUE_SHOWN: usize = 40;

pub(super) async fn run(a: &str, b: &str, client: &Client, output: Output) -> Result<(), Failed> {
    let told = client.get(&format!("{RUNS}/{}/diff?with={}", segment(a), segment(b))).await?;
    if output.is_json() {
        return print::line(&told.to_string());
    }
    let sides = |field: &str| json!({ "": field, "a": told["a"][field], "b": told["b"][field] });
    let rows = ["run_id", "workflow", "version", "status", "started_at", "seconds", "input"];
    let rows: Vec<_> = rows.map(sides).into_iter().filter(|row| !is_null(row)).collect();
    print::many(output, &json!({ "runs": rows }), "runs", &["", "a", "b"])?;
    print::line("")?;
    print::line(&part(&told))?;
    if told["definition"].as_array().is_some_and(|changes| !changes.is_empty()) {
        print::line("")?;
        print::many(output, &told, "definition", &["node", "change", "keys"])?;
    }
    print::line("")?;
    let nodes = told["nodes"].as_array().into_iter().flatten().map(node).collect::<Vec<_>>();
    let fields = ["key", "a", "b", "attempts", "seconds", "differs", "value_a", "value_b"];
    print::many(output, &json!({ "nodes": nodes }), "nodes", &fields)
}

fn is_null(row: &Value) -> bool {
    row["a"].is_null() && row["b"].is_null()
}

/// Where they first part, in words.
fn part(told: &Value) -> String {
    let first = &told["first"];
    match (first["where"].as_str(), first["key"].as_str()) {
        (Some("input"), _) => "they were given something else".to_owned(),
        (Some("end"), _) => "their nodes are the same; what they came to is not".to_owned(),
        (Some(word), Some(key)) => format!("they first part at {key}: {word}"),
        _ => "they do not part".to_owned(),
    }
}

fn node(node: &Value) -> Value {
    let both = |field: &str| {
        let text = |side: &Value| match &side[field] {
            Value::Null => "-".to_owned(),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(seconds) => format!("{seconds:.3}"),
                None => number.to_string(),
            },
            other => other.to_string(),
        };
        let (a, b) = (text(&node["a"]), text(&node["b"]));
        if a == b { a } else { format!("{a} / {b}") }
    };
    let status = |side: &Value| match (side["status"].as_str(), side["error_code"].as_str()) {
        (Some(status), Some(code)) => json!(format!("{status} ({code})")),
        (Some(status), None) => json!(status),
        _ => Value::Null,
    };
    let cut = |side: &Value| match &side["value"] {
        Value::Null => Value::Null,
        value => json!(value.to_string().chars().take(VALUE_SHOWN).collect::<String>()),
    };
    let differs: Vec<_> = node["differs"].as_array().into_iter().flatten().collect();
    let differs: Vec<_> = differs.iter().filter_map(|word| word.as_str()).collect();
    json!({
        "key": node["key"], "a": status(&node["a"]), "b": status(&node["b"]),
        "attempts": both("attempts"), "seconds": both("seconds"),
        "differs": if differs.is_empty() { Value::Null } else { json!(differs.join(", ")) },
        "value_a": cut(&node["a"]), "value_b": cut(&node["b"]),
    })
}
