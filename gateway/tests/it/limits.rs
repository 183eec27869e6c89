//! The limits of the edge, and that it goes on behind them.

use std::time::Duration;

use fleetward_gateway::GatewayOptions;
use fleetward_runtime::Clock;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, Setup, with};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
const LAST_HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// With time that passes: these limits are times, or end by one.
fn limited(options: GatewayOptions) -> Setup {
    Setup { options, clock: Some(Clock::real()), ..Setup::default() }
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// Everything the server says until it closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn clients_that_send_no_head_are_closed_and_those_at_rest_are_not() {
    let header_timeout = Duration::from_millis(100);
    with(limited(GatewayOptions { header_timeout, ..Default::default() }), async |server| {
        let mut resting = connect(server).await;
        resting.write_all(HEALTH).await.unwrap();
        let mut answer = [0; 15];
        resting.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        let silent = connect(server).await;
        let mut slow = connect(server).await;
        slow.write_all(b"PR").await.unwrap();
        let mut begun = connect(server).await;
        begun.write_all(HEALTH).await.unwrap();
        begun.read_exact(&mut answer).await.unwrap();
        begun.write_all(b"GET /heal").await.unwrap();

        assert_eq!(rest(silent).await, "");
        assert_eq!(rest(slow).await, "");
        assert_eq!(rest(begun).await.matches("HTTP/1.1").count(), 0);
        // It rested for longer than a head may take, and is served again.
        resting.write_all(LAST_HEALTH).await.unwrap();
        assert_eq!(rest(resting).await.matches("HTTP/1.1 200 OK").count(), 1);
    });
}

#[test]
fn connection_at_rest_is_closed_in_the_end() {
    let idle_timeout = Duration::from_millis(50);
    with(limited(GatewayOptions { idle_timeout, ..Default::default() }), async |server| {
        let mut stream = connect(server).await;
        stream.write_all(HEALTH).await.unwrap();

        assert!(rest(stream).await.starts_with("HTTP/1.1 200 OK"));
    });
}

#[test]
fn more_connections_than_allowed_wait_for_their_turn() {
    with(limited(GatewayOptions { max_connections: 2, ..Default::default() }), async |server| {
        let first = connect(server).await;
        let mut second = connect(server).await;
        second.write_all(HEALTH).await.unwrap();
        second.read_exact(&mut [0; 15]).await.unwrap();
        let mut third = connect(server).await;
        third.write_all(HEALTH).await.unwrap();
        let mut answer = [0; 15];

        tokio::select! {
            biased;
            _ = third.read_exact(&mut answer) => panic!("served beyond the limit"),
            // A round trip on an open connection: the server is not just slow.
            _ = async {
                second.write_all(HEALTH).await.unwrap();
                second.read_exact(&mut [0; 200]).await.unwrap();
            } => {}
        }
        drop(first);

        third.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    });
}

#[test]
fn large_heads_and_bodies_are_refused() {
    with(limited(GatewayOptions::default()), async |server| {
        let large = "x".repeat(64 << 10);
        let mut stream = connect(server).await;
        let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-large: {large}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(rest(stream).await.starts_with("HTTP/1.1 431 "));

        let whole = server.admin.post("/tasks", &json!({"payload": "x".repeat(3 << 20)})).await;
        assert_eq!(whole.problem(), (413, "body_too_large"));
        let payload = server.admin.post("/tasks", &json!({"payload": "x".repeat(1 << 20)})).await;
        assert_eq!(payload.problem(), (413, "payload_too_large"));

        // Announced and never sent: refused before it is there.
        let mut stream = connect(server).await;
        let head = "POST /api/v1/fleet/register HTTP/1.1\r\nhost: x\r\n\
                    content-length: 99999999999\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"));
        // Neither announced nor ending.
        let mut stream = connect(server).await;
        let head = "POST /api/v1/fleet/register HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = format!("10000\r\n{large}\r\n");
        for _ in 0..40 {
            stream.write_all(chunk.as_bytes()).await.unwrap();
        }
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    });
}

#[test]
fn body_that_does_not_come_is_not_waited_for() {
    let body_timeout = Duration::from_millis(50);
    with(limited(GatewayOptions { body_timeout, ..Default::default() }), async |server| {
        let mut stream = connect(server).await;
        let head = "POST /api/v1/fleet/register HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();

        let answer = rest(stream).await;

        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_too_slow"));
    });
}

#[test]
fn bodies_in_memory_are_bounded_over_all_connections() {
    with(limited(GatewayOptions { body_memory: 64 << 10, ..Default::default() }), async |server| {
        let refused = server.admin.post("/tasks", &json!({"payload": "x".repeat(80 << 10)})).await;
        assert_eq!(refused.problem(), (503, "busy"));
        assert_eq!(refused.headers["retry-after"], "1");

        // Room is given back: far more than its size passes through it in turn.
        for _ in 0..4 {
            server.submit(json!("x".repeat(50 << 10))).await;
        }
    });
}

#[test]
fn client_that_does_not_read_is_closed() {
    let write_timeout = Duration::from_millis(100);
    with(limited(GatewayOptions { write_timeout, ..Default::default() }), async |server| {
        let (gone, here) = (server.worker("w1").await, server.worker("w2").await);
        server.submit(json!("x".repeat(1_000_000))).await;
        let stream = crate::server::claim_on_a_narrow_line(server, &gone).await;
        let mut begun = [0; 15];
        stream.peek(&mut begun).await.unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200 OK");

        // It never reads on, and never closes either: its answer counts as lost.
        assert_eq!(here.take().await["attempt"], 2);
        drop(stream);
    });
}
