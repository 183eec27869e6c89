//! In which order tasks go, when, to whom, and what keeps them waiting.

use std::time::Duration;

use serde_json::{Value, json};

use crate::remedies::{fail, why};
use crate::server::{Client, FLEET, Server, with_server};

/// A time of the server's clock, as a client writes it.
fn in_seconds(server: &Server, seconds: i64) -> String {
    let at = server.clock.wall_us() + seconds * 1_000_000;
    chrono::DateTime::from_timestamp_micros(at).unwrap().to_rfc3339()
}

fn advance(server: &Server, seconds: u64) {
    server.clock.advance(Duration::from_secs(seconds));
}

async fn put_policy(admin: &Client, policy: Value) {
    let put = admin.send("PUT", &format!("{FLEET}/policy"), Some(&policy)).await;
    assert_eq!(put.status, 200, "{}", put.text);
}

#[test]
fn urgent_tasks_go_first_and_waiting_makes_up_for_urgency() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, server.worker("w").await);
        let mut tasks = Vec::new();
        for priority in [0, 5, 9] {
            tasks.push(admin.submit(json!({"payload": priority, "priority": priority})).await);
        }
        for expected in tasks.iter().rev() {
            let claimed = worker.take().await;
            assert_eq!(claimed["run_id"], **expected);
            worker.complete(&claimed, json!(1)).await;
        }

        let patient = admin.submit(json!({"payload": 1, "priority": 0})).await;
        advance(server, 9 * 60 + 1);
        admin.submit(json!({"payload": 2, "priority": 9})).await;
        assert_eq!(worker.take().await["run_id"], patient);
    });
}

#[test]
fn task_starts_no_earlier_than_it_may() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, server.worker("w").await);
        let later = in_seconds(server, 20);
        let task = admin.submit(json!({"payload": 1, "not_before": later})).await;

        assert_eq!(worker.claim(0).await.status, 204);
        assert!(why(admin, &task).await.contains("not to start before"));
        let parked = worker.park().await;
        advance(server, 20);

        assert_eq!(parked.await.unwrap().json["run_id"], task);
    });
}

#[test]
fn failed_attempts_are_tried_again_after_a_wait_until_there_are_enough() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, server.worker("w").await);
        let retry = json!({"max_attempts": 2, "initial_seconds": 10});
        let task = admin.submit(json!({"payload": 1, "retry": retry})).await;

        let first = worker.take().await;
        assert_eq!(fail(&worker, &first, "no route to host 10").await, 200);
        assert_eq!(fail(&worker, &first, "no route to host 10").await, 200, "a repeat");
        assert_eq!(worker.complete(&first, json!(1)).await.problem(), (409, "already_reported"));
        let view = admin.task(&task).await;
        assert_eq!((&view["status"], &view["failures"]), (&json!("pending"), &json!(1)));
        assert_eq!(view["error"], "no route to host 10");
        let parked = worker.park().await;
        advance(server, 10);
        let second = parked.await.unwrap().json;
        assert_eq!(second["attempt"], 2);
        assert_eq!(fail(&worker, &second, "no route to host 11").await, 200);

        let view = admin.task(&task).await;
        assert_eq!((&view["status"], &view["reason"]), (&json!("failed"), &json!("reported")));
        assert!(why(admin, &task).await.contains("can be retried or discarded"));
    });
}

#[test]
fn policy_says_who_of_several_waiting_workers_gets_a_task() {
    with_server(async |server| {
        let admin = &server.admin;
        let big = json!({"name": "big", "max_concurrent": 4});
        let (big, small) = (server.worker_of(admin, big).await, server.worker("small").await);
        // It has a task already, and has waited longer.
        server.submit(json!(1)).await;
        big.take().await;
        let (of_big, of_small) = (big.park_one().await, small.park().await);
        server.submit(json!(2)).await;
        let claimed = of_small.await.unwrap().json;
        assert_eq!(small.complete(&claimed, json!(1)).await.status, 200);

        put_policy(admin, json!({"balancing": {"default": "longest_waiting"}})).await;
        let view = admin.get("/policy").await.json;
        assert_eq!(view["balancing"], json!({"default": "longest_waiting"}));
        let of_small = small.park().await;
        server.submit(json!(3)).await;
        assert_eq!(of_big.await.unwrap().status, 200);

        let unknown = json!({"balancing": {"default": "random"}});
        let refused = admin.send("PUT", &format!("{FLEET}/policy"), Some(&unknown)).await;
        assert_eq!(refused.problem(), (422, "invalid_body"));
        of_small.abort();
    });
}

