//! Bodies, ids and queries, each with a problem of its own when it makes no sense.

use std::str::FromStr;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::Edge;
use crate::problem::{Answer, Failure};

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// A JSON body that may be left out.
pub(crate) struct BodyOrNone<T>(pub(crate) T);

/// A query string.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Edge> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, edge: &Edge) -> Answer<Self> {
        parse(&read(request, edge).await?).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<Edge> for BodyOrNone<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, edge: &Edge) -> Answer<Self> {
        let bytes = read(request, edge).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        parse(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Edge> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Answer<Self> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, edge).await;
        let query = query.map_err(|error: QueryRejection| {
            Failure::invalid("invalid_query", error.body_text())
        })?;
        Ok(Self(query.0))
    }
}

/// An id from a path. One that is no id is answered like one that nobody has.
pub(crate) fn id<T: FromStr>(what: &str, text: &str) -> Answer<T> {
    text.parse().map_err(|_| Failure::not_found(what))
}

async fn read(request: Request, edge: &Edge) -> Answer<Bytes> {
    let too_large = || {
        let detail = format!("the body is larger than {} bytes", edge.max_body_bytes);
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    };
    let announced = request.headers().get("content-length");
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > edge.max_body_bytes as u64) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), edge.max_body_bytes);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Failure::invalid("incomplete_body", "the body ended before it was whole")),
    }
}

fn parse<T: DeserializeOwned>(bytes: &Bytes) -> Answer<T> {
    if bytes.is_empty() {
        return Err(Failure::invalid("invalid_json", "a JSON body is needed"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        // Where it went wrong, never what stood there: it may be a secret.
        let place = format!("line {} column {}", error.line(), error.column());
        if error.is_data() {
            let detail = format!("the body is not what this route takes, at {place}");
            Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail)
        } else {
            Failure::invalid("invalid_json", format!("the body is not JSON, at {place}"))
        }
    })
}
