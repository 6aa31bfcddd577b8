//! Times that a question names, and the arithmetic of periods. All of it in UTC.

use jiff::civil::DateTime;
use jiff::{ToSpan, Unit};
use tidegate_yaml::Mistake;
use tidegate_yaml::node::{Node, NodeKind};
use tidegate_yaml::reading::Reading;

use crate::language::{Grain, Span, SpanUnit};

/// Longer than any time is written.
const TEXT_MAX: usize = 32;

/// A time in UTC, to the millisecond, of the years that ClickHouse's dates have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(DateTime);

/// From the first of these times up to the second, which is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Option<Moment>,
    pub(super) to: Option<Moment>,
}

impl Moment {
    /// `2026-01-31`, `2026-01-31T12:00`, `2026-01-31 12:00:00.5Z`; reported if it is none of these.
    pub(super) fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        let NodeKind::Text(text) = &node.kind else { return None };
        let bare = text.strip_suffix(['Z', 'z']).unwrap_or(text);
        // A time with an offset would be read, and the offset left out.
        let zoned = bare.bytes().skip(10).any(|byte| matches!(byte, b'+' | b'-' | b'['));
        let parsed = if zoned || bare.len() > TEXT_MAX { None } else { bare.parse::<DateTime>().ok() };
        let shown: String = text.chars().take(TEXT_MAX).flat_map(char::escape_default).collect();
        let whole = |time: &DateTime| time.round(Unit::Millisecond).is_ok_and(|rounded| rounded == *time);
        let (code, message) = match parsed {
            None => (Mistake::BadValue, format!("`{shown}` is no time")),
            Some(time) if !(1970..=2148).contains(&time.year()) => {
                (Mistake::OutOfRange, format!("`{shown}` is not in the years 1970 to 2148"))
            }
            Some(time) if !whole(&time) => {
                (Mistake::BadValue, format!("`{shown}` is finer than a millisecond"))
            }
            Some(time) => return Some(Self(time)),
        };
        let hint = "give a day or a time in UTC: `2026-01-31`, `2026-01-31T12:00:00Z`".to_owned();
        cx.report(code, node.at, message, Some(hint));
        None
    }

    /// The beginning of the period that it is in.
    pub(super) fn start_of(self, grain: Grain) -> Self {
        let date = self.0.date();
        let day = match grain {
            Grain::Hour => return Self(date.at(self.0.hour(), 0, 0, 0)),
            Grain::Day => date,
            Grain::Week => {
                let since_monday = i64::from(date.weekday().since(jiff::civil::Weekday::Monday));
                date.saturating_sub(since_monday.days())
            }
            Grain::Month => date.first_of_month(),
        };
        Self(day.at(0, 0, 0, 0))
    }

    /// Whether a period begins at it.
    pub(super) fn begins(self, grain: Grain) -> bool {
        self.start_of(grain) == self
    }

    /// The same time a period later.
    pub(super) fn next(self, grain: Grain) -> Self {
        Self(match grain {
            Grain::Hour => self.0.saturating_add(1.hour()),
            Grain::Day => self.0.saturating_add(1.day()),
            Grain::Week => self.0.saturating_add(1.week()),
            Grain::Month => self.0.saturating_add(1.month()),
        })
    }

    /// So much earlier.
    pub(super) fn before(self, span: Span) -> Self {
        let count = i64::from(span.count);
        Self(match span.unit {
            SpanUnit::Second => self.0.saturating_sub(count.seconds()),
            SpanUnit::Minute => self.0.saturating_sub(count.minutes()),
            SpanUnit::Hour => self.0.saturating_sub(count.hours()),
            SpanUnit::Day => self.0.saturating_sub(count.days()),
            SpanUnit::Week => self.0.saturating_sub(count.weeks()),
            // More months than there are in all years that jiff knows would not be a span.
            SpanUnit::Month => self.0.saturating_sub(count.min(100_000).months()),
            SpanUnit::Year => self.0.saturating_sub(count.min(10_000).years()),
        })
    }

    /// So many milliseconds later.
    pub(super) fn after_millis(self, millis: u64) -> Self {
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(jiff::SignedDuration::from_millis(millis)))
    }

    /// The last millisecond before it.
    pub(super) fn just_before(self) -> Self {
        Self(self.0.saturating_sub(1.millisecond()))
    }

    /// As a value of a `DateTime64(3, 'UTC')`.
    pub(super) fn sql_time(self) -> String {
        let at = self.0;
        let (millis, time) = (at.millisecond(), at.time());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let date = at.date();
        format!("toDateTime64('{date} {hour:02}:{minute:02}:{second:02}.{millis:03}', 3, 'UTC')")
    }

    /// As a value of the column that holds the beginnings of such periods.
    pub(super) fn sql_period(self, grain: Grain) -> String {
        match grain {
            Grain::Hour => format!("toDateTime('{} {:02}:00:00', 'UTC')", self.0.date(), self.0.hour()),
            Grain::Day | Grain::Week | Grain::Month => format!("toDate('{}')", self.0.date()),
        }
    }
}

