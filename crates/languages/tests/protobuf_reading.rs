//! What is called compatible reads: random messages of a random old schema are read with a new one that
//! was made of it by random changes.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::cell::Cell;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_oneof};
use proptest::test_runner::TestRunner;
use prost::Message as _;
use prost::bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};
use tidegate_languages::Strictness;
use tidegate_languages::protobuf::ProtobufSchema;

const TYPES: [&str; 13] = [
    "int32", "int64", "uint64", "bool", "sint32", "sint64", "fixed32", "sfixed64", "double", "string",
    "bytes", "E", "N",
];

/// A field: its type, and how it is declared.
#[derive(Debug, Clone)]
struct Field {
    kind: &'static str,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Plain,
    Optional,
    Repeated,
    Map,
    /// In the first or second oneof.
    Oneof(bool),
}

/// A message's fields by number, from one.
type Fields = Vec<Option<Field>>;

fn field() -> impl Strategy<Value = Option<Field>> {
    let kind = prop::sample::select(&TYPES[..]);
    let shape = prop_oneof![
        3 => Just(Shape::Plain),
        1 => Just(Shape::Optional),
        2 => Just(Shape::Repeated),
        1 => Just(Shape::Map),
        2 => any::<bool>().prop_map(Shape::Oneof),
    ];
    prop::option::weighted(0.8, (kind, shape).prop_map(|(kind, shape)| Field { kind, shape }))
}

/// Types that have the same encoding, but for what they mean.
const SIBLINGS: [&[&str]; 3] =
    [&["int32", "int64", "uint64", "bool", "E"], &["sint32", "sint64"], &["string", "bytes"]];

/// A message, and one that differs from it in a few fields: some are others, some are gone, and some have a
/// type that reads as well.
fn versions() -> impl Strategy<Value = (Fields, Fields)> {
    let change = prop::option::weighted(0.3, (field(), 0..3u8, any::<usize>()));
    let versions = (field(), change).prop_map(|(old, change)| {
        let new = match change {
            None => old.clone(),
            Some((other, 0, _)) => other,
            Some((_, 1, _)) => None,
            Some((_, _, chance)) => old.as_ref().map(|old| {
                let siblings = SIBLINGS.into_iter().find(|siblings| siblings.contains(&old.kind));
                let kind = siblings.map_or(old.kind, |siblings| siblings[chance % siblings.len()]);
                Field { kind, ..old.clone() }
            }),
        };
        (old, new)
    });
    prop::collection::vec(versions, 1..7).prop_map(|fields| fields.into_iter().unzip())
}

fn text(fields: &Fields) -> String {
    let all = || (1..).zip(fields).filter_map(|(number, field)| Some((number, field.as_ref()?)));
    let declared = |(number, Field { kind, shape }): (i32, &Field)| match shape {
        Shape::Plain => Some(format!("{kind} f{number} = {number};")),
        Shape::Optional => Some(format!("optional {kind} f{number} = {number};")),
        Shape::Repeated => Some(format!("repeated {kind} f{number} = {number};")),
        Shape::Map => Some(format!("map<string, {kind}> f{number} = {number};")),
        Shape::Oneof(_) => None,
    };
    let mut body: Vec<String> = all().filter_map(declared).collect();
    for which in [false, true] {
        let inside: Vec<String> = all()
            .filter(|(_, field)| field.shape == Shape::Oneof(which))
            .map(|(number, field)| format!("{} f{number} = {number};", field.kind))
            .collect();
        if !inside.is_empty() {
            body.push(format!("oneof o{} {{ {} }}", u8::from(which), inside.join(" ")));
        }
    }
    format!(
        "syntax = \"proto3\"; enum E {{ Z = 0; Y = 1; X = 7; }} message N {{ int32 n = 1; string s = 2; }} message M {{ {} }}",
        body.join(" ")
    )
}

fn pool(schema: &ProtobufSchema) -> DescriptorPool {
    DescriptorPool::decode(schema.descriptor_set().unwrap().as_slice()).unwrap()
}

