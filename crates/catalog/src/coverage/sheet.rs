//! A spreadsheet of wanted metrics, as people save it: CSV of RFC 4180 with what spreadsheets make of it.
//!
//! One bad row costs that row only: a quote that is never closed ends with its line, and is told with it.

use std::fmt;

use super::words::key;

/// A sheet of thousands of metrics is some hundred kilobytes.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;
/// More rows than people can want.
const ROWS_MAX: usize = 10_000;
/// The longest quoted cell and the longest row with such cells: without them every stray quote would be read to the
/// end of the file.
const CELL_MAX: usize = 16 * 1024;
const ROW_MAX: usize = 64 * 1024;

/// A metric that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The line that its row begins at, from 1.
    pub line: usize,
    /// What it is called; never empty.
    pub name: String,
    /// What it says, in words.
    pub description: String,
    /// How it is computed: an expression, or words.
    pub formula: String,
    /// Who wants it.
    pub owner: String,
    /// How much.
    pub priority: String,
}

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Malformed {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// The rows of a spreadsheet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sheet {
    /// What is wanted, in the sheet's order.
    pub rows: Vec<Wanted>,
    /// What could not be read.
    pub malformed: Vec<Malformed>,
}

/// Why a file is no sheet at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SheetError {
    /// It has more than [`BYTES_MAX`] bytes, or too many rows.
    TooLarge,
    /// This line is not UTF-8.
    NotText {
        /// The line, from 1.
        line: usize,
    },
    /// No column says what the metrics are called.
    NoNames {
        /// The columns that there are.
        found: Vec<String>,
    },
}

impl fmt::Display for SheetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => {
                write!(f, "the spreadsheet has more than {BYTES_MAX} bytes or {ROWS_MAX} rows")
            }
            Self::NotText { line } => {
                write!(f, "line {line} is not UTF-8; save the spreadsheet as `CSV UTF-8`")
            }
            Self::NoNames { found } => {
                let found: Vec<String> = found.iter().take(12).map(|name| format!("`{name}`")).collect();
                let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
                write!(f, "no column is called `name` or `metric`; the first line names {found}")
            }
        }
    }
}

impl std::error::Error for SheetError {}

