//! What is stored of personal data, and what is said of it when a record is refused.

#![expect(clippy::unwrap_used, reason = "what cannot be built here fails the test")]

use std::net::Ipv6Addr;

use proptest::prelude::*;
use tidegate_codec::{
    Block, ColumnOptions, Period, PersonalAction, PersonalColumn, Plan, PlanOptions, PseudonymKey, SchemaKey,
    UnknownFields, WireFormat, WriterSchema, WriterSchemas, json_to_avro,
};
use tidegate_core::{Records, Reject, TopicPartition};
use tidegate_languages::avro::{AvroSchema, Defaults};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type, Value};
use tidegate_schema::JsonSchema;

const KEY: &[u8] = b"a key of thirty-two bytes, or so.";

fn key() -> PseudonymKey {
    PseudonymKey::new(KEY).unwrap()
}

fn pseudonymised() -> PersonalAction {
    PersonalAction::Pseudonymise { key: key(), per: Vec::new() }
}

fn truncated(characters_max: usize) -> PersonalAction {
    PersonalAction::Truncate { characters_max: Some(characters_max), ipv4_prefix: 24, ipv6_prefix: 48 }
}

fn generalised() -> PersonalAction {
    PersonalAction::Generalise { step: Some(10), to: Period::Month }
}

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

fn personal(columns: &[(&str, Option<&str>, PersonalAction)]) -> PlanOptions {
    let mut options = PlanOptions::default();
    let own = options.tables.entry("t".to_owned()).or_default();
    for (name, clear, action) in columns {
        let clear = clear.map(|clear| Type::parse(clear).unwrap());
        let personal = Some(PersonalColumn { clear, action: action.clone() });
        own.insert((*name).to_owned(), ColumnOptions { personal, ..ColumnOptions::default() });
    }
    options
}

fn append(plan: &Plan, block: &mut Block, value: &[u8]) -> Result<u32, Box<Reject>> {
    let source = TopicPartition::new("events", 0);
    let mut records = Records::new(source.clone());
    records.push(0, None, None, Some(value), []);
    plan.append(block, &source, &records.get(0).unwrap()).map(|appended| appended.dropped_fields)
}

/// What is stored of one value in column `v` of type `ty`, which comes as `clear`.
#[track_caller]
fn check(ty: &str, clear: Option<&str>, action: &PersonalAction, (json, expected): (&str, &str)) {
    let options = personal(&[("v", clear, action.clone())]);
    let plan = Plan::compile(&table(&[("v", ty)]), None, &options).unwrap();
    let mut block = plan.block();
    // A refused record before it leaves nothing behind.
    append(&plan, &mut block, b"{\"v\":{}}").unwrap_err();
    append(&plan, &mut block, format!("{{\"v\":{json}}}").as_bytes()).unwrap();
    let mut native = Vec::new();
    block.encode(&mut native);
    let read = tidegate_native::read_blocks(&native).unwrap();
    assert_eq!(read.len(), 1);
    let stored = block.column("v").unwrap().value(0).unwrap();
    assert_eq!(shown(&stored), expected, "{json} into {ty}");
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
        other => format!("{other:?}"),
    }
}

/// By `printf %s TEXT | openssl dgst -sha256 -hmac KEY`, the first 32 digits.
const OF_U1: &str = "dbc6cd1f4de20db3b618cdf5cd029018";
const OF_UUID: &str = "07c477f75f602dbfd347404597e1aedf";
const OF_ADDRESS: &str = "9f6bbee027e88f5a5f7947d7a35c8163";
const OF_42: &str = "6bce8bb61c6205cb4192dee2dd2135b5";

#[test]
fn a_pseudonym_is_what_openssl_says_whatever_type_the_value_had() {
    let action = pseudonymised();
    let uuid = "\"0B6F0C5E-5F0E-4C6E-9A55-0D1F3F0A1C11\"";
    check("String", None, &action, ("\"u1\"", OF_U1));
    check("Nullable(String)", None, &action, ("\"u1\"", OF_U1));
    check("LowCardinality(String)", None, &action, ("\"u1\"", OF_U1));
    check("LowCardinality(Nullable(String))", None, &action, ("\"u1\"", OF_U1));
    check("Array(String)", None, &action, ("[\"u1\",\"\"]", &format!("[{OF_U1},]")));
    check("Array(Nullable(String))", None, &action, ("[null,\"u1\"]", &format!("[Null,{OF_U1}]")));
    check("String", Some("FixedString(2)"), &action, ("\"u1\"", OF_U1));
    check("String", Some("UUID"), &action, (uuid, OF_UUID));
    check("Nullable(String)", Some("UUID"), &action, (uuid, OF_UUID));
    check("LowCardinality(String)", Some("UUID"), &action, (uuid, OF_UUID));
    check("String", Some("IPv6"), &action, ("\"192.0.2.7\"", OF_ADDRESS));
    check("String", Some("IPv4"), &action, ("\"192.0.2.7\"", OF_ADDRESS));
    check("String", Some("UInt64"), &action, ("42", OF_42));
    check("Array(String)", Some("Int16"), &action, ("[42]", &format!("[{OF_42}]")));
}

