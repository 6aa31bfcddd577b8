//! What an independent encoder writes is what the columns hold, for any schema and any value.

#![expect(clippy::unwrap_used, reason = "what cannot be built here fails the test")]

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tidegate_codec::{
    Plan, PlanOptions, SchemaKey, WireFormat, WriterSchema, WriterSchemas, avro_columns, avro_to_json,
    json_to_avro, sample_avro,
};
use tidegate_core::{Records, TopicPartition};
use tidegate_languages::avro::{AvroSchema, Defaults};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type, Value};
use tidegate_schema::Chance;

/// A type in Avro's words and in ClickHouse's.
#[derive(Debug, Clone)]
enum Kind {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Millis,
    Micros,
    Date,
    Decimal,
    Fixed,
    Enum,
    Optional(Box<Kind>),
    Either,
    Array(Box<Kind>),
    Map(Box<Kind>),
    Record(Vec<Kind>),
}

impl Kind {
    fn avro(&self, names: &mut usize) -> Json {
        *names += 1;
        let name = format!("N{names}");
        match self {
            Self::Boolean => json!("boolean"),
            Self::Int => json!("int"),
            Self::Long => json!("long"),
            Self::Float => json!("float"),
            Self::Double => json!("double"),
            Self::Bytes => json!("bytes"),
            Self::Text => json!("string"),
            Self::Millis => json!({"type": "long", "logicalType": "timestamp-millis"}),
            Self::Micros => json!({"type": "long", "logicalType": "timestamp-micros"}),
            Self::Date => json!({"type": "int", "logicalType": "date"}),
            Self::Decimal => json!({"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 3}),
            Self::Fixed => json!({"type": "fixed", "name": name, "size": 3}),
            Self::Enum => json!({"type": "enum", "name": name, "symbols": ["A", "B", "C"]}),
            Self::Optional(of) => json!(["null", of.avro(names)]),
            Self::Either => json!(["null", "long", "string"]),
            Self::Array(of) => json!({"type": "array", "items": of.avro(names)}),
            Self::Map(of) => json!({"type": "map", "values": of.avro(names)}),
            Self::Record(fields) => {
                let fields: Vec<Json> = (fields.iter().enumerate())
                    .map(|(at, field)| json!({"name": format!("f{at}"), "type": field.avro(names)}))
                    .collect();
                json!({"type": "record", "name": name, "fields": fields})
            }
        }
    }

    fn clickhouse(&self) -> String {
        match self {
            Self::Boolean => "Bool".to_owned(),
            Self::Int => "Int32".to_owned(),
            Self::Long => "Int64".to_owned(),
            Self::Float => "Float32".to_owned(),
            Self::Double => "Float64".to_owned(),
            Self::Bytes | Self::Text => "String".to_owned(),
            Self::Millis => "DateTime64(3, 'UTC')".to_owned(),
            Self::Micros => "DateTime64(6, 'UTC')".to_owned(),
            Self::Date => "Date32".to_owned(),
            Self::Decimal => "Decimal(38, 3)".to_owned(),
            Self::Fixed => "FixedString(3)".to_owned(),
            Self::Enum => "Enum8('A' = 1, 'B' = 2, 'C' = 3)".to_owned(),
            Self::Optional(of) => format!("Nullable({})", of.clickhouse()),
            Self::Either => "Variant(Int64, String)".to_owned(),
            Self::Array(of) => format!("Array({})", of.clickhouse()),
            Self::Map(of) => format!("Map(String, {})", of.clickhouse()),
            Self::Record(fields) => {
                let fields =
                    fields.iter().enumerate().map(|(at, field)| format!("f{at} {}", field.clickhouse()));
                format!("Tuple({})", fields.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// A value, and what the column must hold for it.
    fn values(&self) -> BoxedStrategy<(Avro, Value)> {
        match self {
            Self::Boolean => {
                any::<bool>().prop_map(|v| (Avro::Boolean(v), Value::UInt(u64::from(v)))).boxed()
            }
            Self::Int => any::<i32>().prop_map(|v| (Avro::Int(v), Value::Int(v.into()))).boxed(),
            Self::Long => any::<i64>().prop_map(|v| (Avro::Long(v), Value::Int(v))).boxed(),
            Self::Float => any::<f32>().prop_map(|v| (Avro::Float(v), Value::Float(v.into()))).boxed(),
            Self::Double => any::<f64>().prop_map(|v| (Avro::Double(v), Value::Float(v))).boxed(),
            Self::Bytes => any::<Vec<u8>>().prop_map(|v| (Avro::Bytes(v.clone()), Value::Bytes(v))).boxed(),
            Self::Text => {
                any::<String>().prop_map(|v| (Avro::String(v.clone()), Value::Bytes(v.into_bytes()))).boxed()
            }
            Self::Millis => (-2_208_988_800_000_i64..10_413_792_000_000)
                .prop_map(|v| (Avro::TimestampMillis(v), Value::Int(v)))
                .boxed(),
            Self::Micros => (-2_208_988_800_000_000_i64..10_413_792_000_000_000)
                .prop_map(|v| (Avro::TimestampMicros(v), Value::Int(v)))
                .boxed(),
            Self::Date => (-25_567_i32..=120_529).prop_map(|v| (Avro::Date(v), Value::Int(v.into()))).boxed(),
            Self::Decimal => (-(10_i64.pow(18)) + 1..10_i64.pow(18))
                .prop_map(|v| (Avro::Decimal(v.to_be_bytes().into()), Value::Int128(v.into())))
                .boxed(),
            Self::Fixed => {
                any::<[u8; 3]>().prop_map(|v| (Avro::Fixed(3, v.to_vec()), Value::Bytes(v.to_vec()))).boxed()
            }
            Self::Enum => (0_u32..3)
                .prop_map(|v| {
                    let name = ["A", "B", "C"][v as usize].to_owned();
                    (Avro::Enum(v, name), Value::Int(i64::from(v) + 1))
                })
                .boxed(),
            Self::Optional(of) => proptest::option::of(of.values())
                .prop_map(|v| match v {
                    Some((avro, value)) => (Avro::Union(1, Box::new(avro)), value),
                    None => (Avro::Union(0, Box::new(Avro::Null)), Value::Null),
                })
                .boxed(),
            Self::Either => prop_oneof![
                Just((Avro::Union(0, Box::new(Avro::Null)), Value::Null)),
                Self::Long.values().prop_map(|(avro, value)| {
                    (Avro::Union(1, Box::new(avro)), Value::Variant(0, Box::new(value)))
                }),
                Self::Text.values().prop_map(|(avro, value)| {
                    (Avro::Union(2, Box::new(avro)), Value::Variant(1, Box::new(value)))
                }),
            ]
            .boxed(),
            Self::Array(of) => proptest::collection::vec(of.values(), 0..4)
                .prop_map(|items| {
                    let (avro, values) = items.into_iter().unzip();
                    (Avro::Array(avro), Value::Array(values))
                })
                .boxed(),
            // One key: the encoder writes maps in an order of its own.
            Self::Map(of) => (any::<String>(), of.values())
                .prop_map(|(key, (avro, value))| {
                    let map = [(key.clone(), avro)].into_iter().collect();
                    (Avro::Map(map), Value::Map(vec![(Value::Bytes(key.into_bytes()), value)]))
                })
                .boxed(),
            Self::Record(fields) => (fields.iter().map(Self::values).collect::<Vec<_>>())
                .prop_map(|fields| {
                    let (avro, values): (Vec<Avro>, Vec<Value>) = fields.into_iter().unzip();
                    let named = avro.into_iter().enumerate().map(|(at, value)| (format!("f{at}"), value));
                    (Avro::Record(named.collect()), Value::Tuple(values))
                })
                .boxed(),
        }
    }
}

fn scalar() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Boolean),
        Just(Kind::Int),
        Just(Kind::Long),
        Just(Kind::Float),
        Just(Kind::Double),
        Just(Kind::Bytes),
        Just(Kind::Text),
        Just(Kind::Millis),
        Just(Kind::Micros),
        Just(Kind::Date),
        Just(Kind::Decimal),
        Just(Kind::Fixed),
        Just(Kind::Enum),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        3 => scalar(),
        2 => scalar().prop_map(|of| Kind::Optional(Box::new(of))),
        1 => Just(Kind::Either),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| Kind::Array(Box::new(of))),
            inner.clone().prop_map(|of| Kind::Map(Box::new(of))),
            proptest::collection::vec(inner, 1..4).prop_map(Kind::Record),
        ]
    })
}

