//! Records to learn from: of a topic, spread over its partitions and over time, or of a file of JSON lines.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

use anyhow::Context;
use serde_json::Value;
use tidegate_codec::Framed;
use tidegate_core::Record;
use tidegate_kafka::{BoundedReader, KafkaAdmin, KafkaOptions, ReadFrom, Watermarks};

use crate::render::{Progress, Step};

/// The values that are kept, all together. As trees they take some times that.
const BYTES_MAX: u64 = 64 << 20;
/// A longer value is left aside.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// The headers that are kept of a record, and the longest of their values.
const HEADERS_MAX: usize = 32;
const HEADER_BYTES_MAX: usize = 100;

/// Where in a topic records are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// Beginning, middle and end of each partition.
    Spread,
    /// The beginning.
    Earliest,
    /// The end.
    Latest,
    /// Spread over what was written since, in milliseconds since 1970.
    Time(i64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "spread" => Ok(Self::Spread),
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            time => {
                time.parse::<jiff::Timestamp>().map(|time| Self::Time(time.as_millisecond())).map_err(|_| {
                    "expected `spread`, `earliest`, `latest` or a time such as `2026-01-27T10:00:00Z`"
                        .to_owned()
                })
            }
        }
    }
}

/// Records to learn from.
#[derive(Debug, Default)]
pub struct Sampled {
    /// Those that are JSON objects.
    pub records: Vec<Taken>,
    /// The others: how many, and where the first is.
    pub aside: BTreeMap<Aside, (u64, String)>,
    /// The values' bytes.
    pub bytes: u64,
    /// Partitions that were read.
    pub partitions: usize,
    /// Why there are fewer than were asked for, if that is so.
    pub cut: Option<String>,
}

/// A record.
#[derive(Debug)]
pub struct Taken {
    /// Where it is: `partition/offset`, or `line N`.
    pub place: String,
    /// The headers that are short texts.
    pub headers: Vec<(String, String)>,
    /// Its value.
    pub value: Value,
}

/// Why nothing can be learnt from a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aside {
    /// Its value is no JSON.
    NotJson,
    /// It is JSON, and no object.
    NoObject,
    /// It has no value.
    NoValue,
    /// It names a schema, and is not JSON.
    HasSchema(String),
    /// Its value is too long.
    TooLarge,
    /// It does not say which event it is.
    NoEvent,
}

impl Aside {
    /// As people read it.
    pub fn told(&self) -> String {
        match self {
            Self::NotJson => "not JSON".to_owned(),
            Self::NoObject => "JSON, but no object".to_owned(),
            Self::NoValue => "without a value (tombstones)".to_owned(),
            Self::HasSchema(key) => {
                format!("written with {key} of a registry: `tidegate catalog import` reads schemas")
            }
            Self::TooLarge => format!("longer than {VALUE_BYTES_MAX} bytes"),
            Self::NoEvent => "do not say which event they are".to_owned(),
        }
    }
}

impl Sampled {
    /// Counts a record that nothing is learnt from.
    pub fn set_aside(&mut self, why: Aside, place: &str) {
        // A topic written with very many schemas is said as one.
        let why = match why {
            Aside::HasSchema(_) if self.aside.len() > 20 && !self.aside.contains_key(&why) => {
                Aside::HasSchema("other schemas".to_owned())
            }
            why => why,
        };
        self.aside.entry(why).or_insert_with(|| (0, place.to_owned())).0 += 1;
    }

    fn take(&mut self, place: String, headers: Vec<(String, String)>, value: &[u8]) {
        self.bytes += value.len() as u64;
        if value.len() > VALUE_BYTES_MAX {
            return self.set_aside(Aside::TooLarge, &place);
        }
        match serde_json::from_slice::<Value>(value) {
            Ok(value @ Value::Object(_)) => self.records.push(Taken { place, headers, value }),
            Ok(_) => self.set_aside(Aside::NoObject, &place),
            Err(_) => self.set_aside(Aside::NotJson, &place),
        }
    }

    fn take_record(&mut self, partition: i32, record: &Record<'_>) {
        let place = format!("{partition}/{}", record.offset);
        let Some(value) = record.value else { return self.set_aside(Aside::NoValue, &place) };
        match Framed::of(record) {
            // JSON Schema's serializer puts JSON behind the schema's number.
            Some(framed) if serde_json::from_slice::<serde::de::IgnoredAny>(framed.payload).is_err() => {
                self.bytes += value.len() as u64;
                self.set_aside(Aside::HasSchema(framed.key.to_string()), &place);
            }
            Some(framed) => self.take(place, headers(record), framed.payload),
            None => self.take(place, headers(record), value),
        }
    }
}

