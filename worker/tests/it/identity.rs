//! The identity file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fleetward_wire::workers::Register;
use fleetward_worker::{Identity, IdentityError, Proof};

#[test]
fn an_identity_is_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/w1.json");

    identity().save(&path).unwrap();
    let loaded = Identity::load(&path).unwrap().unwrap();

    assert_eq!((&*loaded.server, &*loaded.worker_id), ("http://fleet:7700", "w-1"));
    let Proof::KeyPair { private_key, org_id } = &loaded.proof else { panic!("{loaded:?}") };
    assert_eq!((&*loaded.name, private_key.expose().as_str(), &**org_id), ("ann", "s3cret", "o-1"));
}

#[test]
fn nobody_else_can_read_it_and_nothing_is_left_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inner/w1.json");

    identity().save(&path).unwrap();
    identity().save(&path).unwrap();

    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w1.json");
    identity().save(&path).unwrap();

    for exposed in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, Permissions::from_mode(exposed)).unwrap();

        let refused = Identity::load(&path);

        assert!(matches!(refused, Err(IdentityError::Exposed { mode, .. }) if mode == exposed));
    }
}

#[test]
fn a_file_that_is_something_else_is_refused_without_quoting_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w1.json");
    fs::write(&path, r#"{"worker_secret": ["s3cret"]}"#).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();

    let error = Identity::load(&path).unwrap_err();

    assert!(matches!(error, IdentityError::Malformed { .. }));
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[test]
fn without_a_file_there_is_no_identity() {
    let folder = tempfile::tempdir().unwrap();

    assert!(Identity::load(&folder.path().join("w1.json")).unwrap().is_none());
}

#[tokio::test]
async fn a_secret_is_not_sent_to_another_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w1.json");
    identity().save(&path).unwrap();

    let register = Register::default();
    let refused = Identity::load_or_register(&path, "http://elsewhere:7700", register).await;

    assert!(matches!(refused, Err(IdentityError::OtherServer { .. })));
}

#[tokio::test]
async fn a_worker_that_is_known_does_not_register_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w1.json");
    identity().save(&path).unwrap();

    let register = Register::default();
    let known = Identity::load_or_register(&path, "http://fleet:7700/", register).await.unwrap();

    assert_eq!(known.worker_id, "w-1");
}

#[test]
fn formatting_an_identity_does_not_show_its_secret() {
    assert!(!format!("{:?}", identity()).contains("s3cret"));
}

fn identity() -> Identity {
    Identity {
        server: "http://fleet:7700".to_owned(),
        worker_id: "w-1".to_owned(),
        proof: Proof::KeyPair { private_key: "s3cret".into(), org_id: "o-1".to_owned() },
        name: "ann".to_owned(),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
