//! JSON to a tree. Pure. YAML's parsers take most of JSON; this takes all of it, escaped surrogates among it.

use super::tree::{Key, Kind, Mark, Style, Tree};

/// As deep as YAML may be.
const NESTING_MAX: usize = 160;
const KEYS_MAX: usize = 1_000;

/// The tree of a text, if it is JSON without a key that stands twice. What is wrong with it otherwise says the parser of
/// YAML, which then reads it.
pub(super) fn read(text: &str) -> Option<Tree> {
    let mut reader = Reader { text, at: 0, mark: Mark::START, nesting: 0 };
    reader.blanks();
    let tree = reader.value()?;
    reader.blanks();
    (reader.at == text.len()).then_some(tree)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    mark: Mark,
    nesting: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Moves over so many bytes.
    fn skip(&mut self, bytes: usize) {
        for c in self.text[self.at..self.at + bytes].chars() {
            match c {
                '\n' => self.mark = Mark { line: self.mark.line + 1, column: 1 },
                _ => self.mark.column += 1,
            }
        }
        self.at += bytes;
    }

    fn blanks(&mut self) {
        let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
        let bytes = self.rest().len() - self.rest().trim_start_matches(blank).len();
        self.skip(bytes);
    }

    /// Takes a sign, if it is next.
    fn takes(&mut self, sign: u8) -> bool {
        let found = self.next() == Some(sign);
        if found {
            self.skip(1);
            self.blanks();
        }
        found
    }

    fn value(&mut self) -> Option<Tree> {
        let at = self.mark;
        let kind = match self.next()? {
            b'{' => self.nested(Self::object)?,
            b'[' => self.nested(Self::list)?,
            b'"' => Kind::Text { text: self.text()?, style: Style::Quoted },
            _ => self.plain()?,
        };
        self.blanks();
        Some(Tree { at, kind })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<Kind>) -> Option<Kind> {
        self.nesting += 1;
        let kind = if self.nesting <= NESTING_MAX { read(self) } else { None };
        self.nesting -= 1;
        kind
    }

    fn object(&mut self) -> Option<Kind> {
        self.takes(b'{');
        let mut entries: Vec<(Key, Tree)> = Vec::new();
        if self.takes(b'}') {
            return Some(Kind::Map(entries));
        }
        loop {
            let at = self.mark;
            let name = (self.next()? == b'"').then(|| self.text())??;
            self.blanks();
            let known = entries.iter().any(|(key, _)| key.name == name);
            if known || entries.len() >= KEYS_MAX || !self.takes(b':') {
                return None;
            }
            entries.push((Key { at, name }, self.value()?));
            if !self.takes(b',') {
                return self.takes(b'}').then_some(Kind::Map(entries));
            }
        }
    }

    fn list(&mut self) -> Option<Kind> {
        self.takes(b'[');
        let mut items = Vec::new();
        if self.takes(b']') {
            return Some(Kind::List(items));
        }
        loop {
            items.push(self.value()?);
            if !self.takes(b',') {
                return self.takes(b']').then_some(Kind::List(items));
            }
        }
    }

    fn text(&mut self) -> Option<String> {
        let (mut end, mut escaped) = (1, false);
        for byte in self.rest().bytes().skip(1) {
            end += 1;
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => break,
                _ => {}
            }
        }
        let text = serde_json::from_str(self.rest().get(..end)?).ok()?;
        self.skip(end);
        Some(text)
    }

    fn plain(&mut self) -> Option<Kind> {
        let ends = |c: char| matches!(c, ',' | ']' | '}' | ' ' | '\t' | '\n' | '\r');
        let end = self.rest().find(ends).unwrap_or(self.rest().len());
        let word = self.rest()[..end].to_owned();
        // A number, true, false or null: what serde takes.
        serde_json::from_str::<serde_json::Value>(&word).ok()?;
        self.skip(end);
        Some(Kind::Text { text: word, style: Style::Plain })
    }
}
