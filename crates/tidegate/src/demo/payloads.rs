//! Real input for the demo: GitHub's published webhook payloads, and the incident's poison among them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

/// The header that names a webhook's event, as GitHub sends it.
pub const EVENT_HEADER: &str = "x-github-event";
/// How many partitions the demo's topic has.
pub const PARTITIONS: usize = 3;

/// The incident's test messages: partition, offset, value. They name no event.
const POISON: [(usize, usize, &str); 3] = [
    (0, 58, r#"{"test":"connection_test"}"#),
    (1, 56, r#"{"test":"direct_publish"}"#),
    (2, 113, r#"{"test":"message"}"#),
];
/// Where the event with the malformed date-time stands.
const BAD_TIME: (usize, usize) = (1, 89);
/// The fewest records that leave room for every poison message at its place.
pub const RECORDS_MIN: usize = PARTITIONS * 115;

/// One payload of the examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The event's name.
    pub event: String,
    /// The JSON text.
    pub json: Vec<u8>,
}

/// A record to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned<'a> {
    /// The partition.
    pub partition: i32,
    /// The event's name, if the record has one.
    pub event: Option<&'a str>,
    /// The value.
    pub value: &'a [u8],
}

/// The folder of the published packages' files.
#[derive(Debug, Clone)]
pub struct Input {
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Example {
    name: String,
    examples: Vec<serde_json::Value>,
}

impl Input {
    /// Finds the folder below `.cache/testdata`, from the working folder or the executable upwards.
    ///
    /// # Errors
    /// When it is nowhere; `make setup` fetches it.
    pub fn find() -> anyhow::Result<Self> {
        let exe = std::env::current_exe().ok();
        let cwd = std::env::current_dir().ok();
        let starts = [cwd.as_deref(), exe.as_deref()];
        let folders = starts.into_iter().flatten().flat_map(Path::ancestors);
        for folder in folders {
            let folder = folder.join(".cache/testdata");
            if folder.join("webhooks-examples/api.github.com/index.json").is_file() {
                return Ok(Self { folder });
            }
        }
        bail!("the demo's input is not below `.cache/testdata`; `make setup` fetches it")
    }

    /// The file with the events' JSON Schemas.
    #[must_use]
    pub fn schema_file(&self) -> PathBuf {
        self.folder.join("webhooks-schemas/schema.json")
    }

    /// All payloads, in the package's order.
    ///
    /// # Errors
    /// When the file cannot be read or is not what the package holds.
    pub fn payloads(&self) -> anyhow::Result<Vec<Payload>> {
        let file = self.folder.join("webhooks-examples/api.github.com/index.json");
        let text = std::fs::read(&file).with_context(|| format!("read `{}`", file.display()))?;
        let examples: Vec<Example> =
            serde_json::from_slice(&text).with_context(|| format!("parse `{}`", file.display()))?;
        let mut payloads = Vec::new();
        for Example { name, examples } in examples {
            for example in examples {
                payloads.push(Payload { event: name.clone(), json: serde_json::to_vec(&example)? });
            }
        }
        if payloads.is_empty() {
            bail!("`{}` holds no payload", file.display());
        }
        Ok(payloads)
    }
}

/// The records to publish, in order: the payloads over and over, one partition after the other in turn,
/// with the poison at its places. `bad_time` is the event with the malformed date-time.
pub fn publication<'a>(
    payloads: &'a [Payload],
    bad_time: &'a Payload,
    n_records: usize,
) -> impl Iterator<Item = Planned<'a>> {
    let mut next_payload = payloads.iter().cycle();
    (0..n_records.max(RECORDS_MIN)).map(move |index| {
        let (partition, offset) = (index % PARTITIONS, index / PARTITIONS);
        let poison = POISON.iter().find(|(p, o, _)| (*p, *o) == (partition, offset));
        let payload = if (partition, offset) == BAD_TIME { Some(bad_time) } else { None };
        let partition = i32::try_from(partition).expect("three partitions");
        if let Some((_, _, value)) = poison {
            return Planned { partition, event: None, value: value.as_bytes() };
        }
        let payload = payload.or_else(|| next_payload.next()).expect("there are payloads");
        Planned { partition, event: Some(&payload.event), value: &payload.json }
    })
}

/// Events with a date-time at the top, and its field.
const TIMES: [(&str, &str); 3] =
    [("star", "starred_at"), ("status", "created_at"), ("marketplace_purchase", "effective_date")];

/// A payload that nothing is wrong with but a time that is none. `valid` says whether an event's own
/// schema accepts a value.
///
/// # Errors
/// When the payloads have no such event.
pub fn with_bad_time(
    payloads: &[Payload],
    valid: impl Fn(&str, &serde_json::Value) -> bool,
) -> anyhow::Result<Payload> {
    for payload in payloads {
        let Some((_, field)) = TIMES.iter().find(|(event, _)| *event == payload.event) else { continue };
        let mut json: serde_json::Value = serde_json::from_slice(&payload.json)?;
        if !valid(&payload.event, &json) {
            continue;
        }
        if let Some(at) = json.get_mut(*field).filter(|at| at.is_string()) {
            *at = "2019-13-45 25:61".into();
            return Ok(Payload { event: payload.event.clone(), json: serde_json::to_vec(&json)? });
        }
    }
    bail!("no valid payload has a time to spoil")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_poison_of_the_incident_stands_at_its_places() {
        let payloads = [Payload { event: "e".into(), json: b"{}".to_vec() }];
        let bad = Payload { event: "bad".into(), json: b"{}".to_vec() };
        let mut by_partition = vec![Vec::new(); PARTITIONS];
        for planned in publication(&payloads, &bad, 0) {
            by_partition[planned.partition as usize].push(planned);
        }
        for (partition, offset, value) in POISON {
            let planned = by_partition[partition][offset];
            assert_eq!((planned.event, planned.value), (None, value.as_bytes()));
        }
        assert_eq!(by_partition[BAD_TIME.0][BAD_TIME.1].event, Some("bad"));
        let named = by_partition.iter().flatten().filter(|planned| planned.event == Some("e")).count();
        assert_eq!(named, RECORDS_MIN - POISON.len() - 1);
    }
}
