//! Every fenced block of the documentation: of the Markdown files and of the comments in the code.

use std::fs;
use std::path::Path;

/// A fenced block, and where it stands.
#[derive(Debug)]
pub(super) struct Block {
    /// The file, from the root of the repository.
    pub(super) file: String,
    /// The number of its first line in that file.
    pub(super) line: usize,
    /// The `## ` heading above it, in a Markdown file.
    pub(super) heading: String,
    /// What stands behind the fence: `sh`.
    pub(super) language: String,
    pub(super) text: String,
}

impl Block {
    /// Whether `cargo test` compiles it: Rust in a comment of a library, or in the README, which is one of those.
    pub(super) fn is_doctest(&self) -> bool {
        const COMPILED: [&str; 5] = ["", "rust", "no_run", "rust,no_run", "should_panic"];
        let in_library = self.file.ends_with(".rs")
            && self.file.split('/').any(|folder| folder == "src")
            && !self.file.starts_with("src/cli")
            && self.file != "src/main.rs";
        let in_readme = self.file == "README.md" && !self.language.is_empty();
        (in_library || in_readme) && COMPILED.contains(&self.language.as_str())
    }

    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// All of the repository.
pub(super) fn all() -> Vec<Block> {
    let mut blocks = Vec::new();
    look_into(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut blocks);
    blocks
}

fn look_into(folder: &Path, within: &str, blocks: &mut Vec<Block>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let file = format!("{within}{name}");
        // What is built, installed or measured into the tree is not ours.
        let ours = !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str());
        if entry.file_type().unwrap().is_dir() {
            if ours {
                look_into(&entry.path(), &format!("{file}/"), blocks);
            }
        } else if name.ends_with(".md") || name.ends_with(".rs") {
            blocks.extend(of(&file, &fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

fn of(file: &str, text: &str) -> Vec<Block> {
    let (mut blocks, mut open, mut heading) = (Vec::new(), None::<Block>, String::new());
    for (number, line) in text.lines().enumerate() {
        let Some(line) = documentation(file, line) else { continue };
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(language)) => {
                open = Some(Block {
                    file: file.to_owned(),
                    line: number + 2,
                    heading: heading.clone(),
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) if line.starts_with("## ") => heading = line.to_owned(),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed: {open:?}");
    blocks
}

/// The part of a line that is documentation.
fn documentation<'a>(file: &str, line: &'a str) -> Option<&'a str> {
    if file.ends_with(".md") {
        return Some(line);
    }
    let line = line.trim_start();
    let said = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))?;
    Some(said.strip_prefix(' ').unwrap_or(said))
}
