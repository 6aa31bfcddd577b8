//! The configuration of `tidegate sink` for the catalog's topics and tables.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::column_rules::{in_quotes, rules};
use super::{File, banner, event_schema};
use crate::catalog::{Catalog, Column, FLATTEN};
use crate::field_type::Scalar;
use crate::language::{KeyRef, PiiAction, PiiClass, RecordFormat, UnknownFields};

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
    for (name, class) in catalog.treated() {
        let _ = writeln!(text, "# Personal data of class `{name}` is {} before it is stored", class.done());
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
    let values = letters.table_values.map_or_else(String::new, |values| format!(", table_values: {values}"));
    let _ = writeln!(text, "    dead_letters: {{topic: {topic}, table: {}{values}}}", letters.table);
    let _ = writeln!(
        text,
        "    halt_when: {{bad_ratio: {}, window: {}}}",
        letters.halt_ratio, letters.halt_window
    );
    columns(catalog, &mut text);
    text
}

/// What happens to personal data, and which columns are of it, have another name in records, or keep to rules.
fn columns(catalog: &Catalog, text: &mut String) {
    let treated = catalog.treated();
    if !treated.is_empty() {
        text.push_str("    personal_data:\n");
    }
    for (name, class) in treated {
        let _ = writeln!(text, "      {name}: {{{}}}", treatment(class));
    }
    let mut tables = String::new();
    for event in catalog.events.values() {
        let (columns, paths) = (event.columns(catalog.nulls()), event.paths());
        let all = columns.iter().zip(&paths);
        let said = all.filter_map(|((name, column), (_, path))| {
            let said: Vec<String> = [path_of(name, path), personal(catalog, column), rules(catalog, column)]
                .into_iter()
                .flatten()
                .collect();
            (!said.is_empty()).then(|| format!("        {name}: {{{}}}\n", said.join(", ")))
        });
        let said: String = said.collect();
        if !said.is_empty() {
            let _ = write!(tables, "      {}:\n{said}", event.table);
        }
    }
    if !tables.is_empty() {
        let _ = write!(text, "    columns_of:\n{tables}");
    }
}

/// Where records have the column's value, if its name does not say so.
fn path_of(column: &str, path: &[String]) -> Option<String> {
    let escaped = |name: &String| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    let pointer: String = path.iter().map(escaped).collect();
    (path.join(FLATTEN) != column).then(|| format!("path: {}", in_quotes(&pointer)))
}

fn personal(catalog: &Catalog, column: &Column<'_>) -> Option<String> {
    let (class, of) = catalog.treatment(column)?;
    let clear = clear_type(column).filter(|_| of.makes_texts());
    let clear = clear.map_or_else(String::new, |clear| format!(", clear_type: {clear}"));
    Some(format!("personal_data: {class}{clear}"))
}

/// A class as the sink's configuration has it.
fn treatment(class: &PiiClass) -> String {
    let mut rule = format!("action: {}", class.action);
    // Writing into a `String` does not fail.
    let _ = match class.action {
        PiiAction::Keep | PiiAction::Restrict | PiiAction::Drop => Ok(()),
        PiiAction::Pseudonymise => {
            let per: Vec<&str> = class.per.iter().map(|name| name.value.as_str()).collect();
            let per = if per.is_empty() { String::new() } else { format!(", per: [{}]", per.join(", ")) };
            match class.key_ref.as_ref().map(|key| &key.value) {
                Some(KeyRef::Variable(name)) => write!(rule, ", key: '${{{name}}}'{per}"),
                Some(KeyRef::File(path)) => write!(rule, ", key_file: '{path}'{per}"),
                None => Ok(()),
            }
        }
        PiiAction::Truncate => {
            let texts =
                class.characters_max.map_or_else(String::new, |max| format!(", characters_max: {max}"));
            write!(rule, ", ipv4_prefix: {}, ipv6_prefix: {}{texts}", class.ipv4_prefix, class.ipv6_prefix)
        }
        PiiAction::Generalise => {
            let step = class.step.map_or_else(String::new, |step| format!(", step: {step}"));
            write!(rule, ", to: {}{step}", class.to)
        }
    };
    rule
}

/// ClickHouse's type of what comes, where texts are kept of something else.
fn clear_type(column: &Column<'_>) -> Option<String> {
    match column.clear.innermost()? {
        Scalar::Uuid => Some("UUID".to_owned()),
        Scalar::Ip => Some("IPv6".to_owned()),
        Scalar::Integer { signed, bits } => Some(format!("{}{bits}", if *signed { "Int" } else { "UInt" })),
        Scalar::String
        | Scalar::Enum(_)
        | Scalar::Url
        | Scalar::Email
        | Scalar::Geohash { .. }
        | Scalar::Bool
        | Scalar::Float { .. }
        | Scalar::Decimal { .. }
        | Scalar::Timestamp(_)
        | Scalar::Date
        | Scalar::Duration => None,
    }
}
