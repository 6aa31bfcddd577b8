//! `tidegate catalog test`: the catalog's own tests, through real engines.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_kafka::KafkaAdmin;

use crate::catalog::copy;
use crate::process::{text, tidegate};
use crate::world::{World, engine_is_there};

/// Types and rules that each wire format carries, in whatever way.
const SHOP: &str = r#"cdp: "1"
name: shop
defaults: {clickhouse: {database: shop}, kafka: {format: FORMAT}}
envelope: {event_id: {type: uuid}, ts: {type: timestamp(ms)}}
enums: {platform: {values: [ios, android]}}
events:
  viewed:
    doc: Seen.
    version: 1.1.0
    fields:
      page: {type: string}
      platform: {type: enum<platform>}
      load_ms: {type: u8}
      day: {type: date}
      price: {type: "optional<decimal(12,2)>", since: 1.1.0}
      big: {type: optional<u64>}
      from: {type: optional<ip>}
      at: {type: object, fields: {x: {type: i32}, y: {type: optional<f32>}}}
      tags: {type: optional<array<string>>}
      notes: {type: optional<map<string>>}
      stalls: {type: optional<array<object>>, fields: {ms: {type: u32}}}
      visitor: {type: optional<uuid>, source: visitorId, pii: direct}
      friends: {type: optional<array<i64>>, source: friendIds, pii: direct}
      seat: {type: object, source: seatInfo, fields: {row: {type: i32, source: rowNo}, guest: {type: string, pii: direct}}}
      born: {type: optional<date>, pii: coarse}
      rating: {type: optional<i16>, min: 1, max: 5}
      discount: {type: "optional<decimal(5,2)>", min: 0, max: 50}
      coupon: {type: optional<string>, hint: low_cardinality, max_length: 6, pattern: "^[A-Z0-9]+$", examples: [A1]}
      link: {type: optional<url>}
      place: {type: optional<geohash(5)>}
      contact: {type: optional<email>, pii: direct}
      shown_on: {type: optional<enum<platform>>, pii: direct}
      scores: {type: optional<map<f64>>, max: 1}
      lines: {type: optional<array<object>>, fields: {sku: {type: string, pattern: "^[A-Z]+$", examples: [A]}, n: {type: u16, min: 1}}}
policies:
  pii:
    direct: {action: pseudonymise, key_ref: env:TIDEGATE_NO_SUCH_KEY}
    coarse: {action: generalise, to: year}
tests:
  - name: everything comes as it was sent
    event: viewed
    accept: true
    value: {event_id: 0b6f0c5e-5f0e-4c6e-9a55-0d1f3f0a1c11, ts: "2026-01-27T10:00:00.123Z", page: "ä", platform: ios, load_ms: 255, day: 2026-01-27, price: "1.50", at: {x: -7, y: 0.1}, tags: [a, b], notes: {k: v}, stalls: [{ms: 1}, {ms: 2}], visitorId: 0b6f0c5e-5f0e-4c6e-9a55-0d1f3f0a1c12, friendIds: [1, -2], seatInfo: {rowNo: 3, guest: g}, born: 1987-06-05}
  - {name: a number that the column does not hold, event: viewed, partial: true, accept: false, value: {load_ms: 256}, field: load_ms, code: out_of_range}
  - {name: a word that is none, event: viewed, partial: true, accept: false, value: {platform: symbian}, field: platform}
  - {name: a text for a number, event: viewed, partial: true, accept: false, value: {load_ms: soon}, field: load_ms}
  - {name: no price, event: viewed, partial: true, accept: true, value: {price: null}}
  - {name: no list is no null, event: viewed, partial: true, accept: false, value: {tags: null}, field: tags}
  - {name: rules that are kept, event: viewed, partial: true, accept: true, value: {rating: 5, discount: "50.00", coupon: A1, link: "https://a.example/b?c", place: u33d, contact: a@b.example, shown_on: ios, scores: {a: 1, b: -0.5}, lines: [{sku: A, n: 1}]}}
  - {name: a number above its bound, event: viewed, partial: true, accept: false, value: {rating: 6}, field: rating, code: out_of_range}
  - {name: a number below its bound, event: viewed, partial: true, accept: false, value: {rating: 0}, field: rating, code: out_of_range}
  - {name: a decimal above its bound, event: viewed, partial: true, accept: false, value: {discount: "50.01"}, field: discount, code: out_of_range}
  - {name: a text of other characters, event: viewed, partial: true, accept: false, value: {coupon: a1}, field: coupon, code: pattern}
  - {name: a text that is too long, event: viewed, partial: true, accept: false, value: {coupon: A123456}, field: coupon, code: too_long}
  - {name: no address, event: viewed, partial: true, accept: false, value: {link: "a b"}, field: link, code: bad_format}
  - {name: no geohash, event: viewed, partial: true, accept: false, value: {place: ail}, field: place, code: pattern}
  - {name: no address of anybody, event: viewed, partial: true, accept: false, value: {contact: nobody}, field: contact, code: bad_format}
  - {name: a number of a map, event: viewed, partial: true, accept: false, value: {scores: {a: 1, b: 1.5}}, code: out_of_range}
  - {name: a member in a list, event: viewed, partial: true, accept: false, value: {lines: [{sku: A, n: 1}, {sku: A, n: 0}]}, code: out_of_range}
  - {name: half of an object, event: viewed, partial: true, accept: false, value: {at: {y: 1}}, field: at}
