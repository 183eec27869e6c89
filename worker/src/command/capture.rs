//! What is kept of a command's output: bounded, whatever it writes.

use std::collections::VecDeque;

use crate::execute::Outcome;

/// The first bytes of a stream.
pub(super) struct Head {
    kept: Vec<u8>,
    cap: usize,
    seen: u64,
}

impl Head {
    pub(super) fn new(cap: usize) -> Self {
        Self { kept: Vec::new(), cap, seen: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = self.cap - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.seen += bytes.len() as u64;
    }

    /// As text; if there was more, a last line says so, because a result that is silently half
    /// there is worse than one that a parser refuses.
    pub(super) fn into_text(self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        if self.seen == self.kept.len() as u64 {
            return text.into_owned();
        }
        // A character that the cap cut in two.
        let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        format!("{text}\n[cut: {} of {} bytes kept]\n", self.kept.len(), self.seen)
    }
}

/// The last bytes of a stream.
pub(super) struct Tail {
    kept: VecDeque<u8>,
    cap: usize,
}

impl Tail {
    pub(super) fn new(cap: usize) -> Self {
        Self { kept: VecDeque::new(), cap }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.cap)..];
        let surplus = (self.kept.len() + bytes.len()).saturating_sub(self.cap);
        self.kept.drain(..surplus);
        self.kept.extend(bytes);
    }

    /// A failure for `reason`, with what the command had to say about it.
    pub(super) fn after(mut self, reason: &str) -> Outcome {
        let said = String::from_utf8_lossy(self.kept.make_contiguous());
        let said = said.trim_start_matches(char::REPLACEMENT_CHARACTER).trim_end();
        Outcome::Failed(if said.is_empty() {
            reason.to_owned()
        } else {
            format!("{reason}: {said}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_keeps_the_beginning_and_says_what_it_cut() {
        let mut head = Head::new(5);
        head.push(b"abc");
        head.push("dé".as_bytes());
        head.push(b"more");

        assert_eq!(head.into_text(), "abcd\n[cut: 5 of 10 bytes kept]\n");
    }

    #[test]
    fn tail_keeps_the_end() {
        let mut tail = Tail::new(4);
        tail.push(b"abc");
        tail.push(b"defg");
        tail.push(b"h");
        tail.push(b"");

        assert!(tail.after("exit code 1") == Outcome::Failed("exit code 1: efgh".to_owned()));
    }

    #[test]
    fn one_write_larger_than_everything_is_bounded_too() {
        let mut tail = Tail::new(4);
        tail.push(b"0123456789");

        assert!(tail.after("x") == Outcome::Failed("x: 6789".to_owned()));
    }
}
