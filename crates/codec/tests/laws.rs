//! What holds for every input.

#![expect(clippy::unwrap_used, reason = "what cannot be built here fails the test")]

use proptest::prelude::*;
use serde_json::{Map, Value};
use tidegate_codec::{ColumnOptions, Plan, PlanOptions, UnknownFields};
use tidegate_core::{ReasonCode, Records, TopicPartition};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};
use tidegate_schema::JsonSchema;

fn plan() -> Plan {
    let columns = [
        ("a", "Int64"),
        ("b", "Nullable(String)"),
        ("c__d", "Array(Nullable(Float64))"),
        ("c__e", "LowCardinality(String) DEFAULT 'x'"),
        ("v", "Variant(Int64, String, Array(String))"),
        ("y", "Dynamic"),
        ("m", "Map(String, Nullable(Int8)) DEFAULT map()"),
        ("t", "Tuple(p Nullable(Int64), q Array(UInt8))"),
        ("j", "Nullable(JSON)"),
        ("n.k", "Array(Nullable(Int64)) DEFAULT []"),
        ("rest", "String"),
    ];
    let columns = columns.map(|(name, ty)| {
        let (ty, default) = match ty.split_once(" DEFAULT ") {
            Some((ty, expression)) => (ty, ColumnDefault::Default { expression: expression.to_owned() }),
            None => (ty, ColumnDefault::None),
        };
        TableColumn { name: name.to_owned(), ty: Type::parse(ty).unwrap(), default }
    });
    let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.into() };
    let schema = JsonSchema::parse(r#"{"properties":{"a":{"type":"integer","maximum":100},"j":{"type":["object","null"],"additionalProperties":{"type":["number","string"]}},"b":{"maxLength":5}}}"#).unwrap();
    let options = PlanOptions {
        unknown_fields: UnknownFields::Collect { column: "rest".to_owned() },
        ..PlanOptions::default()
    };
    Plan::compile(&table, Some(&schema), &options).unwrap()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        (-200_i64..200).prop_map(Value::from),
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::String),
        "[\"\\\\a\n\u{1}é😀]{0,20}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec(("[abcdejkmnpqtvy]|\\PC{0,3}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Records that often fit the table of [`plan`], and often not quite.
fn any_record() -> impl Strategy<Value = Vec<u8>> {
    let fitting = (0..120_i64, any_json(), any_json(), any_json(), prop::collection::vec(0..300_i64, 0..3))
        .prop_map(|(a, x, y, z, q)| {
            serde_json::json!({"a": a, "c": {"d": [1, null], "w": x}, "v": z, "y": y, "t": {"q": q}, "u": 1})
                .to_string()
                .into_bytes()
        });
    let mangled = (any_json(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(value, at, byte)| {
        let mut bytes = value.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![3 => fitting, 1 => any_json().prop_map(|v| v.to_string().into_bytes()), 1 => mangled, 1 => prop::collection::vec(any::<u8>(), 0..60)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rows are the records that were not rejected, and rejects leave no trace: the block is what the
    /// other records alone would have made.
    #[test]
    fn rejects_leave_the_block_as_it_was(records in prop::collection::vec(any_record(), 1..12)) {
        let plan = plan();
        let source = TopicPartition::new("t", 0);
        let mut arena = Records::new(source.clone());
        for (offset, record) in records.iter().enumerate() {
            arena.push(offset as i64, None, None, Some(record), []);
        }
        let mut mixed = plan.block();
        let accepted: Vec<_> = arena.iter().filter(|record| plan.append(&mut mixed, &source, record).is_ok()).collect();
        prop_assert_eq!(mixed.rows(), accepted.len());
        let mut clean = plan.block();
        for record in accepted {
            prop_assert!(plan.append(&mut clean, &source, &record).is_ok());
        }
        let (mut one, mut other) = (Vec::new(), Vec::new());
        mixed.encode(&mut one);
        clean.encode(&mut other);
        let rows = |bytes: &[u8]| {
            let blocks = tidegate_native::read_blocks(bytes).unwrap();
            format!("{:?}", blocks.iter().flat_map(|block| block.columns.iter().map(|c| (0..block.rows).map(|r| c.column.value(r)).collect::<Vec<_>>())).collect::<Vec<_>>())
        };
        prop_assert_eq!(rows(&one), rows(&other));
    }

    /// What is JSON is what serde_json takes for it, but for names that repeat.
    #[test]
    fn the_grammar_is_that_of_rfc_8259(record in any_record()) {
        let table = Table {
            database: "d".to_owned(),
            name: "t".to_owned(),
            columns: vec![TableColumn { name: "v".to_owned(), ty: Type::String, default: ColumnDefault::None }],
        };
        let mut options = PlanOptions::default();
        options.columns.insert("v".to_owned(), ColumnOptions { json_text: true, ..ColumnOptions::default() });
        let plan = Plan::compile(&table, None, &options).unwrap();
        let source = TopicPartition::new("t", 0);
        let bytes = [b"{\"v\":", record.as_slice(), b"}"].concat();
        let mut arena = Records::new(source.clone());
        arena.push(0, None, None, Some(&bytes), []);
        let ours = plan.append(&mut plan.block(), &source, &arena.get(0).unwrap());
        let theirs = serde_json::from_slice::<Value>(&bytes);
        match ours {
            Ok(_) => prop_assert!(theirs.is_ok()),
            Err(reject) => match reject.reason().code {
                ReasonCode::NotJson | ReasonCode::NotUtf8 => prop_assert!(theirs.is_err(), "{}", reject),
                ReasonCode::DuplicateField | ReasonCode::TooLarge => {}
                code => prop_assert!(theirs.is_err() || code == ReasonCode::ExtraField, "{}", reject),
            },
        }
    }
}
