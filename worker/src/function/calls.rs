//! The calls of a durable function. Each stands at a position of its history: the code must make the same calls in the same
//! order whenever it is run, so what differs from run to run (time, chance, the world) belongs into steps.

use std::future::Future;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use fleetward_wire::Secret;
use fleetward_wire::tasks::{Called, RecordedStatus, WaitFor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::sleep;

use super::{Ask, Decision, Journal, Position, Retries};
use crate::backoff::Backoff;
use crate::handlers::{HandlerError, StepContext};

/// No wait between two tries of a step is longer.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

impl StepContext {
    /// Does something once: what it results in is kept before this returns, and later attempts, on whatever worker, are given
    /// that instead of doing it again. If the worker dies before it is kept, it is done again: what it does elsewhere should go
    /// under a key made from [`idempotency_key`](Self::idempotency_key).
    ///
    /// # Errors
    /// What it fails with itself; and fatal ones when its result is no JSON, is too large, or the code does not fit the history.
    pub fn step<T, F, R>(
        &self,
        name: &str,
        run: F,
    ) -> impl Future<Output = Result<T, HandlerError>> + Send + use<T, F, R>
    where
        T: Serialize + DeserializeOwned + Send,
        F: FnOnce() -> R + Send,
        R: Future<Output = Result<T, HandlerError>> + Send,
    {
        // Here and not when it is first polled: the order of the calls is that of the code.
        let (journal, at) = (self.journal.clone(), self.journal.call(Called::Step, name));
        async move {
            let at = at?;
            match done(&at)? {
                Some(value) => Ok(value),
                None => journal.first(&at, run).await,
            }
        }
    }

    /// The same, tried again when it fails with what is not fatal.
    ///
    /// # Errors
    /// As [`step`](Self::step), when it has failed once more than that.
    pub fn step_retried<T, F, R>(
        &self,
        name: &str,
        retries: Retries,
        mut run: F,
    ) -> impl Future<Output = Result<T, HandlerError>> + Send + use<T, F, R>
    where
        T: Serialize + DeserializeOwned + Send,
        F: FnMut() -> R + Send,
        R: Future<Output = Result<T, HandlerError>> + Send,
    {
        let again = move || async move {
            let mut backoff = Backoff::between(retries.delay, LONGEST_DELAY.max(retries.delay));
            let mut left = retries.times;
            loop {
                match run().await {
                    Err(error) if left > 0 && !error.is_fatal() => {
                        left -= 1;
                        tracing::debug!(left, "a step is tried again");
                        sleep(backoff.next(None)).await;
                    }
                    ended => return ended,
                }
            }
        };
        self.step(name, again)
    }

    /// Waits for so long, on no worker.
    ///
    /// # Errors
    /// When the code does not fit the history.
    pub fn sleep(
        &self,
        time: Duration,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send + use<> {
        self.nap("sleep", (Some(time.as_secs_f64()), None))
    }

    /// Waits until a time, on no worker.
    ///
    /// # Errors
    /// When the code does not fit the history.
    pub fn sleep_until(
        &self,
        time: DateTime<Utc>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send + use<> {
        let until = time.to_rfc3339_opts(SecondsFormat::Micros, true);
        self.nap("sleep_until", (None, Some(until)))
    }

    /// Waits for a signal of this name, on no worker: for one that came already, if there is one.
    ///
    /// # Errors
    /// When it does not fit the type, or the code does not fit the history.
    pub fn wait_signal<T: DeserializeOwned + Send>(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<T, HandlerError>> + Send + use<T> {
        let waits = self.signal(name, None);
        async move { waits.await?.ok_or_else(|| HandlerError::fatal("no signal came")) }
    }

    /// The same, for so long at most: `None` when none came in time.
    ///
    /// # Errors
    /// As [`wait_signal`](Self::wait_signal).
    pub fn wait_signal_for<T: DeserializeOwned + Send>(
        &self,
        name: &str,
        time: Duration,
    ) -> impl Future<Output = Result<Option<T>, HandlerError>> + Send + use<T> {
        self.signal(name, Some(time))
    }

    /// Waits for people to approve, on no worker.
    ///
    /// # Errors
    /// A fatal one that says who rejected it and why, or that nobody decided in time; and when the code does not fit the
    /// history. [`decision`](Self::decision) leaves it to the code what a rejection means.
    pub fn approval<A: Into<Ask>>(
        &self,
        name: &str,
        ask: A,
    ) -> impl Future<Output = Result<Decision, HandlerError>> + Send + use<A> {
        let name_told = name.to_owned();
        let decision = self.asked(name, ask.into());
        async move {
            let decision = decision.await?;
            if decision.approved {
                return Ok(decision);
            }
            let why = match (decision.expired, decision.by.last(), &decision.reason) {
                (true, ..) => "nobody decided in time".to_owned(),
                (_, Some(who), Some(reason)) => format!("{who} rejected it: {reason}"),
                (_, Some(who), None) => format!("{who} rejected it"),
                (_, None, _) => "it was rejected".to_owned(),
            };
            Err(HandlerError::fatal(format!("{name_told} was not approved: {why}")))
        }
    }

    /// Waits for people to decide, on no worker.
    ///
    /// # Errors
    /// When the code does not fit the history.
    pub fn decision<A: Into<Ask>>(
        &self,
        name: &str,
        ask: A,
    ) -> impl Future<Output = Result<Decision, HandlerError>> + Send + use<A> {
        self.asked(name, ask.into())
    }

    fn asked(
        &self,
        name: &str,
        ask: Ask,
    ) -> impl Future<Output = Result<Decision, HandlerError>> + Send + use<> {
        let (journal, at) = (self.journal.clone(), self.journal.call(Called::Approval, name));
        async move {
            let at = at?;
            let Ask { asked, expires } = ask;
            let timeout_seconds = expires.map(|time| time.as_secs_f64());
            let wait = at.wait(Called::Approval);
            let wait = WaitFor { approval: Some(Box::new(asked)), timeout_seconds, ..wait };
            Ok(Decision::of(journal.wait(at, wait).await))
        }
    }

    fn nap(
        &self,
        name: &str,
        (seconds, until): (Option<f64>, Option<String>),
    ) -> impl Future<Output = Result<(), HandlerError>> + Send + use<> {
        let (journal, at) = (self.journal.clone(), self.journal.call(Called::Sleep, name));
        async move {
            let at = at?;
            let wait = WaitFor { seconds, until, ..at.wait(Called::Sleep) };
            journal.wait(at, wait).await;
            Ok(())
        }
    }

    fn signal<T: DeserializeOwned + Send>(
        &self,
        name: &str,
        most: Option<Duration>,
    ) -> impl Future<Output = Result<Option<T>, HandlerError>> + Send + use<T> {
        let (journal, at) = (self.journal.clone(), self.journal.call(Called::Signal, name));
        async move {
            let at = at?;
            let timeout_seconds = most.map(|time| time.as_secs_f64());
            let wait = WaitFor { timeout_seconds, ..at.wait(Called::Signal) };
            let name = at.name.clone();
            let known = journal.wait(at, wait).await;
            if known.status == RecordedStatus::Failed {
                return Ok(None);
            }
            read(known.value, &format!("the signal {name:?}")).map(Some)
        }
    }
}

impl Journal {
    /// Does a step for the first time, and keeps what it results in.
    async fn first<T, F, R>(&self, at: &Position, run: F) -> Result<T, HandlerError>
    where
        T: Serialize + Send,
        F: FnOnce() -> R + Send,
        R: Future<Output = Result<T, HandlerError>> + Send,
    {
        let running = self.begin();
        let began = Instant::now();
        let value = run().await?;
        let kept = serde_json::to_value(&value).map_err(|error| {
            HandlerError::fatal(format!("what step {:?} results in is no JSON: {error}", at.name))
        })?;
        self.keep(at, kept, began.elapsed()).await?;
        drop(running);
        Ok(value)
    }
}

impl Position {
    fn wait(&self, what: Called) -> WaitFor {
        WaitFor {
            index: self.index,
            what,
            name: self.name.clone(),
            seconds: None,
            until: None,
            timeout_seconds: None,
            approval: None,
            asked_sealed: None,
        }
    }
}

/// What a step resulted in, if it is done.
fn done<T: DeserializeOwned>(at: &Position) -> Result<Option<T>, HandlerError> {
    let known = at.recorded.as_ref().filter(|known| known.status == RecordedStatus::Done);
    let value = known.map(|known| known.value.clone());
    value.map(|value| read(value, &format!("what step {:?} resulted in", at.name))).transpose()
}

fn read<T: DeserializeOwned>(value: Option<Secret<Value>>, what: &str) -> Result<T, HandlerError> {
    let value = value.map(Secret::into_exposed).unwrap_or_default();
    let misfit = |error| HandlerError::fatal(format!("{what} does not fit: {error}"));
    serde_json::from_value(value).map_err(misfit)
}
