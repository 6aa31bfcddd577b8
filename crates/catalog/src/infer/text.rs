//! What the texts of a field were like: their formats, their lengths, and which words there were.

use std::collections::BTreeMap;

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

/// The most different words that are remembered of a field. More are no list to choose from.
const WORDS_MAX: usize = 32;
/// The longest word that is remembered, in bytes. Longer ones are no words.
const WORD_BYTES_MAX: usize = 60;
/// Years that a `DateTime64` or a `Date32` keeps, and one less on either side for what offsets do.
const YEARS: std::ops::RangeInclusive<u32> = 1901..=2298;
/// The same where nanoseconds are kept.
const YEARS_OF_NANOS: std::ops::RangeInclusive<u32> = 1901..=2261;

/// A format that a text may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// RFC 3339, `date-time`.
    Timestamp,
    /// RFC 3339, `full-date`.
    Date,
    /// RFC 4122.
    Uuid,
    /// An IPv4 or IPv6 address.
    Ip,
    /// An `http` or `https` URL.
    Url,
    /// An address of mail.
    Email,
    /// Digits with or without a point.
    Decimal,
    /// One to twelve characters of a geohash.
    Geohash,
    /// `+` and 7 to 15 digits (E.164), with spaces or hyphens between.
    Phone,
}

impl Form {
    /// All.
    pub const ALL: [Self; 9] = [
        Self::Timestamp,
        Self::Date,
        Self::Uuid,
        Self::Ip,
        Self::Url,
        Self::Email,
        Self::Decimal,
        Self::Geohash,
        Self::Phone,
    ];

    /// What a text of it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timestamp => "an RFC 3339 time",
            Self::Date => "a date",
            Self::Uuid => "a uuid",
            Self::Ip => "an IP address",
            Self::Url => "a URL",
            Self::Email => "an address of mail",
            Self::Decimal => "a decimal number",
            Self::Geohash => "a geohash",
            Self::Phone => "a telephone number",
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Timestamp => 0,
            Self::Date => 1,
            Self::Uuid => 2,
            Self::Ip => 3,
            Self::Url => 4,
            Self::Email => 5,
            Self::Decimal => 6,
            Self::Geohash => 7,
            Self::Phone => 8,
        }
    }
}

/// The judges of formats: the same ones as of the schemas that are generated, so that what is proposed accepts what
/// was seen.
#[derive(Debug)]
pub struct Forms {
    timestamp: Validator,
    date: Validator,
    url: Validator,
    email: Validator,
}

impl Default for Forms {
    fn default() -> Self {
        let judge = |format: &str| {
            jsonschema::options()
                .with_draft(Draft::Draft202012)
                .should_validate_formats(true)
                .build(&json!({ "format": format }))
                .expect("a schema of one format of the draft")
        };
        Self { timestamp: judge("date-time"), date: judge("date"), url: judge("uri"), email: judge("email") }
    }
}

impl Forms {
    fn has(&self, form: Form, text: &str) -> bool {
        let judged = |judge: &Validator| judge.is_valid(&Value::String(text.to_owned()));
        let bytes = text.as_bytes();
        match form {
            Form::Timestamp => {
                bytes.len() >= 20 && bytes.len() < 60 && year(text).is_some() && judged(&self.timestamp)
            }
            Form::Date => bytes.len() == 10 && year(text).is_some() && judged(&self.date),
            Form::Uuid => uuid(bytes),
            Form::Ip => {
                bytes.len() < 46
                    && (text.parse::<std::net::Ipv4Addr>().is_ok()
                        || text.parse::<std::net::Ipv6Addr>().is_ok())
            }
            Form::Url => (text.starts_with("https://") || text.starts_with("http://")) && judged(&self.url),
            Form::Email => text.contains('@') && bytes.len() < 255 && judged(&self.email),
            Form::Decimal => decimal(text).is_some(),
            Form::Geohash => {
                (1..=12).contains(&bytes.len())
                    && bytes.iter().all(|byte| b"0123456789bcdefghjkmnpqrstuvwxyz".contains(byte))
            }
            Form::Phone => {
                let n_digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
                bytes.first() == Some(&b'+')
                    && (7..=15).contains(&n_digits)
                    && bytes[1..].iter().all(|byte| byte.is_ascii_digit() || b" -()".contains(byte))
            }
        }
    }
}

fn uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The year at the beginning, if tables keep it.
fn year(text: &str) -> Option<u32> {
    let year = text.get(..4)?.parse().ok()?;
    (text.as_bytes().get(4) == Some(&b'-') && YEARS.contains(&year)).then_some(year)
}

/// Digits before and after the point.
fn decimal(text: &str) -> Option<(usize, usize)> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (before, after) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let after_len = if digits.contains('.') { after.len() } else { 0 };
    (text.len() < 42 && all(before) && all(after)).then_some((before.len(), after_len))
}

/// The digits after the second's point that are not zeros at the end.
fn fraction(text: &str) -> usize {
    let Some((_, rest)) = text.split_once('.') else { return 0 };
    let digits: &str = rest.split_once(|c: char| !c.is_ascii_digit()).map_or(rest, |(digits, _)| digits);
    digits.trim_end_matches('0').len()
}

