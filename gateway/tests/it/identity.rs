//! Who is who: tenants do not see each other, and nobody passes for somebody else.

use serde_json::json;

use crate::server::with_server;

#[test]
fn tenants_do_not_see_each_other() {
    with_server(async |server| {
        let (ours, theirs) = (server.tenant("ours").await, server.tenant("theirs").await);
        let worker = server.worker_of(&theirs, json!({"name": "spy"})).await;
        let id = worker.header("x-worker-id");
        let task = ours.submit(json!({"payload": "x"})).await;
        let key = theirs.post("/enrollment-keys", &json!({"name": "k"})).await.json["id"].clone();
        let key = key.as_str().unwrap();

        assert_eq!(worker.claim(0).await.status, 204);
        assert_eq!(theirs.get(&format!("/tasks/{task}")).await.problem(), (404, "not_found"));
        assert_eq!(theirs.get("/tasks").await.json["tasks"], json!([]));
        assert_eq!(
            ours.get("/workers").await.json,
            json!({"workers": [], "total": 0, "next": null})
        );
        assert_eq!(ours.get("/enrollment-keys").await.json["total"], 0);
        for verb in ["approve", "reject", "revoke"] {
            let refused = ours.post(&format!("/workers/{id}/{verb}"), &json!({})).await;
            assert_eq!(refused.problem(), (404, "not_found"));
        }
        let refused =
            ours.send("DELETE", &format!("/api/v1/fleet/enrollment-keys/{key}"), None).await;
        assert_eq!(refused.problem(), (404, "not_found"));
        let report = worker.post("/report", &json!({"run_id": task})).await;
        assert_eq!(report.problem(), (404, "not_found"));
        assert_eq!(ours.task(&task).await["status"], "pending");
        let audit = theirs.get("/audit?limit=200").await.text;
        assert!(!audit.contains(&task));
    });
}

#[test]
fn system_token_reaches_every_organisation_and_a_tenants_own_only_its_own() {
    with_server(async |server| {
        let ours = server.tenant("ours").await;
        let orgs = server.admin.send("GET", "/api/v1/orgs", None).await.json;
        let named = |name: &str| {
            let orgs = orgs["orgs"].as_array().unwrap();
            let org = orgs.iter().find(|org| org["name"] == name).unwrap();
            org["id"].as_str().unwrap().to_owned()
        };
        let task = ours.submit(json!({})).await;
        let route = format!("/tasks/{task}");

        let by_id = server.admin.clone().with("x-fleetward-org", &named("ours"));
        let by_name = server.admin.clone().with("x-fleetward-org", "ours");
        let unknown = server.admin.clone().with("x-fleetward-org", "nobody");
        let foreign = ours.clone().with("x-fleetward-org", &named("default"));

        assert_eq!(by_id.get(&route).await.status, 200);
        assert_eq!(by_name.get(&route).await.status, 200);
        assert_eq!(server.admin.get(&route).await.problem(), (404, "not_found"));
        assert_eq!(unknown.get(&route).await.problem(), (404, "not_found"));
        assert_eq!(foreign.get("/tasks").await.problem(), (404, "not_found"));
        let own = ours.send("GET", "/api/v1/orgs", None).await.json;
        assert_eq!((&own["total"], &own["orgs"][0]["name"]), (&json!(1), &json!("ours")));
        let named = json!({"name": "named", "display_name": "Named & Sons"});
        server.admin.send("POST", "/api/v1/orgs", Some(&named)).await;
        let orgs = server.admin.send("GET", "/api/v1/orgs", None).await.json;
        let shown = |org: &serde_json::Value| org["display_name"] == named["display_name"];
        assert!(orgs["orgs"].as_array().unwrap().iter().any(shown), "{orgs}");
        let made = ours.send("POST", "/api/v1/orgs", Some(&json!({"name": "more"}))).await;
        assert_eq!(made.problem(), (403, "role_too_low"));
        let actors = ours.send("GET", "/api/v1/system/actors", None).await;
        assert_eq!(actors.problem(), (403, "role_too_low"));
        let actors = server.admin.send("GET", "/api/v1/system/actors", None).await;
        assert!(actors.json["actors"].as_array().is_some_and(|actors| actors.len() > 5));
    });
}

#[test]
fn token_is_good_until_it_is_revoked() {
    with_server(async |server| {
        let ours = server.tenant("ours").await;
        let body = json!({"name": "ci", "expires_in": 3600});
        let made = ours.send("POST", "/api/v1/tokens", Some(&body)).await;
        assert_eq!((made.status, &made.json["role"]), (201, &json!("admin")));
        let token = made.json["token"].as_str().unwrap().to_owned();
        let ci = server.anybody().with("authorization", &format!("bearer {token}"));
        assert_eq!(ci.get("/tasks").await.status, 200);
        let list = ours.send("GET", "/api/v1/tokens", None).await;
        assert!(list.json["total"] == 2 && !list.text.contains(&token));
        let grand = json!({"name": "x", "role": "system"});
        let grand = ours.send("POST", "/api/v1/tokens", Some(&grand)).await;
        assert_eq!(grand.problem(), (403, "role_too_low"));

        let id = made.json["id"].as_str().unwrap();
        let revoked = ours.send("DELETE", &format!("/api/v1/tokens/{id}"), None).await;

        assert_eq!(revoked.json, json!({"status": "ok"}));
        assert_eq!(ci.get("/tasks").await.problem(), (401, "bad_token"));
    });
}

#[test]
fn nobody_gets_in_without_proof() {
    with_server(async |server| {
        let anybody = server.anybody();
        let worker = server.worker("w").await;
        let other = server.worker("w2").await;
        let basic = anybody.clone().with("authorization", "Basic abc");
        let forged = anybody.clone().with("authorization", "Bearer fwt_wrong");
        let stolen = worker.clone().with("x-worker-id", other.header("x-worker-id"));
        let half = anybody.clone().with("x-worker-id", worker.header("x-worker-id"));

        assert_eq!(anybody.get("/tasks").await.problem(), (401, "missing_token"));
        assert_eq!(basic.get("/tasks").await.problem(), (401, "missing_token"));
        assert_eq!(forged.get("/tasks").await.problem(), (401, "bad_token"));
        assert_eq!(half.claim(0).await.problem(), (401, "missing_credentials"));
        assert_eq!(stolen.claim(0).await.problem(), (401, "unknown_worker"));
        let task = server.submit(json!("x")).await;
        let claimed = worker.take().await;
        let theft = other.complete(&claimed, json!(1)).await;
        assert_eq!(theft.problem(), (403, "bad_claim_token"));
        assert_eq!(server.admin.task(&task).await["status"], "claimed");
    });
}
