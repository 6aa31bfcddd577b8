//! `tidegate produce`: lines of text, or samples of a schema, into a topic. Every line is checked before the
//! first is published.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tidegate_codec::WriterSchema;
use tidegate_core::Header;
use tidegate_kafka::{KafkaProducer, Outgoing, ProducerOptions};
use tidegate_registry_client::{NewSchema, RegistryClient, SchemaName};
use tidegate_schema::{FormatMode, SchemaDocument};

use crate::cli::{Exit, Speech, WrongUse};
use crate::commands::print;
use crate::reach::Reach;
use crate::tools::sample::{Drawn, Samples};
use crate::tools::wording::{Encoder, Wording, writer};
use crate::writers;

/// How long Kafka may take for what was published last.
const FLUSH_MAX: Duration = Duration::from_secs(60);
/// How many wrong lines, or samples, are shown.
const SHOWN_MAX: usize = 20;

/// Flags of `tidegate produce`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate produce orders --bootstrap localhost:9092 --registry http://localhost:8081 --file orders.jsonl
  tidegate produce orders --config sink.yaml --schema order.avsc --file orders.jsonl    register it first
  tidegate produce orders --config sink.yaml --sample 1000 --seed 7 --keys 50           values by chance
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
    /// A schema to register under the subject first; with `--wording json` one that values must fit
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Publish so many values by chance that fit the schema, instead of lines
    #[arg(long, value_name = "N", conflicts_with_all = ["file", "envelopes", "key_separator"],
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub sample: Option<u32>,
    /// What decides the samples: the same seed gives the same ones
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "sample")]
    pub seed: u64,
    /// Give each sample one of N keys, `key-1` to `key-N`
    #[arg(long, value_name = "N", requires = "sample", conflicts_with = "key_field",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub keys: Option<u32>,
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
    /// The first samples, of a run that publishes nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    samples: Vec<String>,
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

/// How values are written.
struct Way {
    schema_id: Option<u32>,
    encoder: Encoder,
    samples: Option<Samples>,
}

/// A line, or a sample.
struct Line {
    key: Option<String>,
    text: String,
}

