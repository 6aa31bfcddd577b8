//! Values of every type, from JSON through the sink into ClickHouse and back: equal, or refused.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};
use tidegate_core::Header;

use crate::world::{World, record};

/// Rows of each table.
const ROWS: usize = 300;
/// Columns of each table.
const COLUMNS: usize = 10;
/// Columns of types made of others.
const COMPOSITES: usize = 30;

/// A value as the event writes it, and as ClickHouse is to give it back.
type Sample = (String, Value);

/// A type without parts.
struct Leaf {
    sql: &'static str,
    sample: fn(&mut fastrand::Rng) -> Sample,
}

/// Values whose text is the same on both sides.
fn same(text: impl ToString) -> Sample {
    let text = text.to_string();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

fn quoted(text: impl ToString) -> Sample {
    same(Value::String(text.to_string()))
}

fn one_of<T: Copy>(random: &mut fastrand::Rng, values: &[T]) -> T {
    values[random.usize(..values.len())]
}

/// An integer of at most so many digits.
fn digits(random: &mut fastrand::Rng, max: usize) -> String {
    let count = random.usize(1..=max);
    let text: String = (0..count).map(|_| random.digit(10)).collect();
    let trimmed = text.trim_start_matches('0');
    if trimmed.is_empty() { "0".to_owned() } else { trimmed.to_owned() }
}

fn signed(random: &mut fastrand::Rng, text: String) -> String {
    let zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if !zero && random.bool() { format!("-{text}") } else { text }
}

fn decimal(random: &mut fastrand::Rng, precision: usize, scale: usize) -> Sample {
    let whole = digits(random, precision - scale);
    let fraction: String = (0..scale).map(|_| random.digit(10)).collect();
    let fraction = fraction.trim_end_matches('0');
    let text = if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") };
    let (text, value) = same(signed(random, text));
    // A decimal may come as a string, too: that is how programs keep its digits.
    if random.bool() { (format!("\"{text}\""), value) } else { (text, value) }
}

fn text(random: &mut fastrand::Rng) -> String {
    let kinds = ["a", "Z", " ", "\"", "\\", "\n", "\u{1}", "/", "ä", "漢", "\u{1F600}", "\u{7f}", "'"];
    (0..random.usize(..12)).map(|_| one_of(random, &kinds)).collect()
}

fn date(random: &mut fastrand::Rng, days: std::ops::Range<i64>) -> Sample {
    let epoch = jiff::civil::date(1970, 1, 1);
    quoted(epoch.checked_add(jiff::Span::new().days(random.i64(days))).unwrap())
}

/// Seconds since the epoch, with so many digits behind the point.
fn instant(random: &mut fastrand::Rng, seconds: std::ops::Range<i64>, places: usize) -> Sample {
    let second = jiff::Timestamp::from_second(random.i64(seconds)).unwrap();
    let text = second.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let fraction: String = (0..places).map(|_| random.digit(10)).collect();
    let text = if places == 0 { text } else { format!("{text}.{fraction}") };
    let value = Value::String(format!("{text}Z"));
    // The same instant, written with another offset or without the zeros at its end.
    let short =
        if places == 0 { text.clone() } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() };
    (
        one_of(
            random,
            &[format!("\"{text}Z\"").as_str(), &format!("\"{text}+00:00\""), &format!("\"{short}Z\"")],
        )
        .to_owned(),
        value,
    )
}

fn time(random: &mut fastrand::Rng, places: usize) -> Sample {
    let text = format!("{:02}:{:02}:{:02}", random.u8(..24), random.u8(..60), random.u8(..60));
    let fraction: String = (0..places).map(|_| random.digit(10)).collect();
    quoted(if places == 0 { text } else { format!("{text}.{fraction}") })
}

const NINES_76: &str = "9999999999999999999999999999999999999999999999999999999999999999999999999999";
const UINT256_MAX: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
const INT256_MIN: &str = "-57896044618658097711785492504343953926634992332820282019728792003956564819968";

