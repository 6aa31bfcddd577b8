//! Laws of inference: order does not matter, and what is proposed takes what was seen, but for what it says.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::generate::event_schema;
use crate::proposal::{NoteKind, ProposedField};
use crate::{Catalog, load};

/// The proposed catalog, which must load.
fn loaded(inferred: &Inferred) -> Catalog {
    let others = |n: usize| format!("part-{n}.yaml");
    let files = inferred.files("Proposed from a test.", &others);
    let read = |path: &str| {
        let file = files.iter().find(|(name, _)| name.as_deref().unwrap_or("cdp.yaml") == path);
        file.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    match load("cdp.yaml", &read) {
        Ok(loaded) => loaded.catalog,
        Err(mistakes) => panic!("{mistakes}\n{}", files[0].1),
    }
}

fn survey<'a>(records: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Survey {
    let mut survey = Survey::default();
    for (event, value) in records {
        survey.see(event, value);
    }
    survey
}

/// What refuses a record of a proposed event.
struct Judge {
    schema: tidegate_schema::JsonSchema,
    /// Where notes say that values are refused.
    refusing: Vec<String>,
}

impl Judge {
    fn new(inferred: &Inferred, catalog: &Catalog, name: &str) -> Self {
        let event = &catalog.events[name];
        let schema = event_schema(catalog, event, event.version()).to_string();
        let notes = inferred.all_notes().into_iter();
        let of_it =
            notes.filter(|(of, note)| note.kind == NoteKind::Tightened && of.is_none_or(|of| of == name));
        Self {
            schema: tidegate_schema::JsonSchema::parse(&schema).unwrap(),
            refusing: of_it.map(|(_, note)| note.at.replace("/*", "")).collect(),
        }
    }

    /// Why the record is refused, where no note says that it would be.
    fn unexplained(&self, value: &Value) -> Vec<String> {
        let mut told = Vec::new();
        for violation in self.schema.violations(value.to_string().as_bytes(), 20) {
            let numberless = violation.path.split('/').filter(|part| part.parse::<u32>().is_err());
            let path = numberless.collect::<Vec<_>>().join("/");
            let spine = ["event_id", "ts"]
                .iter()
                .any(|name| violation.expected.contains(name) && self.refusing.contains(&format!("/{name}")));
            if !spine && !self.refusing.contains(&path) {
                told.push(format!("{violation:?} of {value}; notes at {:?}", self.refusing));
            }
        }
        told
    }
}

/// Records that the proposal refuses although no note says so, with the reasons.
fn unexplained(inferred: &Inferred, catalog: &Catalog, records: &[(&str, &Value)]) -> Vec<String> {
    let mut judges: BTreeMap<&str, Judge> = BTreeMap::new();
    let mut told = Vec::new();
    for (name, value) in records {
        let original = |event: &&crate::proposal::ProposedEvent| {
            event.original.as_deref().unwrap_or(&event.name) == *name || inferred.events.len() == 1
        };
        let proposed = inferred.events.iter().find(original).expect("each event is proposed");
        let judge = judges.entry(name).or_insert_with(|| Judge::new(inferred, catalog, &proposed.name));
        told.extend(judge.unexplained(value));
    }
    told
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-e]",
        1 => Just("event_id".to_owned()),
        1 => Just("ts".to_owned()),
        1 => Just("price".to_owned()),
        1 => Just("userId".to_owned()),
        1 => Just("+1".to_owned()),
        1 => Just("a__b".to_owned()),
        1 => Just("true".to_owned()),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-300i64..300).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "-?[0-9]{1,45}(\\.[0-9]{1,12})?(e[0-9]{1,3})?"
            .prop_map(|text| { serde_json::from_str(&text).unwrap_or(Value::String(text)) }),
        "-?[0-9]{1,5}(\\.[0-9]{1,3})?".prop_map(Value::String),
        "[a-c]{0,2}".prop_map(Value::String),
        "\\PC{0,12}".prop_map(Value::String),
        "20[0-9]{2}-0[1-9]-[0-3][0-9]".prop_map(Value::String),
        "[0-9]{4}-0[1-9]-2[0-9]T1[0-9]:59:[5-6]0(\\.[0-9]{1,10})?(Z|[+]0[0-9]:30)".prop_map(Value::String),
        Just(json!("0b6f0c5e-5f0e-4c6e-9a55-0d1f3f0a1c11")),
        prop_oneof![Just(json!("203.0.113.7")), Just(json!("::1")), Just(json!("a@b.co"))],
        "https?://[a-z.]{1,6}(/[a-z %]{0,3})?".prop_map(Value::String),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            3 => prop::collection::btree_map(name(), inner.clone(), 0..5).prop_map(object),
            1 => prop::collection::btree_map("[0-9a-f]{4}", inner, 0..9).prop_map(object),
        ]
    })
}

