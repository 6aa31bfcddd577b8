//! Protobuf events of about 1.6 KB: decoded and encoded into a Native block, beside prost-reflect's
//! decoding of the same bytes into its dynamic message. Bytes are those of the records.

use std::sync::Arc;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use prost_reflect::{DescriptorPool, DynamicMessage};
use tidegate_codec::{
    Plan, PlanOptions, ProtobufMessages, SchemaKey, WireFormat, WriterSchema, WriterSchemas, json_to_protobuf,
};
use tidegate_core::{Records, TopicPartition};
use tidegate_languages::Strictness;
use tidegate_languages::protobuf::ProtobufSchema;
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};

fn main() {
    divan::main();
}

const ROWS: usize = 2_000;

/// Fields of a customer event: name, Protobuf type, column type. As in the benchmark of Avro.
const FIELDS: [(&str, &str, &str); 24] = [
    ("event_id", "string", "UUID"),
    ("ts", "google.protobuf.Timestamp", "DateTime64(3, 'UTC')"),
    ("sent_at", "google.protobuf.Timestamp", "Nullable(DateTime64(3, 'UTC'))"),
    ("user_id", "optional string", "Nullable(String)"),
    ("anonymous_id", "string", "String"),
    ("session_id", "optional string", "Nullable(String)"),
    ("event", "string", "LowCardinality(String)"),
    ("platform", "P", "Enum8('ios'=1,'android'=2,'web'=3)"),
    ("app_version", "string", "LowCardinality(String)"),
    ("locale", "string", "LowCardinality(String)"),
    ("url", "string", "String"),
    ("referrer", "optional string", "Nullable(String)"),
    ("user_agent", "string", "String"),
    ("title", "string", "String"),
    ("text", "string", "String"),
    ("watch_ms", "int32", "UInt32"),
    ("position_ms", "optional int32", "Nullable(UInt32)"),
    ("price", "string", "Decimal(12, 4)"),
    ("score", "double", "Float64"),
    ("completed", "bool", "Bool"),
    ("video_id", "int64", "UInt64"),
    ("tags", "repeated string", "Array(String)"),
    ("experiments", "map<string, string>", "Map(LowCardinality(String), String)"),
    ("bounces", "int32", "Int32"),
];

fn schema() -> ProtobufSchema {
    let fields: Vec<String> = FIELDS
        .iter()
        .zip(1..)
        .map(|((name, ty, _), number)| format!("  {ty} {name} = {number};\n"))
        .collect();
    let text = format!(
        "syntax = \"proto3\";\nimport \"google/protobuf/timestamp.proto\";\n\
         enum P {{ ios = 0; android = 1; web = 2; }}\nmessage Event {{\n{}}}\n",
        fields.concat()
    );
    ProtobufSchema::parse(&text, &[], Strictness::Fresh).expect("a schema")
}

fn event(n: usize) -> String {
    let long = "A sentence about a video that somebody has watched, and what they thought of it. ".repeat(10);
    let sent =
        if n.is_multiple_of(3) { String::new() } else { "\"sent_at\":\"2024-01-01T00:00:01Z\",".to_owned() };
    format!(
        r#"{{"event_id":"{:08x}-0000-4000-8000-{n:012x}","ts":"2023-11-14T22:13:20.{:03}Z",{sent}
        "user_id":"user-{}","anonymous_id":"anonymous-{:016x}","session_id":"session-{:024x}",
        "event":"{}","platform":"{}","app_version":"5.{}","locale":"en-GB",
        "url":"https://example.com/videos/{n}/watch?source=feed&position={}&ref=homepage",
        "referrer":"https://www.example.org/search?q=cats+and+dogs+playing+together",
        "user_agent":"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        "title":"Video number {n}: cats and dogs, café edition","text":"{long}",
        "watch_ms":{},"position_ms":{},"price":"{}.1234","score":{},"completed":{},"video_id":{},
        "tags":["tag-0","tag-1","tag-2","tag-3"],
        "experiments":{{"experiment-0":"treatment","experiment-1":"treatment","experiment-2":"treatment"}},
        "bounces":{}}}"#,
        n * 7919,
        n % 1000,
        n * 31 % 5000,
        n * 1_000_003,
        n * 7_919,
        ["page_view", "video_viewed", "comment_posted"][n % 3],
        ["ios", "android", "web"][n % 3],
        n % 20,
        n % 40,
        n % 90_000,
        n % 900,
        n % 1000,
        n as f64 / 7.0,
        n.is_multiple_of(2),
        n * 1_000_003,
        n % 5
    )
}

fn data(types: &ProtobufMessages) -> Vec<Vec<u8>> {
    (0..ROWS).map(|n| json_to_protobuf(types, &[0], &event(n)).expect("an event of the schema")).collect()
}

#[divan::bench]
fn tidegate(bencher: Bencher<'_, '_>) {
    let columns = FIELDS.iter().map(|(name, _, ty)| TableColumn {
        name: (*name).to_owned(),
        ty: Type::parse(ty).expect("a type"),
        default: ColumnDefault::None,
    });
    let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.collect() };
    let types = Arc::new(ProtobufMessages::new(&schema()).expect("messages"));
    let data = data(&types);
    let writers = WriterSchemas::default();
    writers.insert(SchemaKey::Id(1), WriterSchema::Protobuf(types));
    let plan = Plan::of_writers(&table, &WireFormat::Protobuf, &writers, &PlanOptions::default());
    let plan = plan.expect("a plan");
    let source = TopicPartition::new("t", 0);
    let mut records = Records::new(source.clone());
    let mut size = 0;
    for (at, datum) in data.iter().enumerate() {
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
fn prost_reflect_decodes_only(bencher: Bencher<'_, '_>) {
    let schema = schema();
    let data = data(&ProtobufMessages::new(&schema).expect("messages"));
    let set = schema.descriptor_set().expect("descriptors");
    let pool = DescriptorPool::decode(set.as_slice()).expect("a pool");
    let descriptor = pool.get_message_by_name("Event").expect("the message");
    let size: usize = data.iter().map(Vec::len).sum();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        for datum in &data {
            // Behind the byte that says that it is the first message.
            black_box(DynamicMessage::decode(descriptor.clone(), &datum[1..]).expect("a message"));
        }
    });
}
