//! A ClickHouse as `plan` and `apply` see it: statements in, texts out.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidegate_catalog::Statement;
use tidegate_catalog::change::Live;
use tidegate_clickhouse::{Client, quote_text};
use tidegate_core::{Fault, FaultKind};

/// Something that runs statements. Tests have one that dies.
pub trait Server: Sync {
    /// Runs a statement and gives its whole answer.
    ///
    /// # Errors
    /// Whatever the server or the way to it says.
    fn ask(&self, sql: &str) -> impl Future<Output = Result<String, Fault>> + Send;
}

impl Server for Client {
    async fn ask(&self, sql: &str) -> Result<String, Fault> {
        self.query(sql).await
    }
}

/// The table in the catalog's database that `apply` keeps its records in.
pub const JOURNAL: &str = "tidegate_changes";
/// A server's `max_query_size` is 256 KiB unless somebody changed it.
const QUERY_MAX_BYTES: usize = 100_000;

/// What stands on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether the catalog's database is there.
    pub database: bool,
    /// Its tables and views.
    pub live: Vec<Live>,
    /// The server's day.
    pub today: String,
}

#[derive(Deserialize)]
struct TableRow {
    name: String,
    statement: String,
    uuid: String,
    rows: String,
    bytes: String,
}

/// Asks a server what it has in a database.
///
/// # Errors
/// When it cannot be asked.
pub async fn standing<S: Server>(server: &S, database: &str) -> Result<Standing, Fault> {
    let name = quote_text(database);
    let sql = format!(
        "SELECT name, create_table_query AS statement, toString(uuid) AS uuid, toString(ifNull(total_rows, 0)) AS rows, \
         toString(ifNull(total_bytes, 0)) AS bytes FROM system.tables WHERE database = {name} AND name != '{JOURNAL}' \
         ORDER BY name"
    );
    let tables: Vec<TableRow> = rows(server, &sql).await?;
    let found = number(server, &format!("SELECT count() FROM system.databases WHERE name = {name}")).await?;
    let today = server.ask("SELECT toString(toDate(now('UTC')))").await?.trim().to_owned();
    // A table that holds rows must never be taken for an empty one.
    let live = tables.into_iter().map(|row| {
        let (rows, bytes) = (whole(&row.rows, "total_rows")?, whole(&row.bytes, "total_bytes")?);
        Ok(Live { name: row.name, statement: row.statement, uuid: row.uuid, rows, bytes })
    });
    Ok(Standing { database: found > 0, live: live.collect::<Result<_, Fault>>()?, today })
}

/// The statements as the server would write them.
///
/// # Errors
/// When it cannot be asked, does not take one of them, or is too old to have been taught how (before 23.10).
pub async fn normal<S: Server>(server: &S, statements: &[Statement]) -> Result<Vec<String>, Fault> {
    let mut found = Vec::with_capacity(statements.len());
    let mut rest = statements;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fit = rest.iter().take_while(|statement| {
            bytes += statement.sql.len();
            bytes < QUERY_MAX_BYTES
        });
        let (now, later) = rest.split_at(fit.count().max(1));
        let texts: Vec<String> = now.iter().map(|statement| quote_text(&statement.sql)).collect();
        #[derive(Deserialize)]
        struct Row {
            text: String,
        }
        let sql = format!("SELECT formatQuerySingleLine(arrayJoin([{}])) AS text", texts.join(", "));
        let texts: Vec<Row> = rows(server, &sql).await?;
        found.extend(texts.into_iter().map(|row| row.text));
        rest = later;
    }
    Ok(found)
}

/// The rows of a SELECT.
///
/// # Errors
/// When it cannot be asked, or answers something else.
pub async fn rows<S: Server, T: DeserializeOwned>(server: &S, sql: &str) -> Result<Vec<T>, Fault> {
    let text = server.ask(&format!("{sql} FORMAT JSONEachRow")).await?;
    let rows = text.lines().filter(|line| !line.is_empty()).map(serde_json::from_str);
    rows.collect::<Result<_, _>>().map_err(|error| {
        Fault::new(FaultKind::Unknown, format!("clickhouse: a row is not of the expected shape: {error}"))
    })
}

/// The number that a query answers.
///
/// # Errors
/// When it cannot be asked, or answers something else.
pub async fn number<S: Server>(server: &S, sql: &str) -> Result<u64, Fault> {
    whole(server.ask(sql).await?.trim(), sql)
}

fn whole(text: &str, asked: &str) -> Result<u64, Fault> {
    text.parse().map_err(|_| {
        let message = format!("clickhouse: the answer is not a number: `{text}`; asked: {asked}");
        Fault::new(FaultKind::Unknown, message)
    })
}
