//! Signed heads: what the record was, from one position to another, when Fleetward was asked. Pure.
//!
//! Whoever keeps one can show later that the record was cut, or written anew, since.

use fleetward_store::{Hash, Position};

use super::signer::{PublicKey, Signer};

/// Keeps signatures of heads apart from any others, and names the layout.
const DOMAIN: &str = "fleetward audit head 1";

/// A stretch of a record: from after one position up to and with another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whose record: the id of an organisation, or `system`.
    pub org: String,
    /// The number of its cell.
    pub cell: i64,
    /// The position before its first event; 0: it begins with the record.
    pub after: Position,
    /// The chain up to that position.
    pub after_hash: Hash,
    /// Its last position; 0: there is none.
    pub position: Position,
    /// The chain up to that position.
    pub hash: Hash,
    /// When this was true, in microseconds UTC.
    pub at: i64,
}

/// A head and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// What is said.
    pub head: Head,
    /// By whom.
    pub key: PublicKey,
    /// Ed25519, over [`Head::text`].
    pub signature: Vec<u8>,
}

impl Head {
    /// What is signed: a line for each field.
    pub fn text(&self) -> String {
        let Self { org, cell, after, after_hash, position, hash, at } = self;
        format!("{DOMAIN}\n{org}\n{cell}\n{after}\n{after_hash}\n{position}\n{hash}\n{at}\n")
    }

    /// The same, signed.
    pub fn signed(self, signer: &Signer) -> SignedHead {
        let signature = signer.sign(self.text().as_bytes());
        SignedHead { head: self, key: signer.public(), signature }
    }
}

impl SignedHead {
    /// Whether its key signed it.
    pub fn holds(&self) -> bool {
        self.key.verifies(self.head.text().as_bytes(), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::MasterKey;

    #[test]
    fn every_field_is_signed() {
        let (signer, _) = Signer::fresh(&MasterKey::fresh()).unwrap();
        let hash = |byte| Hash::from_bytes([byte; 32]);
        let head = Head {
            org: "o".into(),
            cell: 1,
            after: 2,
            after_hash: hash(3),
            position: 4,
            hash: hash(5),
            at: 6,
        };
        let signed = head.clone().signed(&signer);
        let changed = [
            Head { org: "p".into(), ..head.clone() },
            Head { cell: 2, ..head.clone() },
            Head { after: 3, ..head.clone() },
            Head { after_hash: hash(4), ..head.clone() },
            Head { position: 5, ..head.clone() },
            Head { hash: hash(6), ..head.clone() },
            Head { at: 7, ..head },
        ];

        assert!(signed.holds());
        for head in changed {
            assert!(!SignedHead { head: head.clone(), ..signed.clone() }.holds(), "{head:?}");
        }
    }
}
