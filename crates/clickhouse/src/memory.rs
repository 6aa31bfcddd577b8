//! How a server knows an insert that it has applied already, and where that knowledge ends.

use serde::Deserialize;
use tidegate_core::{Fault, FaultKind};
use tidegate_native::Table;
use tidegate_pipeline::port::{POSITION_COLUMNS, TableMemory};

use crate::client::{Client, fault};
use crate::replicas::KnownSettings;
use crate::sql::{quote_name, quote_text};
use crate::window::DedupWindow;

/// The setting that servers lack which know no tokens.
pub(crate) const TOKEN_SETTING: &str = "insert_deduplication_token";

/// Why a table without [`POSITION_COLUMNS`] is weak.
const BLIND: &str = "the rows of an insert may be lost if the server is killed in the middle of it: the table has no columns \
                     `_topic`, `_partition` and `_offset` that would say which it has";

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
        } else if POSITION_COLUMNS.iter().all(|name| has_column(name)) {
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
    /// What this table remembers of inserts.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn memory(&self, table: &Table) -> Result<TableMemory, Fault> {
        let chosen = self.shared.replicas.current();
        let known = self.known_settings(chosen).await.map_err(|failure| fault(chosen, failure))?;
        let has_column = |name: &str| table.columns.iter().any(|column| column.name == name);
        let memory = Memory::of(&known, has_column);
        let (engine, window) = self.engine_and_window(&table.database, &table.name).await?;
        let fickle = match memory {
            Memory::Rows => self.fickle_columns(table).await?,
            Memory::Token | Memory::Nothing => Vec::new(),
        };
        let weakness = weakness(memory, window, &fickle);
        // A replicated table notes a token together with the part. Those that merge rows into others cannot be asked which
        // they have had.
        if engine != "MergeTree" || window == DedupWindow::Blocks(0) {
            return Ok(TableMemory { weakness, may_miss_rows: false });
        }
        let blind = match POSITION_COLUMNS.iter().all(|name| has_column(name)) {
            true => self.may_not_look(table).await?,
            false => Some(BLIND.to_owned()),
        };
        Ok(TableMemory { may_miss_rows: blind.is_none(), weakness: weakness.or(blind) })
    }

    /// Why nobody can be asked which rows the table has, in words.
    async fn may_not_look(&self, table: &Table) -> Result<Option<String>, Fault> {
        let (database, name) = (quote_name(&table.database), quote_name(&table.name));
        let sql = format!("SELECT {} FROM {database}.{name} LIMIT 0", POSITION_COLUMNS.join(", "));
        denied(self.query(&sql).await, &format!("{database}.{name}"))
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

/// What a refused question says of a table; other faults are the world's.
fn denied(answer: Result<String, Fault>, table: &str) -> Result<Option<String>, Fault> {
    match answer {
        Ok(_) => Ok(None),
        Err(fault) if fault.kind == FaultKind::Denied => Ok(Some(format!(
            "the rows of an insert may be lost if the server is killed in the middle of it: this user may not ask the table \
             which it has; GRANT SELECT({}) ON {table} lets it",
            POSITION_COLUMNS.join(", ")
        ))),
        Err(fault) => Err(fault),
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
    fn a_user_who_may_not_ask_is_told_what_would_let_it_and_a_server_that_is_away_is_asked_again() {
        let fault = |kind| Err(Fault::new(kind, "x"));
        let why = denied(fault(FaultKind::Denied), "`ev`.`t`").unwrap().unwrap();
        assert!(why.ends_with("GRANT SELECT(_topic, _partition, _offset) ON `ev`.`t` lets it"), "{why}");
        assert_eq!(denied(fault(FaultKind::Network), "t").unwrap_err().kind, FaultKind::Network);
        assert_eq!(denied(Ok(String::new()), "t"), Ok(None));
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
