//! What no single section can check: names that must differ, values that must fit each other, settings
//! that the delivery protocol owns.

use std::collections::HashMap;

use crate::connector::Connector;
use crate::file::{EmbeddedKafka, SinkFile, UpFile};
use crate::kafka::Kafka;
use crate::scalar::ByteSize;
use crate::template::Part;
use tidegate_yaml::diagnostic::{Mistake, Position};
use tidegate_yaml::node::{Node, NodeKind};
use tidegate_yaml::reading::Reading;

/// librdkafka's properties that the delivery protocol, or another key of the file, sets.
const KAFKA_OWNED: [(&str, &str); 14] = [
    ("bootstrap.servers", "use `kafka.brokers`"),
    ("metadata.broker.list", "use `kafka.brokers`"),
    ("group.id", "use the connector's `group`"),
    ("group.instance.id", "delivery relies on generations; remove it"),
    ("enable.auto.commit", "commits are part of the delivery protocol; remove it"),
    ("enable.auto.offset.store", "commits are part of the delivery protocol; remove it"),
    ("isolation.level", "only committed records are read; remove it"),
    ("transactional.id", "dead letters are written in transactions of their own; remove it"),
    ("enable.idempotence", "dead letters are written in transactions; remove it"),
    ("security.protocol", "it follows from `kafka.tls` and `kafka.sasl`"),
    ("sasl.mechanism", "use `kafka.sasl.mechanism`"),
    ("sasl.mechanisms", "use `kafka.sasl.mechanism`"),
    ("sasl.username", "use `kafka.sasl.user`"),
    ("sasl.password", "use `kafka.sasl.password`"),
];

/// ClickHouse's settings that the delivery protocol sets.
const CLICKHOUSE_OWNED: [&str; 10] = [
    "insert_deduplication_token",
    "insert_deduplicate",
    "async_insert",
    "deduplicate_blocks_in_dependent_materialized_views",
    "deduplicate_insert",
    "wait_for_async_insert",
    "max_insert_block_size",
    "max_insert_block_size_bytes",
    "min_insert_block_size_rows",
    "min_insert_block_size_bytes",
];

/// The embedded ClickHouse's own first database, laid over the file system.
const HOST_FILES: &str = "default";

pub(crate) fn sink(file: &SinkFile, root: &Node, cx: &mut Reading<'_>) {
    owned_properties(root, cx);
    owned_settings(root, cx);
    client_key(&file.kafka, root, cx);
    connectors(&file.connectors, file.memory_max, root, cx);
    registries(&file.connectors, file.registry.is_some(), root, cx);
}

pub(crate) fn up(file: &UpFile, root: &Node, cx: &mut Reading<'_>) {
    owned_properties(root, cx);
    if let Some(kafka) = &file.kafka {
        client_key(kafka, root, cx);
    }
    embedded_kafka(file, root, cx);
    if file.connectors.is_empty() && file.catalog.is_none() {
        let message = "the file has neither `connectors` nor a `catalog`: there is nothing to do";
        let hint = Some("say `catalog: cdp.yaml`, or list connectors".to_owned());
        cx.report(Mistake::MissingKey, root.at, message, hint);
    }
    if file.database.as_str() == HOST_FILES {
        host_files(place(root, &["database"]), cx);
    }
    for (index, connector) in file.connectors.iter().enumerate() {
        let node = root.get("connectors").and_then(|list| list.item(index));
        if let (Some(database), Some(node)) = (&connector.database, node)
            && database.as_str() == HOST_FILES
        {
            host_files(place(node, &["database"]), cx);
        }
    }
    connectors(&file.connectors, file.memory_max, root, cx);
    // Without `registry`, the embedded one is meant.
    registries(&file.connectors, true, root, cx);
}

fn host_files(at: Position, cx: &mut Reading<'_>) {
    let message = format!(
        "database `{HOST_FILES}` of the embedded ClickHouse shows the files of this machine as tables"
    );
    let hint = Some("name another database, or none: the default is `tidegate`".to_owned());
    cx.report(Mistake::Conflict, at, message, hint);
}

fn owned_properties(root: &Node, cx: &mut Reading<'_>) {
    for (key, at) in keys(root.get("kafka").and_then(|kafka| kafka.get("properties"))) {
        if let Some((_, instead)) = KAFKA_OWNED.iter().find(|(owned, _)| *owned == key) {
            let message = format!("Kafka property `{key}` is not free to set");
            cx.report(Mistake::Conflict, at, message, Some((*instead).to_owned()));
        }
    }
}

