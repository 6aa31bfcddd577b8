//! The type of values without parts, by what was seen of them.

use super::number::Numbers;
use super::text::{Form, Texts, Words as SeenWords};
use crate::field_type::{FieldType, Scalar, SecondFraction};
use crate::proposal::Words;

/// So many texts make a list of words believable.
const ENUM_SEEN_MIN: u64 = 50;
/// The most words of a proposed enum.
const ENUM_WORDS_MAX: usize = 20;
/// Each word of it was seen so many times on the average.
const ENUM_REPEATED_MIN: u64 = 5;
/// A text that most values have a format of is told.
const NEARLY: f64 = 0.9;

/// A type without parts, and what led to it.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) ty: FieldType,
    pub(super) words: Option<Words>,
    pub(super) low_cardinality: bool,
    /// What the values were like, in words.
    pub(super) told: Vec<String>,
    /// What a person should look at.
    pub(super) remarks: Vec<String>,
    /// Values that the type does not take, and which.
    pub(super) refused: u64,
}

impl Judged {
    pub(super) fn new(scalar: Scalar) -> Self {
        Self {
            ty: FieldType::Scalar(scalar),
            words: None,
            low_cardinality: false,
            told: Vec::new(),
            remarks: Vec::new(),
            refused: 0,
        }
    }
}

/// The type of numbers.
pub(super) fn of_numbers(name: &str, numbers: &Numbers) -> Judged {
    let range = numbers.range.map_or_else(String::new, |(min, max)| format!(", from {min} to {max}"));
    let mut judged = if numbers.broken > 0 { fractional(name, numbers) } else { whole(name, numbers) };
    judged.told.push(match (numbers.whole, numbers.broken) {
        (whole, 0) => format!("{whole} whole numbers{range}"),
        (0, broken) => {
            format!("{broken} numbers with at most {} digits after the point", numbers.digits_after)
        }
        (whole, broken) => format!(
            "{whole} whole numbers{range}; {broken} others with at most {} digits after the point",
            numbers.digits_after
        ),
    });
    if let Some((min, max)) = numbers.range {
        judged.remarks.extend(
            epoch(min, max).map(|unit| {
                format!("looks like {unit} since 1970; the catalog's times are texts (RFC 3339)")
            }),
        );
        const EXACT: i128 = 1 << 53;
        if (min < -EXACT || max > EXACT) && numbers.broken == 0 {
            judged
                .remarks
                .push("beyond 2^53: JavaScript and others that read numbers as doubles lose digits".into());
        }
    }
    judged
}

fn whole(name: &str, numbers: &Numbers) -> Judged {
    let (min, max) = numbers.range.unwrap_or_default();
    let integer = |signed, bits| Judged::new(Scalar::Integer { signed, bits });
    let of_64 = if min < 0 {
        i64::try_from(min).is_ok() && i64::try_from(max).is_ok()
    } else {
        u64::try_from(max).is_ok()
    };
    if numbers.huge > 0 {
        let mut judged = Judged::new(Scalar::Decimal { precision: 38, scale: 0 });
        judged.refused = numbers.huge;
        judged.remarks.push(format!("{} numbers have more than 38 digits", numbers.huge));
        return judged;
    }
    if !of_64 {
        return Judged::new(Scalar::Decimal { precision: 38, scale: 0 });
    }
    // Room for twice of what was seen; numbers that name things grow for ever.
    let names_things = name == "id" || name.ends_with("_id");
    if min < 0 {
        let narrow = !names_things && min * 2 >= i128::from(i32::MIN) && max * 2 <= i128::from(i32::MAX);
        integer(true, if narrow { 32 } else { 64 })
    } else {
        integer(false, if !names_things && max * 2 <= i128::from(u32::MAX) { 32 } else { 64 })
    }
}

fn fractional(name: &str, numbers: &Numbers) -> Judged {
    let exact = numbers.scientific == 0 && numbers.digits_after <= 6 && numbers.digits_before <= 12;
    if money(name) && exact {
        let scale = u8::try_from(numbers.digits_after.max(2)).unwrap_or(6);
        return Judged::new(Scalar::Decimal { precision: 18, scale });
    }
    let mut judged = Judged::new(Scalar::Float { bits: 64 });
    judged.refused = numbers.beyond_double;
    if numbers.beyond_double > 0 {
        judged.remarks.push(format!("{} numbers are greater than any double", numbers.beyond_double));
    }
    if numbers.digits_before + numbers.digits_after > 15 {
        judged.remarks.push("more digits than a double keeps".into());
    }
    judged
}

/// What whole numbers of this range may count since 1970: times between 2001 and 2100.
fn epoch(min: i128, max: i128) -> Option<&'static str> {
    [(1_000_000_000, "seconds"), (1_000_000_000_000, "milliseconds"), (1_000_000_000_000_000, "microseconds")]
        .into_iter()
        .find(|(unit, _)| min >= *unit && max < *unit * 41 / 10)
        .map(|(_, name)| name)
}

