//! What an independent implementation reads is what the columns hold, for any schema, any message and any
//! bytes.

#![expect(clippy::unwrap_used, reason = "what cannot be built here fails the test")]

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _,
    Value as Proto,
};
use tidegate_codec::{
    Plan, PlanOptions, ProtobufMessages, SchemaKey, WireFormat, WriterSchema, WriterSchemas,
    json_to_protobuf, protobuf_to_json, sample_protobuf,
};
use tidegate_core::{ReasonCode, Records, Reject, TopicPartition};
use tidegate_languages::Strictness;
use tidegate_languages::protobuf::ProtobufSchema;
use tidegate_native::{ColumnDefault, Table, TableColumn, Type, Value};
use tidegate_schema::Chance;

/// Mostly small, sometimes anything.
fn number(chance: &mut Chance) -> u64 {
    match chance.below(4) {
        0 => chance.draw(),
        1 => 0,
        2 => u64::MAX - chance.draw() % 3,
        _ => chance.draw() % 300,
    }
}

const SCALARS: [&str; 15] = [
    "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64",
    "float", "double", "bool", "string", "bytes",
];
const KEYS: [&str; 5] = ["string", "int32", "uint64", "sint64", "bool"];

/// A schema of messages `M0`, `M1` and so on, each of which holds only later ones.
fn schema(chance: &mut Chance, proto3: bool) -> String {
    let n_messages = 1 + chance.below(3);
    let mut text = format!("syntax = \"{}\";\n", if proto3 { "proto3" } else { "proto2" });
    text.push_str("enum E { ZERO = 0; ONE = 1; MINUS = -5; }\n");
    for message in 0..n_messages {
        writeln!(text, "message M{message} {{").unwrap();
        let mut number = 0;
        let mut next = |chance: &mut Chance| {
            number += 1 + if chance.below(6) == 0 { 500 + chance.below(2000) } else { chance.below(3) };
            number
        };
        for field in 0..1 + chance.below(7) {
            let kind = kind(chance, (message, n_messages));
            let at = next(chance);
            let single =
                if proto3 && (chance.below(2) == 0 || kind.starts_with('M')) { "" } else { "optional " };
            let line = match chance.below(8) {
                0 | 1 => format!("repeated {kind} f{field} = {at}"),
                2 => format!("map<{}, {kind}> f{field} = {at}", KEYS[chance.below(KEYS.len())]),
                3 => {
                    let other = self::kind(chance, (message, n_messages));
                    let second = next(chance);
                    format!("oneof o{field} {{ {kind} f{field} = {at}; {other} g{field} = {second}; }}")
                }
                _ => format!("{single}{kind} f{field} = {at}"),
            };
            let packed = line.starts_with("repeated")
                && !["string", "bytes"].contains(&&*kind)
                && !kind.starts_with('M');
            let end = match (packed, chance.below(3)) {
                (true, 0) => " [packed = true];",
                (true, 1) => " [packed = false];",
                _ if line.starts_with("oneof") => "",
                _ => ";",
            };
            writeln!(text, "  {line}{end}").unwrap();
        }
        if !proto3 && chance.below(3) == 0 {
            let at = next(chance);
            writeln!(
                text,
                "  optional group Group{message} = {at} {{ optional int32 a = 1; repeated string b = 2; }}"
            )
            .unwrap();
        }
        text.push_str("}\n");
    }
    text
}

fn kind(chance: &mut Chance, (message, n_messages): (usize, usize)) -> String {
    if message + 1 < n_messages && chance.below(3) == 0 {
        return format!("M{}", message + 1 + chance.below(n_messages - message - 1));
    }
    if chance.below(10) == 0 { "E".to_owned() } else { SCALARS[chance.below(SCALARS.len())].to_owned() }
}

fn message(chance: &mut Chance, descriptor: &MessageDescriptor) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if chance.below(4) == 0 {
            continue;
        }
        let value = if field.is_map() {
            let entry = field.kind().as_message().unwrap().clone();
            let pairs = (0..chance.below(4)).map(|_| {
                let key = value(chance, &entry.map_entry_key_field()).into_map_key().unwrap();
                (key, value(chance, &entry.map_entry_value_field()))
            });
            Proto::Map(pairs.collect())
        } else if field.is_list() {
            Proto::List((0..chance.below(4)).map(|_| value(chance, &field)).collect())
        } else {
            value(chance, &field)
        };
        message.set_field(&field, value);
    }
    message
}

