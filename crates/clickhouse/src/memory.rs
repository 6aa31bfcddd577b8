//! How a server knows an insert that it has applied already, and where that knowledge ends.

use serde::Deserialize;
use tidegate_core::Fault;
use tidegate_native::Table;

use crate::client::{Client, fault};
use crate::replicas::KnownSettings;
use crate::sql::quote_text;
use crate::window::DedupWindow;

/// The setting that servers lack which know no tokens.
pub(crate) const TOKEN_SETTING: &str = "insert_deduplication_token";

/// The columns by which no two records' rows are equal.
const ORIGIN: [&str; 3] = ["_topic", "_partition", "_offset"];

/// By what a repeated insert is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// By its token, whatever its rows are.
    Token,
    /// By a hash of its rows. That is safe only where no other insert has equal rows.
    Rows,
    /// By nothing.
    Nothing,
}

impl Memory {
    /// What a server with these settings knows an insert into these columns by. A hash would drop rows of
    /// different records as one another's repeats, if nothing in them says where they come from.
    pub(crate) fn of(known: &KnownSettings, has_column: impl Fn(&str) -> bool) -> Self {
        if known.contains(TOKEN_SETTING) {
            Self::Token
        } else if ORIGIN.iter().all(|name| has_column(name)) {
            Self::Rows
        } else {
            Self::Nothing
        }
    }
}

#[derive(Deserialize)]
struct NameRow {
    name: String,
}

impl Client {
    /// Why an insert into this table that is repeated may be stored twice, in words; `None` if it is not.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn weakness(&self, table: &Table) -> Result<Option<String>, Fault> {
        let chosen = self.shared.replicas.current();
        let known = self.known_settings(chosen).await.map_err(|failure| fault(chosen, failure))?;
        let memory = Memory::of(&known, |name| table.columns.iter().any(|column| column.name == name));
        let window = self.dedup_window(&table.database, &table.name).await?;
        let fickle = match memory {
            Memory::Rows => self.fickle_columns(table).await?,
            Memory::Token | Memory::Nothing => Vec::new(),
        };
        Ok(weakness(memory, window, &fickle))
    }

    /// The columns whose defaults are not the same from insert to insert.
    async fn fickle_columns(&self, table: &Table) -> Result<Vec<String>, Fault> {
        let sql = format!(
            "SELECT name FROM system.columns WHERE database = {} AND table = {} \
             AND default_kind IN ('DEFAULT', 'MATERIALIZED') AND match(default_expression, {})",
            quote_text(&table.database),
            quote_text(&table.name),
            quote_text(r"(?i)\b(now|now64|today|yesterday|rand\w*|generate\w*|hostname|fqdn|uptime)\s*\("),
        );
        let rows: Vec<NameRow> = self.rows(&sql).await?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }
}

fn weakness(memory: Memory, window: DedupWindow, fickle: &[String]) -> Option<String> {
    let twice = "an insert that is repeated is stored twice";
    let text = match (memory, window) {
        (Memory::Token, DedupWindow::Blocks(1..)) => return None,
        (Memory::Token, DedupWindow::Blocks(0)) => format!(
            "the table remembers no inserts, so {twice}; ALTER TABLE .. MODIFY SETTING \
             non_replicated_deduplication_window = 10000 gives it a memory"
        ),
        (_, DedupWindow::NotByEngine) => {
            "the table's engine remembers no inserts by itself, so one that is repeated may be stored twice"
                .to_owned()
        }
        (Memory::Nothing, DedupWindow::Blocks(_)) => format!(
            "the server knows no insert tokens, and the table's rows do not say which record they come from, so {twice}; \
             a replicated table with the columns `_topic`, `_partition` and `_offset`, or a newer server, knows it again"
        ),
        (Memory::Rows, DedupWindow::Blocks(0)) => {
            format!(
                "the server knows no insert tokens, and the table remembers no rows, so {twice}; a replicated table does"
            )
        }
        (Memory::Rows, DedupWindow::Blocks(blocks)) if fickle.is_empty() => format!(
            "the server knows no insert tokens; a repeat is known by its rows, among the last {blocks} inserts and while \
             the table is not altered"
        ),
        (Memory::Rows, DedupWindow::Blocks(_)) => format!(
            "the server knows no insert tokens and tells a repeat by its rows, but the default of `{}` differs from insert \
             to insert, so {twice} unless records fill it",
            fickle.join("`, `")
        ),
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_a_memory_only_if_they_say_where_they_come_from() {
        let old = KnownSettings::from(["insert_deduplicate".to_owned()]);
        let new = KnownSettings::from([TOKEN_SETTING.to_owned()]);
        assert_eq!(Memory::of(&old, |_| true), Memory::Rows);
        assert_eq!(Memory::of(&old, |name| name != "_offset"), Memory::Nothing);
        assert_eq!(Memory::of(&new, |_| false), Memory::Token);
    }

    #[test]
    fn whatever_may_double_is_said_and_nothing_else() {
        let said = |memory, window, fickle: &[&str]| {
            weakness(memory, window, &fickle.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(said(Memory::Token, DedupWindow::Blocks(1), &[]), None);
        for (memory, window, fickle, part) in [
            (Memory::Token, DedupWindow::Blocks(0), &[][..], "MODIFY SETTING"),
            (Memory::Token, DedupWindow::NotByEngine, &[], "engine"),
            (Memory::Nothing, DedupWindow::Blocks(100), &[], "`_offset`"),
            (Memory::Rows, DedupWindow::Blocks(0), &[], "a replicated table does"),
            (Memory::Rows, DedupWindow::Blocks(100), &[], "the last 100 inserts"),
            (Memory::Rows, DedupWindow::Blocks(100), &["at"], "the default of `at`"),
        ] {
            let text = said(memory, window, fickle).unwrap_or_default();
            assert!(text.contains(part), "{text}");
        }
    }
}
