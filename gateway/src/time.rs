//! Times on the wire: RFC 3339 in UTC. Inside they are microseconds since 1970.

use chrono::{DateTime, SecondsFormat, Utc};
use fleetward_wire::Timestamp;

/// Microseconds since 1970 as text.
pub(crate) fn text(at_us: i64) -> Timestamp {
    // Out of range only if the machine's clock is off by 262,000 years.
    let at = DateTime::<Utc>::from_timestamp_micros(at_us).unwrap_or(DateTime::UNIX_EPOCH);
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Text as microseconds since 1970.
pub(crate) fn parse(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_as_the_same_microsecond() {
        for at_us in [0, 1_700_000_000_123_456, -1] {
            assert_eq!(parse(&text(at_us)), Some(at_us));
        }
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(parse("yesterday"), None);
        assert_eq!(text(i64::MAX), text(0));
    }
}