#[test]
fn nobody_has_no_pseudonym() {
    check("Nullable(String)", None, &pseudonymised(), ("null", "Null"));
    check("LowCardinality(Nullable(String))", Some("UUID"), &pseudonymised(), ("null", "Null"));
    check("String", None, &pseudonymised(), ("\"\"", ""));
}

#[test]
fn an_absent_value_has_the_columns_default() {
    let columns = table(&[("v", "String DEFAULT 'nobody'"), ("w", "Nullable(String)"), ("x", "UInt8")]);
    let options = personal(&[("v", Some("UUID"), pseudonymised()), ("w", None, pseudonymised())]);
    let plan = Plan::compile(&columns, None, &options).unwrap();
    let mut block = plan.block();
    append(&plan, &mut block, b"{\"x\":1}").unwrap();
    // NULL in a column without asks the server for its default.
    assert_eq!(block.column("v").unwrap().value(0), Some(Value::Null));
    assert_eq!(block.column("w").unwrap().value(0), Some(Value::Null));
}

#[test]
fn the_beginning_of_a_text_and_the_network_of_an_address_are_kept() {
    check("String", None, &truncated(3), ("\"äöüß\"", "äöü"));
    check("Nullable(String)", None, &truncated(3), ("\"ab\"", "ab"));
    let stored = |text: &str| format!("{:?}", Value::IPv6(text.parse::<Ipv6Addr>().unwrap()));
    check("IPv6", None, &truncated(0), ("\"192.0.2.7\"", &stored("::ffff:192.0.2.0")));
    check("Nullable(IPv6)", None, &truncated(0), ("\"2001:db8:1:2::7\"", &stored("2001:db8:1::")));
    check("IPv4", None, &truncated(0), ("\"192.0.2.7\"", &format!("UInt({})", 0xC000_0200_u32)));
}

#[test]
fn what_is_made_coarser_keeps_its_type() {
    check("UInt16", None, &generalised(), ("1987", "UInt(1980)"));
    check("Int8", None, &generalised(), ("-7", "Int(-10)"));
    check("Date32", None, &generalised(), ("\"1970-02-03\"", "Int(31)"));
    check("Date", None, &generalised(), ("\"1970-02-03\"", "UInt(31)"));
    let day = 86_400_000_i64;
    check(
        "DateTime64(3)",
        None,
        &generalised(),
        ("\"1969-12-24T10:00:00.123Z\"", &format!("Int({})", -31 * day)),
    );
    let year = PersonalAction::Generalise { step: None, to: Period::Year };
    check("DateTime", None, &year, ("\"1971-12-24T10:00:00Z\"", &format!("UInt({})", 365 * 86_400)));
    check("String", None, &generalised(), ("\"https://a.example:8/b?c=d\"", "https://a.example:8"));
    check("String", None, &generalised(), ("\"https://u:p@a.example/b\"", "https://"));
    check("String", None, &generalised(), ("\"alice\"", ""));
}

#[test]
fn what_is_dropped_is_validated_and_counted_and_not_sent() {
    let options = personal(&[("v", None, PersonalAction::Drop)]);
    let plan = Plan::compile(&table(&[("v", "UInt8"), ("x", "UInt8")]), None, &options).unwrap();
    let mut block = plan.block();
    append(&plan, &mut block, b"{\"v\":300,\"x\":1}").unwrap_err();
    assert_eq!(append(&plan, &mut block, b"{\"v\":30,\"x\":1}").unwrap(), 1);
    assert_eq!(block.columns(), ["x"]);
    let mut native = Vec::new();
    block.encode(&mut native);
    assert_eq!(tidegate_native::read_blocks(&native).unwrap()[0].columns.len(), 1);
}

