//! From the configuration's words to those of the crates that do the work.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tidegate_clickhouse::{Client, ClientOptions, Compression, TlsOptions, Url};
use tidegate_codec::{
    ColumnOptions, ColumnRules, EpochUnit, Limits, PlanOptions, UnknownFields, WantedColumn,
};
use tidegate_config::{self as config, HaltWhen};
use tidegate_core::DeadLetterContext;
use tidegate_kafka::{Credentials, KafkaOptions, Sasl, Secret, Tls, Verification};
use tidegate_pipeline::{
    ConnectorSettings, EventSchemas, FlushPolicy, HaltPolicy, TableCreation, TableSchema,
};
use tidegate_registry_client::RegistryClient;
use tidegate_schema::{
    ColumnDefinition, FormatMode, JsonSchema, SchemaDocument, SchemaError, TableDefinition, table_for,
};

/// How many insert tokens a table that we create remembers. Larger than any number of batches that can be
/// in doubt at once.
pub const DEDUP_WINDOW: u32 = 10_000;
/// How many blocks one partition inserts at the same time.
const INSERTS_MAX: usize = 4;
/// How long a partition that is taken away may finish its batch; below the source's own patience.
const DRAIN_MAX: Duration = Duration::from_secs(5);
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));
const DESCRIBE_EVERY: Duration = Duration::from_secs(30);

/// How to reach Kafka.
#[must_use]
pub fn kafka(kafka: &config::Kafka) -> KafkaOptions {
    let mut options = KafkaOptions::new(kafka.brokers.iter().map(ToString::to_string));
    if let Some(sasl) = &kafka.sasl {
        let password = Secret::new(sasl.password.expose());
        let credentials = Credentials { user: sasl.user.clone(), password };
        options.sasl = match sasl.mechanism {
            config::Mechanism::Plain => Sasl::Plain(credentials),
            config::Mechanism::ScramSha256 => Sasl::ScramSha256(credentials),
            config::Mechanism::ScramSha512 => Sasl::ScramSha512(credentials),
        };
    }
    options.tls = kafka.tls.as_ref().map(|tls| Tls {
        ca_file: tls.ca.clone(),
        certificate_file: tls.certificate.clone(),
        key_file: tls.key.clone(),
        key_password: tls.key_password.as_ref().map(|password| Secret::new(password.expose())),
        verification: if tls.verify { Verification::Full } else { Verification::Off },
    });
    options.extra =
        kafka.properties.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    options
}

/// What a connector's pipeline is told.
///
/// # Errors
/// When a column's type is none, or a key cannot be one.
pub fn settings(connector: &config::Connector, database: &str) -> anyhow::Result<ConnectorSettings> {
    let database = connector.database.as_ref().map_or_else(|| database.to_owned(), ToString::to_string);
    Ok(ConnectorSettings {
        context: DeadLetterContext {
            connector: connector.name.to_string(),
            group: connector.group_name(),
            processor: concat!("tidegate/", env!("CARGO_PKG_VERSION")).to_owned(),
        },
        database,
        route: connector.table.clone(),
        plan: plan(connector)?,
        flush: FlushPolicy {
            rows_max: connector.batch.rows_max.min(FlushPolicy::ROWS_LIMIT),
            bytes_max: connector.batch.bytes_max.as_usize(),
            linger: connector.batch.linger,
        },
        guarantee: connector.delivery,
        tombstones: connector.tombstones,
        dead_letter_table: Some(connector.dead_letters.table.to_string()),
        letters_withheld: connector.withholds_letters(),
        halt_when: match &connector.halt_when {
            HaltWhen::Never => None,
            HaltWhen::Guard(guard) => Some(HaltPolicy { bad_ratio: guard.bad_ratio, window: guard.window }),
        },
        inserts_max: INSERTS_MAX,
        drain_max: DRAIN_MAX,
        retry_wait: RETRY_WAIT,
        describe_every: DESCRIBE_EVERY,
        evolve: match connector.evolve {
            config::Evolve::No => false,
            config::Evolve::AddColumns => true,
        },
    })
}

