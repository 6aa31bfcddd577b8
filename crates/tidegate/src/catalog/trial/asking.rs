//! What came of the events that were sent: asked of ClickHouse, where everybody else asks too.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_catalog::Catalog;
use tidegate_clickhouse::{Client, quote_name};

use super::{Case, Sent};
use crate::catalog::agreement::{SETTINGS, disagreements};

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "came", rename_all = "snake_case")]
pub enum Came {
    /// Rows: one, if all is well.
    Row {
        /// How many.
        rows: usize,
        /// The first one.
        #[serde(skip)]
        row: Map<String, Value>,
    },
    /// A dead letter.
    DeadLetter(Letter),
    /// Both, which must never be.
    Both(Letter),
    /// No record: a producer's serializer refuses the event already.
    Unwritable {
        /// Why.
        why: String,
    },
    /// Nothing.
    Nothing,
}

/// A dead letter in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    stage: String,
    code: String,
    /// Where in the event, a JSON Pointer.
    field: String,
    #[serde(rename = "expected_value")]
    expected: String,
    found: String,
    /// Every reason, the decisive one first.
    errors: Vec<Reason>,
}

/// One reason of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub(super) code: String,
    /// Where in the event, a JSON Pointer.
    pub(super) path: String,
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, code, field, expected, found, errors: _ } = self;
        let found = found.escape_debug();
        write!(f, "a dead letter, {code} at {stage}: field `{field}`: expected {expected}, found {found}")
    }
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { rows: 1, .. } => f.write_str("a row"),
            Self::Row { rows, .. } => write!(f, "{rows} rows"),
            Self::DeadLetter(letter) => letter.fmt(f),
            Self::Both(letter) => write!(f, "a row, and {letter}"),
            Self::Unwritable { why } => write!(f, "no record: the serializer refuses it: {why}"),
            Self::Nothing => f.write_str("neither a row nor a dead letter"),
        }
    }
}

impl Came {
    /// What is not as the case says, in words.
    pub(super) fn against(&self, catalog: &Catalog, case: &Case<'_>) -> Vec<String> {
        match (self, case.accepted()) {
            (Self::Row { rows: 1, row }, true) => disagreements(catalog, case.event, &case.value, row),
            (Self::DeadLetter(letter), false) => case.letter(letter),
            // Its reader would never see it; which rule it breaks, the serializer tells in its own words.
            (Self::Unwritable { why }, false) => case.field_in(why),
            (_, true) => vec![format!("expected one row in table `{}`", case.event.table)],
            (_, false) => vec!["expected a dead letter and no row".to_owned()],
        }
    }
}

impl Case<'_> {
    /// Where a dead letter is not the one that the test states. An event may break several rules; the one that
    /// the test is about is among them.
    fn letter(&self, letter: &Letter) -> Vec<String> {
        let Some(test) = self.test else { return Vec::new() };
        let of = |reason: &Reason| test.code.as_ref().is_none_or(|code| *code == reason.code);
        if letter.errors.iter().any(|reason| test.is_about(&reason.path) && of(reason)) {
            return Vec::new();
        }
        let code = test.code.as_ref().map_or_else(|| "a reason".to_owned(), |code| format!("`{code}`"));
        let field = test.pointer().map_or_else(String::new, |pointer| format!(" for field `{pointer}`"));
        let found: Vec<String> =
            letter.errors.iter().map(|reason| format!("`{}` for `{}`", reason.code, reason.path)).collect();
        vec![format!("expected {code}{field}, found {}", found.join(", "))]
    }

    fn field_in(&self, why: &str) -> Vec<String> {
        let pointer = self.test.and_then(tidegate_catalog::language::Test::pointer);
        // A serializer names the member that it cannot write.
        let member = |pointer: &String| pointer.rsplit('/').next().map(str::to_owned).unwrap_or_default();
        match pointer.filter(|pointer| !why.contains(&member(pointer))) {
            Some(pointer) => vec![format!("expected it for field `{pointer}`")],
            None => Vec::new(),
        }
    }
}

/// Everything that arrived, by topic and offset.
pub struct Found {
    rows: HashMap<(String, i64), Vec<Map<String, Value>>>,
    letters: HashMap<(String, i64), Letter>,
}

impl Found {
    /// Asks for the rows of the events that were sent, and for all dead letters.
    pub(super) async fn ask(
        clickhouse: &Client,
        catalog: &Catalog,
        cases: &[Case<'_>],
    ) -> anyhow::Result<Self> {
        let database = quote_name(catalog.database());
        let tables: BTreeSet<&str> = cases.iter().map(|case| case.event.table.as_str()).collect();
        let mut rows: HashMap<_, Vec<_>> = HashMap::new();
        for table in tables {
            let sql = format!("SELECT * FROM {database}.{} SETTINGS {SETTINGS}", quote_name(table));
            let found: Vec<Map<String, Value>> = clickhouse.rows(&sql).await.context("ask for rows")?;
            for row in found {
                let topic = row.get("_topic").and_then(Value::as_str).unwrap_or_default().to_owned();
                // Whole numbers of 64 bits are texts.
                let offset = row.get("_offset").and_then(Value::as_str).and_then(|text| text.parse().ok());
                rows.entry((topic, offset.unwrap_or(-1))).or_default().push(row);
            }
        }
        #[derive(Deserialize)]
        struct At {
            topic: String,
            at: i64,
            #[serde(flatten)]
            letter: Letter,
        }
        let sql = format!(
            "SELECT topic, offset AS at, stage, code, path AS field, expected AS expected_value, found, errors \
             FROM {database}.{} FINAL \
             SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_named_tuples_as_objects = 1",
            quote_name(catalog.file.policies.dead_letters.table.as_str())
        );
        let letters: Vec<At> = clickhouse.rows(&sql).await.context("ask for dead letters")?;
        let letters = letters.into_iter().map(|at| ((at.topic, at.at), at.letter)).collect();
        Ok(Self { rows, letters })
    }

    /// What came of a case.
    pub(super) fn of(&self, case: &Case<'_>, sent: &Sent) -> Came {
        let offset = match sent {
            Sent::Record(offset) => *offset,
            Sent::Unwritable(why) => return Came::Unwritable { why: why.clone() },
        };
        let place = (case.event.topic.clone(), offset);
        let rows = self.rows.get(&place).map_or(&[][..], Vec::as_slice);
        match (rows.first(), self.letters.get(&place)) {
            (Some(row), None) => Came::Row { rows: rows.len(), row: row.clone() },
            (None, Some(letter)) => Came::DeadLetter(letter.clone()),
            (Some(_), Some(letter)) => Came::Both(letter.clone()),
            (None, None) => Came::Nothing,
        }
    }
}
