//! Workers with key pairs and short-lived tokens: what is good, what is lost, what is stolen.

use std::time::Duration;

use fleetward_actors::fleet::public_key;
use fleetward_worker::KeyPair;
use serde_json::{Value, json};

use crate::key_worker::{KeyWorker, register};
use crate::server::{Answer, Client, Server, with_server};

async fn beat(client: &Client) -> Answer {
    client.post("/heartbeat", &json!({})).await
}

/// The audit trail of the default organisation, one kind.
async fn recorded(server: &Server, kind: &str) -> Vec<Value> {
    let audit = server.admin.get(&format!("/audit?type={kind}&limit=200")).await.json;
    audit["events"].as_array().unwrap().clone()
}

#[test]
fn worker_with_a_key_pair_works_with_tokens_alone() {
    with_server(async |server| {
        let key = server.admin.key(json!({"name": "rack 7"})).await;
        let pair = KeyPair::generate();
        let joined = register(server, &pair, key.as_str().unwrap()).await;
        let worker = KeyWorker::of(server, pair, &joined);
        let seen = server.admin.get(&format!("/workers/{}", worker.id)).await.json;
        let public = public_key::PublicKey::parse(&worker.pair.public()).unwrap();
        assert_eq!(seen["fingerprint"], public.fingerprint());
        assert_eq!(seen["enrollment_key_name"], "rack 7");
        let waits = worker.ask(0).await;
        assert_eq!(waits.problem(), (403, "worker_not_approved"));
        assert_eq!(waits.json["status"], "pending");
        server.admin.post(&format!("/workers/{}/approve", worker.id), &json!({})).await;

        let client = worker.token(0).await;
        assert_eq!(beat(&client).await.json["status"], "approved");
        let task = server.submit(json!("x")).await;
        let claimed = client.take().await;
        assert_eq!(client.complete(&claimed, json!(1)).await.status, 200);
        assert_eq!(server.admin.task(&task).await["worker_id"], *worker.id);

        server.clock.advance(Duration::from_secs(901));
        assert_eq!(beat(&client).await.problem(), (401, "token_expired"));
        assert_eq!(beat(&worker.token(1).await).await.status, 200);
        let issued = recorded(server, "worker.token_issued").await;
        assert_eq!(issued.len(), 2);
        assert!(issued[0].to_string().contains(&worker.id));
    });
}

#[test]
fn what_workers_sign_is_what_the_server_checks() {
    use fleetward_wire::task_tokens::{registration_text, token_text};
    let (org, worker) =
        (fleetward_actors::id::OrgId::fresh(), fleetward_actors::id::WorkerId::fresh());
    let key = public_key::PublicKey::from_bytes([7; 32]);

    assert_eq!(public_key::registration_text("h", &key), registration_text("h", &key.to_string()));
    assert_eq!(
        public_key::token_text(org, worker, 3),
        token_text(&org.to_string(), &worker.to_string(), 3)
    );
}

#[test]
fn registration_that_comes_again_is_the_same_worker_and_uses_nothing_up() {
    with_server(async |server| {
        let key = server.admin.key(json!({"name": "k"})).await;
        let (key, pair) = (key.as_str().unwrap(), KeyPair::generate());
        let first = register(server, &pair, key).await;

        let again = register(server, &pair, key).await;

        assert_eq!((again.status, &again.json), (201, &first.json));
        assert_eq!(server.admin.get("/workers").await.json["total"], 1);
        let keys = server.admin.get("/enrollment-keys").await.json;
        assert_eq!(
            (&keys["keys"][0]["current_uses"], &keys["keys"][0]["overused"]),
            (&json!(1), &json!(0))
        );
        let other = server.admin.key(json!({"name": "k2"})).await;
        let elsewhere = register(server, &pair, other.as_str().unwrap()).await;
        assert_eq!(elsewhere.problem(), (409, "key_pair_in_use"));
        let body = json!({"enrollment_key": other, "public_key": pair.public(),
                          "signature": pair.sign_registration(key)});
        let forged = server.anybody().post("/register", &body).await;
        assert_eq!(forged.problem(), (401, "bad_signature"));
        for (name, body) in [
            ("no signature", json!({"public_key": pair.public()})),
            ("no key", json!({"signature": "x"})),
        ] {
            let mut body = body;
            body["enrollment_key"] = other.clone();
            let refused = server.anybody().post("/register", &body).await;
            assert_eq!(refused.problem(), (422, "invalid_body"), "{name}");
        }
    });
}

