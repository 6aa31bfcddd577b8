//! Which records' rows a table holds, by the columns that say where each came from.

use tidegate_core::{Fault, FaultKind, OffsetRange, TopicPartition};
use tidegate_native::Table;

use crate::client::Client;
use crate::sql::{quote_name, quote_text};

impl Client {
    /// The offsets of `range` that the table holds, in order. Of a replicated table the replica that is asked first
    /// fetches what others have acknowledged: a repetition is acknowledged as one before the rows are there.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub(crate) async fn positions(
        &self,
        table: &Table,
        source: &TopicPartition,
        range: OffsetRange,
    ) -> Result<Vec<i64>, Fault> {
        let (database, name) = (quote_name(&table.database), quote_name(&table.name));
        let sql = format!(
            "SELECT DISTINCT _offset FROM {database}.{name} \
             WHERE _topic = {} AND _partition = {} AND _offset >= {} AND _offset < {} ORDER BY _offset",
            quote_text(&source.topic),
            source.partition,
            range.first(),
            range.end(),
        );
        let foreign = || Fault::new(FaultKind::Unknown, "clickhouse: an offset is no number");
        let engine = format!(
            "SELECT engine FROM system.tables WHERE database = {} AND name = {}",
            quote_text(&table.database),
            quote_text(&table.name)
        );
        if self.query(&engine).await?.starts_with("Replicated") {
            self.execute(&format!("SYSTEM SYNC REPLICA {database}.{name}")).await?;
        }
        let answer = self.query(&sql).await?;
        answer.lines().map(|line| line.parse().map_err(|_| foreign())).collect()
    }
}
