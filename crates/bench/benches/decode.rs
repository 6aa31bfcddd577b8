//! Decode, validate and encode, one core: events of 150 B, 754 B and 1.6 KB with a JSON Schema, beside
//! what one would write by hand (`serde_json` into a tree, then `jsonschema` on the tree; no columns).

use std::hint::black_box;

use divan::Bencher;
use divan::counter::BytesCount;
use serde_json::{Value, json};
use tidegate_codec::{Plan, PlanOptions};
use tidegate_core::{Records, TopicPartition};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};
use tidegate_schema::JsonSchema;

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [150, 754, 1600];
const N_RECORDS: usize = 1000;

/// The last field of every event is as much of this as the event's size leaves room for.
const COMMENT: &str = "Delivered to the side entrance, please ring twice. The order was confirmed by phone; the customer asked for a receipt on paper. ";

/// A field: its name, its schema, its column, and its value in event `n`.
type FieldOf = (&'static str, &'static str, &'static str, fn(usize) -> Value);

const FIELDS: [FieldOf; 27] = [
    ("event", r#"{"enum":["page_view","purchase","sign_up"]}"#, "LowCardinality(String)", |n| {
        ["page_view", "purchase", "sign_up"][n % 3].into()
    }),
    ("id", r#"{"type":"string","format":"uuid"}"#, "UUID", |n| {
        format!("018f4e1a-7c3b-7d2e-9f10-{n:012x}").into()
    }),
    ("at", r#"{"type":"string","format":"date-time"}"#, "DateTime64(3, 'UTC')", |n| {
        format!("2024-05-17T12:{:02}:{:02}.{:03}Z", n / 60 % 60, n % 60, n % 1000).into()
    }),
    ("user_id", r#"{"type":"integer","minimum":1}"#, "UInt64", |n| (9_000_000 + n * 7919).into()),
    ("amount", r#"{"type":"number","minimum":0,"maximum":1000000}"#, "Decimal(18, 2)", |n| {
        json!((n % 10_000) as f64 / 100.0)
    }),
    ("currency", r#"{"type":"string","minLength":3,"maxLength":3}"#, "LowCardinality(String)", |n| {
        ["EUR", "USD"][n % 2].into()
    }),
    ("url", r#"{"type":"string","format":"uri"}"#, "String", |n| {
        format!("https://shop.example.com/products/category-{}/item-{n}", n % 17).into()
    }),
    ("referrer", r#"{"type":["string","null"],"maxLength":2048}"#, "Nullable(String)", |n| {
        if n.is_multiple_of(4) { Value::Null } else { "https://www.example.org/search/results".into() }
    }),
    ("session", r#"{"type":"string","maxLength":64}"#, "String", |n| {
        format!("s-{:016x}-{:08x}", n * 104_729, n).into()
    }),
    ("ip", r#"{"type":"string","format":"ipv4"}"#, "IPv4", |n| {
        format!("203.0.{}.{}", n % 113, n % 251).into()
    }),
    ("country", r#"{"type":"string","minLength":2,"maxLength":2}"#, "LowCardinality(String)", |n| {
        ["DE", "FR", "US", "JP"][n % 4].into()
    }),
    ("agent", r#"{"type":"string","maxLength":1024}"#, "String", |_| {
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36".into()
    }),
    ("width", r#"{"type":"integer","minimum":0,"maximum":20000}"#, "UInt16", |n| (800 + n % 1200).into()),
    ("height", r#"{"type":"integer","minimum":0,"maximum":20000}"#, "UInt16", |n| (600 + n % 800).into()),
    ("scroll", r#"{"type":"number","minimum":0,"maximum":1}"#, "Float64", |n| json!((n % 97) as f64 / 97.0)),
    ("logged_in", r#"{"type":"boolean"}"#, "Bool", |n| n.is_multiple_of(2).into()),
    (
        "tags",
        r#"{"type":"array","items":{"type":"string"},"maxItems":10}"#,
        "Array(LowCardinality(String))",
        |n| json!(["spring", "sale", (["a", "b", "c"][n % 3])]),
    ),
    (
        "device",
        r#"{"type":"object","required":["kind","os"],"properties":{"kind":{"enum":["phone","desktop"]},"os":{"type":"string"},"version":{"type":"string"}}}"#,
        "Tuple(kind LowCardinality(String), os LowCardinality(String), version String)",
        |n| json!({"kind": (["phone", "desktop"][n % 2]), "os": "Android", "version": format!("14.{}", n % 9)}),
    ),
    ("title", r#"{"type":"string","maxLength":500}"#, "String", |n| {
        format!("The finest garden chairs of the season – page {n} of the spring catalogue").into()
    }),
    (
        "experiment",
        r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
        "Map(LowCardinality(String), String)",
        |n| json!({"checkout": (["a", "b"][n % 2]), "banner": "control", "pricing": "v2"}),
    ),
    ("campaign", r#"{"type":"string"}"#, "LowCardinality(String)", |_| {
        "2024-spring-newsletter-existing-customers".into()
    }),
    (
        "items",
        r#"{"type":"array","items":{"type":"object","required":["sku","n"],"properties":{"sku":{"type":"string"},"n":{"type":"integer","minimum":1},"price":{"type":"number"}}}}"#,
        "Array(Tuple(sku String, n UInt32, price Float64))",
        |n| json!([{"sku": format!("chair-{n}"), "n": 2, "price": 49.5}, {"sku": "table-12", "n": 1, "price": 199.0}, {"sku": "parasol-7", "n": 1, "price": 89.99}]),
    ),
    (
        "properties",
        r#"{"type":"object"}"#,
        "JSON",
        |n| json!({"list": "search", "position": n % 40, "query": "garden chair", "filters": {"color": "green", "max_price": 200}}),
    ),
    ("language", r#"{"type":"string","maxLength":10}"#, "LowCardinality(String)", |_| "de-DE".into()),
    ("email_hash", r#"{"type":"string","pattern":"^[0-9a-f]{64}$"}"#, "FixedString(64)", |n| {
        format!("{:064x}", n * 15_485_863).into()
    }),
    ("revision", r#"{"type":"string","maxLength":60}"#, "String", |_| {
        "web-frontend@4.121.0+build.20240516.1".into()
    }),
    ("received_at", r#"{"type":"string","format":"date-time"}"#, "DateTime64(3, 'UTC')", |n| {
        format!("2024-05-17T12:{:02}:{:02}.{:03}Z", n / 60 % 60, n % 60, (n + 31) % 1000).into()
    }),
];

