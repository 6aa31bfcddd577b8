//! JSON Schema: the stored text, the rules of comparison, and that what is called compatible reads.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::cell::Cell;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_oneof};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tidegate_languages::json_schema::JsonSchema;
use tidegate_languages::{Age, Policy, Referenced};

fn parse(schema: &Value) -> JsonSchema {
    JsonSchema::parse(&schema.to_string(), &[]).unwrap_or_else(|error| panic!("{schema}: {error}"))
}

/// The rules that `new` breaks for values of `old`.
fn breaks(old: &Value, new: &Value, policy: Policy) -> Vec<&'static str> {
    parse(new).reads(&parse(old), policy).unwrap().iter().map(|one| one.rule).collect()
}

#[track_caller]
fn fine(old: Value, new: Value) {
    assert_eq!(breaks(&old, &new, Policy::Strict), Vec::<&str>::new(), "{old} -> {new}");
}

#[track_caller]
fn broken(old: Value, new: Value, rule: &str) {
    assert_eq!(breaks(&old, &new, Policy::Strict), [rule], "{old} -> {new}");
}

#[test]
fn the_stored_text_keeps_order_and_exact_numbers() {
    let text = "{ \"type\" : \"number\",\n \"maximum\": 1.50e3, \"a\": [ 1 , true ] }";
    let schema = JsonSchema::parse(text, &[]).unwrap();
    assert_eq!(schema.canonical(), r#"{"type":"number","maximum":1.50E+3,"a":[1,true]}"#);
    assert_eq!(schema.normalized(), r#"{"a":[1,true],"maximum":1.50E+3,"type":"number"}"#);
}

#[test]
fn what_a_draft_does_not_allow_is_refused_with_its_place() {
    let refuse = |schema: Value| JsonSchema::parse(&schema.to_string(), &[]).unwrap_err().to_string();
    assert!(refuse(json!({"properties": {"a": {"type": "text"}}})).contains("/properties/a/type"));
    assert!(refuse(json!({"$ref": "#/definitions/x"})).contains("#/definitions/x"));
    assert!(refuse(json!({"$ref": "http://example.com/x.json"})).contains("references"));
    assert!(refuse(json!([1])).contains("an array"));
    parse(
        &json!({"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 1, "exclusiveMaximum": true}),
    );
    parse(&json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [true]}));
}

#[test]
fn references_lead_into_other_documents_and_back() {
    let other = Referenced {
        name: "a.json".to_owned(),
        text: json!({"definitions": {"n": {"type": "integer"}}}).to_string(),
    };
    let old = json!({"properties": {"x": {"$ref": "a.json#/definitions/n"}}});
    let old = JsonSchema::parse(&old.to_string(), std::slice::from_ref(&other)).unwrap();
    let new = JsonSchema::parse(r#"{"properties":{"x":{"type":"string"}}}"#, &[]).unwrap();
    assert_eq!(new.reads(&old, Policy::Strict).unwrap()[0].rule, "TYPE_CHANGED");
    let list = json!({"definitions": {"l": {"properties": {"next": {"$ref": "#/definitions/l"}}}}, "$ref": "#/definitions/l"});
    fine(list.clone(), list);
}

#[test]
fn bounds_types_and_values_may_only_get_wider() {
    fine(json!({"type": "integer"}), json!({"type": "number"}));
    fine(json!({"type": "string"}), json!({"type": ["string", "null"]}));
    fine(json!({"type": "string", "maxLength": 3}), json!({"type": "string", "maxLength": 4}));
    fine(json!({"enum": [1, 2]}), json!({"enum": [2, 1, 3]}));
    fine(json!({"type": "string"}), json!({}));
    fine(json!(false), json!({"type": "string"}));
    fine(json!({"multipleOf": 4}), json!({"multipleOf": 2}));
    broken(json!({"type": "number"}), json!({"type": "integer"}), "TYPE_NARROWED");
    broken(json!({"type": "string"}), json!({"type": "integer"}), "TYPE_CHANGED");
    broken(json!({"maxLength": 4}), json!({"maxLength": 3}), "MAX_LENGTH_DECREASED");
    broken(json!({}), json!({"minLength": 1}), "MIN_LENGTH_ADDED");
    broken(json!({"minimum": 1}), json!({"minimum": 2}), "MINIMUM_INCREASED");
    broken(json!({"pattern": "a"}), json!({"pattern": "b"}), "PATTERN_CHANGED");
    broken(json!({"enum": [1, 2]}), json!({"enum": [1]}), "ENUM_ARRAY_NARROWED");
    fine(json!({"enum": [1, null]}), json!({"type": ["number", "null"]}));
    broken(json!({"enum": [null]}), json!({"type": "boolean"}), "TYPE_CHANGED");
    broken(json!({"items": {"type": "string"}}), json!({"items": {"type": "null"}}), "TYPE_CHANGED");
}

#[test]
fn properties_follow_the_content_model() {
    let open = |properties: Value| json!({"type": "object", "properties": properties});
    let closed = |properties: Value| json!({"type": "object", "properties": properties, "additionalProperties": false});
    let added = json!({"a": {"type": "string"}});
    broken(open(json!({})), open(added.clone()), "OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL");
    assert_eq!(breaks(&open(json!({})), &open(added.clone()), Policy::Lenient), Vec::<&str>::new());
    fine(open(json!({})), open(json!({"a": {}})));
    fine(open(added.clone()), open(json!({})));
    fine(closed(json!({})), closed(added.clone()));
    fine(closed(added.clone()), open(added.clone()));
    broken(closed(added.clone()), closed(json!({})), "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL");
    broken(open(added.clone()), closed(added.clone()), "ADDITIONAL_PROPERTIES_REMOVED");
    let partial = |kind: &str| json!({"additionalProperties": {"type": kind}});
    let of_strings = json!({"properties": added, "additionalProperties": {"type": "string"}});
    fine(partial("string"), of_strings.clone());
    let old = partial("integer");
    assert!(
        breaks(&old, &of_strings, Policy::Strict)
            .contains(&"PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL")
    );
    let required = json!({"properties": {"a": {}}, "required": ["a"]});
    broken(json!({"properties": {"a": {}}}), required, "REQUIRED_ATTRIBUTE_ADDED");
    // What a pattern let in falls to the rule for the others, once it is gone.
    let patterned = |additional: Value| json!({"patternProperties": {"^a": {"type": "null"}}, "additionalProperties": additional});
    broken(patterned(json!(false)), json!({"additionalProperties": false}), "ADDITIONAL_PROPERTIES_REMOVED");
    broken(
        patterned(json!({"type": "string"})),
        json!({"additionalProperties": {"type": "string"}}),
        "TYPE_CHANGED",
    );
    fine(patterned(json!({"type": "null"})), json!({"additionalProperties": {"type": "null"}}));
}

#[test]
fn combined_schemas_are_matched() {
    let s = json!({"type": "string"});
    let i = json!({"type": "integer"});
    let n = json!({"type": "number"});
    fine(json!({"anyOf": [s, i]}), json!({"anyOf": [n, s]}));
    fine(json!({"oneOf": [s, i]}), json!({"anyOf": [i, s, n]}));
    fine(s.clone(), json!({"anyOf": [i, s]}));
    fine(json!({"allOf": [s, {"maxLength": 3}]}), s.clone());
    broken(json!({"anyOf": [s, i]}), json!({"anyOf": [s]}), "TYPE_CHANGED");
    broken(json!({"oneOf": [s, i, n]}), json!({"oneOf": [s, i]}), "SUM_TYPE_NARROWED");
    broken(json!({"anyOf": [s, n]}), json!({"anyOf": [s, i]}), "COMBINED_TYPE_SUBSCHEMAS_CHANGED");
    broken(
        json!({"allOf": [s, {"minLength": 1}]}),
        json!({"allOf": [s, {"minLength": 1}, {"maxLength": 2}]}),
        "PRODUCT_TYPE_EXTENDED",
    );
    fine(json!({"not": n}), json!({"not": i}));
    broken(json!({"not": i}), json!({"not": n}), "NOT_TYPE_EXTENDED");
}

#[test]
fn a_difference_says_what_would_help() {
    let found =
        parse(&json!({"properties": {"a": {"type": "string"}}})).reads(&parse(&json!({})), Policy::Strict);
    let found = &found.unwrap()[0];
    assert_eq!(found.path, "#/properties/a");
    assert!(found.explanation().contains("LENIENT"), "{}", found.explanation());
    let message = found.confluent_message(Age::New);
    assert!(
        message.starts_with("{errorType:\"OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL\", description:\""),
        "{message}"
    );
}

#[test]
fn recursive_and_doubling_schemas_end_soon() {
    let mut definitions = serde_json::Map::new();
    for n in 0..60 {
        let next = format!("#/definitions/d{}", (n + 1) % 60);
        let branches: Vec<Value> = (0..4)
            .map(|k| json!({"properties": {format!("p{k}"): {"$ref": next}}, "maxProperties": k + 3}))
            .collect();
        definitions.insert(format!("d{n}"), json!({"oneOf": branches}));
    }
    let chain: serde_json::Map<_, _> = (0..20_000)
        .map(|n| (format!("d{n}"), json!({"$ref": format!("#/definitions/d{}", n + 1)})))
        .chain([("d20000".to_owned(), json!({}))])
        .collect();
    let chain = json!({"definitions": chain, "$ref": "#/definitions/d0"}).to_string();
    assert!(JsonSchema::parse(&chain, &[]).unwrap_err().to_string().contains("too complex"));
    let old = json!({"definitions": definitions, "$ref": "#/definitions/d0"});
    let mut new = old.clone();
    new["definitions"]["d59"]["oneOf"][0]["maxProperties"] = json!(1);
    // Whatever it comes to, it comes to it.
    drop(parse(&new).reads(&parse(&old), Policy::Strict));
}

#[test]
fn bounds_beyond_all_numbers_are_as_wide_as_themselves() {
    for bound in ["multipleOf", "minimum", "maximum", "exclusiveMaximum"] {
        let schema = JsonSchema::parse(&format!("{{\"{bound}\":1e999}}"), &[]).unwrap();
        assert_eq!(schema.reads(&schema, Policy::Strict).unwrap(), [], "{bound}");
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!(true)),
        Just(json!(false)),
        Just(json!({"type": "null"})),
        Just(json!({"type": "boolean"})),
        (0..4i64, 4..9i64)
            .prop_map(|(low, high)| json!({"type": "integer", "minimum": low, "maximum": high})),
        (0..3i64).prop_map(|high| json!({"type": "number", "exclusiveMaximum": high})),
        (1..5i64).prop_map(|factor| json!({"type": "integer", "multipleOf": factor})),
        (0..3u32, 3..5u32)
            .prop_map(|(low, high)| json!({"type": "string", "minLength": low, "maxLength": high})),
        prop::sample::select(vec!["a", "^a", "b$"]).prop_map(|pattern| json!({"pattern": pattern})),
        Just(json!({"type": ["integer", "string"]})),
        prop::sample::select(vec![json!(1), json!("a"), json!(null)])
            .prop_map(|value| json!({"const": value})),
        prop::sample::subsequence(vec![json!(1), json!("a"), json!(null)], 1..3)
            .prop_map(|values| json!({"enum": values})),
    ]
}

fn object(inner: impl Strategy<Value = Value> + Clone + 'static) -> impl Strategy<Value = Value> {
    let names = prop::collection::btree_map("[ab]", inner.clone(), 0..3);
    let model = prop_oneof![
        2 => Just(None),
        2 => Just(Some(json!(false))),
        1 => inner.clone().prop_map(Some),
    ];
    let patterns = prop::option::weighted(0.2, (prop::sample::select(vec!["^a", "c"]), inner));
    let required = prop::sample::subsequence(vec!["a", "b"], 0..2);
    let more = (prop::option::weighted(0.2, 0..3u32), prop::option::weighted(0.2, 1..3u32), any::<bool>());
    (names, model, patterns, required, more).prop_map(|(properties, model, patterns, required, more)| {
        let mut schema = json!({"properties": properties, "required": required});
        if let Some(model) = model {
            schema["additionalProperties"] = model;
        }
        if let Some((pattern, inner)) = patterns {
            schema["patternProperties"] = json!({pattern: inner});
        }
        let (least, most, typed) = more;
        if let Some(least) = least {
            schema["minProperties"] = json!(least);
            schema["dependencies"] = json!({"a": ["b"]});
        }
        if let Some(most) = most {
            schema["maxProperties"] = json!(most);
        }
        if typed {
            schema["type"] = json!("object");
        }
        schema
    })
}

fn array(inner: impl Strategy<Value = Value> + Clone + 'static) -> impl Strategy<Value = Value> {
    let items = prop_oneof![
        inner.clone().prop_map(|items| json!({"items": items})),
        (prop::collection::vec(inner.clone(), 1..3), prop::option::of(inner)).prop_map(|(items, more)| {
            let mut schema = json!({"items": items});
            if let Some(more) = more {
                schema["additionalItems"] = more;
            }
            schema
        }),
    ];
    (items, prop::option::of(0..3u32), prop::option::of(0..2u32), any::<bool>(), any::<bool>()).prop_map(
        |(mut schema, most, least, unique, typed)| {
            if let Some(most) = most {
                schema["maxItems"] = json!(most);
            }
            if let Some(least) = least {
                schema["minItems"] = json!(least);
            }
            if unique {
                schema["uniqueItems"] = json!(true);
            }
            if typed {
                schema["type"] = json!("array");
            }
            schema
        },
    )
}

fn schema() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(2, 12, 3, |inner| {
        let some = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            3 => object(inner.clone()),
            2 => array(inner.clone()),
            1 => some.clone().prop_map(|branches| json!({"anyOf": branches})),
            1 => some.prop_map(|branches| json!({"allOf": branches})),
            1 => inner.prop_map(|inner| json!({"not": inner})),
        ]
    })
}

