//! Why a task stands where it stands, in words. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};

use super::book::{Book, Seated};
use super::matcher::{Gate, Limit};
use crate::fleet::task::{
    Condition, Failure, Network, Operator, Phase, Profile, Requirement, Sandbox, Task,
};
use crate::id::WorkerId;

/// How many tasks before this one are counted.
const AHEAD_MAX: usize = 10_000;
/// How many values that workers do have are named.
const NAMED_MAX: usize = 5;

/// The reasons, the most important first.
pub fn explain(book: &Book, task: &Task, now: i64) -> Vec<String> {
    match &task.phase {
        Phase::Waiting => waiting(book, task, now),
        Phase::Leased => leased(task),
        _ => closed(task),
    }
}

/// The reason why nothing more happens to a closed task; none for an open one.
pub fn closed(task: &Task) -> Vec<String> {
    match &task.phase {
        Phase::Waiting | Phase::Leased => Vec::new(),
        Phase::Completed { at } => vec![format!("it was completed at {}", time(*at))],
        Phase::Failed { at, why } => vec![failed(task, *at, *why)],
        Phase::Suspended { at } => {
            let why = "what it waits for is with its run";
            vec![format!("its function was suspended at {}: {why}", time(*at))]
        }
        Phase::Cancelled { at } => vec![format!("it was cancelled at {}", time(*at))],
        Phase::Discarded { at } => {
            vec![format!("it had failed and was discarded at {}", time(*at))]
        }
        Phase::Deleted => vec!["it was deleted".to_owned()],
    }
}

fn waiting(book: &Book, task: &Task, now: i64) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(at) = task.ready_at.filter(|at| *at > now) {
        reasons.push(match task.failures {
            0 => format!("it is not to start before {}", time(at)),
            failures => format!(
                "attempt {failures} of {} failed; the next may start at {}",
                task.handling.retry.max_attempts,
                time(at)
            ),
        });
    }
    if let Some(stay) = book.stay(task.id) {
        let left = (stay.until - now).max(0).unsigned_abs().div_ceil(1_000_000);
        let what = if task.step.is_some() { "its run" } else { "its affinity" };
        let who = format!("worker {}, which had {what} before", stay.worker);
        reasons.push(format!("it waits up to {left} s for {who}; then anybody may have it"));
        return reasons;
    }
    reasons.extend(book.shut(task).iter().map(limit));
    let workers: Vec<_> = book.sittings().collect();
    let fit: Vec<_> = workers.iter().filter(|seated| can_run(seated, &task.wants)).collect();
    if fit.is_empty() {
        reasons.extend(nobody(&workers, &task.wants));
        return reasons;
    }
    if !reasons.is_empty() {
        return reasons;
    }
    reasons.push(busy(&fit, task, now));
    match book.ahead(task, AHEAD_MAX) {
        0 => {}
        AHEAD_MAX => reasons.push(format!("{AHEAD_MAX} tasks of its kind or more go before it")),
        ahead => reasons.push(format!("{ahead} tasks of its kind go before it")),
    }
    reasons
}

fn leased(task: &Task) -> Vec<String> {
    let Some(attempt) = task.lease() else { return Vec::new() };
    let mut reasons = vec![format!(
        "worker {} has had attempt {} since {}",
        attempt.worker,
        attempt.number,
        time(attempt.claimed_at)
    )];
    if let Some(progress) = &task.progress {
        let percent = progress.percent.map_or(String::new(), |percent| format!(" ({percent} %)"));
        reasons.push(format!("it last told of progress at {}{percent}", time(progress.at)));
    }
    reasons
}

fn failed(task: &Task, at: i64, why: Failure) -> String {
    let why = match why {
        Failure::Reported => {
            format!("its worker reported a failure ({})", tries(task.failures + 1))
        }
        Failure::AttemptsExhausted => format!("{} were lost", tries(task.crashes)),
        Failure::TimedOut => {
            let most = task.handling.timeout_ms.unwrap_or_default();
            format!("its last attempt took longer than {most} ms")
        }
        Failure::DeadlineExceeded => {
            let deadline = task.handling.deadline.map_or_else(String::new, time);
            format!("it was not done by its deadline, {deadline}")
        }
    };
    format!("it failed at {}: {why}; it can be retried or discarded", time(at))
}

fn tries(count: u32) -> String {
    if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") }
}

