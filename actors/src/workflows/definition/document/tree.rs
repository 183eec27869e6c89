//! A document as it was written: text, lists and mappings with their positions. Pure.

/// Where something stands in a document: line and column, in characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Mark {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: it may mean a number, true, false or null.
    Plain,
    /// In quotes: it is text.
    Quoted,
    /// Below a `|`.
    Block,
    /// Below a `>`.
    Folded,
}

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) at: Mark,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text { text: String, style: Style },
    List(Vec<Tree>),
    Map(Vec<(Key, Tree)>),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) at: Mark,
    pub(super) name: String,
}

impl Tree {
    /// What it is, in words.
    pub(super) fn word(&self) -> &'static str {
        match &self.kind {
            Kind::Text { .. } if self.is_null() => "nothing",
            Kind::Text { style: Style::Plain, text } => match text.as_str() {
                "true" | "false" => "true or false",
                text if text.parse::<f64>().is_ok() => "a number",
                _ => "text",
            },
            Kind::Text { .. } => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// Whether there is nothing: no value, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Text { text, style: Style::Plain }
            if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// How many parts it has, itself included.
    pub(super) fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Text { .. } => 0,
            Kind::List(items) => items.iter().map(Self::size).sum(),
            Kind::Map(entries) => entries.iter().map(|(_, value)| value.size()).sum(),
        }
    }

    fn key(&self, name: &str) -> Option<&(Key, Tree)> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(key, _)| key.name == name),
            Kind::Text { .. } | Kind::List(_) => None,
        }
    }

    /// Where the thing of a path stands, or the nearest around it that is there: `steps[1].cases[0].when`.
    pub(super) fn locate(&self, path: &str) -> Mark {
        let (mut here, mut at) = (self, self.at);
        for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
            let next = match (part.strip_suffix(']'), &here.kind) {
                (Some(index), Kind::List(items)) => {
                    let item = index.parse().ok().and_then(|index: usize| items.get(index));
                    item.map(|item| (item, item.at))
                }
                (Some(_), _) => None,
                (None, _) => here.key(part).map(|(key, value)| {
                    // Of a text, the text itself; a list or mapping below a key begins somewhere else.
                    let is_text = matches!(value.kind, Kind::Text { .. }) && !value.is_null();
                    (value, if is_text { value.at } else { key.at })
                }),
            };
            let Some(next) = next else { return at };
            (here, at) = next;
        }
        at
    }
}
