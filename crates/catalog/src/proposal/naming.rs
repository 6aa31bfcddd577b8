//! Names of any system made names of the catalog.

/// The catalog's limit is 100; a number behind it makes it unique.
const BYTES_MAX: usize = 94;

/// The name in lower case with single underscores: `pageURL` is `page_url`, `2nd-Item` is `n_2nd_item`. A name that is
/// legal stays as it is, unless it is longer than 94.
#[must_use]
pub fn legal_name(original: &str) -> String {
    let chars: Vec<char> = original.chars().collect();
    let mut name = String::with_capacity(original.len());
    for (index, &char) in chars.iter().enumerate() {
        if !char.is_ascii_alphanumeric() {
            separate(&mut name);
            continue;
        }
        if char.is_ascii_uppercase() && begins_a_word(&chars, index) {
            separate(&mut name);
        }
        if name.is_empty() && char.is_ascii_digit() {
            name.push_str("n_");
        }
        name.push(char.to_ascii_lowercase());
        if name.len() >= BYTES_MAX {
            break;
        }
    }
    let name = name.trim_end_matches('_');
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}

fn separate(name: &mut String) {
    if !name.is_empty() && !name.ends_with('_') {
        name.push('_');
    }
}

/// Whether the capital at `index` begins a word: after a small letter or digit (`pageUrl`), or as the last of several
/// (`HTTPServer`).
fn begins_a_word(chars: &[char], index: usize) -> bool {
    let Some(before) = index.checked_sub(1).and_then(|before| chars.get(before)) else { return false };
    if before.is_ascii_lowercase() || before.is_ascii_digit() {
        return true;
    }
    before.is_ascii_uppercase() && chars.get(index + 1).is_some_and(char::is_ascii_lowercase)
}

/// The name, or with the least number from 2 behind it that nobody has.
pub(super) fn free(name: String, taken: &dyn Fn(&str) -> bool) -> String {
    if !taken(&name) {
        return name;
    }
    let mut number = 2_u32;
    loop {
        let candidate = format!("{name}_{number}");
        if !taken(&candidate) {
            return candidate;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Name;
    use tidegate_yaml::shape::Word;

    #[test]
    fn any_name_becomes_a_legal_one() {
        for (original, name) in [
            ("pageURL", "page_url"),
            ("HTTPServer2Error", "http_server2_error"),
            ("visitor.chat-feedback", "visitor_chat_feedback"),
            ("2nd Item", "n_2nd_item"),
            ("$os", "os"),
            ("__typename", "typename"),
            ("a__b_", "a_b"),
            ("日本", "unnamed"),
            ("", "unnamed"),
            ("video_viewed", "video_viewed"),
        ] {
            assert_eq!(legal_name(original), name);
        }
        for original in ["x".repeat(300), "aB".repeat(300), "_9".repeat(200), "é_É".repeat(90)] {
            let name = legal_name(&original);
            assert!(Name::parse_word(&name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let taken = |name: &str| ["id", "id_2"].contains(&name);
        assert_eq!(free("id".to_owned(), &taken), "id_3");
        assert_eq!(free("ts".to_owned(), &taken), "ts");
    }
}
