//! What a catalog needs in ClickHouse, the schema registry and Kafka: made where it is missing, refused where
//! it differs.
//!
//! Nothing that is there is changed, every step may be repeated, and a rollout that was interrupted is
//! finished by the next one. Start with [`Sites::roll_out`]; the decision is [`compare`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tidegate_catalog::language::{KeyRef, RecordFormat, UnknownFields};
use tidegate_catalog::{Catalog, Ddl, Event, Statement, Step, statements};
use tidegate_clickhouse::{Client, quote_text};
use tidegate_config::{self as config, Surroundings};
use tidegate_kafka::{KafkaAdmin, KafkaOptions, TopicSpec};
use tidegate_native::Type;
use tidegate_registry_client::{NewSchema, RegistryClient, RequestError};

use super::{Opened, given};

/// How many differences are told; a table that is another one has many.
const TOLD_MAX: usize = 20;

/// Where a catalog is rolled out.
pub struct Sites<'a> {
    /// Kafka.
    pub kafka: &'a KafkaOptions,
    /// ClickHouse.
    pub clickhouse: &'a Client,
    /// The schema registry, if there is one.
    pub registry: Option<&'a RegistryClient>,
    /// Whether tables are made on one server or on a cluster.
    pub ddl: Ddl,
}

/// How much was missing and has been made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Topics.
    pub topics: usize,
    /// Versions of schemas.
    pub schemas: usize,
    /// Tables and views.
    pub tables: usize,
}

impl Sites<'_> {
    /// Makes what is missing. Tables that differ refuse it before anything is made.
    ///
    /// # Errors
    /// When a table has other columns than the catalog says, when the registry refuses a schema, or when the
    /// world fails.
    pub async fn roll_out(&self, opened: &Opened) -> anyhow::Result<Made> {
        let wanted = statements(&opened.catalog, &opened.generated.lock, given(), self.ddl);
        let live = Live::ask(self.clickhouse, opened.catalog.database()).await?;
        let compared = compare(&wanted, &live);
        if !compared.differences.is_empty() {
            bail!(refusal(opened, &compared.differences));
        }
        let schemas = match self.registry {
            Some(registry) => schemas(opened, registry).await?,
            None => 0,
        };
        let mut tables = 0;
        for statement in compared.missing {
            let made = self.clickhouse.execute(&statement.sql).await;
            made.with_context(|| format!("create `{}` of the catalog", statement.object))?;
            tables += usize::from(statement.step != Step::Database);
        }
        let topics = topics(&opened.catalog, self.kafka).await?;
        Ok(Made { topics, schemas, tables })
    }
}

/// The tables of a database as they are.
#[derive(Debug, Default)]
struct Live {
    tables: HashMap<String, LiveTable>,
}

#[derive(Debug, Default)]
struct LiveTable {
    /// Whether it holds rows.
    filled: bool,
    columns: BTreeMap<String, LiveColumn>,
}

#[derive(Debug)]
struct LiveColumn {
    ty: String,
    /// Whether a row may be inserted without it.
    optional: bool,
}

impl Live {
    async fn ask(clickhouse: &Client, database: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Table {
            name: String,
            filled: u8,
        }
        #[derive(Deserialize)]
        struct Column {
            table: String,
            name: String,
            r#type: String,
            default_kind: String,
        }
        let database = quote_text(database);
        let asking = || format!("ask clickhouse for the tables of database {database}");
        let tables: Vec<Table> = clickhouse
            .rows(&format!(
                "SELECT name, toUInt8(ifNull(total_rows, 0) > 0) AS filled FROM system.tables WHERE database = {database}"
            ))
            .await
            .with_context(asking)?;
        let columns: Vec<Column> = clickhouse
            .rows(&format!(
                "SELECT table, name, type, default_kind FROM system.columns WHERE database = {database}"
            ))
            .await
            .with_context(asking)?;
        let mut live = Self::default();
        for Table { name, filled } in tables {
            live.tables.insert(name, LiveTable { filled: filled != 0, columns: BTreeMap::new() });
        }
        for Column { table, name, r#type: ty, default_kind } in columns {
            let optional = !default_kind.is_empty() || ty.starts_with("Nullable(");
            live.tables.entry(table).or_default().columns.insert(name, LiveColumn { ty, optional });
        }
        Ok(live)
    }
}

/// What a rollout has to do.
struct Compared<'a> {
    missing: Vec<&'a Statement>,
    /// What stands against it, in words.
    differences: Vec<String>,
}

/// Compares what the catalog says with what is there: each table's columns by name and type. A column more
/// does no harm if rows may be inserted without it. A view that is missing over a table that holds rows would
/// never count these, so that making it is no matter of a start.
fn compare<'a>(wanted: &'a [Statement], live: &Live) -> Compared<'a> {
    let mut compared = Compared { missing: Vec::new(), differences: Vec::new() };
    for statement in wanted {
        let object = &statement.object;
        if statement.step == Step::Database {
            compared.missing.push(statement);
            continue;
        }
        match (live.tables.get(object), &statement.reads) {
            (Some(table), _) if !statement.columns.is_empty() => {
                differences(object, &statement.columns, table, &mut compared.differences);
            }
            (Some(_), _) => {}
            (None, Some(source)) if live.tables.get(source).is_some_and(|table| table.filled) => {
                compared.differences.push(format!(
                    "view `{object}` is missing, and table `{source}` holds rows that it would not count"
                ));
            }
            (None, _) => compared.missing.push(statement),
        }
    }
    compared
}