fn plan(connector: &config::Connector) -> anyhow::Result<PlanOptions> {
    let columns = |of: &BTreeMap<String, config::Column>| -> anyhow::Result<BTreeMap<String, ColumnOptions>> {
        of.iter().map(|(name, own)| Ok((name.clone(), column(connector, name, own)?))).collect()
    };
    let tables = connector.columns_of.iter();
    Ok(PlanOptions {
        unknown_fields: match &connector.unknown_fields {
            config::UnknownFields::Reject => UnknownFields::Reject,
            config::UnknownFields::Drop => UnknownFields::Drop,
            config::UnknownFields::Collect(column) => UnknownFields::Collect { column: column.to_string() },
        },
        flatten_separator: connector.flatten.clone(),
        columns: columns(&connector.columns)?,
        tables: tables.map(|(table, of)| Ok((table.clone(), columns(of)?))).collect::<anyhow::Result<_>>()?,
        limits: Limits {
            record_bytes_max: connector.limits.record_bytes_max.as_usize(),
            depth_max: connector.limits.depth_max,
            ..Limits::default()
        },
        ..PlanOptions::default()
    })
}

fn column(
    connector: &config::Connector,
    name: &str,
    column: &config::Column,
) -> anyhow::Result<ColumnOptions> {
    Ok(ColumnOptions {
        path: column.path.as_ref().map(|path| path.segments().to_vec()),
        formats: column.formats.iter().map(ToString::to_string).collect(),
        epoch: column.epoch.map(|unit| match unit {
            config::EpochUnit::Seconds => EpochUnit::Seconds,
            config::EpochUnit::Millis => EpochUnit::Millis,
            config::EpochUnit::Micros => EpochUnit::Micros,
            config::EpochUnit::Nanos => EpochUnit::Nanos,
        }),
        personal: crate::personal::of_column(connector, column)
            .with_context(|| format!("connector `{}`, column `{name}`", connector.name))?,
        rules: column.rules.as_ref().map(rules),
        ..ColumnOptions::default()
    })
}

fn rules(rules: &config::ColumnRules) -> ColumnRules {
    ColumnRules {
        min: rules.min.as_ref().map(ToString::to_string),
        max: rules.max.as_ref().map(ToString::to_string),
        max_length: rules.max_length.map(u64::from),
        pattern: rules.pattern.as_ref().map(ToString::to_string),
        format: rules.format.map(|format| format.to_string()),
        one_of: rules.one_of.clone(),
        members: rules.members.iter().map(|(name, member)| (name.clone(), self::rules(member))).collect(),
    }
}

/// Where a connector's schemas come from, and how its missing tables are created.
///
/// # Errors
/// When the schema file cannot be read, or no registry is configured where one is needed.
pub fn schemas(
    connector: &config::Connector,
    settings: &ConnectorSettings,
    registry: Option<&RegistryClient>,
) -> anyhow::Result<(EventSchemas, Option<TableCreation>)> {
    if let Some(writers) = crate::writers::writers(connector, registry)? {
        return Ok((EventSchemas::of_writers(writers), creation(connector, settings)));
    }
    let Some(source) = &connector.schema else { return Ok((EventSchemas::none(), None)) };
    let file = SchemaFile::read(source)?;
    let schemas = EventSchemas::new(move |event| file.find(event), source.required);
    Ok((schemas, creation(connector, settings)))
}

fn creation(connector: &config::Connector, settings: &ConnectorSettings) -> Option<TableCreation> {
    match connector.create_tables {
        config::CreateTables::No => None,
        config::CreateTables::FromSchema => {
            let (database, plan) = (settings.database.clone(), settings.plan.clone());
            Some(TableCreation::new(move |resolved, schema| {
                let definition = match schema {
                    TableSchema::Event(schema) => table_for(schema),
                    TableSchema::Writer(schema) => {
                        definition(&schema.columns(&plan.of_table(&resolved.table)))
                    }
                };
                table_ddl(&database, &resolved.table, &definition)
            }))
        }
    }
}

/// Columns in SQL's words.
pub fn definition(columns: &[WantedColumn]) -> TableDefinition {
    let columns = columns.iter().map(|column| ColumnDefinition {
        name: column.name.clone(),
        ty: column.ty.to_string(),
        rest: column.default.as_ref().map_or_else(String::new, |default| format!("DEFAULT {default}")),
    });
    TableDefinition { columns: columns.collect() }
}

/// A schema file, with the schemas that were looked up in it.
struct SchemaFile {
    source: config::SchemaSource,
    document: SchemaDocument,
    found: Mutex<HashMap<String, Option<Arc<JsonSchema>>>>,
}

impl SchemaFile {
    fn read(source: &config::SchemaSource) -> anyhow::Result<Self> {
        let text = read_text(&source.file)?;
        let document = SchemaDocument::parse(&text)
            .with_context(|| format!("read schema file `{}`", source.file.display()))?;
        Ok(Self { source: source.clone(), document, found: Mutex::default() })
    }