fn owned_settings(root: &Node, cx: &mut Reading<'_>) {
    for (key, at) in keys(root.get("clickhouse").and_then(|clickhouse| clickhouse.get("settings"))) {
        if CLICKHOUSE_OWNED.contains(&key) {
            let message = format!("ClickHouse setting `{key}` is not free to set");
            let hint = Some("the delivery protocol sets it; remove it".to_owned());
            cx.report(Mistake::Conflict, at, message, hint);
        }
    }
}

fn embedded_kafka(file: &UpFile, root: &Node, cx: &mut Reading<'_>) {
    let EmbeddedKafka { disk_max, produce_rate_max, fetch_rate_max } = &file.embedded_kafka;
    let bounds = [
        ("disk_max", disk_max, EmbeddedKafka::DISK_MAX_MIN),
        ("produce_rate_max", produce_rate_max, EmbeddedKafka::RATE_MAX_MIN),
        ("fetch_rate_max", fetch_rate_max, EmbeddedKafka::RATE_MAX_MIN),
    ];
    for (key, value, min) in bounds {
        if value.is_some_and(|value| value < min) {
            let message = format!("`{key}` is out of range; expected at least {min}");
            cx.report(Mistake::OutOfRange, place(root, &["embedded_kafka", key]), message, None);
        }
    }
    if file.kafka.is_some() && bounds.iter().any(|(_, value, _)| value.is_some()) {
        let message = "`embedded_kafka` has no use beside `kafka`, which takes its place".to_owned();
        let hint = Some("remove one of the two".to_owned());
        cx.report(Mistake::Conflict, place(root, &["embedded_kafka"]), message, hint);
    }
}

fn client_key(kafka: &Kafka, root: &Node, cx: &mut Reading<'_>) {
    let Some(tls) = &kafka.tls else { return };
    if tls.certificate.is_some() != tls.key.is_some() {
        let at = place(root, &["kafka", "tls"]);
        let message = "`certificate` and `key` of `kafka.tls` only work together";
        cx.report(Mistake::Conflict, at, message, Some("give both or neither".to_owned()));
    }
}

fn connectors(connectors: &[Connector], memory_max: ByteSize, root: &Node, cx: &mut Reading<'_>) {
    let list = root.get("connectors");
    let mut names = HashMap::new();
    let mut groups = HashMap::new();
    for (index, connector) in connectors.iter().enumerate() {
        let Some(node) = list.and_then(|list| list.item(index)) else { continue };
        let name = connector.name.as_str();
        if names.insert(name.to_owned(), ()).is_some() {
            let message = format!("two connectors are named `{name}`");
            cx.report(Mistake::Conflict, place(node, &["name"]), message, None);
        } else if let Some(other) = groups.insert(connector.group_name(), name.to_owned()) {
            let message = format!("connector `{name}` has the consumer group of connector `{other}`");
            let hint = Some("each connector needs a group of its own".to_owned());
            cx.report(Mistake::Conflict, place(node, &["group"]), message, hint);
        }
        topics(connector, node, cx);
        event_variable(connector, node, cx);
        sizes(connector, memory_max, node, cx);
        crate::personal::check(connector, node, cx);
        crate::rules::check(connector, node, cx);
    }
}

/// Records that name their schemas need a registry, and tell their event by other means than a field.
fn registries(connectors: &[Connector], registry: bool, root: &Node, cx: &mut Reading<'_>) {
    for (index, connector) in connectors.iter().enumerate() {
        let node = root.get("connectors").and_then(|list| list.item(index));
        let Some(node) = node.filter(|_| connector.format.names_schemas()) else { continue };
        if !registry {
            let message = "records of this format name their schemas, and no `registry` is configured";
            let hint = Some("say where it is: `registry: {urls: [\"http://registry:8081\"]}`".to_owned());
            cx.report(Mistake::Conflict, place(node, &["format"]), message, hint);
        }
        let field = |part: &Part| match part {
            Part::Field(_) => true,
            Part::Literal(_) | Part::Topic | Part::Header(_) => false,
        };
        if connector.table.template.parts().iter().any(field) {
            let message = "the table's name depends on a field, which is only read of `format: json`";
            let hint = Some("use `{topic}` or `{header:…}`".to_owned());
            cx.report(Mistake::Conflict, place(node, &["table"]), message, hint);
        }
    }
}

