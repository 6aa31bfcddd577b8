//! One HTTP request, for the checker's own questions: nothing of the sink's client is in it.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// ClickHouse, asked directly.
#[derive(Debug, Clone)]
pub(crate) struct Warehouse {
    pub(crate) address: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Warehouse {
    /// The answer to a statement, tab-separated unless it says otherwise.
    pub(crate) async fn query(&self, sql: &str) -> anyhow::Result<String> {
        let (address, user, password) = (&self.address, &self.user, &self.password);
        let head = format!(
            "POST /?wait_end_of_query=1 HTTP/1.0\r\nhost: {address}\r\nx-clickhouse-user: {user}\r\n\
             x-clickhouse-key: {password}\r\ncontent-length: {}\r\n\r\n",
            sql.len()
        );
        exchange(address, &(head + sql)).await.with_context(|| format!("ask ClickHouse `{sql}`"))
    }

    /// Rows of a query, by columns.
    pub(crate) async fn rows<const N: usize>(&self, sql: &str) -> anyhow::Result<Vec<[String; N]>> {
        let answer = self.query(sql).await?;
        let row = |line: &str| {
            let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            fields.try_into().map_err(|_| anyhow::anyhow!("`{line}` does not have {N} columns"))
        };
        answer.lines().map(row).collect()
    }
}

/// `GET path` of a server at `host:port`.
pub(crate) async fn get(address: &str, path: &str) -> anyhow::Result<String> {
    exchange(address, &format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")).await
}

async fn exchange(address: &str, request: &str) -> anyhow::Result<String> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(PATIENCE, answer).await.with_context(|| format!("`{address}` is silent"))??;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => bail!("`{address}` answers `{}`: {body}", head.lines().next().unwrap_or_default()),
    }
}
