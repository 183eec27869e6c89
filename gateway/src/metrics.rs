//! Prometheus metrics: what the actors count, and what is read off the tree when somebody asks.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use fleetward_actors::ControlPlane;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Bounds of the histograms of seconds.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Bounds of the histogram of events in a write.
const EVENTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder of this process; the first call does, later ones find it installed.
pub fn install() {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(matcher("_seconds"), SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(matcher("_events"), EVENTS));
        match builder.and_then(PrometheusBuilder::install_recorder) {
            Ok(handle) => Some(handle),
            Err(error) => {
                tracing::warn!(%error, "metrics are not recorded: another recorder is installed");
                None
            }
        }
    });
}

fn matcher(suffix: &str) -> metrics_exporter_prometheus::Matcher {
    metrics_exporter_prometheus::Matcher::Suffix(suffix.to_owned())
}

/// Everything as Prometheus text.
pub(crate) fn render(plane: &ControlPlane) -> String {
    install();
    sample(plane);
    let handle = RECORDER.get().and_then(Option::as_ref);
    handle.map(PrometheusHandle::render).unwrap_or_default()
}

/// Reads the tree: waiting messages, their age and restarts, by class of actor.
fn sample(plane: &ControlPlane) {
    #[derive(Default)]
    struct Class {
        waiting: usize,
        oldest: f64,
        restarts: u64,
    }
    let mut classes: BTreeMap<String, Class> = BTreeMap::new();
    for unit in plane.observe() {
        let class = classes.entry(class_of(&unit.path)).or_default();
        class.waiting += unit.waiting;
        class.oldest = class.oldest.max(unit.oldest.map_or(0.0, |age| age.as_secs_f64()));
        class.restarts += unit.restarts;
    }
    for (name, class) in classes {
        metrics::gauge!("fleetward_messages_waiting", "actor" => name.clone())
            .set(class.waiting as f64);
        metrics::gauge!("fleetward_messages_oldest_seconds", "actor" => name.clone())
            .set(class.oldest);
        metrics::gauge!("fleetward_restarts", "actor" => name).set(class.restarts as f64);
    }
    let permits = plane.permits();
    metrics::gauge!("fleetward_permits_in_use").set(permits.count as f64);
    metrics::gauge!("fleetward_permit_bytes_in_use").set(permits.bytes as f64);
}

/// The class of an actor: keys of families are left out, so that tenants and workers make no series of their own.
fn class_of(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    for at in 1..parts.len() {
        match parts[at - 1] {
            "cells" => parts[at] = "cell",
            "connections" => parts[at] = "connection",
            _ => {}
        }
    }
    parts.last().copied().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_families_are_no_classes() {
        assert_eq!(class_of("system/cells/7/dispatcher"), "dispatcher");
        assert_eq!(class_of("system/cells/7"), "cell");
        assert_eq!(class_of("system/cells/7/connections/0190"), "connection");
        assert_eq!(class_of("system"), "system");
    }
}
