//! Every route of the server, and what it leads to.

mod alerts;
mod audit;
mod dead_runs;
mod keys;
mod orgs;
mod payload_keys;
mod policy;
mod probes;
mod remedies;
mod retention;
mod run_diff;
mod run_replay;
mod run_shapes;
mod runs;
mod schedules;
mod signing_keys;
mod suspicions;
mod task_shapes;
mod task_tokens;
mod tasks;
mod tokens;
mod worker_protocol;
mod workers;
mod workflow_lint;
mod workflows;

use std::convert::Infallible;
use std::pin::Pin;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{delete, get, post};
use futures_util::future::Either;
use tower::ServiceExt;

use crate::edge::Edge;
use crate::problem::Problem;
use crate::request_id::{self, Asked};

/// All of them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Routes {
    router: Router,
    edge: Edge,
}

type Handling = fn(Request, Edge) -> Pin<Box<dyn Future<Output = Response> + Send>>;

/// What every task goes through, by POST.
const HOT: [(&str, Handling); 3] = [
    ("/api/v1/fleet/claim", |request, edge| worker_protocol::claim.call(request, edge)),
    ("/api/v1/fleet/report", |request, edge| worker_protocol::report.call(request, edge)),
    ("/api/v1/fleet/tasks", |request, edge| tasks::submit.call(request, edge)),
];

impl Routes {
    pub(crate) fn new(edge: Edge) -> Self {
        Self { router: router(edge.clone()), edge }
    }

    /// Answers one request.
    ///
    /// What every task goes through several times is found by comparing, past the router: that costs a third of what
    /// such a request costs outside of the actors. The router knows these routes too, for other methods. Nothing of
    /// the request is kept here: a parked worker is a request that waits.
    pub(crate) fn answer(
        self,
        mut request: Request,
    ) -> impl Future<Output = Result<Response, Infallible>> + use<> {
        match hot(&request) {
            Some(&(route, handler)) => {
                let Self { edge, .. } = self;
                let asked = Asked::of(&mut request, &edge);
                let run = handler(request, edge.clone());
                Either::Left(async move { Ok(request_id::around(&edge, asked, route, run).await) })
            }
            None => Either::Right(self.router.oneshot(request)),
        }
    }
}

/// A route that does not need the router, and its handler.
fn hot(request: &Request) -> Option<&'static (&'static str, Handling)> {
    let path = request.uri().path();
    HOT.iter().find(|(route, _)| *route == path && request.method() == Method::POST)
}

/// Every route, inside the layer that gives each request an id.
pub(crate) fn router(edge: Edge) -> Router {
    let layer = from_fn_with_state(edge.clone(), request_id::layer);
    let one_schedule = get(schedules::get).put(schedules::put).delete(schedules::delete);
    Router::new()
        .nest("/api/v1/fleet", fleet())
        .route("/api/v1/orgs", get(orgs::list).post(orgs::create))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/api/v1/tokens/{id}", delete(tokens::revoke))
        .route("/api/v1/signing-keys", get(signing_keys::list).post(signing_keys::add))
        .route("/api/v1/signing-keys/{id}/promote", post(signing_keys::promote))
        .route("/api/v1/signing-keys/{id}/retire", post(signing_keys::retire))
        .route("/api/v1/lint", post(workflow_lint::lint))
        .route("/api/v1/workflows", get(workflows::list).post(workflows::apply))
        .route("/api/v1/workflows/{id}", get(workflows::get))
        .route("/api/v1/workflows/{id}/retire", post(workflows::retire))
        .route("/api/v1/dead-letters", get(dead_runs::list))
        .route("/api/v1/dead-letters/groups", get(dead_runs::groups))
        .route("/api/v1/dead-letters/retry", post(dead_runs::retry))
        .route("/api/v1/dead-letters/discard", post(dead_runs::discard))
        .route("/api/v1/runs/{id}/failure", get(dead_runs::get))
        .route("/api/v1/runs", get(runs::list).post(runs::start))
        .route("/api/v1/runs/purge", post(runs::purge))
        .route("/api/v1/runs/{id}", get(runs::get).delete(retention::delete_run))
        .route("/api/v1/runs/{id}/input", get(runs::input))
        .route("/api/v1/runs/{id}/why", get(runs::why))
        .route("/api/v1/runs/{id}/timeline", get(runs::timeline))
        .route("/api/v1/runs/{id}/diff", get(run_diff::diff))
        .route("/api/v1/runs/{id}/replay", get(run_replay::kept).post(run_replay::given))
        .route("/api/v1/runs/{id}/approve", post(runs::approve))
        .route("/api/v1/runs/{id}/reject", post(runs::reject))
        .route("/api/v1/runs/{id}/signals", post(runs::signal))
        .route("/api/v1/runs/{id}/pause", post(runs::pause))
        .route("/api/v1/runs/{id}/resume", post(runs::resume))
        .route("/api/v1/runs/{id}/cancel", post(runs::cancel))
        .route("/api/v1/runs/{id}/retry", post(runs::retry))
        .route("/api/v1/runs/{id}/discard", post(runs::discard))
        .route("/api/v1/runs/{id}/fork", post(runs::fork))
        .route("/api/v1/schedules", get(schedules::list))
        .route("/api/v1/schedules/{id}", one_schedule)
        .route("/api/v1/schedules/{id}/input", get(schedules::input))
        .route("/api/v1/schedules/{id}/pause", post(schedules::pause))
        .route("/api/v1/schedules/{id}/resume", post(schedules::resume))
        .route("/api/v1/schedules/{id}/run", post(schedules::run))
        .route("/api/v1/system/actors", get(probes::actors))
        .route("/api/v1/system/audit", get(audit::list_of_system))
        .route("/api/v1/system/audit/head", get(audit::head_of_system))
        .route("/api/v1/system/audit/key", post(audit::rotate_key))
        .route("/api/v1/system/audit/export", get(audit::export_of_system))
        .route("/healthz", get(probes::health))
        .route("/readyz", get(probes::readiness))
        .route("/metrics", get(probes::metrics))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(layer)
        .with_state(edge)
}

