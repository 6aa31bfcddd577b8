//! `tidegate table`: the ClickHouse table of a subject's schema: shown, created, extended.

use std::fmt::Write as _;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use tidegate_clickhouse::Client;
use tidegate_codec::{PlanOptions, WantedColumn, WriterSchema};
use tidegate_core::FaultKind;
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};
use tidegate_registry_client::SchemaName;
use tidegate_schema::{ColumnDefinition, quote};

use crate::cli::{Exit, Speech};
use crate::commands::print;
use crate::reach::Reach;
use crate::{wire, writers};

/// What to do about a table.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what `create` or `evolve` would do, and what the table cannot take of the schema
    #[command(after_help = "\
Examples:
  tidegate table plan orders-value --registry http://localhost:8081 --clickhouse http://localhost:8123
  tidegate table plan orders-value --config sink.yaml --table shop.orders --output json")]
    Plan(Flags),
    /// Create the table for the schema
    #[command(after_help = "\
Examples:
  tidegate table create orders-value --config sink.yaml
  tidegate table create orders-value --config sink.yaml --order-by '(user_id, ts)' \\
      --engine 'ReplicatedMergeTree' --on-cluster main")]
    Create(Flags),
    /// Add the columns that the schema has and the table lacks; nothing is changed or dropped
    #[command(after_help = "Example:\n  tidegate table evolve orders-value --config sink.yaml")]
    Evolve(Flags),
}

/// Which schema, and which table.
#[derive(Debug, Args)]
pub struct Flags {
    /// The subject in the schema registry
    #[arg(value_name = "SUBJECT")]
    pub subject: String,
    /// Its version; the latest if absent
    #[arg(long, value_name = "N")]
    pub schema_version: Option<i32>,
    /// The table, with or without its database; the subject without `-value` if absent
    #[arg(long, value_name = "[DATABASE.]TABLE")]
    pub table: Option<String>,
    /// A new table's engine, as SQL
    #[arg(long, value_name = "ENGINE", default_value = "MergeTree")]
    pub engine: String,
    /// A new table's sorting key, as SQL
    #[arg(long, value_name = "KEY", default_value = "(_partition, _offset)")]
    pub order_by: String,
    /// The cluster on all of whose servers the statements run
    #[arg(long, value_name = "CLUSTER")]
    pub on_cluster: Option<String>,
    /// What joins the names of nested records to a column's name
    #[arg(long, value_name = "TEXT", default_value = "__")]
    pub flatten: String,
    #[command(flatten)]
    pub reach: Reach,
}

/// What is to be done about a table, and what stands against it.
#[derive(Debug, Serialize)]
struct Report {
    subject: String,
    version: i32,
    table: String,
    /// Whether the table is there.
    exists: bool,
    statements: Vec<String>,
    /// What the table cannot take of the schema, and no added column changes.
    refused: Vec<Refused>,
    /// Whether the statements have been carried out.
    applied: bool,
}

/// A field that the table cannot take, or a column that no field is for.
#[derive(Debug, Serialize)]
struct Refused {
    field: String,
    column: Option<String>,
    reason: String,
    hint: String,
}

/// What a command may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Show,
    Create,
    Evolve,
}

/// Runs a subcommand.
///
/// # Errors
/// What a person is to be told.
pub async fn run(command: Command, speech: &Speech) -> anyhow::Result<Exit> {
    let (flags, deed) = match command {
        Command::Plan(flags) => (flags, Deed::Show),
        Command::Create(flags) => (flags, Deed::Create),
        Command::Evolve(flags) => (flags, Deed::Evolve),
    };
    let clickhouse = flags.reach.clickhouse()?;
    let (version, schema) = schema(&flags).await?;
    let (database, name) = place(&flags)?;
    let mut report = plan(&flags, &clickhouse, (&database, &name), &schema).await?;
    report.version = version;
    match (deed, report.exists) {
        (Deed::Create, true) => {
            bail!("table `{}` exists; `tidegate table evolve` adds what it lacks", report.table)
        }
        (Deed::Evolve, false) => {
            bail!("table `{}` does not exist; `tidegate table create` makes it", report.table)
        }
        (Deed::Show, _) => {}
        (Deed::Create | Deed::Evolve, _) => {
            for statement in &report.statements {
                clickhouse.execute(statement).await.context("alter the table")?;
            }
            report.applied = true;
        }
    }
    print(speech, &report, |report, _| shown(report))?;
    Ok(if deed != Deed::Show && !report.refused.is_empty() { Exit::Failed } else { Exit::Done })
}

async fn schema(flags: &Flags) -> anyhow::Result<(i32, WriterSchema)> {
    let registry = flags.reach.registry()?;
    let version = registry.version(&flags.subject, flags.schema_version).await?;
    let stored = registry.schema(&SchemaName::Id(version.id)).await?;
    let stored = stored.with_context(|| format!("schema id {} is gone", version.id))?;
    match writers::read(&stored) {
        WriterSchema::Unusable(why) => {
            bail!("subject `{}` version {}: {why}", flags.subject, version.version)
        }
        schema => Ok((version.version, schema)),
    }
}

/// Database and table.
fn place(flags: &Flags) -> anyhow::Result<(String, String)> {
    let named = flags.table.clone().unwrap_or_else(|| {
        let name = flags.subject.strip_suffix("-value").unwrap_or(&flags.subject);
        name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_")
    });
    match named.split_once('.') {
        Some((database, table)) => Ok((database.to_owned(), table.to_owned())),
        None => Ok((flags.reach.database()?, named)),
    }
}

