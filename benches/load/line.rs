//! One keep-alive connection to the server: a request at a time, without a pool and without tasks.
//!
//! Load, server and database share the machine, so a request has to cost the load as little as it
//! can: the connection is driven by whoever waits for the answer.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why there is no answer that helps.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Perhaps done: nobody said.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// Not done, or not known to be: to be repeated.
    #[error("the server is busy: {0}")]
    Busy(String),
    /// Done something wrong.
    #[error("the server refused: {status} {body}")]
    Refused { status: u16, body: String },
}

/// A connection that is opened when it is needed. An exchange that is abandoned closes it.
pub(crate) struct Line {
    address: SocketAddr,
    open: Option<Open>,
}

/// What reads and writes for the requests of one line.
type Driver = Connection<TokioIo<TcpStream>, Full<Bytes>>;

struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// None once it has ended.
    connection: Option<Pin<Box<Driver>>>,
}

impl Line {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, open: None }
    }

    /// Where it leads.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes it; the next request opens another.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    /// Sends a request and waits for its whole answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Trouble> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::connect(self.address).await.map_err(lost)?,
        };
        let answer = open.exchange(request).await.map_err(lost)?;
        // Kept only after a whole exchange.
        self.open = Some(open);
        Ok(answer)
    }

    /// The same, where anything but success is trouble.
    pub(crate) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Trouble> {
        let (status, body) = self.send(request).await?;
        if status.is_success() {
            return Ok((status, body));
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Trouble::Busy(body),
            status => Trouble::Refused { status: status.as_u16(), body },
        })
    }
}

impl Open {
    async fn connect(address: SocketAddr) -> Result<Self, BoxError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: Some(Box::pin(connection)) })
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), hyper::Error> {
        let Self { sender, connection } = self;
        let mut exchange = pin!(async {
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            Ok((status, answer.into_body().collect().await?.to_bytes()))
        });
        std::future::poll_fn(move |cx| {
            loop {
                if let Poll::Ready(answer) = exchange.as_mut().poll(cx) {
                    return Poll::Ready(answer);
                }
                match connection.as_mut().map(|connection| connection.as_mut().poll(cx)) {
                    // Dropped, it tells also a request that it never took.
                    Some(Poll::Ready(_)) => *connection = None,
                    Some(Poll::Pending) | None => return Poll::Pending,
                }
            }
        })
        .await
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn lost(error: impl Into<BoxError>) -> Trouble {
    let error = error.into();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Trouble::Lost(text)
}
