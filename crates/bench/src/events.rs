//! Events of a chosen size, with their schema and table.

use anyhow::Context;
use serde_json::{Value, json};
use tidegate_schema::JsonSchema;

/// A field: its name, its schema, its column, and its value in event `n`.
type FieldOf = (&'static str, &'static str, &'static str, fn(usize) -> Value);

const FIELDS: [FieldOf; 28] = [
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
    ("comment", r#"{"type":"string","maxLength":2000}"#, "String", |n| {
        format!("Delivered to the side entrance, please ring twice. Order {n} was confirmed by phone; the customer asked for a receipt on paper.").into()
    }),
];

/// One kind of event: the first fields of the list, as many as fit, and a note that fills the rest.
#[derive(Debug, Clone, Copy)]
pub struct Events {
    fields: &'static [FieldOf],
    size: usize,
}

/// The text that notes are cut from.
const NOTE: &str =
    "Delivered to the side entrance as agreed by phone, receipt on paper, two parcels of three. ";
/// An event whose number is as long as numbers get here.
const N_LONGEST: usize = 9_999_999;

impl Events {
    /// Events of exactly `size` bytes of JSON, for numbers below ten million.
    #[must_use]
    pub fn of_size(size: usize) -> Self {
        let of = |n_fields: usize| Self { fields: &FIELDS[..n_fields], size };
        let fits = |n_fields: &usize| of(*n_fields).bare(N_LONGEST).len() + 16 <= size;
        of((1..=FIELDS.len()).take_while(fits).last().unwrap_or(1))
    }

    /// Event `n` with an empty note.
    fn bare(self, n: usize) -> String {
        let members = self.fields.iter().map(|(name, _, _, value)| format!("\"{name}\":{},", value(n)));
        format!("{{{}\"note\":\"\"}}", members.collect::<String>())
    }

    /// Event `n`.
    #[must_use]
    pub fn json(self, n: usize) -> String {
        let mut json = self.bare(n);
        let room = self.size.saturating_sub(json.len());
        let note: String = NOTE.chars().cycle().skip(n % NOTE.len()).take(room).collect();
        json.insert_str(json.len() - 2, &note);
        json
    }

    /// The schema that every event keeps.
    ///
    /// # Errors
    /// None, if the list's own schemas are right.
    pub fn schema(self) -> anyhow::Result<JsonSchema> {
        let properties: Vec<String> =
            self.fields.iter().map(|(name, schema, ..)| format!("\"{name}\":{schema}")).collect();
        let names: Vec<&str> = self.fields.iter().map(|(name, ..)| *name).collect();
        let schema = format!(
            r#"{{"type":"object","required":{},"additionalProperties":false,"properties":{{{},"note":{{"type":"string","maxLength":2000}}}}}}"#,
            json!(names),
            properties.join(",")
        );
        JsonSchema::parse(&schema).context("parse the events' schema")
    }

    /// The table's columns, by name and type.
    pub fn columns(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.fields.iter().map(|(name, _, ty, _)| (*name, *ty)).chain([("note", "String")])
    }

    /// The table that takes them, with a window of insert tokens.
    #[must_use]
    pub fn create_table(self, table: &str) -> String {
        let columns: Vec<String> = self.columns().map(|(name, ty)| format!("`{name}` {ty}")).collect();
        format!(
            "CREATE TABLE {table} ({}) ENGINE = MergeTree ORDER BY (event, id) \
             SETTINGS non_replicated_deduplication_window = 10000",
            columns.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_exactly_the_size_that_was_asked_for() {
        for size in [150, 754, 1600] {
            let events = Events::of_size(size);
            for n in [0, 1, 99, 12_345, 1_999_999] {
                let json = events.json(n);
                assert_eq!(json.len(), size, "{json}");
                assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
            }
        }
    }
}