/// Different words, as long as they are few and short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Words {
    /// How often each was there.
    Few(BTreeMap<String, u64>),
    /// There were more than [`WORDS_MAX`], or longer ones than words are.
    Many,
}

impl Words {
    fn see(&mut self, word: &str, times: u64) {
        let Self::Few(words) = self else { return };
        if let Some(known) = words.get_mut(word) {
            *known += times;
        } else if words.len() < WORDS_MAX && word.len() <= WORD_BYTES_MAX {
            words.insert(word.to_owned(), times);
        } else {
            *self = Self::Many;
        }
    }
}

/// Texts that were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// How many.
    pub count: u64,
    /// How many of them were empty.
    pub empty: u64,
    /// The longest, in characters.
    pub chars_max: usize,
    /// Which words there were.
    pub words: Words,
    forms: [u64; Form::ALL.len()],
    /// Of times: the most digits after the second's point, zeros at the end left aside.
    pub fraction_max: usize,
    /// Of times: how many a column of nanoseconds could not keep.
    pub beyond_nanos: u64,
    /// Of decimals: the most digits before the point.
    pub digits_before: usize,
    /// Of decimals: the most digits after the point.
    pub digits_after: usize,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            count: 0,
            empty: 0,
            chars_max: 0,
            words: Words::Few(BTreeMap::new()),
            forms: [0; Form::ALL.len()],
            fraction_max: 0,
            beyond_nanos: 0,
            digits_before: 0,
            digits_after: 0,
        }
    }
}

impl Texts {
    /// How many had that format.
    #[must_use]
    pub const fn of(&self, form: Form) -> u64 {
        self.forms[form.place()]
    }

    /// Takes in one more.
    pub fn see(&mut self, text: &str, forms: &Forms) {
        self.count += 1;
        self.empty += u64::from(text.is_empty());
        self.chars_max = self.chars_max.max(text.chars().count());
        self.words.see(text, 1);
        for form in Form::ALL {
            if forms.has(form, text) {
                self.forms[form.place()] += 1;
                self.digits(form, text);
            }
        }
    }

    fn digits(&mut self, form: Form, text: &str) {
        match form {
            Form::Timestamp => {
                self.fraction_max = self.fraction_max.max(fraction(text));
                let kept = year(text).is_some_and(|year| YEARS_OF_NANOS.contains(&year));
                self.beyond_nanos += u64::from(!kept);
            }
            Form::Decimal => {
                let (before, after) = decimal(text).unwrap_or_default();
                self.digits_before = self.digits_before.max(before);
                self.digits_after = self.digits_after.max(after);
            }
            Form::Date | Form::Uuid | Form::Ip | Form::Url | Form::Email | Form::Geohash | Form::Phone => {}
        }
    }

    /// Takes in what others saw.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.empty += other.empty;
        self.chars_max = self.chars_max.max(other.chars_max);
        match &other.words {
            Words::Many => self.words = Words::Many,
            Words::Few(words) => words.iter().for_each(|(word, times)| self.words.see(word, *times)),
        }
        for (own, others) in self.forms.iter_mut().zip(other.forms) {
            *own += others;
        }
        self.fraction_max = self.fraction_max.max(other.fraction_max);
        self.beyond_nanos += other.beyond_nanos;
        self.digits_before = self.digits_before.max(other.digits_before);
        self.digits_after = self.digits_after.max(other.digits_after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[Form]) {
        let forms = Forms::default();
        let found: Vec<Form> = Form::ALL.into_iter().filter(|form| forms.has(*form, text)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn a_text_has_the_formats_that_the_schemas_would_accept() {
        check("2026-01-27T10:00:00.123Z", &[Form::Timestamp]);
        check("2026-01-27 10:00:00", &[]);
        check("0001-01-01T00:00:00Z", &[]);
        check("2026-02-30", &[]);
        check("2026-02-28", &[Form::Date]);
        check("0B6f0c5e-5f0e-4c6e-9a55-0d1f3f0a1c11", &[Form::Uuid]);
        check("203.0.113.7", &[Form::Ip]);
        check("2001:db8::7", &[Form::Ip]);
        check("https://example.com/a?b=c", &[Form::Url]);
        check("https://exa mple.com", &[]);
        check("a@example.com", &[Form::Email]);
        check("-12.50", &[Form::Decimal]);
        check("u33db2", &[Form::Geohash]);
        check("+43 660 1234567", &[Form::Phone]);
        check("", &[]);
    }

    #[test]
    fn digits_that_say_nothing_do_not_make_a_finer_time() {
        let (forms, mut texts) = (Forms::default(), Texts::default());
        texts.see("2026-01-27T10:00:00.120000Z", &forms);
        assert_eq!((texts.of(Form::Timestamp), texts.fraction_max), (1, 2));
        texts.see("2026-01-27T10:00:00.1234+02:00", &forms);
        assert_eq!(texts.fraction_max, 4);
    }

    #[test]
    fn words_are_remembered_while_they_are_few_and_short() {
        let (forms, mut texts) = (Forms::default(), Texts::default());
        for n in 0..WORDS_MAX {
            texts.see(&format!("w{n}"), &forms);
        }
        assert!(matches!(&texts.words, Words::Few(words) if words.len() == WORDS_MAX));
        texts.see("one more", &forms);
        assert_eq!(texts.words, Words::Many);
    }
}
