//! YAML 1.2 to a tree. Pure.
//!
//! Strict where YAML is generous: a key stands once, an alias may not blow the document up, tags and merge keys mean
//! nothing. Types are up to whoever reads the tree, so a label `no` is the text `no`.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::Problem;
use super::tree::{Key, Kind, Mark, Style, Tree};

/// Most parts of a document, with those that aliases stand for.
const PARTS_MAX: usize = 50_000;
/// Most keys of one mapping.
const KEYS_MAX: usize = 1_000;
/// Deepest nesting of lists and mappings: a definition of the deepest nesting takes four for each level.
const NESTING_MAX: usize = 160;

/// The tree of a text.
///
/// # Errors
/// The text is no YAML, or not one document.
pub(super) fn read(text: &str) -> Result<Tree, Problem> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| scan_error(&error))?;
        builder.event(event, span)?;
    }
    builder.root.ok_or_else(|| problem(Mark::START, "the document is empty"))
}

fn problem(at: Mark, message: impl Into<String>) -> Problem {
    Problem::new(Some(at), String::new(), message)
}

fn mark(span: Span) -> Mark {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Mark { line: number(span.start.line()), column: number(span.start.col() + 1) }
}

fn scan_error(error: &ScanError) -> Problem {
    let at = mark(Span::empty(*error.marker()));
    let info = error.info();
    let hint = match info {
        info if info.contains("mapping values are not allowed") => {
            ": text with `: ` in it stands in quotes"
        }
        info if info.contains("tab") => ": indent with blanks",
        info if info.contains("expected <block end>") || info.contains("expected key") => {
            ": is this line indented like its neighbours?"
        }
        _ => "",
    };
    problem(at, format!("this is no YAML: {info}{hint}"))
}

/// A list or mapping that has not ended.
struct Open {
    at: Mark,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Tree>),
    Map { entries: Vec<(Key, Tree)>, key: Option<Key> },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Tree>,
    root: Option<Tree>,
    parts: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = mark(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                no_tag(at, tag.is_some())?;
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal => Style::Block,
                    ScalarStyle::Folded => Style::Folded,
                };
                let kind = Kind::Text { text: text.into_owned(), style };
                self.done(Tree { at, kind }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                no_tag(at, tag.is_some())?;
                self.begin(at, anchor, OpenKind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                no_tag(at, tag.is_some())?;
                self.begin(at, anchor, OpenKind::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(tree) => {
                    self.parts += tree.size();
                    let tree = tree.clone();
                    self.done(tree, 0)
                }
                None => Err(problem(at, "this alias stands inside of what it means")),
            },
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(problem(at, "a second document begins here; a file holds one"))
            }
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => Ok(()),
        }
    }

    fn begin(&mut self, at: Mark, anchor: usize, kind: OpenKind) -> Result<(), Problem> {
        if self.open.len() >= NESTING_MAX {
            return Err(problem(
                at,
                format!("the document is nested deeper than {NESTING_MAX} levels"),
            ));
        }
        self.open.push(Open { at, anchor, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Open { at, anchor, kind }) = self.open.pop() else { return Ok(()) };
        let kind = match kind {
            OpenKind::List(items) => Kind::List(items),
            OpenKind::Map { entries, .. } => Kind::Map(entries),
        };
        self.done(Tree { at, kind }, anchor)
    }

    /// A part is complete: it belongs to what is open around it.
    fn done(&mut self, tree: Tree, anchor: usize) -> Result<(), Problem> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(problem(tree.at, format!("the document has more than {PARTS_MAX} parts")));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, tree.clone());
            self.parts += tree.size();
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(tree),
            Some(OpenKind::List(items)) => items.push(tree),
            Some(OpenKind::Map { entries, key }) => match key.take() {
                Some(key) => entries.push((key, tree)),
                None => *key = Some(new_key(tree, entries)?),
            },
        }
        Ok(())
    }
}

fn new_key(tree: Tree, entries: &[(Key, Tree)]) -> Result<Key, Problem> {
    let Tree { at, kind: Kind::Text { text: name, .. } } = tree else {
        return Err(problem(tree.at, "a key is text"));
    };
    if name == "<<" {
        return Err(problem(at, "`<<` merges nothing here: write the keys out"));
    }
    if entries.len() >= KEYS_MAX {
        return Err(problem(at, format!("a mapping has at most {KEYS_MAX} keys")));
    }
    match entries.iter().find(|(key, _)| key.name == name) {
        Some((first, _)) => {
            let message =
                format!("the key `{name}` stands here twice, first in line {}", first.at.line);
            Err(problem(at, message))
        }
        None => Ok(Key { at, name }),
    }
}

fn no_tag(at: Mark, tagged: bool) -> Result<(), Problem> {
    if tagged {
        Err(problem(at, "tags (`!...`) mean nothing here; text stands in quotes"))
    } else {
        Ok(())
    }
}
