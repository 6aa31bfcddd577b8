//! Whatever bytes a record has, and whatever text its schema, it becomes a row or is refused, soon, and a
//! refused one leaves no trace. Schemas and records are mutated by chance, from a seed: `TIDEGATE_FUZZ_SEED`
//! and `TIDEGATE_FUZZ_SECONDS` (of each format) try others, and longer.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_codec::{
    Block, Plan, PlanOptions, ProtobufMessages, SchemaKey, WireFormat, WriterSchema, WriterSchemas,
    json_to_avro, json_to_protobuf, sample_avro, sample_protobuf,
};
use tidegate_core::{Records, TopicPartition};
use tidegate_languages::Strictness;
use tidegate_languages::avro::{AvroSchema, Defaults};
use tidegate_languages::protobuf::ProtobufSchema;
use tidegate_native::{ColumnDefault, Table, TableColumn};
use tidegate_schema::{Chance, FormatMode, SchemaDocument};

/// The longest that one case may take, in a build without optimisation, on a loaded machine.
const CASE_MAX: Duration = Duration::from_secs(10);
const CASES: u64 = 3_000;
/// Records of one schema.
const RECORDS: u64 = 20;

const AVRO: [&str; 4] = [
    r#"{"type":"record","name":"A","fields":[{"name":"id","type":"long"},{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},{"name":"uid","type":{"type":"string","logicalType":"uuid"}},{"name":"state","type":{"type":"enum","name":"S","symbols":["OPEN","PAID"]}},{"name":"note","type":["null","string"],"default":null}]}"#,
    r#"{"type":"record","name":"B","fields":[{"name":"either","type":["null","string","double",{"type":"array","items":"int"}]},{"name":"hash","type":{"type":"fixed","name":"H","size":4}},{"name":"counts","type":{"type":"map","values":["null","int"]}},{"name":"user","type":{"type":"record","name":"U","fields":[{"name":"tags","type":{"type":"array","items":"string"}},{"name":"day","type":{"type":"int","logicalType":"date"}}]}}]}"#,
    r#"{"type":"record","name":"Tree","fields":[{"name":"n","type":"int"},{"name":"all","type":{"type":"array","items":"Tree"}},{"name":"left","type":["null","Tree"]}]}"#,
    r#"{"type":"record","name":"C","fields":[{"name":"items","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"a","type":"float"},{"name":"b","type":["null","boolean"]}]}}},{"name":"span","type":{"type":"fixed","name":"D","size":12,"logicalType":"duration"}},{"name":"raw","type":"bytes"},{"name":"t","type":{"type":"int","logicalType":"time-millis"}}]}"#,
];

const JSON: [&str; 3] = [
    r##"{"type":"object","required":["id"],"properties":{"id":{"type":"integer","minimum":0,"maximum":100},"at":{"type":"string","format":"date-time"},"kind":{"enum":["a","b",null]},"code":{"type":"string","pattern":"^[A-Z]{2}-\\d+$"},"user":{"$ref":"#/$defs/u"},"tags":{"type":"array","items":{"type":"string"},"maxItems":3}},"$defs":{"u":{"type":["object","null"],"properties":{"name":{"type":"string","minLength":1},"more":{"$ref":"#/$defs/u"}}}}}"##,
    r#"{"oneOf":[{"type":"object","required":["t","n"],"properties":{"t":{"const":"x"},"n":{"type":"number"}}},{"type":"object","required":["t"],"properties":{"t":{"const":"y"},"s":{"type":"string"}}}]}"#,
    r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","additionalProperties":{"type":"integer"},"properties":{"a":{"anyOf":[{"type":"string"},{"type":"integer","multipleOf":5}]},"b":{"type":"array","items":{"type":"object","properties":{"c":{"type":"boolean"}}}}},"patternProperties":{"^x":{"type":"string"}}}"#,
];

