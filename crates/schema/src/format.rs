//! JSON Schema's `format`, asserted. Formats that events carry by the million are decided here; what
//! is left goes to the general validator, and both agree.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

/// A format that is asserted.
#[derive(Debug, Clone)]
pub struct Format {
    name: String,
    known: Known,
}

#[derive(Debug, Clone)]
enum Known {
    DateTime,
    Date,
    Time,
    Uuid,
    Ipv4,
    Ipv6,
    /// Most values pass the first check, which accepts only what the validator would accept.
    Usual(fn(&str) -> bool, Arc<Validator>),
}

impl Format {
    /// `None` for a name that the draft does not define: such a format is an annotation.
    pub(crate) fn new(name: &str, draft: Draft) -> Option<Self> {
        if !jsonschema::options().is_known_format(draft, name) {
            return None;
        }
        let known = match name {
            "date-time" => Known::DateTime,
            "date" => Known::Date,
            "time" => Known::Time,
            "uuid" => Known::Uuid,
            "ipv4" => Known::Ipv4,
            "ipv6" => Known::Ipv6,
            _ => {
                let validator = jsonschema::options()
                    .with_draft(draft)
                    .should_validate_formats(true)
                    .offline()
                    .build(&json!({ "format": name }))
                    .ok()?;
                Known::Usual(usual(name), Arc::new(validator))
            }
        };
        Some(Self { name: name.to_owned(), known })
    }

    /// The format's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the text has the format.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match &self.known {
            Known::DateTime => date_time(text.as_bytes()),
            Known::Date => date(text.as_bytes()),
            Known::Time => time(text.as_bytes()),
            Known::Uuid => uuid(text.as_bytes()),
            Known::Ipv4 => ipv4(text.as_bytes()).is_some(),
            Known::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Known::Usual(usual, validator) => {
                usual(text) || validator.is_valid(&Value::String(text.to_owned()))
            }
        }
    }
}

fn usual(name: &str) -> fn(&str) -> bool {
    match name {
        "uri" | "iri" | "uri-reference" | "iri-reference" | "uri-template" => usual_uri,
        "email" | "idn-email" => usual_email,
        _ => |_| false,
    }
}

/// `http://` or `https://`, and after it characters that a URI may hold in its path. Host and port are
/// where a URI is delicate, so the host must be plain labels.
fn usual_uri(text: &str) -> bool {
    let text = text.as_bytes();
    let Some(rest) = text.strip_prefix(b"https://").or_else(|| text.strip_prefix(b"http://")) else {
        return false;
    };
    let Some(end) = usual_host(rest) else { return false };
    // Without an early end, so that compilers unroll it.
    rest[end..].iter().fold(true, |all, byte| all & IN_PATH[usize::from(*byte)])
}

/// RFC 3986's `unreserved` characters and the slash.
const IN_PATH: [bool; 256] = {
    let mut known = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        known[byte] =
            (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.' | b'_' | b'~' | b'/');
        byte += 1;
    }
    known
};

fn usual_email(text: &str) -> bool {
    let Some((local, host)) = text.split_once('@') else { return false };
    let atom = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    local.len() <= 64
        && local.split('.').all(atom)
        && host.contains('.')
        && usual_host(host.as_bytes()) == Some(host.len())
}

/// How long a host of labels is that begins a text and ends with it or at a slash. Labels are of letters
/// and digits; a hyphen is left to the validator, for it may begin punycode, and so are longer hosts than
/// one label may be.
fn usual_host(text: &[u8]) -> Option<usize> {
    const LENGTH_MAX: usize = 63;
    let mut before = b'.';
    let mut length = 0;
    for byte in text {
        match byte {
            b'/' => break,
            b'.' if before == b'.' => return None,
            b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => before = *byte,
            _ => return None,
        }
        length += 1;
    }
    (before != b'.' && length <= LENGTH_MAX).then_some(length)
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

/// An IPv4 address as four decimal numbers, none with a leading zero (RFC 6943 section 3.1.1, strict), as
/// [`std::net::Ipv4Addr`] reads it.
#[must_use]
pub fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut rest = text;
    for (at, octet) in octets.iter_mut().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let length = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, behind) = rest.split_at(length);
        *octet = match *digits {
            [ones] => ones - b'0',
            [tens @ b'1'..=b'9', ones] => (tens - b'0') * 10 + (ones - b'0'),
            [hundreds @ b'1'..=b'2', tens, ones] => {
                let value = u16::from(hundreds - b'0') * 100 + u16::from(tens - b'0') * 10;
                u8::try_from(value + u16::from(ones - b'0')).ok()?
            }
            _ => return None,
        };
        rest = behind;
    }
    rest.is_empty().then(|| Ipv4Addr::from(octets))
}

