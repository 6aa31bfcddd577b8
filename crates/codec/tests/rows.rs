//! What a record becomes, or why it does not.

#![expect(clippy::unwrap_used, reason = "what cannot be built here fails the test")]

use tidegate_codec::{
    Block, ColumnOptions, EpochUnit, Metadata, Plan, PlanError, PlanOptions, UnknownFields,
};
use tidegate_core::{Header, ReasonCode, Records, Reject, Timestamp, TimestampKind, TopicPartition};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};
use tidegate_schema::JsonSchema;

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

fn append(plan: &Plan, block: &mut Block, json: &[u8]) -> Result<u32, Box<Reject>> {
    let source = TopicPartition::new("events", 2);
    let mut records = Records::new(source.clone());
    let timestamp = Timestamp { millis: 1_700_000_000_123, kind: TimestampKind::CreateTime };
    let headers = [Header { name: "b", value: Some(b"2") }, Header { name: "a", value: None }];
    records.push(41, Some(timestamp), Some(b"key"), Some(json), headers);
    plan.append(block, &source, &records.get(0).unwrap()).map(|appended| appended.dropped_fields)
}

/// One value through one column `v`: its debug form, or the reason's code.
fn through(ty: &str, json: &str) -> Result<String, ReasonCode> {
    let plan = Plan::compile(&table(&[("v", ty)]), None, &PlanOptions::default()).unwrap();
    let mut block = plan.block();
    match append(&plan, &mut block, format!("{{\"v\":{json}}}").as_bytes()) {
        Ok(_) => {
            let mut native = Vec::new();
            block.encode(&mut native);
            let read = tidegate_native::read_blocks(&native).unwrap();
            assert_eq!(read.len(), 1);
            Ok(format!("{:?}", block.column("v").unwrap().value(0).unwrap()))
        }
        Err(reject) => {
            assert_eq!(block.rows(), 0);
            assert!(block.column("v").unwrap().is_empty(), "a reject leaves nothing behind");
            let reason = reject.reason();
            assert!(reason.path.starts_with("/v") || reason.path.is_empty(), "{reason:?}");
            Err(reason.code)
        }
    }
}

#[track_caller]
fn check(ty: &str, json: &str, expected: &str) {
    assert_eq!(through(ty, json).as_deref(), Ok(expected), "{json} into {ty}");
}

#[track_caller]
fn check_refused(ty: &str, json: &str, expected: ReasonCode) {
    assert_eq!(through(ty, json), Err(expected), "{json} into {ty}");
}

#[test]
fn numbers_keep_their_values_or_are_refused() {
    check("Int8", "-128", "Int(-128)");
    check("UInt64", "18446744073709551615", "UInt(18446744073709551615)");
    check("UInt64", "\"18446744073709551615\"", "UInt(18446744073709551615)");
    check("Int64", "1.0", "Int(1)");
    check("Float64", "0.1", "Float(0.1)");
    check("Decimal(9, 2)", "12.5", "Int(1250)");
    check("Decimal(38, 10)", "\"-1.5\"", "Int128(-15000000000)");
    check("Bool", "true", "UInt(1)");
    for (ty, json) in [
        ("Int8", "128"),
        ("UInt8", "-1"),
        ("Int64", "1.5"),
        ("Int64", "9223372036854775808"),
        ("Float32", "1e39"),
        ("Float64", "1e309"),
        ("Decimal(9, 2)", "0.001"),
        ("Decimal(9, 2)", "10000000"),
        ("UInt256", "-1"),
        ("BFloat16", "1e39"),
    ] {
        check_refused(ty, json, ReasonCode::OutOfRange);
    }
    for (ty, json) in [
        ("Int32", "\"1\""),
        ("Bool", "1"),
        ("UInt8", "true"),
        ("Int64", "null"),
        ("Int64", "[]"),
        ("Float64", "\"1\""),
    ] {
        check_refused(ty, json, ReasonCode::WrongType);
    }
}