/// Reads a spreadsheet. The delimiter is the one of `,`, `;` and tab that the first line has most of.
///
/// # Errors
/// When it is too large, no text, or no column gives names. Rows that are wrong are told in [`Sheet`].
pub fn read(bytes: &[u8]) -> Result<Sheet, SheetError> {
    if bytes.len() > BYTES_MAX {
        return Err(SheetError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        SheetError::NotText { line: before.iter().filter(|byte| **byte == b'\n').count() + 1 }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = Records { rest: text, line: 1, delimiter: delimiter(text) };
    let header = records.find(|(_, cells)| !matches!(cells, Ok(cells) if blank(cells)));
    let header = header.and_then(|(_, cells)| cells.ok()).unwrap_or_default();
    let columns: Vec<Option<Column>> = columns(&header);
    if !columns.contains(&Some(Column::Name)) {
        return Err(SheetError::NoNames { found: header });
    }
    let mut sheet = Sheet::default();
    for (line, cells) in records {
        if sheet.rows.len() + sheet.malformed.len() >= ROWS_MAX {
            return Err(SheetError::TooLarge);
        }
        match cells.and_then(|cells| wanted(line, cells, &columns)) {
            Ok(Some(row)) => sheet.rows.push(row),
            Ok(None) => {}
            Err(message) => sheet.malformed.push(Malformed { line, message }),
        }
    }
    Ok(sheet)
}

fn blank(cells: &[String]) -> bool {
    cells.iter().all(|cell| cell.trim().is_empty())
}

fn delimiter(text: &str) -> char {
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let count = |wanted: char| {
        let mut quoted = false;
        let unquoted = header.chars().filter(|char| {
            quoted ^= *char == '"';
            !quoted && *char == wanted
        });
        unquoted.count()
    };
    // Of equally many the first one counts.
    [',', ';', '\t'].into_iter().rev().max_by_key(|wanted| count(*wanted)).unwrap_or(',')
}

/// What a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Description,
    Formula,
    Owner,
    Priority,
}

/// What columns are called, nearest to the first of them.
const CALLED: [(Column, &[&str]); 5] = [
    (Column::Name, &["name", "metric", "metric name", "kpi", "title"]),
    (Column::Description, &["description", "definition", "doc", "meaning", "note", "what", "comment"]),
    (
        Column::Formula,
        &[
            "formula",
            "calculation",
            "expression",
            "expr",
            "sql",
            "formula or text",
            "computation",
            "text",
            "how",
        ],
    ),
    (Column::Owner, &["owner", "team", "responsible", "requested by", "who"]),
    (Column::Priority, &["priority", "prio", "importance", "rank"]),
];

/// What each column of the header says; none says what another one has said better.
fn columns(header: &[String]) -> Vec<Option<Column>> {
    let mut columns = vec![None; header.len()];
    let keys: Vec<String> = header.iter().map(|cell| key(cell)).collect();
    for (column, called) in CALLED {
        let found = called.iter().find_map(|name| keys.iter().position(|cell| *cell == key(name)));
        if let Some(place) = found.and_then(|index| columns.get_mut(index)) {
            *place = Some(column);
        }
    }
    columns
}

fn wanted(line: usize, cells: Vec<String>, columns: &[Option<Column>]) -> Result<Option<Wanted>, String> {
    if blank(&cells) {
        return Ok(None);
    }
    let more = cells.iter().skip(columns.len()).any(|cell| !cell.trim().is_empty());
    if more {
        let (found, expected) = (cells.len(), columns.len());
        return Err(format!(
            "{found} cells, and the first line has {expected}; put cells that have the delimiter in them in \"quotes\""
        ));
    }
    let mut row = Wanted { line, ..Wanted::default() };
    for (cell, column) in cells.into_iter().zip(columns) {
        let cell = cell.trim().to_owned();
        match column {
            Some(Column::Name) => row.name = cell.split_whitespace().collect::<Vec<_>>().join(" "),
            Some(Column::Description) => row.description = cell,
            Some(Column::Formula) => row.formula = cell,
            Some(Column::Owner) => row.owner = cell,
            Some(Column::Priority) => row.priority = cell,
            None => {}
        }
    }
    if row.name.is_empty() { Err("the row has no name".to_owned()) } else { Ok(Some(row)) }
}

/// The records of a text, each with the line that it begins at.
struct Records<'a> {
    rest: &'a str,
    line: usize,
    delimiter: char,
}

impl Iterator for Records<'_> {
    type Item = (usize, Result<Vec<String>, String>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, start) = (self.line, self.rest);
        let cells = self.cells();
        if cells.is_err() {
            // What follows the row's first line is read anew: its quotes may be right.
            self.rest = start;
            self.unquoted(true);
            self.end_of_line();
        }
        // Whatever was read is behind: the lines that it had.
        let behind = start.get(..start.len() - self.rest.len()).unwrap_or_default();
        self.line = line + lines(behind);
        Some((line, cells))
    }
}

/// How many line breaks there are: `\n`, `\r\n` or `\r`.
fn lines(text: &str) -> usize {
    text.matches('\n').count() + text.matches('\r').count() - text.matches("\r\n").count()
}

impl<'a> Records<'a> {
    fn cells(&mut self) -> Result<Vec<String>, String> {
        let mut cells = Vec::new();
        let before = self.rest.len();
        loop {
            match self.rest.strip_prefix('"') {
                Some(_) if before - self.rest.len() > ROW_MAX => {
                    return Err(format!("the row has more than {ROW_MAX} bytes; is a quote not closed?"));
                }
                Some(rest) => cells.push(self.quoted(rest)?),
                None => cells.push(self.unquoted(false).to_owned()),
            }
            match self.rest.strip_prefix(self.delimiter) {
                Some(rest) => self.rest = rest,
                None => {
                    self.end_of_line();
                    return Ok(cells);
                }
            }
        }
    }

