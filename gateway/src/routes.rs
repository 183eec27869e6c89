//! All routes in one place, and what each request passes on its way to them.

mod audit;
mod keys;
mod orgs;
mod probes;
mod tasks;
mod tokens;
mod worker_protocol;
mod workers;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

use crate::problem::Failure;
use crate::{Edge, request_id};

pub(crate) fn router(edge: Edge) -> Router {
    let fleet = Router::new()
        .route("/register", post(worker_protocol::register))
        .route("/claim", post(worker_protocol::claim))
        .route("/heartbeat", post(worker_protocol::heartbeat))
        .route("/workers/{id}/heartbeat", post(worker_protocol::heartbeat_of))
        .route("/report", post(worker_protocol::report))
        .route("/tasks/{id}/complete", post(worker_protocol::complete))
        .route("/tasks/{id}/fail", post(worker_protocol::fail))
        .route("/tasks/{id}/release", post(worker_protocol::release))
        .route("/tasks", post(tasks::submit).get(tasks::list))
        .route("/tasks/{id}", get(tasks::get))
        .route("/workers", get(workers::list))
        .route("/workers/{id}", get(workers::get))
        .route("/workers/{id}/approve", post(workers::approve).patch(workers::approve))
        .route("/workers/{id}/reject", post(workers::reject).patch(workers::reject))
        .route("/workers/{id}/revoke", post(workers::revoke).patch(workers::revoke))
        .route("/enrollment-keys", get(keys::list).post(keys::create))
        .route("/enrollment-keys/{id}", axum::routing::delete(keys::revoke))
        .route("/audit", get(audit::list));
    let api = Router::new()
        .nest("/fleet", fleet)
        .route("/orgs", get(orgs::list).post(orgs::create))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{id}", axum::routing::delete(tokens::revoke))
        .route("/system/actors", get(probes::actors));
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::metrics))
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(request_id::layer))
        .with_state(edge)
}

async fn no_such_route() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "no_such_route", "there is no such route")
}

async fn wrong_method() -> Failure {
    let detail = "this route does not take this method";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// A bug of ours: the caller gets an id to report, the log the same id.
fn panicked(_panic: Box<dyn std::any::Any + Send>) -> Response {
    let id = uuid::Uuid::now_v7();
    tracing::error!(%id, "a handler panicked");
    let detail = format!("internal error {id}");
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
}
