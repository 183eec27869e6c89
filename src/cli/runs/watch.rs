//! `fleetward run watch`: how a run goes on, in the terminal, until it ends.

use std::io::{IsTerminal, Write};

use serde_json::Value;

use super::{LOOK, RUNS};
use crate::cli::client::{Client, segment};
use crate::cli::error::Failed;
use crate::cli::print;

pub(super) async fn run(id: &str, client: &Client) -> Result<(), Failed> {
    let terminal = std::io::stdout().is_terminal();
    let (mut before, mut drawn, mut seen) = (String::new(), 0, 0);
    loop {
        let path = format!("{RUNS}/{}?wait={LOOK}&after={seen}", segment(id));
        let run = client.get(&path).await?;
        seen = run["updated_seq"].as_u64().unwrap_or_default();
        let text = screen(&run);
        if text != before {
            if terminal && drawn > 0 {
                // Over what was drawn before.
                print!("\x1b[{drawn}A\x1b[J");
            }
            drawn = text.lines().count();
            print::line(text.trim_end())?;
            std::io::stdout().flush()?;
            before = text;
        }
        match run["status"].as_str().unwrap_or_default() {
            "completed" => return Ok(()),
            "running" | "waiting" | "paused" => {}
            ended => return Err(Failed::wrong(format!("the run is {ended}"))),
        }
    }
}

/// What is shown of a run: a line for it, and one for each node.
fn screen(run: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut text =
        format!("{}  {}  {}\n", word(&run["run_id"]), word(&run["workflow"]), word(&run["status"]));
    for node in run["nodes"].as_array().into_iter().flatten() {
        let (mark, since) = match node["status"].as_str() {
            Some("completed") => ("done", "ended_at"),
            Some("failed") => ("FAIL", "ended_at"),
            _ => ("  ..", "since"),
        };
        let code = node["error_code"].as_str().map_or(String::new(), |code| format!("  {code}"));
        let tries = node["attempts"].as_u64().filter(|tries| *tries > 1);
        let tries = tries.map_or(String::new(), |tries| format!("  {tries} attempts"));
        text += &format!("  {mark}  {}  {}{tries}{code}\n", word(&node["key"]), word(&node[since]));
    }
    for wait in run["waits"].as_array().into_iter().flatten() {
        let until = wait["until"].as_str().map_or(String::new(), |at| format!(" until {at}"));
        let prompt = wait["gate"]["prompt"].as_str();
        let prompt = prompt.map_or(String::new(), |prompt| format!("  {prompt}"));
        text += &format!("  wait  {}  {}{until}{prompt}\n", word(&wait["key"]), word(&wait["for"]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn screen_has_a_line_for_each_node_and_wait() {
        let run = json!({
            "run_id": "r", "workflow": "w", "status": "waiting",
            "nodes": [
                {"key": "draft", "status": "completed", "since": "1", "ended_at": "2", "attempts": 3},
                {"key": "check", "status": "failed", "ended_at": "3", "attempts": 1, "error_code": "timed_out"},
            ],
            "waits": [{"key": "review", "for": "approval", "until": "9", "gate": {"prompt": "Good?"}}],
        });

        assert_eq!(
            screen(&run),
            "r  w  waiting\n  done  draft  2  3 attempts\n  FAIL  check  3  timed_out\n  wait  review  approval until 9  Good?\n"
        );
    }
}
