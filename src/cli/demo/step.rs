//! The work of one task: hash a file, count its bytes, words and lines. Run as a process of its own by the workers.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cli::error::Failed;

/// Reads a task on standard input, answers on standard output.
pub(crate) fn run() -> Result<(), Failed> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let task: Value = serde_json::from_str(&text).map_err(Failed::refused)?;
    let payload = &task["payload"];
    if let Some(milliseconds) = payload["pause_ms"].as_u64() {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
    let path = payload["file"].as_str().ok_or_else(|| Failed::refused("the task names no file"))?;
    println!("{}", counted(Path::new(path))?);
    Ok(())
}

fn counted(path: &Path) -> Result<Value, Failed> {
    let bytes = std::fs::read(path)?;
    let words = bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    let hash = hex::encode(Sha256::digest(&bytes));
    Ok(json!({ "sha256": hash, "bytes": bytes.len(), "words": words, "lines": lines }))
}