#[test]
fn key_pair_of_a_revoked_or_rejected_worker_never_comes_back() {
    with_server(async |server| {
        for verdict in ["reject", "revoke"] {
            let admin = server.tenant(verdict).await;
            let key = admin.key(json!({"name": "k"})).await;
            let pair = KeyPair::generate();
            let joined = register(server, &pair, key.as_str().unwrap()).await;
            let worker = KeyWorker::of(server, pair, &joined);
            let decided =
                admin.post(&format!("/workers/{}/{verdict}", worker.id), &json!({})).await;
            assert_eq!(decided.status, 200);
            // Until the rows have it, and after it has left memory.
            for _ in 0..2 {
                let key = admin.key(json!({"name": "another", "auto_approve": true})).await;
                let again = register(server, &worker.pair, key.as_str().unwrap()).await;
                assert_eq!(again.problem(), (403, "key_pair_revoked"));
                let ask = worker.ask(0).await;
                assert_eq!(ask.problem(), (403, "worker_not_approved"));
                assert_eq!(admin.get("/workers").await.json["total"], 1);
                server.clock.advance(Duration::from_secs(11));
            }
        }
    });
}

#[test]
fn lost_answer_to_a_refresh_locks_nobody() {
    with_server(async |server| {
        let worker = KeyWorker::join(server, &server.admin).await;
        let first = worker.token(0).await;
        assert_eq!(beat(&first).await.status, 200);

        // Twice the answer never arrives.
        assert_eq!(worker.ask(1).await.status, 200);
        let unsure = worker.ask(1).await;
        assert_eq!(unsure.problem(), (409, "generation_passed"));
        assert_eq!(unsure.json["generation"], 2);
        assert_eq!(worker.ask(2).await.status, 200);
        assert_eq!(beat(&first).await.status, 200, "the old one is good until a new one was used");

        let fourth = worker.token(3).await;
        assert_eq!(beat(&fourth).await.status, 200);
        assert_eq!(beat(&fourth).await.json["status"], "approved");
        assert!(recorded(server, "worker.locked").await.is_empty());
    });
}

#[test]
fn stolen_token_that_is_used_after_its_successor_locks_the_worker_until_it_is_unlocked() {
    with_server(async |server| {
        let worker = KeyWorker::join(server, &server.admin).await;
        let stolen = worker.token(0).await;
        assert_eq!(beat(&stolen).await.status, 200);
        let task = server.submit(json!("x")).await;
        let own = worker.token(1).await;
        let claimed = own.take().await;
        assert_eq!(claimed["run_id"], *task);
        let other = server.worker("other").await;
        let parked = other.park().await;

        assert_eq!(stolen.claim(0).await.problem(), (401, "token_reused"));

        let again = parked.await.unwrap();
        assert_eq!(again.json["run_id"], *task, "what it held goes to somebody else");
        for (client, what) in [(&own, "its own"), (&stolen, "the stolen one")] {
            let refused = beat(client).await;
            assert_eq!(refused.problem(), (403, "worker_locked"), "{what}");
            assert_eq!(refused.json["status"], "locked");
        }
        assert_eq!(worker.ask(2).await.problem(), (403, "worker_locked"));
        let seen = server.admin.get(&format!("/workers/{}", worker.id)).await.json;
        assert_eq!(seen["status"], "locked");
        assert_eq!(recorded(server, "worker.locked").await.len(), 1, "however often it is shown");

        let path = format!("/workers/{}/unlock", worker.id);
        let unlocked = server.admin.post(&path, &json!({"reason": "seen"})).await;
        assert_eq!(unlocked.json["status"], "approved");
        assert_eq!(beat(&own).await.status, 200);
        assert_eq!(other.complete(&again.json, json!(1)).await.status, 200);
        assert_eq!(beat(&stolen).await.problem(), (401, "token_reused"), "and once more");
        assert_eq!(recorded(server, "worker.locked").await.len(), 2);
        let revoked =
            server.admin.post(&format!("/workers/{}/revoke", worker.id), &json!({})).await;
        assert_eq!(revoked.json["status"], "revoked");
        assert_eq!(beat(&own).await.problem(), (403, "worker_not_approved"));
    });
}

