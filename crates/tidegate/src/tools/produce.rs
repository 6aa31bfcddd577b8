//! `tidegate produce`: lines of text into a topic. Every line is checked before the first is published.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tidegate_codec::WriterSchema;
use tidegate_core::Header;
use tidegate_kafka::{KafkaProducer, Outgoing, ProducerOptions};
use tidegate_registry_client::{NewSchema, RegistryClient, SchemaName};

use crate::cli::{Exit, Speech, WrongUse};
use crate::commands::print;
use crate::reach::Reach;
use crate::tools::wording::{Encoder, Wording, writer};

/// How long Kafka may take for what was published last.
const FLUSH_MAX: Duration = Duration::from_secs(60);
/// How many wrong lines are shown.
const SHOWN_MAX: usize = 20;

/// Flags of `tidegate produce`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate produce orders --bootstrap localhost:9092 --registry http://localhost:8081 --file orders.jsonl
  tidegate produce orders --config sink.yaml --schema order.avsc --file orders.jsonl    register it first
  tidegate produce events --bootstrap localhost:9092 --wording json --key-field user.id < events.jsonl
  echo hello | tidegate produce greetings --bootstrap localhost:9092 --wording raw --header lang=en
  tidegate consume a --config sink.yaml --output json | tidegate produce b --config sink.yaml --envelopes")]
pub struct Flags {
    /// The topic
    #[arg(value_name = "TOPIC")]
    pub topic: String,
    /// How values are written
    #[arg(long, value_name = "WORDING", value_enum, default_value_t = Wording::Avro)]
    pub wording: Wording,
    /// The subject whose latest schema values are written with; `<topic>-value` if absent
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// The message of a Protobuf schema that values are; its first one if absent
    #[arg(long, value_name = "NAME")]
    pub message: Option<String>,
    /// A schema to register under the subject first
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// The lines, one value each; standard input if absent
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Each line is a JSON object with `value`, and perhaps `key`, `headers`, `partition`, `timestamp`
    #[arg(long, conflicts_with_all = ["key_field", "key_separator", "headers"])]
    pub envelopes: bool,
    /// The field of each value that becomes its key, such as `user.id`
    #[arg(long, value_name = "FIELD", conflicts_with = "key_separator")]
    pub key_field: Option<String>,
    /// What stands between key and value on each line
    #[arg(long, value_name = "TEXT")]
    pub key_separator: Option<String>,
    /// A header of every record, `name=value`; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub headers: Vec<String>,
    /// Publish the lines that are right although others are wrong
    #[arg(long)]
    pub skip_wrong: bool,
    /// Check the lines and publish nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub reach: Reach,
}

/// What became of the lines.
#[derive(Debug, Serialize)]
struct Report {
    topic: String,
    schema_id: Option<u32>,
    published: u64,
    checked: u64,
    wrong: Vec<WrongLine>,
}

#[derive(Debug, Serialize)]
struct WrongLine {
    line: u64,
    reason: String,
}

/// A record that can be published.
#[derive(Debug, Default)]
struct Ready {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<String>)>,
    partition: Option<i32>,
    timestamp: Option<i64>,
}

/// Runs the command.
///
/// # Errors
/// What a person is to be told.
pub async fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let kafka = flags.reach.kafka()?;
    let (schema_id, encoder) = encoder(flags).await?;
    let constant = constant_headers(flags)?;
    let (mut ready, mut report) = (
        Vec::new(),
        Report { topic: flags.topic.clone(), schema_id, published: 0, checked: 0, wrong: Vec::new() },
    );
    let mut n_wrong = 0_u64;
    for (number, line) in lines(flags)?.enumerate() {
        let line = line.context("read the lines")?;
        let line = line.strip_suffix('\r').unwrap_or(&line);
        if line.is_empty() && flags.wording != Wording::Raw {
            continue;
        }
        report.checked += 1;
        match parse(flags, &encoder, line) {
            Ok(mut record) => {
                record.headers.extend(constant.iter().cloned());
                ready.push(record);
            }
            Err(reason) => {
                n_wrong += 1;
                if report.wrong.len() < SHOWN_MAX {
                    report.wrong.push(WrongLine { line: number as u64 + 1, reason });
                }
            }
        }
    }
    if !flags.dry_run && (n_wrong == 0 || flags.skip_wrong) {
        report.published = publish(&kafka, &flags.topic, &ready).await?;
    }
    print(speech, &report, |report, _| shown(report, n_wrong, flags.dry_run))?;
    Ok(if n_wrong > 0 { Exit::Failed } else { Exit::Done })
}

fn lines(flags: &Flags) -> anyhow::Result<Box<dyn Iterator<Item = std::io::Result<String>>>> {
    Ok(match &flags.file {
        Some(path) => {
            let file = std::fs::File::open(path).with_context(|| format!("open `{}`", path.display()))?;
            Box::new(BufReader::new(file).lines())
        }
        None => Box::new(std::io::stdin().lines()),
    })
}

