//! What error texts of one kind have in common, so that dead letters can be grouped. Pure.

/// Longest part of a text that counts, in characters.
const LENGTH: usize = 200;
/// A run of hex digits this long is an id.
const ID_DIGITS: usize = 8;

/// The line that says most, without what differs from one task to the next: numbers and ids become `#`. That line is
/// the last one of a Python traceback, and the first one of anything else.
pub fn fingerprint(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = match text.contains("Traceback (most recent call last)") {
        true => lines.next_back(),
        false => lines.next(),
    };
    let mut kept = String::new();
    let mut word = String::new();
    for character in line.unwrap_or_default().chars().take(LENGTH) {
        // The parts of a UUID, or of a date, are one word.
        if character.is_ascii_alphanumeric() || character == '-' {
            word.push(character);
        } else {
            keep(&mut kept, &mut word);
            kept.push(character);
        }
    }
    keep(&mut kept, &mut word);
    kept
}

fn keep(kept: &mut String, word: &mut String) {
    let is_hex = word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let has_digit = word.chars().any(|c| c.is_ascii_digit());
    if is_hex && has_digit && word.len() >= ID_DIGITS {
        mark(kept);
    } else {
        for character in word.chars() {
            if character.is_ascii_digit() { mark(kept) } else { kept.push(character) }
        }
    }
    word.clear();
}

fn mark(kept: &mut String) {
    if !kept.ends_with('#') {
        kept.push('#');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_in_numbers_and_ids_are_of_one_kind() {
        let traceback =
            "Traceback (most recent call last):\n  File \"a.py\", line 3\nValueError: bad 7\n";
        let table = [
            ("timeout after 30 s", "timeout after # s"),
            ("timeout after 5000 s\nmore", "timeout after # s"),
            ("\n  no such file: /tmp/x81/out.txt", "no such file: /tmp/x#/out.txt"),
            ("run 01890a5d-ac96-774b-bcce-b302099a8057 failed", "run # failed"),
            ("commit deadbeef42 failed", "commit # failed"),
            ("the facade faded", "the facade faded"),
            (traceback, "ValueError: bad #"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(fingerprint(text), expected, "{text:?}");
        }
    }
}
