//! Catalogs from outside: what is accepted, and how mistakes are told.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use tidegate_catalog::{Given, Loaded, Lock, generate, json_schema, load};
use tidegate_yaml::{Diagnostics, Mistake};

const SMALL: &str = "
cdp: \"1\"
name: shop
envelope:
  event_id: {type: uuid}
  ts: {type: timestamp(ms)}
  user_id: {type: optional<string>}
enums:
  platform: {values: [ios, android]}
contexts:
  device: {prefix: device_, fields: {platform: {type: enum<platform>}}}
events:
  viewed:
    doc: Seen.
    contexts: [device]
    fields: {watch_ms: {type: u32, unit: ms}, price: {type: \"decimal(12,2)\", unit: USD}, done: {type: bool, default: false}}
  bought:
    doc: Paid for.
    contexts: [device]
    fields: {price: {type: \"decimal(12,2)\"}}
dimensions:
  platform: {field: device_platform}
facts:
  views: {event: viewed}
  steps: {events: [viewed, bought], columns: [user_id, device_platform]}
metrics:
  views: {kind: count, fact: views}
  watch: {kind: sum, fact: views, expr: watch_ms, unit: ms}
  income: {kind: sum, fact: views, expr: price, unit: USD}
  buyers: {kind: funnel, fact: steps, steps: [viewed, bought], within: 7d, by: user_id}
rollups:
  hourly: {fact: views, grain: hour, dims: [platform], metrics: [views, watch]}
";

fn load_files(files: &[(&str, &str)]) -> Result<Loaded, Diagnostics> {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    load("cdp.yaml", &|path| match files.get(path) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(io::Error::from(io::ErrorKind::NotFound)),
    })
}

fn load_text(text: &str) -> Result<Loaded, Diagnostics> {
    load_files(&[("cdp.yaml", text)])
}

/// The small catalog with something replaced.
#[track_caller]
fn changed(from: &str, to: &str) -> Result<Loaded, Diagnostics> {
    assert!(SMALL.contains(from), "{from}");
    load_text(&SMALL.replacen(from, to, 1))
}

/// Changing the small catalog so is one mistake, with that code and words of the message and hint.
#[track_caller]
fn mistake((from, to): (&str, &str), code: Mistake, words: &[&str]) {
    let refused = changed(from, to).err().unwrap_or_else(|| panic!("`{to}` is accepted"));
    let [only] = refused.as_slice() else { panic!("expected one mistake:\n{refused}") };
    assert_eq!(only.code, code, "{refused}");
    let text = refused.to_string();
    for word in words {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
    assert!(only.line > 1, "{refused}");
}

#[test]
fn mistakes_of_structure_and_of_names_are_told_in_one_run() {
    let text = SMALL
        .replace("watch_ms: {type: u32, unit: ms}", "watch_ms: {type: u33, unit: ms}")
        .replace("doc: Paid for.", "docs: Paid for.")
        .replace("dims: [platform]", "dims: [platfrom]")
        .replace("income: {kind: sum, fact: views,", "income: {kind: sum, fact: view,");
    let refused = load_text(&text).unwrap_err();
    let told: Vec<&str> = refused.as_slice().iter().map(|mistake| mistake.message.as_str()).collect();
    let count = |words: &str| told.iter().filter(|message| message.contains(words)).count();
    assert_eq!((count("`u33`"), count("`docs`")), (1, 1), "{refused}");
    assert_eq!((count("no dimension `platfrom`"), count("no fact `view`")), (1, 1), "{refused}");
    // What only follows from the first ones is not told: a metric of the field, a funnel of the event.
    assert_eq!((count("watch_ms"), count("`bought`"), told.len()), (0, 0, 4), "{refused}");

    // Neither is a dimension of a field of a context, whose name has the context's prefix.
    let text = SMALL
        .replace("platform: {type: enum<platform>}", "platform: {type: enum<platform}")
        .replace("metrics: [views, watch]", "metrics: [views, wach]");
    let refused = load_text(&text).unwrap_err();
    let [first, second] = refused.as_slice() else { panic!("{refused}") };
    assert_eq!((first.code, second.code), (Mistake::BadValue, Mistake::UnknownName), "{refused}");
}

#[test]
fn a_class_of_personal_data_is_declared_and_what_nobody_does_to_it_is_told() {
    let of_class = "user_id: {type: optional<string>, pii: direct}";
    let plain = "  user_id: {type: optional<string>}\nenums:";
    mistake(
        ("user_id: {type: optional<string>}", of_class),
        Mistake::UnknownName,
        &["class of personal data `direct`", "is no class of personal data at all"],
    );
    let untreated = |class: &str| {
        let text = format!(
            "  {of_class}\npolicies: {{pii: {{direct: {{{class}}}, other: {{action: truncate}}}}}}\nenums:"
        );
        let loaded = changed(plain, &text).unwrap_or_else(|refused| panic!("{refused}"));
        loaded.catalog.untreated().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let direct = "class `direct`, action `restrict`: `viewed.user_id` and 1 more";
    assert_eq!(untreated("action: restrict"), [direct]);
    assert!(untreated("action: restrict, upstream: true").is_empty());
    assert!(untreated("action: pseudonymise, key_ref: env:KEY").is_empty());
    assert!(untreated("action: keep").is_empty());
}

/// A catalog with this class, of which are a field of this type and the one that tells tenants apart.
fn with_class(class: &str, ty: &str) -> Result<Loaded, Diagnostics> {
    let text = format!(
        "  user_id: {{type: optional<string>}}\n  tenant: {{type: string}}\n  other: {{{ty}, pii: direct}}\n\
         policies: {{pii: {{direct: {{{class}}}}}}}\nenums:"
    );
    changed("  user_id: {type: optional<string>}\nenums:", &text)
}

#[test]
fn what_a_class_says_is_only_said_of_fields_that_it_can_be_done_to() {
    let key = "key_ref: env:KEY";
    let texts = format!("action: pseudonymise, {key}");
    for (class, ty) in [
        (texts.as_str(), "type: optional<uuid>"),
        (&texts, "type: array<ip>"),
        (&texts, "type: i64"),
        ("action: drop", "type: map<string>"),
        ("action: drop", "type: array<object>, fields: {a: {type: string}}"),
        ("action: truncate", "type: ip"),
        ("action: truncate, characters_max: 3", "type: string"),
        ("action: generalise", "type: optional<date>"),
        ("action: generalise, step: 10", "type: u16"),
        (&texts, "type: object, fields: {a: {type: uuid}}"),
        ("action: pseudonymise, key_ref: 'file:/run/pii', per: [tenant]", "type: string"),
    ] {
        if let Err(refused) = with_class(class, ty) {
            panic!("{class}, {ty}: {refused}");
        }
    }
    for (class, ty, words) in [
        ("action: pseudonymise", "type: string", "has no `key_ref`"),
        (&texts, "type: f64", "which is not done to `other: f64`"),
        (&texts, "type: map<string>", "which is not done to"),
        (&texts, "type: array<object>, fields: {a: {type: string, pii: direct}}", "which is not done to"),
        (&texts, "type: string, default: nobody", "its default would not be"),
        ("action: truncate", "type: string", "with `characters_max` texts"),
        ("action: generalise", "type: u16", "with `step` whole numbers"),
        ("action: keep, key_ref: env:KEY", "type: string", "`key_ref` is for `pseudonymise`"),
        ("action: pseudonymise, key_ref: 0123456789", "type: string", "never the key itself"),
        (&format!("{texts}, per: [tennant]"), "type: string", "did you mean `tenant`?"),
    ] {
        let refused = with_class(class, ty).err().unwrap_or_else(|| panic!("{class}, {ty}: accepted"));
        assert!(refused.to_string().contains(words), "{words}: {refused}");
    }
}

#[test]
fn a_pseudonymised_field_is_a_text_wherever_it_is_kept_and_a_field_of_its_type_where_it_comes_from() {
    let class = "action: pseudonymise, key_ref: env:KEY, per: [tenant]";
    let loaded = with_class(class, "type: array<uuid>").unwrap_or_else(|refused| panic!("{refused}"));
    let viewed = &loaded.catalog.events["viewed"];
    let column = viewed.column("other", true).unwrap();
    assert_eq!(
        (column.ty.to_string(), column.clear.to_string()),
        ("array<string>".into(), "array<uuid>".into())
    );
    let given = Given { dead_letter_ddl: |_, _| String::new(), place_columns: &[], dedup_window: 1 };
    let generated = generate(&loaded.catalog, &Lock::default(), given);
    let sink = generated.text("sink/sink.yaml").unwrap();
    for line in [
        "      direct: {action: pseudonymise, key: '${KEY}', per: [tenant]}",
        "      viewed:\n        other: {personal_data: direct, clear_type: UUID}",
        "# Personal data of class `direct` is pseudonymised with the key in env:KEY, apart by tenant before it is stored",
    ] {
        assert!(sink.contains(line), "{line}: {sink}");
    }
    let tables = generated.text("clickhouse/single/02-events.sql").unwrap();
    let line = "`other` Array(String) COMMENT '[personal data, direct: pseudonymised with the key in env:KEY";
    assert!(tables.contains(line), "{tables}");
    let schema = generated.text("json-schema/viewed/1.0.0.json").unwrap();
    assert!(schema.contains("\"uuid\""), "records have what they had: {schema}");
}

#[test]
fn a_small_catalog_is_accepted_and_its_fields_put_together() {
    let loaded = load_text(SMALL).unwrap_or_else(|refused| panic!("{refused}"));
    let viewed = &loaded.catalog.events["viewed"];
    let names: Vec<&str> = viewed.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["event_id", "ts", "user_id", "device_platform", "watch_ms", "price", "done"]);
    assert_eq!(viewed.topic, "shop.viewed.v1");
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let unknown = Mistake::UnknownName;
    mistake(
        ("contexts: [device]", "contexts: [devise]"),
        unknown,
        &["context `devise`", "did you mean `device`?"],
    );
    mistake(("enum<platform>", "enum<platfrom>"), unknown, &["enum `platfrom`", "did you mean `platform`?"]);
    mistake(("event: viewed", "event: veiwed"), unknown, &["event `veiwed`", "did you mean `viewed`?"]);
    mistake(("expr: watch_ms", "expr: watch_sm"), unknown, &["`watch_sm`", "did you mean `watch_ms`?"]);
    mistake(("fact: views, expr: price", "fact: veiws, expr: price"), unknown, &["fact `veiws`", "`views`"]);
    mistake(("dims: [platform]", "dims: [platforms]"), unknown, &["did you mean `platform`?"]);
    mistake(("metrics: [views, watch]", "metrics: [views, wotch]"), unknown, &["did you mean `watch`?"]);
    mistake(
        ("steps: [viewed, bought]", "steps: [viewed, sold]"),
        unknown,
        &["`sold`", "there are `viewed`, `bought`"],
    );
    mistake(("by: user_id", "by: usr_id"), unknown, &["did you mean `user_id`?"]);
    mistake(
        ("field: device_platform", "field: device_plattform"),
        unknown,
        &["did you mean `device_platform`?"],
    );
}

#[test]
fn parts_that_do_not_fit_each_other_are_refused() {
    mistake(("default: false", "default: maybe"), Mistake::WrongType, &["default of `done` is a `bool`"]);
    mistake(("u32, unit: ms", "u32, min: 5, max: 1"), Mistake::Conflict, &["`min` of `watch_ms` is above"]);
    mistake(("u32, unit: ms", "u32, pattern: x"), Mistake::Conflict, &["`pattern` is for texts"]);
    mistake(("optional<string>", "optional<array<any>>"), Mistake::Conflict, &["make it `optional<any>`"]);
    mistake(
        ("optional<string>", "optional<string>, pattern: \"(\""),
        Mistake::BadValue,
        &["is no regular expression"],
    );
    mistake(("u32, unit: ms", "u32, since: 2.0.0"), Mistake::Conflict, &["raise the event's `version`"]);
    mistake(
        ("kind: count, fact: views", "kind: count, fact: views, q: 0.5"),
        Mistake::Conflict,
        &["has no `q`"],
    );
    mistake(("expr: watch_ms, unit: ms", "unit: ms"), Mistake::MissingKey, &["lacks `expr`"]);
    mistake(
        ("expr: price", "expr: device_platform"),
        Mistake::BadExpression,
        &["expected a number, found a text"],
    );
    mistake(("expr: price", "expr: price +"), Mistake::BadExpression, &["found the end"]);
    mistake(("within: 7d", "within: 1mo"), Mistake::BadValue, &["no fixed length"]);
    mistake(
        ("metrics: [views, watch]", "metrics: [views, buyers]"),
        Mistake::Conflict,
        &["cannot be kept summed up"],
    );
    mistake(
        ("columns: [user_id,", "columns: [user_id, done,"),
        Mistake::UnknownName,
        &["field of event `bought` called `done`"],
    );
    mistake(
        ("event_id: {type: uuid}", "event_id: {type: u32}"),
        Mistake::WrongType,
        &["`event_id` is `uuid`"],
    );
    mistake(("type: u32", "type: int"), Mistake::BadValue, &["expected a type such as", "`i8` to `i64`"]);
}

#[test]
fn metrics_made_of_themselves_and_sums_of_unlike_units_are_refused() {
    let line = "  views: {kind: count, fact: views}\n";
    let cycle = "  a: {kind: derived, expr: b + 1}\n  b: {kind: ratio, numerator: a, denominator: views}\n";
    mistake((line, &format!("{line}{cycle}")), Mistake::Cycle, &["a -> b -> a"]);
    let units = "  a: {kind: derived, expr: watch + income}\n";
    mistake((line, &format!("{line}{units}")), Mistake::BadExpression, &["of ms and USD"]);
    let window = "  a: {kind: cumulative, of: buyers, window: 28d}\n";
    mistake((line, &format!("{line}{window}")), Mistake::Conflict, &["cannot be put together"]);
}

#[test]
fn a_rollup_over_rows_that_are_replaced_is_refused() {
    let from = "enums:";
    let to = "defaults: {clickhouse: {engine: replacing_merge_tree}}\nenums:";
    mistake((from, to), Mistake::Conflict, &["replaces rows", "engine: merge_tree"]);
}

#[test]
fn many_mistakes_are_told_in_one_run_in_the_order_of_the_file() {
    let text = SMALL
        .replace("enum<platform>", "enum<platfrom>")
        .replace("expr: watch_ms", "expr: watch_sm")
        .replace("dims: [platform]", "dims: [platforms]");
    let refused = load_text(&text).expect_err("three mistakes");
    let codes: Vec<Mistake> = refused.as_slice().iter().map(|diagnostic| diagnostic.code).collect();
    assert_eq!(codes, [Mistake::UnknownName; 3], "{refused}");
    let lines: Vec<usize> = refused.as_slice().iter().map(|diagnostic| diagnostic.line).collect();
    assert!(lines.is_sorted());
}

#[test]
fn tests_of_the_catalog_are_run() {
    let with = |test: &str| load_text(&format!("{SMALL}tests:\n  - {test}\n"));
    assert!(with("{name: a, event: viewed, partial: true, accept: true, value: {watch_ms: 5}}").is_ok());
    assert!(
        with(
            "{name: a, event: viewed, partial: true, accept: false, value: {watch_ms: -5}, field: watch_ms}"
        )
        .is_ok()
    );
    let about = |field: &str| {
        with(&format!(
            "{{name: a, event: viewed, partial: true, accept: false, value: {{watch_ms: -5}}, field: {field}}}"
        ))
    };
    assert!(about("/watch_ms").is_ok(), "a pointer, as a dead letter has it");
    for other in ["/watch", "user_id", "watch_ms.x"] {
        let refused = about(other).unwrap_err().to_string();
        assert!(refused.contains("refused at `/watch_ms`, not at `/"), "{refused}");
    }
    let refused =
        with("{name: a, event: viewed, partial: true, accept: true, value: {watch_ms: -5}}").unwrap_err();
    assert!(refused.to_string().contains("test `a`: refused at `/watch_ms`"), "{refused}");
    let refused =
        with("{name: a, event: viewed, partial: true, accept: false, value: {watch_ms: 5}}").unwrap_err();
    assert!(refused.to_string().contains("accepted, and should be refused"), "{refused}");
}

#[test]
fn decimals_in_texts_have_their_bounds_in_the_catalogs_tests_too() {
    let fields = "price: {type: \"decimal(12,2)\"}";
    let listed = format!(
        "{fields}, min: 0.5}}, prices: {{type: \"array<decimal(9,2)>\", max: 9}}, \
         parts: {{type: array<object>, fields: {{price: {{type: \"decimal(9,2)\", max: 3}}}}}}",
        fields = fields.trim_end_matches('}')
    );
    let with = |test: &str| {
        let small = SMALL.replace(&format!("fields: {{{fields}}}"), &format!("fields: {{{listed}}}"));
        assert_ne!(small, SMALL);
        load_text(&format!("{small}tests:\n  - {{name: a, event: bought, partial: true, {test}}}\n"))
    };
    for kept in ["{}", "{price: \"0.50\"}", "{price: 3}", "{prices: [\"9\", 1], parts: [{price: \"3.00\"}]}"]
    {
        if let Err(refused) = with(&format!("accept: true, value: {kept}")) {
            panic!("{kept}: {refused}");
        }
    }
    for (broken, path) in [
        ("{price: \"0.49\"}", "`/price`"),
        ("{price: 0.49}", "`/price`"),
        ("{prices: [\"9\", \"9.01\"]}", "`/prices/1`"),
        ("{parts: [{price: \"3.01\"}]}", "`/parts/0/price`"),
    ] {
        let refused = with(&format!("accept: true, value: {broken}")).unwrap_err().to_string();
        assert!(refused.contains(&format!("refused at {path}")), "{broken}: {refused}");
    }
}

#[test]
fn the_sink_is_told_the_rules_that_the_records_schemas_do_not_say() {
    let ruled = "policies: {pii: {direct: {action: pseudonymise, key_ref: env:KEY}}}\nevents:\n  ruled:\n    \
                 doc: Of rules.\n    fields:\n      \
                 n: {type: optional<u32>, min: 2, max: 10}\n      \
                 t: {type: array<string>, max_length: 3, pattern: '^[a-z]\\${2}\"', source: theTexts}\n      \
                 d: {type: \"decimal(9,2)\", min: 0.10}\n      \
                 u: {type: map<url>}\n      e: {type: email, pii: direct}\n      g: {type: geohash(5)}\n      \
                 p: {type: enum<platform>}\n      q: {type: enum<platform>, pii: direct}\n      \
                 plain: {type: string}\n      \
                 o: {type: object, fields: {i: {type: i8, min: 0}}}\n      \
                 l: {type: array<object>, fields: {a: {type: f64, max: 1.5}, b: {type: string}, \
                 c: {type: array<object>, fields: {x: {type: string, max_length: 2}}}}}\n";
    let sink = |format: &str| {
        let text =
            SMALL.replace("envelope:", &format!("defaults: {{kafka: {{format: {format}}}}}\nenvelope:"));
        let loaded =
            load_text(&text.replace("events:\n", ruled)).unwrap_or_else(|refused| panic!("{refused}"));
        let given = Given { dead_letter_ddl: |_, _| String::new(), place_columns: &[], dedup_window: 1 };
        let generated = generate(&loaded.catalog, &Lock::default(), given);
        let sink = generated.text("sink/sink.yaml").unwrap().to_owned();
        let at = sink.find("      ruled:\n").unwrap();
        let columns = sink[at..].lines().skip(1).take_while(|line| line.starts_with("        "));
        columns.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        sink("avro"),
        [
            "n: {rules: {min: 2, max: 10}}",
            r#"t: {path: "/theTexts", rules: {max_length: 3, pattern: "^[a-z]\\$${2}\""}}"#,
            "d: {rules: {min: 0.10}}",
            "u: {rules: {format: uri}}",
            "e: {personal_data: direct, rules: {format: email}}",
            r#"g: {rules: {pattern: "^[0-9b-hjkmnp-z]{1,5}$"}}"#,
            "q: {personal_data: direct, rules: {one_of: [ios, android]}}",
            "o__i: {rules: {min: 0}}",
            "l: {rules: {members: {a: {max: 1.5}, c: {members: {x: {max_length: 2}}}}}}",
        ]
    );
    // A JSON Schema says all of it, but no bounds of decimals in texts.
    for format in ["json", "json_schema"] {
        assert_eq!(
            sink(format),
            [
                r#"t: {path: "/theTexts"}"#,
                "d: {rules: {min: 0.10}}",
                "e: {personal_data: direct}",
                "q: {personal_data: direct}",
            ]
        );
    }
}

#[test]
fn included_files_are_one_catalog_and_mistakes_name_their_file() {
    let root = SMALL.replace("cdp: \"1\"", "cdp: \"1\"\ninclude: [more/events.yaml]");
    let part = "events:\n  sold: {doc: Sold., fields: {price: {type: u32}}}\n";
    let loaded = load_files(&[("cdp.yaml", &root), ("more/events.yaml", part)]);
    assert_eq!(loaded.unwrap_or_else(|refused| panic!("{refused}")).catalog.events.len(), 3);
    let twice = "events:\n  viewed: {doc: Again.}\n";
    let refused = load_files(&[("cdp.yaml", &root), ("more/events.yaml", twice)]).unwrap_err();
    let [only] = refused.as_slice() else { panic!("{refused}") };
    assert_eq!((only.file.as_str(), only.line, only.code), ("more/events.yaml", 2, Mistake::DuplicateKey));
    assert!(only.hint.as_ref().unwrap().contains("cdp.yaml:"), "{refused}");
}

#[test]
fn files_that_include_one_another_or_lie_elsewhere_are_refused() {
    let root = |list: &str| SMALL.replace("cdp: \"1\"", &format!("cdp: \"1\"\ninclude: [{list}]"));
    let refused =
        load_files(&[("cdp.yaml", &root("a.yaml")), ("a.yaml", "include: [cdp.yaml]\n")]).unwrap_err();
    assert_eq!(refused.as_slice()[0].code, Mistake::Cycle, "{refused}");
    for path in ["../x.yaml", "/etc/passwd", "a/../b", "''"] {
        let refused = load_text(&root(path)).unwrap_err();
        assert_eq!(refused.as_slice()[0].code, Mistake::BadValue, "{refused}");
    }
    let refused = load_text(&root("gone.yaml")).unwrap_err();
    assert_eq!(refused.as_slice()[0].code, Mistake::Unreadable, "{refused}");
}

#[test]
fn hostile_files_are_refused_and_cost_little() {
    let bomb = format!("a: &a [x]\nb: [{}]\n", "*a,".repeat(1_000));
    let deep = "[".repeat(100_000);
    let keys: String = (0..40_000).map(|n| format!("k{n}: 1\n")).collect();
    let huge = "x".repeat(2 << 20);
    for text in [bomb.as_str(), &deep, &keys, &huge, "\u{0}", "cdp: [", "- 1\n", ""] {
        assert!(load_text(text).is_err());
    }
    let refused = load("cdp.yaml", &|_| Ok(b"cdp: \"1\"\nname: \xff\n".to_vec())).unwrap_err();
    assert_eq!((refused.as_slice()[0].line, refused.as_slice()[0].column), (2, 7));
}

#[test]
fn the_published_schema_accepts_what_the_loader_accepts() {
    let schema = json_schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    // The loader's YAML as JSON: every text that is a number is one.
    let good = serde_json::json!({
        "cdp": "1", "name": "shop",
        "envelope": {"event_id": {"type": "uuid"}, "ts": {"type": "timestamp(ms)"}},
        "events": {"viewed": {"doc": "Seen.", "fields": {"stalls": {"type": "optional<array<object>>", "fields": {"at_ms": {"type": "u32"}}}}}},
        "facts": {"views": {"event": "viewed", "where": "stalls is not null"}},
        "metrics": {"views": {"kind": "count", "fact": "views"}, "share": {"kind": "ratio", "numerator": "views", "denominator": {"kind": "count", "event": "viewed"}}},
    });
    if let Some(error) = validator.iter_errors(&good).next() {
        panic!("{}: {error}", error.instance_path());
    }
    for (path, value) in [
        ("/metrics/views/q", serde_json::json!(0.5)),
        ("/metrics/views/kind", serde_json::json!("cuont")),
        ("/events/viewed/fields/stalls/type", serde_json::json!("string?")),
        ("/events/viewed/docs", serde_json::json!("x")),
    ] {
        let mut bad = good.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = value;
        assert!(!validator.is_valid(&bad), "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_makes_the_loader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..SMALL.len()) {
        let _ = load("cdp.yaml", &|_| Ok(bytes.clone()));
        let mut text = SMALL.as_bytes().to_vec();
        let end = (cut + bytes.len()).min(text.len());
        text.splice(cut..end, bytes.iter().copied());
        let _ = load("cdp.yaml", &|_| Ok(text.clone()));
    }
}

#[test]
fn a_field_is_called_in_records_what_its_source_says_and_by_its_name_everywhere_else() {
    let called = "  user_id: {type: optional<string>, source: userId}\n  \
                  seat: {type: object, source: seatInfo, fields: {row: {type: i32, source: rowNo}, \
                  place: {type: i32, source: 'at${X}'}}}\nenums:";
    let loaded = changed("  user_id: {type: optional<string>}\nenums:", called);
    let loaded = loaded.unwrap_or_else(|refused| panic!("{refused}"));
    let given = Given { dead_letter_ddl: |_, _| String::new(), place_columns: &[], dedup_window: 1 };
    let generated = generate(&loaded.catalog, &Lock::default(), given);
    for (file, words) in [
        ("json-schema/viewed/1.0.0.json", "\"userId\""),
        ("json-schema/viewed/1.0.0.json", "\"rowNo\""),
        ("avro/viewed/1.0.0.avsc", "\"userId\""),
        ("typescript/events.ts", "  userId?: string | null;"),
        ("sink/sink.yaml", "        user_id: {path: \"/userId\"}"),
        ("sink/sink.yaml", "        seat__row: {path: \"/seatInfo/rowNo\"}"),
        ("sink/sink.yaml", "        seat__place: {path: \"/seatInfo/at$${X}\"}"),
        ("clickhouse/single/02-events.sql", "`seat__row` Int32"),
    ] {
        let text = generated.text(file).unwrap();
        assert!(text.contains(words), "{words} in {file}: {text}");
    }
    let conflict = Mistake::Conflict;
    mistake(
        (
            "price: {type: \"decimal(12,2)\", unit: USD}",
            "price: {type: \"decimal(12,2)\", unit: USD, source: ts}",
        ),
        conflict,
        &["`ts`"],
    );
    mistake(
        (
            "done: {type: bool, default: false}",
            "done: {type: array<object>, fields: {a: {type: i8, source: A}}}",
        ),
        conflict,
        &["`a` stands in a list"],
    );
}