async fn encoder(flags: &Flags) -> anyhow::Result<(Option<u32>, Encoder)> {
    let Some(language) = flags.wording.language() else {
        let encoder = if flags.wording == Wording::Json { Encoder::Json } else { Encoder::Raw };
        return Ok((None, encoder));
    };
    let registry = flags.reach.registry()?;
    let subject = flags.subject.clone().unwrap_or_else(|| format!("{}-value", flags.topic));
    let id = schema_id(flags, &registry, (&subject, language)).await?;
    let encoder = match (writer(&registry, &SchemaName::Id(id)).await?, flags.wording) {
        (WriterSchema::Avro(schema), Wording::Avro) => Encoder::Avro(id, schema),
        (WriterSchema::Json(schema), Wording::JsonSchema) => Encoder::JsonSchema(id, schema),
        (WriterSchema::Protobuf(types), Wording::Protobuf) => {
            let path = match &flags.message {
                None => vec![0],
                Some(name) => types
                    .find(name)
                    .with_context(|| format!("the schema of subject `{subject}` has no message `{name}`"))?,
            };
            Encoder::Protobuf(id, types, path)
        }
        _ => bail!("the schema of subject `{subject}` is not of type {language}; give another --wording"),
    };
    Ok((Some(id), encoder))
}

async fn schema_id(
    flags: &Flags,
    registry: &RegistryClient,
    (subject, language): (&str, &str),
) -> anyhow::Result<u32> {
    let Some(path) = &flags.schema else {
        let latest = registry.version(subject, None).await;
        let latest = latest.with_context(|| {
            format!("find the schema of subject `{subject}`; `--schema FILE` registers one")
        })?;
        return Ok(latest.id);
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
    let schema = NewSchema { language: language.to_owned(), schema: text, references: Vec::new() };
    let registered = registry.register(subject, &schema).await;
    registered.with_context(|| format!("register `{}` under subject `{subject}`", path.display()))
}

fn constant_headers(flags: &Flags) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let header = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => Err(WrongUse(format!("header `{text}`: expected NAME=VALUE")).into()),
    };
    flags.headers.iter().map(header).collect()
}

fn parse(flags: &Flags, encoder: &Encoder, line: &str) -> Result<Ready, String> {
    if flags.envelopes {
        return envelope(encoder, line);
    }
    let (key, text) = match &flags.key_separator {
        Some(separator) => {
            let (key, text) = line
                .split_once(separator.as_str())
                .ok_or_else(|| format!("no `{separator}` behind a key"))?;
            (Some(key.as_bytes().to_vec()), text)
        }
        None => (None, line),
    };
    let value = encoder.encode(text)?;
    let key = match &flags.key_field {
        Some(field) => {
            let path: Vec<String> = field.split('.').map(str::to_owned).collect();
            let found = tidegate_codec::find_text(text.as_bytes(), &path);
            Some(found.ok_or_else(|| format!("no field `{field}` for the key"))?.as_bytes().to_vec())
        }
        None => key,
    };
    Ok(Ready { key, value: Some(value), ..Ready::default() })
}

/// A line as `tidegate consume --output json` writes it.
#[derive(serde::Deserialize)]
struct Envelope {
    #[serde(default)]
    key: Value,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    partition: Option<i32>,
    timestamp: Option<i64>,
}

fn envelope(encoder: &Encoder, line: &str) -> Result<Ready, String> {
    let envelope: Envelope = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let key = match envelope.key {
        Value::Null => None,
        Value::String(text) => Some(text.into_bytes()),
        other => Some(other.to_string().into_bytes()),
    };
    let value = match (envelope.value, encoder) {
        (Value::Null, _) => None,
        (Value::String(text), Encoder::Raw) => Some(text.into_bytes()),
        (value, encoder) => Some(encoder.encode(&value.to_string())?),
    };
    let headers = envelope.headers.into_iter().collect();
    Ok(Ready { key, value, headers, partition: envelope.partition, timestamp: envelope.timestamp })
}

async fn publish(kafka: &tidegate_kafka::KafkaOptions, topic: &str, ready: &[Ready]) -> anyhow::Result<u64> {
    let producer = KafkaProducer::connect(kafka, &ProducerOptions::default())?;
    for record in ready {
        let headers: Vec<Header<'_>> = record
            .headers
            .iter()
            .map(|(name, value)| Header { name, value: value.as_ref().map(|value| value.as_bytes()) })
            .collect();
        let outgoing = Outgoing {
            topic,
            partition: record.partition,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
            timestamp: record.timestamp,
        };
        producer.send(&outgoing).await?;
    }
    let delivered = producer.flush(FLUSH_MAX).await?;
    if delivered.failed > 0 {
        bail!("{} of {} records were not published", delivered.failed, ready.len());
    }
    Ok(delivered.delivered)
}

fn shown(report: &Report, n_wrong: u64, dry_run: bool) -> String {
    let mut text = String::new();
    for wrong in &report.wrong {
        text.push_str(&format!("line {}: {}\n", wrong.line, wrong.reason));
    }
    let shown = report.wrong.len() as u64;
    if n_wrong > shown {
        text.push_str(&format!("and {} more wrong lines\n", n_wrong - shown));
    }
    let schema = report.schema_id.map_or_else(String::new, |id| format!(" with schema id {id}"));
    text.push_str(&match (dry_run, report.published) {
        (true, _) => {
            format!("{} lines checked{schema}, {n_wrong} wrong; nothing published\n", report.checked)
        }
        (false, 0) if n_wrong > 0 => {
            format!("nothing published: {n_wrong} of {} lines are wrong\n", report.checked)
        }
        (false, published) => format!("{published} records published to {}{schema}\n", report.topic),
    });
    text
}
