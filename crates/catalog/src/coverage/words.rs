//! Names and texts of people, compared word by word.

/// Words that say nothing of a metric.
const EMPTY: [&str; 6] = ["a", "an", "the", "of", "in", "is"];

/// The words of a text in lower case and in the singular: `Completed Views`, `completedViews` and
/// `completed_views` have the same. Their order counts: views per user are not users per view.
#[must_use]
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut last_lower = false;
    for char in text.chars().chain([' ']) {
        let begins = char.is_uppercase() && last_lower;
        if (begins || !char.is_alphanumeric()) && !word.is_empty() {
            words.push(singular(std::mem::take(&mut word)));
        }
        if char.is_alphanumeric() {
            word.extend(char.to_lowercase());
        } else if char == '%' {
            words.push("percent".to_owned());
        }
        last_lower = char.is_lowercase() || char.is_numeric();
    }
    words.retain(|word| !EMPTY.contains(&word.as_str()));
    words
}

/// The words as one text that can be compared.
#[must_use]
pub(super) fn key(text: &str) -> String {
    words(text).join(" ")
}

fn singular(word: String) -> String {
    if word.len() <= 3 || ["ss", "us", "is"].iter().any(|ending| word.ends_with(ending)) {
        return word;
    }
    match (word.strip_suffix("ies"), word.strip_suffix('s')) {
        (Some(stem), _) => format!("{stem}y"),
        (None, Some(stem)) => stem.to_owned(),
        (None, None) => word,
    }
}

/// How much two texts have in common: twice their common words, divided by all their words.
#[must_use]
pub(super) fn likeness(one: &[String], other: &[String]) -> f64 {
    let common = one.iter().filter(|word| other.contains(word)).count();
    let all = one.len() + other.len();
    if all == 0 { 0.0 } else { 2.0 * common as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_of_writing_a_name_are_one_key() {
        for text in ["Completed views", "completed_views", "completedViews", "the Completed  View"] {
            assert_eq!(key(text), "completed view", "{text}");
        }
        assert_eq!(key("Categories / class, status"), "category class status");
        assert_eq!(key("% of D1"), "percent d1");
        assert_ne!(key("views per user"), key("users per view"));
    }

    #[test]
    fn likeness_lies_between_nothing_and_all() {
        let like = |one: &str, other: &str| likeness(&words(one), &words(other));
        assert_eq!(like("", ""), 0.0);
        assert_eq!(like("mean watch time", "watch time mean"), 1.0);
        assert_eq!(like("watch time", "orders"), 0.0);
    }
}
