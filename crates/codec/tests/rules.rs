//! The rules of columns refuse what the same rules of a JSON Schema refuse, and say the same of it.

#![expect(clippy::unwrap_used, reason = "what cannot be built here fails the test")]

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_codec::{
    Block, ColumnOptions, ColumnRules, PersonalAction, PersonalColumn, Plan, PlanError, PlanOptions,
    PseudonymKey, SchemaKey, WireFormat, WriterSchema, WriterSchemas, json_to_avro,
};
use tidegate_core::{Reason, Records, Reject, Stage, TopicPartition};
use tidegate_languages::avro::{AvroSchema, Defaults};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type, Value};
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

fn with_rules(rules: &[(&str, ColumnRules)]) -> PlanOptions {
    let mut options = PlanOptions::default();
    let own = options.tables.entry("t".to_owned()).or_default();
    for (name, rules) in rules {
        let rules = Some(rules.clone());
        own.insert((*name).to_owned(), ColumnOptions { rules, ..ColumnOptions::default() });
    }
    options
}

fn bounds(min: &str, max: &str) -> ColumnRules {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ColumnRules { min: said(min), max: said(max), ..ColumnRules::default() }
}

fn texts(max_length: Option<u64>, pattern: &str) -> ColumnRules {
    let pattern = (!pattern.is_empty()).then(|| pattern.to_owned());
    ColumnRules { max_length, pattern, ..ColumnRules::default() }
}

fn format(name: &str) -> ColumnRules {
    ColumnRules { format: Some(name.to_owned()), ..ColumnRules::default() }
}

fn members<const N: usize>(members: [(&str, ColumnRules); N]) -> ColumnRules {
    let members = members.map(|(name, rules)| (name.to_owned(), rules)).into();
    ColumnRules { members, ..ColumnRules::default() }
}

fn append(plan: &Plan, block: &mut Block, value: &[u8]) -> Result<(), Box<Reject>> {
    let source = TopicPartition::new("events", 0);
    let mut records = Records::new(source.clone());
    records.push(0, None, None, Some(value), []);
    plan.append(block, &source, &records.get(0).unwrap()).map(|_| ())
}

fn avro_of(fields: &str) -> AvroSchema {
    let text = format!(r#"{{"type":"record","name":"e","fields":[{fields}]}}"#);
    AvroSchema::parse(&text, &[], Defaults::Checked).unwrap()
}

fn avro_plan(table: &Table, schema: &AvroSchema, options: &PlanOptions) -> Plan {
    let writers = WriterSchemas::default();
    writers.insert(SchemaKey::Id(1), WriterSchema::Avro(Arc::new(schema.clone())));
    Plan::of_writers(table, &WireFormat::Avro { reader: None }, &writers, options).unwrap()
}

fn framed(datum: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 1][..], datum].concat()
}

/// A rule in the words of each language, and the types of the field that has it.
struct Ruled {
    column: &'static str,
    avro: String,
    json: String,
    rules: ColumnRules,
}

fn ruled(column: &'static str, avro: &str, json: &str, rules: ColumnRules) -> Ruled {
    Ruled { column, avro: avro.to_owned(), json: json.to_owned(), rules }
}