const PROTOBUF: [&str; 3] = [
    "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/wrappers.proto\"; message A { int64 id = 1; google.protobuf.Timestamp at = 2; optional string note = 3; E e = 4; repeated double all = 5; map<string, int32> counts = 6; N n = 7; bytes raw = 8; google.protobuf.Int64Value w = 9; oneof way { string card = 11; bool cash = 12; } message N { string name = 1; repeated sint32 tags = 2; A up = 3; } } enum E { Z = 0; Y = 1; }",
    "syntax = \"proto2\"; message A { required fixed32 x = 1; optional group G = 2 { optional string s = 3 [default = \"a\"]; repeated float f = 4; } repeated sfixed64 s = 5 [packed = true]; optional E e = 6 [default = B]; } enum E { B = 3; }",
    "edition = \"2023\"; import \"google/protobuf/struct.proto\"; option features.field_presence = IMPLICIT; message A { int32 n = 1; N d = 2 [features.message_encoding = DELIMITED]; repeated N all = 3; google.protobuf.Struct any = 4; message N { string s = 1; } }",
];

/// Pieces that mean something in one of the formats.
const PIECES: [&[u8]; 24] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"1e999",
    b"-0",
    b"\"type\"",
    b"\"$ref\"",
    b"\"#\"",
    b"\"int\"",
    b"repeated ",
    b"\x00",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    b"\x01",
    b"\xED\xA0\x80",
    b"\x0B",
    b"\x0C",
];

/// Bytes after one to four changes.
fn mutated(chance: &mut Chance, bytes: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(changed.len() + 1);
        let end = changed.len().min(at + chance.below(9));
        match chance.below(6) {
            0 => changed.truncate(at),
            1 => drop(changed.drain(at..end)),
            2 => drop(changed.splice(at..at, chance.of(&PIECES).unwrap().iter().copied())),
            3 => drop(changed.splice(at..end, chance.of(&PIECES).unwrap().iter().copied())),
            4 => {
                let piece = changed[at..end].repeat(1 + chance.below(60));
                drop(changed.splice(at..at, piece));
            }
            _ if at < changed.len() => changed[at] ^= 1 << chance.below(8),
            _ => {}
        }
    }
    changed
}

/// Draws a value's bytes; `None` if there is no value.
type Draw = Box<dyn Fn(&mut Chance) -> Option<Vec<u8>>>;
/// A text as the schema of a record's writer, and values of it; `None` if the text is none.
type Write = fn(&str) -> Option<(WriterSchema, Draw)>;

fn avro(text: &str) -> Option<(WriterSchema, Draw)> {
    let schema = Arc::new(AvroSchema::parse(text, &[], Defaults::Believed).ok()?);
    let drawn = Arc::clone(&schema);
    let draw = move |chance: &mut Chance| {
        let text = sample_avro(&drawn, chance)?;
        Some(json_to_avro(&drawn, &text).unwrap_or_else(|error| panic!("{error}: {text}")))
    };
    Some((WriterSchema::Avro(schema), Box::new(draw)))
}

fn json(text: &str) -> Option<(WriterSchema, Draw)> {
    let document = SchemaDocument::parse(text).ok()?;
    let schema = document.schema_at("", FormatMode::Assert).ok()?;
    let sampler = document.sampler("", FormatMode::Assert).ok()?;
    let draw =
        move |chance: &mut Chance| sampler.sample(chance).ok().map(|value| value.to_string().into_bytes());
    Some((WriterSchema::Json(Arc::new(schema)), Box::new(draw)))
}

fn protobuf(text: &str) -> Option<(WriterSchema, Draw)> {
    let schema = ProtobufSchema::parse(text, &[], Strictness::Stored).ok()?;
    let types = Arc::new(ProtobufMessages::new(&schema).ok()?);
    let drawn = Arc::clone(&types);
    let draw = move |chance: &mut Chance| {
        let text = sample_protobuf(&drawn, &[0], chance)?;
        Some(json_to_protobuf(&drawn, &[0], &text).unwrap_or_else(|error| panic!("{error}: {text}")))
    };
    Some((WriterSchema::Protobuf(types), Box::new(draw)))
}