/// Columns of a record, and rows of it.
fn case() -> impl Strategy<Value = (Vec<Kind>, Vec<Vec<(Avro, Value)>>)> {
    proptest::collection::vec(kind(), 1..6).prop_flat_map(|kinds| {
        let row: Vec<_> = kinds.iter().map(Kind::values).collect();
        (Just(kinds), proptest::collection::vec(row, 1..4))
    })
}

fn plan(writer: &str, columns: &[(String, String)]) -> Plan {
    let columns = columns.iter().map(|(name, ty)| TableColumn {
        name: name.clone(),
        ty: Type::parse(ty).unwrap(),
        default: ColumnDefault::None,
    });
    let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.collect() };
    let writers = WriterSchemas::default();
    let schema = AvroSchema::parse(writer, &[], Defaults::Checked).unwrap();
    writers.insert(SchemaKey::Id(1), WriterSchema::Avro(Arc::new(schema)));
    let format = WireFormat::Avro { reader: None };
    Plan::of_writers(&table, &format, &writers, &PlanOptions::default()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn columns_hold_what_was_written((kinds, rows) in case()) {
        let writer = Kind::Record(kinds.clone()).avro(&mut 0).to_string();
        let columns: Vec<(String, String)> =
            kinds.iter().enumerate().map(|(at, kind)| (format!("f{at}"), kind.clickhouse())).collect();
        let schema = Schema::parse_str(&writer).unwrap();
        let encoder = GenericDatumWriter::builder(&schema).build().unwrap();
        let plan = plan(&writer, &columns);
        let mut block = plan.block();
        let source = TopicPartition::new("t", 0);
        let mut records = Records::new(source.clone());
        for (at, row) in rows.iter().enumerate() {
            let fields = row.iter().enumerate().map(|(at, (avro, _))| (format!("f{at}"), avro.clone()));
            let datum = encoder.write_value_to_vec(Avro::Record(fields.collect())).unwrap();
            let value = [&[0, 0, 0, 0, 1], datum.as_slice()].concat();
            records.push(at as i64, None, None, Some(&value), []);
        }
        for record in records.iter() {
            let appended = plan.append(&mut block, &source, &record);
            prop_assert!(appended.is_ok(), "{:?}", appended);
        }
        for (row, values) in rows.iter().enumerate() {
            for (at, (_, expected)) in values.iter().enumerate() {
                let found = block.column(&format!("f{at}")).unwrap().value(row).unwrap();
                prop_assert_eq!(format!("{:?}", found), format!("{:?}", expected), "{}", columns[at].1);
            }
        }
        let mut native = Vec::new();
        block.encode(&mut native);
        prop_assert_eq!(tidegate_native::read_blocks(&native).unwrap()[0].rows, rows.len());
    }

    #[test]
    fn json_that_was_avro_is_the_same_avro_again((kinds, rows) in case()) {
        let writer = Kind::Record(kinds).avro(&mut 0).to_string();
        let schema = Schema::parse_str(&writer).unwrap();
        let encoder = GenericDatumWriter::builder(&schema).build().unwrap();
        let ours = AvroSchema::parse(&writer, &[], Defaults::Checked).unwrap();
        for row in rows {
            let fields = row.into_iter().enumerate().map(|(at, (avro, _))| (format!("f{at}"), avro));
            let datum = encoder.write_value_to_vec(Avro::Record(fields.collect())).unwrap();
            // JSON has no word for infinity.
            let Ok(text) = avro_to_json(&ours, &datum) else { continue };
            let again = json_to_avro(&ours, &text);
            prop_assert!(again.is_ok(), "{}: {:?}", text, again);
            prop_assert_eq!(avro_to_json(&ours, &again.unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn a_sample_is_a_value_of_its_schema(kinds in proptest::collection::vec(kind(), 1..6), seed in any::<u64>()) {
        let writer = Kind::Record(kinds).avro(&mut 0).to_string();
        let schema = Schema::parse_str(&writer).unwrap();
        let ours = AvroSchema::parse(&writer, &[], Defaults::Checked).unwrap();
        let mut chance = Chance::new(seed);
        let text = sample_avro(&ours, &mut chance).unwrap();
        let written = json_to_avro(&ours, &text);
        prop_assert!(written.is_ok(), "{}: {:?}\n{}", text, written, writer);
        let mut datum = written.unwrap();
        let read = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut datum.as_slice());
        prop_assert!(read.is_ok(), "{}: {:?}\n{}", text, read, writer);
        datum.push(0);
        prop_assert!(avro_to_json(&ours, &datum).is_err(), "nothing may stand behind it");
        prop_assert_eq!(sample_avro(&ours, &mut Chance::new(seed)).unwrap(), text);
    }

    #[test]
    fn the_columns_of_a_schema_take_every_record_of_it((kinds, rows) in case()) {
        let writer = Kind::Record(kinds).avro(&mut 0).to_string();
        let schema = Schema::parse_str(&writer).unwrap();
        let encoder = GenericDatumWriter::builder(&schema).build().unwrap();
        let ours = AvroSchema::parse(&writer, &[], Defaults::Checked).unwrap();
        let columns: Vec<(String, String)> =
            avro_columns(&ours, "__").into_iter().map(|column| (column.name, column.ty.to_string())).collect();
        let plan = plan(&writer, &columns);
        let mut block = plan.block();
        let source = TopicPartition::new("t", 0);
        let mut records = Records::new(source.clone());
        for (at, row) in rows.into_iter().enumerate() {
            let fields = row.into_iter().enumerate().map(|(at, (avro, _))| (format!("f{at}"), avro));
            let datum = encoder.write_value_to_vec(Avro::Record(fields.collect())).unwrap();
            let value = [&[0, 0, 0, 0, 1], datum.as_slice()].concat();
            records.push(at as i64, None, None, Some(&value), []);
        }
        for record in records.iter() {
            match plan.append(&mut block, &source, &record) {
                Ok(_) => {}
                // Where columns are JSON, infinity has no word; FixedString has only what it is wide.
                Err(reject) => prop_assert!(reject.reason().found.contains("inf") || reject.reason().found.contains("NaN"), "{}: {:?}", reject, columns),
            }
        }
    }
}
