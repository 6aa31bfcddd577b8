//! Events and their fields: names, types, bounds, defaults, contexts, tables, topics.

use std::collections::HashMap;

use serde_json::Value;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::{Located, quoted};
use tidegate_yaml::{Mistake, Position};

use super::{has_column, personal, sources, unknown};
use crate::catalog::{Catalog, Event, EventField, Origin};
use crate::field_type::{FieldType, Scalar};
use crate::language::{CatalogFile, Ddl, EventSource, Field, Version};
use crate::names::Names;

/// What is checked once, and not per event: the envelope, contexts, enums, defaults.
pub(super) fn shared(file: &CatalogFile, cx: &mut Reading<'_>) {
    personal::classes(file, cx);
    personal::fields(file, &file.envelope, cx);
    sources::fields(file, &file.envelope, cx);
    fields(file, &file.envelope, None, cx);
    spine(file, cx);
    for (_, context) in file.contexts.iter() {
        fields(file, &context.fields, None, cx);
        personal::fields(file, &context.fields, cx);
        sources::fields(file, &context.fields, cx);
    }
    for (name, located) in file.enums.located() {
        enumeration(name, &located.value, cx);
    }
    let clickhouse = &file.defaults.clickhouse;
    if clickhouse.ddl == Ddl::OnCluster && clickhouse.cluster.is_none() {
        let at = file.events.located().next().map_or(Position::START, |(_, event)| event.at);
        let hint = Some("name it: `defaults: {clickhouse: {cluster: main}}`".to_owned());
        cx.report(Mistake::MissingKey, at, "`ddl: on_cluster` needs `cluster`", hint);
    }
    placeholders(&file.defaults.kafka.topic, &["name", "event", "major"], cx);
    placeholders(&file.policies.dead_letters.topic, &["name"], cx);
}

/// Every event has an identity and a time: delivery is checked by the one, metrics run along the other.
fn spine(file: &CatalogFile, cx: &mut Reading<'_>) {
    let at = file.envelope.located().next().map_or(Position::START, |(_, field)| field.at);
    let mut demand = |name: &str, fits: fn(&FieldType) -> bool, expected: &str| match file.envelope.get(name)
    {
        None => {
            let hint = Some(format!("add `{name}: {{type: {expected}}}`"));
            cx.report(Mistake::MissingKey, at, format!("`envelope` lacks `{name}`"), hint);
        }
        Some(field) if !fits(&field.ty.value) => {
            let message = format!("`{name}` is `{expected}`, found `{}`", field.ty.value);
            cx.report(Mistake::WrongType, field.ty.at, message, None);
        }
        Some(_) => {}
    };
    demand("event_id", |ty| matches!(ty, FieldType::Scalar(Scalar::Uuid | Scalar::String)), "uuid");
    demand("ts", |ty| matches!(ty, FieldType::Scalar(Scalar::Timestamp(_))), "timestamp(ms)");
}

fn enumeration(name: &str, source: &crate::language::EnumSource, cx: &mut Reading<'_>) {
    let mut seen = HashMap::new();
    if source.values.len() > 1_000 {
        let hint = Some("a list that long is a dimension: make it a `string`".to_owned());
        cx.report(
            Mistake::TooLarge,
            source.values[0].at,
            format!("enum `{name}` has more than 1000 words"),
            hint,
        );
    }
    for value in &source.values {
        if seen.insert(value.value.as_str(), value.at).is_some() {
            let message = format!("{} stands twice in enum `{name}`", quoted(&value.value));
            cx.report(Mistake::DuplicateKey, value.at, message, None);
        }
        let word = value.value.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && value.value.len() <= 100
            && value.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        // Avro's symbols and Protobuf's constants are words; an open enum is a text everywhere.
        if !source.open && !word {
            let message = format!("{} cannot be a word of a closed enum", quoted(&value.value));
            let hint =
                Some("words have letters, digits and `_`; with `open: true` any text will do".to_owned());
            cx.report(Mistake::BadValue, value.at, message, hint);
        }
    }
}

