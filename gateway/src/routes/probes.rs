//! Whether the server lives, takes work, and how it feels inside.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use fleetward_actors::system::org::Role;
use fleetward_wire::health::{Check, Health, Readiness};
use serde_json::{Value, json};

use crate::Edge;
use crate::auth::Known;
use crate::problem::{Answer, Failure};

pub(super) async fn healthz() -> Json<Health> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(Health { status: "ok".to_owned(), version })
}

pub(super) async fn readyz(State(edge): State<Edge>) -> Answer<Json<Readiness>> {
    if edge.draining.is_cancelled() {
        let detail = "the server is draining";
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail));
    }
    edge.plane.readiness().await?;
    let ok = |name: &str| Check { name: name.to_owned(), ok: true, detail: None };
    Ok(Json(Readiness { ready: true, checks: vec![ok("store"), ok("directory")] }))
}

pub(super) async fn metrics(State(edge): State<Edge>) -> impl IntoResponse {
    let text = crate::metrics::render(&edge.plane);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Every actor with its state, queue and restarts. Names of all tenants' cells are in it, so it is for the system only.
pub(super) async fn actors(State(edge): State<Edge>, Known(caller): Known) -> Answer<Json<Value>> {
    if caller.role != Role::System {
        let detail = "only an administrator of the system may see the actors";
        return Err(Failure::new(StatusCode::FORBIDDEN, "system_only", detail));
    }
    Ok(Json(json!({ "actors": edge.plane.observe() })))
}