fn fleet() -> Router<Edge> {
    let approve = post(workers::approve).patch(workers::approve);
    let reject = post(workers::reject).patch(workers::reject);
    let revoke = post(workers::revoke).patch(workers::revoke);
    Router::new()
        .route("/register", post(worker_protocol::register))
        .route("/claim", post(worker_protocol::claim))
        .route("/heartbeat", post(worker_protocol::heartbeat))
        .route("/leave", post(worker_protocol::leave))
        .route("/report", post(worker_protocol::report))
        .route("/reports", post(worker_protocol::reports))
        .route("/tasks", get(tasks::list).post(tasks::submit))
        .route("/tasks/batch", post(tasks::submit_many))
        .route("/tasks/{id}", get(tasks::get).delete(retention::delete_task))
        .route("/tasks/{id}/complete", post(worker_protocol::complete))
        .route("/tasks/{id}/fail", post(worker_protocol::fail))
        .route("/tasks/{id}/release", post(worker_protocol::release))
        .route("/tasks/{id}/progress", post(worker_protocol::progress))
        .route("/tasks/{id}/checkpoints", post(worker_protocol::checkpoint))
        .route("/tasks/{id}/checkpoints/read", post(worker_protocol::checkpoints))
        .route("/tasks/{id}/cancel", post(remedies::cancel))
        .route("/tasks/{id}/retry", post(remedies::retry))
        .route("/tasks/{id}/discard", post(remedies::discard))
        .route("/tasks/{id}/why", get(remedies::why))
        .route("/tasks/{id}/history", get(remedies::history))
        .route("/dead-letters", get(remedies::list))
        .route("/dead-letters/groups", get(remedies::groups))
        .route("/dead-letters/retry", post(remedies::retry_many))
        .route("/dead-letters/discard", post(remedies::discard_many))
        .route("/policy", get(policy::get).put(policy::put).patch(policy::patch))
        .route("/retention", get(retention::get).put(retention::put))
        .route("/retention/sweep", post(retention::sweep))
        .route("/models/normalize", get(policy::model))
        .route("/pause", post(policy::pause))
        .route("/resume", post(policy::resume))
        .route("/workers", get(workers::list))
        .route("/workers/{id}", get(workers::get))
        .route("/workers/{id}/approve", approve)
        .route("/workers/{id}/reject", reject)
        .route("/workers/{id}/revoke", revoke)
        .route("/workers/{id}/quarantine", post(workers::quarantine))
        .route("/workers/{id}/unlock", post(workers::unlock))
        .route("/workers/{id}/token", post(task_tokens::issue))
        .route("/workers/{id}/tokens", get(task_tokens::list))
        .route("/task-tokens/revoked", get(task_tokens::revoked))
        .route("/task-tokens/{id}", delete(task_tokens::revoke))
        .route("/jwks.json", get(signing_keys::jwks))
        .route("/workers/{id}/pause", post(workers::pause))
        .route("/workers/{id}/resume", post(workers::resume))
        .route("/workers/{id}/reset-suspicions", post(suspicions::reset))
        .route("/suspicions", get(suspicions::list))
        .route("/alerts", get(alerts::list))
        .route("/alerts/{id}/acknowledge", post(alerts::acknowledge))
        .route("/sinks", get(alerts::sinks).post(alerts::create))
        .route("/sinks/{id}", delete(alerts::remove))
        .route("/sinks/{id}/rotate", post(alerts::rotate))
        .route("/sinks/{id}/test", post(alerts::test))
        .route("/workers/{id}/heartbeat", post(worker_protocol::heartbeat_of))
        .route("/enrollment-keys", get(keys::list).post(keys::create))
        .route("/enrollment-keys/{id}", delete(keys::revoke))
        .route("/payload-keys", get(payload_keys::list).post(payload_keys::add))
        .route("/payload-keys/reencrypt", post(payload_keys::reencrypt))
        .route("/payload-keys/export", post(payload_keys::export))
        .route("/payload-keys/{id}/promote", post(payload_keys::promote))
        .route("/payload-keys/{id}/retire", post(payload_keys::retire))
        .route("/audit", get(audit::list))
        .route("/audit/head", get(audit::head))
        .route("/audit/key", get(audit::key))
        .route("/audit/export", get(audit::export))
        .route("/audit/unsealed", get(audit::unsealed))
}

async fn no_such_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_route", "there is no such route")
}

async fn method_not_allowed() -> Problem {
    let detail = "the route does not know this method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