/// What becomes of a value, by the JSON Schema and by the rules of the column: the same.
#[track_caller]
fn verdict(of: &Ruled, value: &str) -> Option<Reason> {
    let table = table(&[("v", of.column), ("x", "UInt8")]);
    let json = format!(r#"{{"type":"object","properties":{{"v":{}}}}}"#, of.json);
    let schema = JsonSchema::parse(&json).unwrap();
    let by_schema = Plan::compile(&table, Some(&schema), &PlanOptions::default()).unwrap();
    let avro = avro_of(&format!(r#"{{"name":"v","type":{}}},{{"name":"x","type":"int"}}"#, of.avro));
    let by_rules = avro_plan(&table, &avro, &with_rules(&[("v", of.rules.clone())]));
    let record = format!(r#"{{"v":{value},"x":7}}"#);
    let datum = framed(&json_to_avro(&avro, &record).unwrap());
    let (mut of_schema, mut of_rules) = (by_schema.block(), by_rules.block());
    let refused = append(&by_schema, &mut of_schema, record.as_bytes()).err();
    let refused_too = append(&by_rules, &mut of_rules, &datum).err();
    if let (None, None) = (&refused, &refused_too) {
        assert_eq!(
            of_schema.column("v").unwrap().value(0),
            of_rules.column("v").unwrap().value(0),
            "{value}"
        );
    }
    let [mut first, mut second] =
        [refused, refused_too].map(|reject| reject.map(|reject| (reject.stage, reject.reasons)));
    // The general validator of JSON Schema may say more of the same value.
    for (_, reasons) in [&mut first, &mut second].into_iter().flatten() {
        reasons.truncate(1);
    }
    assert_eq!(first, second, "{value} into {} by {}", of.column, of.json);
    let (stage, mut reasons) = first?;
    assert_eq!(stage, Stage::Validate, "{value}");
    reasons.pop()
}

#[track_caller]
fn check(of: &Ruled, kept: &[&str], broken: &[(&str, &str, &str)]) {
    for value in kept {
        assert_eq!(verdict(of, value), None, "{value} into {}", of.column);
    }
    for (value, rule, path) in broken {
        let reason = verdict(of, value).unwrap_or_else(|| panic!("{value} into {}: accepted", of.column));
        assert_eq!((reason.rule.as_deref(), reason.path.as_str()), (Some(*rule), *path), "{value}");
    }
}

#[test]
fn numbers_are_within_their_bounds_as_json_schema_has_them() {
    let byte = ruled("UInt8", r#""int""#, r#"{"minimum":2,"maximum":10}"#, bounds("2", "10"));
    check(
        &byte,
        &["2", "5", "10"],
        &[("1", "minimum", "/v"), ("11", "maximum", "/v"), ("255", "maximum", "/v")],
    );
    let long = r#"{"minimum":-9007199254740993}"#;
    let long = ruled("Nullable(Int64)", r#"["null","long"]"#, long, bounds("-9007199254740993", ""));
    check(&long, &["null", "-9007199254740993", "0"], &[("-9007199254740994", "minimum", "/v")]);
    let double = ruled("Float64", r#""double""#, r#"{"minimum":0.1,"maximum":2}"#, bounds("0.1", "2"));
    check(
        &double,
        &["0.1", "1.5", "2", "1"],
        &[
            ("0.05", "minimum", "/v"),
            ("2.5", "maximum", "/v"),
            ("-1e300", "minimum", "/v"),
            ("3", "maximum", "/v"),
        ],
    );
    let float = ruled("Float32", r#""float""#, r#"{"maximum":0.1}"#, bounds("", "0.1"));
    check(&float, &["0.1", "-7"], &[("0.25", "maximum", "/v")]);
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":30,"scale":2}"#;
    for column in ["Decimal(9, 2)", "Decimal(18, 2)", "Decimal(38, 2)", "Decimal(76, 2)"] {
        let decimal = ruled(column, decimal, r#"{"minimum":0,"maximum":10.5}"#, bounds("0", "10.5"));
        check(&decimal, &["0", "10.5", "3"], &[("10.51", "maximum", "/v"), ("-0.01", "minimum", "/v")]);
    }
    for column in ["Int128", "UInt128", "Int256", "UInt256", "LowCardinality(UInt32)"] {
        let wide = ruled(column, r#""long""#, r#"{"maximum":7}"#, bounds("", "7"));
        check(&wide, &["7"], &[("8", "maximum", "/v")]);
    }
}

#[test]
fn texts_keep_to_length_pattern_format_and_words_as_json_schema_has_them() {
    let pattern = r#"{"maxLength":3,"pattern":"^[a-zäöü]*$"}"#;
    let short = texts(Some(3), "^[a-zäöü]*$");
    for column in ["String", "LowCardinality(String)"] {
        let text = ruled(column, r#""string""#, pattern, short.clone());
        let broken =
            [("\"äöüä\"", "maxLength", "/v"), ("\"A\"", "pattern", "/v"), ("\"a\\n\"", "pattern", "/v")];
        check(&text, &["\"äöü\"", "\"\""], &broken);
    }
    for column in ["Nullable(String)", "LowCardinality(Nullable(String))"] {
        let text = ruled(column, r#"["null","string"]"#, pattern, short.clone());
        check(&text, &["null", "\"abc\""], &[("\"abcd\"", "maxLength", "/v")]);
    }
    // What only the general validator knows of.
    let foreign = ruled("String", r#""string""#, r#"{"pattern":"^(?!x\")a"}"#, texts(None, "^(?!x\")a"));
    check(&foreign, &["\"a\\\"\""], &[("\"x\\\"a\"", "pattern", "/v")]);
    let uri = ruled("String", r#""string""#, r#"{"format":"uri"}"#, format("uri"));
    check(&uri, &["\"https://a.example/b?c\""], &[("\"/b\"", "format", "/v"), ("\"a b\"", "format", "/v")]);
    let email = ruled("String", r#""string""#, r#"{"format":"email"}"#, format("email"));
    check(&email, &["\"a@b.example\""], &[("\"a\"", "format", "/v")]);
    let words = ColumnRules { one_of: vec!["a".to_owned(), "b\"".to_owned()], ..ColumnRules::default() };
    let words = ruled("String", r#""string""#, r#"{"enum":["a","b\""]}"#, words);
    check(&words, &["\"a\"", "\"b\\\"\""], &[("\"c\"", "enum", "/v")]);
    let symbols = r#"{"type":"enum","name":"w","symbols":["one","seven"]}"#;
    for column in ["Enum8('one' = 1, 'seven' = 7)", "Enum16('one' = 1, 'seven' = 700)"] {
        let word = ruled(column, symbols, r#"{"maxLength":3}"#, texts(Some(3), ""));
        check(&word, &["\"one\""], &[("\"seven\"", "maxLength", "/v")]);
    }
    let fixed = ruled("FixedString(3)", r#""string""#, r#"{"pattern":"^[a-c]*$"}"#, texts(None, "^[a-c]*$"));
    check(&fixed, &["\"abc\""], &[("\"abd\"", "pattern", "/v")]);
}

#[test]
fn each_value_of_a_list_map_or_tuple_has_the_rule_and_its_own_place() {
    let items = r#"{"items":{"maxLength":2}}"#;
    let list = ruled("Array(String)", r#"{"type":"array","items":"string"}"#, items, texts(Some(2), ""));
    check(&list, &["[]", "[\"ab\"]"], &[("[\"a\",\"abc\"]", "maxLength", "/v/1")]);
    let lists = r#"{"type":"array","items":{"type":"array","items":"int"}}"#;
    let lists = ruled("Array(Array(Int32))", lists, r#"{"items":{"items":{"maximum":3}}}"#, bounds("", "3"));
    check(&lists, &["[[],[3]]"], &[("[[1,2],[3,4]]", "maximum", "/v/1/1")]);
    let map = r#"{"additionalProperties":{"maximum":3}}"#;
    let map = ruled("Map(String, Int32)", r#"{"type":"map","values":"int"}"#, map, bounds("", "3"));
    check(&map, &["{\"a\":3}"], &[("{\"a\":1,\"b/c\":9}", "maximum", "/v/b~1c")]);
    let item = r#"{"type":"record","name":"i","fields":[{"name":"sku","type":"string"},{"name":"n","type":["null","int"]}]}"#;
    let ruled_members = members([("n", bounds("1", "")), ("sku", texts(None, "^[A-Z]+$"))]);
    let json = r#"{"items":{"properties":{"n":{"minimum":1},"sku":{"pattern":"^[A-Z]+$"}}}}"#;
    let objects = ruled(
        "Array(Tuple(sku LowCardinality(String), n Nullable(UInt16)))",
        &format!(r#"{{"type":"array","items":{item}}}"#),
        json,
        ruled_members,
    );
    let kept = [r#"[{"sku":"A","n":1},{"sku":"B","n":null}]"#];
    let broken = [
        (r#"[{"sku":"A","n":1},{"sku":"b","n":1}]"#, "pattern", "/v/1/sku"),
        (r#"[{"sku":"A","n":0}]"#, "minimum", "/v/0/n"),
    ];
    check(&objects, &kept, &broken);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_number_is_judged_as_by_json_schema(value in -40_i64..40, low in -30_i64..30, span in 0_i64..30, places in 0_u32..3) {
        let decimal = |number: i64| format!("{}e-{places}", number);
        let (min, max) = (decimal(low), decimal(low + span));
        let json = format!(r#"{{"minimum":{min},"maximum":{max}}}"#);
        verdict(&ruled("Int32", r#""int""#, &json, bounds(&min, &max)), &value.to_string());
        let halves = format!("{:?}", value as f64 / 2.0);
        let halves = halves.strip_suffix(".0").unwrap_or(&halves);
        verdict(&ruled("Float64", r#""double""#, &json, bounds(&min, &max)), halves);
    }

    #[test]
    fn any_text_is_judged_as_by_json_schema(value in "[aä\\PC]{0,6}", most in 0_u64..6, pattern in "(\\^?[a-c]\\+?|\\[\\^a\\]|\\\\d|\\.\\*){0,3}\\$?") {
        let quoted = serde_json::to_string(&value).unwrap();
        let json = serde_json::json!({"maxLength": most, "pattern": pattern}).to_string();
        let rules = ColumnRules { max_length: Some(most), pattern: Some(pattern), ..ColumnRules::default() };
        verdict(&ruled("LowCardinality(String)", r#""string""#, &json, rules), &quoted);
    }
}

#[test]
fn what_no_number_of_json_is_lies_within_no_bounds() {
    let schema = avro_of(r#"{"name":"v","type":"double"}"#);
    let table = table(&[("v", "Float64")]);
    let found = |rules: ColumnRules, value: f64| {
        let plan = avro_plan(&table, &schema, &with_rules(&[("v", rules)]));
        let refused = append(&plan, &mut plan.block(), &framed(&value.to_le_bytes())).err();
        refused.map(|reject| (reject.reasons[0].rule.clone().unwrap(), reject.reasons[0].found.clone()))
    };
    let told = |rule: &str, found: &str| Some((rule.to_owned(), found.to_owned()));
    assert_eq!(found(bounds("0", ""), f64::NAN), told("minimum", "NaN"));
    assert_eq!(found(bounds("", "0"), f64::NAN), told("maximum", "NaN"));
    assert_eq!(found(bounds("", "9"), f64::INFINITY), told("maximum", "Infinity"));
    assert_eq!(found(bounds("0", ""), f64::NEG_INFINITY), told("minimum", "-Infinity"));
    assert_eq!(found(bounds("0", ""), f64::INFINITY), None);
}

#[test]
fn a_broken_rule_leaves_the_block_as_it_was_and_each_broken_column_is_told() {
    let columns = table(&[("word", "Nullable(String)"), ("n", "UInt8"), ("list", "Array(String)")]);
    let options =
        with_rules(&[("word", texts(Some(3), "")), ("n", bounds("", "9")), ("list", texts(None, "^a"))]);
    let schema = avro_of(
        r#"{"name":"word","type":"string"},{"name":"n","type":"int"},{"name":"list","type":{"type":"array","items":"string"}}"#,
    );
    let plan = avro_plan(&columns, &schema, &options);
    let datum = |json: &str| framed(&json_to_avro(&schema, json).unwrap());
    let native = |block: &Block| {
        let mut out = Vec::new();
        block.encode(&mut out);
        out
    };
    let mut block = plan.block();
    append(&plan, &mut block, &datum(r#"{"word":"one","n":1,"list":["a"]}"#)).unwrap();
    let before = native(&block);
    let reject =
        append(&plan, &mut block, &datum(r#"{"word":"three","n":10,"list":["a","b"]}"#)).unwrap_err();
    assert_eq!(reject.stage, Stage::Validate);
    let told: Vec<_> =
        reject.reasons.iter().map(|reason| (reason.path.as_str(), reason.column.as_deref())).collect();
    assert_eq!(told, [("/word", Some("word")), ("/n", Some("n")), ("/list/1", Some("list"))]);
    assert_eq!((block.rows(), native(&block)), (1, before));
    append(&plan, &mut block, &datum(r#"{"word":"two","n":9,"list":[]}"#)).unwrap();
    assert_eq!((block.rows(), block.column("n").unwrap().value(1)), (2, Some(Value::UInt(9))));
}

#[test]
fn what_is_put_in_for_an_absent_field_is_not_judged() {
    let columns =
        table(&[("v", "Nullable(UInt32) DEFAULT 5"), ("w", "String DEFAULT 'none'"), ("x", "UInt8")]);
    let options = with_rules(&[("v", bounds("", "3")), ("w", texts(Some(1), ""))]);
    let lacking = avro_of(r#"{"name":"x","type":"int"}"#);
    let plan = avro_plan(&columns, &lacking, &options);
    let mut block = plan.block();
    append(&plan, &mut block, &framed(&[2])).unwrap();
    assert_eq!(block.column("v").unwrap().value(0), Some(Value::UInt(5)));
    let plan = Plan::compile(&columns, None, &options).unwrap();
    let mut block = plan.block();
    append(&plan, &mut block, br#"{"x":1}"#).unwrap();
    append(&plan, &mut block, br#"{"x":1,"v":null,"w":"a"}"#).unwrap();
    // Said by the producer, it is.
    let refused = append(&plan, &mut block, br#"{"x":1,"v":5}"#).unwrap_err();
    assert_eq!((refused.reasons[0].path.as_str(), block.rows()), ("/v", 2));
}

#[test]
fn a_broken_rule_of_personal_data_is_named_and_its_value_is_not() {
    let key = PseudonymKey::new(b"a key of thirty-two bytes, or so.").unwrap();
    let action = PersonalAction::Pseudonymise { key, per: Vec::new() };
    let clear = Some(Type::UInt64);
    let mut options = with_rules(&[("id", bounds("", "99"))]);
    let own = options.tables.get_mut("t").unwrap().get_mut("id").unwrap();
    own.personal = Some(PersonalColumn { clear, action });
    let columns = table(&[("id", "String"), ("x", "UInt8")]);
    let schema = avro_of(r#"{"name":"id","type":"long"},{"name":"x","type":"int"}"#);
    let plan = avro_plan(&columns, &schema, &options);
    let datum = |json: &str| framed(&json_to_avro(&schema, json).unwrap());
    let mut block = plan.block();
    append(&plan, &mut block, &datum(r#"{"id":99,"x":1}"#)).unwrap();
    let reject = append(&plan, &mut block, &datum(r#"{"id":31337,"x":1}"#)).unwrap_err();
    let reason = &reject.reasons[0];
    assert_eq!((reason.rule.as_deref(), reason.path.as_str()), (Some("maximum"), "/id"));
    assert!(reason.expected.contains("99") && !format!("{reject:?}").contains("31337"), "{reject:?}");
    let mut native = Vec::new();
    block.encode(&mut native);
    assert_eq!(tidegate_native::read_blocks(&native).unwrap().len(), 1);
}

#[test]
fn the_place_is_the_one_that_the_records_schema_has() {
    let columns = table(&[("a__b", "UInt8"), ("c", "UInt8"), ("n.s", "Array(String)")]);
    let mut options =
        with_rules(&[("a__b", bounds("", "3")), ("c", bounds("", "3")), ("n.s", texts(Some(1), ""))]);
    let own = options.tables.get_mut("t").unwrap().get_mut("c").unwrap();
    own.path = Some(vec!["x".to_owned(), "y".to_owned()]);
    let object = |name: &str, field: &str| {
        let of =
            format!(r#"{{"type":"record","name":"of_{name}","fields":[{{"name":"{field}","type":"int"}}]}}"#);
        format!(r#"{{"name":"{name}","type":{of}}}"#)
    };
    let item = r#"{"type":"record","name":"i","fields":[{"name":"s","type":"string"}]}"#;
    let rest = format!(r#"{},{{"name":"n","type":{{"type":"array","items":{item}}}}}"#, object("x", "y"));
    let whole = avro_of(&format!(r#"{{"name":"a__b","type":"int"}},{rest}"#));
    let parted = avro_of(&format!("{},{rest}", object("a", "b")));
    let refused = |schema: &AvroSchema, json: &str| {
        let plan = avro_plan(&columns, schema, &options);
        let datum = framed(&json_to_avro(schema, json).unwrap());
        append(&plan, &mut plan.block(), &datum).unwrap_err().reasons.remove(0).path
    };
    assert_eq!(refused(&whole, r#"{"a__b":4,"x":{"y":1},"n":[]}"#), "/a__b");
    assert_eq!(refused(&parted, r#"{"a":{"b":4},"x":{"y":1},"n":[]}"#), "/a/b");
    assert_eq!(refused(&parted, r#"{"a":{"b":1},"x":{"y":4},"n":[]}"#), "/x/y");
    assert_eq!(refused(&whole, r#"{"a__b":1,"x":{"y":1},"n":[{"s":"a"},{"s":"bc"}]}"#), "/n/1/s");
    let plan = Plan::compile(&columns, None, &options).unwrap();
    let json = br#"{"a":{"b":4},"x":{"y":1},"n":[]}"#;
    assert_eq!(append(&plan, &mut plan.block(), json).unwrap_err().reasons[0].path, "/a/b");
}

#[test]
fn rules_that_no_value_of_the_column_can_have_are_refused_when_the_plan_is_made() {
    let refused = |ty: &str, rules: ColumnRules| {
        Plan::compile(&table(&[("v", ty), ("_topic", "String")]), None, &with_rules(&[("v", rules)]))
            .unwrap_err()
    };
    let numbers = refused("Array(Nullable(String))", bounds("1", ""));
    assert_eq!(numbers.to_string(), "column `v` of type `String` cannot take rules on numbers");
    refused("UInt8", texts(Some(1), ""));
    refused("UUID", texts(Some(1), ""));
    refused("JSON", format("uri"));
    refused("Tuple(a UInt8)", bounds("1", ""));
    refused("Tuple(a UInt8)", members([("b", bounds("1", ""))]));
    refused("UInt8", members([("b", bounds("1", ""))]));
    refused("UInt8", bounds("one", ""));
    assert!(matches!(refused("String", texts(None, "(")), PlanError::Rules { .. }));
    let metadata =
        Plan::compile(&table(&[("_topic", "String")]), None, &with_rules(&[("_topic", texts(Some(1), ""))]));
    assert!(metadata.unwrap_err().to_string().contains("takes no field"));
}

#[test]
fn rules_tell_plans_apart() {
    let columns = table(&[("v", "UInt8")]);
    let print = |max: &str| {
        Plan::compile(&columns, None, &with_rules(&[("v", bounds("", max))])).unwrap().fingerprint()
    };
    assert_eq!(print("3"), print("3"));
    assert_ne!(print("3"), print("4"));
}
