//! The alert that an organisation is down, on its way to the organisation's sinks. Nobody of the organisation can take it
//! there, nor remember who has it: this errand does, as long as the warden and the server live.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::Timer;
use fleetward_store::{CellId, Position};
use futures_util::future::BoxFuture;

use crate::config::Config;
use crate::fleet::alert::{Alert, Severity};
use crate::fleet::alerts::notifier::{Notifier, Told};
use crate::id::{AlertId, OrgId, SinkId};
use crate::plane::SYSTEM_CELL;

/// One alert, and who has it.
pub(super) struct Errand {
    alert: Alert,
    told: BTreeSet<SinkId>,
    failures: u32,
    /// Holds the next attempt back.
    _pause: Option<Timer>,
}

impl Errand {
    /// About a halted cell and its organisation, of which the record of the system speaks at this position.
    pub(super) fn new(
        (cell, org): (CellId, Option<OrgId>),
        at: Position,
        why: &str,
        now: i64,
    ) -> Self {
        metrics::counter!("fleetward_alerts_total", "severity" => Severity::Critical.as_str())
            .increment(1);
        let alert = Alert {
            id: AlertId::of(SYSTEM_CELL, at),
            about: "cell.halted".to_owned(),
            position: at,
            severity: Severity::Critical,
            subject_kind: "organisation".to_owned(),
            subject: org.map_or_else(|| format!("cell {}", cell.0), |org| org.to_string()),
            why: why.to_owned(),
            raised_at: now,
            acknowledged_at: None,
            acknowledged_by: None,
            note: None,
            created: at,
            updated: at,
        };
        Self { alert, told: BTreeSet::new(), failures: 0, _pause: None }
    }

    pub(super) fn alert(&self) -> AlertId {
        self.alert.id
    }

    /// One attempt, at all sinks that do not have it.
    pub(super) fn begin(
        &mut self,
        notifier: &Arc<Notifier>,
        cell: CellId,
    ) -> (AlertId, BoxFuture<'static, Result<Vec<Told>, String>>) {
        let told = notifier.tell_all(cell, self.alert.clone(), self.told.clone());
        (self.alert.id, told)
    }

    /// An attempt ended: how long to wait for the next one, if there is one.
    pub(super) fn ended(
        &mut self,
        outcome: Result<Vec<Told>, String>,
        config: &Config,
        now: i64,
    ) -> Option<Duration> {
        let mut failed = Vec::new();
        match outcome {
            Ok(told) => {
                for (sink, result) in told {
                    match result {
                        Ok(()) => drop(self.told.insert(sink)),
                        Err(error) => failed.push(format!("sink {sink}: {error}")),
                    }
                }
            }
            Err(error) => failed.push(error),
        }
        if failed.is_empty() {
            return None;
        }
        let alert = self.alert.id;
        tracing::warn!(%alert, error = failed.join("; "), "an alert was not delivered");
        let age = u64::try_from(now.saturating_sub(self.alert.raised_at)).unwrap_or(0);
        let pause = config.notify_backoff.delay(self.failures, &mut rand::rng());
        self.failures = self.failures.saturating_add(1);
        (Duration::from_micros(age) < config.notify_for).then_some(pause)
    }

    /// Until the next attempt.
    pub(super) fn rests(&mut self, pause: Timer) {
        self._pause = Some(pause);
    }
}
