//! What an Avro record becomes, or why it does not.

#![expect(clippy::unwrap_used, reason = "what cannot be built here fails the test")]

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use tidegate_codec::{
    Block, Plan, PlanOptions, SchemaKey, UnknownFields, WireFormat, WriterSchema, WriterSchemas,
    avro_columns, json_to_avro,
};
use tidegate_core::{ReasonCode, Records, Reject, TopicPartition};
use tidegate_languages::avro::{AvroSchema, Defaults};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};

fn table(columns: &[(&str, &str)]) -> Table {
    let columns = columns.iter().map(|(name, ty)| {
        let (ty, default) = match ty.split_once(" DEFAULT ") {
            Some((ty, expression)) => (ty, ColumnDefault::Default { expression: expression.to_owned() }),
            None => (*ty, ColumnDefault::None),
        };
        TableColumn { name: (*name).to_owned(), ty: Type::parse(ty).unwrap(), default }
    });
    Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.collect() }
}

fn schema(text: &str) -> Arc<AvroSchema> {
    Arc::new(AvroSchema::parse(text, &[], Defaults::Believed).unwrap())
}

/// One writer's schema, id 7, and a table.
struct Case {
    plan: Plan,
    block: Block,
}

impl Case {
    fn new(writer: &str, reader: Option<&str>, columns: &[(&str, &str)], options: &PlanOptions) -> Self {
        let writers = WriterSchemas::default();
        writers.insert(SchemaKey::Id(7), WriterSchema::Avro(schema(writer)));
        let format = WireFormat::Avro { reader: reader.map(schema) };
        let plan = Plan::of_writers(&table(columns), &format, &writers, options).unwrap();
        let block = plan.block();
        Self { plan, block }
    }

    fn append(&mut self, datum: &[u8]) -> Result<u32, Box<Reject>> {
        let source = TopicPartition::new("events", 2);
        let mut records = Records::new(source.clone());
        let value = [&[0, 0, 0, 0, 7], datum].concat();
        records.push(41, None, Some(b"key"), Some(&value), []);
        let appended = self.plan.append(&mut self.block, &source, &records.get(0).unwrap());
        for column in self.block.columns() {
            assert_eq!(self.block.column(column).unwrap().len(), self.block.rows(), "{column}");
        }
        appended.map(|appended| appended.dropped_fields)
    }

    fn value(&self, column: &str) -> String {
        let column = self.block.column(column).unwrap();
        format!("{:?}", column.value(column.len() - 1).unwrap())
    }
}

fn encode(writer: &str, value: Avro) -> Vec<u8> {
    let schema = Schema::parse_str(writer).unwrap();
    GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap()
}

fn record_of(field: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"v","type":{field}}}]}}"#)
}

/// One value of an Avro type through one column `v`: its debug form, or the reason's code.
fn through(avro: &str, value: Avro, ty: &str) -> Result<String, ReasonCode> {
    let writer = record_of(avro);
    let datum = encode(&writer, Avro::Record(vec![("v".to_owned(), value)]));
    raw_through(avro, &datum, ty)
}

fn raw_through(avro: &str, datum: &[u8], ty: &str) -> Result<String, ReasonCode> {
    let mut case = Case::new(&record_of(avro), None, &[("v", ty)], &PlanOptions::default());
    match case.append(datum) {
        Ok(_) => {
            let mut native = Vec::new();
            case.block.encode(&mut native);
            assert_eq!(tidegate_native::read_blocks(&native).unwrap().len(), 1);
            Ok(case.value("v"))
        }
        Err(reject) => {
            assert_eq!(case.block.rows(), 0);
            let reason = reject.reason();
            assert!(reason.path.starts_with("/v") || reason.path.is_empty(), "{reason:?}");
            assert!(reason.path.is_empty() || reason.column.as_deref() == Some("v"), "{reason:?}");
            Err(reason.code)
        }
    }
}

#[track_caller]
fn check(avro: &str, value: Avro, ty: &str, expected: &str) {
    assert_eq!(through(avro, value, ty).as_deref(), Ok(expected), "{avro} into {ty}");
}