/// Two schemas, one often made of the other: most of any two have nothing to do with each other.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    (schema(), schema(), 0..16u8, any::<u64>()).prop_map(|(old, other, how, chance)| {
        let mut chance = chance;
        let new = match how {
            0 => other,
            1 => json!({"anyOf": [old, other]}),
            2 => return (json!({"allOf": [old, other]}), other),
            3 => return (json!({"not": old}), json!({"not": changed(&old, &other, &mut chance)})),
            4..8 => changed(&old, &other, &mut chance),
            _ => poked(&old, &other, chance),
        };
        (old, new)
    })
}

/// The schema with one place changed: what one rule alone decides on.
fn poked(schema: &Value, other: &Value, chance: u64) -> Value {
    fn places(value: &Value) -> u64 {
        let inside: u64 = match value {
            Value::Array(items) => items.iter().map(places).sum(),
            Value::Object(members) => members.values().map(places).sum(),
            _ => 0,
        };
        1 + inside
    }
    fn poke(value: &mut Value, at: &mut u64, (other, dice): (&Value, usize)) -> bool {
        if *at == 0 {
            nudge(value, other, dice);
            return true;
        }
        *at -= 1;
        match value {
            Value::Array(items) => items.iter_mut().any(|item| poke(item, at, (other, dice))),
            Value::Object(members) => members.values_mut().any(|member| poke(member, at, (other, dice))),
            _ => false,
        }
    }
    let mut poked = schema.clone();
    let mut at = chance % places(schema);
    poke(&mut poked, &mut at, (other, usize::try_from(chance >> 40).unwrap()));
    poked
}

