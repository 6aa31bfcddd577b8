//! The configuration file from outside: what is accepted, what is refused and how that reads.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use serde_json::Value;
use tidegate_config::{
    ByteSize, CreateTables, Delivery, Diagnostics, HaltWhen, Mistake, SinkFile, Surroundings, UnknownFields,
    json_schema, parse_sink, parse_up,
};

const COMPLETE: &str = include_str!("complete.yaml");
const SMALL: &str = "
kafka: {brokers: [kafka-1:9092]}
clickhouse: {urls: ['http://ch-1:8123']}
connectors:
  - {name: events, topics: [events], table: events}
";

fn parse(text: &str) -> Result<SinkFile, Diagnostics> {
    let surroundings = Surroundings {
        variable: &|name| match name {
            "KAFKA_PASSWORD" => Some("hunter2".to_owned()),
            "ROWS" => Some("7".to_owned()),
            _ => None,
        },
        read: &|path| match path.to_str() {
            Some("/etc/tidegate/secrets/clickhouse") => Ok("sesame\n".to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        },
    };
    parse_sink(Path::new("/etc/tidegate/sink.yaml"), text, &surroundings)
}

#[track_caller]
fn refused(text: &str) -> Diagnostics {
    parse(text).expect_err("this text is not a configuration")
}

#[track_caller]
fn only_mistake(text: &str) -> (Mistake, usize, usize) {
    let refused = refused(text);
    let [only] = refused.as_slice() else { panic!("expected one mistake:\n{refused}") };
    (only.code, only.line, only.column)
}

/// The small file with one more line in its connector.
fn with(line: &str) -> String {
    format!(
        "kafka: {{brokers: [kafka-1:9092]}}\nclickhouse: {{urls: ['http://ch-1:8123']}}\n\
         connectors:\n  - name: events\n    topics: [events]\n    table: events\n    {line}\n"
    )
}

#[test]
fn a_complete_file_means_what_it_says() {
    let file = parse(COMPLETE).unwrap_or_else(|refused| panic!("{refused}"));
    let sasl = file.kafka.sasl.as_ref().unwrap();
    assert_eq!(sasl.password.expose(), "hunter2");
    assert_eq!(file.clickhouse.password.expose(), "sesame");
    assert_eq!(file.memory_max, ByteSize(1 << 30));
    let connector = &file.connectors[0];
    assert_eq!(connector.group_name(), "tidegate-github");
    assert_eq!(connector.dead_letter_topic(), "github.dlq.v1");
    let schema = connector.schema.as_ref().unwrap();
    assert_eq!(schema.file, PathBuf::from("/etc/tidegate/schemas/webhooks.json"));
    assert!(schema.pointers_for("a/b").eq(["#/definitions/a~1b_event"]));
    assert!(matches!(&connector.unknown_fields, UnknownFields::Collect(column) if column.as_str() == "rest"));
    assert_eq!(connector.batch.linger, Duration::from_millis(250));
    assert_eq!(connector.columns["created"].path.as_ref().unwrap().segments(), ["meta", "created"]);
    assert!(matches!(&connector.halt_when, HaltWhen::Guard(guard) if guard.window == 2000));
    assert_eq!(file.connectors[1].halt_when, HaltWhen::Never);
}

#[test]
fn a_small_file_takes_the_defaults() {
    let file = parse(SMALL).unwrap_or_else(|refused| panic!("{refused}"));
    let connector = &file.connectors[0];
    assert_eq!(file.api.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(connector.batch.rows_max, 100_000);
    assert_eq!(connector.batch.bytes_max, ByteSize(32 << 20));
    assert_eq!(connector.delivery, Delivery::ExactlyOnce);
    assert_eq!(connector.create_tables, CreateTables::No);
    assert_eq!(connector.unknown_fields, UnknownFields::Reject);
    assert_eq!(file.clickhouse.database.as_str(), "default");
}

#[test]
fn the_embedded_engines_own_database_is_refused() {
    let surroundings = Surroundings { variable: &|_| None, read: &|_| Err(io::ErrorKind::NotFound.into()) };
    let up = |text: &str| parse_up(Path::new("up.yaml"), text, &surroundings);
    let small = "connectors:\n  - {name: events, topics: [events], table: events}\n";
    assert_eq!(up(small).unwrap().database.as_str(), "tidegate");

    let whole = up(&format!("database: default\n{small}")).unwrap_err();
    let one = up(&small.replace("table:", "database: default, table:")).unwrap_err();
    for (refused, line) in [(whole, 1), (one, 2)] {
        let [only] = refused.as_slice() else { panic!("expected one mistake:\n{refused}") };
        assert_eq!((only.code, only.line), (Mistake::Conflict, line));
        assert!(only.hint.as_ref().unwrap().contains("`tidegate`"), "{refused}");
    }
}

#[test]
fn every_mistake_is_told_at_once_with_place_and_hint() {
    let text = include_str!("wrong.yaml");
    insta::assert_snapshot!(refused(text).to_string());
}

#[test]
fn secrets_never_show() {
    let file = parse(COMPLETE).unwrap_or_else(|refused| panic!("{refused}"));
    let shown = format!("{file:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("sesame"), "{shown}");

    let mistakes = [
        SMALL.replace("http://ch-1:8123", "http://user:hunter2@ch-1:8123"),
        SMALL.replace("kafka-1:9092", "user:hunter2@kafka-1"),
        SMALL.replace(
            "brokers",
            "sasl: {mechanism: '${KAFKA_PASSWORD}', user: u, password: [hunter2]}, brokers",
        ),
        SMALL.replace("brokers", "sasl: hunter2, brokers"),
        SMALL.replace("table: events", "table: '${KAFKA_PASSWORD} '"),
    ];
    for text in mistakes {
        let shown = refused(&text).to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn variables_are_put_into_any_value_and_must_be_set() {
    let file = parse(&with("batch: {rows_max: '${ROWS}', linger: '${LINGER:-2s}'}")).unwrap();
    assert_eq!(file.connectors[0].batch.rows_max, 7);
    assert_eq!(file.connectors[0].batch.linger, Duration::from_secs(2));
    let file = parse(&with("flatten: '$${x}'")).unwrap();
    assert_eq!(file.connectors[0].flatten, "${x}");
    assert_eq!(only_mistake(&with("flatten: ${MISSING}")), (Mistake::MissingVariable, 7, 14));
    assert_eq!(only_mistake(&with("flatten: '${MISSING'")), (Mistake::BadValue, 7, 14));
    assert_eq!(only_mistake(&with("flatten: '${1}'")), (Mistake::BadValue, 7, 14));
}

#[test]
fn yaml_that_could_grow_or_nest_without_end_is_refused() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
    assert_eq!(only_mistake(bomb).0, Mistake::Unsupported);
    assert_eq!(only_mistake(&"[".repeat(30_000)).0, Mistake::Syntax);
    assert_eq!(only_mistake(&format!("{}{}", "[".repeat(40), "]".repeat(40))).0, Mistake::TooLarge);
    assert_eq!(only_mistake(&"- ".repeat(100_000)).0, Mistake::TooLarge);
    assert_eq!(only_mistake(&format!("[{}]", "a, ".repeat(200_000))).0, Mistake::TooLarge);
    assert_eq!(only_mistake(&"a".repeat(2_000_000)).0, Mistake::TooLarge);
    assert_eq!(only_mistake("a: 1\n---\nb: 2\n").0, Mistake::Unsupported);
    assert_eq!(only_mistake("? [a]\n: 1\n").0, Mistake::Unsupported);
    assert_eq!(only_mistake("a: !!str 1\n").0, Mistake::Unsupported);
    assert_eq!(only_mistake("a: 'x\n").0, Mistake::Syntax);
}

#[test]
fn what_only_the_whole_shows_is_checked() {
    let twice = with("") + "  - {name: events, topics: [other], table: events}\n";
    assert_eq!(only_mistake(&twice), (Mistake::Conflict, 8, 12));
    let group = with("") + "  - {name: other, group: tidegate-events, topics: [other], table: events}\n";
    assert_eq!(only_mistake(&group), (Mistake::Conflict, 8, 26));
    assert_eq!(only_mistake(&with("dead_letters: {topic: events}")), (Mistake::Conflict, 5, 14));
    assert_eq!(only_mistake(&with("schema: {file: x, pointer: '#/{event}'}")), (Mistake::Conflict, 7, 32));
    assert_eq!(only_mistake(&with("create_tables: from_schema")), (Mistake::Conflict, 7, 20));
    assert_eq!(only_mistake(&with("batch: {bytes_max: 200MiB}")), (Mistake::OutOfRange, 7, 24));
    let owned = SMALL.replace("{brokers", "{properties: {group.id: mine}, brokers");
    assert_eq!(only_mistake(&owned), (Mistake::Conflict, 2, 22));
    let owned = SMALL.replace("{urls", "{settings: {async_insert: 1}, urls");
    assert_eq!(only_mistake(&owned), (Mistake::Conflict, 3, 25));
    let tls = SMALL.replace("{brokers", "{tls: {key: k.pem}, brokers");
    assert_eq!(only_mistake(&tls).0, Mistake::Conflict);
}

#[test]
fn up_brings_its_own_engines() {
    let surroundings = Surroundings { variable: &|_| None, read: &|_| Err(io::ErrorKind::NotFound.into()) };
    let connectors = "connectors:\n  - {name: events, topics: [events], table: events}\n";
    let up = parse_up(Path::new("up.yaml"), connectors, &surroundings).unwrap();
    assert_eq!(up.connectors[0].name.as_str(), "events");
    let refused = parse_up(Path::new("up.yaml"), SMALL, &surroundings).unwrap_err();
    assert!(refused.as_slice().iter().all(|diagnostic| diagnostic.code == Mistake::UnknownKey), "{refused}");
}

#[test]
fn up_takes_another_kafka_or_limits_its_own() {
    let surroundings = Surroundings { variable: &|_| None, read: &|_| Err(io::ErrorKind::NotFound.into()) };
    let connectors = "connectors:\n  - {name: events, topics: [events], table: events}\n";
    let up = |head: &str| parse_up(Path::new("up.yaml"), &format!("{head}\n{connectors}"), &surroundings);
    let limited = up("embedded_kafka: {disk_max: 20GiB}").unwrap();
    assert_eq!((limited.embedded_kafka.disk_max, limited.kafka), (Some(ByteSize(20 << 30)), None));
    let other = up("kafka: {brokers: [k:9093], tls: {ca: ca.pem}}").unwrap();
    assert!(other.kafka.unwrap().tls.is_some() && other.embedded_kafka.disk_max.is_none());
    for (head, code, column) in [
        ("embedded_kafka: {disk_max: 1MiB}", Mistake::OutOfRange, 28),
        ("embedded_kafka: {fetch_rate_max: 9}", Mistake::OutOfRange, 34),
        ("kafka: {brokers: [k:9092], tls: {key: k.pem}}", Mistake::Conflict, 33),
        ("kafka: {brokers: [k:9092], properties: {group.id: mine}}", Mistake::Conflict, 41),
    ] {
        let refused = up(head).unwrap_err();
        let [only] = refused.as_slice() else { panic!("expected one mistake:\n{refused}") };
        assert_eq!((only.code, only.line, only.column), (code, 1, column), "{refused}");
    }
    let both = up("kafka: {brokers: [k:9092]}\nembedded_kafka: {disk_max: 1GiB}").unwrap_err();
    let [only] = both.as_slice() else { panic!("expected one mistake:\n{both}") };
    assert_eq!((only.code, only.line, only.column), (Mistake::Conflict, 2, 17));
}

fn yaml_as_json(text: &str) -> Value {
    // The tests' files are flow-free of surprises: the reader of the schema test is JSON itself.
    serde_json::from_str(text).expect("a JSON text, which is YAML too")
}

#[test]
fn the_json_schema_and_the_parser_agree() {
    let schema = jsonschema::draft202012::new(&json_schema()).expect("the schema is a schema");
    let check = |change: &dyn Fn(&mut Value)| {
        let mut file = yaml_as_json(
            r#"{"kafka":{"brokers":["k:9092"]},"clickhouse":{"urls":["http://c:8123"]},
                "registry":{"urls":["http://r:8081"]},
                "connectors":[{"name":"e","topics":["e"],"table":"e"}]}"#,
        );
        change(&mut file);
        let text = file.to_string();
        let parsed = parse(&text);
        assert_eq!(schema.is_valid(&file), parsed.is_ok(), "{text}\n{parsed:?}");
    };
    let connector = |key: &'static str, value: &'static str| {
        let value: Value = serde_json::from_str(value).expect("a JSON text");
        check(&move |file: &mut Value| file["connectors"][0][key] = value.clone());
    };
    for (key, value) in CONNECTOR_VALUES {
        connector(key, value);
    }
    let pointer = |pointer: &'static str, value: &'static str| {
        let value: Value = serde_json::from_str(value).expect("a JSON text");
        check(&move |file: &mut Value| *file.pointer_mut(pointer).unwrap() = value.clone());
    };
    for (place, value) in [
        ("/kafka", "{}"),
        ("/kafka", r#"{"brokers":[]}"#),
        ("/kafka", r#"{"brokers":["k"],"tls":{"verify":"maybe"}}"#),
        ("/kafka", r#"{"brokers":["k"],"tls":{"verify":false}}"#),
        ("/kafka", r#"{"brokers":["k"],"sasl":{"mechanism":"plain","user":"u"}}"#),
        ("/kafka", r#"{"brokers":["k"],"sasl":{"mechanism":"plain","user":"u","password":1}}"#),
        ("/kafka", r#"{"brokers":["k"],"sasl":{"mechanism":"plane","user":"u","password":"p"}}"#),
        ("/kafka", r#"{"brokers":["k"],"properties":{"fetch.min.bytes":1}}"#),
        ("/kafka", r#"{"brokers":["k"],"properties":[]}"#),
        ("/kafka/brokers/0", r#""ssl://k:9093""#),
        ("/clickhouse/urls/0", r#""ch:8123""#),
        ("/clickhouse", r#"{"urls":["https://c"],"compression":"gzip"}"#),
        ("/clickhouse", r#"{"urls":["https://c"],"compression":"zstd"}"#),
        (
            "/clickhouse",
            r#"{"urls":["https://c"],"password":"a","password_file":"/etc/tidegate/secrets/clickhouse"}"#,
        ),
        ("/clickhouse", r#"{"urls":["https://c"],"password_file":"/etc/tidegate/secrets/clickhouse"}"#),
        ("/connectors", "[]"),
        ("/connectors", "{}"),
        ("/connectors/0/name", r#""a b""#),
        ("/connectors/0/topics", "[]"),
        ("/connectors/0/topics/0", r#""a b""#),
    ] {
        pointer(place, value);
    }
}

const CONNECTOR_VALUES: [(&str, &str); 49] = [
    ("table", r#""a_{topic}""#),
    ("table", r#""a_{topik}""#),
    ("table", r#""a.b""#),
    ("table", r#"{"template":"{topic}","map":{"x":"y"},"unmapped":"reject"}"#),
    ("table", r#"{"map":{}}"#),
    ("format", r#""json""#),
    ("format", r#""avro""#),
    ("tabel", r#""x""#),
    ("group", r#""a b""#),
    ("database", r#""raw-events""#),
    ("database", r#""a.b""#),
    ("schema", r#"{"file":"x.json"}"#),
    ("schema", r##"{"pointer":"#"}"##),
    ("schema", r#"{"file":"x.json","required":"yes"}"#),
    ("schema", r#"{"file":"x.json","formats":"annotate"}"#),
    ("unknown_fields", r#""reject""#),
    ("unknown_fields", r#""collect""#),
    ("unknown_fields", r#"{"collect":"rest"}"#),
    ("unknown_fields", r#"{"collect":"rest","more":1}"#),
    ("unknown_fields", "[]"),
    ("tombstones", r#""skip""#),
    ("tombstones", r#""drop""#),
    ("create_tables", "false"),
    ("create_tables", "true"),
    ("columns", r#"{"created":{"path":"meta.created","formats":["%d/%m/%Y"],"epoch":"ms"}}"#),
    ("columns", r#"{"created":{"epoch":"minutes"}}"#),
    ("columns", r#"{"created":{"formats":"x"}}"#),
    ("columns", r#"{"created":{"formats":["rfc2822","%d.%m.%Y %T","100%"]}}"#),
    ("columns", r#"{"created":{"formats":["%d/%m/%q"]}}"#),
    ("columns", r#"{"created":{"formats":[""]}}"#),
    ("batch", r#"{"rows_max":500000}"#),
    ("batch", r#"{"rows_max":500001}"#),
    ("batch", r#"{"rows_max":0}"#),
    ("batch", r#"{"rows_max":1.5}"#),
    ("batch", r#"{"bytes_max":"32MiB","linger":"1s"}"#),
    ("batch", r#"{"bytes_max":"32 megabytes"}"#),
    ("batch", r#"{"linger":500}"#),
    ("limits", r#"{"record_bytes_max":1048576,"depth_max":10}"#),
    ("limits", r#"{"depth_max":1000}"#),
    ("dead_letters", r#"{"topic":"x.dlq","table":"letters","replication":3,"partitions":6}"#),
    ("dead_letters", r#"{"replication":0}"#),
    ("halt_when", r#""never""#),
    ("halt_when", r#""always""#),
    ("halt_when", r#"{"bad_ratio":0.5,"window":10}"#),
    ("halt_when", r#"{"bad_ratio":50}"#),
    ("halt_when", r#"{"bad_ratio":"50%"}"#),
    ("delivery", r#""at_least_once""#),
    ("delivery", r#""at_most_once""#),
    ("flatten", r#"".""#),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_panics(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}:,#&*!|>'\"%@\\-\n \t$0a~?é\u{0}]{0,4}"), 1..6),
    ) {
        let mut text: Vec<char> = COMPLETE.chars().collect();
        for (at, insertion) in cuts {
            let at = at.index(text.len());
            text.splice(at..(at + 1), insertion.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(refused) = parse(&text) {
            assert!(!refused.as_slice().is_empty());
            for diagnostic in refused.as_slice() {
                assert!(diagnostic.line >= 1 && diagnostic.column >= 1, "{diagnostic}");
            }
        }
    }
}

#[test]
fn rules_of_columns_are_read_and_wrong_ones_told_where_they_stand() {
    let said = "columns: {v: {rules: {min: -1.50, max: 1e3}}, t: {rules: {max_length: 3, pattern: '^a$', format: uri}}}";
    let file = parse(&with(said)).unwrap_or_else(|refused| panic!("{refused}"));
    let [v, t] = ["v", "t"].map(|name| file.connectors[0].columns[name].rules.clone().unwrap());
    let [min, max] = [v.min, v.max].map(|bound| bound.unwrap().to_string());
    assert_eq!((min.as_str(), max.as_str()), ("-1.50", "1e+3"));
    assert_eq!(
        (t.max_length, t.pattern.unwrap().to_string(), t.format.unwrap().as_str()),
        (Some(3), "^a$".to_owned(), "uri")
    );
    let of_table = "columns_of: {t: {c: {rules: {members: {m: {min: 2, max: 1}}}}}}";
    for (line, code, column) in [
        ("columns: {c: {rules: {pattern: '('}}}", Mistake::BadValue, 36),
        ("columns: {c: {rules: {min: two}}}", Mistake::BadValue, 32),
        ("columns: {c: {rules: {min: 2, max: 1}}}", Mistake::Conflict, 32),
        (of_table, Mistake::Conflict, 53),
        ("columns: {c: {rules: {format: url}}}", Mistake::UnknownChoice, 35),
        ("columns: {c: {rules: {most: 1}}}", Mistake::UnknownKey, 27),
    ] {
        assert_eq!(only_mistake(&with(line)), (code, 7, column), "{line}");
    }
    assert!(refused(&with(of_table)).to_string().contains("`min` of 2 is above `max` of 1"));
}
