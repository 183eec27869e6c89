//! Whether what came out is right: computed a second time, and looked up in the record.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Story;
use super::tenant::{Tenant, file_name};
use crate::cli::error::Failed;

/// Every task is done, and says what the file says.
pub(super) async fn results(
    tenant: &Tenant,
    tasks: &BTreeMap<String, PathBuf>,
    told: &Story,
) -> Result<(), Failed> {
    let names = tenant.workers().await?;
    let mut by_worker: BTreeMap<String, usize> = BTreeMap::new();
    for (id, file) in tasks {
        let task = tenant.closed(id).await?;
        let output: Value =
            serde_json::from_str(task["output"].as_str().unwrap_or_default()).unwrap_or_default();
        let expected = counted_again(file)?;
        if task["status"] != "completed" || output != expected {
            let name = file_name(file);
            return Err(Failed::wrong(format!("{name}: expected {expected}, the task is {task}")));
        }
        let worker = task["worker_id"].as_str().unwrap_or_default();
        *by_worker.entry(names.get(worker).cloned().unwrap_or_default()).or_default() += 1;
    }
    let shares: Vec<_> =
        by_worker.iter().map(|(name, tasks)| format!("{name} did {tasks}")).collect();
    let (count, name) = (tasks.len(), &tenant.name);
    told.line(&format!(
        "checked  {count} results of {name} against a second computation ({})",
        shares.join(", ")
    ));
    Ok(())
}

/// Each tenant's record names its own workers only, and one result for each task.
pub(super) async fn nothing_crossed(
    acme: &Tenant,
    globex: &Tenant,
    told: &Story,
) -> Result<(), Failed> {
    let (ours, theirs) = (acme.workers().await?, globex.workers().await?);
    if ours.keys().any(|worker| theirs.contains_key(worker)) {
        return Err(Failed::wrong("a worker belongs to both tenants"));
    }
    for (tenant, own) in [(acme, &ours), (globex, &theirs)] {
        let mut completed = BTreeSet::new();
        for event in tenant.events("task.completed").await? {
            let task = event["subject"].to_string();
            if !completed.insert(task.clone()) {
                return Err(Failed::wrong(format!("task {task} has two results")));
            }
            known(tenant, own, &event)?;
        }
        for event in tenant.events("task.claimed").await? {
            known(tenant, own, &event)?;
        }
    }
    told.line(
        "checked  the record: one result a task, no worker of one tenant at a task of the other",
    );
    Ok(())
}

fn known(tenant: &Tenant, own: &BTreeMap<String, String>, event: &Value) -> Result<(), Failed> {
    let worker = event["worker_id"].as_str().unwrap_or_default();
    if own.contains_key(worker) {
        return Ok(());
    }
    Err(Failed::wrong(format!("worker {worker} of another tenant is in {}'s record", tenant.name)))
}

/// The same figures by another way than the workers': line by line.
fn counted_again(file: &Path) -> Result<Value, Failed> {
    let mut reader = BufReader::new(std::fs::File::open(file)?);
    let (mut hash, mut bytes, mut words, mut lines) = (Sha256::new(), 0, 0, 0);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        hash.update(&line);
        bytes += line.len();
        lines += usize::from(line.ends_with(b"\n"));
        let mut inside = false;
        for byte in &line {
            let blank = byte.is_ascii_whitespace();
            words += usize::from(!blank && !inside);
            inside = !blank;
        }
        line.clear();
    }
    Ok(
        json!({ "sha256": hex::encode(hash.finalize()), "bytes": bytes, "words": words, "lines": lines }),
    )
}