fn nudge(value: &mut Value, other: &Value, dice: usize) {
    const WORDS: [&str; 7] = ["integer", "number", "string", "null", "object", "a", "^a"];
    match value {
        Value::Null => *value = json!(1),
        Value::Bool(is) => *is = !*is,
        Value::Number(number) => {
            let by = [-1, 1, number.as_i64().unwrap_or(1)][dice % 3];
            *value = json!((number.as_i64().unwrap_or(0) + by).max(0));
        }
        Value::String(text) => WORDS[dice % WORDS.len()].clone_into(text),
        Value::Array(items) if dice.is_multiple_of(2) && !items.is_empty() => {
            items.remove(dice / 2 % items.len());
        }
        Value::Array(items) => items.push(other.clone()),
        Value::Object(members) => match (members.keys().nth(dice / 4 % members.len().max(1)), other) {
            (Some(name), _) if !dice.is_multiple_of(4) => {
                let name = name.clone();
                members.remove(&name);
            }
            (_, Value::Object(more)) => members.extend(more.clone()),
            (_, other) => *value = other.clone(),
        },
    }
}

/// The schema after a few changes: keywords go, numbers move, parts become another schema or more of them.
fn changed(schema: &Value, other: &Value, chance: &mut u64) -> Value {
    *chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let dice = (*chance >> 33) % 20;
    match schema {
        Value::Object(_) if dice == 0 => other.clone(),
        Value::Object(members) => {
            let mut kept = serde_json::Map::new();
            for (name, value) in members {
                let value = changed(value, other, chance);
                if !(*chance >> 40).is_multiple_of(9) {
                    kept.insert(name.clone(), value);
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| changed(item, other, chance)).collect();
            if dice == 1
                && items.iter().all(|item| item.is_object() || item.is_boolean())
                && !items.is_empty()
            {
                items.push(other.clone());
            }
            if dice == 2 && items.len() > 1 {
                items.pop();
            }
            Value::Array(items)
        }
        Value::Number(number) if dice < 6 => match number.as_i64() {
            Some(number) if dice < 3 => json!((number - 1).max(1)),
            Some(number) => json!(number + 1),
            None => schema.clone(),
        },
        leaf => leaf.clone(),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-1..9i64).prop_map(Value::from),
        Just(json!(0.5)),
        "[ab]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::btree_map("[abc]", inner.clone(), 0..3).prop_map(|members| json!(members)),
            prop::collection::vec(inner, 0..3).prop_map(|items| json!(items)),
        ]
    })
}

