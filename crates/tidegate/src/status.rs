//! `tidegate status`: asks a running Tidegate what it is at.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cli::{Exit, Speech, StatusFlags};
use crate::commands::print;
use crate::render;
use crate::up::access::Passwords;
use crate::up::folder::Contact;
use crate::up::machine::MachineStatus;

/// How long the whole question may take; the answer itself waits a few seconds for its engines.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// The longest answer that is read.
const ANSWER_MAX_BYTES: u64 = 16 << 20;

/// What `/api/v1/status` tells, as far as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Tidegate's version.
    pub version: String,
    /// Buffer memory in use, in bytes.
    pub buffered_bytes: u64,
    /// Buffer memory that may be in use, in bytes.
    pub buffered_bytes_max: u64,
    /// The connectors.
    pub connectors: Vec<ConnectorLine>,
    /// The engines of this machine, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineStatus>,
}

/// A connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorLine {
    /// Its name.
    pub name: String,
    /// `running`, `waiting`, and so on.
    pub phase: String,
    /// Why it waits or has halted.
    pub reason: Option<String>,
    /// `topic/partition` to where it stands.
    pub partitions: BTreeMap<String, PartitionLine>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionLine {
    /// Everything before this offset is settled.
    pub settled: i64,
    /// The partition's end.
    pub end: i64,
}

/// Asks, and shows the answer.
///
/// # Errors
/// When nothing runs there, or it does not answer.
pub async fn run(flags: &StatusFlags, speech: &Speech) -> anyhow::Result<Exit> {
    let (address, token) = match (&flags.api, &flags.data_dir) {
        (Some(api), _) => (api.clone(), None),
        (None, Some(folder)) => {
            let contact = Contact::on(folder)?;
            let passwords = Passwords::read(folder)?;
            (contact.api, passwords.map(|passwords| passwords.api_token))
        }
        (None, None) => bail!("neither --data-dir nor --api says whose status"),
    };
    let answer = tokio::time::timeout(ANSWER_MAX, ask(&address, token.as_deref())).await;
    let body = match answer {
        Ok(answer) => answer.with_context(|| format!("ask `{address}` for the status"))?,
        Err(_) => bail!("`{address}` has not told its status within {ANSWER_MAX:?}"),
    };
    let report: StatusReport =
        serde_json::from_str(&body).with_context(|| format!("read the status that `{address}` tells"))?;
    print(speech, &report, render::status)?;
    Ok(Exit::Done)
}

async fn ask(address: &str, token: Option<&str>) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET /api/v1/status HTTP/1.0\r\nhost: {address}\r\n{token}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX_BYTES).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => bail!("it answers `{}`", head.lines().next().unwrap_or_default()),
    }
}
