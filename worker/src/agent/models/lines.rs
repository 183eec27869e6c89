//! The messages in a body that comes bit by bit. Pure; bounded, whoever sends it.

use crate::agent::error::AgentError;

/// Longest message, in bytes: a word or two of an answer, with what is said around it.
const MESSAGE_MAX: usize = 1 << 20;

/// How a body is cut into messages.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Framing {
    /// Server-sent events: a message is their data.
    Events,
    /// A message a line.
    Lines,
}

pub(super) struct Lines {
    framing: Framing,
    /// A line whose end is still to come.
    line: Vec<u8>,
    /// The data of an event whose end is still to come.
    data: Option<String>,
}

impl Lines {
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, line: Vec::new(), data: None }
    }

    /// The messages that are whole with `bytes`; `None`: nothing follows, and what is there is whole.
    pub(super) fn push(&mut self, bytes: Option<&[u8]>) -> Result<Vec<String>, AgentError> {
        let mut messages = Vec::new();
        for piece in bytes.unwrap_or(b"\n\n").split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            let waiting = self.line.len() + self.data.as_ref().map_or(0, String::len);
            if waiting > MESSAGE_MAX {
                return Err(AgentError::unavailable("a message of its answer is too long"));
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                // Only whole lines: a character may come in two pieces.
                let line = String::from_utf8_lossy(&line);
                messages.extend(self.end_of(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(messages)
    }

    /// The message that ends with this line.
    fn end_of(&mut self, line: &str) -> Option<String> {
        if self.framing == Framing::Lines {
            return (!line.trim().is_empty()).then(|| line.to_owned());
        }
        if line.is_empty() {
            return self.data.take().filter(|data| !data.is_empty());
        }
        // Names, ids and comments are passed over: each message says itself what it is.
        let data = line.strip_prefix("data:")?;
        let data = data.strip_prefix(' ').unwrap_or(data);
        match &mut self.data {
            Some(before) => {
                before.push('\n');
                before.push_str(data);
            }
            none => *none = Some(data.to_owned()),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_same_in_whatever_pieces_they_come() {
        let events = ": hello\r\nevent: a\r\nid: 1\r\ndata: öne\r\n\r\ndata:two\ndata: lines\n\n\n\ndata: three";
        let lines = "{\"ä\":1}\n\n{}\r\n[1]";
        let table = [
            (Framing::Events, events, vec!["öne", "two\nlines", "three"]),
            (Framing::Lines, lines, vec!["{\"ä\":1}", "{}", "[1]"]),
        ];
        for (framing, body, wanted) in table {
            for size in 1..=body.len() {
                let mut reader = Lines::new(framing);
                let mut found = Vec::new();
                for piece in body.as_bytes().chunks(size) {
                    found.extend(reader.push(Some(piece)).unwrap());
                }
                found.extend(reader.push(None).unwrap());
                assert_eq!(found, wanted, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn message_without_end_is_refused_before_it_is_large() {
        for (framing, piece) in [(Framing::Lines, "x"), (Framing::Events, "data: x\n")] {
            let mut reader = Lines::new(framing);
            let piece = piece.repeat(1000);
            let refused =
                (0..=2 * MESSAGE_MAX / 1000).any(|_| reader.push(Some(piece.as_bytes())).is_err());
            assert!(refused);
        }
    }
}