#[test]
fn texts_dates_and_addresses_are_strict() {
    check("FixedString(2)", "\"ab\"", "Bytes([97, 98])");
    check("DateTime64(3, 'UTC')", "\"2024-02-29T12:34:56.789+01:00\"", "Int(1709206496789)");
    check("DateTime", "\"1970-01-01 00:00:01\"", "UInt(1)");
    check("Date", "\"1970-01-03\"", "UInt(2)");
    check("Date32", "\"1900-01-01\"", "Int(-25567)");
    check("Time64(1)", "\"-01:00:00.5\"", "Int(-36005)");
    check("Enum8('a' = 1, 'b' = -2)", "\"b\"", "Int(-2)");
    check("LowCardinality(Nullable(String))", "null", "Null");
    for (ty, json) in [
        ("FixedString(2)", "\"a\""),
        ("DateTime64(3)", "\"2024-01-01T00:00:00.0001Z\""),
        ("DateTime", "\"1969-12-31T23:59:59Z\""),
        ("DateTime64(3)", "\"1899-12-31T00:00:00Z\""),
        ("Date", "\"1969-12-31\""),
    ] {
        check_refused(ty, json, ReasonCode::OutOfRange);
    }
    check_refused("DateTime('Europe/Berlin')", "\"2024-01-01 00:00:00\"", ReasonCode::BadTimestamp);
    check_refused("DateTime", "\"yesterday\"", ReasonCode::BadTimestamp);
    check_refused("DateTime", "1", ReasonCode::WrongType);
    check_refused("Enum8('a' = 1)", "\"c\"", ReasonCode::BadEnum);
    check_refused("UUID", "\"123e4567e89b12d3a456426614174000\"", ReasonCode::BadFormat);
    check_refused("IPv4", "\"1.2.3\"", ReasonCode::BadFormat);
}