#[track_caller]
fn check_refused(avro: &str, value: Avro, ty: &str, expected: ReasonCode) {
    assert_eq!(through(avro, value, ty), Err(expected), "{avro} into {ty}");
}

fn logical(ty: &str, logical: &str) -> String {
    format!(r#"{{"type":"{ty}","logicalType":"{logical}"}}"#)
}

#[test]
fn numbers_keep_their_values_or_are_refused() {
    check(r#""long""#, Avro::Long(i64::MIN), "Int64", &format!("Int({})", i64::MIN));
    check(r#""long""#, Avro::Long(5), "UInt8", "UInt(5)");
    check(r#""int""#, Avro::Int(-5), "Int256", "Int256(-5)");
    check(r#""long""#, Avro::Long(5), "LowCardinality(UInt32)", "UInt(5)");
    check(r#""long""#, Avro::Long(-12), "Decimal(9, 2)", "Int(-1200)");
    check(r#""long""#, Avro::Long(1 << 53), "Float64", "Float(9007199254740992.0)");
    check(r#""float""#, Avro::Float(0.5), "Float64", "Float(0.5)");
    check(r#""double""#, Avro::Double(0.5), "BFloat16", "UInt(16128)");
    check(r#""double""#, Avro::Double(f64::NEG_INFINITY), "Float32", "Float(-inf)");
    check(r#""boolean""#, Avro::Boolean(true), "Bool", "UInt(1)");
    for (avro, value, ty) in [
        (r#""long""#, Avro::Long(256), "UInt8"),
        (r#""long""#, Avro::Long(-1), "UInt64"),
        (r#""long""#, Avro::Long((1 << 53) + 1), "Float64"),
        (r#""long""#, Avro::Long(i64::MAX), "Float64"),
        (r#""double""#, Avro::Double(0.1), "Float32"),
        (r#""long""#, Avro::Long(10_000_000), "Decimal(9, 2)"),
    ] {
        check_refused(avro, value, ty, ReasonCode::OutOfRange);
    }
    for (avro, value, ty) in [
        (r#""boolean""#, Avro::Boolean(true), "UInt8"),
        (r#""double""#, Avro::Double(1.0), "Int64"),
        (r#""int""#, Avro::Int(1), "String"),
        (r#""int""#, Avro::Int(1), "DateTime64(3)"),
        (r#""string""#, Avro::String("1".into()), "Int32"),
        (r#""string""#, Avro::String("true".into()), "Bool"),
    ] {
        check_refused(avro, value, ty, ReasonCode::WrongType);
    }
}

#[test]
fn logical_types_become_their_clickhouse_types_exactly() {
    let millis = logical("long", "timestamp-millis");
    let at = |value| Avro::TimestampMillis(value);
    check(&millis, at(1_700_000_000_123), "DateTime64(3)", "Int(1700000000123)");
    check(&millis, at(1_700_000_000_123), "DateTime64(6, 'Europe/Berlin')", "Int(1700000000123000)");
    check(&millis, at(1_700_000_000_000), "DateTime", "UInt(1700000000)");
    check(&millis, at(1_700_000_000_123), "Int64", "Int(1700000000123)");
    check_refused(&millis, at(1_700_000_000_123), "DateTime", ReasonCode::OutOfRange);
    check_refused(&millis, at(i64::MAX), "DateTime64(3)", ReasonCode::OutOfRange);
    check_refused(&millis, at(i64::MAX), "DateTime64(9)", ReasonCode::OutOfRange);
    let local = logical("long", "local-timestamp-micros");
    check(&local, Avro::LocalTimestampMicros(-1), "DateTime64(6, 'UTC')", "Int(-1)");
    check_refused(
        &local,
        Avro::LocalTimestampMicros(1),
        "DateTime64(6, 'Asia/Tokyo')",
        ReasonCode::WrongType,
    );
    let nanos = logical("long", "timestamp-nanos");
    check(&nanos, Avro::TimestampNanos(1_000_000), "DateTime64(3)", "Int(1)");
    check_refused(&nanos, Avro::TimestampNanos(1_000_001), "DateTime64(3)", ReasonCode::OutOfRange);
    let date = logical("int", "date");
    check(&date, Avro::Date(19_000), "Date", "UInt(19000)");
    check(&date, Avro::Date(-25_567), "Date32", "Int(-25567)");
    check_refused(&date, Avro::Date(-1), "Date", ReasonCode::OutOfRange);
    check(&logical("int", "time-millis"), Avro::TimeMillis(1500), "Time64(3)", "Int(1500)");
    check(&logical("long", "time-micros"), Avro::TimeMicros(1_000_000), "Time", "Int(1)");
    check_refused(&logical("int", "time-millis"), Avro::TimeMillis(-1), "Time64(3)", ReasonCode::OutOfRange);
    let id = uuid("095d71cf-1255-6b9d-5e33-0ad575b3df5d");
    check(&logical("string", "uuid"), Avro::Uuid(id), "UUID", &format!("Uuid({})", id.as_u128()));
    check(
        &logical("string", "uuid"),
        Avro::Uuid(id),
        "String",
        &format!("{:?}", id.to_string().as_bytes()).replacen('[', "Bytes([", 1).replace(']', "])"),
    );
    let fixed = r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#;
    assert_eq!(raw_through(fixed, id.as_bytes(), "UUID"), Ok(format!("Uuid({})", id.as_u128())));
}

fn uuid(text: &str) -> apache_avro::Uuid {
    apache_avro::Uuid::parse_str(text).unwrap()
}

#[test]
fn decimals_are_rescaled_exactly_or_refused() {
    let bytes = r#"{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}"#;
    let decimal = |digits: &[u8]| [&[digits.len() as u8 * 2], digits].concat();
    let through = |digits: &[u8], ty| raw_through(bytes, &decimal(digits), ty);
    assert_eq!(through(&[0x04, 0xE2], "Decimal(9, 2)").as_deref(), Ok("Int(1250)"));
    assert_eq!(through(&[0x04, 0xE2], "Decimal(76, 10)").as_deref(), Ok("Int256(125000000000)"));
    assert_eq!(through(&[0xFF, 0x38], "Decimal(9, 0)").as_deref(), Ok("Int(-2)"));
    assert_eq!(through(&[0xFF, 0x39], "Decimal(9, 0)"), Err(ReasonCode::OutOfRange));
    assert_eq!(through(&[0x7F; 40], "Decimal(9, 0)"), Err(ReasonCode::OutOfRange));
    assert_eq!(through(&[], "Decimal(9, 0)"), Err(ReasonCode::OutOfRange));
    assert_eq!(through(&[0x04, 0xE2], "String"), Err(ReasonCode::WrongType));
    let fixed = r#"{"type":"fixed","name":"D","size":3,"logicalType":"decimal","precision":6,"scale":3}"#;
    assert_eq!(raw_through(fixed, &[0xFF, 0xFF, 0xFF], "Decimal(18, 3)").as_deref(), Ok("Int(-1)"));
    let big = logical("bytes", "big-decimal");
    assert_eq!(raw_through(&big, &[8, 2, 125, 2, 0][..3], "Decimal(9, 2)"), Err(ReasonCode::NotAvro));
    assert_eq!(raw_through(&big, &[6, 2, 125, 2], "Decimal(9, 2)").as_deref(), Ok("Int(1250)"));
}

#[test]
fn durations_are_three_numbers_or_their_bytes() {
    let duration = r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#;
    let bytes = [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 1];
    let tuple = "Tuple(months UInt32, days UInt32, milliseconds UInt32)";
    assert_eq!(
        raw_through(duration, &bytes, tuple).as_deref(),
        Ok("Tuple([UInt(1), UInt(2), UInt(16777219)])")
    );
    assert!(raw_through(duration, &bytes, "FixedString(12)").is_ok());
    assert_eq!(raw_through(duration, &bytes, "Tuple(a Int8)"), Err(ReasonCode::WrongType));
}

#[test]
fn text_and_bytes_are_what_they_are() {
    let text = |value: &str| Avro::String(value.to_owned());
    check(r#""string""#, text("é"), "String", "Bytes([195, 169])");
    check(r#""string""#, text("é"), "LowCardinality(Nullable(String))", "Bytes([195, 169])");
    check(r#""string""#, text("::1"), "IPv6", "IPv6(::1)");
    check(r#""string""#, text("203.0.113.7"), "IPv6", "IPv6(::ffff:203.0.113.7)");
    check(r#""string""#, text("2024-01-01T00:00:00Z"), "DateTime", "UInt(1704067200)");
    check(r#""string""#, text("12.5"), "Decimal(9, 2)", "Int(1250)");
    check_refused(r#""string""#, text("x"), "FixedString(2)", ReasonCode::OutOfRange);
    check(r#""bytes""#, Avro::Bytes(vec![0xFF, 0]), "String", "Bytes([255, 0])");
    check_refused(r#""bytes""#, Avro::Bytes(vec![0xFF]), "FixedString(2)", ReasonCode::OutOfRange);
    assert_eq!(raw_through(r#""string""#, &[2, 0xFF], "String"), Err(ReasonCode::NotUtf8));
}

#[test]
fn enums_go_by_their_names() {
    let kind = r#"{"type":"enum","name":"E","symbols":["A","B"]}"#;
    let b = || Avro::Enum(1, "B".to_owned());
    check(kind, b(), "Enum8('B' = 5, 'A' = -1)", "Int(5)");
    check(kind, b(), "LowCardinality(String)", "Bytes([66])");
    check(kind, b(), "Nullable(String)", "Bytes([66])");
    check_refused(kind, b(), "Enum8('A' = 1)", ReasonCode::BadEnum);
    check_refused(kind, b(), "Int8", ReasonCode::WrongType);
    assert_eq!(raw_through(kind, &[4], "String"), Err(ReasonCode::NotAvro));
    assert_eq!(raw_through(kind, &[1], "String"), Err(ReasonCode::NotAvro));
}

#[test]
fn unions_become_nullable_variant_or_a_reject() {
    let optional = r#"["null","long"]"#;
    let some = |branch, value| Avro::Union(branch, Box::new(value));
    check(optional, some(0, Avro::Null), "Nullable(Int64)", "Null");
    check(optional, some(1, Avro::Long(3)), "Nullable(Int64)", "Int(3)");
    check(optional, some(1, Avro::Long(3)), "Int64", "Int(3)");
    check_refused(optional, some(0, Avro::Null), "Int64", ReasonCode::WrongType);
    check_refused(optional, some(0, Avro::Null), "Int64 DEFAULT 5", ReasonCode::WrongType);
    let either = r#"["null","long","string",{"type":"array","items":"int"}]"#;
    let variant = "Variant(Array(Int32), Int64, String)";
    check(either, some(1, Avro::Long(3)), variant, "Variant(1, Int(3))");
    check(either, some(2, Avro::String("a".into())), variant, "Variant(2, Bytes([97]))");
    check(either, some(3, Avro::Array(vec![Avro::Int(1)])), variant, "Variant(0, Array([Int(1)]))");
    check(either, some(0, Avro::Null), variant, "Null");
    check(either, some(1, Avro::Long(3)), "Int64", "Int(3)");
    check_refused(either, some(2, Avro::String("a".into())), "Int64", ReasonCode::WrongType);
    check(either, some(1, Avro::Long(3)), "Dynamic", "Dynamic(\"Int64\", Int(3))");
    check(either, some(0, Avro::Null), "Dynamic", "Null");
    assert_eq!(raw_through(optional, &[4], "Nullable(Int64)"), Err(ReasonCode::NotAvro));
}

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"long"},
    {"name":"user","type":["null",{"type":"record","name":"User","fields":[
        {"name":"name","type":"string"},{"name":"age","type":["null","int"]}]}]},
    {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
        {"name":"sku","type":"string"},{"name":"n","type":"int"}]}}},
    {"name":"tags","type":{"type":"map","values":"double"}}]}"#;

fn order() -> Avro {
    let fields = |list: Vec<(&str, Avro)>| {
        Avro::Record(list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let line = |sku: &str, n| fields(vec![("sku", Avro::String(sku.to_owned())), ("n", Avro::Int(n))]);
    let user = fields(vec![
        ("name", Avro::String("Zoë \"Z\"".to_owned())),
        ("age", Avro::Union(1, Box::new(Avro::Int(40)))),
    ]);
    fields(vec![
        ("id", Avro::Long(9)),
        ("user", Avro::Union(1, Box::new(user))),
        ("lines", Avro::Array(vec![line("a", 1), line("b", 2)])),
        ("tags", Avro::Map([("x".to_owned(), Avro::Double(0.5))].into_iter().collect())),
    ])
}

fn bytes(text: &str) -> String {
    format!("Bytes({:?})", text.as_bytes())
}

#[test]
fn nested_records_go_where_the_table_has_room_for_them() {
    let datum = encode(ORDER, order());
    let flat = [
        ("id", "UInt64"),
        ("user__name", "String"),
        ("user__age", "Nullable(Int8)"),
        ("lines.sku", "Array(String)"),
        ("lines.n", "Array(Int32)"),
        ("tags", "Map(LowCardinality(String), Float64)"),
        ("_offset", "Int64"),
        ("missing", "String DEFAULT 'x'"),
    ];
    let mut case = Case::new(ORDER, None, &flat, &PlanOptions::default());
    assert_eq!(case.append(&datum).unwrap(), 0);
    assert_eq!(case.value("user__name"), bytes("Zoë \"Z\""));
    assert_eq!(case.value("user__age"), "Int(40)");
    assert_eq!(case.value("lines.sku"), "Array([Bytes([97]), Bytes([98])])");
    assert_eq!(case.value("lines.n"), "Array([Int(1), Int(2)])");
    assert_eq!(case.value("tags"), "Map([(Bytes([120]), Float(0.5))])");
    assert_eq!(case.value("_offset"), "Int(41)");
    assert_eq!(case.value("missing"), "Null", "the server computes it");
    let whole = [
        ("id", "Int64"),
        ("user", "JSON"),
        ("lines", "Array(Tuple(n Int32, sku String, more Nullable(Int8)))"),
        ("tags", "JSON"),
    ];
    let mut case = Case::new(ORDER, None, &whole, &PlanOptions::default());
    case.append(&datum).unwrap();
    assert_eq!(case.value("user"), bytes(r#"{"name":"Zoë \"Z\"","age":40}"#));
    assert_eq!(
        case.value("lines"),
        "Array([Tuple([Int(1), Bytes([97]), Null]), Tuple([Int(2), Bytes([98]), Null])])"
    );
    assert_eq!(case.value("tags"), bytes(r#"{"x":0.5}"#));
}

#[test]
fn fields_without_a_column_are_refused_dropped_or_collected() {
    let datum = encode(ORDER, order());
    let columns = [("id", "Int64"), ("user__age", "Nullable(Int8)"), ("rest", "JSON")];
    let with = |unknown_fields| PlanOptions { unknown_fields, ..PlanOptions::default() };
    let mut case = Case::new(ORDER, None, &columns[..2], &with(UnknownFields::Drop));
    assert_eq!(case.append(&datum).unwrap(), 3);
    let dropped: Vec<String> = case.block.take_dropped().into_iter().map(|field| field.path).collect();
    assert_eq!(dropped, ["/lines", "/tags", "/user/name"]);
    let mut case = Case::new(ORDER, None, &columns[..2], &with(UnknownFields::Reject));
    let reject = case.append(&datum).unwrap_err();
    assert_eq!((reject.reason().code, reject.reason().path.as_str()), (ReasonCode::ExtraField, "/user/name"));
    let collect = UnknownFields::Collect { column: "rest".to_owned() };
    let mut case = Case::new(ORDER, None, &columns, &with(collect));
    case.append(&datum).unwrap();
    let expected =
        r#"{"user":{"name":"Zoë \"Z\""},"lines":[{"sku":"a","n":1},{"sku":"b","n":2}],"tags":{"x":0.5}}"#;
    assert_eq!(case.value("rest"), bytes(expected));
}

#[test]
fn a_column_that_no_field_is_for_needs_a_default() {
    let writer = record_of(r#""int""#);
    let datum = encode(&writer, Avro::Record(vec![("v".to_owned(), Avro::Int(1))]));
    let columns = [
        ("v", "Int32"),
        ("a", "Nullable(Int8) DEFAULT 5"),
        ("b", "Array(String) DEFAULT []"),
        ("c", "Nullable(String)"),
    ];
    let mut case = Case::new(&writer, None, &columns, &PlanOptions::default());
    case.append(&datum).unwrap();
    assert_eq!(
        (case.value("a").as_str(), case.value("b").as_str(), case.value("c").as_str()),
        ("Int(5)", "Array([])", "Null")
    );
    let mut case = Case::new(&writer, None, &[("v", "Int32"), ("d", "Array(Int8)")], &PlanOptions::default());
    let reject = case.append(&datum).unwrap_err();
    assert_eq!(reject.reason().code, ReasonCode::MissingRequired);
    assert_eq!(reject.reason().column.as_deref(), Some("d"));
}

#[test]
fn a_readers_schema_brings_aliases_defaults_and_promotions() {
    let writer = r#"{"type":"record","name":"A","fields":[
        {"name":"old","type":"int"},{"name":"gone","type":"string"},
        {"name":"kind","type":{"type":"enum","name":"K","symbols":["X","Y"]}},
        {"name":"u","type":"string"}]}"#;
    let reader = r#"{"type":"record","name":"A","fields":[
        {"name":"new","aliases":["old"],"type":"double"},
        {"name":"kind","type":{"type":"enum","name":"K","symbols":["X","Z"],"default":"Z"}},
        {"name":"u","type":["null","bytes"],"default":null},
        {"name":"list","type":{"type":"array","items":["null","string"]},"default":["a"]}]}"#;
    let datum = encode(
        writer,
        Avro::Record(vec![
            ("old".into(), Avro::Int(3)),
            ("gone".into(), Avro::String("x".into())),
            ("kind".into(), Avro::Enum(1, "Y".into())),
            ("u".into(), Avro::String("raw".into())),
        ]),
    );
    let columns = [
        ("new", "Float64"),
        ("kind", "String"),
        ("u", "Nullable(String)"),
        ("list", "Array(Nullable(String))"),
    ];
    let mut case = Case::new(writer, Some(reader), &columns, &PlanOptions::default());
    case.append(&datum).unwrap();
    assert_eq!(case.value("new"), "Float(3.0)");
    assert_eq!(case.value("kind"), bytes("Z"));
    assert_eq!(case.value("u"), bytes("raw"));
    let written = r#"{"type":"record","name":"A","fields":[{"name":"old","type":"string"}]}"#;
    let mut case = Case::new(written, Some(reader), &columns, &PlanOptions::default());
    let reject = case.append(&[2, b'a']).unwrap_err();
    assert_eq!(reject.reason().path, "/new", "{reject}");
}

#[test]
fn a_recursive_type_is_read_as_deep_as_the_limits_allow() {
    let tree = r#"{"type":"record","name":"T","fields":[{"name":"next","type":["null","T"]}]}"#;
    let mut case = Case::new(tree, None, &[("next", "JSON")], &PlanOptions::default());
    case.append(&[2, 2, 0]).unwrap();
    assert_eq!(case.value("next"), bytes(r#"{"next":{"next":null}}"#));
    let reject = case.append(&[2; 100_000]).unwrap_err();
    assert_eq!(reject.reason().code, ReasonCode::TooLarge);
}

#[test]
fn hostile_bytes_are_refused_within_bounds() {
    let nulls = r#"{"type":"array","items":"null"}"#;
    // 2^40 items that take no byte each.
    let many = [0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0];
    assert_eq!(raw_through(nulls, &many, "Array(Nullable(Int8))"), Err(ReasonCode::NotAvro));
    assert!(raw_through(nulls, &[6, 0], "Array(Nullable(Int8))").is_ok());
    let ints = r#"{"type":"array","items":"int"}"#;
    // Count i64::MIN, and a size.
    let negative = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 2, 0];
    assert_eq!(raw_through(ints, &negative, "Array(Int32)"), Err(ReasonCode::NotAvro));
    assert_eq!(raw_through(ints, &[3, 4, 2, 4, 0], "Array(Int32)").as_deref(), Ok("Array([Int(1), Int(2)])"));
    assert_eq!(raw_through(ints, &[2, 2], "Array(Int32)"), Err(ReasonCode::NotAvro));
    let length = [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, b'a'];
    assert_eq!(raw_through(r#""string""#, &length, "String"), Err(ReasonCode::NotAvro));
    assert_eq!(raw_through(r#""int""#, &[2, 2], "Int32"), Err(ReasonCode::NotAvro), "bytes after the record");
    assert_eq!(raw_through(r#""boolean""#, &[2], "Bool"), Err(ReasonCode::NotAvro));
    assert_eq!(raw_through(r#""double""#, &[2], "Float64"), Err(ReasonCode::NotAvro));
}

#[test]
fn every_prefix_and_every_changed_byte_of_a_record_is_a_row_or_a_reject() {
    let datum = encode(ORDER, order());
    let columns = [
        ("id", "Int64"),
        ("user__name", "String"),
        ("lines", "Array(Tuple(sku String, n Int32))"),
        ("tags", "Map(String, Float64)"),
        ("rest", "JSON"),
    ];
    let unknown_fields = UnknownFields::Collect { column: "rest".to_owned() };
    let mut case =
        Case::new(ORDER, None, &columns, &PlanOptions { unknown_fields, ..PlanOptions::default() });
    for end in 0..datum.len() {
        assert!(case.append(&datum[..end]).is_err(), "the first {end} bytes");
    }
    let mut state = 7_u64;
    let mut n_rows = 0;
    for at in 0..20_000 {
        let mut changed = datum.clone();
        for _ in 0..=at % 3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = (state >> 33) as usize % changed.len();
            changed[place] = (state >> 20) as u8;
        }
        n_rows += usize::from(case.append(&changed).is_ok());
    }
    assert_eq!(case.block.rows(), n_rows);
    assert!(n_rows > 0);
    let mut native = Vec::new();
    case.block.encode(&mut native);
    assert_eq!(tidegate_native::read_blocks(&native).unwrap()[0].rows, n_rows);
}

#[test]
fn a_schema_that_cannot_be_used_refuses_its_records_alone() {
    let writers = WriterSchemas::default();
    let format = WireFormat::Avro { reader: None };
    let plan =
        Plan::of_writers(&table(&[("v", "Int32")]), &format, &writers, &PlanOptions::default()).unwrap();
    let mut block = plan.block();
    let source = TopicPartition::new("t", 0);
    let mut records = Records::new(source.clone());
    for id in [7, 8] {
        records.push(i64::from(id), None, None, Some(&[0, 0, 0, 0, id, 2]), []);
    }
    let mut append = |at| plan.append(&mut block, &source, &records.get(at).unwrap()).map(drop);
    assert_eq!(append(0).unwrap_err().reason().code, ReasonCode::UnknownSchemaId);
    writers.insert(SchemaKey::Id(7), WriterSchema::Avro(schema(&record_of(r#""int""#))));
    writers.insert(SchemaKey::Id(8), WriterSchema::Unusable("no schema".to_owned()));
    append(0).unwrap();
    assert_eq!(append(1).unwrap_err().reason().code, ReasonCode::WrongSchema);
    append(0).unwrap();
    assert_eq!(block.rows(), 2);
}

#[test]
fn a_schema_asks_for_columns_with_its_defaults() {
    let writer = r#"{"type":"record","name":"E","fields":[
        {"name":"id","type":"long"},
        {"name":"kind","type":{"type":"enum","name":"K","symbols":["A"]},"default":"A"},
        {"name":"note","type":["null","string"],"default":null},
        {"name":"user","type":["null",{"type":"record","name":"U","fields":[
            {"name":"name","type":"string"},{"name":"friend","type":["null","U"]}]}]},
        {"name":"lines","type":{"type":"array","items":{"type":"record","name":"L","fields":[
            {"name":"sku","type":"string"},{"name":"n","type":["null","int"]}]}}},
        {"name":"tags","type":["null",{"type":"array","items":"string"}]},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"either","type":["long","string"]}]}"#;
    let columns: Vec<String> = avro_columns(&schema(writer), "__")
        .iter()
        .map(|column| {
            let default =
                column.default.as_ref().map_or_else(String::new, |default| format!(" DEFAULT {default}"));
            format!("{} {}{default}", column.name, column.ty)
        })
        .collect();
    assert_eq!(
        columns,
        [
            "id Int64",
            "kind LowCardinality(String) DEFAULT 'A'",
            "note Nullable(String)",
            "user__name Nullable(String)",
            "user__friend Nullable(JSON)",
            "lines.sku Array(String)",
            "lines.n Array(Nullable(Int32))",
            "tags Variant(Array(String))",
            "at DateTime64(6, 'UTC')",
            "either Variant(Int64, String)",
        ]
    );
    let lacking = table(&[("id", "Int32"), ("user", "JSON"), ("lines.sku", "Array(String)")]);
    let missing =
        WriterSchema::Avro(schema(writer)).missing_columns(&lacking, &PlanOptions::default()).unwrap();
    let names: Vec<&str> = missing.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["kind", "note", "lines.n", "tags", "at", "either"]);
    let misfits = WriterSchema::Avro(schema(writer)).misfits(
        &table(&[("id", "String"), ("user__name", "String"), ("other", "Int8")]),
        &PlanOptions { unknown_fields: UnknownFields::Drop, ..PlanOptions::default() },
    );
    let places: Vec<String> = misfits.unwrap().into_iter().map(|reason| reason.path).collect();
    assert_eq!(places, ["/id", "/user/name", "/other"]);
}

#[test]
fn what_people_type_is_encoded_or_refused_with_its_place() {
    let writer = schema(
        r#"{"type":"record","name":"E","fields":[
        {"name":"id","type":"int"},
        {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},
        {"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":5,"scale":2},"default":""},
        {"name":"list","type":{"type":"array","items":{"type":"enum","name":"K","symbols":["A"]}},"default":[]}]}"#,
    );
    let encode = |text: &str| json_to_avro(&writer, text).map_err(|error| error.to_string());
    let typed = r#"{"id":1,"at":"1970-01-01T00:00:00.001Z","sum":"-1.5","list":["A"]}"#;
    assert_eq!(encode(typed).unwrap(), [2, 2, 2, 4, 0xFF, 0x6A, 2, 0, 0]);
    assert_eq!(encode(r#"{"id":1,"at":{"long":2},"sum":1}"#).unwrap(), [2, 2, 4, 2, 100, 0]);
    for (text, expected) in [
        (r#"{"at":null}"#, "field `/id`: expected a value, for the field has no default, found nothing"),
        (r#"{"id":2147483648}"#, "field `/id`: expected `int`, found 2147483648"),
        (r#"{"id":1,"x":2}"#, "field `/x`: expected a field of `E`: id, at, sum, list, found 2"),
        (r#"{"id":1,"list":["B"]}"#, "field `/list/0`: expected one of A, found \"B\""),
        (
            r#"{"id":1,"sum":"1.234"}"#,
            "field `/sum`: expected a decimal of 5 digits, 2 of them after the point",
        ),
        ("{", "expected JSON"),
    ] {
        let found = encode(text).unwrap_err();
        assert!(found.contains(expected), "{text}: {found}");
    }
}
