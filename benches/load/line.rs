//! One keep-alive connection to the server: a request at a time, without a pool and without tasks.
//!
//! Load, server and database share the machine, so a request has to cost the load as little as it
//! can: what every request of a line says is put together once, a request is one write, and an
//! answer is parsed where it was read to.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Headers that an answer may have.
const HEADERS: usize = 32;
/// Room for what most answers have.
const ROOM: usize = 1 << 10;

/// Why there is no answer that helps.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Perhaps done: nobody said.
    #[error("it is not known whether it is done: {0}")]
    Lost(#[from] io::Error),
    /// Not done: to be repeated.
    #[error("the server is busy: {0}")]
    Busy(String),
    /// Done something wrong.
    #[error("the server refused: {status} {body}")]
    Refused { status: u16, body: String },
}

/// A connection that is opened when it is needed. An exchange that is abandoned closes it.
pub(crate) struct Line {
    address: SocketAddr,
    /// What every request says after its first line.
    headers: String,
    open: Option<TcpStream>,
}

impl Line {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let headers = format!("host: {address}\r\ncontent-type: application/json\r\n");
        Self { address, headers, open: None }
    }

    /// Sends this header with every request.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        write!(self.headers, "{name}: {value}\r\n").expect("a string takes everything");
        self
    }

    /// Sends this header from now on, instead of one of the same name.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let kept = self.headers.split_inclusive("\r\n").filter(|line| {
            let known = line.split_once(':').map(|(known, _)| known);
            known != Some(name)
        });
        self.headers = kept.collect();
        write!(self.headers, "{name}: {value}\r\n").expect("a string takes everything");
    }

    /// Closes it; the next request opens another.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    /// Posts a body and waits for the whole answer.
    pub(crate) async fn send(&mut self, path: &str, body: &[u8]) -> io::Result<(u16, Bytes)> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        let (headers, length) = (&self.headers, body.len());
        let mut request =
            format!("POST {path} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n")
                .into_bytes();
        request.extend_from_slice(body);
        stream.write_all(&request).await?;
        drop(request);
        let answer = answer(&mut stream).await?;
        // Kept only after a whole exchange.
        self.open = Some(stream);
        Ok(answer)
    }

    /// The same, where anything but success is trouble.
    pub(crate) async fn ask(&mut self, path: &str, body: &[u8]) -> Result<(u16, Bytes), Trouble> {
        let (status, body) = self.send(path, body).await?;
        if (200..300).contains(&status) {
            return Ok((status, body));
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(match status {
            503 if is_unknown(&body) => Trouble::Lost(io::Error::other(body)),
            429 | 503 => Trouble::Busy(body),
            status => Trouble::Refused { status, body },
        })
    }
}

/// Whether a problem says that what was asked for is perhaps done.
pub(crate) fn is_unknown(problem: &str) -> bool {
    problem.contains("\"outcome_unknown\"")
}

/// Reads one answer: its status and its body.
async fn answer(stream: &mut TcpStream) -> io::Result<(u16, Bytes)> {
    // A parked worker needs no buffer.
    stream.readable().await?;
    let mut read = BytesMut::with_capacity(ROOM);
    let (status, head, body) = loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(parsed) = parsed(&read)? {
            break parsed;
        }
    };
    while read.len() < head + body {
        read.reserve(head + body - read.len());
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((status, read.split_off(head).freeze()))
}

/// Status, and lengths of head and body, once the whole head is there.
fn parsed(read: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let head = match answer.parse(read).map_err(io::Error::other)? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let status = answer.code.unwrap_or_default();
    let length = answer.headers.iter().find(|is| is.name.eq_ignore_ascii_case("content-length"));
    let body = match length {
        Some(length) => {
            let length = std::str::from_utf8(length.value).ok().and_then(|text| text.parse().ok());
            length.ok_or_else(|| io::Error::other("a length that is none"))?
        }
        None if status == 204 => 0,
        None => return Err(io::Error::other("an answer that does not say its length")),
    };
    Ok(Some((status, head, body)))
}
