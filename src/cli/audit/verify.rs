//! `fleetward audit verify`: checks an export without a server.

use std::fs::{File, read_to_string};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use fleetward::audit::{PublicKey, Verified, Verifier, head_of};

use super::super::error::Failed;
use super::super::print::line;

/// Longest line: an event of the largest size, every character of it escaped.
const LINE_MAX: u64 = 32 << 20;

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// The export.
    file: PathBuf,
    /// The key that must have signed it, as `audit key` printed it: several are possible, one of them must have. Without
    /// it nobody knows who signed.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What the record was at an earlier time: what `audit head` printed, or an earlier export. Several are possible.
    #[arg(long, value_name = "FILE")]
    since_head: Vec<PathBuf>,
}

pub(crate) fn run(args: VerifyArgs) -> Result<(), Failed> {
    let pinned = args.key.as_deref().map(keys).transpose()?.unwrap_or_default();
    let is_pinned = !pinned.is_empty();
    let mut verifier = Verifier::new(pinned);
    for path in &args.since_head {
        let wrong = |why: String| Failed::wrong(format!("{}: {why}", path.display()));
        let head = head_of(&first_line(path)?).map_err(wrong)?;
        verifier.since(&head).map_err(wrong)?;
    }
    let file = File::open(&args.file)
        .map_err(|error| Failed::refused(format!("{}: {error}", args.file.display())))?;
    let wrong = |why: &dyn std::fmt::Display| {
        Failed::wrong(format!("{} does not hold: {why}", args.file.display()))
    };
    let verified = check(verifier, BufReader::new(file)).map_err(|bad| wrong(&bad))?;
    let Verified { head, key, events } = verified;
    line(&format!("{events} events, {} to {}, hold", head.after + 1, head.position))?;
    match is_pinned {
        true => line(&format!("signed by the key {}", key.id())),
        false => line(&format!(
            "signed by the key {}, which is not compared with any: see --key",
            key.id()
        )),
    }
}

fn check(mut verifier: Verifier, mut file: impl BufRead) -> Result<Verified, String> {
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = file.by_ref().take(LINE_MAX).read_until(b'\n', &mut text);
        read.map_err(|error| error.to_string())?;
        if text.is_empty() {
            return verifier.finish().map_err(|bad| bad.to_string());
        }
        let whole = text.pop() == Some(b'\n');
        verifier.line(&text).map_err(|bad| bad.to_string())?;
        if !whole {
            return Err("its last line is cut off".to_owned());
        }
    }
}

/// The keys in a file, at least one.
fn keys(path: &Path) -> Result<Vec<PublicKey>, Failed> {
    let refused =
        |why: &dyn std::fmt::Display| Failed::refused(format!("{}: {why}", path.display()));
    let text = read_to_string(path).map_err(|error| refused(&error))?;
    let parts = text.split("-----END PUBLIC KEY-----").map(str::trim);
    let keys: Result<Vec<_>, _> = parts.filter(|part| !part.is_empty()).map(str::parse).collect();
    let keys = keys.map_err(|error| refused(&error))?;
    if keys.is_empty() { Err(refused(&"there is no key in it")) } else { Ok(keys) }
}

/// Enough of a file to find a head in it.
fn first_line(path: &Path) -> Result<String, Failed> {
    let refused =
        |why: &dyn std::fmt::Display| Failed::refused(format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| refused(&error))?;
    let mut text = String::new();
    let read = BufReader::new(file).take(LINE_MAX).read_line(&mut text);
    read.map_err(|error| refused(&error))?;
    Ok(text)
}
