//! Times on the wire: RFC 3339 in UTC; inside, microseconds.

use chrono::{DateTime, SecondsFormat, Utc};
use fleetward_wire::Timestamp;

/// A time for the wire. One that no calendar has becomes the epoch.
pub(crate) fn rfc3339(micros: i64) -> Timestamp {
    let time = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A time from the wire.
pub(crate) fn micros(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire() {
        let text = rfc3339(1_767_225_600_000_001);
        assert_eq!(text, "2026-01-01T00:00:00.000001Z");
        assert_eq!(micros(&text), Some(1_767_225_600_000_001));
        assert_eq!(micros("yesterday"), None);
    }
}
