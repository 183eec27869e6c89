//! Lines of a command's standard error that say how far it is: taken out of the errors and passed on.
//!
//! Standard error, because every language can write to it, shells and pipelines pass it on, and it costs no descriptor.

use serde_json::Value;
use tokio::sync::watch;

use crate::progress::Said;

/// How a line begins that is a word of progress and no error.
pub const PROGRESS_PREFIX: &str = "::progress ";
/// How much of such a line is kept, in bytes. As JSON it takes at most six times as much, which is within what the
/// control plane takes.
pub const PROGRESS_CAP: usize = 8 * 1024;

/// Parts words of progress from errors.
pub(super) struct Sieve {
    /// What may be, or is, a word of progress.
    line: Vec<u8>,
    /// The line is an error.
    passing: bool,
    said: watch::Sender<Option<Said>>,
}

impl Sieve {
    /// And where the newest word is read.
    pub(super) fn new() -> (Self, watch::Receiver<Option<Said>>) {
        let (said, newest) = watch::channel(None);
        (Self { line: Vec::new(), passing: false, said }, newest)
    }

    /// Takes bytes as they come; `pass` gets those that are no progress.
    pub(super) fn push(&mut self, bytes: &[u8], mut pass: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let is_whole = piece.ends_with(b"\n");
            if self.passing || !self.may_be_progress(piece) {
                pass(&std::mem::take(&mut self.line));
                pass(piece);
                self.passing = !is_whole;
                continue;
            }
            let room = PROGRESS_CAP - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if is_whole {
                let line = std::mem::take(&mut self.line);
                self.said.send_replace(Some(read(&line[PROGRESS_PREFIX.len()..])));
            }
        }
    }

    fn may_be_progress(&self, next: &[u8]) -> bool {
        let missing = PROGRESS_PREFIX.as_bytes().get(self.line.len()..).unwrap_or_default();
        missing.starts_with(&next[..next.len().min(missing.len())])
    }
}

/// `40 half of it`, `40%`, `half of it`, `40 {"files": 3}`.
fn read(line: &[u8]) -> Said {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let number = first.strip_suffix('%').unwrap_or(first);
    let percent = number.parse().ok().filter(|percent| *percent <= 100);
    let said = if percent.is_some() { rest.trim() } else { text };
    let data = match serde_json::from_str(said) {
        Ok(data @ (Value::Object(_) | Value::Array(_))) => data,
        _ => Value::String(said.to_owned()),
    };
    Said { percent, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is passed on as errors, and the last word of progress.
    fn sift(pieces: &[&str]) -> (String, Option<Said>) {
        let (mut sieve, newest) = Sieve::new();
        let mut errors = Vec::new();
        pieces.iter().for_each(|piece| sieve.push(piece.as_bytes(), |b| errors.extend(b)));
        let said = newest.borrow().clone();
        (String::from_utf8(errors).unwrap(), said)
    }

    #[test]
    fn words_are_read_and_taken_out_of_the_errors() {
        let table = [
            ("40 half of it", Some(40), json!("half of it")),
            ("40%", Some(40), json!("")),
            ("almost", None, json!("almost")),
            ("101 dalmatians", None, json!("101 dalmatians")),
            (r#"7 {"files": 3}"#, Some(7), json!({"files": 3})),
            ("", None, json!("")),
        ];
        for (line, percent, data) in table {
            let (errors, said) = sift(&["one\n", &format!("::progress {line}\n"), "two\n"]);
            assert_eq!(errors, "one\ntwo\n", "{line}");
            assert!(said == Some(Said { percent, data }), "{line}");
        }
    }

    #[test]
    fn line_may_come_in_any_pieces_and_the_newest_stands() {
        let text = "::prog\n::progress 1 a\nx ::progress 3\n::progress 2 b\n::";
        let bytes: Vec<_> =
            text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();

        let (errors, said) = sift(&bytes);

        assert_eq!(errors, "::prog\nx ::progress 3\n");
        assert!(said == Some(Said { percent: Some(2), data: json!("b") }));
    }

    #[test]
    fn long_line_is_cut_and_what_follows_is_whole() {
        let long = "x".repeat(3 * PROGRESS_CAP);

        let (errors, said) = sift(&["::progress 5 ", &long, &long, "\nerror\n"]);

        assert_eq!(errors, "error\n");
        let said = said.unwrap().data;
        assert!(said.as_str().unwrap().len() < PROGRESS_CAP);
    }
}
