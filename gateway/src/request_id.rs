//! The outermost layer: gives every request an id and a span, and every failure a body.
//!
//! It logs method, route, status and time of a request; never its path, query, headers or body,
//! which may hold what a tenant wants to keep. The span around what a request does is there from
//! level debug on: entering one costs as much as parsing a small request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fleetward_actors::Moment;
use fleetward_wire::problem;
use futures_util::FutureExt;
use tracing::Instrument;
use uuid::Uuid;

use crate::edge::Edge;
use crate::problem::Problem;
use crate::source;
use crate::trail::Trail;

/// The header that carries it, both ways.
const HEADER: &str = "x-request-id";
/// Longest id that is taken from a client.
const LONGEST: usize = 128;

/// What is said of a request once it is answered.
pub(crate) struct Asked {
    trail: Arc<Trail>,
    method: Method,
    began: Moment,
}

impl Asked {
    /// Gives the request its trail.
    pub(crate) fn of(request: &mut Request, edge: &Edge) -> Self {
        let id = given(request.headers()).unwrap_or_else(|| Uuid::now_v7().to_string());
        let trail = Trail::new(id, source::of(request, &edge.options.trusted_proxies));
        request.extensions_mut().insert(Arc::clone(&trail));
        Self { trail, method: request.method().clone(), began: edge.plane.clock().now() }
    }
}

/// Runs one request that the router found a route for, or none.
pub(crate) async fn layer(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let asked = Asked::of(&mut request, &edge);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    around(&edge, asked, route, next.run(request)).await
}

/// Answers one request by `run`.
pub(crate) async fn around(
    edge: &Edge,
    asked: Asked,
    route: &str,
    run: impl Future<Output = Response>,
) -> Response {
    let Asked { trail, method, began } = asked;
    let id = trail.id();
    let span = tracing::debug_span!("request", request_id = %id, %method, route);
    let mut response = caught(run).instrument(span).await;
    let problem = described(&mut response);
    let code = problem.as_ref().map(|problem| problem.code);
    if let Some(problem) = problem {
        if problem.status.is_client_error() {
            edge.plane.refused(trail.cell(), problem.code, trail.source());
        }
        write(&mut response, problem.body(id));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(HEADER, id);
    }
    let latency_ms = (edge.plane.clock().now() - began).as_secs_f64() * 1e3;
    let status = response.status();
    Done { id, method: &method, route, status, latency_ms, code }.tell();
    response
}

/// A panic is a bug of ours: the client gets an id, the log the rest.
async fn caught(run: impl Future<Output = Response>) -> Response {
    match AssertUnwindSafe(run).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            let id = Uuid::now_v7().to_string();
            tracing::error!(%id, "a handler panicked");
            Problem::internal(&id).into_response()
        }
    }
}

/// The client's own id, if it can be put into logs and headers as it is.
fn given(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(HEADER)?.to_str().ok()?;
    let printable = id.bytes().all(|byte| byte.is_ascii_graphic());
    (printable && (1..=LONGEST).contains(&id.len())).then(|| id.to_owned())
}

/// What went wrong, if something did; whoever answered without saying so is spoken for.
fn described(response: &mut Response) -> Option<Problem> {
    let told = response.extensions_mut().remove::<Problem>();
    told.or_else(|| match response.status() {
        status if status.is_client_error() => {
            Some(Problem::new(status, "bad_request", "the request cannot be served"))
        }
        status if status.is_server_error() => Some(Problem::internal("without an id")),
        _ => None,
    })
}

fn write(response: &mut Response, body: Vec<u8>) {
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    *response.body_mut() = Body::from(body);
}

struct Done<'a> {
    id: &'a str,
    method: &'a Method,
    route: &'a str,
    status: StatusCode,
    latency_ms: f64,
    code: Option<&'static str>,
}

impl Done<'_> {
    fn tell(&self) {
        let Self { id, method, route, status, latency_ms, .. } = *self;
        let status = status.as_u16();
        let code = self.code.unwrap_or_default();
        match status {
            500 => {
                tracing::warn!(request_id = id, %method, route, status, latency_ms, code, "request failed");
            }
            400.. => {
                tracing::info!(request_id = id, %method, route, status, latency_ms, code, "request refused");
            }
            _ => {
                tracing::debug!(request_id = id, %method, route, status, latency_ms, "request served")
            }
        }
        // An unknown method is a client's word: it must not become a label.
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.to_string()),
        ];
        metrics::counter!("fleetward_http_requests_total", &labels).increment(1);
    }
}