impl Range {
    /// The conditions that keep `column` in it; `literal` writes a time as the column has it.
    pub(super) fn conditions(self, column: &str, literal: &dyn Fn(Moment) -> String) -> Vec<String> {
        let from = self.from.map(|from| format!("{column} >= {}", literal(from)));
        let to = self.to.map(|to| format!("{column} < {}", literal(to)));
        from.into_iter().chain(to).collect()
    }
}

/// The beginning of the period that a time is in: a `DateTime` for hours, otherwise a `Date`.
pub(crate) fn period(grain: Grain, time: &str) -> String {
    match grain {
        Grain::Hour => format!("toStartOfHour(toDateTime({time}, 'UTC'))"),
        Grain::Day => format!("toDate({time}, 'UTC')"),
        Grain::Week => format!("toMonday({time}, 'UTC')"),
        Grain::Month => format!("toStartOfMonth({time}, 'UTC')"),
    }
}

/// As [`period`], of a day, week or month, which has no time zone.
pub(super) fn period_of_date(grain: Grain, date: &str) -> String {
    match grain {
        Grain::Hour => format!("toDateTime({date}, 'UTC')"),
        Grain::Day => date.to_owned(),
        Grain::Week => format!("toMonday({date})"),
        Grain::Month => format!("toStartOfMonth({date})"),
    }
}

/// What ClickHouse calls so many units in its `add..` and `subtract..`.
pub(super) const fn unit_name(grain: Grain) -> &'static str {
    match grain {
        Grain::Hour => "Hours",
        Grain::Day => "Days",
        Grain::Week => "Weeks",
        Grain::Month => "Months",
    }
}

/// Whether periods of `fine` make up those of `coarse`.
pub(super) const fn divides(fine: Grain, coarse: Grain) -> bool {
    match (fine, coarse) {
        (Grain::Hour, _) | (Grain::Day, Grain::Day | Grain::Week | Grain::Month) => true,
        (Grain::Week, Grain::Week) | (Grain::Month, Grain::Month) => true,
        (Grain::Day, Grain::Hour)
        | (Grain::Week, Grain::Hour | Grain::Day | Grain::Month)
        | (Grain::Month, Grain::Hour | Grain::Day | Grain::Week) => false,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_yaml::Position;

    use super::*;

    fn moment(text: &str) -> Result<Moment, String> {
        let mut cx = Reading { surroundings: None, folder: std::path::Path::new(""), found: Vec::new() };
        let node = Node::new(Position::START, NodeKind::Text(text.to_owned()));
        Moment::read(&node, &mut cx).ok_or_else(|| cx.found.remove(0).message)
    }

    #[test]
    fn times_are_read_with_and_without_a_clock() {
        for (text, sql) in [
            ("2026-01-31", "toDateTime64('2026-01-31 00:00:00.000', 3, 'UTC')"),
            ("2026-01-31T12:30Z", "toDateTime64('2026-01-31 12:30:00.000', 3, 'UTC')"),
            ("2026-01-31 12:30:01.25", "toDateTime64('2026-01-31 12:30:01.250', 3, 'UTC')"),
        ] {
            assert_eq!(moment(text).unwrap().sql_time(), sql, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-02-30",
            "1969-12-31",
            "2026-01-31T12:30:00+01:00",
            "2026-01-01T00:00:00.0001",
            "'); DROP",
        ] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn periods_begin_where_clickhouse_begins_them() {
        let thursday = moment("2026-01-15T13:45").unwrap();
        for (grain, start) in [
            (Grain::Hour, "2026-01-15T13:00"),
            (Grain::Day, "2026-01-15"),
            (Grain::Week, "2026-01-12"),
            (Grain::Month, "2026-01-01"),
        ] {
            let start = moment(start).unwrap();
            assert_eq!(thursday.start_of(grain), start);
            assert!(start.begins(grain) && !thursday.begins(grain));
        }
        let month = Span { count: 1, unit: SpanUnit::Month };
        assert_eq!(moment("2026-03-31").unwrap().before(month), moment("2026-02-28").unwrap());
    }
}
