//! TLS with certificates of both sides: who is served, who is bound to what, and what ends a connection.

mod papers;

use std::time::Duration;

use fleetward_gateway::{ClientCerts, GatewayOptions, Tls};
use fleetward_runtime::Clock;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Client, Server, Setup, runtime};
use papers::{Paper, Papers};

/// The server's clock starts here; the machine's own does not matter to it.
const NOON_S: i64 = 1_800_000_000;
const DAY_S: i64 = 86_400;

struct Secure {
    papers: Papers,
    tls: Tls,
    server: Server,
}

impl Secure {
    async fn start(client_certs: ClientCerts) -> Self {
        let papers = Papers::new();
        let clock = Clock::manual(NOON_S * 1_000_000);
        let tls = Tls::load(papers.files(client_certs), &clock).await.unwrap();
        let options = GatewayOptions { tls: Some(tls.clone()), ..GatewayOptions::default() };
        let setup = Setup { options, clock: Some(clock), ..Setup::default() };
        Self { papers, tls, server: Server::start(setup).await }
    }

    fn base(&self) -> String {
        format!("https://localhost:{}", self.server.address.port())
    }

    /// The administrator, on a connection that shows `paper`.
    fn admin(&self, paper: Option<&Paper>) -> Client {
        self.server.admin.over(self.papers.http(paper), &self.base())
    }

    /// A caller as before, on a connection that shows another paper.
    fn showing(&self, client: &Client, paper: Option<&Paper>) -> Client {
        client.over(self.papers.http(paper), &self.base())
    }

    /// A worker that registers over a connection that shows `paper`.
    async fn worker(&self, admin: &Client, paper: Option<&Paper>) -> Client {
        let key = admin.key(json!({"name": "k", "auto_approve": true})).await;
        let anybody = self.showing(&self.server.anybody(), paper);
        let joined = anybody.post("/register", &json!({"enrollment_key": key})).await;
        self.showing(&self.server.as_worker(&joined), paper)
    }
}

fn story(client_certs: ClientCerts, story: impl AsyncFnOnce(&Secure)) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    runtime().block_on(async {
        let secure = Secure::start(client_certs).await;
        story(&secure).await;
        secure.server.stop().await;
    });
}

#[test]
fn nobody_is_served_without_a_good_certificate() {
    story(ClientCerts::Required, async |secure| {
        let Secure { papers, .. } = secure;
        let good = papers.worker("w1", DAY_S);
        let expired = papers.worker("w1", -1);
        let foreign = Papers::new().worker("w1", DAY_S);
        let of_a_server = papers.server();

        assert!(secure.admin(Some(&good)).is_served().await);
        for (why, paper) in [
            ("none", None),
            ("of another authority", Some(&foreign)),
            ("expired", Some(&expired)),
            ("made for servers", Some(&of_a_server)),
        ] {
            assert!(!secure.admin(paper).is_served().await, "{why}");
        }
        let metrics = secure.admin(Some(&good)).send("GET", "/metrics", None).await.text;
        let refused = r#"fleetward_tls_handshakes_total{outcome="refused"}"#;
        assert!(metrics.contains(refused), "{metrics}");
    });
}

#[test]
fn worker_is_bound_to_the_certificate_that_it_registered_with() {
    story(ClientCerts::Optional, async |secure| {
        let papers = &secure.papers;
        let (own, other) = (papers.worker("w1", DAY_S), papers.worker("w2", DAY_S));
        let renewed = papers.worker("w1", 2 * DAY_S);
        let admin = secure.admin(None);
        let worker = secure.worker(&admin, Some(&own)).await;

        assert_eq!(worker.claim(0).await.status, 204);
        assert_eq!(secure.showing(&worker, Some(&renewed)).claim(0).await.status, 204);
        let stolen = secure.showing(&worker, Some(&other)).claim(0).await;
        assert_eq!(stolen.problem(), (403, "certificate_mismatch"));
        let bare = secure.showing(&worker, None).post("/heartbeat", &json!({})).await;
        assert_eq!(bare.problem(), (403, "certificate_required"));
        let shown = admin.get(&format!("/workers/{}", worker.header("x-worker-id"))).await;
        assert_eq!(shown.json["certificate"], "fleetward://org/default/worker/w1");

        // Who registered without one is bound to none.
        let free = secure.worker(&admin, None).await;
        for paper in [None, Some(&own), Some(&other)] {
            assert_eq!(secure.showing(&free, paper).claim(0).await.status, 204);
        }
        // A certificate without a URI is known by its key.
        let nameless = papers.nameless();
        let keyed = secure.worker(&admin, Some(&nameless)).await;
        let shown = admin.get(&format!("/workers/{}", keyed.header("x-worker-id"))).await;
        assert!(shown.json["certificate"].as_str().unwrap().starts_with("sha256:"), "{shown:?}");
        let stolen = secure.showing(&keyed, Some(&papers.nameless())).claim(0).await;
        assert_eq!(stolen.problem(), (403, "certificate_mismatch"));
    });
}

