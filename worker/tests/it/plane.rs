//! A control plane of a few lines: answers what it is told to, and writes down what it was asked.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use fleetward_wire::tasks::{Claim, Claimed, HandBack, Progress, Report, ReportMany, ReportStatus};
use fleetward_wire::workers::{Heartbeat, HeartbeatAnswer, LostTask, WorkerStatus};
use fleetward_worker::{Execute, Outcome, Transport, TransportError, Worker, WorkerOptions};
use fleetward_worker::{TaskContext, from_fn};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long an attempt is its worker's without a heartbeat.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// What to do with one request.
pub(crate) enum Answer<A> {
    /// Answer at once.
    Now(Result<A, TransportError>),
    /// Answer after a while.
    After(Duration, Result<A, TransportError>),
    /// Never answer.
    Never,
}

#[derive(Clone)]
pub(crate) struct Plane {
    state: Arc<Mutex<State>>,
    lines: watch::Sender<usize>,
    start: Instant,
}

#[derive(Default)]
struct State {
    claims: VecDeque<Answer<Vec<Claimed>>>,
    beats: VecDeque<Answer<HeartbeatAnswer>>,
    reports: VecDeque<Answer<()>>,
    /// What becomes of the reports of one task, where their request is answered at all.
    verdicts: HashMap<String, VecDeque<TransportError>>,
    /// After its scripts are used up it answers nothing but this.
    down: Option<TransportError>,
    claim_names: HashMap<String, usize>,
    log: Vec<(Duration, String)>,
}

