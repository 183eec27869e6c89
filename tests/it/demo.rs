//! The README's first command.

use crate::fixture::*;

#[test]
fn demo_succeeds_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = fleetward().arg("demo").env("TMPDIR", folder.path()).output().unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn demo_works_on_the_files_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("a.txt", "one two"), ("b.txt", ""), ("c.txt", "three\nfour five\n")] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }

    let output = fleetward().arg("demo").arg("--dir").arg(folder.path()).output().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "the folder is as it was");
}