#[test]
fn token_is_taken_back_by_its_id_at_once_and_its_worker_goes_on() {
    with_server(async |server| {
        let worker = KeyWorker::join(server, &server.admin).await;
        let client = worker.token(0).await;
        let parked = client.claim(0).await;
        assert_eq!(parked.status, 204);
        let path = format!("/workers/{}/tokens", worker.id);
        let listed = server.admin.get(&path).await;
        assert!(!listed.text.contains("eyJ"), "never the text");
        let id = listed.json["tokens"][0]["id"].as_str().unwrap().to_owned();
        let delete = async |client: &Client| {
            client.send("DELETE", &format!("/api/v1/fleet/task-tokens/{id}"), None).await
        };
        assert_eq!(delete(&server.tenant("other").await).await.problem(), (404, "not_found"));

        assert_eq!(
            delete(&server.admin).await.json,
            json!({"status": "ok", "worker_id": worker.id})
        );

        assert_eq!(beat(&client).await.problem(), (401, "token_revoked"));
        assert_eq!(delete(&server.admin).await.status, 200, "harmless twice");
        assert_eq!(recorded(server, "worker.token_revoked").await.len(), 1);
        assert_eq!(server.admin.get(&path).await.json["tokens"][0]["revoked"], true);
        let revoked = async |admin: &Client| admin.get("/task-tokens/revoked").await.json;
        let listed = revoked(&server.admin).await;
        assert_eq!((&listed["total"], &listed["tokens"][0]["id"]), (&json!(1), &json!(id)));
        assert_eq!(listed["tokens"][0]["worker_id"], json!(worker.id));
        assert_eq!(revoked(&server.tenant("third").await).await["total"], 0);
        assert_eq!(beat(&worker.token(1).await).await.status, 200);
        server.clock.advance(Duration::from_secs(901));
        worker.token(2).await;
        assert_eq!(server.admin.get(&path).await.json["total"], 1, "what is over leaves");
        assert_eq!(revoked(&server.admin).await["total"], 0);
    });
}

#[test]
fn nobody_else_gets_a_token_and_no_other_text_is_one() {
    with_server(async |server| {
        let (worker, other) = (
            KeyWorker::join(server, &server.admin).await,
            KeyWorker::join(server, &server.admin).await,
        );
        let foreign = server.tenant("foreign").await;
        let foreign = KeyWorker::join(server, &foreign).await;
        let stolen = other.pair.sign_token(&worker.org, &worker.id, 0);
        let elsewhere = worker.pair.sign_token(&foreign.org, &worker.id, 0);
        for (name, body) in [
            ("another's signature", json!({"signature": stolen})),
            ("no signature", json!({"signature": ""})),
            ("another generation", json!({"generation": 1})),
            ("another organisation", json!({"org_id": foreign.org, "signature": elsewhere})),
        ] {
            let refused = worker.ask_with(0, body).await;
            assert_eq!(refused.problem(), (401, "unknown_worker"), "{name}");
        }
        let scope = worker.ask_with(0, json!({"scopes": ["worker:everything"]})).await;
        assert_eq!(scope.problem(), (400, "invalid_scope"));
        let beats = worker.ask_with(0, json!({"scopes": ["worker:heartbeat"]})).await;
        let beats = worker.with(&beats);
        assert_eq!(beat(&beats).await.status, 200);
        assert_eq!(beats.claim(0).await.problem(), (403, "missing_scope"));
        assert_eq!(beats.get("/tasks").await.problem(), (401, "bad_token"), "no operator's token");
        assert_eq!(server.admin.claim(0).await.problem(), (401, "missing_credentials"));
        let key = server.admin.key(json!({"name": "k"})).await;
        let key = key.as_str().unwrap().trim_start_matches("wrt-1.");
        let as_token = server.anybody().with("authorization", &format!("Bearer {key}"));
        assert_eq!(
            beat(&as_token).await.problem(),
            (401, "bad_token"),
            "an enrollment key is none"
        );
        for generation in 1..10 {
            worker.token(generation).await;
        }
        assert_eq!(worker.ask(10).await.problem(), (429, "too_many_tokens"));
    });
}