#[test]
fn certificate_of_one_organisation_opens_no_other() {
    story(ClientCerts::Optional, async |secure| {
        let admin = secure.admin(None);
        let made = admin.send("POST", "/api/v1/orgs", Some(&json!({"name": "other"}))).await;
        let token = made.json["token"].as_str().unwrap();
        let other = admin.clone().with("authorization", &format!("Bearer {token}"));
        let key = other.key(json!({"name": "k"})).await;
        let paper = secure.papers.worker("w1", DAY_S);
        let anybody = secure.showing(&secure.server.anybody(), Some(&paper));

        let refused = anybody.post("/register", &json!({"enrollment_key": key})).await;

        assert_eq!(refused.problem(), (403, "certificate_of_another_org"));
        let keys = other.get("/enrollment-keys").await.json;
        assert_eq!(keys["keys"][0]["current_uses"], 0);
    });
}

#[test]
fn revoking_closes_the_connections_of_that_certificate_and_of_no_other() {
    story(ClientCerts::Required, async |secure| {
        let papers = &secure.papers;
        let [boss, first, second] = ["boss", "w1", "w2"].map(|name| papers.worker(name, DAY_S));
        let admin = secure.admin(Some(&boss));
        let revoked = secure.worker(&admin, Some(&first)).await;
        let (client, paper) = (secure.worker(&admin, Some(&second)).await, &first);
        let waits = tokio::spawn(async move { revoked.claim(60).await.status });
        let parked = client.park().await;

        papers.revoke(paper);
        secure.tls.reload().await.unwrap();

        assert!(waits.await.is_err(), "its connection is closed");
        assert!(!secure.admin(Some(paper)).is_served().await);
        admin.submit(json!({"payload": 1})).await;
        assert_eq!(parked.await.unwrap().status, 200);
    });
}

#[test]
fn broken_files_change_nothing() {
    story(ClientCerts::Required, async |secure| {
        let papers = &secure.papers;
        let paper = papers.worker("w1", DAY_S);
        for file in papers.all_files() {
            let before = std::fs::read(&file).unwrap();
            std::fs::write(&file, "-----BEGIN").unwrap();

            let error = secure.tls.reload().await.unwrap_err().to_string();

            assert!(error.contains(&*file.to_string_lossy()), "{error}");
            assert!(secure.admin(Some(&paper)).is_served().await);
            std::fs::write(&file, before).unwrap();
        }
        secure.tls.reload().await.unwrap();
    });
}

#[test]
fn connection_ends_with_its_certificate_once_what_is_in_flight_is_answered() {
    story(ClientCerts::Required, async |secure| {
        let boss = secure.papers.worker("boss", DAY_S);
        let admin = secure.admin(Some(&boss));
        let short = secure.papers.worker("w1", 30);
        let worker = secure.worker(&admin, Some(&short)).await;
        let parked = worker.park().await;

        secure.server.clock.advance(Duration::from_secs(31));
        admin.submit(json!({"payload": 1})).await;

        assert_eq!(parked.await.unwrap().status, 200);
        assert!(!worker.is_served().await, "a new handshake is needed, and refused");
    });
}

#[test]
fn who_speaks_plain_http_is_told_so() {
    story(ClientCerts::Optional, async |secure| {
        let base = format!("http://{}", secure.server.address);
        let plain = secure.server.admin.over(reqwest::Client::new(), &base);

        let answer = plain.get("/tasks").await;

        assert_eq!((answer.status, answer.code()), (400, "tls_required"));
    });
}

#[test]
fn http2_is_spoken_with_those_who_ask_for_it() {
    story(ClientCerts::Optional, async |secure| {
        let connector = secure.papers.connector(&[b"h2", b"http/1.1"]);
        let stream = TcpStream::connect(secure.server.address).await.unwrap();
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));

        // The preface, and empty settings.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();

        assert_eq!(head[3], 4, "the server's settings");
    });
}