"#;

fn catalog(folder: &Path, content: &str) -> PathBuf {
    let root = folder.join("cdp.yaml");
    std::fs::write(&root, content).unwrap();
    root
}

/// The one test that did not come out as stated.
#[track_caller]
fn the_failed(report: &Value) -> Value {
    let tests = report["tests"].as_array().unwrap();
    let failed: Vec<&Value> = tests.iter().filter(|test| test["passed"] == false).collect();
    assert_eq!(failed.len(), 1, "{report:#}");
    failed[0].clone()
}

/// Dead letters by rules of the catalog, in short.
fn broken_rules(report: &Value) -> Vec<String> {
    let codes = ["out_of_range", "pattern", "too_long", "bad_format"];
    let tests = report["tests"].as_array().unwrap().iter();
    // A type's own bounds are told by the schema in one language, and by the column in the other.
    let ruled = tests.filter(|test| test["name"] != "a number that the column does not hold");
    let letters = ruled.filter(|test| codes.iter().any(|code| test["code"] == *code));
    let told = ["name", "stage", "code", "field", "expected_value", "found"];
    letters.map(|test| told.map(|key| test[key].to_string()).join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_and_examples_arrive_as_stated_in_every_wire_format() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let mut known = None;
    for format in ["json", "json_schema", "avro"] {
        let root = catalog(folder.path(), &SHOP.replace("FORMAT", format));
        let ran = tidegate(["catalog", "test", text(&root), "--samples", "--output", "json"]).await;
        let report = ran.json();
        assert_eq!((&report["passed"], &report["failed"]), (&20.into(), &0.into()), "{format}: {report:#}");
        // What no type of Avro says is refused there as by JSON Schema, word for word.
        let letters = broken_rules(&report);
        assert_eq!(letters.len(), 10, "{report:#}");
        let known = known.get_or_insert_with(|| letters.clone());
        assert_eq!(letters, *known, "{format}");
    }
    assert!(!folder.path().join("cdp.lock").exists(), "a test keeps nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_catalogs_tests_and_an_example_of_each_event_arrive() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let root = copy(folder.path());
    // What the schema refuses, but for another reason than the test says, is what only the way itself can tell.
    let tests = root.with_file_name("tests.yaml");
    let wrong = std::fs::read_to_string(&tests).unwrap().replacen(
        "{watch_ms: -1}, field: watch_ms}",
        "{watch_ms: -1}, field: watch_ms, code: bad_enum}",
        1,
    );
    std::fs::write(&tests, wrong).unwrap();
    let ran = tidegate(["catalog", "test", text(&root), "--samples", "--output", "json"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(report["passed"].as_u64().unwrap() > 2 * 105 + 10, "{}", report["passed"]);
    let failed = the_failed(&report);
    assert_eq!(failed["name"], "a time that nobody can watch");
    assert!(failed["file"].as_str().unwrap().ends_with("short-video/tests.yaml"), "{failed}");
    assert_eq!((&failed["line"], &failed["came"]), (&8.into(), &"dead_letter".into()), "{failed}");
    assert_eq!((&failed["stage"], &failed["code"]), (&"validate".into(), &"out_of_range".into()), "{failed}");
    assert_eq!(
        failed["wrong"][0],
        "expected `bad_enum` for field `/watch_ms`, found `out_of_range` for `/watch_ms`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_that_are_given_are_left_as_they_were() {
    let Some(world) = World::start().await else { return };
    let root = catalog(world.folder.path(), &SHOP.replace("FORMAT", "json"));
    let file = world.file("reach.yaml", "  - {name: other, topics: [other], table: other}");
    let ran = tidegate(["catalog", "test", text(&root), "--config", text(&file)]).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let told = format!("ok    everything comes as it was sent  ({}:40:11)", text(&root));
    assert!(ran.stdout.contains(&told), "{told}: {}", ran.stdout);
    assert!(ran.stdout.ends_with("18 tests, 18 as stated, 0 not\n"), "{}", ran.stdout);
    let left = "SELECT count() FROM system.databases WHERE name LIKE '%shop%'";
    assert_eq!(world.number(left).await, 0);
    let topics = KafkaAdmin::connect(&world.kafka).unwrap().topics().await.unwrap();
    assert!(topics.iter().all(|topic| !topic.contains("shop")), "{topics:?}");
}
