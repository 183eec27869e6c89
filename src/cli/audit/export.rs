//! `fleetward audit export`: the record as a file. What arrives is checked as it is written, so that a transfer that broke
//! off, or a record that does not hold, is said at once.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use fleetward::audit::Verifier;
use reqwest::Method;

use super::super::ClientArgs;
use super::super::error::{Failed, chain};
use super::super::print::line;
use super::Whose;

/// An export takes as long as its record is long.
const WITHIN: Duration = Duration::from_secs(24 * 3600);

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// The file to write; it must not be there.
    file: PathBuf,
    #[command(flatten)]
    whose: Whose,
    /// Only what comes after this position.
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
    /// Only up to and with this position.
    #[arg(long, value_name = "POSITION")]
    until: Option<u64>,
}

pub(crate) async fn run(args: ExportArgs, client: &ClientArgs) -> Result<(), Failed> {
    if args.file.exists() {
        return Err(Failed::refused(format!("{} is there already", args.file.display())));
    }
    let mut path = args.whose.path(&format!("/export?after={}", args.after));
    if let Some(until) = args.until {
        path += &format!("&until={until}");
    }
    let client = client.client()?;
    let response = client.stream(client.request(Method::GET, &path).timeout(WITHIN)).await?;
    let part = args.file.with_added_extension("part");
    let mut taken = Taken::new(&part)?;
    let mut response = response;
    let written = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => taken.take(&chunk)?,
            Ok(None) => break taken.finish(),
            Err(error) => {
                break Err(Failed::Unavailable(format!("it broke off: {}", chain(&error))));
            }
        }
    };
    match written {
        Ok(said) => {
            std::fs::rename(&part, &args.file)?;
            line(&said)
        }
        Err(failed) => {
            eprintln!("what came is in {}", part.display());
            Err(failed)
        }
    }
}

/// What has come of an export.
struct Taken {
    file: BufWriter<File>,
    verifier: Verifier,
    rest: Vec<u8>,
    /// The first thing that is wrong; what comes after it is written all the same.
    wrong: Option<String>,
}

impl Taken {
    fn new(path: &Path) -> Result<Self, Failed> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Self { file, verifier: Verifier::new(None), rest: Vec::new(), wrong: None })
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Failed> {
        self.file.write_all(chunk)?;
        let mut lines = chunk.split(|byte| *byte == b'\n');
        let last = lines.next_back().unwrap_or_default();
        for end in lines {
            self.rest.extend_from_slice(end);
            if self.wrong.is_none() {
                self.wrong = self.verifier.line(&self.rest).err().map(|bad| bad.to_string());
            }
            self.rest.clear();
        }
        self.rest.extend_from_slice(last);
        Ok(())
    }

    fn finish(mut self) -> Result<String, Failed> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        let wrong = self.wrong.or_else(|| (!self.rest.is_empty()).then(|| "it broke off".into()));
        if let Some(wrong) = wrong {
            return Err(Failed::wrong(format!("the record does not hold: {wrong}")));
        }
        let verified = self.verifier.finish().map_err(Failed::wrong)?;
        let (events, last) = (verified.events, verified.head.position);
        Ok(format!("{events} events up to {last}, signed by the key {}", verified.key.id()))
    }
}