/// RFC 3339 `full-date`.
fn date(text: &[u8]) -> bool {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return false;
    }
    let (Some(year), Some(month), Some(day)) = (digits(&text[..4]), digits(&text[5..7]), digits(&text[8..]))
    else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 0,
    };
    1 <= day && day <= days
}

/// RFC 3339 `full-time`. A leap second is one only at 23:59:60 UTC.
fn time(text: &[u8]) -> bool {
    if text.len() < 9 || text[2] != b':' || text[5] != b':' {
        return false;
    }
    let (Some(hour), Some(minute), Some(second)) =
        (digits(&text[..2]), digits(&text[3..5]), digits(&text[6..8]))
    else {
        return false;
    };
    if hour > 23 || minute > 59 || second > 60 {
        return false;
    }
    let mut rest = &text[8..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    let minutes = (hour * 60 + minute) as i32;
    let utc = match *rest {
        [b'Z' | b'z'] => minutes,
        [sign @ (b'+' | b'-'), ref h @ .., b':', m1, m2] if h.len() == 2 => {
            let (Some(hours), Some(mins)) = (digits(h), digits(&[m1, m2])) else { return false };
            if hours > 23 || mins > 59 {
                return false;
            }
            let offset = (hours * 60 + mins) as i32;
            if sign == b'+' { minutes - offset } else { minutes + offset }
        }
        _ => return false,
    };
    second != 60 || utc.rem_euclid(24 * 60) == 24 * 60 - 1
}

/// RFC 3339 `date-time`.
fn date_time(text: &[u8]) -> bool {
    text.len() > 11 && matches!(text[10], b'T' | b't') && date(&text[..10]) && time(&text[11..])
}

fn uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 10] = [
        "date-time",
        "date",
        "time",
        "uuid",
        "ipv4",
        "ipv6",
        "uri",
        "uri-reference",
        "uri-template",
        "email",
    ];

    #[track_caller]
    fn check_agrees(text: &str) {
        for name in NAMES {
            let ours = Format::new(name, Draft::Draft202012).unwrap();
            let theirs = jsonschema::options()
                .with_draft(Draft::Draft202012)
                .should_validate_formats(true)
                .build(&json!({ "format": name }))
                .unwrap();
            assert_eq!(ours.matches(text), theirs.is_valid(&json!(text)), "{name} of {text:?}");
        }
    }

    proptest! {
        #[test]
        fn addresses_are_read_as_the_standard_library_reads_them(
            text in r"([0-9]{0,4}\.){2,4}[0-9]{0,4}|[0-9.]{0,16}",
            octets in any::<[u8; 4]>(),
        ) {
            prop_assert_eq!(ipv4(text.as_bytes()), text.parse().ok());
            let address = Ipv4Addr::from(octets);
            prop_assert_eq!(ipv4(address.to_string().as_bytes()), Some(address));
        }
    }

    #[test]
    fn formats_agree_with_the_general_validator() {
        let texts = [
            "2024-02-29T23:59:60Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01t00:00:00.123456789z",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:59:60+01:00",
            "2024-01-01 00:00:00Z",
            "2024-01-01",
            "2024-1-1",
            "12:00:00.Z",
            "12:00:60Z",
            "23:59:60-00:00",
            "00:29:60+00:30",
            "1.2.3.4",
            "01.2.3.4",
            "::1",
            "fe80::1%eth0",
            "https://example.com/a/b",
            "https://exa mple.com",
            "https://a.b/{x}",
            "http://",
            "//x",
            "a@b.co",
            "a..b@c.de",
            "a@b",
            "a@-b.c",
            "a@xn--b.c",
            "http://xn--a/",
            "123e4567-e89b-12d3-a456-426614174000",
            "123e4567e89b12d3a456426614174000",
            "",
            "é@b.co",
            "http://é",
            "https://a.b:80/x",
            "https://a./x",
        ];
        for text in texts {
            check_agrees(text);
        }
    }

    proptest! {
        #[test]
        fn usual_forms_agree_with_the_general_validator(
            text in r"(https?://)?[a-z0-9.@-]{0,12}(/[a-z.~%]{0,4})?|[a-z.+]{1,5}@[a-z.-]{1,9}|[0-2][0-9]:[0-5][0-9]:[56][09](\.[0-9]{0,3})?([zZ]|[+-][0-2][0-9]:[0-6][0-9])"
        ) {
            check_agrees(&text);
        }
    }
}