/// What decodes records of a schema into the columns that the schema asks for.
fn plan(format: &WireFormat, schema: &WriterSchema) -> Option<Plan> {
    let wanted = schema.columns(&PlanOptions::default()).into_iter();
    let columns = wanted.map(|column| TableColumn {
        name: column.name,
        ty: column.ty,
        default: column
            .default
            .map_or(ColumnDefault::None, |expression| ColumnDefault::Default { expression }),
    });
    let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.collect() };
    let writers = WriterSchemas::default();
    writers.insert(SchemaKey::Id(1), schema.clone());
    Plan::of_writers(&table, format, &writers, &PlanOptions::default()).ok()
}

/// Whether a record becomes a row. If it does not, the block is as it was.
fn append(plan: &Plan, block: &mut Block, value: &[u8]) -> bool {
    let source = TopicPartition::new("t", 0);
    let mut records = Records::new(source.clone());
    records.push(0, None, None, Some(value), []);
    let before = block.rows();
    let appended = plan.append(block, &source, &records.get(0).unwrap());
    assert_eq!(block.rows(), before + usize::from(appended.is_ok()));
    if let Err(reject) = &appended {
        assert!(!reject.reason().expected.is_empty(), "{reject}");
    }
    appended.is_ok()
}

/// Records of one schema: those that were drawn, and what chance makes of them.
fn case(chance: &mut Chance, format: &WireFormat, (text, sound): (&str, bool), write: Write) -> Option<u64> {
    let (schema, draw) = write(text)?;
    let plan = plan(format, &schema)?;
    let mut block = plan.block();
    let mut n_rows = 0;
    for _ in 0..RECORDS {
        let Some(payload) = draw(chance) else { break };
        let value = [&[0, 0, 0, 0, 1], payload.as_slice()].concat();
        let row = append(&plan, &mut block, &value);
        assert!(row || !sound, "a value of the schema is refused: {value:?}");
        n_rows += u64::from(row);
        let damaged = mutated(chance, &value);
        n_rows += u64::from(append(&plan, &mut block, &damaged));
    }
    let mut native = Vec::new();
    block.encode(&mut native);
    if n_rows > 0 && !block.columns().is_empty() {
        assert_eq!(tidegate_native::read_blocks(&native).unwrap()[0].rows as u64, n_rows);
    }
    Some(n_rows)
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn attack(format: &WireFormat, texts: &[&str], write: Write) {
    let seed = setting("TIDEGATE_FUZZ_SEED").unwrap_or(1);
    let end = setting("TIDEGATE_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut chance = Chance::new(seed);
    let (mut at, mut n_rows, mut n_schemas) = (0_u64, 0, 0);
    while end.map_or(at < CASES / RECORDS, |end| Instant::now() < end) {
        at += 1;
        let base = *chance.of(texts).unwrap();
        let sound = chance.one_in(2);
        let text = if sound { base.as_bytes().to_vec() } else { mutated(&mut chance, base.as_bytes()) };
        let Ok(text) = String::from_utf8(text) else { continue };
        let began = Instant::now();
        let tried = catch_unwind(AssertUnwindSafe(|| case(&mut chance, format, (&text, sound), write)));
        let Ok(rows) = tried else { panic!("{format:?} with seed {seed}, case {at}: {text}") };
        assert!(began.elapsed() < CASE_MAX, "{:?} with seed {seed}, case {at}: {text}", began.elapsed());
        n_schemas += u64::from(rows.is_some());
        n_rows += rows.unwrap_or(0);
    }
    println!("{format:?}, seed {seed}: {at} schemas, {n_schemas} read, {n_rows} rows");
    assert!(n_rows > 0 && n_schemas < at, "the checks saw nothing");
}

#[test]
fn mutated_avro_becomes_rows_or_is_refused() {
    attack(&WireFormat::Avro { reader: None }, &AVRO, avro);
}

#[test]
fn mutated_json_becomes_rows_or_is_refused() {
    attack(&WireFormat::JsonSchema, &JSON, json);
}

#[test]
fn mutated_protobuf_becomes_rows_or_is_refused() {
    attack(&WireFormat::Protobuf, &PROTOBUF, protobuf);
}