fn object(members: BTreeMap<String, Value>) -> Value {
    Value::Object(members.into_iter().collect::<Map<_, _>>())
}

/// Records of which most agree about most fields, as events do.
fn records() -> impl Strategy<Value = Vec<(bool, Value)>> {
    let odd = prop::collection::btree_map(name(), value(), 0..6).prop_map(object).boxed();
    (odd.clone(), prop::collection::vec((any::<bool>(), odd, 0..4u8), 1..40)).prop_map(|(usual, all)| {
        let alike = |(first, own, how): (bool, Value, u8)| match (how, own, usual.clone()) {
            (0, own, _) => (first, own),
            (_, Value::Object(own), Value::Object(mut usual)) => {
                let few = usize::from(how) - 1;
                usual.extend(own.into_iter().take(few));
                (first, Value::Object(usual))
            }
            (_, own, _) => (first, own),
        };
        all.into_iter().map(alike).collect()
    })
}

const NAMES: [&str; 2] = ["first thing", "second"];

fn named(records: &[(bool, Value)]) -> Vec<(&str, &Value)> {
    records.iter().map(|(first, value)| (NAMES[usize::from(!first)], value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn evidence_is_the_same_in_any_order_and_any_split(records in records(), at in 0..40usize, seed in 0..5usize) {
        let records = named(&records);
        let whole = survey(records.iter().copied());
        let (mut first, mut second) = records.split_at(at.min(records.len()));
        if seed % 2 == 0 {
            std::mem::swap(&mut first, &mut second);
        }
        let mut parts = survey(first.iter().copied().rev());
        parts.merge(survey(second.iter().copied()));
        prop_assert_eq!(whole.events(), parts.events());
    }

    #[test]
    fn a_proposal_loads_and_takes_what_was_seen_but_for_what_it_says(records in records()) {
        let records = named(&records);
        let inferred = propose(&survey(records.iter().copied()), "some.Topic", None);
        let catalog = loaded(&inferred);
        prop_assert_eq!(unexplained(&inferred, &catalog, &records), Vec::<String>::new());
    }
}

#[track_caller]
fn field<'a>(inferred: &'a Inferred, name: &str) -> &'a ProposedField {
    inferred.events[0].fields.iter().find(|field| field.name == name).unwrap_or_else(|| panic!("{name}"))
}

fn orders() -> Vec<Value> {
    (0..100)
        .map(|n| {
            json!({
                "event_id": format!("0b6f0c5e-5f0e-4c6e-9a55-{n:012}"),
                "ts": format!("2026-01-27T10:00:{:02}.{n:03}Z", n % 60),
                "state": (["open", "paid", "void"][n % 3]),
                "price": if n == 7 { json!("4.99") } else { serde_json::from_str("4.5").unwrap() },
                "user_id": n,
                "at": 1_769_508_000_000_i64 + n as i64,
                "ip": "203.0.113.7",
                "note": if n % 4 == 0 { Value::Null } else { json!(format!("note {n}")) },
                "n": if n < 4 { json!("many") } else { json!(n) },
                "lines": [{"sku": "a", "qty": 1}, {"sku": "b", "qty": 2, "gift": true}],
                "counts": {format!("k{}", n): n, "x9-1": 1},
                "userName": "x",
                "mixed": if n < 30 { json!("many") } else { json!(n) },
                "where": {"lat": 48.2, "lon": 16.4, "raw": {}},
            })
        })
        .collect()
}