#[test]
fn task_with_an_affinity_waits_a_little_for_the_worker_that_had_its_key() {
    with_server(async |server| {
        let admin = &server.admin;
        let (one, other) = (server.worker("one").await, server.worker("other").await);
        let turn = || json!({"payload": 1, "affinity": "chat-7", "affinity_seconds": 3});
        admin.submit(turn()).await;
        let first = one.take().await;
        let second = admin.submit(turn()).await;

        assert_eq!(other.claim(0).await.status, 204);
        let said = why(admin, &second).await;
        let expected = format!("up to 3 s for worker {}, which", one.header("x-worker-id"));
        assert!(said.contains(&expected), "{said}");
        assert_eq!(one.complete(&first, json!(1)).await.status, 200);
        assert_eq!(one.take().await["run_id"], second);

        // It is busy now.
        let third = admin.submit(turn()).await;
        let parked = other.park().await;
        advance(server, 3);
        let claimed = parked.await.unwrap().json;
        assert_eq!(claimed["run_id"], third);
    });
}

#[test]
fn failure_that_no_attempt_can_mend_is_final() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, server.worker("w").await);
        let task = admin.submit(json!({"payload": 1, "retry": {"max_attempts": 9}})).await;
        let claimed = worker.take().await;

        let body = json!({"error": "bad input", "retryable": false, "attempt": 1,
                          "claim_token": claimed["claim_token"]});
        worker.post(&format!("/tasks/{task}/fail"), &body).await;

        assert_eq!(admin.task(&task).await["status"], "failed");
    });
}

#[test]
fn task_that_misses_its_deadline_fails_wherever_it_is() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, server.worker("w").await);
        let deadline = in_seconds(server, 3);
        let running = admin.submit(json!({"payload": 1, "deadline": deadline})).await;
        let claimed = worker.take().await;
        let waiting = admin.submit(json!({"payload": 2, "deadline": deadline})).await;
        let ends = [&running, &waiting].map(|task| {
            let (admin, path) = (admin.clone(), format!("/tasks/{task}?wait=60"));
            tokio::spawn(async move { admin.get(&path).await.json })
        });

        advance(server, 3);

        for end in ends {
            let task = end.await.unwrap();
            assert_eq!(
                (&task["status"], &task["reason"]),
                (&json!("failed"), &json!("deadline_exceeded"))
            );
        }
        assert_eq!(worker.complete(&claimed, json!(1)).await.problem(), (409, "task_closed"));
        let late = in_seconds(server, -1);
        let refused = admin.post("/tasks", &json!({"payload": 1, "deadline": late})).await;
        assert_eq!(refused.problem(), (400, "invalid_deadline"));
    });
}

#[test]
fn labels_sandbox_image_network_and_pin_choose_the_worker_and_why_names_what_is_missing() {
    with_server(async |server| {
        let admin = &server.admin;
        let plain = server.worker_of(admin, json!({"name": "plain"})).await;
        let able = server
            .worker_of(
                admin,
                json!({"name": "able", "labels": {"region": "eu", "gpu": "a100"}, "sandbox": "container",
                       "images": ["ghcr.io/acme/*"], "networks": ["none", "restricted"]}),
            )
            .await;
        let wants = [
            json!({"labels": {"gpu": "a100"}}),
            json!({"selector": [{"key": "region", "operator": "in", "values": ["eu", "us"]}]}),
            json!({"selector": [{"key": "gpu", "operator": "exists"}]}),
            json!({"sandbox": "process"}),
            json!({"mode": "sandboxed"}),
            json!({"image": "ghcr.io/acme/agent:1"}),
            json!({"network": "none"}),
            json!({"worker_id": able.header("x-worker-id")}),
        ];
        let process = json!("process");
        for want in wants {
            let task = admin.submit(want.clone()).await;
            assert_eq!(plain.claim(0).await.status, 204, "{want}");
            let claimed = able.take().await;
            assert_eq!(claimed["run_id"], task, "{want}");
            // Whoever runs it has to know how.
            let sandbox = want.get("mode").map_or(&want["sandbox"], |_| &process);
            assert_eq!(claimed["sandbox"], *sandbox, "{want}");
            for field in ["image", "network"] {
                assert_eq!(claimed[field], want[field], "{want}");
            }
            able.complete(&claimed, json!(1)).await;
        }

        let missing = [
            (json!({"labels": {"gpu": "h100"}}), "no worker has label gpu=h100; there is gpu=a100"),
            (
                json!({"selector": [{"key": "region", "operator": "not_in", "values": ["eu"]},
                                 {"key": "gpu", "operator": "exists"}]}),
                "no single worker",
            ),
            (json!({"sandbox": "vm"}), "sandbox level vm or more; there is container, none"),
            (json!({"model": "gpt-4o"}), "no worker has model \"gpt-4o\""),
            (json!({"pool": "gpu"}), "no approved worker stands in pool \"gpu\""),
        ];
        for (want, expected) in missing {
            let task = admin.submit(want).await;
            let said = why(admin, &task).await;
            assert!(said.contains(expected), "{said}");
        }
        let task = admin.submit(json!({"sandbox": "container"})).await;
        let said = why(admin, &task).await;
        assert!(said.contains("1 worker could run it, 1 not asking for work"), "{said}");
    });
}