#[test]
fn signing_keys_change_under_running_workers() {
    with_server(async |server| {
        let admin = &server.admin;
        let keys = "/api/v1/signing-keys";
        let post = async |path: &str, body: Value| admin.send("POST", path, Some(&body)).await;
        let worker = KeyWorker::join(server, admin).await;
        let old = worker.token(0).await;
        let first = admin.send("GET", keys, None).await.json["keys"][0]["id"].clone();
        let first = first.as_str().unwrap().to_owned();

        let added = post(keys, json!({})).await;
        assert_eq!((added.status, &added.json["state"]), (201, &json!("added")));
        let second = added.json["id"].as_str().unwrap().to_owned();
        let published = server.anybody().get("/jwks.json").await.json;
        assert_eq!(published["keys"].as_array().unwrap().len(), 2);
        assert_eq!(published["keys"][0]["crv"], "Ed25519");
        let retired = post(&format!("{keys}/{first}/retire"), json!({})).await;
        assert_eq!(retired.problem(), (409, "signing_key_active"));
        assert_eq!(
            post(&format!("{keys}/{second}/promote"), json!({})).await.json["state"],
            "active"
        );

        assert_eq!(beat(&old).await.status, 200, "tokens of the old key stay good");
        let new = worker.token(1).await;
        assert_eq!(beat(&new).await.status, 200);
        let listed = admin.get(&format!("/workers/{}/tokens", worker.id)).await.json;
        assert_eq!(listed["tokens"][1]["signed_by"], second);
        let early = post(&format!("{keys}/{first}/retire"), json!({})).await;
        assert_eq!(early.problem(), (409, "signing_key_in_use"));
        server.clock.advance(Duration::from_secs(961));
        assert_eq!(
            post(&format!("{keys}/{first}/retire"), json!({})).await.json["state"],
            "retired"
        );

        let last = worker.token(2).await;
        assert_eq!(beat(&last).await.status, 200);
        let third = post(keys, json!({"promote": true})).await;
        assert_eq!(third.json["state"], "active");
        let forced = post(&format!("{keys}/{second}/retire"), json!({"force": true})).await;
        assert_eq!(forced.json["state"], "retired");
        assert_eq!(beat(&last).await.problem(), (401, "bad_token"));
        assert_eq!(beat(&worker.token(3).await).await.status, 200);
        let text = admin.send("GET", keys, None).await.text;
        assert!(!text.contains("secret") && !text.contains("private"), "{text}");
    });
}

#[test]
fn organisation_may_switch_the_legacy_headers_off() {
    with_server(async |server| {
        let older = server.worker("older").await;
        let keyed = KeyWorker::join(server, &server.admin).await.token(0).await;
        let patch = async |body: Value| {
            server.admin.send("PATCH", "/api/v1/fleet/policy", Some(&body)).await
        };
        let weights = json!({"weights": {"a": 3}});
        server.admin.send("PUT", "/api/v1/fleet/policy", Some(&weights)).await;

        let off = patch(json!({"legacy_headers": false})).await;
        assert_eq!(
            (&off.json["legacy_headers"], &off.json["weights"]),
            (&json!(false), &json!({"a": 3}))
        );

        assert_eq!(beat(&older).await.problem(), (403, "legacy_headers_off"));
        assert_eq!(older.claim(0).await.problem(), (403, "legacy_headers_off"));
        assert_eq!(beat(&keyed).await.status, 200);
        let key = server.admin.key(json!({"name": "k"})).await;
        let joining = server.anybody().post("/register", &json!({"enrollment_key": key})).await;
        assert_eq!(joining.problem(), (403, "public_key_required"));
        let other = server.tenant("other").await;
        assert_eq!(beat(&server.worker_of(&other, json!({})).await).await.status, 200);
        server.admin.send("PUT", "/api/v1/fleet/policy", Some(&weights)).await;
        assert_eq!(beat(&older).await.status, 403, "another policy leaves it off");

        assert_eq!(patch(json!({"legacy_headers": true})).await.json["legacy_headers"], true);
        assert_eq!(beat(&older).await.status, 200);
        assert_eq!(patch(json!({"caps": []})).await.problem(), (422, "invalid_body"));
    });
}

#[test]
fn key_that_is_tried_after_its_end_is_an_event_a_minute_that_names_its_first_user() {
    with_server(async |server| {
        let key = server.admin.key(json!({"name": "k"})).await;
        let joined = server.anybody().post("/register", &json!({"enrollment_key": key})).await;
        let first = joined.json["worker_id"].as_str().unwrap();
        let pair = KeyPair::generate();
        let text = key.as_str().unwrap();

        for _ in 0..3 {
            let refused = register(server, &pair, text).await;
            assert_eq!(refused.problem(), (401, "bad_enrollment_key"));
        }
        let events = recorded(server, "key.overused").await;
        assert_eq!(events.len(), 1, "one a minute");
        let told = events[0].to_string();
        let fingerprint = public_key::PublicKey::parse(&pair.public()).unwrap().fingerprint();
        assert!(
            told.contains(first) && told.contains("keyed") && told.contains(&fingerprint),
            "{told}"
        );

        server.clock.advance(Duration::from_secs(61));
        assert_eq!(register(server, &pair, text).await.status, 401);
        assert!(recorded(server, "key.overused").await.len() >= 2);
        let keys = server.admin.get("/enrollment-keys").await.json;
        // What was tried within a minute of an event is told with the next.
        assert!(keys["keys"][0]["overused"].as_u64().is_some_and(|times| times >= 3), "{keys}");
        assert_eq!(keys["keys"][0]["first_worker_id"], first);
        let unknown =
            server.anybody().post("/register", &json!({"enrollment_key": "wrt-1.x"})).await;
        assert_eq!(unknown.status, 401);
    });
}