#[test]
fn each_kind_of_field_is_proposed_with_its_evidence() {
    let orders = orders();
    let inferred = propose(&survey(orders.iter().map(|order| ("", order))), "shop.orders", None);
    let types = |name: &str| field(&inferred, name).ty.to_string();
    assert_eq!(types("state"), "enum<state>");
    assert_eq!(types("price"), "decimal(38,2)");
    assert_eq!(types("user_id"), "u64");
    assert_eq!(types("ip"), "ip");
    assert_eq!(types("note"), "optional<string>");
    assert_eq!(types("n"), "u32");
    assert_eq!(types("mixed"), "any");
    assert_eq!(types("lines"), "array<object>");
    assert_eq!(types("counts"), "map<u32>");
    assert_eq!(types("where"), "object");
    assert_eq!(inferred.topic.as_deref(), Some("shop.orders"));
    assert_eq!(field(&inferred, "user_name").source.as_deref(), Some("userName"));
    assert!(!inferred.collects, "`userName` is what records call a field");
    let told = |name: &str, text: &str| {
        let field = field(&inferred, name);
        let notes = field.notes.iter().map(|note| &note.text);
        let all: Vec<&String> = field.evidence.iter().chain(notes).collect();
        assert!(all.iter().any(|said| said.contains(text)), "{name}: {all:?}");
    };
    told("state", "in 100 of 100: with 95 % fewer than 3.0 % lack it");
    told("n", "4 of 100 were texts: they would be refused");
    told("mixed", "30 of 100 were texts: taken as it comes");
    told("at", "milliseconds since 1970");
    told("ip", "personal data (an IP address)");
    told("note", "25 times null");
    let catalog = loaded(&inferred);
    assert_eq!(catalog.events["shop_orders"].topic, "shop.orders");
    assert_eq!(catalog.file.envelope.keys().collect::<Vec<_>>(), ["event_id", "ts"]);
    let refused = |n: &usize| orders[*n]["n"].is_string();
    let taken: Vec<(&str, &Value)> = (0..100).filter(|n| !refused(n)).map(|n| ("", &orders[n])).collect();
    let event = &catalog.events["shop_orders"];
    let schema = event_schema(&catalog, event, event.version()).to_string();
    let schema = tidegate_schema::JsonSchema::parse(&schema).unwrap();
    for (_, order) in taken {
        assert!(schema.passes(order), "{order}");
    }
}

#[test]
fn what_a_column_could_not_have_as_null_is_taken_as_it_comes() {
    let wide: Map<String, Value> = (0..250).map(|n| (format!("n{n}"), json!(n))).collect();
    let record = |n: usize| match n % 2 {
        0 => json!({"tags": null, "raw": null, "wide": null, "small": null}),
        _ => json!({"tags": ["a"], "raw": {"": 1}, "wide": wide, "small": {"a": 1}}),
    };
    let records: Vec<Value> = (0..40).map(record).collect();
    let inferred = propose(&survey(records.iter().map(|record| ("", record))), "t", None);
    let refusing = inferred.all_notes().into_iter().filter(|(_, note)| note.kind == NoteKind::Tightened);
    let places: Vec<&str> = refusing.map(|(_, note)| note.at.as_str()).collect();
    assert_eq!(places, ["/event_id", "/ts"]);
    for name in ["raw", "tags", "wide"] {
        assert_eq!(field(&inferred, name).ty.to_string(), "optional<any>");
    }
    assert_eq!(field(&inferred, "small").ty.to_string(), "optional<object>");
}

#[test]
fn what_all_events_share_is_the_envelope() {
    let record = |n: usize| {
        let mut record = json!({"event_id": format!("e{n}"), "ts": "2026-01-27T10:00:00Z", "session": "s", "own": {"a": 1}});
        record[["x", "y"][n % 2]] = json!(n);
        record
    };
    let records: Vec<Value> = (0..80).map(record).collect();
    let inferred = propose(&survey(records.iter().enumerate().map(|(n, r)| (NAMES[n % 2], r))), "t", None);
    let envelope: Vec<String> =
        inferred.envelope.iter().map(|field| format!("{} {}", field.name, field.ty)).collect();
    assert_eq!(envelope, ["event_id string", "ts timestamp(ms)", "session enum<session>"]);
    let catalog = loaded(&inferred);
    assert_eq!(catalog.events.keys().collect::<Vec<_>>(), ["first_thing", "second"]);
}

#[test]
fn a_missing_spine_is_said_first_with_what_might_be_it() {
    let records: Vec<Value> =
        (0..40).map(|n| json!({"id": format!("{n}"), "created_at": "2026-01-27T10:00:00Z"})).collect();
    let inferred = propose(&survey(records.iter().map(|r| ("", r))), "t", None);
    let notes = inferred.all_notes();
    assert!(notes[0].1.text.starts_with("40 of 40 records have no `event_id`"), "{}", notes[0].1.text);
    assert!(notes[0].1.text.contains("it might be `id` (string, in 100 %)"), "{}", notes[0].1.text);
    assert!(notes[1].1.text.contains("it might be `created_at` (timestamp(ms), in 100 %)"));
    loaded(&inferred);
}

