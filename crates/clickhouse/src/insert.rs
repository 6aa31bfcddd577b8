//! Inserts, as the pipeline asks for them.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{Fault, InsertToken, OffsetRange, TopicPartition};
use tidegate_native::Table;
use tidegate_pipeline::port::{EncodedBlock, InsertError, TableMemory, Warehouse};

use crate::answer::{Failure, expect_empty};
use crate::client::{Client, Request, fault};
use crate::compression::compress;
use crate::memory::{Memory, TOKEN_SETTING};
use crate::options::{Compression, Shown};
use crate::replicas::{Chosen, KnownSettings};
use crate::sql::{quote_name, quote_text};

/// Settings that stay as they are from attempt to attempt, with the reason for each.
const FIXED: [(&str, &str); 10] = [
    // What is sent is what is written: one part and one token a request. On by default since 26.x.
    ("async_insert", "0"),
    // The token counts per block that the server writes. Zero stops it from joining or cutting blocks
    // of Native, which it otherwise does by rows and by bytes in memory.
    ("min_insert_block_size_rows", "0"),
    ("min_insert_block_size_bytes", "0"),
    ("max_insert_block_size", "100000000"),
    ("max_insert_block_size_bytes", "0"),
    // A view's target forgets a repeat together with its source.
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    // NULL in a column with a DEFAULT means the default.
    ("input_format_null_as_default", "1"),
    // The limit of 100 partitions a block would come as code 252, which is waited for: what records
    // contain would stop a partition.
    ("max_partitions_per_insert_block", "0"),
    // Rows of Native are not parsed, so there is nothing to do in parallel, and nothing to reorder.
    ("max_insert_threads", "1"),
    // A chain of views fails as a whole, so that the retry is whole.
    ("materialized_views_ignore_errors", "0"),
];

/// Settings that follow from whether there is a token.
const DEDUPLICATION: [&str; 3] = ["insert_deduplicate", "deduplicate_insert", TOKEN_SETTING];

/// What the options' settings may not name.
pub(crate) const RESERVED_SETTINGS: [&str; 9] = [
    "async_insert",
    "min_insert_block_size_rows",
    "min_insert_block_size_bytes",
    "max_insert_block_size",
    "max_insert_block_size_bytes",
    "deduplicate_blocks_in_dependent_materialized_views",
    "insert_deduplicate",
    "deduplicate_insert",
    "insert_deduplication_token",
];

/// `UNKNOWN_SETTING`: the server is not the one whose settings were asked for.
const UNKNOWN_SETTING: i32 = 115;

impl Warehouse for Client {
    async fn describe(&self, database: &str, table: &str) -> Result<Table, Fault> {
        Self::describe(self, database, table).await
    }

    async fn landed(
        &self,
        table: &Table,
        source: &TopicPartition,
        range: OffsetRange,
    ) -> Result<Vec<i64>, Fault> {
        self.positions(table, source, range).await
    }

    async fn memory(&self, table: &Table) -> Result<TableMemory, Fault> {
        Self::memory(self, table).await
    }

    async fn create(&self, ddl: &str) -> Result<(), Fault> {
        self.execute(ddl).await
    }

    async fn insert(
        &self,
        table: &Table,
        block: EncodedBlock<'_>,
        token: Option<&InsertToken>,
    ) -> Result<(), InsertError> {
        let chosen = self.shared.replicas.current();
        let known = self
            .known_settings(chosen)
            .await
            .map_err(|failure| InsertError::Fault(fault(chosen, failure)))?;
        let statement = statement(table, block.columns);
        let mut parameters = vec![("query", statement.as_str())];
        let memory = Memory::of(&known, |name| block.columns.iter().any(|column| column == name));
        parameters.extend(settings(&known, token.map(|token| (memory, token))));
        parameters
            .extend(self.shared.insert_settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if self.shared.compression != Compression::None {
            parameters.push(("decompress", "1"));
        }
        let body = compress(block.native, self.shared.compression);
        let answered = self.post(chosen, Request { parameters, body, timeout: None }).await;
        match answered.and_then(|body| expect_empty(&body)) {
            Ok(()) => Ok(()),
            Err(failure) => {
                if matches!(failure, Failure::Exception { code: UNKNOWN_SETTING, .. }) {
                    chosen.replica.set_known(None);
                }
                Err(failure.into_insert_error(&Shown(&chosen.replica.url).to_string()))
            }
        }
    }
}

impl Client {
    /// Asks a replica once which of our settings it has.
    pub(crate) async fn known_settings(&self, chosen: Chosen<'_>) -> Result<Arc<KnownSettings>, Failure> {
        if let Some(known) = chosen.replica.known() {
            return Ok(known);
        }
        let names = FIXED.iter().map(|(name, _)| *name).chain(DEDUPLICATION);
        let names: Vec<String> = names.map(quote_text).collect();
        let sql = format!("SELECT name FROM system.settings WHERE name IN ({})", names.join(", "));
        let request = Request { parameters: Vec::new(), body: Bytes::from(sql), timeout: None };
        let answer = self.post(chosen, request).await?;
        let known: KnownSettings = String::from_utf8_lossy(&answer).lines().map(str::to_owned).collect();
        let known = Arc::new(known);
        chosen.replica.set_known(Some(Arc::clone(&known)));
        Ok(known)
    }
}

fn statement(table: &Table, columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quote_name(column)).collect();
    let (database, name) = (quote_name(&table.database), quote_name(&table.name));
    format!("INSERT INTO {database}.{name} ({}) FORMAT Native", columns.join(", "))
}

/// The settings of one insert, of those that the server knows.
fn settings<'a>(known: &KnownSettings, once: Option<(Memory, &'a InsertToken)>) -> Vec<(&'a str, &'a str)> {
    let mut settings = FIXED.to_vec();
    match once {
        Some((Memory::Token | Memory::Rows, token)) => settings.extend([
            ("insert_deduplicate", "1"),
            ("deduplicate_insert", "enable"),
            (TOKEN_SETTING, token.as_str()),
        ]),
        // The server would drop a block that is equal to an earlier one of other records.
        Some((Memory::Nothing, _)) | None => {
            settings.extend([("insert_deduplicate", "0"), ("deduplicate_insert", "disable")]);
        }
    }
    settings.retain(|(name, _)| known.contains(*name));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_sent_only_the_settings_that_it_has() {
        let known = KnownSettings::from(["insert_deduplicate".to_owned()]);
        assert_eq!(settings(&known, None), [("insert_deduplicate", "0")]);
        let range = tidegate_core::OffsetRange::new(3, 9).unwrap();
        let token =
            InsertToken::new("g", &TopicPartition::new("t", 0), range, "d.t", tidegate_core::PartId(0));
        assert_eq!(settings(&known, Some((Memory::Rows, &token))), [("insert_deduplicate", "1")]);
    }

    #[test]
    fn rows_that_do_not_say_where_they_come_from_are_never_dropped_as_repeats() {
        let known = KnownSettings::from(["insert_deduplicate".to_owned()]);
        let range = tidegate_core::OffsetRange::new(3, 9).unwrap();
        let token =
            InsertToken::new("g", &TopicPartition::new("t", 0), range, "d.t", tidegate_core::PartId(0));
        assert_eq!(settings(&known, Some((Memory::Nothing, &token))), [("insert_deduplicate", "0")]);
    }

    #[test]
    fn names_are_quoted_in_the_statement() {
        let table = Table { database: "e`v".into(), name: "t".into(), columns: Vec::new() };
        assert_eq!(statement(&table, &["a.b".into()]), "INSERT INTO `e\\`v`.`t` (`a.b`) FORMAT Native");
    }
}
