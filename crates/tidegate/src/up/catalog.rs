//! The catalog that `tidegate up` is given: opened before anything starts, rolled out once the engines answer.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use tidegate_catalog::Ddl;
use tidegate_catalog::language::{KeyRef, RecordFormat};
use tidegate_config::{self as config, UpFile};

use crate::catalog::Opened;
use crate::catalog::rollout::{Sites, connector};
use crate::cli::{Up, WrongUse};
use crate::report::CatalogReport;
use crate::sink::World;
use crate::stack::Stack;

/// The embedded ClickHouse's own first database, laid over the file system.
const HOST_FILES: &str = "default";

/// Which catalog, and what is allowed of it.
#[derive(Debug, Args)]
pub struct CatalogFlags {
    /// A catalog: its topics, schemas and tables are made where they are missing, its events brought in
    #[arg(long, value_name = "FILE")]
    pub catalog: Option<PathBuf>,
    /// Store personal data as it comes where the catalog says what Tidegate does not do: `restrict`
    #[arg(long)]
    pub allow_clear_pii: bool,
}

/// What is to be done between the engines.
pub struct Work {
    /// The file of `--config`.
    pub file: Option<UpFile>,
    /// The catalog of `--catalog`, or of the file.
    pub catalog: Option<Opened>,
}

impl Work {
    /// Reads what the flags name; a flag counts before the file.
    ///
    /// # Errors
    /// Every mistake in the file, or in the catalog.
    pub fn read(flags: &Up) -> anyhow::Result<Self> {
        let file = flags.config.as_deref().map(config::load_up).transpose()?;
        let in_file = file.as_ref().and_then(|file| file.catalog.as_deref());
        let catalog = flags.catalog.catalog.as_deref().or(in_file).map(Opened::read).transpose()?;
        if let Some(opened) = &catalog {
            fits(opened, file.as_ref())?;
            keyed(opened)?;
            if !flags.catalog.allow_clear_pii {
                treated(opened)?;
            }
        }
        Ok(Self { file, catalog })
    }

    /// The database of connectors that name none.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        let of_file = self.file.as_ref().map(|file| file.database.as_str());
        of_file.or_else(|| self.catalog.as_ref().map(|opened| opened.catalog.database()))
    }
}

/// What neither file can check alone.
fn fits(opened: &Opened, file: Option<&UpFile>) -> anyhow::Result<()> {
    let name = opened.catalog.file.name.as_str();
    if opened.catalog.database() == HOST_FILES {
        bail!(WrongUse(format!(
            "the catalog's database `{HOST_FILES}` shows the files of this machine as tables\n\
             hint: name another one under `defaults: {{clickhouse: {{database: ..}}}}`"
        )));
    }
    let group = format!("tidegate-{name}");
    let taken =
        |connector: &&config::Connector| connector.name.as_str() == name || connector.group_name() == group;
    if let Some(other) = file.and_then(|file| file.connectors.iter().find(taken)) {
        bail!(WrongUse(format!(
            "connector `{}` has the name or the consumer group of the catalog's connector `{name}`\n\
             hint: name it otherwise, or remove it: the catalog brings its own",
            other.name
        )));
    }
    Ok(())
}

/// Refuses a catalog whose pseudonyms need a key that is not there, before anything starts.
fn keyed(opened: &Opened) -> anyhow::Result<()> {
    for (class, key) in opened.catalog.keys() {
        let (found, hint) = match key {
            KeyRef::Variable(name) => (
                std::env::var(name).ok().filter(|key| !key.is_empty()),
                format!("`export {name}=$(openssl rand -hex 32)` makes one"),
            ),
            KeyRef::File(path) => {
                (std::fs::read_to_string(path).ok(), format!("`openssl rand -hex 32 > {path}` makes one"))
            }
        };
        let length = found.map(|key| key.trim_end_matches(['\r', '\n']).len());
        let length_min = config::PersonalClass::KEY_BYTES_MIN;
        let wrong = match length {
            Some(length) if length >= length_min => continue,
            Some(length) => format!("has {length} bytes, expected at least {length_min}"),
            None => "is not there".to_owned(),
        };
        bail!(WrongUse(format!(
            "class `{class}` of personal data is pseudonymised with the key in `{key}`, which {wrong}\n\
             hint: {hint}; keep it, because another key makes other pseudonyms of the same people"
        )));
    }
    Ok(())
}

/// Refuses a catalog that demands of personal data what nothing here does. Nobody should find out from the table.
fn treated(opened: &Opened) -> anyhow::Result<()> {
    let untreated = opened.catalog.untreated();
    if untreated.is_empty() {
        return Ok(());
    }
    let classes: Vec<String> = untreated.iter().map(|untreated| format!("\n  {untreated}")).collect();
    bail!(WrongUse(format!(
        "personal data would be stored as it comes; Tidegate does not carry out what the catalog demands of it:{}\n\
         hint: where producers do it before they send the field, write `upstream: true` into the class; where it may \
         be stored as it is and the server's grants say who reads it, `action: keep`; or start with --allow-clear-pii",
        classes.concat()
    )))
}

/// Makes what the catalog needs and is missing. Gives its connector, and what has been made.
///
/// # Errors
/// When what is there differs from what the catalog says, or the world fails.
pub async fn roll_out(
    opened: &Opened,
    stack: &Stack,
    world: &World,
    data_dir: &Path,
) -> anyhow::Result<(config::Connector, CatalogReport)> {
    let defaults = &opened.catalog.file.defaults;
    if defaults.kafka.format != RecordFormat::Json && world.registry.is_none() {
        bail!(
            "records of `format: {}` name their schemas, and there is no schema registry\n\
             hint: name one under `registry:` in the file of --config",
            defaults.kafka.format
        );
    }
    // One server of our own, or what the catalog says of the one that is named.
    let ddl = if stack.engine().is_some() { Ddl::Single } else { defaults.clickhouse.ddl };
    let sites =
        Sites { kafka: &world.kafka, clickhouse: &world.clickhouse, registry: world.registry.as_ref(), ddl };
    let made = sites.roll_out(opened).await?;
    opened.keep_lock()?;
    let connector = connector(opened, &data_dir.join("catalog"), None)?;
    let report = CatalogReport {
        file: opened.file.display().to_string(),
        name: opened.catalog.file.name.to_string(),
        database: opened.catalog.database().to_owned(),
        events: opened.catalog.events.len(),
        topics_created: made.topics,
        schemas_registered: made.schemas,
        tables_created: made.tables,
        stored_as_it_comes: opened.catalog.untreated().into_iter().map(|one| one.class).collect(),
    };
    Ok((connector, report))
}
