//! Durations as people write them: `500ms`, `2s`, `1h30m`, `3d`. Pure.

/// Units, the largest first, in milliseconds.
const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A duration in milliseconds.
///
/// # Errors
/// Says what would be right.
pub fn read(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no duration; write `500ms`, `2s`, `10m`, `1h30m` or `3d`");
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no unit; write `{text}s` for seconds"));
    }
    let (mut rest, mut total, mut last) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits =
            rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (number, behind) = rest.split_at(digits);
        let letters =
            behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, behind) = behind.split_at(letters);
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        // From large to small, each unit once: `5m1h` is a slip.
        if *ms >= last {
            return Err(wrong());
        }
        last = *ms;
        let part = part(number, *ms).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = behind;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// `number` units of so many milliseconds, if that is a whole number of milliseconds.
fn part(number: &str, ms: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 6 || fraction.contains('.') {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let below = fraction.parse::<u64>().ok()?.checked_mul(ms)?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(ms)?;
    (below % scale == 0).then(|| whole.checked_add(below / scale))?
}

/// The text of a duration.
pub(super) fn write(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut rest = ms;
    let mut text = String::new();
    for (unit, size) in UNITS {
        if rest >= size {
            text += &format!("{}{unit}", rest / size);
            rest %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        let table = [
            ("500ms", 500),
            ("2s", 2_000),
            ("0.5s", 500),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("3d", 259_200_000),
            ("2w", 1_209_600_000),
        ];
        for (text, ms) in table {
            assert_eq!(read(text), Ok(ms), "{text}");
            assert_eq!(read(&write(ms)), Ok(ms), "{text}");
        }
        for bad in [
            "",
            "5",
            "5 m",
            "m",
            "1h1h",
            "5m1h",
            "-5s",
            "1..5s",
            "0.0001ms",
            "99999999999w",
            "5minutes",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