#[test]
fn pseudonyms_under_another_tenant_or_key_are_others() {
    let columns =
        table(&[("v", "String"), ("tenant", "LowCardinality(String)"), ("site", "Nullable(UInt8)")]);
    let of = |key: &[u8], per: &[&str], json: &str| {
        let per = per.iter().map(|name| (*name).to_owned()).collect();
        let action = PersonalAction::Pseudonymise { key: PseudonymKey::new(key).unwrap(), per };
        let plan = Plan::compile(&columns, None, &personal(&[("v", None, action)])).unwrap();
        let mut block = plan.block();
        append(&plan, &mut block, br#"{"v":"u0","tenant":"z","site":9}"#).unwrap();
        append(&plan, &mut block, json.as_bytes()).unwrap();
        shown(&block.column("v").unwrap().value(1).unwrap())
    };
    let (one, two) = (r#"{"v":"u1","tenant":"a","site":1}"#, r#"{"v":"u1","tenant":"b","site":1}"#);
    assert_eq!(of(KEY, &[], one), of(KEY, &[], two));
    assert_eq!(of(KEY, &["site"], one), of(KEY, &["site"], two));
    assert_ne!(of(KEY, &["tenant"], one), of(KEY, &["tenant"], two));
    assert_ne!(of(KEY, &["tenant", "site"], one), of(KEY, &["site", "tenant"], one));
    assert_ne!(of(KEY, &[], one), of(b"another key of thirty-two bytes.", &[], one));
}

#[test]
fn what_cannot_be_done_is_refused_when_the_plan_is_made() {
    let refused = |ty: &str, clear: Option<&str>, action: PersonalAction| {
        let options = personal(&[("v", clear, action)]);
        Plan::compile(&table(&[("v", ty), ("x", "UInt8")]), None, &options).unwrap_err().to_string()
    };
    assert_eq!(
        refused("UUID", None, pseudonymised()),
        "column `v` of type `UUID` cannot take pseudonyms, which are of type `String`"
    );
    refused("String", Some("Float64"), pseudonymised());
    refused("Map(String, String)", None, pseudonymised());
    refused("UInt8", None, truncated(3));
    refused("Float64", None, generalised());
    refused("String", None, PersonalAction::Pseudonymise { key: key(), per: vec!["nowhere".to_owned()] });
    assert!(PseudonymKey::new(b"short").is_err());
}

#[test]
fn a_key_is_never_shown_and_tells_plans_apart() {
    let shown = format!("{:?}", personal(&[("v", None, pseudonymised())]));
    assert!(!shown.contains("thirty-two") && shown.contains("PseudonymKey("), "{shown}");
    let other = PseudonymKey::new(b"another key of thirty-two bytes.").unwrap();
    let other = PersonalAction::Pseudonymise { key: other, per: Vec::new() };
    let columns = table(&[("v", "String")]);
    let print =
        |action| Plan::compile(&columns, None, &personal(&[("v", None, action)])).unwrap().fingerprint();
    assert_ne!(print(pseudonymised()), print(other));
    assert_eq!(print(pseudonymised()), print(pseudonymised()));
}

fn people() -> (Table, JsonSchema) {
    let columns = table(&[
        ("email", "Nullable(String)"),
        ("ids", "Array(String)"),
        ("user__id", "String"),
        ("age", "UInt8"),
        ("rest", "JSON"),
    ]);
    let schema = JsonSchema::parse(
        r#"{"type": "object", "required": ["age"], "properties": {
            "email": {"type": ["string", "null"], "maxLength": 40},
            "ids": {"type": "array", "items": {"type": "string", "maxLength": 40}},
            "user": {"type": "object", "properties": {"id": {"type": "string", "pattern": "^[a-z0-9 -]*$"}}},
            "age": {"type": "integer", "maximum": 120}}}"#,
    );
    (columns, schema.unwrap())
}

fn people_options() -> PlanOptions {
    let mut options = personal(&[
        ("email", None, pseudonymised()),
        ("ids", Some("UUID"), pseudonymised()),
        ("user__id", None, pseudonymised()),
    ]);
    options.unknown_fields = UnknownFields::Collect { column: "rest".to_owned() };
    options
}

