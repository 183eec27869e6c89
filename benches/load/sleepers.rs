//! What runs cost that only sleep: memory and start of a server that has a million of them, and how so many wake that are due
//! at one instant. Each must go on exactly once.
//!
//! The runs are started by a control plane in this process, which ends; then the server process has the store to itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use fleetward_actors::id::RunId;
use fleetward_actors::plane::{AdminToken, NewRunStart, Options as PlaneOptions};
use fleetward_actors::workflows::definition::document;
use fleetward_actors::{ControlPlane, Error, Operator};
use fleetward_store::{CellId, ReadLimit, Store};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::options::Options;
use crate::place::Place;
use crate::server::{self, ADMIN, Server};
use crate::usage;

/// Runs that are being started at a time.
const STARTERS: u64 = 256;
/// A wait that outlasts every measurement, in seconds.
const FAR: u64 = 365 * 86_400;
/// What is left, in seconds, from when the last sleepers have been started until they are due: for the drain, and for the
/// server to start.
const NEAR: u64 = 30;
/// How many runs are started a second at least, where none were started before those.
const PACE: f64 = 200.0;
/// How often the rows are counted while runs wake.
const LOOK: Duration = Duration::from_millis(100);
/// The organisation that everybody has.
const CELL: CellId = CellId(1);
const DOCUMENT: &str = "name: sleeper\nsteps:\n  - sleep_until: dawn\n    at: input\n";

/// What was measured.
#[derive(Debug, Default, Serialize)]
struct Figures {
    sleepers: u64,
    started_per_second: f64,
    starting_memory_mib: u64,
    /// From the start of the process until it listens, and until it has answered a list of runs.
    listens_s: f64,
    answers_s: f64,
    /// Of the server, once it has answered; and the most that it had until the end.
    memory_mib: u64,
    memory_peak_mib: u64,
    woken: u64,
    /// From the time that they were due at until the first, the half and the last of them was in the rows as completed.
    first_woken_s: f64,
    half_woken_s: f64,
    all_woken_s: f64,
    server_cpu_s: f64,
}

/// Puts `--sleepers` runs to sleep, starts a server on them, and wakes `--wake` of them.
pub(crate) async fn measure(options: &Options) -> Result<String> {
    let (sleepers, woken) = (options.sleepers.unwrap_or_default(), options.wake);
    ensure!(woken <= sleepers, "--wake is at most --sleepers");
    let place = Place::fresh(options).await?;
    let url = place.url();
    let mut figures = Figures { sleepers, woken, ..Figures::default() };
    let (dawn, due) = fill(&url, &mut figures).await?;

    let (at, opts) = (url.clone(), options.clone());
    let began = Instant::now();
    let server = tokio::task::spawn_blocking(move || Server::start(&at, &opts)).await??;
    figures.listens_s = began.elapsed().as_secs_f64();
    answers(&server).await?;
    figures.answers_s = began.elapsed().as_secs_f64();
    figures.memory_mib = server.memory()?.0 >> 20;
    let left =
        dawn.checked_sub(now()).context("it took too long to start them; say a longer time")?;
    tokio::time::sleep(left).await;

    let cpu = server.cpu()?;
    let store = fleetward_store::connect(&url).await?;
    wake(store.as_ref(), dawn, options.patience(), &mut figures).await?;
    figures.server_cpu_s = (server.cpu()? - cpu).as_secs_f64();
    figures.memory_peak_mib = server.memory()?.1 >> 20;
    tokio::task::spawn_blocking(move || server.stop()).await??;
    check(store.as_ref(), &figures, &due).await?;
    if options.json {
        println!("{}", serde_json::to_string(&figures)?);
    }
    Ok(figures.render())
}

/// Starts all runs; answers the time at which the last of them are due, and which those are.
async fn fill(url: &str, figures: &mut Figures) -> Result<(Duration, HashSet<RunId>)> {
    let store = fleetward_store::connect(url).await?;
    let options = PlaneOptions {
        admin_token: Some(AdminToken(ADMIN.to_owned())),
        master_key: Some(server::key()?),
        ..PlaneOptions::default()
    };
    let plane = ControlPlane::start(store, options).await?;
    let operator = plane.operator(&plane.authenticate(ADMIN)?, None).await?;
    let definition = document::parse(DOCUMENT).map_err(|wrong| anyhow::anyhow!("{wrong}"))?;
    operator.apply_workflow(definition).await?;
    let began = Instant::now();
    let far = figures.sleepers - figures.woken;
    drop(start(&operator, far, now().as_secs() + FAR).await?);
    let pace = if far > 0 { far as f64 / began.elapsed().as_secs_f64() } else { PACE };
    let dawn = now().as_secs() + NEAR + (2.0 * figures.woken as f64 / pace) as u64;
    let due = start(&operator, figures.woken, dawn).await?;
    figures.started_per_second = figures.sleepers as f64 / began.elapsed().as_secs_f64();
    figures.starting_memory_mib = usage::memory(std::process::id())?.0 >> 20;
    plane.drain(Duration::from_secs(20)).await;
    Ok((Duration::from_secs(dawn), due.into_iter().collect()))
}

