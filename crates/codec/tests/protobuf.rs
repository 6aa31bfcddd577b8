//! Protobuf by hand: what single bytes become, and how what is wrong is told.

#![expect(clippy::unwrap_used, reason = "what cannot be built here fails the test")]

use std::sync::Arc;

use tidegate_codec::{
    Block, Plan, PlanOptions, ProtobufMessages, SchemaKey, UnknownFields, WireFormat, WriterSchema,
    WriterSchemas, json_to_protobuf, message_indexes, protobuf_to_json,
};
use tidegate_core::{Header, ReasonCode, Records, Reject, TopicPartition};
use tidegate_languages::Strictness;
use tidegate_languages::protobuf::ProtobufSchema;
use tidegate_native::{Column, ColumnDefault, Table, TableColumn, Type, Value};

fn messages(text: &str) -> Arc<ProtobufMessages> {
    let schema = ProtobufSchema::parse(text, &[], Strictness::Fresh).unwrap();
    Arc::new(ProtobufMessages::new(&schema).unwrap())
}

struct Setup {
    plan: Plan,
}

impl Setup {
    fn new(schema: &str, columns: &[(&str, &str)]) -> Self {
        Self::with(schema, columns, &PlanOptions::default())
    }

    fn with(schema: &str, columns: &[(&str, &str)], options: &PlanOptions) -> Self {
        let columns = columns.iter().map(|(name, ty)| TableColumn {
            name: (*name).to_owned(),
            ty: Type::parse(ty).unwrap(),
            default: ColumnDefault::None,
        });
        let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.collect() };
        let writers = WriterSchemas::default();
        writers.insert(SchemaKey::Id(1), WriterSchema::Protobuf(messages(schema)));
        let plan = Plan::of_writers(&table, &WireFormat::Protobuf, &writers, options).unwrap();
        Self { plan }
    }

    fn append(&self, block: &mut Block, value: &[u8], header: Option<&[u8]>) -> Result<u32, Box<Reject>> {
        let source = TopicPartition::new("t", 0);
        let mut records = Records::new(source.clone());
        let headers = header.map(|value| Header { name: "__value_schema_id", value: Some(value) });
        records.push(0, None, None, Some(value), headers);
        let appended = self.plan.append(block, &source, &records.get(0).unwrap())?;
        Ok(appended.dropped_fields)
    }

    /// The first column's value of a message of the first type.
    fn first(&self, message: &[u8]) -> Result<Value, Box<Reject>> {
        let mut block = self.plan.block();
        self.append(&mut block, &[&[0, 0, 0, 0, 1, 0], message].concat(), None)?;
        let name = block.columns()[0].clone();
        Ok(block.column(&name).unwrap().value(0).unwrap())
    }

    fn refused(&self, message: &[u8]) -> Box<Reject> {
        let mut block = self.plan.block();
        let reject = self.append(&mut block, &[&[0, 0, 0, 0, 1, 0], message].concat(), None).unwrap_err();
        assert!(block.columns().iter().all(|name| block.column(name).is_some_and(Column::is_empty)));
        reject
    }
}

fn text(value: &str) -> Value {
    Value::Bytes(value.as_bytes().to_vec())
}

#[track_caller]
fn check(field: &str, column: &str, message: &[u8], expected: &Value) {
    let schema = format!(
        "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/duration.proto\";\
         import \"google/protobuf/wrappers.proto\"; import \"google/protobuf/struct.proto\";\
         import \"google/protobuf/any.proto\"; import \"google/protobuf/field_mask.proto\";\
         import \"google/type/date.proto\"; import \"google/type/decimal.proto\"; import \"confluent/type/decimal.proto\";\
         enum E {{ ZERO = 0; ONE = 1; MINUS = -1; }} message M {{ {field}; }}\
         message N {{ int32 a = 1; string b = 2; }}"
    );
    let setup = Setup::new(&schema, &[("f", column)]);
    let found = setup.first(message).unwrap_or_else(|reject| panic!("{reject}"));
    assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{field} into {column}");
}