fn money(name: &str) -> bool {
    const WORDS: [&str; 9] =
        ["price", "amount", "total", "cost", "revenue", "fee", "tax", "balance", "discount"];
    name.split('_').any(|part| WORDS.contains(&part))
}

/// The type of texts.
pub(super) fn of_texts(name: &str, texts: &Texts) -> Judged {
    let mut judged = formed(name, texts).unwrap_or_else(|| plain(texts));
    if judged.told.is_empty() {
        judged.told.push(format!("{} texts of at most {} characters", texts.count, texts.chars_max));
    }
    judged
}

/// The type of a format that all texts have.
fn formed(name: &str, texts: &Texts) -> Option<Judged> {
    let all = |form: Form| texts.count > 0 && texts.of(form) == texts.count;
    let tell = |scalar: Scalar, form: Form| {
        let mut judged = Judged::new(scalar);
        judged.told.push(format!("{} texts, each {}", texts.count, form.name()));
        judged
    };
    if all(Form::Timestamp) {
        let fraction = match texts.fraction_max {
            0..=3 => SecondFraction::Millis,
            4..=6 => SecondFraction::Micros,
            7..=9 if texts.beyond_nanos == 0 => SecondFraction::Nanos,
            _ => {
                let mut judged = Judged::new(Scalar::String);
                judged.remarks.push("times with more digits than a column keeps".into());
                return Some(judged);
            }
        };
        return Some(tell(Scalar::Timestamp(fraction), Form::Timestamp));
    }
    let plain = [
        (Form::Date, Scalar::Date),
        (Form::Uuid, Scalar::Uuid),
        (Form::Ip, Scalar::Ip),
        (Form::Url, Scalar::Url),
        (Form::Email, Scalar::Email),
    ];
    if let Some((form, scalar)) = plain.into_iter().find(|(form, _)| all(*form)) {
        return Some(tell(scalar, form));
    }
    if name.contains("geohash") && all(Form::Geohash) {
        let chars = u8::try_from(texts.chars_max).unwrap_or(12);
        return Some(tell(Scalar::Geohash { chars }, Form::Geohash));
    }
    if money(name) && all(Form::Decimal) && texts.digits_after <= 9 && texts.digits_before <= 29 {
        let scale = u8::try_from(texts.digits_after.max(2)).unwrap_or(9);
        let precision = if texts.digits_before + usize::from(scale) <= 18 { 18 } else { 38 };
        return Some(tell(Scalar::Decimal { precision, scale }, Form::Decimal));
    }
    None
}

/// A text of no format: a word of few, or any.
fn plain(texts: &Texts) -> Judged {
    let mut judged = Judged::new(Scalar::String);
    let ratio = |form: Form| {
        #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
        let ratio = texts.of(form) as f64 / texts.count.max(1) as f64;
        ratio
    };
    for form in [Form::Timestamp, Form::Date, Form::Uuid, Form::Ip, Form::Url, Form::Email] {
        if ratio(form) >= NEARLY {
            let others = texts.count - texts.of(form);
            let empty =
                if texts.empty > 0 { format!(", {} of them empty", texts.empty) } else { String::new() };
            judged.remarks.push(format!(
                "{} of {} are {}; {others} are not{empty}, so it is any text",
                texts.of(form),
                texts.count,
                form.name()
            ));
        }
    }
    if ratio(Form::Decimal) >= 1.0 {
        judged.remarks.push("every text is a number: `decimal(p,s)` would take it, and numbers".into());
    }
    let SeenWords::Few(words) = &texts.words else { return judged };
    let n_words = words.len();
    let often: Vec<String> = words.iter().take(6).map(|(word, times)| format!("`{word}` {times}")).collect();
    let more = if n_words > 6 { ", .." } else { "" };
    judged.told.push(format!("{} texts, {n_words} different: {}{more}", texts.count, often.join(", ")));
    if texts.count < ENUM_SEEN_MIN {
        return judged;
    }
    if n_words == 1 {
        judged.remarks.push("always the same text: may say which event it is".into());
    }
    let repeated = texts.count >= ENUM_REPEATED_MIN * u64::try_from(n_words).unwrap_or(u64::MAX);
    judged.low_cardinality = repeated;
    if n_words <= ENUM_WORDS_MAX && repeated && texts.empty == 0 {
        let once = words.values().filter(|times| **times == 1).count();
        // Good and Turing: what was seen once tells how much was not seen.
        judged.told.push(match once {
            0 => format!(
                "no word was seen only once: with 95 % fewer than {} of texts are others",
                share(3, texts.count)
            ),
            once => format!(
                "{once} words were seen only once: about {} of texts are others",
                share(u64::try_from(once).unwrap_or(u64::MAX), texts.count)
            ),
        });
        judged.low_cardinality = false;
        judged.words = Some(Words { values: words.keys().cloned().collect(), open: true });
    }
    judged
}

/// A share in percent, with the digits that say something.
pub(super) fn share(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    match percent {
        at_least if at_least >= 10.0 => format!("{at_least:.0} %"),
        at_least if at_least >= 0.1 => format!("{at_least:.1} %"),
        less => format!("{less:.2} %"),
    }
}
