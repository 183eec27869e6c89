//! The file that a master key is kept in.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fleetward_actors::seal::{BadKey, MasterKey};

/// Why a file gave no master key.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Look at its rights, and those of its folder.
    #[error("{}: {source}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{}: {source}", file.display())]
    Bad {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        source: BadKey,
    },
}

/// The key in a file.
///
/// # Errors
/// When there is none.
pub fn read(file: &Path) -> Result<MasterKey, FileError> {
    let text = std::fs::read_to_string(file).map_err(|source| io_error(file, source))?;
    MasterKey::parse(&text).map_err(|source| FileError::Bad { file: file.to_owned(), source })
}

/// A fresh key in a new file that only its owner can read.
///
/// # Errors
/// When the file is there already, or cannot be made. A key is never overwritten: what it sealed would be lost.
pub fn create(file: &Path) -> Result<MasterKey, FileError> {
    let key = MasterKey::fresh();
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let written = made.and_then(|mut opened| {
        writeln!(opened, "{}", key.expose())?;
        opened.sync_all()
    });
    written.map(|()| key).map_err(|source| io_error(file, source))
}

/// The key in a file, which is made if it is not there. For a store and a key that live and go together.
///
/// # Errors
/// As `read` and `create`.
pub fn kept(file: &Path) -> Result<MasterKey, FileError> {
    match create(file) {
        Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
            read(file)
        }
        made => made,
    }
}

fn io_error(file: &Path, source: io::Error) -> FileError {
    FileError::Io { file: file.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");

        let made = kept(&file).unwrap();

        assert_eq!(kept(&file).unwrap().expose(), made.expose());
        assert_eq!(read(&file).unwrap().expose(), made.expose());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create(&file).is_err(), "never overwritten");
        std::fs::write(&file, "no key").unwrap();
        assert!(matches!(read(&file), Err(FileError::Bad { .. })));
    }
}