const LEAVES: &[Leaf] = &[
    Leaf { sql: "Bool", sample: |r| same(r.bool()) },
    Leaf { sql: "Int8", sample: |r| same(r.i8(..)) },
    Leaf { sql: "Int16", sample: |r| same(r.i16(..)) },
    Leaf { sql: "Int32", sample: |r| same(r.i32(..)) },
    Leaf {
        sql: "Int64",
        sample: |r| {
            let any = r.i64(..);
            same(one_of(r, &[any, i64::MIN, i64::MAX]))
        },
    },
    Leaf {
        sql: "Int128",
        sample: |r| {
            let any = r.i128(..);
            same(one_of(r, &[any, i128::MIN, i128::MAX]))
        },
    },
    Leaf {
        sql: "Int256",
        sample: |r| {
            let any = digits(r, 76);
            let any = signed(r, any);
            same(one_of(r, &[any.as_str(), INT256_MIN, NINES_76]))
        },
    },
    Leaf { sql: "UInt8", sample: |r| same(r.u8(..)) },
    Leaf { sql: "UInt16", sample: |r| same(r.u16(..)) },
    Leaf { sql: "UInt32", sample: |r| same(r.u32(..)) },
    Leaf {
        sql: "UInt64",
        sample: |r| {
            let any = r.u64(..);
            same(one_of(r, &[any, u64::MAX, 0]))
        },
    },
    Leaf {
        sql: "UInt128",
        sample: |r| {
            let any = r.u128(..);
            same(one_of(r, &[any, u128::MAX, 0]))
        },
    },
    Leaf {
        sql: "UInt256",
        sample: |r| {
            let any = digits(r, 77);
            same(one_of(r, &[any.as_str(), UINT256_MAX]))
        },
    },
    Leaf { sql: "Float32", sample: |r| float(f64::from(finite32(r))) },
    Leaf { sql: "Float64", sample: |r| float(finite64(r)) },
    Leaf { sql: "BFloat16", sample: |r| float(f64::from(r.i8(..)) / 4.0) },
    Leaf { sql: "Decimal(9, 2)", sample: |r| decimal(r, 9, 2) },
    Leaf { sql: "Decimal(18, 6)", sample: |r| decimal(r, 18, 6) },
    Leaf { sql: "Decimal(38, 10)", sample: |r| decimal(r, 38, 10) },
    Leaf { sql: "Decimal(76, 20)", sample: |r| decimal(r, 76, 20) },
    Leaf { sql: "String", sample: |r| quoted(text(r)) },
    Leaf { sql: "FixedString(5)", sample: |r| quoted((0..5).map(|_| r.alphanumeric()).collect::<String>()) },
    Leaf {
        sql: "UUID",
        sample: |r| {
            let hex = format!("{:032x}", r.u128(..));
            quoted([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
        },
    },
    Leaf { sql: "IPv4", sample: |r| quoted(Ipv4Addr::from_bits(r.u32(..))) },
    Leaf { sql: "IPv6", sample: |r| quoted(Ipv6Addr::from_bits(r.u128(1 << 120..))) },
    Leaf { sql: "Date", sample: |r| date(r, 0..65_536) },
    Leaf { sql: "Date32", sample: |r| date(r, -25_567..120_530) },
    Leaf { sql: "DateTime('UTC')", sample: |r| instant(r, 0..i64::from(u32::MAX), 0) },
    Leaf { sql: "DateTime64(3, 'UTC')", sample: |r| instant(r, -2_000_000_000..10_000_000_000, 3) },
    Leaf { sql: "DateTime64(9, 'UTC')", sample: |r| instant(r, -2_000_000_000..9_000_000_000, 9) },
    Leaf { sql: "Time", sample: |r| time(r, 0) },
    Leaf { sql: "Time64(3)", sample: |r| time(r, 3) },
    Leaf { sql: "Enum8('a' = -1, 'b' = 2)", sample: |r| quoted(one_of(r, &["a", "b"])) },
    Leaf { sql: "Enum16('x' = 1000, 'ä' = -5)", sample: |r| quoted(one_of(r, &["x", "ä"])) },
    Leaf { sql: "LowCardinality(String)", sample: |r| quoted(one_of(r, &["one", "two", ""])) },
    Leaf {
        sql: "LowCardinality(Nullable(String))",
        sample: |r| one_of(r, &[Some("one"), Some(""), None]).map_or_else(|| same("null"), quoted),
    },
];

/// Types that stand in no other.
const WHOLE: &[Leaf] = &[
    Leaf {
        sql: "JSON",
        sample: |r| {
            let (number, word) = (r.i64(..), text(r));
            same(json!({"n": number, "o": {"word": word, "flag": r.bool()}, "list": [1, r.u8(..)]}))
        },
    },
    Leaf {
        sql: "Variant(String, UInt64)",
        sample: |r| if r.bool() { quoted(text(r)) } else { same(r.u64(..)) },
    },
    Leaf { sql: "Dynamic", sample: |r| if r.bool() { quoted("word") } else { same(r.i64(..)) } },
];

fn finite64(random: &mut fastrand::Rng) -> f64 {
    std::iter::repeat_with(|| f64::from_bits(random.u64(..))).find(|value| value.is_finite()).unwrap()
}

fn finite32(random: &mut fastrand::Rng) -> f32 {
    std::iter::repeat_with(|| f32::from_bits(random.u32(..))).find(|value| value.is_finite()).unwrap()
}

/// A float by its bits: there are many texts of one.
fn float(value: f64) -> Sample {
    (format!("{value:e}"), json!({"bits": value.to_bits()}))
}

/// A type, maybe made of others.
enum Kind {
    Leaf(&'static Leaf),
    Nullable(Box<Kind>),
    Array(Box<Kind>),
    Map(Box<Kind>),
    Tuple(Vec<Kind>),
}

impl Kind {
    fn any(random: &mut fastrand::Rng, depth: usize) -> Self {
        let part = |random: &mut fastrand::Rng| Box::new(Self::any(random, depth - 1));
        match random.usize(..if depth == 0 { 2 } else { 5 }) {
            2 => Self::Array(part(random)),
            3 => Self::Map(part(random)),
            4 => Self::Tuple((0..random.usize(1..4)).map(|_| *part(random)).collect()),
            number => {
                let leaf = &LEAVES[random.usize(..LEAVES.len())];
                let nullable = number == 1 && !leaf.sql.starts_with("LowCardinality");
                if nullable { Self::Nullable(Box::new(Self::Leaf(leaf))) } else { Self::Leaf(leaf) }
            }
        }
    }

    fn sql(&self) -> String {
        match self {
            Self::Leaf(leaf) => leaf.sql.to_owned(),
            Self::Nullable(part) => format!("Nullable({})", part.sql()),
            Self::Array(part) => format!("Array({})", part.sql()),
            Self::Map(part) => format!("Map(String, {})", part.sql()),
            Self::Tuple(parts) => {
                let parts = parts.iter().enumerate().map(|(n, part)| format!("f{n} {}", part.sql()));
                format!("Tuple({})", parts.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn sample(&self, random: &mut fastrand::Rng) -> Sample {
        match self {
            Self::Leaf(leaf) => (leaf.sample)(random),
            Self::Nullable(_) if random.u8(..4) == 0 => same("null"),
            Self::Nullable(part) => part.sample(random),
            Self::Array(part) => {
                let (texts, values): (Vec<_>, Vec<_>) =
                    (0..random.usize(..4)).map(|_| part.sample(random)).unzip();
                (format!("[{}]", texts.join(",")), Value::Array(values))
            }
            Self::Map(part) => {
                object((0..random.usize(..4)).map(|n| (format!("key {n}"), part.sample(random))).collect())
            }
            Self::Tuple(parts) => object(
                parts.iter().enumerate().map(|(n, part)| (format!("f{n}"), part.sample(random))).collect(),
            ),
        }
    }

    /// What ClickHouse gave, with floats by their bits.
    fn read(&self, value: &Value) -> Value {
        match (self, value) {
            (Self::Leaf(leaf), Value::Number(number)) if leaf.sql.contains("Float") => {
                let value: f64 = number.to_string().parse().unwrap();
                // Float32 is printed with as many digits as it needs among its own kind.
                #[expect(clippy::cast_possible_truncation, reason = "the column holds no more")]
                let value = if leaf.sql == "Float32" { f64::from(value as f32) } else { value };
                json!({"bits": value.to_bits()})
            }
            (Self::Nullable(part), value) if !value.is_null() => part.read(value),
            (Self::Array(part), Value::Array(values)) => {
                values.iter().map(|value| part.read(value)).collect()
            }
            (Self::Map(part), Value::Object(values)) => {
                values.iter().map(|(key, value)| (key.clone(), part.read(value))).collect()
            }
            (Self::Tuple(parts), Value::Object(values)) => {
                let part = |key: &str| &parts[key[1..].parse::<usize>().unwrap()];
                values.iter().map(|(key, value)| (key.clone(), part(key).read(value))).collect()
            }
            (_, value) => value.clone(),
        }
    }
}

fn object(members: Vec<(String, Sample)>) -> Sample {
    let texts: Vec<String> =
        members.iter().map(|(name, (text, _))| format!("{}:{text}", Value::String(name.clone()))).collect();
    let values = members.into_iter().map(|(name, (_, value))| (name, value)).collect();
    (format!("{{{}}}", texts.join(",")), Value::Object(values))
}

/// ClickHouse's answer in the texts that the samples use.
const FORMAT: &str = "SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 0, \
                      date_time_output_format = 'iso', output_format_json_named_tuples_as_objects = 1";

#[tokio::test(flavor = "multi_thread")]
async fn random_rows_of_random_tables_come_back_equal() {
    let Some(world) = World::start().await else { return };
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kinds: Vec<Kind> = LEAVES.iter().chain(WHOLE).map(Kind::Leaf).collect();
    kinds.extend((0..COMPOSITES).map(|_| Kind::any(&mut random, 2)));
    let tables: Vec<&[Kind]> = kinds.chunks(COLUMNS).collect();
    let mut events: Vec<(String, Vec<Sample>)> = Vec::new();
    for (n, kinds) in tables.iter().enumerate() {
        let columns: Vec<String> =
            kinds.iter().enumerate().map(|(n, kind)| format!("c{n} {}", kind.sql())).collect();
        let ddl = format!(
            "CREATE TABLE e2e.t{n} ({}, _offset Int64) ENGINE = MergeTree ORDER BY _offset \
             SETTINGS non_replicated_deduplication_window = 100",
            columns.join(", ")
        );
        world.clickhouse.execute(&ddl).await.unwrap_or_else(|fault| panic!("{ddl}: {fault}"));
        for _ in 0..ROWS {
            events.push((format!("t{n}"), kinds.iter().map(|kind| kind.sample(&mut random)).collect()));
        }
    }
    world.topic("values", 1).await;
    let values: Vec<String> = events.iter().map(|(_, samples)| event(samples)).collect();
    let headers: Vec<[Header<'_>; 1]> =
        events.iter().map(|(table, _)| [Header { name: "table", value: Some(table.as_bytes()) }]).collect();
    let records = values.iter().zip(&headers);
    world.publish(records.map(|(value, headers)| record("values", 0, value.as_bytes(), headers))).await;
    let connector = "  - {name: v, topics: [values], table: \"{header:table}\", halt_when: never, \
                     batch: {rows_max: 700, linger: 50ms}}";
    let (sink, _) = world.sink(&world.file("sink.yaml", connector)).await;
    world.settled("tidegate-v", "values").await;
    let refused =
        "SELECT code, `column`, expected, found, count() FROM e2e.dead_letters GROUP BY ALL LIMIT 20";
    assert_eq!(world.clickhouse.query(refused).await.unwrap(), "", "seed {seed}");
    for (n, kinds) in tables.iter().enumerate() {
        let sql = format!("SELECT * FROM e2e.t{n} ORDER BY _offset {FORMAT} FORMAT JSONEachRow");
        let rows = world.clickhouse.query(&sql).await.unwrap();
        let expected = &events[n * ROWS..(n + 1) * ROWS];
        assert_eq!(rows.lines().count(), ROWS, "seed {seed}, table {n}");
        for (row, (_, samples)) in rows.lines().zip(expected) {
            let row: BTreeMap<String, Value> = serde_json::from_str(row).unwrap();
            for (c, (kind, (text, value))) in kinds.iter().zip(samples).enumerate() {
                let found = kind.read(&row[&format!("c{c}")]);
                assert_eq!(&found, value, "seed {seed}: {} from {text}", kind.sql());
            }
        }
    }
    sink.stop().await;
}

fn event(samples: &[Sample]) -> String {
    object(samples.iter().enumerate().map(|(n, sample)| (format!("c{n}"), sample.clone())).collect()).0
}