/// The event with its fields put together.
pub(super) fn event(
    file: &CatalogFile,
    name: &str,
    located: &Located<EventSource>,
    cx: &mut Reading<'_>,
) -> Event {
    let source = &located.value;
    fields(file, &source.fields, Some(source.version.value), cx);
    personal::fields(file, &source.fields, cx);
    sources::fields(file, &source.fields, cx);
    let mut all: Vec<EventField> = Vec::new();
    let mut places: HashMap<String, Origin> = HashMap::new();
    let mut add = |name: String, field: &Field, origin: Origin, at: Position, cx: &mut Reading<'_>| {
        if let Some(first) = places.get(&name) {
            let message = format!("field `{name}` is there already, from {}", told(first));
            cx.report(Mistake::Conflict, at, message, Some("name it otherwise".to_owned()));
            return;
        }
        places.insert(name.clone(), origin.clone());
        all.push(EventField { name, field: field.clone(), origin });
    };
    for (name, field) in file.envelope.iter() {
        add(name.to_owned(), field, Origin::Envelope, located.at, cx);
    }
    let mut incomplete = false;
    for named in &source.contexts {
        let Some(context) = file.contexts.get(&named.value) else {
            unknown("context", &named.value, named.at, file.contexts.keys(), cx);
            incomplete = true;
            continue;
        };
        for (name, field) in context.fields.iter() {
            let name = format!("{}{name}", context.prefix.0);
            add(name, field, Origin::Context(named.value.clone()), named.at, cx);
        }
    }
    for (name, field) in source.fields.located() {
        add(name.to_owned(), &field.value, Origin::Event, field.at, cx);
    }
    if let Some(topic) = &source.topic {
        placeholders(topic, &["name", "event", "major"], cx);
    }
    let template = source.topic.as_ref().unwrap_or(&file.defaults.kafka.topic);
    let topic = template
        .value
        .replace("{name}", file.name.as_str())
        .replace("{event}", name)
        .replace("{major}", &source.version.value.major.to_string());
    let table = source.clickhouse.table.as_ref().map_or(name, |table| table.as_str()).to_owned();
    let classes = file.policies.pii.iter().filter(|(_, class)| class.makes_texts());
    let pseudonymised = classes.map(|(name, _)| name.to_owned()).collect();
    Event {
        name: name.to_owned(),
        source: source.clone(),
        topic,
        table,
        fields: all,
        incomplete,
        pseudonymised,
    }
}

fn told(origin: &Origin) -> String {
    match origin {
        Origin::Envelope => "the envelope".to_owned(),
        Origin::Context(name) => format!("context `{name}`"),
        Origin::Event => "the event itself".to_owned(),
    }
}

/// Reports variable parts that nothing is put in for, and names that no topic can have.
fn placeholders(template: &Located<String>, known: &[&str], cx: &mut Reading<'_>) {
    let mut rest = template.value.as_str();
    let mut literal = String::new();
    while let Some((before, after)) = rest.split_once('{') {
        literal.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            cx.report(Mistake::BadValue, template.at, "`{` without its closing `}`", None);
            return;
        };
        if !known.contains(&name) {
            unknown("variable part", name, template.at, known.iter().copied(), cx);
        }
        rest = tail;
    }
    literal.push_str(rest);
    let legal = literal.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !legal || literal.len() > 100 {
        let hint = Some("topic names have letters, digits, `.`, `_` and `-`".to_owned());
        cx.report(
            Mistake::BadValue,
            template.at,
            format!("{} cannot name a topic", quoted(&template.value)),
            hint,
        );
    }
}

/// No two events share a topic or a table.
pub(super) fn topics_and_tables(catalog: &Catalog, cx: &mut Reading<'_>) {
    let mut topics: HashMap<&str, &str> = HashMap::new();
    let mut tables: HashMap<&str, &str> = HashMap::new();
    let letters = catalog.file.policies.dead_letters.table.as_str();
    for (name, located) in catalog.file.events.located() {
        let Some(event) = catalog.events.get(name) else { continue };
        if let Some(other) = topics.insert(&event.topic, name) {
            let message = format!("events `{other}` and `{name}` share the topic `{}`", event.topic);
            cx.report(Mistake::Conflict, located.at, message, Some("a topic holds one event".to_owned()));
        }
        if let Some(other) = tables.insert(&event.table, name) {
            let message = format!("events `{other}` and `{name}` share the table `{}`", event.table);
            cx.report(Mistake::Conflict, located.at, message, None);
        }
        if event.table == letters {
            let message = format!("table `{letters}` is for dead letters");
            cx.report(
                Mistake::Conflict,
                located.at,
                message,
                Some("name the event's table otherwise".to_owned()),
            );
        }
    }
}

