//! What a caller did wrong ends with the exit code that `--help` promises.

use crate::fixture::*;

#[test]
fn mistakes_end_with_the_documented_codes() {
    let place = Place::sqlite();
    let server = Server::start(&place.url());

    let missing = run(&server.base, &["task", "get", "00000000-0000-0000-0000-000000000000"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no such task"));

    let stranger = fleetward()
        .args(["worker", "list"])
        .env("FLEETWARD_SERVER", &server.base)
        .env("FLEETWARD_TOKEN", "fwt_wrong")
        .output()
        .unwrap();
    assert_eq!(stranger.status.code(), Some(2));

    let homeless = fleetward().arg("serve").output().unwrap();
    assert_eq!(homeless.status.code(), Some(2), "serve never invents storage");
}

#[test]
fn server_that_is_gone_is_said_to_be_unavailable() {
    let place = Place::sqlite();
    let mut server = Server::start(&place.url());
    server.process.kill9();

    let asked = run(&server.base, &["worker", "list"]);

    assert_eq!(asked.status.code(), Some(3));
}
