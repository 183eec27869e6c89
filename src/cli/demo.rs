//! `fleetward demo`: the main job, with real processes on real files, watched and then checked.
//!
//! Two tenants, four workers, a server on a store of its own; one worker is killed in the middle of a task, and a
//! foreign worker looks for work that is not for it. What came out is compared with a second computation.

mod check;
mod files;
mod processes;
mod tenant;

pub(crate) mod step;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::end::stop_on_signal;
use super::error::Failed;
use processes::Stage;
use tenant::Tenant;

/// The demo ends well within this, or something is wrong.
const WITHIN: Duration = Duration::from_secs(120);

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// A folder whose files are hashed and counted [default: files made for it].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Where the server keeps everything: an empty store of your own [default: SQLite in a temporary folder].
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// How many files are made, without `--dir`.
    #[arg(long, value_name = "N", default_value_t = 24)]
    files: usize,
}

pub(crate) async fn run(args: DemoArgs) -> Result<(), Failed> {
    let stop = stop_on_signal()?;
    let folder = tempfile::Builder::new().prefix("fleetward-demo-").tempdir()?;
    let told = Story::begin();
    let played = tokio::select! {
        played = play(&args, folder.path(), &told) => played,
        () = stop.cancelled() => Err(Failed::wrong("interrupted")),
        () = tokio::time::sleep(WITHIN) => Err(Failed::wrong("the demo did not end in time")),
    };
    // The processes are gone with the stage; now their files.
    folder.close()?;
    played?;
    told.line("nothing was lost, doubled or leaked");
    Ok(())
}

async fn play(args: &DemoArgs, folder: &std::path::Path, told: &Story) -> Result<(), Failed> {
    let files = match &args.dir {
        Some(dir) => files::of(dir)?,
        None => files::make(&folder.join("files"), args.files)?,
    };
    let default = format!("sqlite://{}", folder.join("demo.db").display());
    let url = args.store.clone().unwrap_or(default);
    let mut stage = Stage::open(folder, &url).await?;
    told.line(&format!(
        "server   {} on {}",
        stage.server(),
        if args.store.is_some() { "your store" } else { "SQLite" }
    ));
    let acme = Tenant::create(&stage, "acme").await?;
    let globex = Tenant::create(&stage, "globex").await?;
    for (tenant, name) in [(&acme, "a1"), (&acme, "a2"), (&globex, "g1"), (&globex, "g2")] {
        stage.worker(name, &tenant.key()?)?;
        told.line(&format!("worker   {name} joins {} with its enrollment key", tenant.name));
    }

    let halves = files.split_at(files.len() / 2);
    let first = acme.submit_all(halves.0).await?;
    let second = globex.submit_all(halves.1).await?;
    told.line(&format!("tasks    {} for acme, {} for globex", first.len(), second.len()));
    kill_one_in_the_middle(&mut stage, &acme, told).await?;
    leave_empty_handed(&acme, &globex, &stage, told).await?;

    check::results(&acme, &first, told).await?;
    check::results(&globex, &second, told).await?;
    check::nothing_crossed(&acme, &globex, told).await?;
    stage.close().await
}

/// A worker is killed while it works; another finishes the task.
async fn kill_one_in_the_middle(
    stage: &mut Stage,
    acme: &Tenant,
    told: &Story,
) -> Result<(), Failed> {
    let slow = acme.submit_slow().await?;
    let (worker, name) = acme.claimed_by(&slow).await?;
    stage.kill(&name)?;
    told.line(&format!("kill -9  {name}, in the middle of task {}", short(&slow)));
    let done = acme.closed(&slow).await?;
    let second = acme.name_of(done["worker_id"].as_str().unwrap_or_default()).await?;
    let attempt = done["attempt"].as_u64().unwrap_or(0);
    if done["status"] != "completed" || attempt < 2 || done["worker_id"] == worker.as_str() {
        return Err(Failed::wrong(format!(
            "the task of the killed worker was not taken over: {done}"
        )));
    }
    told.line(&format!("taken    over by {second}: completed in attempt {attempt}"));
    Ok(())
}

/// A worker of one tenant looks for work while work of the other waits.
async fn leave_empty_handed(
    acme: &Tenant,
    globex: &Tenant,
    stage: &Stage,
    told: &Story,
) -> Result<(), Failed> {
    let waiting = acme.submit_to_pool("nobody-stands-here").await?;
    let answer = globex.look_once_in_pool(stage, "nobody-stands-here").await?;
    let task = acme.task(&waiting).await?;
    if answer != 204 || task["status"] != "pending" {
        return Err(Failed::wrong(format!("a foreign worker got {answer}, the task is {task}")));
    }
    told.line(
        "foreign  a globex worker in acme's pool looks for work: 204, and acme's task still waits",
    );
    let own = acme.look_once_in_pool(stage, "nobody-stands-here").await?;
    if own != 200 {
        return Err(Failed::wrong(format!("acme's own worker got {own}")));
    }
    told.line("own      an acme worker in the same pool gets it at once");
    Ok(())
}

fn short(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

/// Prints what happens, with the seconds since the curtain rose.
pub(super) struct Story(Instant);

impl Story {
    fn begin() -> Self {
        Self(Instant::now())
    }

    pub(super) fn line(&self, text: &str) {
        println!("{:5.1}s  {text}", self.0.elapsed().as_secs_f64());
    }
}
