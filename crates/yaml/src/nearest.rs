//! The known word that a misspelt one was probably meant to be.

/// The nearest of `known`, if it is near enough to be worth saying: at most a third of the word wrong.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words than any that is known cannot be near, and the distance costs their square.
    const CHARS_MAX: usize = 64;
    if word.chars().count() > CHARS_MAX {
        return None;
    }
    let word = normalised(word);
    known
        .into_iter()
        .map(|candidate| (distance(&word, &normalised(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `rowsMax`, `rows-max` and `rows_max` are one word to the person who typed them.
fn normalised(word: &str) -> Vec<char> {
    word.chars().filter(|char| !matches!(char, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, a_char) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b_char) in b.iter().enumerate() {
            let substituted = last[j] + usize::from(a_char != b_char);
            let mut best = substituted.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a_char == &b[j - 1] && &a[i - 1] == b_char {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_a_stranger_finds_none() {
        let known = ["topics", "table", "tombstones", "rows_max"];
        assert_eq!(nearest("tabel", known), Some("table"));
        assert_eq!(nearest("topic", known), Some("topics"));
        assert_eq!(nearest("rowsMax", known), Some("rows_max"));
        assert_eq!(nearest("compression", known), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), known), None);
    }
}
