//! Avro events of about 1.6 KB: decoded and encoded into a Native block, beside apache-avro's decoding of
//! the same bytes into its tree of values. Bytes are those of the records.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use tidegate_codec::{
    ColumnOptions, ColumnRules, Plan, PlanOptions, SchemaKey, WireFormat, WriterSchema, WriterSchemas,
};
use tidegate_core::{Records, TopicPartition};
use tidegate_languages::avro::{AvroSchema, Defaults};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};

fn main() {
    divan::main();
}

const ROWS: usize = 2_000;

/// Fields of a customer event: name, Avro type, column type.
const FIELDS: [(&str, &str, &str); 24] = [
    ("event_id", r#"{"type":"string","logicalType":"uuid"}"#, "UUID"),
    ("ts", r#"{"type":"long","logicalType":"timestamp-millis"}"#, "DateTime64(3, 'UTC')"),
    (
        "sent_at",
        r#"["null",{"type":"long","logicalType":"timestamp-millis"}]"#,
        "Nullable(DateTime64(3, 'UTC'))",
    ),
    ("user_id", r#"["null","string"]"#, "Nullable(String)"),
    ("anonymous_id", r#""string""#, "String"),
    ("session_id", r#"["null","string"]"#, "Nullable(String)"),
    ("event", r#""string""#, "LowCardinality(String)"),
    (
        "platform",
        r#"{"type":"enum","name":"P","symbols":["ios","android","web"]}"#,
        "Enum8('ios'=1,'android'=2,'web'=3)",
    ),
    ("app_version", r#""string""#, "LowCardinality(String)"),
    ("locale", r#""string""#, "LowCardinality(String)"),
    ("url", r#""string""#, "String"),
    ("referrer", r#"["null","string"]"#, "Nullable(String)"),
    ("user_agent", r#""string""#, "String"),
    ("title", r#""string""#, "String"),
    ("text", r#""string""#, "String"),
    ("watch_ms", r#""int""#, "UInt32"),
    ("position_ms", r#"["null","int"]"#, "Nullable(UInt32)"),
    ("price", r#"{"type":"bytes","logicalType":"decimal","precision":12,"scale":4}"#, "Decimal(12, 4)"),
    ("score", r#""double""#, "Float64"),
    ("completed", r#""boolean""#, "Bool"),
    ("video_id", r#""long""#, "UInt64"),
    ("tags", r#"{"type":"array","items":"string"}"#, "Array(String)"),
    ("experiments", r#"{"type":"map","values":"string"}"#, "Map(LowCardinality(String), String)"),
    ("bounces", r#""int""#, "Int32"),
];

fn schema() -> String {
    let fields: Vec<String> =
        FIELDS.iter().map(|(name, ty, _)| format!(r#"{{"name":"{name}","type":{ty}}}"#)).collect();
    format!(r#"{{"type":"record","name":"Event","fields":[{}]}}"#, fields.join(","))
}

fn some(value: Avro) -> Avro {
    Avro::Union(1, Box::new(value))
}

fn event(n: usize) -> Avro {
    let text = |value: String| Avro::String(value);
    let long = "A sentence about a video that somebody has watched, and what they thought of it. ".repeat(10);
    let values = vec![
        Avro::Uuid(apache_avro::Uuid::from_u128(n as u128 * 7_919_473)),
        Avro::TimestampMillis(1_700_000_000_000 + n as i64),
        if n.is_multiple_of(3) { Avro::Union(0, Box::new(Avro::Null)) } else { some(Avro::TimestampMillis(n as i64)) },
        some(text(format!("user-{}", n * 31 % 5000))),
        text(format!("anonymous-{:016x}", n * 1_000_003)),
        some(text(format!("session-{:024x}", n * 7_919))),
        text(["page_view", "video_viewed", "comment_posted"][n % 3].to_owned()),
        Avro::Enum((n % 3) as u32, ["ios", "android", "web"][n % 3].to_owned()),
        text(format!("5.{}", n % 20)),
        text("en-GB".to_owned()),
        text(format!("https://example.com/videos/{n}/watch?source=feed&position={}&ref=homepage", n % 40)),
        some(text("https://www.example.org/search?q=cats+and+dogs+playing+together".to_owned())),
        text("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148".to_owned()),
        text(format!("Video number {n}: cats and dogs, café edition")),
        text(long),
        Avro::Int(n as i32 % 90_000),
        some(Avro::Int(n as i32 % 900)),
        Avro::Decimal((n as i64 * 1234).to_be_bytes().into()),
        Avro::Double(n as f64 / 7.0),
        Avro::Boolean(n.is_multiple_of(2)),
        Avro::Long(n as i64 * 1_000_003),
        Avro::Array((0..4).map(|tag| text(format!("tag-{tag}"))).collect()),
        Avro::Map((0..3).map(|at| (format!("experiment-{at}"), text("treatment".to_owned()))).collect()),
        Avro::Int(n as i32 % 5),
    ];
    Avro::Record(FIELDS.iter().map(|(name, ..)| (*name).to_owned()).zip(values).collect())
}

fn data() -> Vec<Vec<u8>> {
    let schema = Schema::parse_str(&schema()).expect("a schema");
    let writer = GenericDatumWriter::builder(&schema).build().expect("a writer");
    (0..ROWS).map(|n| writer.write_value_to_vec(event(n)).expect("an event of the schema")).collect()
}

/// Rules of eight of the columns, as a catalog may have them.
fn rules() -> PlanOptions {
    let number = |max: &str| ColumnRules { max: Some(max.to_owned()), ..ColumnRules::default() };
    let text = |max_length| ColumnRules { max_length: Some(max_length), ..ColumnRules::default() };
    let url = || ColumnRules { format: Some("uri".to_owned()), ..ColumnRules::default() };
    let version = ColumnRules { pattern: Some("^[0-9.]+$".to_owned()), ..ColumnRules::default() };
    let rules = [
        ("watch_ms", number("86400000")),
        ("price", number("1000000000")),
        ("score", number("1000000000")),
        ("title", text(200)),
        ("tags", text(40)),
        ("app_version", version),
        ("url", url()),
        ("referrer", url()),
    ];
    let columns = rules.map(|(name, rules)| {
        (name.to_owned(), ColumnOptions { rules: Some(rules), ..ColumnOptions::default() })
    });
    PlanOptions { columns: columns.into(), ..PlanOptions::default() }
}

#[divan::bench]
fn tidegate(bencher: Bencher<'_, '_>) {
    records(bencher, &PlanOptions::default());
}

#[divan::bench]
fn tidegate_with_rules_of_columns(bencher: Bencher<'_, '_>) {
    records(bencher, &rules());
}

fn records(bencher: Bencher<'_, '_>, options: &PlanOptions) {
    let columns = FIELDS.iter().map(|(name, _, ty)| TableColumn {
        name: (*name).to_owned(),
        ty: Type::parse(ty).expect("a type"),
        default: ColumnDefault::None,
    });
    let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.collect() };
    let writers = WriterSchemas::default();
    let writer = AvroSchema::parse(&schema(), &[], Defaults::Checked).expect("a schema");
    writers.insert(SchemaKey::Id(1), WriterSchema::Avro(Arc::new(writer)));
    let format = WireFormat::Avro { reader: None };
    let plan = Plan::of_writers(&table, &format, &writers, options).expect("a plan");
    let source = TopicPartition::new("t", 0);
    let mut records = Records::new(source.clone());
    let mut size = 0;
    for (at, datum) in data().iter().enumerate() {
        size += datum.len();
        let value = [&[0, 0, 0, 0, 1], datum.as_slice()].concat();
        records.push(at as i64, None, None, Some(&value), []);
    }
    let (mut block, mut native) = (plan.block(), Vec::new());
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        block.clear();
        native.clear();
        for record in records.iter() {
            plan.append(&mut block, &source, &record).expect("a row");
        }
        block.encode(&mut native);
        black_box(native.len())
    });
}

#[divan::bench]
fn apache_avro_decodes_only(bencher: Bencher<'_, '_>) {
    let schema = Schema::parse_str(&schema()).expect("a schema");
    let data = data();
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let size: usize = data.iter().map(Vec::len).sum();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        for datum in &data {
            black_box(reader.read_value(&mut datum.as_slice()).expect("a value"));
        }
    });
}