/// `jsonschema` is the judge: a value of the old schema is one of a new schema that may follow it.
#[test]
fn values_of_a_schema_are_values_of_one_that_may_follow() {
    let (compatible, incompatible, read) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
    let cases = (pair(), prop::collection::vec(value(), 40));
    let mut runner = TestRunner::new(ProptestConfig::with_source_file(file!()));
    let ran = runner.run(&cases, |((old, new), values)| {
        // What a change made of a schema need not be one.
        let parse = |schema: &Value| JsonSchema::parse(&schema.to_string(), &[]).ok();
        let (Some(writer), Some(reader)) = (parse(&old), parse(&new)) else { return Ok(()) };
        if !reader.reads(&writer, Policy::Strict).unwrap().is_empty() {
            count(&incompatible);
            return Ok(());
        }
        // A schema reads itself: that is no news.
        if old != new {
            count(&compatible);
        }
        let judge = |schema: &Value| jsonschema::draft7::new(schema).unwrap();
        let (before, after) = (judge(&old), judge(&new));
        for value in values.iter().filter(|value| before.is_valid(value)) {
            prop_assert!(after.is_valid(value), "{old} -> {new}: {value}");
            count(&read);
        }
        Ok(())
    });
    ran.unwrap_or_else(|failed| panic!("{failed}"));
    let counts = (compatible.get(), incompatible.get(), read.get());
    println!("compatible, incompatible, values read: {counts:?}");
    assert!(counts.0 > 20 && counts.1 > 10 && counts.2 > 200, "the test saw too little: {counts:?}");
}