/// Sorting keys are columns without null; records' keys are fields.
pub(super) fn keys(catalog: &Catalog, cx: &mut Reading<'_>) {
    let defaults = &catalog.file.defaults.clickhouse.order_by;
    for event in catalog.events.values() {
        let own = &event.source.clickhouse.order_by;
        for name in if own.is_empty() { defaults } else { own } {
            if !has_column(catalog, event, name, cx) {
                continue;
            }
            let nullable = event.column(&name.value, catalog.nulls()).is_some_and(|column| column.nullable);
            if nullable {
                let message =
                    format!("`{}` may be null in event `{}`; a sorting key may not", name.value, event.name);
                let hint =
                    Some("leave it out of `order_by`, or give it a type that is not optional".to_owned());
                cx.report(Mistake::Conflict, name.at, message, hint);
            }
        }
        if let Some(key) = &catalog.file.defaults.kafka.key
            && event.field(&key.value).is_none()
        {
            unknown("field of every event called", &key.value, key.at, catalog.file.envelope.keys(), cx);
            return;
        }
    }
}

/// Checks fields where they are declared.
fn fields(file: &CatalogFile, fields: &Names<Field>, version: Option<Version>, cx: &mut Reading<'_>) {
    for (name, located) in fields.located() {
        field(file, name, located, version, cx);
        members(file, name, located, version, cx);
    }
    for (_, located) in fields.located() {
        if let Some(old) = &located.value.renamed_from
            && fields.contains(&old.value)
        {
            let message = format!("`{}` is a field of its own", old.value);
            cx.report(Mistake::Conflict, old.at, message, Some("remove one of the two".to_owned()));
        }
    }
}

fn members(
    file: &CatalogFile,
    name: &str,
    located: &Located<Field>,
    version: Option<Version>,
    cx: &mut Reading<'_>,
) {
    let of = &located.value;
    match (of.ty.value.has_members(), of.fields.is_empty()) {
        (true, true) => {
            let message = format!("object `{name}` lacks `fields`");
            cx.report(Mistake::MissingKey, located.at, message, Some("or make it `json`".to_owned()));
        }
        (false, false) => {
            let message = format!("`{name}` is `{}`, which has no `fields`", of.ty.value);
            cx.report(Mistake::Conflict, located.at, message, Some("make it an `object`".to_owned()));
        }
        (true, false) => fields(file, &of.fields, version, cx),
        (false, true) => {}
    }
}

fn field(
    file: &CatalogFile,
    name: &str,
    located: &Located<Field>,
    version: Option<Version>,
    cx: &mut Reading<'_>,
) {
    let field = &located.value;
    if let Some(named) = field.ty.value.enum_name()
        && !file.enums.contains(named)
    {
        unknown("enum", named, field.ty.at, file.enums.keys(), cx);
    }
    if let Some(class) = &field.pii
        && !file.policies.pii.contains(&class.value)
    {
        unknown("class of personal data", &class.value, class.at, file.policies.pii.keys(), cx);
    }
    if let Some(entity) = &field.references
        && !file.entities.contains(&entity.value)
    {
        unknown("entity", &entity.value, entity.at, file.entities.keys(), cx);
    }
    if let (Some(since), Some(version)) = (&field.since, version)
        && since.value > version
    {
        let message =
            format!("field `{name}` is since {}, and the event is of version {version}", since.value);
        cx.report(Mistake::Conflict, since.at, message, Some("raise the event's `version`".to_owned()));
    }
    if field.ty.value.absent_list_of_any() {
        let message = format!("`{name}` may be absent, which ClickHouse cannot say of `{}`", field.ty.value);
        let hint = Some("make it `optional<any>`, or give its values a type".to_owned());
        cx.report(Mistake::Conflict, field.ty.at, message, hint);
    }
    bounds(name, field, cx);
    if let Some(default) = &field.default
        && let Err(expected) = fits(file, &field.ty.value, &default.value.0)
    {
        let message =
            format!("the default of `{name}` is {expected}, found {}", quoted(&default.value.to_json()));
        cx.report(Mistake::WrongType, default.at, message, None);
    }
}

