//! `tidegate consume`: a topic's records as text, decoded by the schemas that they name.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tidegate_codec::Framed;
use tidegate_core::Record;
use tidegate_kafka::{BoundedReader, KafkaAdmin, KafkaOptions, ReadFrom};

use crate::cli::{Exit, Output, Speech};
use crate::reach::Reach;
use crate::tools::wording::Decoder;

/// How long `--follow` waits before it looks again.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Flags of `tidegate consume`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate consume orders --bootstrap localhost:9092 --registry http://localhost:8081
  tidegate consume orders --config sink.yaml --limit 10
  tidegate consume orders --config sink.yaml --from-end --follow --output json

Values that name a schema are shown as JSON; others as text where they are text, else in hexadecimal.")]
pub struct Flags {
    /// The topic
    #[arg(value_name = "TOPIC")]
    pub topic: String,
    /// Only this partition
    #[arg(long, value_name = "N")]
    pub partition: Option<i32>,
    /// Begin at this offset; at the first one if absent
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    pub offset: Option<i64>,
    /// Begin behind the last record
    #[arg(long, conflicts_with = "offset")]
    pub from_end: bool,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Go on when the topic's present end is reached
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub reach: Reach,
}

/// Runs the command.
///
/// # Errors
/// What a person is to be told.
pub async fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let kafka = flags.reach.kafka()?;
    // Without a registry, values are shown as they are.
    let decoder = Decoder::new(flags.reach.registry().ok());
    let mut at = start(flags, &kafka).await?;
    let mut left = flags.limit.unwrap_or(u64::MAX);
    let mut failed = false;
    loop {
        let mut reader = BoundedReader::open(&kafka, &flags.topic, ReadFrom::Offsets(at.clone()))?;
        while let Some(records) = reader.next().await {
            let records = records?;
            let partition = records.source().partition;
            for record in records.iter() {
                if left == 0 {
                    return Ok(if failed { Exit::Failed } else { Exit::Done });
                }
                left -= 1;
                at.insert(partition, record.offset + 1);
                failed |= show(&decoder, speech, partition, &record).await?;
            }
        }
        if !flags.follow || left == 0 {
            return Ok(if failed { Exit::Failed } else { Exit::Done });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where each partition begins.
async fn start(flags: &Flags, kafka: &KafkaOptions) -> anyhow::Result<BTreeMap<i32, i64>> {
    let admin = KafkaAdmin::connect(kafka)?;
    let watermarks = admin.watermarks(&[&flags.topic]).await?;
    anyhow::ensure!(!watermarks.is_empty(), "topic `{}` does not exist", flags.topic);
    let wanted = watermarks
        .iter()
        .filter(|(source, _)| flags.partition.is_none_or(|wanted| wanted == source.partition))
        .map(|(source, marks)| {
            let first = flags.offset.unwrap_or(if flags.from_end { marks.end } else { marks.low });
            (source.partition, first)
        });
    Ok(wanted.collect())
}

/// Prints one record. Says whether its value is not what its schema says.
async fn show(
    decoder: &Decoder,
    speech: &Speech,
    partition: i32,
    record: &Record<'_>,
) -> anyhow::Result<bool> {
    let (value, wrong) = match decoder.decode(Framed::of(record).as_ref()).await {
        Ok(Some(text)) => (Some(text), None),
        Ok(None) => (record.value.map(plain), None),
        Err(error) => (record.value.map(plain), Some(format!("{error:#}"))),
    };
    let mut out = std::io::stdout().lock();
    match speech.output {
        Output::Json => {
            let parsed =
                value.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap_or(Value::String(text)));
            let headers: BTreeMap<&str, Option<String>> =
                record.headers().map(|header| (header.name, header.value.map(plain))).collect();
            let line = json!({
                "partition": partition,
                "offset": record.offset,
                "timestamp": record.timestamp.map(|timestamp| timestamp.millis),
                "key": record.key.map(plain),
                "headers": headers,
                "value": parsed,
                "wrong": wrong,
            });
            writeln!(out, "{line}")?;
        }
        Output::Text => {
            let key = record.key.map_or_else(|| "null".to_owned(), plain);
            let value = value.unwrap_or_else(|| "null".to_owned());
            let wrong = wrong.as_ref().map_or_else(String::new, |wrong| format!("\t({wrong})"));
            writeln!(out, "{partition}:{}\t{key}\t{value}{wrong}", record.offset)?;
        }
    }
    out.flush()?;
    Ok(wrong.is_some())
}

/// Text as it is, other bytes in hexadecimal.
fn plain(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("0x{digits}")
        }
    }
}