#[track_caller]
fn check_refused(field: &str, column: &str, message: &[u8], code: ReasonCode) -> Box<Reject> {
    let schema = format!(
        "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/struct.proto\";\
         enum E {{ ZERO = 0; ONE = 1; }} message M {{ {field}; }} message N {{ int32 a = 1; string b = 2; }}"
    );
    let reject = Setup::new(&schema, &[("f", column)]).refused(message);
    assert_eq!(reject.reason().code, code, "{reject}");
    reject
}

#[test]
fn integers_go_where_they_fit_and_nowhere_else() {
    check(
        "int32 f = 1",
        "Int32",
        &[8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
        &Value::Int(-1),
    );
    check("sint32 f = 1", "Int8", &[8, 3], &Value::Int(-2));
    let max = [8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
    check("uint64 f = 1", "UInt64", &max, &Value::UInt(u64::MAX));
    check("uint64 f = 1", "Int128", &max, &Value::Int128(u64::MAX.into()));
    check("uint64 f = 1", "Decimal(20, 0)", &max, &Value::Int128(u64::MAX.into()));
    check_refused("uint64 f = 1", "Int64", &max, ReasonCode::OutOfRange);
    check_refused("int32 f = 1", "UInt8", &[8, 0x80, 2], ReasonCode::OutOfRange);
    check("fixed32 f = 1", "UInt16", &[13, 7, 0, 0, 0], &Value::UInt(7));
    check("sfixed64 f = 1", "Int64", &[9, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], &Value::Int(-2));
    check("int64 f = 1", "LowCardinality(Int64)", &[8, 9], &Value::Int(9));
}

#[test]
fn what_was_not_written_is_zero_or_null_as_the_schema_says() {
    check("int32 f = 1", "Int32", &[], &Value::Int(0));
    check("int32 f = 1", "Nullable(Int32)", &[], &Value::Int(0));
    check("optional int32 f = 1", "Nullable(Int32)", &[], &Value::Null);
    check("optional int32 f = 1", "Nullable(Int32)", &[8, 0], &Value::Int(0));
    check("string f = 1", "Nullable(UUID)", &[], &Value::Null);
    check("string f = 1", "LowCardinality(String)", &[], &text(""));
    check("E f = 1", "Enum8('ONE' = 1, 'ZERO' = 2)", &[], &Value::Int(2));
    check("repeated int32 f = 1", "Array(Int32)", &[], &Value::Array(vec![]));
    let reject = check_refused("optional int32 f = 1", "Int32", &[], ReasonCode::MissingRequired);
    assert_eq!(reject.reason().path, "/f");
    let proto2 = "syntax = \"proto2\"; message M { optional int32 f = 1 [default = 7]; }";
    assert_eq!(Setup::new(proto2, &[("f", "Int32")]).first(&[]).unwrap(), Value::Int(7));
    assert_eq!(Setup::new(proto2, &[("f", "Nullable(Int32)")]).first(&[]).unwrap(), Value::Null);
    let required = "syntax = \"proto2\"; message M { required int32 f = 1; }";
    let reject = Setup::new(required, &[("f", "Nullable(Int32)")]).refused(&[]);
    assert_eq!(reject.reason().code, ReasonCode::MissingRequired);
}

#[test]
fn enumerations_are_names_or_numbers_and_a_number_without_a_name_is_told() {
    check("E f = 1", "String", &[8, 1], &text("ONE"));
    check("E f = 1", "LowCardinality(String)", &[8, 1], &text("ONE"));
    check("E f = 1", "Int8", &[8, 9], &Value::Int(9));
    let minus = [8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
    check("E f = 1", "Nullable(String)", &minus, &text("MINUS"));
    for column in ["String", "LowCardinality(String)", "Enum8('ZERO' = 0, 'ONE' = 1)"] {
        let reject = check_refused("E f = 1", column, &[8, 9], ReasonCode::BadEnum);
        assert_eq!((reject.reason().found.as_str(), reject.reason().path.as_str()), ("9", "/f"));
    }
    check_refused("E f = 1", "Enum8('ZERO' = 0)", &[8, 1], ReasonCode::BadEnum);
}

#[test]
fn times_dates_and_decimals_are_values_of_their_own() {
    let timestamp = [10, 8, 8, 0x80, 0xE2, 0xCF, 0xAA, 6, 16, 5];
    let seconds = 1_700_000_000_i64;
    assert_eq!(
        timestamp[3..8].iter().rev().fold(0_i64, |all, byte| all << 7 | i64::from(byte & 0x7F)),
        seconds
    );
    let field = "google.protobuf.Timestamp f = 1";
    check(field, "DateTime64(9, 'UTC')", &timestamp, &Value::Int(seconds * 1_000_000_000 + 5));
    check(field, "Nullable(DateTime64(9, 'UTC'))", &[], &Value::Null);
    check(field, "String", &timestamp, &text("2023-11-14T22:13:20.000000005Z"));
    check(field, "DateTime", &timestamp[..8].with(1, 6), &Value::UInt(1_700_000_000));
    check_refused(field, "DateTime64(3, 'UTC')", &timestamp, ReasonCode::OutOfRange);
    let negative = [&[10, 11, 16][..], &[0xFF; 9], &[1]].concat();
    check_refused(field, "String", &negative, ReasonCode::BadTimestamp);
    check(
        "google.protobuf.Duration f = 1",
        "Decimal(21, 9)",
        &[10, 7, 8, 1, 16, 0x80, 0xE1, 0xEB, 0x17],
        &Value::Int128(1_050_000_000),
    );
    check("google.protobuf.Duration f = 1", "String", &[10, 2, 8, 90], &text("90s"));
    check("google.type.Date f = 1", "Date32", &[10, 7, 8, 0xB2, 0x0F, 16, 1, 24, 2], &Value::Int(1));
    check_refused_date();
    check(
        "google.type.Decimal f = 1",
        "Decimal(9, 2)",
        &[10, 6, 10, 4, b'1', b'2', b'.', b'5'],
        &Value::Int(1250),
    );
    check(
        "confluent.type.Decimal f = 1",
        "Decimal(9, 3)",
        &[10, 6, 10, 2, 0x04, 0xE2, 24, 2],
        &Value::Int(12_500),
    );
    check("google.protobuf.Int64Value f = 1", "Nullable(Int64)", &[10, 0], &Value::Int(0));
    check("google.protobuf.Int64Value f = 1", "Nullable(Int64)", &[10, 2, 8, 5], &Value::Int(5));
    check("google.protobuf.Int64Value f = 1", "Nullable(Int64)", &[], &Value::Null);
    check("google.protobuf.FieldMask f = 1", "String", &[10, 6, 10, 1, b'a', 10, 1, b'b'], &text("a,b"));
}

fn check_refused_date() {
    let schema =
        "syntax = \"proto3\"; import \"google/type/date.proto\"; message M { google.type.Date f = 1; }";
    let reject = Setup::new(schema, &[("f", "Date32")]).refused(&[10, 2, 8, 1]);
    assert_eq!(reject.reason().code, ReasonCode::BadTimestamp, "{reject}");
}

/// Bytes with one of them changed.
trait With {
    fn with(&self, at: usize, byte: u8) -> Vec<u8>;
}

impl With for [u8] {
    fn with(&self, at: usize, byte: u8) -> Vec<u8> {
        let mut bytes = self.to_vec();
        bytes[at] = byte;
        bytes
    }
}

#[test]
fn any_json_is_text() {
    let field = "google.protobuf.Struct f = 1";
    // {"a": [1.5, null]}
    let list = [&[50, 15, 10, 9, 17][..], &1.5_f64.to_le_bytes(), &[10, 2, 8, 0]].concat();
    let entry = [&[10, 1, b'a', 18, list.len() as u8][..], &list].concat();
    let body = [&[10, entry.len() as u8][..], &entry].concat();
    let message = [&[10, body.len() as u8][..], &body].concat();
    check(field, "String", &message, &text("{\"a\":[1.5,null]}"));
    check(field, "JSON", &message, &text("{\"a\":[1.5,null]}"));
    check("google.protobuf.Value f = 1", "String", &[10, 3, 26, 1, b'x'], &text("\"x\""));
    check_refused("google.protobuf.Value f = 1", "JSON", &[10, 3, 26, 1, b'x'], ReasonCode::WrongType);
    let any = [10, 6, 10, 1, b'u', 18, 1, 0xFF];
    check("google.protobuf.Any f = 1", "String", &any, &text("{\"@type\":\"u\",\"value\":\"/w==\"}"));
    check("map<string, int32> f = 1", "JSON", &[10, 5, 10, 1, b'k', 16, 7], &text("{\"k\":7}"));
    check("N f = 1", "JSON", &[10, 2, 8, 3], &text("{\"a\":3,\"b\":\"\"}"));
}

#[test]
fn repeated_fields_are_read_packed_or_not_and_maps_keep_the_last_value() {
    let array = |items: &[i64]| Value::Array(items.iter().map(|item| Value::Int(*item)).collect());
    for field in ["repeated int32 f = 1", "repeated int32 f = 1 [packed = false]"] {
        check(field, "Array(Int32)", &[8, 1, 10, 2, 2, 3, 8, 4], &array(&[1, 2, 3, 4]));
    }
    let map = |pairs: &[(&str, i64)]| {
        Value::Map(pairs.iter().map(|(key, value)| (text(key), Value::Int(*value))).collect())
    };
    let field = "map<string, int32> f = 1";
    check(
        field,
        "Map(LowCardinality(String), Int32)",
        &[10, 5, 10, 1, b'k', 16, 7, 10, 2, 16, 1],
        &map(&[("k", 7), ("", 1)]),
    );
    check(
        field,
        "Map(String, Int32)",
        &[10, 5, 10, 1, b'k', 16, 7, 10, 5, 16, 8, 10, 1, b'k'],
        &map(&[("k", 8)]),
    );
}

#[test]
fn a_repeated_field_and_a_column_that_is_no_array_are_refused_only_where_they_meet() {
    check("repeated int32 f = 1", "Nullable(Int32)", &[], &Value::Null);
    check("map<string, int32> f = 1", "Nullable(String)", &[], &Value::Null);
    check_refused("repeated int32 f = 1", "Nullable(Int32)", &[8, 1], ReasonCode::WrongType);
    check_refused("repeated int32 f = 1", "Int32", &[], ReasonCode::MissingRequired);
    let schema = "syntax = \"proto3\"; message M { N one = 1; } message N { int32 a = 1; }";
    let setup = Setup::new(schema, &[("one.a", "Array(Int32)")]);
    assert_eq!(setup.first(&[]).unwrap(), Value::Array(vec![]));
    assert_eq!(setup.refused(&[10, 2, 8, 1]).reason().code, ReasonCode::WrongType);
}

#[test]
fn the_last_value_counts_and_messages_are_merged() {
    let schema = "syntax = \"proto3\"; message M { int32 x = 1; N n = 2; oneof o { int32 p = 3; N q = 4; } }\
                  message N { int32 a = 1; string b = 2; repeated int32 c = 3; }";
    let columns = [
        ("x", "Int32"),
        ("n__a", "Int32"),
        ("n__b", "String"),
        ("n__c", "Array(Int32)"),
        ("p", "Nullable(Int32)"),
        ("q__a", "Nullable(Int32)"),
    ];
    let setup = Setup::new(schema, &columns);
    let mut block = setup.plan.block();
    let message = [8, 1, 18, 4, 8, 1, 24, 5, 24, 9, 8, 2, 18, 5, 18, 1, b'b', 24, 6, 34, 2, 8, 9];
    // `p` first, then `q`: only `q` is set. `n` comes twice and is merged.
    setup.append(&mut block, &[&[0, 0, 0, 0, 1, 0], &message[..]].concat(), None).unwrap();
    let value = |block: &Block, name: &str| block.column(name).unwrap().value(0).unwrap();
    assert_eq!(value(&block, "x"), Value::Int(2));
    assert_eq!(value(&block, "n__a"), Value::Int(1));
    assert_eq!(value(&block, "n__b"), text("b"));
    assert_eq!(value(&block, "n__c"), Value::Array(vec![Value::Int(5), Value::Int(6)]));
    assert_eq!((value(&block, "p"), value(&block, "q__a")), (Value::Null, Value::Int(9)));
}

#[test]
fn messages_go_into_flat_columns_tuples_and_nested_arrays() {
    let schema = "syntax = \"proto3\"; message M { N one = 1; repeated N many = 2; repeated N tuples = 3; }\
                  message N { int32 a = 1; string b = 2; }";
    let columns = [
        ("one__a", "Int32"),
        ("one__b", "Nullable(String)"),
        ("many.a", "Array(Int32)"),
        ("many.b", "Array(String)"),
        ("tuples", "Array(Tuple(b String, a Int32))"),
    ];
    let setup = Setup::new(schema, &columns);
    let mut block = setup.plan.block();
    let message = [18, 2, 8, 1, 26, 3, 18, 1, b'x', 18, 3, 18, 1, b'y'];
    setup.append(&mut block, &[&[0, 0, 0, 0, 1, 0], &message[..]].concat(), None).unwrap();
    let value = |name: &str| block.column(name).unwrap().value(0).unwrap();
    // `one` was not written: what can be NULL is.
    assert_eq!((value("one__a"), value("one__b")), (Value::Int(0), Value::Null));
    assert_eq!(value("many.a"), Value::Array(vec![Value::Int(1), Value::Int(0)]));
    assert_eq!(value("many.b"), Value::Array(vec![text(""), text("y")]));
    assert_eq!(value("tuples"), Value::Array(vec![Value::Tuple(vec![text("x"), Value::Int(0)])]));
}

#[test]
fn broken_bytes_are_refused_with_their_place() {
    let found = |message: &[u8], code| {
        let reject = check_refused("N f = 1", "Tuple(a Int32, b String)", message, code);
        let reason = reject.reason();
        (reason.path.clone(), reason.expected.clone(), reason.found.clone())
    };
    let not = ReasonCode::NotProtobuf;
    let (path, expected, what) = found(&[10, 2, 8, 0x80], not);
    assert_eq!((path.as_str(), expected.as_str()), ("/f/a", "a number of at most 64 bits"));
    assert_eq!(what, "the message's end at byte 3");
    let (path, expected, what) = found(&[10, 2, 13, 1], not);
    assert_eq!(path, "/f/a");
    assert_eq!(expected, "wire type 0 (a number)");
    assert_eq!(what, "wire type 5 (four bytes) at byte 2");
    assert_eq!(found(&[10, 9, 8, 1], not).2, "9 with 2 bytes left at byte 1");
    assert_eq!(found(&[0], not).2, "number 0, wire type 0 at byte 0");
    assert_eq!(found(&[10, 3, 18, 1, 0xFF], ReasonCode::NotUtf8).0, "/f/b");
    let deep = "syntax = \"proto3\"; message M { M f = 1; int32 a = 2; }";
    let setup = Setup::new(deep, &[("f", "JSON")]);
    let nested = (0..200).fold(Vec::new(), |inner: Vec<u8>, _| {
        let length = message_indexes(&[inner.len()])[1..].to_vec();
        // A zig-zag number is twice the length.
        let length = length.iter().rev().fold(0_usize, |all, byte| all << 7 | usize::from(byte & 0x7F)) / 2;
        let mut head = vec![10];
        let mut rest = length;
        while rest >= 0x80 {
            head.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        head.push(rest as u8);
        [head, inner].concat()
    });
    assert_eq!(setup.refused(&nested).reason().code, ReasonCode::TooLarge);
}

#[test]
fn message_indexes_choose_the_message_in_the_value_or_in_the_header() {
    let schema = "syntax = \"proto3\"; message A { int32 a = 1; message B { int32 a = 1; message C { int32 a = 1; } } }\
                  message D { map<string, int32> m = 2; message E { int32 a = 1; } int32 a = 1; }";
    let types = messages(schema);
    assert_eq!(types.find("C"), Some(vec![0, 0, 0]));
    assert_eq!(types.find("D.E"), Some(vec![1, 0]));
    assert_eq!(types.find("X"), None);
    assert_eq!((message_indexes(&[0]), message_indexes(&[1, 0])), (vec![0], vec![4, 2, 0]));
    let setup = Setup::new(schema, &[("a", "Int32")]);
    for indexes in [&[0][..], &[2, 0], &[4, 0, 0], &[6, 0, 0, 0], &[2, 2], &[4, 2, 0]] {
        let mut block = setup.plan.block();
        setup.append(&mut block, &[&[0, 0, 0, 0, 1], indexes, &[8, 5]].concat(), None).unwrap();
        setup.append(&mut block, &[8, 5], Some(&[&[0, 0, 0, 0, 1], indexes].concat())).unwrap();
        assert_eq!(block.column("a"), Some(&Column::Int32(vec![5, 5])), "{indexes:?}");
    }
    for indexes in [&[2, 4][..], &[4, 0], &[1, 0], &[2, 1], &[0xFF, 0xFF, 0xFF, 0xFF, 15, 0], &[]] {
        let mut block = setup.plan.block();
        let reject = setup.append(&mut block, &[&[0, 0, 0, 0, 1], indexes].concat(), None).unwrap_err();
        assert_eq!(reject.reason().code, ReasonCode::NotProtobuf, "{indexes:?}");
    }
}

#[test]
fn fields_without_a_column_are_counted_collected_or_refused() {
    let schema = "syntax = \"proto3\"; message M { int32 f = 1; N n = 2; repeated int32 r = 3; } message N { int32 a = 1; int32 z = 9; }";
    let columns = [("f", "Int32"), ("n__a", "Nullable(Int32)"), ("rest", "String")];
    let message = [8, 1, 18, 4, 8, 2, 72, 3, 24, 4, 24, 5, 0xA0, 6, 7];
    let value = [&[0, 0, 0, 0, 1, 0], &message[..]].concat();
    let options = |unknown_fields| PlanOptions { unknown_fields, ..PlanOptions::default() };
    let setup = Setup::with(schema, &columns[..2], &options(UnknownFields::Drop));
    let mut block = setup.plan.block();
    assert_eq!(setup.append(&mut block, &value, None).unwrap(), 4);
    let paths: Vec<String> = block.take_dropped().into_iter().map(|dropped| dropped.path).collect();
    assert_eq!(paths, ["/100", "/n/z", "/r"]);
    let collect = options(UnknownFields::Collect { column: "rest".to_owned() });
    let setup = Setup::with(schema, &columns, &collect);
    let mut block = setup.plan.block();
    assert_eq!(setup.append(&mut block, &value, None).unwrap(), 1);
    assert_eq!(block.column("rest").unwrap().value(0).unwrap(), text("{\"n\":{\"z\":3},\"r\":[4,5]}"));
    let setup = Setup::with(schema, &columns[..2], &options(UnknownFields::Reject));
    let reject = setup.append(&mut setup.plan.block(), &value, None).unwrap_err();
    assert_eq!((reject.reason().code, reject.reason().path.as_str()), (ReasonCode::ExtraField, "/n/z"));
}

#[test]
fn what_people_type_is_read_and_what_is_wrong_is_named() {
    let types = messages(
        "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; enum E { ZERO = 0; ONE = 1; }\
         message M { int64 big_id = 1; E state = 2; google.protobuf.Timestamp at = 3; map<string, bytes> m = 4;\
         oneof o { string a = 5; string b = 6; } repeated double d = 7; }",
    );
    let typed = r#"{"bigId": "7", "state": "ONE", "at": "2024-01-01T00:00:00Z", "m": {"k": "/w=="}, "a": "x", "d": [1, "NaN"]}"#;
    let bytes = json_to_protobuf(&types, &[0], typed).unwrap();
    let shown = protobuf_to_json(&types, None, &bytes).unwrap();
    assert_eq!(
        shown,
        r#"{"big_id":7,"state":"ONE","at":"2024-01-01T00:00:00Z","m":{"k":"/w=="},"a":"x","d":[1.0,"NaN"]}"#
    );
    let wrong = |typed: &str| json_to_protobuf(&types, &[0], typed).unwrap_err().to_string();
    assert_eq!(wrong(r#"{"state": "TWO"}"#), r#"field `/state`: expected one of ZERO, ONE, found "TWO""#);
    assert_eq!(wrong(r#"{"big_id": 1.5}"#), "field `/big_id`: expected `int64`, found 1.5");
    assert_eq!(wrong(r#"{"a": "x", "b": "y"}"#), r#"field `/b`: expected one of `a` and `b`, found "y""#);
    assert!(wrong(r#"{"c": 1}"#).starts_with("field `/c`: expected a field of `M`: big_id, state"));
}

#[test]
fn an_edition_says_what_cannot_tell_that_it_was_not_written_and_what_stands_between_two_tags() {
    let schema = "edition = \"2023\"; option features.field_presence = IMPLICIT; message M { int32 plain = 1; \
        string told = 2 [features.field_presence = EXPLICIT]; N ended = 3 [features.message_encoding = DELIMITED]; \
        N counted = 4; repeated N all = 5 [features.message_encoding = DELIMITED]; oneof o { int32 one = 6; } \
        message N { int32 n = 1; } message Other { string s = 1; } }";
    let columns = [
        ("plain", "Nullable(Int32)"),
        ("told", "Nullable(String)"),
        ("ended__n", "Int32"),
        ("counted__n", "Int32"),
        ("all.n", "Array(Int32)"),
        ("one", "Nullable(Int32)"),
    ];
    let setup = Setup::new(schema, &columns);
    let row = |message: &[u8]| {
        let mut block = setup.plan.block();
        setup.append(&mut block, &[&[0, 0, 0, 0, 1, 0], message].concat(), None).unwrap();
        columns.map(|(name, _)| block.column(name).unwrap().value(0).unwrap())
    };
    let ints = |all: &[i64]| Value::Array(all.iter().map(|n| Value::Int(*n)).collect());
    let nothing = [Value::Int(0), Value::Null, Value::Int(0), Value::Int(0), ints(&[]), Value::Null];
    assert_eq!(row(&[]), nothing);
    let written = [
        &[8, 7][..],
        &[18, 0],
        &[3 << 3 | 3, 8, 5, 3 << 3 | 4],
        &[4 << 3 | 2, 2, 8, 6],
        &[5 << 3 | 3, 8, 1, 5 << 3 | 4, 5 << 3 | 3, 5 << 3 | 4],
        &[48, 0],
    ]
    .concat();
    let all = [Value::Int(7), text(""), Value::Int(5), Value::Int(6), ints(&[1, 0]), Value::Int(0)];
    assert_eq!(row(&written), all);
    let types = messages(schema);
    // The message between two tags is declared like the other, and counts.
    assert_eq!((types.find("M.N"), types.find("M.Other")), (Some(vec![0, 0]), Some(vec![0, 1])));
    let shown = protobuf_to_json(&types, None, &[&[0], written.as_slice()].concat()).unwrap();
    assert_eq!(json_to_protobuf(&types, &[0], &shown).unwrap()[1..], written);
}
