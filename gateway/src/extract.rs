//! What a request says: ids in its path, its query, its JSON body. Whatever is wrong is a 4xx.

use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use fleetward_actors::Error;
use fleetward_wire::tasks::INVALID_STATUS;
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use tokio::sync::OwnedSemaphorePermit;

use crate::edge::{Edge, ROOM_BYTES};
use crate::problem::Problem;

/// Most bytes of a body that is too large that are read and thrown away, so that a client that
/// sends first and reads later gets to see the answer.
const DISCARD_MAX: usize = 8 << 20;
/// How long that may take.
const DISCARD_WITHIN: Duration = Duration::from_millis(500);
/// Most rows of one list.
const PAGE_MAX: u32 = 200;
/// Rows of a list that does not say.
const PAGE: u32 = 50;

/// The `{id}` of a path. One that is no id names nothing.
pub(crate) struct PathId<T>(pub(crate) T);

/// The query.
pub(crate) struct Params<T>(pub(crate) T);

/// A body that must be there.
pub(crate) struct Json<T> {
    pub(crate) value: T,
    _room: Room,
}

/// A body that may be empty.
pub(crate) struct MaybeJson<T>(pub(crate) T);

/// Its part of the memory for bodies.
type Room = Option<OwnedSemaphorePermit>;

impl<T: FromStr> FromRequestParts<Edge> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, edge).await;
        let id = path.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or_else(|| Problem::not_found("thing"))
    }
}

impl<T: DeserializeOwned> FromRequestParts<Edge> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Edge) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        // The parser's message may quote the query.
        query.map(|Query(value)| Self(value)).map_err(|_| {
            Problem::bad_request("invalid_query", "a parameter of the query cannot be read")
        })
    }
}

impl<T: DeserializeOwned> FromRequest<Edge> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, edge: &Edge) -> Result<Self, Problem> {
        let (body, room) = read(edge, request).await?;
        if body.is_empty() {
            return Err(Problem::bad_request("invalid_json", "a JSON body is needed"));
        }
        Ok(Self { value: parse(&body)?, _room: room })
    }
}

impl<T: DeserializeOwned + Default> FromRequest<Edge> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, edge: &Edge) -> Result<Self, Problem> {
        let (body, _room) = read(edge, request).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        parse(&body).map(Self)
    }
}

/// How many rows a list has.
pub(crate) fn page(limit: Option<u32>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(PAGE);
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit as usize);
    }
    let detail = format!("limit must be between 1 and {PAGE_MAX}");
    Err(Problem::bad_request("invalid_limit", detail))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // A struct would be read from an array too, by the order of its fields.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        serde_json::from_slice::<IgnoredAny>(body).map_err(|error| not_json(&error))?;
        return Err(Problem::unprocessable("invalid_body", "the body must be a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => wrong_shape(&error),
        Category::Io | Category::Syntax | Category::Eof => not_json(&error),
    })
}

fn not_json(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let detail = format!("the body is not JSON at line {line}, column {column}");
    Problem::bad_request("invalid_json", detail)
}

/// Says what was expected; what was found may be secret.
fn wrong_shape(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    if text.starts_with(INVALID_STATUS) {
        return Problem::unprocessable("invalid_status", INVALID_STATUS);
    }
    let detail = match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("the body has the wrong shape: expected {expected}"),
        None if text.starts_with("missing field") => format!("the body has a {text}"),
        None => "the body has the wrong shape".to_owned(),
    };
    Problem::unprocessable("invalid_body", detail)
}

/// The whole body, and its part of the memory for bodies.
async fn read(edge: &Edge, request: Request) -> Result<(Vec<u8>, Room), Problem> {
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut body = request.into_body();
    if declared.is_some_and(|bytes| bytes > edge.options.max_body_bytes) {
        return Err(too_large(edge, body).await);
    }
    tokio::select! {
        // Most bodies are here with their head: then no timer is set.
        biased;
        read = collect(edge, &mut body) => match read {
            Ok(read) => Ok(read),
            Err(Broken::TooLarge) => Err(too_large(edge, body).await),
            Err(Broken::Other(problem)) => Err(problem),
        },
        () = edge.sleep(edge.options.body_timeout) => {
            let detail = "the body did not arrive in time";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail))
        }
    }
}

enum Broken {
    TooLarge,
    Other(Problem),
}

async fn collect(edge: &Edge, body: &mut Body) -> Result<(Vec<u8>, Room), Broken> {
    let mut whole = Vec::new();
    let mut room: Room = None;
    while let Some(frame) = body.frame().await {
        let cut = || Problem::bad_request("body_cut_short", "the body ended before its end");
        let frame = frame.map_err(|_| Broken::Other(cut()))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if whole.len() + chunk.len() > edge.options.max_body_bytes {
            return Err(Broken::TooLarge);
        }
        take_room(edge, &mut room, whole.len() + chunk.len())?;
        whole.extend_from_slice(&chunk);
    }
    Ok((whole, room))
}

/// Makes `room` large enough for `bytes`.
fn take_room(edge: &Edge, room: &mut Room, bytes: usize) -> Result<(), Broken> {
    let held = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let missing = bytes.div_ceil(ROOM_BYTES).saturating_sub(held);
    if missing == 0 {
        return Ok(());
    }
    let missing = u32::try_from(missing).unwrap_or(u32::MAX);
    let more = edge.body_room.clone().try_acquire_many_owned(missing);
    let more = more.map_err(|_| Broken::Other(Error::Busy.into()))?;
    match room {
        Some(room) => room.merge(more),
        None => *room = Some(more),
    }
    Ok(())
}

async fn too_large(edge: &Edge, mut body: Body) -> Problem {
    let discard = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > DISCARD_MAX {
                break;
            }
        }
    };
    tokio::select! {
        () = discard => {}
        () = edge.sleep(DISCARD_WITHIN) => {}
    }
    let detail = format!("the body has more than {} bytes", edge.options.max_body_bytes);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}
