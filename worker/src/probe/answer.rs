//! What an endpoint says of its models. Bounded: it may be anybody's.

use fleetward_wire::workers::{ENDPOINT_MODELS_MAX, EndpointKind, MODEL_NAME_MAX};
use reqwest::Response;
use serde::Deserialize;

use crate::silence;

/// A list of models is some kilobytes; a hosted one with all their properties may have a megabyte.
const LARGEST: usize = 4 << 20;
/// Longest reason, in characters.
const REASON_MAX: usize = 200;

/// As Ollama answers `/api/tags`.
#[derive(Deserialize)]
struct Tags {
    models: Vec<Tag>,
}

/// As servers of OpenAI's interface answer `/v1/models`.
#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// The names, sorted; or in a few words why there are none.
pub(super) async fn models(
    kind: EndpointKind,
    sent: reqwest::Result<Response>,
) -> Result<Vec<String>, String> {
    let mut response = sent.map_err(|error| lost(&error))?;
    if !response.status().is_success() {
        return Err(format!("HTTP {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
        if body.len() + chunk.len() > LARGEST {
            return Err(format!("its answer has more than {LARGEST} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    names(kind, &body)
}

fn names(kind: EndpointKind, body: &[u8]) -> Result<Vec<String>, String> {
    let read: Result<Vec<String>, serde_json::Error> = match kind {
        EndpointKind::Ollama => serde_json::from_slice(body)
            .map(|Tags { models }| models.into_iter().map(|tag| tag.name).collect()),
        EndpointKind::OpenAi | EndpointKind::Other => serde_json::from_slice(body)
            .map(|Models { data }| data.into_iter().map(|model| model.id).collect()),
    };
    // The parser's message may quote what it read.
    let mut names = read.map_err(|_| "its answer is no list of models".to_owned())?;
    // What could not be declared cannot be asked for either.
    let fits = |name: &String| {
        !name.trim().is_empty()
            && name.chars().count() <= MODEL_NAME_MAX
            && !name.chars().any(char::is_control)
    };
    names.retain(fits);
    names.sort_unstable();
    names.dedup();
    if names.len() > ENDPOINT_MODELS_MAX {
        return Err(format!("it has more than {ENDPOINT_MODELS_MAX} models"));
    }
    Ok(names)
}

fn lost(error: &reqwest::Error) -> String {
    silence::why(error).chars().filter(|c| !c.is_control()).take(REASON_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_are_read() {
        let tags = br#"{"models": [{"name": "llama3:8b", "size": 1}, {"name": "b"}]}"#;
        let data = br#"{"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}"#;
        assert_eq!(names(EndpointKind::Ollama, tags).unwrap(), ["b", "llama3:8b"]);
        assert_eq!(names(EndpointKind::OpenAi, data).unwrap(), ["gpt-4o"]);
        assert!(names(EndpointKind::OpenAi, tags).is_err(), "it is of the other kind");
        assert!(names(EndpointKind::OpenAi, b"<html>").is_err());
    }

    #[test]
    fn names_that_nobody_could_declare_are_left_out() {
        let long = "x".repeat(MODEL_NAME_MAX + 1);
        let data = serde_json::json!({"data": [{"id": "a"}, {"id": "a"}, {"id": ""}, {"id": "b\n"}, {"id": long}]});
        assert_eq!(names(EndpointKind::OpenAi, data.to_string().as_bytes()).unwrap(), ["a"]);
    }
}
