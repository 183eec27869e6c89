//! How a server goes away.

use std::time::Duration;

use fleetward_gateway::GatewayOptions;
use fleetward_runtime::Clock;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{FLEET, Server, Setup, runtime};

/// With time that passes, for those who are sent away are spread over some.
fn passing(options: GatewayOptions) -> Setup {
    Setup { options, clock: Some(Clock::real()), ..Setup::default() }
}

#[test]
fn drain_sends_parked_polls_away_and_finishes_what_is_in_flight() {
    runtime().block_on(async {
        let server = Server::start(passing(GatewayOptions::default())).await;
        let parked = server.worker("w").await.park().await;
        // A request whose body is still on its way.
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let body = json!({"payload": "x"}).to_string();
        let head = format!(
            "POST {FLEET}/tasks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
             expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            crate::server::ADMIN,
            body.len(),
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

        server.shutdown.cancel();
        let sent_away = parked.await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();

        assert_eq!((sent_away.status, &*sent_away.text), (204, ""));
        assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        let address = server.address;
        server.stop().await;
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    });
}

#[test]
fn drain_ends_at_its_deadline() {
    runtime().block_on(async {
        let drain_within = Duration::from_millis(50);
        let options = GatewayOptions { drain_within, ..GatewayOptions::default() };
        let server = Server::start(passing(options)).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("POST {FLEET}/register HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"expect: 100-continue\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 25]).await.unwrap();

        server.stop().await;

        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"", "cut off without an answer");
    });
}
