//! The configuration of `tidegate sink` for the catalog's topics and tables.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{File, banner, event_schema};
use crate::catalog::Catalog;
use crate::language::{RecordFormat, UnknownFields};

const SCHEMAS: &str = "events.schema.json";

pub(super) fn files(catalog: &Catalog) -> Vec<File> {
    vec![File::new("sink/sink.yaml", sink(catalog)), File::json(format!("sink/{SCHEMAS}"), &schemas(catalog))]
}

/// The schemas of all events by topic, which is what the sink looks them up by.
fn schemas(catalog: &Catalog) -> Value {
    let definitions = catalog.events.values().map(|event| {
        let mut schema = event_schema(catalog, event, event.version());
        if let Value::Object(schema) = &mut schema {
            schema.remove("$schema");
            schema.remove("$id");
        }
        (event.topic.clone(), schema)
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": banner(catalog),
        "$defs": definitions.collect::<Map<_, _>>(),
    })
}

fn sink(catalog: &Catalog) -> String {
    let format = catalog.file.defaults.kafka.format;
    let letters = &catalog.file.policies.dead_letters;
    let mut text = format!(
        "# {}\nkafka: {{brokers: ['${{KAFKA_BROKER:-localhost:9092}}']}}\n\
         clickhouse:\n  urls: ['${{CLICKHOUSE_URL:-http://localhost:8123}}']\n  \
         user: '${{CLICKHOUSE_USER:-default}}'\n  password: '${{CLICKHOUSE_PASSWORD:-}}'\n  \
         database: {}\n\
         api: {{listen: '${{TIDEGATE_LISTEN:-127.0.0.1:8080}}'}}\n",
        banner(catalog),
        catalog.database(),
    );
    // Writing into a `String` does not fail.
    for untreated in catalog.untreated() {
        let _ = writeln!(text, "# Personal data is stored as it comes: {untreated}");
    }
    if format != RecordFormat::Json {
        text.push_str("registry: {urls: ['${SCHEMA_REGISTRY_URL:-http://localhost:8081}']}\n");
    }
    let _ = writeln!(text, "connectors:\n  - name: {}\n    topics:", catalog.file.name);
    for event in catalog.events.values() {
        let _ = writeln!(text, "      - {}", event.topic);
    }
    let _ = writeln!(text, "    format: {format}");
    text.push_str("    table:\n      template: '{topic}'\n      unmapped: reject\n      map:\n");
    for event in catalog.events.values() {
        let _ = writeln!(text, "        {}: {}", event.topic, event.table);
    }
    if format == RecordFormat::Json {
        let _ =
            writeln!(text, "    schema: {{file: {SCHEMAS}, pointer: '#/$defs/{{event}}', required: true}}");
    }
    let unknown = match catalog.file.defaults.unknown_fields {
        UnknownFields::Reject => "reject",
        UnknownFields::Drop => "drop",
        UnknownFields::Collect => "{collect: _unknown}",
    };
    let topic = catalog.dead_letter_topic();
    let _ = writeln!(text, "    unknown_fields: {unknown}");
    let _ = writeln!(text, "    dead_letters: {{topic: {topic}, table: {}}}", letters.table);
    let _ = writeln!(
        text,
        "    halt_when: {{bad_ratio: {}, window: {}}}",
        letters.halt_ratio, letters.halt_window
    );
    text
}