fn bounds(name: &str, field: &Field, cx: &mut Reading<'_>) {
    let scalar = field.ty.value.innermost();
    let number = matches!(
        scalar,
        Some(Scalar::Integer { .. } | Scalar::Float { .. } | Scalar::Decimal { .. } | Scalar::Duration)
    );
    let text = matches!(scalar, Some(Scalar::String | Scalar::Url | Scalar::Email | Scalar::Enum(_)));
    let mut only_for = |at: Option<Position>, key: &str, fits: bool, kind: &str| {
        if let (Some(at), false) = (at, fits) {
            let message = format!("`{key}` is for {kind}; `{name}` is `{}`", field.ty.value);
            cx.report(Mistake::Conflict, at, message, None);
        }
    };
    only_for(field.min.as_ref().map(|min| min.at), "min", number, "numbers");
    only_for(field.max.as_ref().map(|max| max.at), "max", number, "numbers");
    only_for(field.max_length.as_ref().map(|max| max.at), "max_length", text, "texts");
    only_for(field.pattern.as_ref().map(|pattern| pattern.at), "pattern", text, "texts");
    only_for(
        field.hint.as_ref().map(|hint| hint.at),
        "hint",
        matches!(field.ty.value.scalar(), Some(Scalar::String)),
        "`string`",
    );
    if let (Some(min), Some(max)) = (&field.min, &field.max)
        && min.value.approximately() > max.value.approximately()
    {
        cx.report(Mistake::Conflict, min.at, format!("`min` of `{name}` is above its `max`"), None);
    }
    if let Some(pattern) = &field.pattern
        && !readable_pattern(&pattern.value)
    {
        cx.report(
            Mistake::BadValue,
            pattern.at,
            format!("the `pattern` of `{name}` is no regular expression"),
            None,
        );
    }
}

/// Whether the generated schemas can keep to a pattern.
pub(crate) fn readable_pattern(pattern: &str) -> bool {
    // Asked by `format: regex` it would be valid: formats are not asserted.
    jsonschema::validator_for(&serde_json::json!({"pattern": pattern})).is_ok()
}

/// Whether a default is of the type; says what is expected if not.
fn fits(file: &CatalogFile, ty: &FieldType, value: &Value) -> Result<(), String> {
    let expected = |fits: bool| if fits { Ok(()) } else { Err(format!("a `{ty}`")) };
    match ty {
        FieldType::Optional(inner) => {
            if value.is_null() {
                Ok(())
            } else {
                fits(file, inner, value)
            }
        }
        FieldType::Array(_) => {
            expected(value.as_array().is_some_and(Vec::is_empty)).map_err(|_| "`[]`".to_owned())
        }
        FieldType::Map(_) => {
            expected(value.as_object().is_some_and(serde_json::Map::is_empty)).map_err(|_| "`{}`".to_owned())
        }
        FieldType::Object | FieldType::Json | FieldType::Any => {
            Err("of a single value; objects have none".to_owned())
        }
        FieldType::Scalar(scalar) => match scalar {
            Scalar::Bool => expected(value.is_boolean()),
            Scalar::Integer { signed: true, .. } => expected(value.is_i64()),
            Scalar::Integer { signed: false, .. } | Scalar::Duration => expected(value.is_u64()),
            Scalar::Float { .. } => expected(value.is_number()),
            Scalar::Decimal { .. } => expected(value.is_number() || value.is_string()),
            Scalar::Enum(name) => match file.enums.get(name) {
                Some(of) if !of.open => {
                    let word = of.values.iter().any(|word| value.as_str() == Some(&word.value));
                    expected(word).map_err(|_| format!("a word of enum `{name}`"))
                }
                Some(_) | None => expected(value.is_string()),
            },
            Scalar::String | Scalar::Url | Scalar::Email | Scalar::Geohash { .. } => {
                expected(value.is_string())
            }
            Scalar::Timestamp(_) | Scalar::Date | Scalar::Uuid | Scalar::Ip => {
                Err(format!("not possible for `{scalar}`"))
            }
        },
    }
}