/// Schemas of one keyword or two, all of which are compared with all others.
fn small() -> Vec<Value> {
    let mut all = vec![
        json!(true),
        json!(false),
        json!({}),
        json!({"uniqueItems": true}),
        json!({"minLength": 1, "type": "string"}),
    ];
    let bounds = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    ];
    all.extend(bounds.iter().flat_map(|bound| (0..4).map(move |n| json!({*bound: n}))));
    all.extend((1..5).map(|factor| json!({"multipleOf": factor})));
    all.extend(["a", "^a", "b$"].map(|pattern| json!({"pattern": pattern})));
    let types = [
        json!("integer"),
        json!("number"),
        json!("string"),
        json!("null"),
        json!("array"),
        json!("object"),
        json!(["integer", "string"]),
    ];
    all.extend(types.map(|types| json!({"type": types})));
    all.extend([json!([1]), json!([1, "a"]), json!(["a", null])].map(|values| json!({"enum": values})));
    all.extend([json!(1), json!("a")].map(|value| json!({"const": value})));
    all.extend([json!(["a"]), json!(["b"]), json!(["a", "b"])].map(|names| json!({"required": names})));
    all.extend([json!(["b"]), json!(["b", "c"])].map(|names| json!({"dependencies": {"a": names}})));
    for a in [json!({}), json!(false), json!({"type": "integer"})] {
        for more in [json!(true), json!(false), json!({"type": "string"})] {
            all.push(json!({"properties": {"a": a}, "additionalProperties": more}));
            all.push(json!({"items": [a], "additionalItems": more}));
        }
        all.push(json!({"items": a}));
        all.push(json!({"not": a}));
        all.push(json!({"anyOf": [a, {"type": "string"}]}));
        all.push(json!({"allOf": [a, {"minimum": 1}]}));
    }
    all
}