#[test]
fn a_refusal_quotes_no_personal_data() {
    let (columns, schema) = people();
    let plan = Plan::compile(&columns, Some(&schema), &people_options()).unwrap();
    let quoted = |json: &str| {
        let reject = append(&plan, &mut plan.block(), json.as_bytes()).unwrap_err();
        format!("{:?}", reject.reasons)
    };
    let long = format!(r#"{{"email":"secret{}","age":7,"user":{{"id":"x"}}}}"#, "x".repeat(40));
    for json in [
        long.as_str(),
        r#"{"email":["secret"],"age":7,"user":{"id":"x"}}"#,
        r#"{"email":{"secret":1},"age":7,"user":{"id":"x"}}"#,
        r#"{"ids":["secret"],"age":7,"user":{"id":"x"}}"#,
        r#"{"user":{"id":"SECRET secret"},"age":7}"#,
        r#"{"user":"secret","age":7}"#,
        r#"{"email":"secret" "age":7}"#,
        r#"{"email":"secret","email":"secret","age":7}"#,
        r#"["secret"]"#,
        r#""secret""#,
        r#"{"email":"secret","age":7"#,
    ] {
        let quoted = quoted(json);
        assert!(!quoted.to_lowercase().contains("secret"), "{json}: {quoted}");
    }
    // What is no personal data is told, so that it can be put right.
    assert!(quoted(r#"{"email":"secret","age":777,"user":{"id":"x"}}"#).contains("777"));
}

fn personal_text() -> impl Strategy<Value = String> {
    // Long enough not to be met by chance.
    "[a-z]{4}[a-z0-9 -]{8,20}[a-z]{4}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_clear_value_is_in_the_block(
        persons in proptest::collection::vec((personal_text(), personal_text(), any::<[u8; 16]>(), 0..120u8), 1..20),
    ) {
        let (columns, schema) = people();
        let plan = Plan::compile(&columns, Some(&schema), &people_options()).unwrap();
        let (mut block, mut again) = (plan.block(), plan.block());
        for (email, user, id, age) in &persons {
            let id = uuid_text(*id);
            let json = format!(
                r#"{{"email":"{email}","ids":["{id}"],"user":{{"id":"{user}","name":"kept"}},"age":{age},"more":1}}"#
            );
            for block in [&mut block, &mut again] {
                append(&plan, block, json.as_bytes()).unwrap();
            }
        }
        let (mut native, mut formed_again) = (Vec::new(), Vec::new());
        block.encode(&mut native);
        again.encode(&mut formed_again);
        prop_assert_eq!(&native, &formed_again);
        let found = |text: &[u8]| native.windows(text.len()).any(|window| window == text);
        prop_assert!(found(b"kept"), "what no column takes is collected");
        for (email, user, id, _) in &persons {
            prop_assert!(!found(email.as_bytes()) && !found(user.as_bytes()));
            prop_assert!(!found(uuid_text(*id).as_bytes()));
            let (mut high, mut low) = (id[..8].to_vec(), id[8..].to_vec());
            high.reverse();
            low.reverse();
            prop_assert!(!found(&[high, low].concat()), "a UUID as Native has it");
        }
    }
}

fn uuid_text(id: [u8; 16]) -> String {
    let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[test]
fn avro_and_json_have_the_same_pseudonyms() {
    let columns = table(&[("id", "String"), ("ip", "Nullable(IPv6)"), ("x", "Int32")]);
    let options = personal(&[("id", Some("UUID"), pseudonymised()), ("ip", None, truncated(0))]);
    let json = r#"{"id":"0b6f0c5e-5f0e-4c6e-9a55-0d1f3f0a1c11","ip":"192.0.2.7","x":1}"#;
    let of_json = Plan::compile(&columns, None, &options).unwrap();
    let mut block = of_json.block();
    append(&of_json, &mut block, json.as_bytes()).unwrap();

    let text = r#"{"type":"record","name":"e","fields":[{"name":"id","type":{"type":"string","logicalType":"uuid"}},
        {"name":"ip","type":["null","string"]},{"name":"x","type":"int"}]}"#;
    let schema = AvroSchema::parse(text, &[], Defaults::Checked).unwrap();
    let datum = json_to_avro(&schema, json).unwrap();
    let writers = WriterSchemas::default();
    writers.insert(SchemaKey::Id(1), WriterSchema::Avro(std::sync::Arc::new(schema)));
    let of_avro = Plan::of_writers(&columns, &WireFormat::Avro { reader: None }, &writers, &options).unwrap();
    let mut avro_block = of_avro.block();
    append(&of_avro, &mut avro_block, &[&[0, 0, 0, 0, 1][..], &datum].concat()).unwrap();

    for name in ["id", "ip", "x"] {
        assert_eq!(block.column(name).unwrap().value(0), avro_block.column(name).unwrap().value(0), "{name}");
    }
    assert_eq!(shown(&block.column("id").unwrap().value(0).unwrap()), OF_UUID);
    let refused =
        append(&of_avro, &mut avro_block, &[&[0, 0, 0, 0, 1][..], b"\x08nope"].concat()).unwrap_err();
    assert!(!format!("{refused:?}").contains("nope"), "{refused:?}");
}