fn single(kind: &Kind, seed: u64) -> Value {
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "any value will do")]
    match kind {
        Kind::Double => Value::F64(seed as f64),
        Kind::Float => Value::F32(seed as f32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(seed as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(seed as i64),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(seed as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(seed),
        Kind::Bool => Value::Bool(seed % 2 == 1),
        Kind::String => Value::String(format!("ü{seed}")),
        // Bytes that are text: the rules allow one to become the other.
        Kind::Bytes => Value::Bytes(Bytes::from(format!("é{seed}"))),
        Kind::Enum(_) => Value::EnumNumber([0, 1, 7][(seed % 3) as usize]),
        Kind::Message(message) => {
            let mut value = DynamicMessage::new(message.clone());
            value.set_field_by_name("n", Value::I32(seed as i32));
            value.set_field_by_name("s", Value::String(seed.to_string()));
            Value::Message(value)
        }
    }
}

fn value(field: &FieldDescriptor, seed: u64) -> Value {
    if field.is_map() {
        let entry = field.kind().as_message().unwrap().clone();
        let kind = entry.map_entry_value_field().kind();
        let pairs = (0..seed % 3).map(|n| (MapKey::String(n.to_string()), single(&kind, seed ^ n)));
        return Value::Map(pairs.collect());
    }
    if field.is_list() {
        return Value::List((0..seed % 4).map(|n| single(&field.kind(), seed ^ n)).collect());
    }
    single(&field.kind(), seed)
}

/// A value in words: those of two pools of descriptors are never equal as they are.
fn spelled(value: &Value) -> String {
    let Value::Map(map) = value else { return format!("{value:?}") };
    let mut pairs: Vec<String> = map.iter().map(|pair| format!("{pair:?}")).collect();
    pairs.sort();
    pairs.concat()
}

#[test]
fn what_is_compatible_reads() {
    let (compatible, incompatible, read_same) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
    let cases = (versions(), prop::collection::vec(any::<u64>(), 6));
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 150, ..ProptestConfig::with_source_file(file!()) });
    let ran = runner.run(&cases, |((old, new), seeds)| {
        let parse = |fields: &Fields| ProtobufSchema::parse(&text(fields), &[], Strictness::Fresh).unwrap();
        let (old_schema, new_schema) = (parse(&old), parse(&new));
        if !new_schema.reads(&old_schema).unwrap().is_empty() {
            count(&incompatible);
            return Ok(());
        }
        // A schema reads itself: that is no news.
        if text(&old) != text(&new) {
            count(&compatible);
        }
        let (writer, reader) = (pool(&old_schema), pool(&new_schema));
        let mut written = DynamicMessage::new(writer.get_message_by_name("M").unwrap());
        let fields: Vec<FieldDescriptor> = written.descriptor().fields().collect();
        for (field, seed) in fields.iter().zip(&seeds) {
            written.set_field(field, value(field, *seed));
        }
        let bytes = written.encode_to_vec();
        let read = DynamicMessage::decode(reader.get_message_by_name("M").unwrap(), bytes.as_slice());
        prop_assert!(read.is_ok(), "{:?}\n{}\n{}", read, text(&old), text(&new));
        let read = read.unwrap();
        for field in fields {
            let Some(same) = read.descriptor().get_field(field.number()) else { continue };
            let number = usize::try_from(field.number() - 1).unwrap();
            let (Some(before), Some(after)) = (&old[number], &new[number]) else { continue };
            if before.kind == after.kind && written.has_field(&field) && before.shape == after.shape {
                prop_assert!(
                    spelled(&read.get_field(&same)) == spelled(&written.get_field(&field)),
                    "{}\n{}",
                    text(&old),
                    text(&new)
                );
                count(&read_same);
            }
        }
        Ok(())
    });
    ran.unwrap_or_else(|failed| panic!("{failed}"));
    let counts = (compatible.get(), incompatible.get(), read_same.get());
    println!("compatible, incompatible, fields read: {counts:?}");
    assert!(counts.0 > 15 && counts.1 > 15 && counts.2 > 60, "the test saw too little: {counts:?}");
}
