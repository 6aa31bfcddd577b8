//! Dates, times and date-times out of text, exact to the digit.

use thiserror::Error;

/// Seconds and nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
    /// Whether digits other than zero follow the ninth of the second.
    pub(crate) finer: bool,
    /// Whether the text said how far it is from UTC.
    pub(crate) zoned: bool,
}

impl Instant {
    /// The number of ticks of `10^-precision` seconds, if that is exact and fits.
    pub(crate) fn ticks(&self, precision: u8) -> Option<i64> {
        let unit = 10_u32.pow(u32::from(9 - precision.min(9)));
        if self.finer || !self.nanos.is_multiple_of(unit) {
            return None;
        }
        let scale = 10_i64.checked_pow(u32::from(precision))?;
        // Seconds before 1970 count up to their fraction, so the sum may fit where the product does not.
        match self.seconds.checked_mul(scale) {
            Some(ticks) => ticks.checked_add(i64::from(self.nanos / unit)),
            None => {
                let exact = i128::from(self.seconds) * i128::from(scale) + i128::from(self.nanos / unit);
                i64::try_from(exact).ok()
            }
        }
    }

    /// From a number of nanoseconds since the epoch.
    pub(crate) fn from_nanos(nanos: i128) -> Option<Self> {
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
        Some(Self { seconds, nanos: nanos.rem_euclid(1_000_000_000) as u32, finer: false, zoned: true })
    }
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0_u32, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + u32::from(digit))
    })
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
pub(crate) fn days(year: u32, month: u32, day: u32) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return None,
    };
    if day == 0 || day > length {
        return None;
    }
    // Years from March on, so that the leap day is the last (Hinnant, `days_from_civil`).
    let year = year as i32 - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = (month as i32 + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day as i32 - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

/// `2024-02-29`, as days since 1970-01-01.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.as_bytes() else { return None };
    days(digits(&[y1, y2, y3, y4])?, digits(&[m1, m2])?, digits(&[d1, d2])?)
}

/// RFC 3339 as most writers have it: a capital `T` and `Z` or an offset, at most nine digits of the second,
/// no leap second. Whatever this reads, [`parse_date_time`] and the format `date-time` accept as well.
#[inline]
pub(crate) fn usual_date_time(text: &[u8]) -> Option<Instant> {
    let (head, mut rest) = text.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2] = *head else {
        return None;
    };
    let (mut digits, mut wrong) = ([0_u32; 14], false);
    for (digit, byte) in digits.iter_mut().zip([y1, y2, y3, y4, m1, m2, d1, d2, h1, h2, i1, i2, s1, s2]) {
        *digit = u32::from(byte.wrapping_sub(b'0'));
        wrong |= *digit > 9;
    }
    let two = |at: usize| digits[at] * 10 + digits[at + 1];
    let (hour, minute, second) = (two(8), two(10), two(12));
    if wrong || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut nanos = 0;
    if let [b'.', fraction @ ..] = rest {
        let (mut length, mut unit) = (0, 1_000_000_000);
        while let Some(digit) = fraction.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|d| *d < 10) {
            unit /= 10;
            nanos += u32::from(digit) * unit;
            length += 1;
        }
        // Beyond the ninth digit the unit is nothing.
        if length == 0 || length > 9 {
            return None;
        }
        rest = &fraction[length..];
    }
    let offset = match rest {
        [b'Z'] => 0,
        [b'+' | b'-', _, _, b':', _, _] => parse_offset(rest)?,
        _ => return None,
    };
    let day = days(two(0) * 100 + two(2), two(4), two(6))?;
    let seconds = i64::from(day) * 86_400 + i64::from(hour * 3600 + minute * 60 + second) - i64::from(offset);
    Some(Instant { seconds, nanos, finer: false, zoned: true })
}

/// RFC 3339, and of ISO 8601 what differs from it only in a space for the `T`, a comma for the point,
/// seconds or offset left out, an offset without colon or minutes. A leap second is the second after.
pub(crate) fn parse_date_time(text: &str) -> Option<Instant> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_at_checked(10)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else { return None };
    let day = days(digits(&[y1, y2, y3, y4])?, digits(&[m1, m2])?, digits(&[d1, d2])?)?;
    let (b'T' | b't' | b' ', rest) = rest.split_first()? else { return None };
    let [h1, h2, b':', m1, m2, ref rest @ ..] = *rest else { return None };
    let (hour, minute) = (digits(&[h1, h2])?, digits(&[m1, m2])?);
    let (second, rest) = match *rest {
        [b':', s1, s2, ref rest @ ..] => (digits(&[s1, s2])?, rest),
        _ => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 60 || (second == 60 && minute != 59) {
        return None;
    }
    let ((nanos, finer), rest) = fraction(rest)?;
    let offset = if rest.is_empty() { None } else { Some(parse_offset(rest)?) };
    let seconds = i64::from(day) * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    Some(Instant { seconds: seconds - i64::from(offset.unwrap_or(0)), nanos, finer, zoned: offset.is_some() })
}