#[test]
fn task_to_be_spread_goes_to_another_worker_next() {
    with_server(async |server| {
        let (admin, first) = (&server.admin, server.worker("w1").await);
        let task = admin
            .submit(json!({"payload": 1, "spread": true,
                           "retry": {"max_attempts": 3, "initial_seconds": 0, "max_seconds": 0}}))
            .await;
        let claimed = first.take().await;
        let parked = first.park_one().await;
        fail(&first, &claimed, "it is me").await;
        assert!(why(admin, &task).await.contains("1 passed over"));

        let second = server.worker("w2").await;
        let claimed = second.take().await;

        assert_eq!((&claimed["run_id"], &claimed["attempt"]), (&json!(task), &json!(2)));
        let other = server.submit(json!("for anybody")).await;
        assert_eq!(parked.await.unwrap().json["run_id"], other);
    });
}

#[test]
fn caps_and_pauses_hold_tasks_back_and_say_so() {
    with_server(async |server| {
        let admin = &server.admin;
        let (first, second) = (server.worker("w1").await, server.worker("w2").await);
        put_policy(admin, json!({"caps": [{"pool": "default", "max": 1}]})).await;
        let tasks = [server.submit(json!(1)).await, server.submit(json!(2)).await];
        let claimed = first.take().await;
        assert_eq!(claimed["run_id"], tasks[0]);
        let parked = second.park().await;
        let said = why(admin, &tasks[1]).await;
        assert!(said.contains("pool \"default\" may run 1 tasks at once, and 1 run"), "{said}");

        first.complete(&claimed, json!(1)).await;
        let claimed = parked.await.unwrap().json;
        assert_eq!(claimed["run_id"], tasks[1]);
        second.complete(&claimed, json!(1)).await;

        put_policy(admin, json!({})).await;
        let pool = json!({"pool": "default"});
        for (pause, resume, body, word) in [
            ("/pause".to_owned(), "/resume".to_owned(), json!({}), "the organisation is paused"),
            ("/pause".to_owned(), "/resume".to_owned(), pool, "pool \"default\" is paused"),
        ] {
            assert_eq!(admin.post(&pause, &body).await.status, 200);
            let parked = first.park().await;
            let task = server.submit(json!(3)).await;
            assert!(why(admin, &task).await.contains(word));
            assert_eq!(admin.post(&resume, &body).await.status, 200);
            let claimed = parked.await.unwrap().json;
            assert_eq!(claimed["run_id"], task);
            first.complete(&claimed, json!(1)).await;
        }
    });
}

#[test]
fn paused_worker_gets_nothing_until_it_is_resumed() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, server.worker("w1").await);
        let route = |verb: &str| format!("/workers/{}/{verb}", worker.header("x-worker-id"));
        let parked = worker.park().await;

        assert_eq!(admin.post(&route("pause"), &json!({"reason": "disk"})).await.status, 200);
        let task = server.submit(json!(1)).await;
        assert!(why(admin, &task).await.contains("1 paused"));
        let listed = admin.get("/workers").await.json;
        assert_eq!(
            (&listed["workers"][0]["paused"], &listed["workers"][0]["reason"]),
            (&json!(true), &json!("disk"))
        );
        assert_eq!(admin.post(&route("resume"), &json!({})).await.status, 200);

        assert_eq!(parked.await.unwrap().json["run_id"], task);
        assert_eq!(
            admin.post("/workers/nobody/pause", &json!({})).await.problem(),
            (404, "not_found")
        );
    });
}

#[test]
fn quarantined_worker_finishes_what_it_has_and_gets_nothing_more() {
    with_server(async |server| {
        let (admin, worker) = (&server.admin, server.worker("w1").await);
        let route = |verb: &str| format!("/workers/{}/{verb}", worker.header("x-worker-id"));
        server.submit(json!(1)).await;
        let claimed = worker.take().await;

        let body = json!({"reason": "odd"});
        let said = admin.post(&route("quarantine"), &body).await.json;
        assert_eq!(said["status"], "quarantined");
        assert_eq!(worker.post("/heartbeat", &json!({})).await.json["status"], "quarantined");
        assert_eq!(worker.complete(&claimed, json!(1)).await.status, 200);
        let task = server.submit(json!(2)).await;
        let parked = worker.park().await;
        let listed = admin.get("/workers?status=quarantined").await.json;
        assert_eq!(listed["workers"][0]["reason"], "odd");
        assert_eq!(admin.post(&route("approve"), &json!({})).await.json["status"], "approved");

        assert_eq!(parked.await.unwrap().json["run_id"], task);
    });
}

