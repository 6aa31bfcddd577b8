//! Iglu Central's schemas, imported.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tidegate_catalog::import::{Imported, Language, read};
use tidegate_catalog::proposal::{ProposedEvent, settle, write};
use tidegate_catalog::{Catalog, Generated, Given, Lock, generate, load};

const ROOT: &str = "cdp: \"1\"\nname: iglu\nenvelope: {event_id: {type: uuid}, ts: {type: timestamp(ms)}}\n";

pub(crate) fn given() -> Given<'static> {
    Given {
        dead_letter_ddl: |database, table| {
            format!(
                "CREATE TABLE IF NOT EXISTS `{database}`.`{table}` (\n    `id` String\n)\nENGINE = MergeTree\nORDER BY id"
            )
        },
        place_columns: &[("_topic", "LowCardinality(String)"), ("_partition", "Int32"), ("_offset", "Int64")],
        dedup_window: 10,
    }
}

/// The folder, which lies beside the project on machines that have it.
pub(crate) fn folder() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found =
        here.ancestors().map(|folder| folder.join("shared/data/iglu-central")).find(|path| path.is_dir());
    if found.is_none() {
        println!("skipped: no copy of Iglu Central is at hand");
    }
    found
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Every JSON Schema with its text, by path.
pub(crate) fn schemas(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = files(&folder.join("schemas"));
    let schemas = files.iter().filter(|path| path.to_string_lossy().contains("/jsonschema/"));
    schemas.map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
}

pub(crate) fn imported(folder: &Path) -> Vec<Imported> {
    static ONCE: OnceLock<Vec<Imported>> = OnceLock::new();
    let imported = ONCE.get_or_init(|| {
        let schemas = schemas(folder);
        let read = schemas.iter().map(|(file, text)| read(Language::Iglu, file, text));
        read.map(|read| read.unwrap_or_else(|unreadable| panic!("{unreadable}"))).collect()
    });
    imported.clone()
}

/// The same, settled: each version is an event of its own.
pub(crate) fn settled(folder: &Path) -> Vec<Imported> {
    let mut imported = imported(folder);
    let mut events: Vec<ProposedEvent> = imported.iter().map(|one| one.event.clone()).collect();
    let _ = settle(&mut events);
    for (one, event) in imported.iter_mut().zip(events) {
        one.event = event;
    }
    imported
}

/// The catalog of these events.
pub(crate) fn catalog(events: &mut [ProposedEvent]) -> Catalog {
    let enums = settle(events);
    let parts = write("From a test.", events, &enums);
    let names: Vec<String> = (0..parts.len()).map(|index| format!("part_{index}.yaml")).collect();
    let root = format!("{ROOT}include: [{}]\n", names.join(", "));
    let loaded = load("cdp.yaml", &|path| {
        let part = names.iter().position(|name| name == path);
        Ok(part.map_or(root.clone(), |part| parts[part].text.clone()).into_bytes())
    });
    loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).catalog
}

/// Every version of every schema as an event of its own, and what is made of them.
pub(crate) fn all_versions(folder: &Path) -> &'static (Catalog, Generated) {
    static ONCE: OnceLock<(Catalog, Generated)> = OnceLock::new();
    ONCE.get_or_init(|| {
        let named = imported(folder).into_iter().map(|one| {
            let label = one.label.map(|label| label.to_string()).unwrap_or_default();
            ProposedEvent { name: format!("{}_{label}", one.event.name), ..one.event }
        });
        let catalog = catalog(&mut named.collect::<Vec<_>>());
        let generated = generate(&catalog, &Lock::default(), given());
        (catalog, generated)
    })
}