/// Values that schemas of [`small`] tell apart.
fn telling() -> Vec<Value> {
    let objects = [
        json!({}),
        json!({"a": 1}),
        json!({"a": "x"}),
        json!({"b": "x"}),
        json!({"a": 1, "b": 2}),
        json!({"a": 1, "b": "x", "c": null}),
    ];
    let arrays = [
        json!([]),
        json!([1]),
        json!(["x"]),
        json!([1, 1]),
        json!([1, "x"]),
        json!([null, 2, "x"]),
        json!([1, "x", "y"]),
    ];
    let texts = ["", "a", "b", "ab", "ba", "abab", "cc"].map(Value::from);
    let numbers = [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 12.0];
    let numbers =
        numbers.map(|number: f64| if number.fract() == 0.0 { json!(number as i64) } else { json!(number) });
    [Value::Null, json!(true)].into_iter().chain(objects).chain(arrays).chain(texts).chain(numbers).collect()
}

#[test]
fn every_small_schema_that_may_follow_takes_the_values_of_the_one_before() {
    let values = telling();
    let schemas: Vec<(Value, JsonSchema, Vec<bool>)> = small()
        .into_iter()
        .map(|schema| {
            let judge = jsonschema::draft7::new(&schema).unwrap();
            let valid = values.iter().map(|value| judge.is_valid(value)).collect();
            let parsed = parse(&schema);
            (schema, parsed, valid)
        })
        .collect();
    let (mut n_compatible, mut n_incompatible, mut n_strict) = (0, 0, 0);
    for (old, writer, before) in &schemas {
        for (new, reader, after) in &schemas {
            let lost = before.iter().zip(after).position(|(before, after)| *before && !after);
            if reader.reads(writer, Policy::Strict).unwrap().is_empty() {
                n_compatible += 1;
                assert_eq!(lost.map(|at| &values[at]), None, "{old} -> {new}");
            } else {
                n_incompatible += 1;
                n_strict += u32::from(lost.is_none());
            }
        }
    }
    println!(
        "compatible, incompatible, of those without a value that shows it: {n_compatible}, {n_incompatible}, {n_strict}"
    );
    assert!(n_compatible > 500 && n_incompatible > 3_000, "{n_compatible}, {n_incompatible}");
}