struct Load {
    plan: Plan,
    schema: JsonSchema,
    source: TopicPartition,
    records: Records,
    bytes: usize,
}

fn load(size: usize) -> Load {
    // The fields that fit, with the comment's own name and quotes.
    let fits = |fields: &usize| event(*fields, N_RECORDS - 1, 0).len() <= size;
    let fields = (1..=FIELDS.len()).rev().find(fits).expect("the first field fits");
    let comment = r#"{"type":"string","maxLength":2000}"#;
    let comment: FieldOf = ("comment", comment, "String", |_| Value::Null);
    let n_fields = fields;
    let fields: Vec<FieldOf> = FIELDS[..fields].iter().copied().chain([comment]).collect();
    let properties: Vec<String> =
        fields.iter().map(|(name, schema, ..)| format!("\"{name}\":{schema}")).collect();
    let names: Vec<&str> = fields.iter().map(|(name, ..)| *name).collect();
    let schema = format!(
        r#"{{"type":"object","required":{},"additionalProperties":false,"properties":{{{}}}}}"#,
        json!(names),
        properties.join(",")
    );
    let schema = JsonSchema::parse(&schema).expect("the schema is valid");
    let columns = fields.iter().map(|(name, _, ty, _)| TableColumn {
        name: (*name).to_owned(),
        ty: Type::parse(ty).expect("the type is valid"),
        default: ColumnDefault::None,
    });
    let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.collect() };
    let plan = Plan::compile(&table, Some(&schema), &PlanOptions::default()).expect("the table fits");
    let source = TopicPartition::new("events", 0);
    let mut records = Records::new(source.clone());
    let mut bytes = 0;
    for n in 0..N_RECORDS {
        let json = event(n_fields, n, size);
        bytes += json.len();
        records.push(n as i64, None, None, Some(json.as_bytes()), []);
    }
    let average = bytes / N_RECORDS;
    assert!(average.abs_diff(size) <= size / 50, "events of {size} bytes have {average} in fact");
    Load { plan, schema, source, records, bytes }
}

fn event(fields: usize, n: usize, size: usize) -> String {
    let members: Vec<String> =
        FIELDS[..fields].iter().map(|(name, _, _, value)| format!("\"{name}\":{}", value(n))).collect();
    let event = format!("{{{},\"comment\":\"", members.join(","));
    let room = size.saturating_sub(event.len() + 2);
    let comment: String = COMMENT.chars().cycle().take(room).collect();
    format!("{event}{comment}\"}}")
}

#[divan::bench(args = SIZES)]
fn tidegate(bencher: Bencher<'_, '_>, size: usize) {
    let load = load(size);
    let mut block = load.plan.block();
    let mut native = Vec::new();
    bencher.counter(BytesCount::new(load.bytes)).bench_local(|| {
        block.clear();
        native.clear();
        for record in load.records.iter() {
            let appended = load.plan.append(&mut block, &load.source, &record);
            appended.expect("every event fits");
        }
        block.encode(&mut native);
        black_box(native.len())
    });
}

#[divan::bench(args = SIZES)]
fn serde_json_and_jsonschema(bencher: Bencher<'_, '_>, size: usize) {
    let load = load(size);
    bencher.counter(BytesCount::new(load.bytes)).bench_local(|| {
        for record in load.records.iter() {
            let value: Value =
                serde_json::from_slice(record.value.unwrap_or_default()).expect("every event is JSON");
            assert!(load.schema.passes(black_box(&value)));
        }
    });
}
