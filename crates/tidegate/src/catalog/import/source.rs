//! Definitions from folders and servers. Nothing that is found there is left out without a word.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use tidegate_catalog::import::{Imported, Label, Language, TableColumn, Unreadable, read, table};
use tidegate_clickhouse::{Client, quote_text};

use super::{Skipped, Tables};
use crate::reach::clickhouse_servers;

/// Schemas are some kilobytes.
const FILE_BYTES: u64 = 8 * 1024 * 1024;
/// All of Iglu Central is a thousand files.
const FILES_MAX: usize = 20_000;

/// What was found.
#[derive(Default)]
pub struct Gathered {
    /// What was read.
    pub imported: Vec<Imported>,
    /// What is something else.
    pub skipped: Vec<Skipped>,
    /// What should have been readable.
    pub unreadable: Vec<Unreadable>,
}

/// Reads files, and folders with everything below, in the order of their names.
pub fn files(language: Language, paths: &[PathBuf]) -> anyhow::Result<Gathered> {
    let mut gathered = Gathered::default();
    let mut found: Vec<(PathBuf, Language)> = Vec::new();
    for path in paths {
        let of = fs::metadata(path).with_context(|| format!("read `{}`", path.display()))?;
        if of.is_dir() {
            folder(path, language, &mut found, &mut gathered)?;
        } else {
            found.push((path.clone(), language));
        }
    }
    for (path, language) in found {
        let name = path.display().to_string();
        match text(&path) {
            Ok(text) => match read(language, &name, &text) {
                Ok(imported) => gathered.imported.push(imported),
                Err(unreadable) => gathered.unreadable.push(unreadable),
            },
            Err(error) => gathered.unreadable.push(Unreadable {
                file: name,
                at: String::new(),
                message: format!("{error:#}"),
                hint: "mend it, or leave the file out".to_owned(),
            }),
        }
    }
    Ok(gathered)
}

fn text(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES {
        bail!("expected at most {FILE_BYTES} bytes, found more");
    }
    Ok(bytes)
}

fn folder(
    root: &Path,
    language: Language,
    found: &mut Vec<(PathBuf, Language)>,
    gathered: &mut Gathered,
) -> anyhow::Result<()> {
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list `{}`", folder.display()))? {
            let entry = entry.with_context(|| format!("list `{}`", folder.display()))?;
            let kind = entry.file_type().with_context(|| format!("list `{}`", folder.display()))?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let path = entry.path();
            if hidden || kind.is_symlink() {
                let reason = if hidden { "hidden" } else { "a link" };
                gathered.skipped.push(skipped(&path, reason));
            } else if kind.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
        if files.len() > FILES_MAX {
            bail!("`{}` has more than {FILES_MAX} files; name a folder below", root.display());
        }
    }
    files.sort();
    for path in files {
        match language_of(&path, language) {
            Ok(language) => found.push((path, language)),
            Err(reason) => gathered.skipped.push(skipped(&path, &reason)),
        }
    }
    Ok(())
}

fn skipped(path: &Path, reason: &str) -> Skipped {
    Skipped { file: path.display().to_string(), reason: reason.to_owned() }
}

/// In which language a file of a folder is written, by its name; or why it is none of the wanted.
fn language_of(path: &Path, wanted: Language) -> Result<Language, String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let within = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let version = Label::parse(name.strip_suffix(".json").unwrap_or(&name)).is_some();
    let json = name.ends_with(".json");
    match (wanted, within.as_deref()) {
        // Iglu's paths name the format: `VENDOR/NAME/FORMAT/VERSION`.
        (Language::Iglu, Some("avro")) if version => Ok(Language::Avro),
        (Language::Iglu, Some(format @ ("thrift" | "protobuf"))) if version => {
            Err(format!("schemas of {format} are not read"))
        }
        (Language::Iglu | Language::JsonSchema, _) if json || version => Ok(wanted),
        (Language::Avro, _) if name.ends_with(".avsc") || json || version => Ok(wanted),
        (Language::Avro, _) => Err("its name ends neither in .avsc nor in .json".to_owned()),
        (Language::Iglu | Language::JsonSchema, _) => {
            Err("its name neither ends in .json nor is a version".to_owned())
        }
    }
}

#[derive(Deserialize)]
struct TableRow {
    name: String,
    engine: String,
    comment: String,
}

#[derive(Deserialize)]
struct ColumnRow {
    table: String,
    name: String,
    #[serde(rename = "type")]
    ty: String,
    default_kind: String,
    default_expression: String,
    comment: String,
}

/// Reads the tables of a live server.
pub async fn tables(flags: &Tables) -> anyhow::Result<Gathered> {
    let servers: Vec<_> = flags.clickhouse.iter().cloned().collect();
    let mut options = clickhouse_servers(&servers, flags.config.as_deref())?;
    if options.is_empty() {
        bail!("nothing says where ClickHouse is; give `--clickhouse URL`");
    }
    let client = Client::new(options.swap_remove(0)).context("set up the clickhouse client")?;
    tables_of(&client, &flags.database, &flags.tables).await
}

/// The tables of a database, or those that are named.
pub async fn tables_of(client: &Client, name: &str, wanted: &[String]) -> anyhow::Result<Gathered> {
    let database = quote_text(name);
    let sql =
        format!("SELECT name, engine, comment FROM system.tables WHERE database = {database} ORDER BY name");
    let standing: Vec<TableRow> = client.rows(&sql).await.context("ask for the tables")?;
    for table in wanted {
        if !standing.iter().any(|row| row.name == *table) {
            bail!("there is no table `{name}.{table}`, or the user may not see it");
        }
    }
    let sql = format!(
        "SELECT table, name, type, default_kind, default_expression, comment FROM system.columns \
         WHERE database = {database}"
    );
    let columns: Vec<ColumnRow> = client.rows(&sql).await.context("ask for the columns")?;
    let mut gathered = Gathered::default();
    for row in standing {
        let full = format!("{name}.{}", row.name);
        if !wanted.is_empty() && !wanted.contains(&row.name) {
            continue;
        }
        if wanted.is_empty() && (row.engine.ends_with("View") || row.name.starts_with('.')) {
            let reason = format!("a {}; name it to have it imported", row.engine);
            gathered.skipped.push(Skipped { file: full, reason });
            continue;
        }
        let own = columns.iter().filter(|column| column.table == row.name);
        let own: Vec<TableColumn> = own.map(column).collect();
        gathered.imported.push(table(&full, &row.comment, &own));
    }
    Ok(gathered)
}

fn column(row: &ColumnRow) -> TableColumn {
    TableColumn {
        name: row.name.clone(),
        ty: row.ty.clone(),
        default_kind: row.default_kind.clone(),
        default_expression: row.default_expression.clone(),
        comment: row.comment.clone(),
    }
}