fn topics(connector: &Connector, node: &Node, cx: &mut Reading<'_>) {
    let list = node.get("topics");
    let dead_letters = connector.dead_letter_topic();
    for (index, topic) in connector.topics.iter().enumerate() {
        let at = list.and_then(|list| list.item(index)).map_or(node.at, |item| item.at);
        if connector.topics[..index].contains(topic) {
            cx.report(Mistake::Conflict, at, format!("topic `{topic}` stands twice"), None);
        }
        if topic.as_str() == dead_letters {
            let message = format!("topic `{topic}` is also the connector's dead-letter topic");
            let hint = Some("reading one's own dead letters never ends; name another topic".to_owned());
            cx.report(Mistake::Conflict, at, message, hint);
        }
    }
}

fn event_variable(connector: &Connector, node: &Node, cx: &mut Reading<'_>) {
    let variable = connector.table.template.fixed().is_none();
    let names_event = connector
        .schema
        .as_ref()
        .is_some_and(|schema| schema.pointer.0.iter().any(|pointer| pointer.contains("{event}")));
    if names_event && !variable {
        let message = "`{event}` stands for nothing: the table's name has no variable part";
        let hint = Some("name the schema itself, or make the table a template".to_owned());
        cx.report(Mistake::Conflict, place(node, &["schema", "pointer"]), message, hint);
    }
    if !connector.table.map.is_empty() && !variable {
        let message = "`map` needs a template with a variable part";
        cx.report(Mistake::Conflict, place(node, &["table", "map"]), message, None);
    }
    let from_schema = match connector.create_tables {
        crate::connector::CreateTables::FromSchema => true,
        crate::connector::CreateTables::No => false,
    };
    if from_schema && connector.schema.is_none() && !connector.format.names_schemas() {
        let message = "`create_tables: from_schema` needs a `schema`";
        cx.report(Mistake::Conflict, place(node, &["create_tables"]), message, None);
    }
    let evolves = match connector.evolve {
        crate::connector::Evolve::AddColumns => true,
        crate::connector::Evolve::No => false,
    };
    if evolves && !connector.format.names_schemas() {
        let message = "`evolve: add_columns` needs records that name their schemas";
        let hint = Some("it follows `format: avro`, `json_schema` and `protobuf`".to_owned());
        cx.report(Mistake::Conflict, place(node, &["evolve"]), message, hint);
    }
    if let Some(schema) = &connector.schema
        && !schema.pointer.0.iter().all(|pointer| pointer == "#" || pointer.starts_with("#/"))
    {
        let message = "expected a pointer that begins with `#/`";
        let hint = Some("`#` is the whole file, `#/definitions/x` a part of it".to_owned());
        cx.report(Mistake::BadValue, place(node, &["schema", "pointer"]), message, hint);
    }
}

fn sizes(connector: &Connector, memory_max: ByteSize, node: &Node, cx: &mut Reading<'_>) {
    let (record, batch) = (connector.limits.record_bytes_max, connector.batch.bytes_max);
    // A batch lives in memory as records and as columns at once.
    if batch.0 > memory_max.0 / 4 {
        let message =
            format!("`batch.bytes_max` of {batch} is more than a quarter of `memory_max`, {memory_max}");
        let hint = Some("raise `memory_max` or lower `batch.bytes_max`".to_owned());
        cx.report(Mistake::OutOfRange, place(node, &["batch", "bytes_max"]), message, hint);
    }
    if record.0 > memory_max.0 / 4 {
        let message = format!(
            "`limits.record_bytes_max` of {record} is more than a quarter of `memory_max`, {memory_max}"
        );
        let hint = Some("raise `memory_max` or lower `limits.record_bytes_max`".to_owned());
        cx.report(Mistake::OutOfRange, place(node, &["limits", "record_bytes_max"]), message, hint);
    }
}

fn keys(node: Option<&Node>) -> impl Iterator<Item = (&str, Position)> {
    let entries = match node.map(|node| &node.kind) {
        Some(NodeKind::Map(entries)) => entries.as_slice(),
        Some(NodeKind::Nothing | NodeKind::Text(_) | NodeKind::List(_)) | None => &[],
    };
    entries.iter().map(|entry| (entry.key.as_str(), entry.key_at))
}

/// Where the value at `path` stands, or the nearest section above it that is there.
pub(crate) fn place(node: &Node, path: &[&str]) -> Position {
    path.iter().try_fold(node, |node, key| node.get(key).ok_or(node)).unwrap_or_else(|above| above).at
}