#[test]
fn compounds_take_their_parts() {
    check("Array(Nullable(Int64))", "[1,null]", "Array([Int(1), Null])");
    check("Map(String, Int64)", r#"{"a":1}"#, "Map([(Bytes([97]), Int(1))])");
    check("Map(UInt8, Int64)", r#"{"7":1}"#, "Map([(UInt(7), Int(1))])");
    check("Tuple(a Int64, b Nullable(String))", r#"{"a":1}"#, "Tuple([Int(1), Null])");
    check("Tuple(a Int64, b Int64)", "[1,2]", "Tuple([Int(1), Int(2)])");
    check("Variant(Int64, String)", "\"5\"", "Variant(1, Bytes([53]))");
    check("Variant(Array(String), Int64)", "[\"a\"]", "Variant(0, Array([Bytes([97])]))");
    check("Dynamic", "[1,null]", "Dynamic(\"Array(Nullable(Int64))\", Array([Int(1), Null]))");
    check("Nullable(JSON)", "null", "Null");
    check("JSON", r#"{"a":{"b":[1]}}"#, &format!("Bytes({:?})", br#"{"a":{"b":[1]}}"#.to_vec()));
    check_refused("JSON", r#"{"a":{"b":1,"b":2}}"#, ReasonCode::DuplicateField);
    check_refused("JSON", "[]", ReasonCode::WrongType);
    check_refused("Map(String, Int64)", r#"{"a":1,"a":2}"#, ReasonCode::DuplicateField);
    check_refused("Array(Int64)", "[1,\"x\"]", ReasonCode::WrongType);
    check_refused("Tuple(a Int64)", "{}", ReasonCode::MissingRequired);
    check_refused("Tuple(a Int64)", "[1,2]", ReasonCode::WrongType);
    check_refused("Variant(Int64, UUID)", "true", ReasonCode::WrongType);
}

#[test]
fn flattened_and_nested_columns_take_fields_of_objects() {
    let table = table(&[
        ("user__id", "UInt64"),
        ("user__name", "Nullable(String)"),
        ("items.sku", "Array(String)"),
        ("items.n", "Array(Nullable(Int64))"),
        ("plan", "String DEFAULT 'free'"),
        ("tags", "Array(String) DEFAULT []"),
        ("__v", "Nullable(Int64)"),
    ]);
    let plan = Plan::compile(&table, None, &PlanOptions::default()).unwrap();
    let mut block = plan.block();
    let json = br#"{"items":[{"sku":"a","n":1},{"sku":"b"}],"user":{"id":7,"extra":1},"__v":2,"more":{}}"#;
    assert_eq!(append(&plan, &mut block, json).unwrap(), 2);
    let value = |name: &str| format!("{:?}", block.column(name).unwrap().value(0).unwrap());
    assert_eq!(value("user__id"), "UInt(7)");
    assert_eq!(value("user__name"), "Null");
    assert_eq!(value("items.sku"), "Array([Bytes([97]), Bytes([98])])");
    assert_eq!(value("items.n"), "Array([Int(1), Null])");
    assert_eq!(value("plan"), "Null", "NULL asks the server for the default");
    assert_eq!(value("tags"), "Array([])");
    let dropped: Vec<_> = block.take_dropped().into_iter().map(|field| field.path).collect();
    assert_eq!(dropped, ["/more", "/user/extra"]);
    let reject = append(&plan, &mut block, br#"{"items":[],"user":{}}"#).unwrap_err();
    assert_eq!(
        (reject.reason().code, reject.reason().path.as_str()),
        (ReasonCode::MissingRequired, "/user/id")
    );
    assert_eq!(reject.reason().column.as_deref(), Some("user__id"));
    let reject = append(&plan, &mut block, br#"{"items":[],"user":{"id":1},"plan":null}"#).unwrap_err();
    assert_eq!(reject.reason().code, ReasonCode::WrongType, "null is a value, not an absence");
    assert_eq!(block.rows(), 1);
}

#[test]
fn unknown_fields_are_collected_at_their_places_or_refused() {
    let table = table(&[("id", "Int64"), ("user__id", "Int64"), ("rest", "JSON")]);
    let collect = PlanOptions {
        unknown_fields: UnknownFields::Collect { column: "rest".to_owned() },
        ..PlanOptions::default()
    };
    let plan = Plan::compile(&table, None, &collect).unwrap();
    let mut block = plan.block();
    append(&plan, &mut block, br#"{"x":[1, 2],"user":{"id":1,"a\n":null,"b":{}},"id":1,"y":"z"}"#).unwrap();
    let rest = format!("{:?}", block.column("rest").unwrap().value(0).unwrap());
    assert_eq!(rest, format!("Bytes({:?})", br#"{"x":[1, 2],"user":{"a\n":null,"b":{}},"y":"z"}"#.to_vec()));
    let reject = PlanOptions { unknown_fields: UnknownFields::Reject, ..PlanOptions::default() };
    let plan = Plan::compile(&table, None, &reject).unwrap();
    let refused =
        append(&plan, &mut plan.block(), br#"{"id":1,"user":{"id":1,"n":2},"rest":{}}"#).unwrap_err();
    assert_eq!((refused.reason().code, refused.reason().path.as_str()), (ReasonCode::ExtraField, "/user/n"));
}

#[test]
fn metadata_and_configured_columns_are_filled() {
    let table = table(&[
        ("_topic", "LowCardinality(String)"),
        ("_partition", "Int32"),
        ("_offset", "Int64"),
        ("_timestamp", "DateTime64(6)"),
        ("_key", "Nullable(String)"),
        ("_headers", "Map(String, Nullable(String))"),
        ("at", "DateTime64(3)"),
        ("day", "DateTime"),
        ("n", "Int64"),
        ("raw", "String"),
        ("o", "Int64"),
    ]);
    let mut options = PlanOptions::default();
    options
        .columns
        .insert("at".to_owned(), ColumnOptions { epoch: Some(EpochUnit::Millis), ..Default::default() });
    options.columns.insert(
        "day".to_owned(),
        ColumnOptions { formats: vec!["%d.%m.%Y".to_owned()], ..Default::default() },
    );
    options.columns.insert(
        "n".to_owned(),
        ColumnOptions { path: Some(vec!["a".to_owned(), "b".to_owned()]), ..Default::default() },
    );
    options.columns.insert("raw".to_owned(), ColumnOptions { json_text: true, ..Default::default() });
    options
        .columns
        .insert("o".to_owned(), ColumnOptions { metadata: Some(Metadata::Offset), ..Default::default() });
    let plan = Plan::compile(&table, None, &options).unwrap();
    let mut block = plan.block();
    append(&plan, &mut block, br#"{"at":1500,"day":"02.01.1970","a":{"b":3},"raw":[1, "x"]}"#).unwrap();
    let value = |name: &str| format!("{:?}", block.column(name).unwrap().value(0).unwrap());
    assert_eq!(value("_partition"), "Int(2)");
    assert_eq!(value("_offset"), "Int(41)");
    assert_eq!(value("_timestamp"), "Int(1700000000123000)");
    assert_eq!(value("_headers"), "Map([(Bytes([97]), Null), (Bytes([98]), Bytes([50]))])");
    assert_eq!(
        (value("at"), value("day"), value("n"), value("o")),
        ("Int(1500)".into(), "UInt(86400)".into(), "Int(3)".into(), "Int(41)".into())
    );
    assert_eq!(value("raw"), format!("Bytes({:?})", b"[1, \"x\"]".to_vec()));
}

#[test]
fn a_schema_s_rules_are_checked_with_all_reasons_told() {
    let schema = JsonSchema::parse(
        r#"{"type":"object","required":["id","kind"],"additionalProperties":false,"properties":{
            "id":{"type":"integer","minimum":1},"kind":{"enum":["a","b"]},"at":{"type":"string","format":"date-time"},
            "list":{"type":"array","items":{"anyOf":[{"minimum":5},{"multipleOf":2}]},"maxItems":2}}}"#,
    )
    .unwrap();
    let table = table(&[
        ("id", "Int64"),
        ("kind", "String"),
        ("at", "Nullable(DateTime64(3))"),
        ("list", "Array(Int64) DEFAULT []"),
    ]);
    let plan = Plan::compile(&table, Some(&schema), &PlanOptions::default()).unwrap();
    let mut block = plan.block();
    append(&plan, &mut block, br#"{"id":1,"kind":"a","at":"2024-01-01T00:00:00Z","list":[2,7]}"#).unwrap();
    for (json, code, path) in [
        (r#"{"id":0,"kind":"a"}"#, ReasonCode::OutOfRange, "/id"),
        (r#"{"id":1,"kind":"c"}"#, ReasonCode::BadEnum, "/kind"),
        (r#"{"id":1,"kind":"a","at":"x"}"#, ReasonCode::BadTimestamp, "/at"),
        (r#"{"id":1,"kind":"a","x":1}"#, ReasonCode::ExtraField, "/x"),
        (r#"{"id":1}"#, ReasonCode::MissingRequired, "/kind"),
        (r#"{"id":1,"kind":"a","list":[1]}"#, ReasonCode::SchemaViolation, "/list/0"),
        (r#"{"id":1,"kind":"a","list":[6,6,6]}"#, ReasonCode::TooLong, "/list"),
        (r#"{"id":1,"id":1,"kind":"a"}"#, ReasonCode::DuplicateField, "/id"),
        (r#"{"id":1,"kind":"a"}}"#, ReasonCode::NotJson, ""),
        (r#"[]"#, ReasonCode::WrongType, ""),
    ] {
        let reject = append(&plan, &mut block, json.as_bytes()).unwrap_err();
        assert_eq!((reject.reason().code, reject.reason().path.as_str()), (code, path), "{json}: {reject}");
    }
    let reject = append(&plan, &mut block, br#"{"id":0,"kind":"c","at":"x"}"#).unwrap_err();
    let codes: Vec<_> = reject.reasons.iter().map(|reason| (reason.code, reason.path.as_str())).collect();
    assert!(
        codes.contains(&(ReasonCode::BadEnum, "/kind")) && codes.contains(&(ReasonCode::BadTimestamp, "/at")),
        "{codes:?}"
    );
    assert_eq!(codes.iter().filter(|(_, path)| *path == "/id").count(), 1);
    assert_eq!(block.rows(), 1);
}

#[test]
fn tables_that_no_plan_can_fill_are_told_at_compile_time() {
    let compile =
        |columns: &[(&str, &str)]| Plan::compile(&table(columns), None, &PlanOptions::default()).map(|_| ());
    assert!(matches!(compile(&[("a", "JSON"), ("a__b", "Int64")]), Err(PlanError::PathTaken { .. })));
    assert!(matches!(
        compile(&[("a", "Nullable(DateTime) DEFAULT now()")]),
        Err(PlanError::DefaultByRow { .. })
    ));
    assert!(matches!(compile(&[("a", "AggregateFunction(sum, Int64)")]), Err(PlanError::Column { .. })));
    assert!(compile(&[("a", "DateTime DEFAULT now()"), ("b", "LowCardinality(String) DEFAULT 'x'")]).is_ok());
}

#[test]
fn the_fingerprint_changes_with_table_and_options() {
    let plan = |columns: &[(&str, &str)], options: &PlanOptions| {
        Plan::compile(&table(columns), None, options).unwrap().fingerprint()
    };
    let options = PlanOptions::default();
    let reject = PlanOptions { unknown_fields: UnknownFields::Reject, ..PlanOptions::default() };
    assert_eq!(plan(&[("a", "Int64")], &options), plan(&[("a", "Int64")], &options));
    assert_ne!(plan(&[("a", "Int64")], &options), plan(&[("a", "Int32")], &options));
    assert_ne!(plan(&[("a", "Int64")], &options), plan(&[("a", "Int64")], &reject));
}

fn tagged_schema() -> JsonSchema {
    JsonSchema::parse(
        r##"{
            "oneOf": [{"$ref": "#/$defs/opened"}, {"$ref": "#/$defs/closed"}, {"$ref": "#/$defs/moved"}],
            "$defs": {
                "opened": {
                    "type": "object", "required": ["action", "n"],
                    "properties": {"action": {"const": "opened"}, "n": {"type": "integer", "maximum": 9}}
                },
                "closed": {
                    "type": "object", "required": ["action"], "additionalProperties": false,
                    "properties": {"action": {"enum": ["closed", "shut"]}, "n": {"type": "string"}}
                },
                "moved": {
                    "type": "object", "allOf": [{
                        "required": ["action", "to"],
                        "properties": {"action": {"enum": ["moved"], "type": "string"}}
                    }],
                    "properties": {"to": {"type": "object", "oneOf": [
                        {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "a"}, "x": {"type": "null"}}},
                        {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "b"}, "x": {"type": "integer"}}}
                    ]}}
                }
            }
        }"##,
    )
    .unwrap()
}

#[test]
fn of_tagged_alternatives_the_tag_decides_wherever_it_stands() {
    let schema = tagged_schema();
    let columns = [
        ("action", "String"),
        ("n", "Nullable(String)"),
        ("to__kind", "Nullable(String)"),
        ("to__x", "Nullable(Int64)"),
    ];
    let plan = Plan::compile(&table(&columns), Some(&schema), &PlanOptions::default()).unwrap();
    let check = |json: &str, expected: Option<(&str, &str)>| {
        let appended = append(&plan, &mut plan.block(), json.as_bytes());
        let theirs = schema.passes(&serde_json::from_str(json).unwrap());
        assert_eq!(theirs, expected.is_none(), "the case itself: {json}");
        let reason = appended.as_ref().err().map(|reject| reject.reason());
        assert_eq!(reason.map(|r| (r.path.as_str(), r.expected.as_str())), expected, "{json}");
    };
    check(r#"{"n":"x","action":"closed"}"#, None);
    check(r#" { "n" : "x", "action" : "sh\u0075t" } "#, None);
    check(r#"{"action":"moved","to":{"x":null,"kind":"a"}}"#, None);
    check(r#"{"to":{"x":1,"kind":"b"},"action":"moved"}"#, None);
    check(r#"{"n":"x","action":"opened"}"#, Some(("/n", "integer")));
    check(r#"{"n":10,"action":"opened"}"#, Some(("/n", "at most `9`")));
    check(r#"{"action":"opened"}"#, Some(("/n", "a field `n`")));
    check(r#"{"action":"closed","m":1}"#, Some(("/m", "no field of this name")));
    check(r#"{"n":"x"}"#, Some(("/action", "a field `action`")));
    let listed = "one of `opened`, `closed`, `shut`, `moved`";
    check(r#"{"action":"other"}"#, Some(("/action", listed)));
    check(r#"{"action":["closed"]}"#, Some(("/action", listed)));
    check(r#"{"action":"moved","to":{"kind":"b","x":null}}"#, Some(("/to/x", "integer")));
    check(r#"{"action":"moved","to":{"x":null}}"#, Some(("/to/kind", "a field `kind`")));
    check("7", Some(("", "object")));
}

#[test]
fn broken_text_before_the_tag_is_no_json_and_a_tag_that_repeats_is_a_duplicate() {
    let schema = tagged_schema();
    let plan = Plan::compile(
        &table(&[("action", "String"), ("n", "Nullable(String)")]),
        Some(&schema),
        &PlanOptions::default(),
    )
    .unwrap();
    let code = |json: &str| append(&plan, &mut plan.block(), json.as_bytes()).unwrap_err().reason().code;
    assert_eq!(code(r#"{"n":tru,"action":"closed"}"#), ReasonCode::NotJson);
    assert_eq!(code(r#"{"n":1,"#), ReasonCode::NotJson);
    assert_eq!(code(r#"{"action":"closed","action":"opened"}"#), ReasonCode::DuplicateField);
}

#[test]
fn a_value_that_is_no_json_is_told_so_whatever_else_is_wrong_with_its_beginning() {
    let schema = JsonSchema::parse(r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#).unwrap();
    let plan = Plan::compile(&table(&[("n", "UInt8")]), Some(&schema), &PlanOptions::default()).unwrap();
    let code = |json: &str| append(&plan, &mut plan.block(), json.as_bytes()).unwrap_err().reason().code;
    for text in ["null and void", "7 of 9", "[1] [2]", r#"{"n":"x""#, r#"{"n":300} {"n":1}"#, r#"{"n":"x",}"#]
    {
        assert_eq!(code(text), ReasonCode::NotJson, "{text}");
    }
    for text in ["null", "7", "[1]", r#"{"n":"x"}"#] {
        assert_eq!(code(text), ReasonCode::WrongType, "{text}");
    }
    assert_eq!(code(r#"{"n":300}"#), ReasonCode::OutOfRange);
}

#[test]
fn of_alternatives_without_a_tag_the_one_that_came_closest_is_told() {
    let schema = JsonSchema::parse(
        r#"{"properties": {"v": {"anyOf": [
            {"type": "string"},
            {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}, "b": {"maximum": 5}}},
            {"type": "object", "required": ["c", "d"]}
        ]}}}"#,
    )
    .unwrap();
    let mut options = PlanOptions::default();
    options.columns.insert("v".to_owned(), ColumnOptions { json_text: true, ..ColumnOptions::default() });
    let plan = Plan::compile(&table(&[("v", "String")]), Some(&schema), &options).unwrap();
    let place = |json: &str| {
        let reject = append(&plan, &mut plan.block(), json.as_bytes()).unwrap_err();
        (reject.reason().path.clone(), reject.reason().found.clone())
    };
    assert_eq!(place(r#"{"v":{"a":1,"b":7}}"#), ("/v/b".to_owned(), "7".to_owned()));
    assert_eq!(place(r#"{"v":{"b":1}}"#), ("/v/a".to_owned(), "nothing".to_owned()));
    assert_eq!(place(r#"{"v":[]}"#), ("/v".to_owned(), "[]".to_owned()));
}

#[test]
fn the_schema_s_rules_are_not_for_a_column_s_default() {
    let schema = JsonSchema::parse(r#"{"properties":{"list":{"type":"array","minItems":1}}}"#).unwrap();
    let plan =
        Plan::compile(&table(&[("list", "Array(Int64) DEFAULT []")]), Some(&schema), &PlanOptions::default())
            .unwrap();
    let mut block = plan.block();
    append(&plan, &mut block, b"{}").unwrap();
    let reject = append(&plan, &mut block, br#"{"list":[]}"#).unwrap_err();
    assert_eq!(reject.reason().path, "/list");
    assert_eq!(block.rows(), 1);
}