fn headers(record: &Record<'_>) -> Vec<(String, String)> {
    let texts = record.headers().filter_map(|header| {
        let value = header.value.filter(|value| value.len() <= HEADER_BYTES_MAX)?;
        Some((header.name.to_owned(), std::str::from_utf8(value).ok()?.to_owned()))
    });
    texts.take(HEADERS_MAX).collect()
}

/// Offsets of one partition to take records from: the first so many from `first` on, up to `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    partition: i32,
    first: i64,
    until: i64,
    most: u64,
}

/// Where to look in partitions that hold these offsets. Each has the same share of the samples; what a small one does
/// not need goes to the others.
fn windows(partitions: &[(i32, Watermarks)], samples: u64, from: &From) -> Vec<Window> {
    let size = |marks: &Watermarks| u64::try_from(marks.end - marks.low).unwrap_or(0);
    let mut by_size: Vec<&(i32, Watermarks)> =
        partitions.iter().filter(|(_, marks)| size(marks) > 0).collect();
    by_size.sort_by_key(|(partition, marks)| (size(marks), *partition));
    let (mut left, mut n_left) = (samples, by_size.len() as u64);
    let mut windows = Vec::new();
    for (partition, marks) in by_size {
        let share = size(marks).min(left.div_ceil(n_left.max(1)));
        (left, n_left) = (left.saturating_sub(share), n_left.saturating_sub(1));
        let window = |first: i64, until: i64, most: u64| Window { partition: *partition, first, until, most };
        let offsets = i64::try_from(share).unwrap_or(i64::MAX);
        match from {
            _ if share == 0 => {}
            _ if share == size(marks) => windows.push(window(marks.low, marks.end, share)),
            From::Earliest => windows.push(window(marks.low, marks.end, share)),
            From::Latest => windows.push(window(marks.end - offsets, marks.end, share)),
            From::Spread | From::Time(_) => {
                let (third, rest) = (share / 3, share - share / 3 * 2);
                let middle = marks.low + (marks.end - marks.low - offsets / 3) / 2;
                let last = marks.end - i64::try_from(rest).unwrap_or(i64::MAX);
                windows.push(window(marks.low, middle, third));
                windows.push(window(middle, last, third));
                windows.push(window(last, marks.end, rest));
            }
        }
    }
    windows.retain(|window| window.most > 0 && window.first < window.until);
    windows
}

/// Samples a topic, outside of any group.
///
/// # Errors
/// When Kafka cannot be reached, or has no such topic.
pub async fn topic(kafka: &KafkaOptions, topic: &str, samples: u64, from: &From) -> anyhow::Result<Sampled> {
    let admin = KafkaAdmin::connect(kafka)?;
    let marks = admin.watermarks(&[topic]).await?;
    anyhow::ensure!(!marks.is_empty(), "topic `{topic}` does not exist; `--topic` names another");
    let mut partitions: Vec<(i32, Watermarks)> =
        marks.into_iter().map(|(source, marks)| (source.partition, marks)).collect();
    if let From::Time(millis) = from {
        for (source, first) in admin.offsets_at(&[topic], *millis).await? {
            let of = partitions.iter_mut().find(|(partition, _)| *partition == source.partition);
            if let Some((_, marks)) = of {
                marks.low = first.clamp(marks.low, marks.end);
            }
        }
    }
    let windows = windows(&partitions, samples, from);
    let mut sampled = Sampled::default();
    let mut progress = Progress::on_stderr();
    let total: u64 = windows.iter().map(|window| window.most).sum();
    let mut n_read = 0;
    for (index, window) in windows.iter().enumerate() {
        let bytes_left = BYTES_MAX.saturating_sub(sampled.bytes);
        let share = bytes_left / (windows.len() - index) as u64;
        let full = read(kafka, topic, window, (&mut sampled, share)).await;
        n_read += window.most;
        progress.show(Step::counted("reading samples", n_read.min(total), total), Instant::now());
        if full? {
            sampled.cut = Some(format!("samples of at most {} MiB are kept", BYTES_MAX >> 20));
        }
    }
    progress.clear();
    let mut read: Vec<i32> = windows.iter().map(|window| window.partition).collect();
    read.dedup();
    sampled.partitions = read.len();
    Ok(sampled)
}