impl Plane {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), lines: watch::Sender::new(0), start: Instant::now() }
    }

    pub(crate) fn claims(self, answers: impl IntoIterator<Item = Answer<Vec<Claimed>>>) -> Self {
        self.state().claims.extend(answers);
        self
    }

    pub(crate) fn beats(self, answers: impl IntoIterator<Item = Answer<HeartbeatAnswer>>) -> Self {
        self.state().beats.extend(answers);
        self
    }

    /// Answers to requests with reports, and to hand-backs.
    pub(crate) fn reports(self, answers: impl IntoIterator<Item = Answer<()>>) -> Self {
        self.state().reports.extend(answers);
        self
    }

    /// What is wrong with the next reports of one task, whoever they come with.
    pub(crate) fn verdicts(
        self,
        run_id: &str,
        errors: impl IntoIterator<Item = TransportError>,
    ) -> Self {
        self.state().verdicts.insert(run_id.to_owned(), errors.into_iter().collect());
        self
    }

    pub(crate) fn down(&self, error: Option<TransportError>) {
        self.state().down = error;
    }

    /// What was asked but for heartbeats without tasks and the goodbye, one a line, without times (they are
    /// jittered).
    pub(crate) fn transcript(&self) -> String {
        let state = self.state();
        let lines = state.log.iter().map(|(_, line)| line.as_str());
        let kept = lines.filter(|line| !["heartbeat []", "goodbye"].contains(line));
        kept.map(|line| format!("{line}\n")).collect()
    }

    /// Of what was asked, the lines that begin with `prefix`.
    pub(crate) fn said(&self, prefix: &str) -> String {
        let state = self.state();
        let lines = state.log.iter().map(|(_, line)| line.as_str());
        lines.filter(|line| line.starts_with(prefix)).map(|line| format!("{line}\n")).collect()
    }

    /// When each line that begins with `prefix` was asked.
    pub(crate) fn times(&self, prefix: &str) -> Vec<Duration> {
        let state = self.state();
        let lines = state.log.iter().filter(|(_, line)| line.starts_with(prefix));
        lines.map(|(at, _)| *at).collect()
    }

    /// Resolves when a line that begins with `prefix` was asked for the `n`th time.
    pub(crate) async fn asked(&self, prefix: &str, n: usize) {
        let mut lines = self.lines.subscribe();
        lines.wait_for(|_| self.times(prefix).len() >= n).await.unwrap();
    }

    /// A worker with the given options, run on this plane.
    pub(crate) fn start<X: Execute>(&self, execute: X, options: WorkerOptions) -> Running {
        let shutdown = CancellationToken::new();
        let worker = Worker::new(self.clone(), execute, options);
        Running { shutdown: shutdown.clone(), ended: tokio::spawn(worker.run(shutdown)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn log(&self, line: String) {
        self.state().log.push((self.start.elapsed(), line));
        self.lines.send_modify(|lines| *lines += 1);
    }

    async fn answer<A>(
        &self,
        scripted: Option<Answer<A>>,
        otherwise: impl Future<Output = A>,
    ) -> Result<A, TransportError> {
        let down = self.state().down.clone();
        match (scripted, down) {
            (Some(Answer::Now(answer)), _) => answer,
            (Some(Answer::After(wait, answer)), _) => {
                sleep(wait).await;
                answer
            }
            (Some(Answer::Never), _) => pending().await,
            (None, Some(error)) => Err(error),
            (None, None) => Ok(otherwise.await),
        }
    }
}

/// A worker at work.
pub(crate) struct Running {
    pub(crate) shutdown: CancellationToken,
    pub(crate) ended:
        tokio::task::JoinHandle<Result<fleetward_worker::Summary, fleetward_worker::WorkerError>>,
}

impl Running {
    /// Asks it to drain, and waits until it has.
    pub(crate) async fn drained(
        self,
    ) -> Result<fleetward_worker::Summary, fleetward_worker::WorkerError> {
        self.shutdown.cancel();
        self.ended.await.unwrap()
    }
}

#[async_trait]
impl Transport for Plane {
    async fn claim_many(&self, claim: Claim) -> Result<Vec<Claimed>, TransportError> {
        let scripted = {
            let mut state = self.state();
            let next = state.claim_names.len() + 1;
            let id = claim.claim_request_id.unwrap();
            let name = *state.claim_names.entry(id).or_insert(next);
            let scripted = state.claims.pop_front();
            drop(state);
            let seats = match claim.max_tasks.unwrap() {
                1 => String::new(),
                n => format!(" for {n} seats"),
            };
            self.log(format!("claim #{name}{seats}"));
            scripted
        };
        let poll = Duration::from_secs_f64(claim.poll_timeout.unwrap());
        self.answer(scripted, async {
            sleep(poll).await;
            Vec::new()
        })
        .await
    }

    async fn leave(&self) -> Result<(), TransportError> {
        self.log("goodbye".to_owned());
        self.answer(None, async {}).await
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<HeartbeatAnswer, TransportError> {
        let mut names: Vec<_> = beat
            .tasks
            .unwrap()
            .iter()
            .map(|task| format!("{}/{} {}", task.run_id, task.attempt, task.claim_token.expose()))
            .collect();
        names.sort();
        self.log(format!("heartbeat [{}]", names.join(", ")));
        let scripted = self.state().beats.pop_front();
        self.answer(scripted, async { alive() }).await
    }

    async fn report_many(
        &self,
        reports: ReportMany,
    ) -> Result<Vec<Result<(), TransportError>>, TransportError> {
        let run_ids: Vec<_> = reports.reports.iter().map(|report| report.run_id.clone()).collect();
        let said: Vec<_> = reports.reports.into_iter().map(words).collect();
        self.log(format!("report {}", said.join(" + ")));
        let scripted = self.state().reports.pop_front();
        self.answer(scripted, async {}).await?;
        let mut state = self.state();
        let mut verdict = |run_id| state.verdicts.get_mut(run_id)?.pop_front();
        Ok(run_ids.iter().map(|run_id| verdict(run_id).map_or(Ok(()), Err)).collect())
    }

    async fn release(&self, back: HandBack) -> Result<(), TransportError> {
        let (id, token) = (back.run_id, back.claim_token);
        self.log(format!(
            "release {id}/{} {} {}",
            back.attempt,
            token.expose(),
            back.reason.unwrap()
        ));
        let scripted = self.state().reports.pop_front();
        self.answer(scripted, async {}).await
    }

    async fn progress(&self, run_id: &str, said: Progress) -> Result<(), TransportError> {
        let (attempt, token) = (said.attempt.unwrap(), said.claim_token.unwrap());
        let (percent, data) = (said.percent, said.data.expose());
        self.log(format!("progress {run_id}/{attempt} {} {percent:?} {data}", token.expose()));
        let scripted = self.state().reports.pop_front();
        self.answer(scripted, async {}).await
    }
}

/// A report, in one line.
fn words(report: Report) -> String {
    let said = match report.status {
        ReportStatus::Completed => format!("completed {}", report.output.unwrap().expose()),
        ReportStatus::Suspended => "suspended".to_owned(),
        ReportStatus::Failed => format!("failed {}", report.error.unwrap().expose()),
    };
    let (id, attempt) = (report.run_id, report.attempt.unwrap());
    let token = report.claim_token.unwrap();
    format!("{id}/{attempt} {} {said}", token.expose())
}

/// The first attempts of so many tasks, given out at once.
pub(crate) fn gives<const N: usize>(run_ids: [&str; N]) -> Answer<Vec<Claimed>> {
    Answer::Now(Ok(run_ids.map(task).into()))
}

pub(crate) fn task(run_id: &str) -> Claimed {
    Claimed {
        run_id: run_id.to_owned(),
        org_id: "org".to_owned(),
        project_id: None,
        pool: "default".to_owned(),
        model: None,
        labels: [("gpu".to_owned(), "no".to_owned())].into(),
        payload: json!({"say": "hello"}).into(),
        payload_sealed: None,
        worker_id: "w".to_owned(),
        claimed_at: "2026-01-02T03:04:05Z".to_owned(),
        attempt: 1,
        claim_token: format!("token-of-{run_id}").into(),
        lease_seconds: LEASE.as_secs_f64(),
        handler: None,
        sandbox: None,
        image: None,
        network: None,
        step: None,
        checkpoints: 0,
    }
}

/// A heartbeat's answer when all is well.
pub(crate) fn alive() -> HeartbeatAnswer {
    HeartbeatAnswer {
        ok: true,
        status: WorkerStatus::Approved,
        heartbeat_seconds: 10.0,
        lost: Vec::new(),
        over: Vec::new(),
        drain: false,
    }
}

pub(crate) fn losing(run_id: &str) -> HeartbeatAnswer {
    let lost = vec![LostTask { run_id: run_id.to_owned(), attempt: 1 }];
    HeartbeatAnswer { lost, ..alive() }
}

pub(crate) fn outage() -> TransportError {
    TransportError::unavailable("outage")
}

pub(crate) fn refusal() -> TransportError {
    TransportError::Refused { code: "nope".to_owned(), detail: "no".to_owned() }
}

pub(crate) fn rejection() -> TransportError {
    TransportError::Rejected { status: 403, detail: "revoked".to_owned() }
}

pub(crate) fn seats(seats: usize) -> WorkerOptions {
    WorkerOptions { seats, ..WorkerOptions::default() }
}

pub(crate) fn once() -> WorkerOptions {
    WorkerOptions { once: true, ..WorkerOptions::default() }
}

/// Completes every task after `wait`, with its payload.
pub(crate) fn echo_after(wait: Duration) -> impl Execute {
    from_fn(move |task, _cx| async move {
        sleep(wait).await;
        Outcome::Completed(task.payload.into_exposed())
    })
}

pub(crate) fn echo() -> impl Execute {
    echo_after(Duration::from_secs(1))
}

/// Runs until it is stopped; tells when it was started and when it was stopped.
pub(crate) struct Endless {
    pub(crate) started: watch::Sender<usize>,
    pub(crate) stopped: watch::Sender<Option<Instant>>,
}

impl Endless {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { started: watch::Sender::new(0), stopped: watch::Sender::new(None) })
    }

    pub(crate) async fn started(&self) {
        self.started.subscribe().wait_for(|n| *n > 0).await.unwrap();
    }

    pub(crate) async fn stopped(&self) -> Instant {
        let mut stopped = self.stopped.subscribe();
        // Of paused time: a test whose task is never stopped fails at once.
        let stopped = timeout(Duration::from_secs(3600), stopped.wait_for(Option::is_some)).await;
        stopped.expect("the task is stopped").unwrap().unwrap()
    }

    pub(crate) fn handler(self: &Arc<Self>) -> impl Execute + use<> {
        let this = self.clone();
        from_fn(move |_task, cx: TaskContext| {
            let this = this.clone();
            async move {
                this.started.send_modify(|n| *n += 1);
                cx.cancelled().await;
                this.stopped.send_replace(Some(Instant::now()));
                Outcome::Failed("stopped half-way".to_owned())
            }
        })
    }
}
