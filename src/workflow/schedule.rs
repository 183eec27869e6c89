//! Schedules of this program's workflows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleetward_actors::Operator;
use fleetward_actors::plane::ScheduleView;
pub use fleetward_actors::schedules::spec::{CatchUp, Missed, Overlap};
use fleetward_actors::schedules::spec::{Spec, Timing};
use serde::Serialize;

use super::Workflow;
use super::handle::RunError;

/// When runs of a workflow start by themselves.
///
/// Of missed ticks the newest is fired, and no tick while a run of the schedule is open, unless something else is said.
///
/// ```
/// use fleetward::plane::{AdminToken, Options};
/// use fleetward::workflow::{Overlap, Schedule, Workflow};
/// use fleetward::{ControlPlane, StepContext};
/// # use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let store = fleetward::store::connect("memory:").await?;
/// # let admin_token = Some(AdminToken("fwt_made-up".into()));
/// # let plane = ControlPlane::start(store, Options { admin_token, ..Options::default() }).await?;
/// # let operator = plane.operator(&plane.authenticate("fwt_made-up")?, None).await?;
/// let wf = Workflow::builder::<String>("report")
///     .step("write", |topic: String, _cx: StepContext| async move { Ok(topic.len()) })
///     .build()?;
/// let made = Schedule::cron("0 9 * * MON-FRI", "Europe/Berlin")
///     .overlap(Overlap::BufferOne)
///     .jitter(Duration::from_secs(60))
///     .create(&operator, "morning-report", &wf, &"ants".to_owned())
///     .await?;
/// assert_eq!(made.upcoming.len(), 5);
/// # plane.drain(Duration::from_secs(5)).await;
/// # Ok(()) })
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is created"]
pub struct Schedule(Spec);

impl Schedule {
    /// By a cron expression (five fields, or six with seconds in front) in a zone of the IANA time zone database.
    pub fn cron(expression: impl Into<String>, zone: impl Into<String>) -> Self {
        let (expression, zone) = (expression.into(), zone.into());
        Self(Spec::new(String::new(), Timing::Cron { expression, zone }))
    }

    /// Every so many whole seconds, counted from the start, or from the beginning of 1970.
    pub fn every(interval: Duration) -> Self {
        let whole = interval.subsec_nanos() == 0;
        // A part of a second is refused when it is created.
        let seconds = if whole { i64::try_from(interval.as_secs()).unwrap_or(i64::MAX) } else { 0 };
        Self(Spec::new(String::new(), Timing::Every { seconds }))
    }

    /// Each tick fires up to so much late, and before the next one: always the same for the same tick.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.0.jitter_ms = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// No tick before this time.
    pub fn start(mut self, at: SystemTime) -> Self {
        self.0.start = Some(micros(at));
        self
    }

    /// No tick after this time.
    pub fn end(mut self, at: SystemTime) -> Self {
        self.0.end = Some(micros(at));
        self
    }

    /// What is done about missed ticks.
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.0.catch_up = catch_up;
        self
    }

    /// What a tick does while a run of the schedule is open.
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.0.overlap = overlap;
        self
    }

    /// What it is for, in words.
    pub fn description(mut self, words: impl Into<String>) -> Self {
        self.0.description = Some(words.into());
        self
    }

    /// Makes it, or tells the schedule of this name that it is this from now on: each run gets the newest version of the
    /// workflow, and this input. The definition is applied where it is not yet.
    ///
    /// # Errors
    /// When the control plane refuses: says what is wrong, and what would be right.
    pub async fn create<I: Serialize, O>(
        self,
        operator: &Operator,
        name: &str,
        workflow: &Workflow<I, O>,
        input: &I,
    ) -> Result<ScheduleView, RunError> {
        let definition = workflow.definition();
        operator.apply_workflow(definition.clone()).await?;
        let spec = Spec { workflow: definition.name.clone(), ..self.0 };
        let input = serde_json::to_vec(input)?.into();
        Ok(operator.put_schedule(name, spec, input).await?.0)
    }
}

fn micros(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
