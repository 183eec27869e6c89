//! Whether the server lives, whether it is ready, what it counts, and what its actors do.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use fleetward_wire::health::{Check, Health, Readiness};
use serde_json::{Value, json};

use crate::auth::AskingSystem;
use crate::edge::Edge;
use crate::metrics;
use crate::problem::Problem;

/// The process runs.
pub(super) async fn health() -> Json<Health> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(Health { status: "ok".to_owned(), version })
}

/// The server can take work.
pub(super) async fn readiness(State(edge): State<Edge>) -> Result<Json<Readiness>, Problem> {
    if edge.draining.is_cancelled() {
        let detail = "the server drains; ask another one";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail));
    }
    edge.plane.readiness().await?;
    let passed = |name: &str| Check { name: name.to_owned(), ok: true, detail: None };
    let mut checks = Vec::from(["journal", "store", "directory"].map(passed));
    checks.push(cells(edge.plane.halted().len()));
    Ok(Json(Readiness { ready: true, checks }))
}

/// An organisation that is down keeps the others from nothing. Which one is not said to everybody.
fn cells(halted: usize) -> Check {
    let detail = (halted > 0).then(|| format!("organisations that are down: {halted}"));
    Check { name: "cells".to_owned(), ok: halted == 0, detail }
}

/// Prometheus' text format.
pub(super) async fn metrics(State(edge): State<Edge>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render(&edge))
}

/// Every actor with its state, queue and restarts: for administrators of the system.
pub(super) async fn actors(
    State(edge): State<Edge>,
    _: AskingSystem,
) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "actors": edge.plane.observe() })))
}