    /// The schema of an event. The pipeline keeps what it gets, and bounds how many names it asks for.
    fn find(&self, event: &str) -> Option<Arc<JsonSchema>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = found.get(event) {
            return schema.clone();
        }
        let schema = self.parse(event).map(Arc::new);
        if schema.is_some() {
            found.insert(event.to_owned(), schema.clone());
        }
        schema
    }

    fn parse(&self, event: &str) -> Option<JsonSchema> {
        let formats = match self.source.formats {
            config::Formats::Assert => FormatMode::Assert,
            config::Formats::Annotate => FormatMode::Annotate,
        };
        self.source.pointers_for(event).find_map(|pointer| {
            match self.document.schema_at(&pointer, formats) {
                Ok(schema) => Some(schema),
                Err(SchemaError::NoSuchPointer { .. }) => None,
                Err(error) => {
                    tracing::error!(%error, event, pointer, file = %self.source.file.display(), "schema is not usable");
                    None
                }
            }
        })
    }
}

fn read_text(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("read schema file `{}`", file.display()))
}

/// The columns that say where a row came from.
pub const fn place_columns() -> [(&'static str, &'static str); 4] {
    [
        ("_topic", "LowCardinality(String)"),
        ("_partition", "Int32"),
        ("_offset", "Int64"),
        ("_timestamp", "DateTime64(3, 'UTC')"),
    ]
}

/// The table of an event: the schema's columns, and where each row came from.
pub fn table_ddl(database: &str, table: &str, definition: &TableDefinition) -> String {
    let place = place_columns().map(|(name, ty)| ColumnDefinition::new(name, ty));
    let create = definition.create((database, table), &place, "MergeTree", "(_partition, _offset)");
    format!("{create}\nSETTINGS non_replicated_deduplication_window = {DEDUP_WINDOW}")
}

/// How to reach ClickHouse.
///
/// # Errors
/// When an address is none, or the TLS files cannot be read.
pub fn clickhouse(clickhouse: &config::ClickHouse) -> anyhow::Result<Client> {
    Client::new(clickhouse_options(clickhouse)?).context("set up the clickhouse client")
}

/// What a client of ClickHouse is made from.
///
/// # Errors
/// When an address is none.
pub fn clickhouse_options(clickhouse: &config::ClickHouse) -> anyhow::Result<ClientOptions> {
    let urls = clickhouse.urls.iter().map(|url| Url::parse(url.as_str()));
    let urls = urls.collect::<Result<Vec<_>, _>>().context("read `clickhouse.urls`")?;
    let first = urls.first().cloned().context("`clickhouse.urls` names no server")?;
    let password = tidegate_clickhouse::Secret::new(clickhouse.password.expose());
    let mut options = ClientOptions::new(first, clickhouse.user.clone(), password);
    options.urls = urls;
    options.database = clickhouse.database.to_string();
    options.compression = match clickhouse.compression {
        config::Compression::None => Compression::None,
        config::Compression::Lz4 => Compression::Lz4,
        config::Compression::Zstd => Compression::Zstd,
    };
    if let Some(tls) = &clickhouse.tls {
        options.tls = TlsOptions { ca_file: tls.ca.clone(), accept_any_certificate: !tls.verify };
    }
    options.insert_settings =
        clickhouse.settings.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    Ok(options)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidegate_codec::TimePattern;
    use tidegate_config::{Surroundings, parse_sink};

    #[test]
    fn the_configuration_takes_the_date_time_patterns_that_the_codec_reads() {
        for letter in (b'!'..=b'~').map(char::from).filter(|letter| !"\"\\$".contains(*letter)) {
            let pattern = format!("x%{letter}");
            let text = format!(
                "kafka: {{brokers: [k:1]}}\nclickhouse: {{urls: [\"http://c:1\"]}}\nconnectors:\n  \
                 - {{name: a, topics: [t], table: t, columns: {{c: {{formats: [\"{pattern}\"]}}}}}}\n"
            );
            let surroundings =
                Surroundings { variable: &|_| None, read: &|path| std::fs::read_to_string(path) };
            let accepted = parse_sink(Path::new("a.yaml"), &text, &surroundings).is_ok();
            assert_eq!(accepted, TimePattern::parse(&pattern).is_ok(), "{pattern}");
        }
    }
}
