//! The percentage over time: a line of JSON a run, kept beside the catalog.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Figures, percent};

/// A run's figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The day: `2026-01-31`.
    pub date: String,
    /// What the catalog's files were, as a hash.
    pub catalog: String,
    /// What the spreadsheet was, as a hash.
    pub spreadsheet: String,
    /// Metrics that were wanted.
    pub wanted: usize,
    /// Metrics that were there.
    pub covered: usize,
    /// Metrics that only had to be written.
    pub derivable: usize,
}

impl Point {
    /// The percentage of wanted metrics that were there.
    #[must_use]
    pub fn percent(&self) -> f64 {
        percent(self.covered, self.wanted)
    }

    /// The figures of a day's run.
    #[must_use]
    pub fn new(date: String, (catalog, spreadsheet): (String, String), figures: &Figures) -> Self {
        let Figures { wanted, covered, derivable, .. } = *figures;
        Self { date, catalog, spreadsheet, wanted, covered, derivable }
    }
}

/// A line of a history that is none.
#[derive(Debug)]
pub struct HistoryError {
    /// The line, from 1.
    pub line: usize,
    source: serde_json::Error,
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the history is no run's figures", self.line)
    }
}

impl std::error::Error for HistoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Reads a history.
///
/// # Errors
/// When a line is not what [`added`] writes. What somebody else keeps in the file is not written over.
pub fn read(text: &str) -> Result<Vec<Point>, HistoryError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|source| HistoryError { line: index + 1, source })
        })
        .collect()
}

/// The history's text with the point in it. The same inputs on the same day are one line, however often.
///
/// # Errors
/// When the point has no JSON.
pub fn added(text: &str, points: &mut Vec<Point>, point: Point) -> serde_json::Result<String> {
    let mut text = text.to_owned();
    if points.contains(&point) {
        return Ok(text);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&serde_json::to_string(&point)?);
    text.push('\n');
    points.push(point);
    Ok(text)
}

/// The last run of each day, by day.
#[must_use]
pub fn days(points: &[Point]) -> Vec<&Point> {
    let days: std::collections::BTreeMap<&str, &Point> =
        points.iter().map(|point| (point.date.as_str(), point)).collect();
    days.into_values().collect()
}

/// Texts as 16 hexadecimal digits: FNV-1a, which tells versions of a file apart and defends against nobody.
#[must_use]
pub fn hash<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for text in texts {
        text.iter().copied().for_each(&mut take);
        // No end of one text is the beginning of the next one; UTF-8 has no such byte.
        take(0xff);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(date: &str, covered: usize) -> Point {
        let figures = Figures { wanted: 10, covered, ..Figures::default() };
        Point::new(date.to_owned(), (hash([b"a".as_slice()]), String::new()), &figures)
    }

    #[test]
    fn a_run_is_one_line_however_often_it_is_made() {
        let (mut text, mut points) = (String::new(), Vec::new());
        for (date, covered) in [("2026-01-01", 3), ("2026-01-01", 3), ("2026-01-03", 4), ("2026-01-01", 5)] {
            text = added(&text, &mut points, point(date, covered)).unwrap();
        }
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(read(&text).unwrap(), points);
        let percents: Vec<f64> = days(&points).into_iter().map(Point::percent).collect();
        assert_eq!(percents, [50.0, 40.0]);
        assert_eq!(read("\n{}\n").unwrap_err().line, 2);
    }

    #[test]
    fn texts_and_where_they_end_are_hashed() {
        assert_ne!(hash([b"ab".as_slice(), b"c"]), hash([b"a".as_slice(), b"bc"]));
        assert_eq!(hash([]), "cbf29ce484222325");
    }
}