    /// Up to the delimiter or the end of the line; up to the latter only if it is the `whole` line.
    fn unquoted(&mut self, whole: bool) -> &'a str {
        let delimiter = self.delimiter;
        let ends = |char: char| char == '\n' || char == '\r' || (!whole && char == delimiter);
        let (cell, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        cell
    }

    /// What stands in quotes, after the first of them; a quote in it is doubled.
    fn quoted(&mut self, rest: &'a str) -> Result<String, String> {
        let mut cell = String::new();
        let mut rest = rest;
        loop {
            let room = CELL_MAX.saturating_sub(cell.len()) + 1;
            let Some(end) = rest.bytes().take(room).position(|byte| byte == b'"') else {
                return Err(format!("a quote is not closed within {CELL_MAX} bytes"));
            };
            let (before, after) = (&rest[..end], &rest[end + 1..]);
            cell.push_str(before);
            match after.strip_prefix('"') {
                Some(more) => {
                    cell.push('"');
                    rest = more;
                }
                None => {
                    self.rest = after;
                    break;
                }
            }
        }
        let behind = self.unquoted(false).trim();
        if behind.is_empty() {
            return Ok(cell);
        }
        Err("text behind a closing quote; a quote within quotes is written twice: \"\"".to_owned())
    }

    fn end_of_line(&mut self) {
        let rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
        self.rest = rest.strip_prefix('\n').unwrap_or(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(usize, String)> {
        let sheet = read(text.as_bytes()).unwrap();
        sheet.rows.into_iter().map(|row| (row.line, row.name)).collect()
    }

    #[test]
    fn columns_come_in_any_order_and_by_other_names() {
        for text in [
            "Owner;Metric;Prio;Definition;Calculation\ngrowth;DAU;1;People;count(x)\n",
            "\u{feff}\"Description\"\tNAME\tformula\towner\tpriority\r\nPeople\tDAU\tcount(x)\tgrowth\t1",
            "\n\nid,priority,team,sql,kpi,description\r9,1,growth,count(x),DAU,People\r",
        ] {
            let sheet = read(text.as_bytes()).unwrap();
            let [row] = sheet.rows.as_slice() else { panic!("{sheet:?}") };
            let row = [&row.name, &row.description, &row.formula, &row.owner, &row.priority];
            assert_eq!(row, ["DAU", "People", "count(x)", "growth", "1"], "{text}");
        }
    }

    #[test]
    fn a_cell_in_quotes_has_lines_delimiters_and_quotes() {
        let sheet = read(b"name,description\n\"A, \"\"b\"\"\",\"one\ntwo\"\nNext,\"\"\n".as_slice()).unwrap();
        assert_eq!(sheet.rows[0].name, "A, \"b\"");
        assert_eq!(sheet.rows[0].description, "one\ntwo");
        assert_eq!((sheet.rows[1].line, sheet.rows[1].name.as_str()), (4, "Next"));
    }

    #[test]
    fn a_bad_row_is_told_with_its_line_and_costs_no_other() {
        let text = "name,formula\nA,count(x)\n\"open,1\nB,\"a\"b\n\nC,sum(a,b)\n,count(x)\nD\n";
        assert_eq!(names(text), [(2, "A".to_owned()), (8, "D".to_owned())]);
        let malformed = read(text.as_bytes()).unwrap().malformed;
        let lines: Vec<usize> = malformed.iter().map(|row| row.line).collect();
        assert_eq!(lines, [3, 4, 6, 7], "{malformed:?}");
    }

    #[test]
    fn what_is_no_sheet_is_refused_with_the_way_out() {
        let refused = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(refused(b"").contains("names none"));
        assert!(refused(b"a,b\n1,2").contains("`a`, `b`"));
        assert!(refused(b"name\nok\n\xff").contains("line 3"));
        assert!(refused(&vec![b'\n'; BYTES_MAX + 1]).contains("bytes"));
        assert!(refused(format!("name\n{}", "\"x\n".repeat(ROWS_MAX + 1)).as_bytes()).contains("rows"));
    }
}
