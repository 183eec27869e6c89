//! A worker with a key pair, step by step: it asks for a token when it is told to, and loses what it is told to lose.

use fleetward_worker::KeyPair;
use serde_json::{Value, json};

use crate::server::{Answer, Client, Server};

pub(crate) struct KeyWorker {
    pub(crate) pair: KeyPair,
    pub(crate) id: String,
    pub(crate) org: String,
    anybody: Client,
}

impl KeyWorker {
    /// One that may work, of the operator's organisation.
    pub(crate) async fn join(server: &Server, operator: &Client) -> Self {
        let key = operator.key(json!({"name": "rack 7", "auto_approve": true})).await;
        let pair = KeyPair::generate();
        let joined = register(server, &pair, key.as_str().unwrap()).await;
        Self::of(server, pair, &joined)
    }

    pub(crate) fn of(server: &Server, pair: KeyPair, joined: &Answer) -> Self {
        assert_eq!(joined.status, 201, "{}", joined.text);
        assert_eq!(joined.json["worker_secret"], Value::Null, "the key pair is its proof");
        let text = |field: &str| joined.json[field].as_str().unwrap().to_owned();
        Self { pair, id: text("worker_id"), org: text("org_id"), anybody: server.anybody() }
    }

    /// Asks for the token after `generation`.
    pub(crate) async fn ask(&self, generation: u32) -> Answer {
        self.ask_with(generation, json!({})).await
    }

    pub(crate) async fn ask_with(&self, generation: u32, more: Value) -> Answer {
        let signature = self.pair.sign_token(&self.org, &self.id, generation);
        let mut body =
            json!({"org_id": self.org, "generation": generation, "signature": signature});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.anybody.post(&format!("/workers/{}/token", self.id), &body).await
    }

    /// The token after `generation`.
    pub(crate) async fn token(&self, generation: u32) -> Client {
        let answer = self.ask(generation).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json["generation"], generation + 1);
        self.with(&answer)
    }

    /// The next token, whatever there was before.
    pub(crate) async fn fresh(&self) -> Client {
        let answer = self.ask(0).await;
        match answer.status {
            200 => self.with(&answer),
            _ => self.token(answer.json["generation"].as_u64().unwrap() as u32).await,
        }
    }

    pub(crate) fn with(&self, answer: &Answer) -> Client {
        let token = answer.json["token"].as_str().unwrap();
        self.anybody.clone().with("authorization", &format!("Bearer {token}"))
    }
}

/// Registers a key pair.
pub(crate) async fn register(server: &Server, pair: &KeyPair, key: &str) -> Answer {
    let body = json!({
        "name": "keyed", "enrollment_key": key,
        "public_key": pair.public(), "signature": pair.sign_registration(key),
    });
    server.anybody().post("/register", &body).await
}
