//! A provider of models that answers what it is told to, in the words of each interface, and writes down what it was asked.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Router, body};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What comes for one request.
#[derive(Clone, Default)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    chunks: Vec<String>,
    ending: Ending,
}

#[derive(Clone, Copy, Default)]
enum Ending {
    #[default]
    Whole,
    /// The connection breaks.
    Broken,
    /// Nothing more comes, and the connection stays.
    Silent,
}

impl Reply {
    /// An answer in pieces, as events of a stream.
    pub(super) fn stream(content_type: &str, events: Vec<String>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status: 200, headers, chunks: events, ending: Ending::Whole }
    }

    /// An error as JSON.
    pub(super) fn error(status: u16, message: &str) -> Self {
        let body = json!({"error": {"message": message, "type": "error"}}).to_string();
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, chunks: vec![body], ending: Ending::Whole }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Only the first events, then the connection breaks.
    pub(super) fn broken_after(mut self, events: usize) -> Self {
        self.chunks.truncate(events);
        self.ending = Ending::Broken;
        self
    }

    /// Only the first events, then the body ends as if it were whole.
    pub(super) fn cut_after(mut self, events: usize) -> Self {
        self.chunks.truncate(events);
        self
    }

    /// Only the first events, then nothing.
    pub(super) fn silent_after(mut self, events: usize) -> Self {
        self.chunks.truncate(events);
        self.ending = Ending::Silent;
        self
    }
}

/// What was asked.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: Value,
}

#[derive(Clone)]
pub(super) struct Provider {
    pub(super) base: String,
    state: Arc<Mutex<Script>>,
    /// How many requests came.
    came: watch::Sender<usize>,
    /// How many answers nobody reads any more, or all of which were read.
    over: watch::Sender<usize>,
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    asked: Vec<Asked>,
}

impl Provider {
    /// Listens, and gives these replies in turn.
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let script = Script { replies: replies.into_iter().collect(), asked: Vec::new() };
        let (came, over) = (watch::Sender::new(0), watch::Sender::new(0));
        let provider = Self { base, state: Arc::new(Mutex::new(script)), came, over };
        let router = Router::new().fallback(answer).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Resolves when there was a request.
    pub(super) async fn was_asked(&self) {
        self.came.subscribe().wait_for(|came| *came > 0).await.unwrap();
    }

    /// Resolves when nobody reads the first answer any more.
    pub(super) async fn was_left(&self) {
        self.over.subscribe().wait_for(|over| *over > 0).await.unwrap();
    }
}

async fn answer(State(provider): State<Provider>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = body::to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let asked = Asked { path: parts.uri.path().to_owned(), headers: parts.headers, body };
    let reply = {
        let mut state = provider.state.lock().unwrap();
        state.asked.push(asked);
        state.replies.pop_front().expect("another request than the script has")
    };
    provider.came.send_modify(|came| *came += 1);
    let mut response = Response::builder().status(StatusCode::from_u16(reply.status).unwrap());
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let chunks = stream::iter(reply.chunks).map(|chunk| Ok(Bytes::from(chunk)));
    let end: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>> = match reply.ending {
        Ending::Whole => Box::pin(stream::empty()),
        Ending::Broken => Box::pin(stream::iter([Err(std::io::ErrorKind::ConnectionReset.into())])),
        Ending::Silent => Box::pin(stream::pending()),
    };
    let body = Watched { inner: Box::pin(chunks.chain(end)), over: provider.over };
    response.body(Body::from_stream(body)).unwrap()
}

/// A body that tells when it is dropped.
struct Watched {
    inner: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>,
    over: watch::Sender<usize>,
}

impl Stream for Watched {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(cx)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.over.send_modify(|over| *over += 1);
    }
}

/// A text as OpenAI's interface streams it: a piece an event, why it ended, 5 tokens in and 2 out.
pub(super) fn openai(pieces: &[&str], finish: &str) -> Reply {
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})
    };
    let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    events.extend(pieces.iter().map(|piece| chunk(json!({"content": piece}), Value::Null)));
    events.push(chunk(json!({}), finish.into()));
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7});
    events.push(json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage}));
    let mut events: Vec<_> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    events.push("data: [DONE]\n\n".to_owned());
    Reply::stream("text/event-stream", events)
}

/// The same as Anthropic's does.
pub(super) fn anthropic(pieces: &[&str], finish: &str) -> Reply {
    let usage = json!({"input_tokens": 5, "output_tokens": 1});
    let message = json!({"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m", "stop_reason": null, "stop_sequence": null, "usage": usage});
    let mut events = vec![
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    ];
    events.extend(pieces.iter().map(|piece| {
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})
    }));
    events.push(json!({"type": "content_block_stop", "index": 0}));
    let delta = json!({"stop_reason": finish, "stop_sequence": null});
    events.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}}));
    events.push(json!({"type": "message_stop"}));
    let event =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    Reply::stream("text/event-stream", events.iter().map(event).collect())
}

/// The same as Ollama's does.
pub(super) fn ollama(pieces: &[&str], finish: &str) -> Reply {
    let line = |content: &str| json!({"model": "m", "created_at": "2026-01-02T03:04:05Z", "message": {"role": "assistant", "content": content}, "done": false});
    let mut lines: Vec<_> = pieces.iter().map(|piece| line(piece)).collect();
    let mut last = line("");
    last["done"] = true.into();
    last["done_reason"] = finish.into();
    last["prompt_eval_count"] = 5.into();
    last["eval_count"] = 2.into();
    lines.push(last);
    let lines = lines.iter().map(|line| format!("{line}\n")).collect();
    Reply::stream("application/x-ndjson", lines)
}
