//! How far back a table remembers tokens.

use serde::Deserialize;
use tidegate_core::{Fault, FaultKind};

use crate::client::Client;
use crate::sql::quote_text;

/// A table's deduplication window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DedupWindow {
    /// The last so many blocks; 0 remembers none, and a repeat is stored again.
    Blocks(u64),
    /// The engine has no such memory by itself (Distributed, Buffer, Null and the like).
    NotByEngine,
}

/// The server's defaults of tables' settings.
const MERGE_TREE_SETTINGS: &str = "merge_tree_settings";

#[derive(Deserialize)]
struct EngineRow {
    engine: String,
    engine_full: String,
}

#[derive(Deserialize)]
struct SettingRow {
    value: String,
}

impl Client {
    /// The window of a table: what it states, else the server's default.
    ///
    /// # Errors
    /// [`FaultKind::Missing`] if there is no such table; as [`Client::query`] besides.
    pub async fn dedup_window(&self, database: &str, table: &str) -> Result<DedupWindow, Fault> {
        Ok(self.engine_and_window(database, table).await?.1)
    }

    /// The table's engine beside it.
    pub(crate) async fn engine_and_window(
        &self,
        database: &str,
        table: &str,
    ) -> Result<(String, DedupWindow), Fault> {
        let sql = format!(
            "SELECT engine, engine_full FROM system.tables WHERE database = {} AND name = {}",
            quote_text(database),
            quote_text(table),
        );
        let rows: Vec<EngineRow> = self.rows(&sql).await?;
        let row = rows.into_iter().next().ok_or_else(|| {
            Fault::new(
                FaultKind::Missing,
                format!("clickhouse: table `{database}.{table}` does not exist, or user may not see it"),
            )
        })?;
        let Some((setting, settings_table)) = window_setting(&row.engine) else {
            return Ok((row.engine, DedupWindow::NotByEngine));
        };
        if let Some(blocks) = stated(&row.engine_full, setting) {
            return Ok((row.engine, DedupWindow::Blocks(blocks)));
        }
        let sql = |table| format!("SELECT value FROM system.{table} WHERE name = {}", quote_text(setting));
        let rows: Vec<SettingRow> = match self.rows(&sql(settings_table)).await {
            // 18.16 has one table for both.
            Err(fault) if fault.kind == FaultKind::Missing => self.rows(&sql(MERGE_TREE_SETTINGS)).await?,
            rows => rows?,
        };
        // A server that has no such setting remembers nothing.
        let default = rows.first().map_or(Some(0), |row| row.value.parse().ok());
        let foreign = || {
            Fault::new(FaultKind::Unknown, format!("clickhouse: the default of `{setting}` is not a number"))
        };
        Ok((row.engine, DedupWindow::Blocks(default.ok_or_else(foreign)?)))
    }
}

/// The setting that rules an engine, and where its default stands.
fn window_setting(engine: &str) -> Option<(&'static str, &'static str)> {
    if !engine.ends_with("MergeTree") {
        return None;
    }
    if engine.starts_with("Replicated") || engine.starts_with("Shared") {
        return Some(("replicated_deduplication_window", "replicated_merge_tree_settings"));
    }
    Some(("non_replicated_deduplication_window", MERGE_TREE_SETTINGS))
}

/// The value in `.. SETTINGS index_granularity = 8192, <setting> = 100`.
fn stated(engine_full: &str, setting: &str) -> Option<u64> {
    let (_, settings) = engine_full.rsplit_once(" SETTINGS ")?;
    let value = settings.split(", ").find_map(|pair| pair.strip_prefix(setting)?.strip_prefix(" = "))?;
    value.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_read_from_the_engines_settings() {
        let full =
            "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 7, index_granularity = 8192";
        assert_eq!(stated(full, "non_replicated_deduplication_window"), Some(7));
        assert_eq!(stated(full, "replicated_deduplication_window"), None);
        assert_eq!(stated("MergeTree ORDER BY a", "non_replicated_deduplication_window"), None);
        assert_eq!(window_setting("Distributed"), None);
        assert!(
            window_setting("SharedReplacingMergeTree")
                .is_some_and(|(name, _)| name.starts_with("replicated"))
        );
    }
}