/// Reads a window; says whether there was no room for all of it.
async fn read(
    kafka: &KafkaOptions,
    topic: &str,
    window: &Window,
    (sampled, bytes): (&mut Sampled, u64),
) -> anyhow::Result<bool> {
    let from = ReadFrom::Offsets([(window.partition, window.first)].into());
    let mut reader = BoundedReader::open(kafka, topic, from)?;
    let (mut left, end) = (window.most, sampled.bytes + bytes);
    while let Some(records) = reader.next().await {
        for record in records?.iter() {
            if left == 0 || record.offset >= window.until {
                return Ok(false);
            }
            if sampled.bytes >= end {
                return Ok(true);
            }
            left -= 1;
            sampled.take_record(window.partition, &record);
        }
    }
    Ok(false)
}

/// Takes the first lines of a file.
///
/// # Errors
/// When it cannot be read.
pub fn file(path: &Path, samples: u64) -> anyhow::Result<Sampled> {
    let doing = || format!("read `{}`", path.display());
    let mut lines = BufReader::new(std::fs::File::open(path).with_context(doing)?);
    let mut sampled = Sampled::default();
    let mut line = Vec::new();
    for number in 1.. {
        if number > samples {
            sampled.cut = Some(format!("only the first {samples} lines were read; `--samples` reads more"));
            break;
        }
        if sampled.bytes >= BYTES_MAX {
            sampled.cut = Some(format!("samples of at most {} MiB are kept", BYTES_MAX >> 20));
            break;
        }
        line.clear();
        let most = VALUE_BYTES_MAX as u64 + 1;
        lines.by_ref().take(most).read_until(b'\n', &mut line).with_context(doing)?;
        if line.is_empty() {
            break;
        }
        if line.len() as u64 == most && !line.ends_with(b"\n") {
            lines.skip_until(b'\n').with_context(doing)?;
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            sampled.take(format!("line {number}"), Vec::new(), text);
        }
    }
    Ok(sampled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(low: i64, end: i64) -> Watermarks {
        Watermarks { low, end }
    }

    #[test]
    fn samples_are_spread_over_partitions_and_over_time() {
        let partitions =
            [(0, marks(100, 1_000_100)), (1, marks(0, 10)), (2, marks(5, 5)), (3, marks(0, 1000))];
        let found = windows(&partitions, 100, &From::Spread);
        let small = found.iter().find(|window| window.partition == 1).unwrap();
        assert_eq!((small.first, small.until, small.most), (0, 10, 10));
        let large: Vec<(i64, u64)> = found
            .iter()
            .filter(|window| window.partition == 0)
            .map(|window| (window.first, window.most))
            .collect();
        assert_eq!(large, [(100, 15), (500_092, 15), (1_000_085, 15)]);
        assert_eq!(found.iter().map(|window| window.most).sum::<u64>(), 100);
        let of = |from: From| windows(&[(0, marks(0, 50))], 10, &from).remove(0);
        assert_eq!((of(From::Earliest).first, of(From::Latest).first), (0, 40));
        assert_eq!(windows(&partitions, 1, &From::Spread).iter().map(|window| window.most).sum::<u64>(), 1);
    }

    #[test]
    fn windows_never_overlap_and_never_ask_for_more_than_there_is() {
        for size in 1..60 {
            for samples in 1..70 {
                let found = windows(&[(0, marks(7, 7 + size))], samples, &From::Spread);
                let total: u64 = found.iter().map(|window| window.most).sum();
                assert_eq!(total, samples.min(size.unsigned_abs()), "{size} {samples} {found:?}");
                for pair in found.windows(2) {
                    assert!(pair[0].until <= pair[1].first, "{size} {samples} {found:?}");
                }
                for window in &found {
                    let room = u64::try_from(window.until - window.first).unwrap();
                    assert!(window.most <= room, "{size} {samples} {found:?}");
                }
            }
        }
    }

    #[test]
    fn records_that_teach_nothing_are_counted_by_their_reason() {
        let mut sampled = Sampled::default();
        for (n, value) in ["{}", "[1]", "{\"a\": ", "7"].iter().enumerate() {
            sampled.take(format!("0/{n}"), Vec::new(), value.as_bytes());
        }
        sampled.take("0/9".to_owned(), Vec::new(), &vec![b' '; VALUE_BYTES_MAX + 1]);
        assert_eq!(sampled.records.len(), 1);
        let aside: Vec<(&Aside, u64, &str)> =
            sampled.aside.iter().map(|(why, (count, first))| (why, *count, first.as_str())).collect();
        assert_eq!(
            aside,
            [(&Aside::NotJson, 1, "0/2"), (&Aside::NoObject, 2, "0/1"), (&Aside::TooLarge, 1, "0/9")]
        );
    }
}
