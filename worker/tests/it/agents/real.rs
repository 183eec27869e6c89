//! A real, small model, served by a real server that has two of the interfaces.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{Agents, call, completed, credentials, run, with_credentials};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/agents/model_server.py");

/// `scripts/test --model-server` installs the model and its server, and says which Python has them.
#[tokio::test]
async fn real_model_answers_in_both_interfaces_of_its_server() {
    let Some(python) = std::env::var_os("FLEETWARD_MODEL_PYTHON") else { return };
    let mut server = Command::new(python)
        .arg(SERVER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = said.next_line().await.unwrap().expect("it starts");
    let base = line.strip_prefix("listening on ").unwrap();
    let ask = async |kind: &str, parameters: Value, input: &str| {
        let agents = with_credentials(Agents::new(), credentials(kind, base)).unwrap();
        let agent = json!({"model": "smollm2", "parameters": parameters});
        completed(run(&agents, &call(agent, input.into())).await)
    };

    for kind in ["openai", "anthropic"] {
        let short = json!({"max_tokens": 8, "temperature": 0});
        let answer = ask(kind, short, "Count from one to ten in words.").await;

        assert!(!answer["text"].as_str().unwrap().trim().is_empty(), "{kind}: {answer}");
        assert_eq!(answer["finish_reason"], "length", "{kind}: {answer}");
        assert_eq!(answer["usage"]["output_tokens"], 8, "{kind}: {answer}");
        let read = answer["usage"]["input_tokens"].as_u64().unwrap();
        assert!(read > 8, "{kind}: {answer}");
    }
    let schema = json!({
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": false,
    });
    let wanted = json!({"json": schema, "temperature": 0, "max_tokens": 40});
    let answer = ask("openai", wanted, "What is the capital of France?").await;
    assert!(["Paris", "Rome"].contains(&answer["json"]["city"].as_str().unwrap()), "{answer}");
}
