//! Two organisations on one server.

use crate::fixture::*;

#[test]
fn organisations_have_tokens_of_their_own_and_see_nothing_of_each_other() {
    let place = Place::sqlite();
    let server = Server::start(&place.url());
    let base = server.base.as_str();
    let ours = said(&run(base, &["--output", "json", "task", "submit", "--payload", "1"]));
    let org = said(&run(base, &["org", "create", "acme", "--output", "json"]));
    let as_acme = |args: &[&str]| {
        fleetward()
            .args(args)
            .env("FLEETWARD_SERVER", base)
            .env("FLEETWARD_TOKEN", org["token"].as_str().unwrap())
            .output()
            .unwrap()
    };

    let listed = said(&as_acme(&["task", "list", "--output", "json"]));
    assert_eq!(listed["tasks"], serde_json::json!([]));
    let foreign = as_acme(&["task", "get", ours["run_id"].as_str().unwrap()]);
    assert_eq!(foreign.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&foreign.stderr).contains("not_found"));
    assert!(!as_acme(&["org", "create", "more"]).status.success());

    let made = said(&as_acme(&["token", "create", "--name", "second", "--output", "json"]));
    let revoked = as_acme(&["token", "revoke", made["id"].as_str().unwrap()]);
    assert!(revoked.status.success());
    let orgs = said(&run(base, &["org", "list", "--output", "json"]));
    assert_eq!(orgs["total"], 2);
}
