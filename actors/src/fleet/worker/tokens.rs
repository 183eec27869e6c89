//! What is known of one worker's task tokens: never their text. Pure.

use serde::{Deserialize, Serialize};

use crate::id::{SigningKeyId, TaskTokenId};

/// Newest tokens that a worker's record names.
const NAMED: usize = 16;
/// Most tokens within the time below. A worker needs one every few minutes, and one more at each start.
const BURST: usize = 10;
/// That time, in microseconds.
const BURST_WITHIN_US: i64 = 10_000_000;

/// The tokens of one worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// The newest generation; 0: none was ever issued.
    pub generation: u32,
    /// The newest generation that was known to be used when the newest was issued.
    pub used: u32,
    /// Those that were not over when the newest was issued, oldest first; at most sixteen.
    pub issued: Vec<Issued>,
    /// Those that were taken back and were not over when that was last looked at.
    pub revoked: Vec<TakenBack>,
}

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Its id, the `jti`.
    pub id: TaskTokenId,
    /// Its generation.
    pub generation: u32,
    /// When, in microseconds UTC.
    pub at: i64,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
    /// Which key signed it.
    pub signed_by: SigningKeyId,
}

/// A token that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// Its id.
    pub id: TaskTokenId,
    /// When it would have ended: it is forgotten then.
    pub expires_at: i64,
    /// When it was taken back, in microseconds UTC.
    #[serde(default)]
    pub at: i64,
}

impl Tokens {
    /// A token was issued; `used` is the newest generation that was known to be used.
    pub(super) fn issue(&mut self, token: Issued, used: u32) {
        self.forget(token.at);
        self.generation = token.generation;
        self.used = self.used.max(used);
        self.issued.push(token);
        let excess = self.issued.len().saturating_sub(NAMED);
        self.issued.drain(..excess);
    }

    /// A token was taken back at `at`.
    pub(super) fn take_back(&mut self, id: TaskTokenId, expires_at: i64, at: i64) {
        self.forget(at);
        if !self.is_taken_back(id) {
            self.revoked.push(TakenBack { id, expires_at, at });
        }
    }

    /// One that was issued and is not over at `now`.
    pub fn find(&self, id: TaskTokenId, now: i64) -> Option<&Issued> {
        self.issued.iter().find(|token| token.id == id && token.expires_at > now)
    }

    /// Whether a token was taken back.
    pub fn is_taken_back(&self, id: TaskTokenId) -> bool {
        self.revoked.iter().any(|token| token.id == id)
    }

    /// Whether one more at `now` would be too many: each is an event.
    pub fn is_hasty(&self, now: i64) -> bool {
        let recent = |token: &&Issued| token.at > now.saturating_sub(BURST_WITHIN_US);
        self.issued.iter().filter(recent).count() >= BURST
    }

    fn forget(&mut self, now: i64) {
        self.issued.retain(|token| token.expires_at > now);
        self.revoked.retain(|token| token.expires_at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(generation: u32, at: i64) -> Issued {
        let id = TaskTokenId::fresh();
        Issued { id, generation, at, expires_at: at + 100, signed_by: SigningKeyId::fresh() }
    }

    #[test]
    fn what_is_over_leaves_and_the_list_stays_short() {
        let mut tokens = Tokens::default();
        let first = issued(1, 0);
        tokens.issue(first.clone(), 0);
        tokens.take_back(first.id, first.expires_at, 1);
        assert!(tokens.is_taken_back(first.id) && tokens.find(first.id, 99).is_some());

        tokens.issue(issued(2, 100), 1);
        assert!(!tokens.is_taken_back(first.id));
        assert_eq!((tokens.generation, tokens.used, tokens.issued.len()), (2, 1, 1));
        for generation in 3..40 {
            tokens.issue(issued(generation, 101), 1);
        }
        assert_eq!(tokens.issued.len(), NAMED);
        assert_eq!(tokens.issued.last().map(|token| token.generation), Some(39));
    }

    #[test]
    fn tokens_are_not_issued_in_haste() {
        let mut tokens = Tokens::default();
        for generation in 1..=BURST as u32 {
            assert!(!tokens.is_hasty(50));
            tokens.issue(issued(generation, 50), 0);
        }
        assert!(tokens.is_hasty(50));
        assert!(!tokens.is_hasty(50 + BURST_WITHIN_US));
    }
}