fn value(chance: &mut Chance, field: &FieldDescriptor) -> Proto {
    let number = number(chance);
    match field.kind() {
        Kind::Double => Proto::F64(number as f64 / 7.0),
        Kind::Float => Proto::F32(number as f32 / 3.0),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Proto::I32(number as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Proto::I64(number as i64),
        Kind::Uint32 | Kind::Fixed32 => Proto::U32(number as u32),
        Kind::Uint64 | Kind::Fixed64 => Proto::U64(number),
        Kind::Bool => Proto::Bool(number.is_multiple_of(2)),
        Kind::String => Proto::String(format!("text {}", number % 5)),
        Kind::Bytes => Proto::Bytes(number.to_be_bytes()[..chance.below(9)].to_vec().into()),
        Kind::Message(inner) => Proto::Message(message(chance, &inner)),
        Kind::Enum(_) => Proto::EnumNumber([0, 1, -5][chance.below(3)]),
    }
}

/// The column that takes a field exactly.
fn column(field: &FieldDescriptor) -> String {
    let one = |field: &FieldDescriptor| match field.kind() {
        Kind::Double => "Float64".to_owned(),
        Kind::Float => "Float32".to_owned(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Enum(_) => "Int32".to_owned(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "Int64".to_owned(),
        Kind::Uint32 | Kind::Fixed32 => "UInt32".to_owned(),
        Kind::Uint64 | Kind::Fixed64 => "UInt64".to_owned(),
        Kind::Bool => "Bool".to_owned(),
        Kind::String | Kind::Bytes => "String".to_owned(),
        Kind::Message(inner) => {
            let parts = inner.fields().map(|field| format!("{} {}", field.name(), column(&field)));
            format!("Tuple({})", parts.collect::<Vec<_>>().join(", "))
        }
    };
    if field.is_map() {
        let entry = field.kind().as_message().unwrap().clone();
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        format!("Map({}, {})", one(&key), one(&value))
    } else if field.is_list() {
        format!("Array({})", one(field))
    } else if field.supports_presence() && field.kind().as_message().is_none() {
        format!("Nullable({})", one(field))
    } else {
        one(field)
    }
}

/// What the column of a field must hold; `None` for a message that was not written.
fn expected(field: &FieldDescriptor, message: Option<&DynamicMessage>) -> Value {
    let held = message.filter(|message| !field.supports_presence() || message.has_field(field));
    let Some(message) = held else {
        return match field.kind() {
            _ if field.is_map() => Value::Map(Vec::new()),
            _ if field.is_list() => Value::Array(Vec::new()),
            Kind::Message(inner) => {
                Value::Tuple(inner.fields().map(|field| expected(&field, None)).collect())
            }
            _ if field.supports_presence() => Value::Null,
            _ => converted(&field.default_value()),
        };
    };
    sorted(converted(&message.get_field(field)))
}

fn converted(value: &Proto) -> Value {
    match value {
        Proto::Bool(value) => Value::UInt(u64::from(*value)),
        Proto::I32(value) | Proto::EnumNumber(value) => Value::Int(i64::from(*value)),
        Proto::I64(value) => Value::Int(*value),
        Proto::U32(value) => Value::UInt(u64::from(*value)),
        Proto::U64(value) => Value::UInt(*value),
        Proto::F32(value) => Value::Float(f64::from(*value)),
        Proto::F64(value) => Value::Float(*value),
        Proto::String(value) => Value::Bytes(value.clone().into_bytes()),
        Proto::Bytes(value) => Value::Bytes(value.to_vec()),
        Proto::Message(message) => {
            Value::Tuple(message.descriptor().fields().map(|field| expected(&field, Some(message))).collect())
        }
        Proto::List(items) => Value::Array(items.iter().map(converted).collect()),
        Proto::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| {
                let key = match key {
                    MapKey::Bool(key) => Value::UInt(u64::from(*key)),
                    MapKey::I32(key) => Value::Int(i64::from(*key)),
                    MapKey::I64(key) => Value::Int(*key),
                    MapKey::U32(key) => Value::UInt(u64::from(*key)),
                    MapKey::U64(key) => Value::UInt(*key),
                    MapKey::String(key) => Value::Bytes(key.clone().into_bytes()),
                };
                (key, converted(value))
            });
            Value::Map(pairs.collect())
        }
    }
}

/// Maps in one order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Map(pairs) => {
            let mut pairs: Vec<(Value, Value)> =
                pairs.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            pairs.sort_by_key(|(key, _)| format!("{key:?}"));
            Value::Map(pairs)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Tuple(items) => Value::Tuple(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// One schema, read by both.
struct Case {
    text: String,
    ours: Arc<ProtobufMessages>,
    theirs: MessageDescriptor,
}

impl Case {
    fn new(chance: &mut Chance) -> Self {
        let proto3 = chance.below(2) == 0;
        let text = schema(chance, proto3);
        let schema = ProtobufSchema::parse(&text, &[], Strictness::Fresh)
            .unwrap_or_else(|error| panic!("{error}:\n{text}"));
        let pool = DescriptorPool::decode(schema.descriptor_set().unwrap().as_slice()).unwrap();
        let theirs = pool.get_message_by_name("M0").unwrap();
        Self { text, ours: Arc::new(ProtobufMessages::new(&schema).unwrap()), theirs }
    }

    /// The row's values, and how a record becomes one.
    fn row(&self, bytes: &[u8]) -> Result<Vec<Value>, Box<Reject>> {
        let columns: Vec<(String, String)> =
            self.theirs.fields().map(|field| (field.name().to_owned(), column(&field))).collect();
        let plan = self.plan(&columns);
        let mut block = plan.block();
        let source = TopicPartition::new("t", 0);
        let mut records = Records::new(source.clone());
        let value = [&[0, 0, 0, 0, 1, 0], bytes].concat();
        records.push(0, None, None, Some(&value), []);
        let appended = plan.append(&mut block, &source, &records.get(0).unwrap());
        if let Err(reject) = appended {
            assert_eq!(block.rows(), 0);
            let mut native = Vec::new();
            block.encode(&mut native);
            return Err(reject);
        }
        let values = columns.iter().map(|(name, _)| sorted(block.column(name).unwrap().value(0).unwrap()));
        Ok(values.collect())
    }

    fn plan(&self, columns: &[(String, String)]) -> Plan {
        let columns = columns.iter().map(|(name, ty)| TableColumn {
            name: name.clone(),
            ty: Type::parse(ty).unwrap(),
            default: ColumnDefault::None,
        });
        let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.collect() };
        let writers = WriterSchemas::default();
        writers.insert(SchemaKey::Id(1), WriterSchema::Protobuf(Arc::clone(&self.ours)));
        Plan::of_writers(&table, &WireFormat::Protobuf, &writers, &PlanOptions::default()).unwrap()
    }

    /// Both read the bytes alike: the same row, or none.
    fn check(&self, bytes: &[u8]) -> Result<(), TestCaseError> {
        let found = self.row(bytes);
        match DynamicMessage::decode(self.theirs.clone(), bytes) {
            Ok(message) => {
                // The reference takes a map's entry for one whatever wire type it has.
                if let Err(reject) = &found
                    && self.text.contains("map<")
                    && reject.reason().expected == "wire type 2 (a length and bytes)"
                {
                    return Ok(());
                }
                let expected: Vec<Value> =
                    self.theirs.fields().map(|field| expected(&field, Some(&message))).collect();
                prop_assert!(found.is_ok(), "{:?} refused, of {:?}:\n{}", found, message, self.text);
                prop_assert_eq!(format!("{:?}", found.unwrap()), format!("{expected:?}"), "{}", self.text);
            }
            Err(error) => {
                let Err(reject) = found else {
                    return Err(TestCaseError::fail(format!(
                        "{error}: {found:?}, {bytes:?}:\n{}",
                        self.text
                    )));
                };
                let code = reject.reason().code;
                let codes = [ReasonCode::NotProtobuf, ReasonCode::NotUtf8, ReasonCode::TooLarge];
                prop_assert!(codes.contains(&code), "{}", reject);
            }
        }
        Ok(())
    }
}

/// Some bytes changed, taken out, put in, or cut off.
fn damaged(chance: &mut Chance, bytes: &[u8]) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for _ in 0..=chance.below(3) {
        let at = chance.below(damaged.len() + 1);
        match chance.below(5) {
            0 => damaged.truncate(at),
            1 => damaged.insert(at, chance.draw() as u8),
            2 if at < damaged.len() => drop(damaged.remove(at)),
            _ if at < damaged.len() => damaged[at] = chance.draw() as u8 >> chance.below(8),
            _ => {}
        }
    }
    damaged
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn columns_hold_what_was_written(seed in any::<u64>()) {
        let mut chance = Chance::new(seed);
        let case = Case::new(&mut chance);
        for _ in 0..4 {
            let written = message(&mut chance, &case.theirs).encode_to_vec();
            case.check(&written)?;
        }
    }

    #[test]
    fn messages_behind_one_another_are_merged(seed in any::<u64>()) {
        let mut chance = Chance::new(seed);
        let case = Case::new(&mut chance);
        let parts: Vec<Vec<u8>> =
            (0..2 + chance.below(2)).map(|_| message(&mut chance, &case.theirs).encode_to_vec()).collect();
        case.check(&parts.concat())?;
    }

    #[test]
    fn damaged_messages_are_refused_where_they_are_no_messages(seed in any::<u64>()) {
        let mut chance = Chance::new(seed);
        let case = Case::new(&mut chance);
        let written = message(&mut chance, &case.theirs).encode_to_vec();
        for _ in 0..12 {
            let bytes = damaged(&mut chance, &written);
            case.check(&bytes)?;
        }
    }

    #[test]
    fn json_that_was_protobuf_is_the_same_protobuf_again(seed in any::<u64>()) {
        let mut chance = Chance::new(seed);
        let case = Case::new(&mut chance);
        let written = message(&mut chance, &case.theirs);
        let bytes = written.encode_to_vec();
        let written = DynamicMessage::decode(case.theirs.clone(), bytes.as_slice()).unwrap();
        let framed = [&[0], bytes.as_slice()].concat();
        let text = protobuf_to_json(&case.ours, None, &framed);
        prop_assert!(text.is_ok(), "{:?}", text);
        let text = text.unwrap();
        let again = json_to_protobuf(&case.ours, &[0], &text);
        prop_assert!(again.is_ok(), "{}: {:?}", text, again);
        let again = DynamicMessage::decode(case.theirs.clone(), &again.unwrap()[1..]).unwrap();
        prop_assert!(again == written, "{}\n{}", text, case.text);
    }

    #[test]
    fn a_sample_is_a_message_of_its_schema(seed in any::<u64>()) {
        let mut chance = Chance::new(seed);
        let case = Case::new(&mut chance);
        for _ in 0..4 {
            let before = chance.clone();
            let text = sample_protobuf(&case.ours, &[0], &mut chance).unwrap();
            let written = json_to_protobuf(&case.ours, &[0], &text);
            prop_assert!(written.is_ok(), "{}: {:?}\n{}", text, written, case.text);
            case.check(&written.unwrap()[1..])?;
            prop_assert_eq!(sample_protobuf(&case.ours, &[0], &mut before.clone()).unwrap(), text);
        }
    }

    #[test]
    fn the_columns_of_a_schema_take_every_message_of_it(seed in any::<u64>()) {
        let mut chance = Chance::new(seed);
        let case = Case::new(&mut chance);
        let schema = WriterSchema::Protobuf(Arc::clone(&case.ours));
        let columns: Vec<(String, String)> = schema
            .columns(&PlanOptions::default())
            .into_iter()
            .map(|column| (column.name, column.ty.to_string()))
            .collect();
        let plan = case.plan(&columns);
        let mut block = plan.block();
        let source = TopicPartition::new("t", 0);
        let mut records = Records::new(source.clone());
        for at in 0..4 {
            let written = message(&mut chance, &case.theirs).encode_to_vec();
            let value = [&[0, 0, 0, 0, 1, 0], written.as_slice()].concat();
            records.push(at, None, None, Some(&value), []);
        }
        for record in records.iter() {
            let appended = plan.append(&mut block, &source, &record);
            prop_assert!(appended.is_ok(), "{:?}: {:?}\n{}", appended, columns, case.text);
            prop_assert_eq!(appended.unwrap().dropped_fields, 0, "{:?}\n{}", columns, case.text);
        }
        let mut native = Vec::new();
        block.encode(&mut native);
        prop_assert_eq!(tidegate_native::read_blocks(&native).unwrap()[0].rows, 4);
    }
}