fn differences(object: &str, wanted: &[(String, String)], live: &LiveTable, told: &mut Vec<String>) {
    for (name, ty) in wanted {
        match live.columns.get(name) {
            None => told.push(format!("table `{object}` has no column `{name}`, which is `{ty}`")),
            Some(column) if !same_type(&column.ty, ty) => told.push(format!(
                "column `{name}` of table `{object}` is `{}`, and `{ty}` in the catalog",
                column.ty
            )),
            Some(_) => {}
        }
    }
    for (name, column) in &live.columns {
        if !column.optional && !wanted.iter().any(|(wanted, _)| wanted == name) {
            told.push(format!(
                "column `{name}` of table `{object}` is not in the catalog, and rows must have it"
            ));
        }
    }
}

/// Types are told apart by what they are, not by how they are written.
fn same_type(live: &str, wanted: &str) -> bool {
    let plain = |text: &str| text.replace(' ', "");
    match (Type::parse(live), Type::parse(wanted)) {
        (Ok(live), Ok(wanted)) if live == wanted => true,
        (Ok(_) | Err(_), _) => plain(live) == plain(wanted),
    }
}

fn refusal(opened: &Opened, differences: &[String]) -> String {
    let (database, file) = (opened.catalog.database(), opened.file.display());
    let mut text = format!("database `{database}` is not as the catalog `{file}` says:\n");
    for difference in differences.iter().take(TOLD_MAX) {
        // Writing into a `String` does not fail.
        let _ = writeln!(text, "  {difference}");
    }
    if differences.len() > TOLD_MAX {
        let _ = writeln!(text, "  and {} more", differences.len() - TOLD_MAX);
    }
    text.push_str(
        "hint: start without the catalog, see with `tidegate catalog plan` what a change does, and make it with \
         `tidegate catalog apply`",
    );
    text
}

/// The subject of an event's schemas: what Confluent's serializers look under.
pub fn subject(event: &Event) -> String {
    format!("{}-value", event.topic)
}

/// Registers each event's schema in the language of its records. A subject that is new gets the earlier minor
/// versions first, as they came about.
async fn schemas(opened: &Opened, registry: &RegistryClient) -> anyhow::Result<usize> {
    let catalog = &opened.catalog;
    let subjects: HashSet<String> = registry.subjects().await?.into_iter().collect();
    let mut n_registered = 0;
    for event in catalog.events.values() {
        let subject = subject(event);
        let known = subjects.contains(&subject);
        let versions = if known { vec![event.version()] } else { event.versions() };
        let mut demanded = false;
        for version in versions {
            let schema = new_schema(opened, &event.name, &version.to_string())?;
            if known && registry.find(&subject, &schema).await?.is_some() {
                continue;
            }
            if !demanded {
                demand(catalog, registry, &subject).await?;
                demanded = true;
            }
            match registry.register(&subject, &schema).await {
                Ok(_) => n_registered += 1,
                Err(RequestError::Refused(refused)) => bail!(
                    "schema of event `{}`, version {version}, under subject `{subject}`: {refused}\n\
                     hint: a change that readers do not survive is a new major version, which has a topic and a \
                     subject of its own",
                    event.name
                ),
                Err(RequestError::Fault(fault)) => return Err(fault.into()),
            }
        }
    }
    Ok(n_registered)
}

/// Tells the registry what the catalog's policy is.
async fn demand(catalog: &Catalog, registry: &RegistryClient, subject: &str) -> anyhow::Result<()> {
    let level = catalog.file.policies.evolution.compatibility.as_str().to_uppercase();
    // Events that may have fields nobody declared would else refuse every field that is declared later.
    let policy = match catalog.file.defaults.unknown_fields {
        UnknownFields::Reject => None,
        UnknownFields::Drop | UnknownFields::Collect => Some("LENIENT"),
    };
    let demanded = registry.demand(subject, &level, policy).await;
    demanded.with_context(|| format!("set the compatibility of subject `{subject}`"))
}

/// The generated schema of an event's version.
///
/// # Errors
/// When none is generated, which is a mistake of this program.
pub fn new_schema(opened: &Opened, event: &str, version: &str) -> anyhow::Result<NewSchema> {
    let (language, path) = match opened.catalog.file.defaults.kafka.format {
        RecordFormat::Json | RecordFormat::JsonSchema => {
            ("JSON", format!("json-schema/{event}/{version}.json"))
        }
        RecordFormat::Avro => ("AVRO", format!("avro/{event}/{version}.avsc")),
    };
    let text = opened.generated.text(&path).with_context(|| format!("`{path}` has not been generated"))?;
    Ok(NewSchema { language: language.to_owned(), schema: text.to_owned(), references: Vec::new() })
}