#[test]
fn what_is_without_bounds_is_kept_within_them() {
    let mut survey = Survey::default();
    for n in 0..600 {
        let mut deep = json!(n);
        for level in 0..40 {
            deep = json!({format!("l{}", level % 3): deep});
        }
        survey.see("", &json!({"deep": deep, format!("key{n}"): "x".repeat(n), "map": {format!("{n}"): n}}));
        survey.see(&format!("event {n}"), &json!({}));
    }
    assert_eq!(survey.events().len(), EVENTS_MAX);
    assert_eq!(survey.left_out(), 401);
    let evidence = &survey.events()[""];
    assert!(matches!(evidence.members, Members::Any(_)));
    loaded(&propose(&survey, "t", None));
    let mut wide = Survey::default();
    for n in 0..100 {
        let members = |m: usize| (0..200).map(|k| (format!("k{k}"), json!({format!("m{m}"): k}))).collect();
        wide.see(
            &format!("e{n}"),
            &Value::Object((0..5).map(|m| (format!("o{m}"), object(members(m)))).collect()),
        );
    }
    assert!(wide.places <= PLACES_MAX && wide.given_up_below().is_some(), "{}", wide.places);
}

#[test]
fn a_catalog_that_is_there_is_told_what_it_does_not_know() {
    let orders = orders();
    let inferred = propose(&survey(orders[..50].iter().map(|order| ("", order))), "shop.orders", None);
    let catalog = loaded(&inferred);
    let mut comparison = Comparison::new(&catalog);
    for (n, order) in orders.iter().enumerate().skip(50) {
        let mut order = order.clone();
        order["fresh"] = json!(1);
        order["user_id"] = json!(-1);
        order["lines"][1]["qty"] = json!("two");
        comparison.see("shop.orders", "", &order, &format!("0/{n}"));
    }
    comparison.see("other", "unheard", &json!({}), "0/0");
    let told: Vec<(&str, u64, &str)> = comparison
        .differences()
        .into_iter()
        .map(|difference| (difference.at.as_str(), difference.records, difference.example.as_str()))
        .collect();
    assert!(told.contains(&("/fresh", 50, "0/50")), "{told:?}");
    assert!(told.contains(&("/user_id", 50, "0/50")), "{told:?}");
    assert!(told.contains(&("/lines/*/qty", 50, "0/50")), "{told:?}");
    assert!(told.contains(&("", 1, "0/0")), "{told:?}");
    assert_eq!((comparison.compared, comparison.agreeing), (51, 0));
}

/// GitHub's published webhook payloads, by event; nothing where they have not been fetched.
fn webhooks() -> Vec<(String, Value)> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../.cache/testdata/webhooks-examples/api.github.com/index.json"
    );
    let Ok(text) = std::fs::read(file) else {
        eprintln!("skipped: `{file}` is not there; `make setup` fetches it");
        return Vec::new();
    };
    let index: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let of = |event: &Value| {
        let name = event["name"].as_str().unwrap().to_owned();
        let examples = event["examples"].as_array().unwrap().clone();
        examples.into_iter().map(move |example| (name.clone(), example))
    };
    index.iter().flat_map(of).collect()
}

#[test]
fn a_catalog_of_githubs_webhooks_takes_all_of_them_but_for_what_every_catalog_demands() {
    let webhooks = webhooks();
    if webhooks.is_empty() {
        return;
    }
    let with_header = webhooks.iter().map(|(event, value)| (vec![("x-github-event", event.as_str())], value));
    let separation = separate(with_header);
    assert_eq!(separation.by, Separator::Header("x-github-event".into()), "{separation:?}");
    let records: Vec<(&str, &Value)> =
        webhooks.iter().map(|(event, value)| (event.as_str(), value)).collect();
    let inferred = propose(&survey(records.iter().copied()), "github.webhooks", None);
    let catalog = loaded(&inferred);
    assert_eq!(catalog.events.len(), 58);
    let mut judges: BTreeMap<&str, Judge> = BTreeMap::new();
    for (event, value) in &webhooks {
        let judge = judges.entry(event).or_insert_with(|| Judge::new(&inferred, &catalog, event));
        let mut value = value.clone();
        value["event_id"] = json!("0b6f0c5e-5f0e-4c6e-9a55-0d1f3f0a1c11");
        value["ts"] = json!("2026-01-27T10:00:00Z");
        let violations = judge.schema.violations(value.to_string().as_bytes(), 3);
        let unexplained = judge.unexplained(&value);
        assert!(unexplained.is_empty() && violations.len() < 3, "{event}: {unexplained:#?}");
    }
    let widest = catalog.events.values().map(|event| event.columns(true).len()).max();
    assert!(widest.is_some_and(|widest| widest > 100 && widest < 230), "{widest:?}");
}
