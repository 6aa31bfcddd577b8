//! What is made from the reference catalog: read by the house's own parsers, the same bytes every time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate_catalog::{Catalog, Ddl, Generated, Given, Lock, generate, load, statements};
use tidegate_languages::{Language, ParsedSchema, Policy, Strictness, Verdict};
use tidegate_native::Type;

fn given() -> Given<'static> {
    Given {
        dead_letter_ddl: |database, table| {
            format!(
                "CREATE TABLE IF NOT EXISTS `{database}`.`{table}` (\n    `id` String\n)\nENGINE = ReplacingMergeTree(version)\nORDER BY id\nSETTINGS non_replicated_deduplication_window = 10"
            )
        },
        place_columns: &[("_topic", "LowCardinality(String)"), ("_partition", "Int32"), ("_offset", "Int64")],
        dedup_window: 10,
    }
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/short-video/cdp.yaml")
}

fn catalog() -> Catalog {
    let root = example().display().to_string();
    load(&root, &|path| std::fs::read(path)).unwrap_or_else(|refused| panic!("{refused}")).catalog
}

fn generated() -> (Catalog, Generated) {
    let catalog = catalog();
    let generated = generate(&catalog, &Lock::default(), given());
    (catalog, generated)
}

#[test]
fn the_reference_catalog_is_large_quickly_checked_and_quickly_generated() {
    let start = Instant::now();
    let catalog = catalog();
    let checked = start.elapsed();
    let generated = generate(&catalog, &Lock::default(), given());
    let all = start.elapsed();
    assert!(catalog.events.len() >= 105, "{} events", catalog.events.len());
    assert!(catalog.file.metrics.len() >= 200, "{} metrics", catalog.file.metrics.len());
    assert!(generated.files.len() > 3 * 105);
    // What is shipped is some times faster than what is tested.
    assert!(checked < Duration::from_secs(10) && all < Duration::from_secs(30), "{checked:?}, {all:?}");
}

#[test]
fn the_same_catalog_makes_the_same_bytes() {
    let (_, first) = generated();
    let (catalog, second) = generated();
    assert_eq!(first, second);
    assert_eq!(generate(&catalog, &first.lock, given()).files, first.files);
    assert_eq!(Lock::parse(&first.lock.to_text()).unwrap(), first.lock);
}

#[test]
fn every_schema_is_read_by_the_registrys_parsers() {
    let (_, generated) = generated();
    let mut n_read = 0;
    for file in &generated.files {
        let language = match file.path.split('/').next() {
            Some("json-schema") => Language::Json,
            Some("avro") => Language::Avro,
            Some("protobuf") => Language::Protobuf,
            _ => continue,
        };
        if let Err(error) = ParsedSchema::parse(language, &file.text, &[], Strictness::Fresh) {
            panic!("{}: {error}\n{}", file.path, file.text);
        }
        n_read += 1;
    }
    assert!(n_read > 3 * 105);
}

#[test]
fn a_minor_version_reads_what_the_one_before_it_wrote() {
    let (catalog, generated) = generated();
    let text = |event: &str, version: &str| {
        let path = format!("avro/{event}/{version}.avsc");
        &generated.files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path}")).text
    };
    let mut n_steps = 0;
    for event in catalog.events.values() {
        for pair in event.versions().windows(2) {
            let [old, new] = [pair[0], pair[1]].map(|version| {
                let text = text(&event.name, &version.to_string());
                ParsedSchema::parse(Language::Avro, text, &[], Strictness::Fresh).unwrap()
            });
            match new.reads(&old, Policy::Strict) {
                Verdict::Differences(differences) if differences.is_empty() => n_steps += 1,
                verdict => panic!("{}: {verdict:?}", event.name),
            }
        }
    }
    assert!(n_steps >= 3);
}

#[test]
fn every_column_has_a_type_that_the_sink_writes() {
    let catalog = catalog();
    let lock = Lock::default().extended(&catalog);
    for statement in statements(&catalog, &lock, given(), Ddl::Single) {
        let Some((_, columns)) = statement.sql.split_once("\n(\n") else { continue };
        for line in columns.lines().take_while(|line| *line != ")") {
            let (_, rest) = line.trim().split_once("` ").expect("a name in backticks");
            let end = [" DEFAULT ", " CODEC(", " COMMENT "].iter().filter_map(|word| rest.find(word)).min();
            let ty = rest[..end.unwrap_or(rest.len())].trim_end_matches(',');
            let parsed =
                Type::parse(ty).unwrap_or_else(|error| panic!("{}: {ty}: {error}", statement.object));
            let aggregate = ty.starts_with("AggregateFunction");
            assert!(aggregate || !matches!(parsed, Type::Other(_)), "{}: {ty}", statement.object);
        }
    }
}

#[test]
fn on_a_cluster_every_statement_and_engine_says_so() {
    let catalog = catalog();
    let lock = Lock::default().extended(&catalog);
    for statement in statements(&catalog, &lock, given(), Ddl::OnCluster) {
        assert!(statement.sql.contains(" ON CLUSTER `main`"), "{}", statement.sql);
        if let Some((_, engine)) = statement.sql.split_once("ENGINE = ") {
            assert!(engine.starts_with("Replicated"), "{}", statement.sql);
            assert!(!statement.sql.contains("non_replicated"), "{}", statement.sql);
        }
    }
}

#[test]
fn numbers_stay_when_fields_go_and_are_not_given_again() {
    let (mut catalog, first) = generated();
    let event = catalog.events.get_mut("video_viewed").unwrap();
    let gone = event.fields.iter().position(|field| field.name == "loops").unwrap();
    let mut field = event.fields.remove(gone);
    field.name = "rounds".to_owned();
    event.fields.push(field);
    let second = generate(&catalog, &first.lock, given());
    let (old, new) =
        (first.lock.numbers("video_viewed").unwrap(), second.lock.numbers("video_viewed").unwrap());
    assert_eq!(old["loops"], new["loops"]);
    assert_eq!(new["rounds"], old.values().max().unwrap() + 1);
    let proto = second.files.iter().find(|file| file.path == "protobuf/video_viewed/v2.proto").unwrap();
    assert!(proto.text.contains(&format!("reserved {};", old["loops"])), "{}", proto.text);
    assert!(proto.text.contains("reserved \"loops\";"));
}

#[test]
fn a_lock_that_was_changed_by_hand_is_refused() {
    for text in [
        "",
        "{}",
        r#"{"version": 2, "enums": {}, "messages": {}}"#,
        r#"{"version": 1, "enums": {"a": {"x": 1, "y": 1}}, "messages": {}}"#,
        r#"{"version": 1, "enums": {}, "messages": {"a": {"x": 19000}}}"#,
    ] {
        assert!(Lock::parse(text).is_err(), "{text}");
    }
}

#[test]
fn the_dictionary_needs_nothing_else_and_shows_what_a_field_is_in() {
    let (catalog, generated) = generated();
    let page = &generated.files.iter().find(|file| file.path == "data-dictionary.html").unwrap().text;
    for outside in ["http://", "src=", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for event in catalog.events.keys() {
        assert!(page.contains(&format!("id=\"event-{event}\"")), "{event}");
    }
    for metric in catalog.file.metrics.keys() {
        assert!(page.contains(&format!("id=\"metric-{metric}\"")), "{metric}");
    }
    let fields = tidegate_catalog::fields(&catalog, "completion_rate");
    assert!(fields.contains(&("video_viewed".to_owned(), "completed".to_owned())));
}