#[test]
fn models_are_compared_by_canonical_names_and_an_organisation_has_the_last_word() {
    with_server(async |server| {
        let admin = &server.admin;
        let worker = server
            .worker_of(admin, json!({"name": "w", "models": ["azure/gpt-4o-2024-08-06"]}))
            .await;
        for spelling in ["gpt4o", "openai/GPT-4o", "gpt-4o-latest"] {
            let task = admin.submit(json!({"model": spelling})).await;
            let claimed = worker.take().await;
            assert_eq!((&claimed["run_id"], &claimed["model"]), (&json!(task), &json!("gpt-4o")));
            worker.complete(&claimed, json!(1)).await;
        }

        let parked = worker.park().await;
        put_policy(admin, json!({"models": {"house-model": "gpt-4o"}})).await;
        let named = admin.get("/models/normalize?name=House%20Model").await.json;
        assert_eq!(named["canonical"], "gpt-4o");
        let task = admin.submit(json!({"model": "House Model"})).await;
        assert_eq!(parked.await.unwrap().json["run_id"], task);
    });
}

#[test]
fn projects_that_share_workers_share_them_by_weight() {
    with_server(async |server| {
        let admin = &server.admin;
        put_policy(admin, json!({"weights": {"research": 2}})).await;
        let key = admin
            .key(json!({"name": "k", "auto_approve": true, "project_id": "ops", "shared_with": ["research"]}))
            .await;
        let joined = server.anybody().post("/register", &json!({"enrollment_key": key})).await;
        let worker = server.as_worker(&joined);
        let of = |project| admin.clone().with("x-project-id", project);
        for (project, count) in [("ops", 12), ("research", 12)] {
            for _ in 0..count {
                of(project).submit(json!({"payload": project})).await;
            }
        }

        let mut taken = Vec::new();
        for _ in 0..9 {
            let claimed = worker.take().await;
            taken.push(claimed["project_id"].as_str().unwrap().to_owned());
            worker.complete(&claimed, json!(1)).await;
        }

        assert_eq!(taken.iter().filter(|project| *project == "research").count(), 6, "{taken:?}");
        let none = server.submit(json!("no project")).await;
        assert!(why(admin, &none).await.contains("for no project"));
    });
}

#[test]
fn nonsense_in_a_submit_or_a_policy_is_refused_with_what_to_do() {
    with_server(async |server| {
        let admin = &server.admin;
        let submits = [
            (json!({"priority": 10}), 400, "invalid_priority"),
            (json!({"not_before": "tomorrow"}), 400, "invalid_time"),
            (json!({"retry": {"max_attempts": 0}}), 400, "invalid_retry"),
            (json!({"retry": {"max_attempts": 2, "factor": 0.5}}), 400, "invalid_retry"),
            (json!({"retry": {"max_attempts": 2, "initial_seconds": -1}}), 400, "invalid_retry"),
            (json!({"worker_id": "me"}), 400, "invalid_worker_id"),
            (json!({"selector": [{"key": "a", "operator": "in"}]}), 400, "invalid_selector"),
            (
                json!({"selector": [{"key": "a", "operator": "exists", "values": ["b"]}]}),
                400,
                "invalid_selector",
            ),
            (json!({"sandbox": "castle"}), 422, "invalid_body"),
            (json!({"affinity": ""}), 400, "invalid_affinity"),
            (json!({"affinity": "é".repeat(129)}), 400, "invalid_affinity"),
            (json!({"affinity": "k", "affinity_seconds": 301}), 400, "invalid_affinity"),
            (json!({"affinity_seconds": 1}), 400, "invalid_affinity"),
            (json!({"mode": "sandboxed", "sandbox": "none"}), 400, "invalid_mode"),
            (json!({"mode": "agent_jit"}), 400, "invalid_mode"),
        ];
        for (submit, status, code) in submits {
            let refused = admin.post("/tasks", &submit).await;
            assert_eq!(refused.problem(), (status, code), "{submit}");
        }
        let policies = [
            (json!({"weights": {"a": 0}}), 400, "invalid_weight"),
            (json!({"caps": [{"worker": "me", "max": 1}]}), 400, "invalid_worker_id"),
            (json!({"caps": [{"pool": "", "max": 1}]}), 400, "invalid_name"),
            (json!({"weight": {"a": 1}}), 422, "invalid_body"),
        ];
        for (policy, status, code) in policies {
            let refused = admin.send("PUT", &format!("{FLEET}/policy"), Some(&policy)).await;
            assert_eq!(refused.problem(), (status, code), "{policy}");
        }
    });
}