fn limit(limit: &Limit) -> String {
    let of = match &limit.gate {
        Gate::Org => "the organisation".to_owned(),
        Gate::Project(project) => format!("project {project:?}"),
        Gate::Pool(pool) => format!("pool {pool:?}"),
        Gate::Label(key, value) => format!("label {key}={value}"),
    };
    match limit.most {
        0 => format!("{of} is paused"),
        most => format!("{of} may run {most} tasks at once, and {} run", limit.running),
    }
}

/// Of workers that could run it: why none does.
fn busy(fit: &[&Seated<'_>], task: &Task, now: i64) -> String {
    let avoided = |seated: &&&Seated<'_>| {
        super::agenda::avoids(task, now) && task.avoid.contains(&seated.worker)
    };
    let (count, of) = (fit.len(), if fit.len() == 1 { "worker" } else { "workers" });
    let paused = fit.iter().filter(|seated| seated.paused).count();
    let left = fit.iter().filter(avoided).count();
    let full = fit.iter().filter(|seated| !seated.paused && seated.leases >= seated.seats).count();
    let silent = fit.iter().filter(|seated| seated.leases < seated.seats && seated.polls == 0);
    let mut parts = vec![format!("{count} {of} could run it")];
    for (number, what) in [
        (full, "busy in all seats"),
        (paused, "paused"),
        (left, "passed over after an attempt that failed or was lost"),
        (silent.count(), "not asking for work"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    parts.join(", ")
}

/// What stands between a task and every worker: one line for each thing that no worker has, or how many miss what.
fn nobody(workers: &[Seated<'_>], wants: &Requirement) -> Vec<String> {
    let project =
        wants.project.as_ref().map_or("no project".to_owned(), |p| format!("project {p:?}"));
    let here: Vec<_> = workers
        .iter()
        .filter(|seated| seated.profile.pool == wants.pool && seated.profile.project_fits(wants))
        .collect();
    if here.is_empty() {
        let pool = &wants.pool;
        return vec![format!("no approved worker stands in pool {pool:?} for {project}")];
    }
    let mut missing = Vec::new();
    missing.extend(wants.model.as_ref().and_then(|model| away(&here, model)));
    for line in lines(wants) {
        let lack = here.iter().filter(|seated| !line.holds(seated)).count();
        if lack == here.len() {
            let others = line.others(&here);
            missing.push(format!("no worker {}{others}", line.text));
        }
    }
    if missing.is_empty() {
        let all = lines(wants).into_iter().map(|line| line.text);
        let all: Vec<_> = all.collect();
        missing.push(format!("no single worker {}", all.join(" and ")));
    }
    missing.push(format!("{} in pool {:?} for {project}", workers_are(here.len()), wants.pool));
    missing
}

/// Why none of these workers could run such a task, however free they are; nothing, where one could.
pub fn lacking(profiles: &[&Profile], wants: &Requirement) -> Vec<String> {
    let gone = BTreeSet::new();
    let seated = |profile| Seated {
        worker: WorkerId(uuid::Uuid::nil()),
        profile,
        gone: &gone,
        seats: 1,
        paused: false,
        leases: 0,
        polls: 0,
    };
    let workers: Vec<_> = profiles.iter().map(|profile| seated(profile)).collect();
    match workers.iter().any(|seated| can_run(seated, wants)) {
        true => Vec::new(),
        false => nobody(&workers, wants),
    }
}

/// The worker that such a task needs, in words.
pub fn needed(wants: &Requirement) -> String {
    let project = wants.project.as_ref().map_or(String::new(), |p| format!(" for project {p:?}"));
    let lines: Vec<_> = lines(wants).into_iter().map(|line| line.text).collect();
    let that =
        if lines.is_empty() { String::new() } else { format!(" that {}", lines.join(" and ")) };
    format!("a worker in pool {:?}{project}{that}", wants.pool)
}

/// Of workers that have the model but do not see it at its endpoint now.
fn away(workers: &[&Seated<'_>], model: &str) -> Option<String> {
    let count = workers.iter().filter(|seated| seated.gone.contains(model)).count();
    let (declare, whose) =
        if count == 1 { ("worker declares", "its") } else { ("workers declare", "their") };
    let words = "endpoints do not offer it now";
    (count > 0).then(|| format!("{count} {declare} model {model:?}, but {whose} {words}"))
}

fn workers_are(count: usize) -> String {
    if count == 1 { "there is 1 worker".to_owned() } else { format!("there are {count} workers") }
}

/// Whether it could run such a task once it is free.
fn can_run(seated: &Seated<'_>, wants: &Requirement) -> bool {
    lines(wants).iter().all(|line| line.holds(seated))
        && seated.profile.pool == wants.pool
        && seated.profile.project_fits(wants)
}

/// One thing that a task asks for.
struct Line<'a> {
    text: String,
    test: Box<dyn Fn(&Seated<'_>) -> bool + 'a>,
    /// What workers have of this kind, to be named where none fits.
    have: Box<Names<'a>>,
}

type Names<'a> = dyn Fn(&Profile) -> Vec<String> + 'a;

impl Line<'_> {
    fn holds(&self, seated: &Seated<'_>) -> bool {
        (self.test)(seated)
    }

    fn others(&self, workers: &[&Seated<'_>]) -> String {
        let have: BTreeSet<_> =
            workers.iter().flat_map(|seated| (self.have)(seated.profile)).collect();
        if have.is_empty() {
            return String::new();
        }
        let named: Vec<_> = have.iter().take(NAMED_MAX).cloned().collect();
        let more = if have.len() > NAMED_MAX { ", ..." } else { "" };
        format!("; there is {}{more}", named.join(", "))
    }
}

fn lines(wants: &Requirement) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    if let Some(model) = &wants.model {
        lines.push(Line {
            text: format!("has model {model:?}"),
            test: Box::new(move |seated| seated.profile.models.contains(model)),
            have: Box::new(|profile| profile.models.iter().cloned().collect()),
        });
    }
    for (key, value) in &wants.labels {
        lines.push(Line {
            text: format!("has label {key}={value}"),
            test: Box::new(move |seated| seated.profile.labels.get(key) == Some(value)),
            have: Box::new(move |profile| label(&profile.labels, key)),
        });
    }
    for condition in &wants.selector {
        lines.push(Line {
            text: words(condition),
            test: Box::new(move |seated| condition.holds(&seated.profile.labels)),
            have: Box::new(move |profile| label(&profile.labels, &condition.key)),
        });
    }
    if wants.sandbox != Sandbox::None {
        let least = wants.sandbox;
        lines.push(Line {
            text: format!("offers the sandbox level {} or more", level(least)),
            test: Box::new(move |seated| seated.profile.sandbox >= least),
            have: Box::new(|profile| vec![level(profile.sandbox).to_owned()]),
        });
    }
    if let Some(image) = &wants.image {
        lines.push(Line {
            text: format!("runs image {image:?}"),
            test: Box::new(move |seated| seated.profile.runs_image(image)),
            have: Box::new(|profile| profile.images.iter().cloned().collect()),
        });
    }
    if let Some(handler) = &wants.handler {
        lines.push(Line {
            text: format!("has registered the handler {handler:?}"),
            test: Box::new(move |seated| seated.profile.has_handler(handler)),
            have: Box::new(|profile| profile.handlers.iter().cloned().collect()),
        });
    }
    if let Some(network) = wants.network {
        lines.push(Line {
            text: format!("enforces the network policy {}", policy(network)),
            test: Box::new(move |seated| seated.profile.networks.contains(&network)),
            have: Box::new(|profile| {
                profile.networks.iter().map(|network| policy(*network).to_owned()).collect()
            }),
        });
    }
    if let Some(worker) = wants.worker {
        lines.push(Line {
            text: format!("is {worker}, to which it is pinned"),
            test: Box::new(move |seated| seated.worker == worker),
            have: Box::new(|_| Vec::new()),
        });
    }
    lines
}

fn label(labels: &BTreeMap<String, String>, key: &str) -> Vec<String> {
    labels.get(key).map(|value| format!("{key}={value}")).into_iter().collect()
}

fn words(condition: &Condition) -> String {
    let Condition { key, operator, values } = condition;
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    let values = values.join(", ");
    match operator {
        Operator::In => format!("has label {key} in ({values})"),
        Operator::NotIn => format!("is without label {key} in ({values})"),
        Operator::Exists => format!("has a label {key}"),
        Operator::NotExists => format!("is without a label {key}"),
    }
}

fn level(sandbox: Sandbox) -> &'static str {
    match sandbox {
        Sandbox::None => "none",
        Sandbox::Process => "process",
        Sandbox::Container => "container",
        Sandbox::Vm => "vm",
    }
}

fn policy(network: Network) -> &'static str {
    match network {
        Network::None => "none",
        Network::Restricted => "restricted",
        Network::Open => "open",
    }
}

fn time(at: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(at).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