/// Runs the command.
///
/// # Errors
/// What a person is to be told.
pub async fn run(flags: &Flags, speech: &Speech) -> anyhow::Result<Exit> {
    let kafka = flags.reach.kafka()?;
    let Way { schema_id, encoder, samples } = way(flags).await?;
    let constant = constant_headers(flags)?;
    let mut ready = Vec::new();
    let mut report = Report {
        topic: flags.topic.clone(),
        schema_id,
        published: 0,
        checked: 0,
        wrong: Vec::new(),
        samples: Vec::new(),
    };
    let mut n_wrong = 0_u64;
    for (number, line) in lines(flags, samples)?.enumerate() {
        let line = line?;
        if line.text.is_empty() && flags.wording != Wording::Raw {
            continue;
        }
        report.checked += 1;
        if flags.sample.is_some() && flags.dry_run && report.samples.len() < SHOWN_MAX {
            report.samples.push(line.text.clone());
        }
        match parse(flags, &encoder, &line) {
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
    print(speech, &report, |report, _| shown(report, n_wrong, flags))?;
    Ok(if n_wrong > 0 { Exit::Failed } else { Exit::Done })
}

type Lines = Box<dyn Iterator<Item = anyhow::Result<Line>>>;

fn lines(flags: &Flags, samples: Option<Samples>) -> anyhow::Result<Lines> {
    if let (Some(n), Some(mut samples)) = (flags.sample, samples) {
        return Ok(Box::new((0..n).map(move |_| samples.draw().map(|(key, text)| Line { key, text }))));
    }
    let read = |line: std::io::Result<String>| {
        let mut text = line.context("read the lines")?;
        if text.ends_with('\r') {
            text.pop();
        }
        Ok(Line { key: None, text })
    };
    Ok(match &flags.file {
        Some(path) => {
            let file = std::fs::File::open(path).with_context(|| format!("open `{}`", path.display()))?;
            Box::new(BufReader::new(file).lines().map(read))
        }
        None => Box::new(std::io::stdin().lines().map(read)),
    })
}

async fn way(flags: &Flags) -> anyhow::Result<Way> {
    let Some(language) = flags.wording.language() else { return plain(flags) };
    let registry = flags.reach.registry()?;
    let subject = flags.subject.clone().unwrap_or_else(|| format!("{}-value", flags.topic));
    let id = schema_id(flags, &registry, (&subject, language)).await?;
    let (encoder, drawn) = match (writer(&registry, &SchemaName::Id(id)).await?, flags.wording) {
        (WriterSchema::Avro(schema), Wording::Avro) => {
            (Encoder::Avro(id, Arc::clone(&schema)), Drawn::Avro(schema))
        }
        (WriterSchema::Json(schema), Wording::JsonSchema) => {
            let stored = registry.schema(&SchemaName::Id(id)).await?.context("the schema is there")?;
            let sampler = writers::json_document(&stored)?.sampler("#", FormatMode::Assert)?;
            (Encoder::JsonSchema(id, schema), Drawn::Json(Box::new(sampler)))
        }
        (WriterSchema::Protobuf(types), Wording::Protobuf) => {
            let path = match &flags.message {
                None => vec![0],
                Some(name) => types
                    .find(name)
                    .with_context(|| format!("the schema of subject `{subject}` has no message `{name}`"))?,
            };
            (Encoder::Protobuf(id, Arc::clone(&types), path.clone()), Drawn::Protobuf(types, path))
        }
        _ => bail!("the schema of subject `{subject}` is not of type {language}; give another --wording"),
    };
    Ok(Way { schema_id: Some(id), encoder, samples: sampled(flags, drawn) })
}

/// Values that name no schema.
fn plain(flags: &Flags) -> anyhow::Result<Way> {
    let (encoder, drawn) = match (flags.wording, &flags.schema) {
        (Wording::Json, Some(path)) => {
            let read = || format!("read `{}`", path.display());
            let document = SchemaDocument::parse(&std::fs::read_to_string(path).with_context(read)?);
            let document = document.with_context(read)?;
            let schema = document.schema_at("#", FormatMode::Assert).with_context(read)?;
            let sampler = document.sampler("#", FormatMode::Assert).with_context(read)?;
            (Encoder::Json(Some(Arc::new(schema))), Some(Drawn::Json(Box::new(sampler))))
        }
        (Wording::Json, None) => (Encoder::Json(None), None),
        _ => (Encoder::Raw, None),
    };
    let samples = match drawn {
        Some(drawn) => sampled(flags, drawn),
        None if flags.sample.is_some() => {
            let advice = "`--sample` draws from a schema: give `--wording json --schema FILE`, or a wording with a \
                          registered schema";
            return Err(WrongUse(advice.to_owned()).into());
        }
        None => None,
    };
    Ok(Way { schema_id: None, encoder, samples })
}

fn sampled(flags: &Flags, drawn: Drawn) -> Option<Samples> {
    flags.sample.map(|_| Samples::new(drawn, flags.seed, flags.keys.map(|n| n as usize)))
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

fn parse(flags: &Flags, encoder: &Encoder, line: &Line) -> Result<Ready, String> {
    if flags.envelopes {
        return envelope(encoder, &line.text);
    }
    let (key, text) = match &flags.key_separator {
        Some(separator) => {
            let (key, text) = line
                .text
                .split_once(separator.as_str())
                .ok_or_else(|| format!("no `{separator}` behind a key"))?;
            (Some(key.as_bytes().to_vec()), text)
        }
        None => (line.key.as_ref().map(|key| key.clone().into_bytes()), line.text.as_str()),
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

fn shown(report: &Report, n_wrong: u64, flags: &Flags) -> String {
    let mut text = String::new();
    for sample in &report.samples {
        text.push_str(&format!("{sample}\n"));
    }
    for wrong in &report.wrong {
        text.push_str(&format!("line {}: {}\n", wrong.line, wrong.reason));
    }
    let shown = report.wrong.len() as u64;
    if n_wrong > shown {
        text.push_str(&format!("and {} more wrong lines\n", n_wrong - shown));
    }
    let schema = report.schema_id.map_or_else(String::new, |id| format!(" with schema id {id}"));
    let what = if flags.sample.is_some() { "samples" } else { "lines" };
    text.push_str(&match (flags.dry_run, report.published) {
        (true, _) => {
            format!("{} {what} checked{schema}, {n_wrong} wrong; nothing published\n", report.checked)
        }
        (false, 0) if n_wrong > 0 => {
            format!("nothing published: {n_wrong} of {} {what} are wrong\n", report.checked)
        }
        (false, published) => format!("{published} records published to {}{schema}\n", report.topic),
    });
    text
}
