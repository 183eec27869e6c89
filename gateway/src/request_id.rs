//! The id of a request: the caller's or a fresh one, in the answer, in problems and in every log line of the request.

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

const HEADER: &str = "x-request-id";
/// Longest id that is taken over from a caller.
const MOST: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that is being answered.
pub(crate) fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Gives each request its id and its span, and logs how it ended.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let id = given(&request).unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", %id, method = %request.method(), route);
    let answer = async {
        let mut response = next.run(request).await;
        let status = response.status().as_u16();
        match status {
            500.. => tracing::warn!(status, "answered"),
            400..500 => tracing::info!(status, "answered"),
            _ => tracing::debug!(status, "answered"),
        }
        if let Some(id) = current().and_then(|id| HeaderValue::from_str(&id).ok()) {
            response.headers_mut().insert(HEADER, id);
        }
        response
    };
    CURRENT.scope(id, answer.instrument(span)).await
}

fn given(request: &Request) -> Option<String> {
    let id = request.headers().get(HEADER)?.to_str().ok()?;
    let fits = !id.is_empty() && id.len() <= MOST && id.chars().all(|c| c.is_ascii_graphic());
    fits.then(|| id.to_owned())
}
