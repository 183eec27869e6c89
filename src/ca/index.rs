//! What an authority has issued: enough to revoke it.

use std::io::ErrorKind;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{CaError, at, malformed};

/// For how long an expired certificate stays in the index, for people who look what became of it.
const REMEMBER: TimeDelta = TimeDelta::days(30);

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Its serial number, in hex.
    pub serial: String,
    /// Whose it is.
    pub subject: String,
    /// The pin of its key, which a certificate that was renewed has in common with those before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Since when.
    pub issued_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    /// How many lists were signed: each has a number above those before.
    pub(super) lists: u64,
    pub(super) issued: Vec<Issued>,
}

impl Index {
    pub(super) fn read(path: &Path) -> Result<Self, CaError> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| malformed(path, &error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(at(path)(error)),
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts, times and a number")
    }

    /// Adds one, and forgets those that expired long ago.
    pub(super) fn add(&mut self, issued: Issued, now: DateTime<Utc>) {
        self.issued.retain(|known| known.expires_at + REMEMBER > now);
        self.issued.push(issued);
    }

    /// Revokes a certificate, and those with the same key: whoever took the key may have taken one of them with it.
    pub(super) fn revoke(&mut self, serial: &str, now: DateTime<Utc>) {
        let named = self.issued.iter().find(|issued| issued.serial == serial);
        let key = named.and_then(|issued| issued.key.clone());
        let has_key = |issued: &Issued| key.is_some() && issued.key == key;
        let meant = |issued: &&mut Issued| issued.serial == serial || has_key(issued);
        for issued in self.issued.iter_mut().filter(meant) {
            issued.revoked_at.get_or_insert(now);
        }
    }

    /// Serials and times of what was revoked and would otherwise still be good.
    pub(super) fn revoked(&self, now: DateTime<Utc>) -> Vec<(Vec<u8>, DateTime<Utc>)> {
        let good = self.issued.iter().filter(|issued| issued.expires_at > now);
        good.filter_map(|issued| Some((hex::decode(&issued.serial).ok()?, issued.revoked_at?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_names_what_is_revoked_and_not_expired() {
        let now = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap();
        let issued = |serial: &str, hours: i64| Issued {
            serial: serial.to_owned(),
            subject: "w".to_owned(),
            key: None,
            issued_at: now,
            expires_at: now + TimeDelta::hours(hours),
            revoked_at: None,
        };
        let mut index = Index::default();
        for (serial, hours) in [("01", 24), ("02", 24), ("03", 1)] {
            index.add(issued(serial, hours), now);
        }

        index.revoke("02", now);
        index.revoke("02", now + TimeDelta::hours(1));
        index.revoke("03", now);

        assert_eq!(index.revoked(now), [(vec![2], now), (vec![3], now)]);
        assert_eq!(index.revoked(now + TimeDelta::hours(2)), [(vec![2], now)]);
        index.add(issued("04", 24), now + TimeDelta::days(40));
        assert_eq!(index.issued.len(), 1, "what expired long ago is forgotten");
    }

    #[test]
    fn renewed_certificate_is_revoked_with_those_before_it() {
        let now = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap();
        let mut index = Index::default();
        for (serial, key) in [("01", "old"), ("02", "old"), ("03", "new")] {
            let issued = Issued {
                serial: serial.to_owned(),
                subject: "w".to_owned(),
                key: Some(key.to_owned()),
                issued_at: now,
                expires_at: now + TimeDelta::hours(24),
                revoked_at: None,
            };
            index.add(issued, now);
        }

        index.revoke("02", now);

        assert_eq!(index.revoked(now), [(vec![1], now), (vec![2], now)]);
    }
}
