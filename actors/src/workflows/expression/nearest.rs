//! The word that somebody may have meant. Pure.

/// Longest word that is looked at, in characters.
const WORD_MAX: usize = 64;

/// The candidate that `word` is a slip of the pen away from, if there is one.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let length = word.chars().count();
    // A comparison takes the product of both lengths, and nobody misspells that much.
    if length > WORD_MAX {
        return None;
    }
    // One slip in a short word, one more for every four characters.
    let most = 1 + length / 4;
    let word = word.to_lowercase();
    let distances = candidates.into_iter().map(|candidate| {
        let lower = candidate.to_lowercase();
        let same = lower.chars().zip(word.chars()).take_while(|(a, b)| a == b).count();
        // Another ending is one slip: `retry` for `retries`, `trunc` for `truncate`.
        let begins = same >= 3 && same * 3 >= length * 2;
        let distance = strsim::damerau_levenshtein(&lower, &word);
        (if begins { distance.min(most) } else { distance }, candidate)
    });
    let (distance, candidate) = distances.min()?;
    (distance <= most && distance < length).then_some(candidate)
}

/// `; did you mean ...?`, or nothing.
pub(crate) fn meant<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    let found = nearest(word, candidates);
    found.map_or_else(String::new, |found| format!("; did you mean `{found}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let table = [
            ("timout", Some("timeout")),
            ("Retries", Some("retries")),
            ("retry", Some("retries")),
            ("x", None),
            ("colour", None),
            ("modle", Some("model")),
            ("tim", Some("timeout")),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, ["timeout", "retries", "model"]), expected, "{word}");
        }
    }
}
