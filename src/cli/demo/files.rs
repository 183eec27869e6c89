//! The files that the demo works on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::error::Failed;

/// Most files that are taken from a folder.
const MOST: usize = 500;

/// The files of a folder, not those of folders in it.
pub(super) fn of(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let unreadable =
        |error: std::io::Error| Failed::refused(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_file() {
            files.push(fs::canonicalize(entry.path())?);
        }
    }
    files.sort();
    files.truncate(MOST);
    if files.len() < 2 {
        return Err(Failed::refused(format!("{} has fewer than two files", folder.display())));
    }
    Ok(files)
}

/// Makes files of different sizes and contents.
pub(super) fn make(folder: &Path, count: usize) -> Result<Vec<PathBuf>, Failed> {
    fs::create_dir_all(folder)?;
    let words = ["fleet", "worker", "lease", "journal", "attempt", "cell", "seat", "effect"];
    for n in 0..count.clamp(2, MOST) {
        let line = |row: usize| {
            let picked =
                (0..3 + row % 9).map(|column| words[(n * 7 + row * 3 + column) % words.len()]);
            picked.collect::<Vec<_>>().join(" ") + "\n"
        };
        let text: String = (0..n * n).map(line).collect();
        fs::write(folder.join(format!("file-{n:03}.txt")), text)?;
    }
    of(folder)
}
