//! Figures for Prometheus: what the actors counted, and what is true when somebody looks.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

use fleetward_actors::{ControlPlane, LifeState};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::edge::Edge;

/// Seconds: from one commit on a fast disk to the longest poll.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];
/// Events in one write.
const EVENTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0, 1024.0, 4096.0];
/// Samples of histograms pile up until somebody folds them, whether or not anybody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Renders what was counted. Cheap to clone.
#[derive(Clone)]
pub struct Handle(PrometheusHandle);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("metrics::Handle")
    }
}

impl Handle {
    /// Everything that was counted in this process, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// Makes this process count. Safe to call more than once; a recorder that the program installed
/// before keeps its place, and then there is nothing here to render.
pub fn install() -> Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_events".to_owned()), &EVENTS)
            })
            .expect("the buckets are not empty")
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics was installed before");
        }
        Handle(handle)
    });
    handle.clone()
}

/// Folds what piles up, for ever.
pub(crate) async fn upkeep(edge: &Edge) {
    loop {
        edge.sleep(UPKEEP_EVERY).await;
        edge.metrics.0.run_upkeep();
    }
}

/// What was counted, and how things stand now.
pub(crate) fn render(edge: &Edge) -> String {
    let mut text = edge.metrics.render();
    let usage = edge.plane.permits();
    let threads = tokio::runtime::Handle::current().metrics().num_workers();
    let gauges = [
        ("fleetward_threads", "Threads that run the server.", threads),
        ("fleetward_permits_in_use", "Commands in flight.", usage.count),
        ("fleetward_permit_bytes_in_use", "Bytes of commands in flight.", usage.bytes),
        ("fleetward_connections_open", "Open client connections.", edge.open_connections()),
    ];
    for (name, help, value) in gauges {
        head(&mut text, name, help);
        line(&mut text, format_args!("{name} {value}"));
    }
    mailboxes(&mut text, &edge.plane);
    text
}

#[derive(Default)]
struct Mailboxes {
    waiting: usize,
    oldest: Duration,
    restarts: u64,
    halted: usize,
}

fn mailboxes(text: &mut String, plane: &ControlPlane) {
    let mut classes = BTreeMap::<String, Mailboxes>::new();
    for unit in plane.observe() {
        let class = classes.entry(class(&unit.path).to_owned()).or_default();
        class.waiting += unit.waiting;
        class.oldest = class.oldest.max(unit.oldest.unwrap_or_default());
        class.restarts += unit.restarts;
        class.halted += usize::from(matches!(unit.state, LifeState::Halted { .. }));
    }
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&Mailboxes) -> f64| {
        head(text, name, help);
        for (class, of) in &classes {
            line(text, format_args!("{name}{{actor=\"{class}\"}} {}", value(of)));
        }
    };
    let (waiting, oldest) = ("fleetward_messages_waiting", "fleetward_messages_oldest_seconds");
    gauge(waiting, "Messages in mailboxes.", &|of| of.waiting as f64);
    gauge(oldest, "Age of the oldest message.", &|of| of.oldest.as_secs_f64());
    let restarts = "fleetward_restarts";
    gauge(restarts, "Restarts of the actors that there are now.", &|of| of.restarts as f64);
    let halted = "fleetward_halted";
    gauge(halted, "Those that stay down; a cell is an organisation.", &|of| of.halted as f64);
}

/// What an actor is called, without the keys of families: those must not become labels.
fn class(path: &str) -> &str {
    let mut parts = path.rsplit('/');
    let last = parts.next().unwrap_or(path);
    match parts.next() {
        Some("cells") => "cell",
        Some("connections") => "connection",
        _ => last,
    }
}

fn head(text: &mut String, name: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} gauge"));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Cannot fail: a string takes everything.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_families_are_no_classes() {
        let cases = [
            ("system", "system"),
            ("system/journal", "journal"),
            ("system/cells", "cells"),
            ("system/cells/3", "cell"),
            ("system/cells/3/core/dispatcher", "dispatcher"),
            ("system/cells/3/connections/0190", "connection"),
        ];
        for (path, expected) in cases {
            assert_eq!(class(path), expected);
        }
    }

    #[test]
    fn installing_twice_is_installing_once() {
        install();
        let handle = install();
        metrics::counter!("fleetward_test_total").increment(2);

        assert!(handle.render().contains("fleetward_test_total"));
    }
}