async fn start(operator: &Operator, count: u64, at: u64) -> Result<Vec<RunId>> {
    let next = Arc::new(AtomicU64::new(0));
    let mut starters = JoinSet::new();
    for _ in 0..STARTERS.min(count) {
        let (operator, next) = (operator.clone(), next.clone());
        starters.spawn(async move {
            let mut started = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok::<_, anyhow::Error>(started);
                }
                let run = NewRunStart {
                    workflow: "sleeper".to_owned(),
                    input: at.to_string().into(),
                    ..NewRunStart::default()
                };
                // Whoever is told to come again does: the rows set the pace.
                let run = loop {
                    match operator.start_run(run.clone()).await {
                        Err(Error::Behind) => {}
                        begun => break begun?.run,
                    }
                };
                started.push(run);
                if n % 100_000 == 99_999 {
                    eprintln!("{} runs sleep", n + 1);
                }
            }
        });
    }
    let mut started = Vec::new();
    while let Some(ended) = starters.join_next().await {
        started.append(&mut ended??);
    }
    Ok(started)
}

/// Comes when the server has answered for the organisation.
async fn answers(server: &Server) -> Result<()> {
    let url = format!("http://{}/api/v1/runs?status=waiting&limit=1", server.address());
    let http = reqwest::Client::new();
    loop {
        let answer = http.get(&url).bearer_auth(ADMIN).send().await?;
        if answer.status().is_success() {
            return Ok(());
        }
        // The cell is being opened.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Counts the rows until all that are due have completed.
async fn wake(
    store: &dyn Store,
    dawn: Duration,
    patience: Duration,
    figures: &mut Figures,
) -> Result<()> {
    let mut last = (0, Instant::now());
    loop {
        let done = store.count(CELL, "run", Some("completed")).await?;
        let since = now().saturating_sub(dawn).as_secs_f64();
        if figures.first_woken_s == 0.0 && done > 0 {
            figures.first_woken_s = since;
        }
        if figures.half_woken_s == 0.0 && done * 2 >= figures.woken {
            figures.half_woken_s = since;
        }
        if done >= figures.woken {
            figures.all_woken_s = since;
            return Ok(());
        }
        if done > last.0 {
            last = (done, Instant::now());
        }
        ensure!(last.1.elapsed() < patience, "{done} of {} woke, and no more", figures.woken);
        tokio::time::sleep(LOOK).await;
    }
}

/// The journal says that each of those that were due went on exactly once, and no other.
async fn check(store: &dyn Store, figures: &Figures, due: &HashSet<RunId>) -> Result<()> {
    let (mut at, mut started) = (0, 0);
    let mut ended: HashMap<Arc<str>, (u32, u32)> = HashMap::new();
    loop {
        let limit = ReadLimit { events: 32_768, bytes: 64 << 20 };
        let page = store.read(CELL, at, limit).await?;
        let Some(last) = page.last() else { break };
        at = last.seq;
        for stored in &page {
            match stored.event.kind.as_ref() {
                "run.started" => started += 1,
                "run.timer_fired" => ended.entry(stored.event.stream.clone()).or_default().0 += 1,
                "run.completed" => ended.entry(stored.event.stream.clone()).or_default().1 += 1,
                _ => {}
            }
        }
    }
    ensure!(started == figures.sleepers, "{started} runs were started");
    ensure!(ended.len() as u64 == figures.woken, "{} runs woke", ended.len());
    for (stream, counts) in ended {
        let run = stream.strip_prefix("run/").and_then(|id| id.parse().ok());
        let due = run.is_some_and(|run| due.contains(&run));
        ensure!(due && counts == (1, 1), "{stream} fired and completed {counts:?} times");
    }
    Ok(())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Figures {
    fn render(&self) -> String {
        let Self { sleepers, woken, .. } = self;
        let mut lines = vec![format!("| {sleepers} runs asleep |  |"), "| --- | ---: |".to_owned()];
        let mut row = |name: &str, value: f64, digits: usize| {
            lines.push(format!("| {name} | {value:.digits$} |"));
        };
        row("started a second, in process", self.started_per_second, 0);
        row("memory of the starting process then, MiB", self.starting_memory_mib as f64, 0);
        row("a server on them listens after s", self.listens_s, 2);
        row("and answers after s", self.answers_s, 2);
        row("memory of the server then, MiB", self.memory_mib as f64, 0);
        row(
            &format!("the first of {woken} due at once has completed after s"),
            self.first_woken_s,
            2,
        );
        row("half of them after s", self.half_woken_s, 2);
        row("all of them after s", self.all_woken_s, 2);
        row("processor time of the server for that, s", self.server_cpu_s, 2);
        row("most memory of the server, MiB", self.memory_peak_mib as f64, 0);
        lines.join("\n")
    }
}