/// `.123`, if there is one: nanoseconds, whether there is more, and what follows.
fn fraction(text: &[u8]) -> Option<((u32, bool), &[u8])> {
    let [b'.' | b',', rest @ ..] = text else { return Some(((0, false), text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let (fraction, rest) = rest.split_at(length);
    let kept = length.min(9);
    let nanos = digits(&fraction[..kept])? * 10_u32.pow(9 - kept as u32);
    Some(((nanos, fraction[kept..].iter().any(|digit| *digit != b'0')), rest))
}

/// `Z`, `+01:00`, `+0100` or `+01`, as seconds east of UTC.
fn parse_offset(text: &[u8]) -> Option<i32> {
    let (sign, rest) = match text {
        [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match *rest {
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (digits(&[h1, h2])?, digits(&[m1, m2])?),
        [h1, h2] => (digits(&[h1, h2])?, 0),
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then(|| sign * (hours * 3600 + minutes * 60) as i32)
}

/// `[-]H+:MM:SS[.fraction]` up to 999:59:59, as seconds towards zero with the same sign's nanoseconds.
pub(crate) fn parse_time(text: &str) -> Option<(bool, Instant)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (hours, rest) = text.as_bytes().split_at_checked(text.find(':')?)?;
    if !(1..=3).contains(&hours.len()) {
        return None;
    }
    let [b':', m1, m2, b':', s1, s2, ref rest @ ..] = *rest else { return None };
    let (hour, minute, second) = (digits(hours)?, digits(&[m1, m2])?, digits(&[s1, s2])?);
    let ((nanos, finer), rest) = fraction(rest)?;
    (minute <= 59 && second <= 59 && rest.is_empty()).then(|| {
        let seconds = i64::from(hour * 3600 + minute * 60 + second);
        (negative, Instant { seconds, nanos, finer, zoned: false })
    })
}

/// A pattern for date-times: `%Y %m %d %H %I %p %M %S %f %z %b %a %s %T %F %%` as `strftime` has them
/// (`%f`: one to nine or more digits of the second; `%z`: `Z`, `+hh:mm`, `+hhmm` or `+hh`; `%b`, `%a`:
/// English, three letters; `%s`: seconds since 1970). Other characters stand for themselves. Or a name:
/// `rfc2822` for `%a, %d %b %Y %H:%M:%S %z`, `clf` for `%d/%b/%Y:%H:%M:%S %z`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimePattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(u8),
    Field(u8),
}

/// A pattern has a letter that stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "date-time pattern `{pattern}`: `%{letter}` is not known; expected one of Y m d H I p M S f z b a s T F"
)]
pub struct TimePatternError {
    /// The pattern.
    pub pattern: String,
    /// The letter.
    pub letter: char,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl TimePattern {
    /// Reads a pattern or the name of one.
    ///
    /// # Errors
    /// If a letter after `%` is not known.
    pub fn parse(pattern: &str) -> Result<Self, TimePatternError> {
        let expanded = match pattern {
            "rfc2822" => "%a, %d %b %Y %H:%M:%S %z".to_owned(),
            "clf" => "%d/%b/%Y:%H:%M:%S %z".to_owned(),
            other => other.replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d"),
        };
        let mut parts = Vec::new();
        let mut chars = expanded.chars();
        while let Some(c) = chars.next() {
            let mut buffer = [0; 4];
            if c != '%' {
                parts.extend(c.encode_utf8(&mut buffer).bytes().map(Part::Literal));
                continue;
            }
            parts.push(match chars.next().unwrap_or('%') {
                '%' => Part::Literal(b'%'),
                c if "YmdHIpMSfzbas".contains(c) => Part::Field(c as u8),
                letter => return Err(TimePatternError { pattern: pattern.to_owned(), letter }),
            });
        }
        Ok(Self(parts))
    }

    pub(crate) fn read(&self, text: &str) -> Option<Instant> {
        let mut rest = text.as_bytes();
        let mut read = Fields { year: 1970, month: 1, day: 1, ..Fields::default() };
        for part in &self.0 {
            rest = match part {
                Part::Literal(byte) => rest.strip_prefix(&[*byte])?,
                Part::Field(letter) => read.take(*letter, rest)?,
            };
        }
        if rest.is_empty() { read.instant() } else { None }
    }
}

#[derive(Default)]
struct Fields {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    finer: bool,
    offset: Option<i32>,
    epoch: Option<i64>,
}

impl Fields {
    fn take<'t>(&mut self, letter: u8, text: &'t [u8]) -> Option<&'t [u8]> {
        let number = |length: usize| {
            let (number, rest) = text.split_at_checked(length)?;
            Some((digits(number)?, rest))
        };
        let word = |words: &[&str]| {
            let (word, rest) = text.split_at_checked(3)?;
            let at = words.iter().position(|one| one.as_bytes().eq_ignore_ascii_case(word))?;
            Some((at as u32 + 1, rest))
        };
        let (value, rest) = match letter {
            b'Y' => number(4)?,
            b'm' | b'd' | b'H' | b'I' | b'M' | b'S' => number(2)?,
            b'b' => word(&MONTHS)?,
            b'a' => word(&DAYS)?,
            b'p' => {
                let (half, rest) = text.split_at_checked(2)?;
                self.afternoon = Some(half.eq_ignore_ascii_case(b"pm"));
                return (self.afternoon == Some(true) || half.eq_ignore_ascii_case(b"am")).then_some(rest);
            }
            b'f' | b's' => {
                let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (number, rest) = text.split_at(length);
                if letter == b's' {
                    self.epoch = Some(std::str::from_utf8(number).ok()?.parse().ok()?);
                } else {
                    let dotted = [b".", number].concat();
                    (self.nanos, self.finer) = fraction(&dotted)?.0;
                }
                return Some(rest);
            }
            _ => {
                let length = text.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
                let (offset, rest) = text.split_at(length);
                self.offset = Some(parse_offset(offset)?);
                return Some(rest);
            }
        };
        match letter {
            b'Y' => self.year = value,
            b'm' | b'b' => self.month = value,
            b'd' => self.day = value,
            b'H' | b'I' => self.hour = value,
            b'M' => self.minute = value,
            b'S' => self.second = value,
            _ => {}
        }
        Some(rest)
    }

    fn instant(&self) -> Option<Instant> {
        let (nanos, finer) = (self.nanos, self.finer);
        if let Some(seconds) = self.epoch {
            return Some(Instant { seconds, nanos, finer, zoned: true });
        }
        let hour = match self.afternoon {
            Some(_) if !(1..=12).contains(&self.hour) => return None,
            Some(afternoon) => self.hour % 12 + 12 * u32::from(afternoon),
            None => self.hour,
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let day = i64::from(days(self.year, self.month, self.day)?);
        let seconds = day * 86_400 + i64::from(hour * 3600 + self.minute * 60 + self.second);
        let zoned = self.offset.is_some();
        Some(Instant { seconds: seconds - i64::from(self.offset.unwrap_or(0)), nanos, finer, zoned })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(i64, u32)>) {
        assert_eq!(parse_date_time(text).map(|i| (i.seconds, i.nanos)), expected, "{text}");
    }

    #[test]
    fn date_times_are_read_to_the_nanosecond() {
        check("1970-01-01T00:00:00Z", Some((0, 0)));
        check("2024-02-29T12:34:56.789+01:00", Some((1_709_206_496, 789_000_000)));
        check("1969-12-31T23:59:59.5Z", Some((-1, 500_000_000)));
        check("2000-03-01 00:00", Some((951_868_800, 0)));
        check("2016-12-31T23:59:60Z", Some((1_483_228_800, 0)));
        for text in [
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+25:00",
            "2024-01-01X00:00:00Z",
            "",
            "2024-01-01T00:00:00ZZ",
            "２024-01-01T00:00:00Z",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn ticks_are_exact_or_none() {
        let instant = parse_date_time("1969-12-31T23:59:59.750Z").unwrap();
        assert_eq!((instant.ticks(3), instant.ticks(2), instant.ticks(1)), (Some(-250), Some(-25), None));
        assert_eq!(parse_date_time("2300-01-01T00:00:00Z").unwrap().ticks(9), None);
        assert!(parse_date_time("2024-01-01T00:00:00.0000000001Z").unwrap().finer);
    }

    #[test]
    fn patterns_read_what_their_letters_say() {
        let read = |pattern: &str, text: &str| {
            TimePattern::parse(pattern).unwrap().read(text).map(|i| (i.seconds, i.nanos))
        };
        assert_eq!(read("rfc2822", "Thu, 29 Feb 2024 12:34:56 +0100"), Some((1_709_206_496, 0)));
        assert_eq!(read("clf", "29/Feb/2024:11:34:56 +0000"), Some((1_709_206_496, 0)));
        assert_eq!(read("%d.%m.%Y %I:%M:%S.%f %p", "01.01.1970 12:00:01.25 AM"), Some((1, 250_000_000)));
        assert_eq!(read("%F", "1970-01-02x"), None);
        assert!(TimePattern::parse("%Q").is_err());
    }
}