async fn plan(
    flags: &Flags,
    clickhouse: &Client,
    (database, name): (&str, &str),
    schema: &WriterSchema,
) -> anyhow::Result<Report> {
    let options = PlanOptions { flatten_separator: flags.flatten.clone(), ..PlanOptions::default() };
    let cluster =
        flags.on_cluster.as_ref().map_or_else(String::new, |name| format!(" ON CLUSTER {}", quote(name)));
    let described = match clickhouse.describe(database, name).await {
        Ok(table) => Some(table),
        Err(fault) if fault.kind == FaultKind::Missing => None,
        Err(fault) => return Err(fault.into()),
    };
    let (statements, refused) = match &described {
        None => (vec![create(flags, (database, name), &schema.columns(&options), &cluster)?], Vec::new()),
        Some(table) => {
            let wanted = schema.missing_columns(table, &options)?;
            let grown = grown(table, &wanted);
            let statements = match wanted.as_slice() {
                [] => Vec::new(),
                wanted => vec![with_cluster(&tidegate_pipeline::add_columns(table, wanted), &cluster)],
            };
            let mut refused: Vec<Refused> = schema.misfits(&grown, &options)?.iter().map(refusal).collect();
            refused.extend(retyped(table, &schema.columns(&options)));
            (statements, refused)
        }
    };
    Ok(Report {
        subject: flags.subject.clone(),
        version: 0,
        table: format!("{database}.{name}"),
        exists: described.is_some(),
        statements,
        refused,
        applied: false,
    })
}

fn create(
    flags: &Flags,
    (database, name): (&str, &str),
    wanted: &[WantedColumn],
    cluster: &str,
) -> anyhow::Result<String> {
    if wanted.is_empty() {
        bail!("the schema of subject `{}` is of no record: a table needs fields", flags.subject);
    }
    let place = wire::place_columns().map(|(name, ty)| ColumnDefinition::new(name, ty));
    let definition = wire::definition(wanted);
    let create = definition.create((database, name), &place, &flags.engine, &flags.order_by).to_string();
    let window = if flags.engine.starts_with("Replicated") {
        "replicated_deduplication_window"
    } else {
        "non_replicated_deduplication_window"
    };
    let create = with_cluster(&create, cluster);
    Ok(format!("{create}\nSETTINGS {window} = {}", wire::DEDUP_WINDOW))
}

/// The statement with `ON CLUSTER` behind the table's name, which ends its first line or the name itself.
fn with_cluster(statement: &str, cluster: &str) -> String {
    match statement.split_once('\n') {
        Some((first, rest)) => format!("{first}{cluster}\n{rest}"),
        None => format!("{statement}{cluster}"),
    }
}

/// The table as it will be.
fn grown(table: &Table, wanted: &[WantedColumn]) -> Table {
    let mut grown = table.clone();
    grown.columns.extend(wanted.iter().map(|column| {
        let (ty, default) = column.added();
        let default = match default {
            None => ColumnDefault::None,
            Some(expression) => ColumnDefault::Default { expression },
        };
        TableColumn { name: column.name.clone(), ty, default }
    }));
    grown
}

fn refusal(reason: &tidegate_core::Reason) -> Refused {
    Refused {
        field: reason.path.clone(),
        column: reason.column.clone(),
        reason: format!("expected {}, found {}", reason.expected, reason.found),
        hint: "records with such a value become dead letters; alter the column by hand, or map the field to \
               another one (`columns: {NAME: {path: ..}}`)"
            .to_owned(),
    }
}

/// Columns whose type is narrower than, or other than, the one that the schema asks for. Changing a
/// column's type rewrites it, and may lose what it holds: that is left to a person.
fn retyped<'a>(table: &'a Table, wanted: &'a [WantedColumn]) -> impl Iterator<Item = Refused> {
    wanted.iter().filter_map(|wanted| {
        let column = table.columns.iter().find(|column| column.name == wanted.name)?;
        let (has, asks) = (integer_bits(&column.ty)?, integer_bits(&wanted.ty)?);
        (has < asks).then(|| Refused {
            field: format!("/{}", wanted.path.join("/")),
            column: Some(column.name.clone()),
            reason: format!("the column is `{}`, the schema's values are `{}`", column.ty, wanted.ty),
            hint: format!(
                "values that do not fit become dead letters; to widen it: ALTER TABLE {}.{} MODIFY COLUMN {} {}",
                quote(&table.database),
                quote(&table.name),
                quote(&column.name),
                wanted.ty
            ),
        })
    })
}

fn integer_bits(ty: &Type) -> Option<u32> {
    Some(match ty {
        Type::Nullable(inner) | Type::LowCardinality(inner) => return integer_bits(inner),
        Type::Int8 | Type::UInt8 => 8,
        Type::Int16 | Type::UInt16 => 16,
        Type::Int32 | Type::UInt32 => 32,
        Type::Int64 | Type::UInt64 => 64,
        _ => return None,
    })
}

fn shown(report: &Report) -> String {
    let mut text = format!("subject {} version {}, table {}", report.subject, report.version, report.table);
    let state = match (report.exists, report.statements.is_empty(), report.applied) {
        (false, _, false) => ": to be created",
        (false, _, true) => ": created",
        (true, true, _) => ": has every column",
        (true, false, false) => ": lacks columns",
        (true, false, true) => ": columns added",
    };
    text.push_str(state);
    text.push('\n');
    for statement in &report.statements {
        // Writing into a `String` does not fail.
        let _ = write!(text, "\n{statement};\n");
    }
    for refused in &report.refused {
        let column =
            refused.column.as_ref().map_or_else(String::new, |column| format!(", column `{column}`"));
        let _ = write!(
            text,
            "\nrefused: field `{}`{column}: {}\n  hint: {}\n",
            refused.field, refused.reason, refused.hint
        );
    }
    text
}
