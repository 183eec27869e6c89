//! Limits of the edge: beyond one is a clear answer, or the end of the connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Setup, with, with_server};
use fleetward_gateway::GatewayOptions;

fn limited(options: GatewayOptions) -> Setup {
    Setup { options, ..Setup::default() }
}

#[test]
fn body_over_the_limit_is_refused_before_it_is_read() {
    let options = GatewayOptions { max_body_bytes: 1_000, ..GatewayOptions::default() };
    with(limited(options), async |server| {
        let answer =
            server.admin.send_bytes("POST", "/api/v1/fleet/tasks", Some(vec![b' '; 2_000])).await;
        assert_eq!(answer.status, 413, "{}", answer.text);
        assert!(!answer.code().is_empty());
        assert_eq!(server.anybody().send("GET", "/healthz", None).await.status, 200);
    });
}

#[test]
fn client_that_does_not_finish_its_head_is_cut_off() {
    let options =
        GatewayOptions { header_timeout: Duration::from_millis(50), ..GatewayOptions::default() };
    with(limited(options), async |server| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: ").await.unwrap();

        let mut said = Vec::new();
        // It ends, whatever is said before; a client that is kept would wait here for ever.
        let _ = stream.read_to_end(&mut said).await;

        assert!(!String::from_utf8_lossy(&said).contains("200 OK"));
    });
}

#[test]
fn head_over_the_limit_is_refused() {
    with_server(async |server| {
        let long = "x".repeat(100_000);
        let answer = server.anybody().with("x-long", &long).send("GET", "/healthz", None).await;
        assert_eq!(answer.status, 431);
    });
}

#[test]
fn connection_over_the_limit_waits_for_its_turn() {
    let options = GatewayOptions { max_connections: 1, ..GatewayOptions::default() };
    with(limited(options), async |server| {
        let mut first = TcpStream::connect(server.address).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        first.write_all(request).await.unwrap();
        assert!(first.read_u8().await.is_ok());
        let mut second = TcpStream::connect(server.address).await.unwrap();
        second.write_all(request).await.unwrap();

        drop(first);

        assert!(second.read_u8().await.is_ok(), "it is served once there is room");
    });
}