async fn topics(catalog: &Catalog, kafka: &KafkaOptions) -> anyhow::Result<usize> {
    let admin = KafkaAdmin::connect(kafka).context("set up the kafka client")?;
    let partitions = i32::try_from(catalog.file.defaults.kafka.partitions)?;
    let specs: Vec<TopicSpec> =
        catalog.events.values().map(|event| TopicSpec::new(&event.topic, partitions)).collect();
    Ok(admin.ensure_topics(&specs).await?)
}

/// The connector of the generated configuration. Its files are kept in `folder`, so that a person can see by
/// what the sink runs.
///
/// `spare` is the key of pseudonyms where the one that the catalog names is not there: a trial has its own.
///
/// # Errors
/// When the folder cannot be written, or a key cannot be read.
pub fn connector(opened: &Opened, folder: &Path, spare: Option<&str>) -> anyhow::Result<config::Connector> {
    std::fs::create_dir_all(folder).with_context(|| format!("create folder `{}`", folder.display()))?;
    for file in &opened.generated.files {
        let Some(name) = file.path.strip_prefix("sink/") else { continue };
        let path = folder.join(name);
        std::fs::write(&path, &file.text).with_context(|| format!("write `{}`", path.display()))?;
    }
    let text = opened.generated.text("sink/sink.yaml").context("no configuration has been generated")?;
    // What is between the engines is not the generated addresses' matter; keys are.
    let keys = opened.catalog.keys();
    let variable = |name: &str| {
        let named = |(_, key): &(&str, &KeyRef)| matches!(key, KeyRef::Variable(of) if of == name);
        let key =
            keys.iter().any(named).then(|| std::env::var(name).ok().or_else(|| spare.map(str::to_owned)));
        key.flatten()
    };
    let read = |path: &Path| match (std::fs::read_to_string(path), spare) {
        (Err(_), Some(spare)) => Ok(spare.to_owned()),
        (read, _) => read,
    };
    let surroundings = Surroundings { variable: &variable, read: &read };
    let file = config::parse_sink(&folder.join("sink.yaml"), text, &surroundings);
    let file = file.map_err(|mistakes| anyhow::anyhow!("the generated configuration: {mistakes}"))?;
    let connector = file.connectors.into_iter().next().context("the generated configuration is empty")?;
    Ok(config::Connector { database: Some(file.clickhouse.database), ..connector })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(object: &str, columns: &[(&str, &str)], reads: Option<&str>) -> Statement {
        Statement {
            step: Step::Events,
            object: object.to_owned(),
            sql: String::new(),
            columns: columns.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned())).collect(),
            reads: reads.map(str::to_owned),
        }
    }

    fn live(filled: bool, columns: &[(&str, &str, bool)]) -> Live {
        let columns = columns.iter().map(|(name, ty, optional)| {
            ((*name).to_owned(), LiveColumn { ty: (*ty).to_owned(), optional: *optional })
        });
        let table = LiveTable { filled, columns: columns.collect() };
        Live { tables: [("seen".to_owned(), table)].into() }
    }

    #[track_caller]
    fn check(wanted: &[Statement], live: &Live, missing: &[&str], differences: &[&str]) {
        let compared = compare(wanted, live);
        let objects: Vec<&str> = compared.missing.iter().map(|statement| statement.object.as_str()).collect();
        assert_eq!(objects, missing);
        assert_eq!(compared.differences, differences);
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_left_alone() {
        let wanted = [
            statement("seen", &[("id", "UInt64"), ("price", "Decimal(12,2)")], None),
            statement("new", &[("id", "UInt64")], None),
            statement("new_view", &[], Some("seen")),
        ];
        let there = live(false, &[("id", "UInt64", false), ("price", "Decimal(12, 2)", false)]);
        check(&wanted, &there, &["new", "new_view"], &[]);
    }

    #[test]
    fn columns_that_differ_are_told_and_a_column_more_is_not() {
        let wanted = [statement("seen", &[("id", "UInt64"), ("at", "Date32")], None)];
        let there = live(true, &[("id", "UInt32", false), ("old", "Nullable(String)", true)]);
        let told = [
            "column `id` of table `seen` is `UInt32`, and `UInt64` in the catalog",
            "table `seen` has no column `at`, which is `Date32`",
        ];
        check(&wanted, &there, &[], &told);
        let there =
            live(true, &[("id", "UInt64", false), ("at", "Date32", false), ("must", "String", false)]);
        let told = ["column `must` of table `seen` is not in the catalog, and rows must have it"];
        check(&wanted, &there, &[], &told);
    }

    #[test]
    fn a_view_is_not_made_over_rows_that_it_would_not_count() {
        let wanted = [statement("sums_view", &[], Some("seen"))];
        let told = ["view `sums_view` is missing, and table `seen` holds rows that it would not count"];
        check(&wanted, &live(true, &[]), &[], &told);
        check(&wanted, &live(false, &[]), &["sums_view"], &[]);
    }
}
