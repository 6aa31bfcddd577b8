//! What is called compatible really reads: random values of a writer's schema go through Avro's schema
//! resolution, as the specification tells it, into the reader's.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::cell::Cell;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_oneof};
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};
use tidegate_languages::avro::{AvroSchema, Defaults, NodeId, Shape};

/// A value as a writer wrote it: unions say which branch.
#[derive(Debug, Clone)]
enum Value {
    Plain,
    Symbol(String),
    Items(Vec<Value>),
    Fields(Vec<Value>),
    Branch(usize, Box<Value>),
}

/// Some value of a type, by chance.
fn some(schema: &AvroSchema, id: NodeId, chance: &mut u64, depth: usize) -> Option<Value> {
    *chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let dice = usize::try_from(*chance >> 40).unwrap();
    if depth > 6 {
        return None;
    }
    Some(match &schema.node(id).shape {
        Shape::Array(items) | Shape::Map(items) => {
            let n = dice % 3;
            Value::Items((0..n).filter_map(|_| some(schema, *items, chance, depth + 1)).collect())
        }
        Shape::Union(branches) => {
            let index = dice.checked_rem(branches.len())?;
            Value::Branch(index, Box::new(some(schema, branches[index], chance, depth + 1)?))
        }
        Shape::Record(record) => {
            let fields = record.fields.iter().map(|field| some(schema, field.node, chance, depth + 1));
            Value::Fields(fields.collect::<Option<_>>()?)
        }
        Shape::Enum(symbols) => {
            Value::Symbol(symbols.symbols[dice.checked_rem(symbols.symbols.len())?].clone())
        }
        _ => Value::Plain,
    })
}

struct Reading<'a> {
    reader: &'a AvroSchema,
    writer: &'a AvroSchema,
}

impl Reading<'_> {
    /// Reads a value, by the specification's section on schema resolution.
    fn read(&self, value: &Value, to: NodeId, from: NodeId) -> Result<(), String> {
        let (to_shape, from_shape) = (&self.reader.node(to).shape, &self.writer.node(from).shape);
        match (to_shape, from_shape, value) {
            (_, Shape::Union(branches), Value::Branch(index, inner)) => {
                self.read(inner, to, branches[*index])
            }
            (Shape::Union(branches), _, _) => {
                let fits = |branch: &&NodeId| self.read(value, **branch, from).is_ok();
                branches.iter().find(fits).map(|_| ()).ok_or_else(|| format!("no branch for {value:?}"))
            }
            (Shape::Array(to), Shape::Array(from), Value::Items(items))
            | (Shape::Map(to), Shape::Map(from), Value::Items(items)) => {
                items.iter().try_for_each(|item| self.read(item, *to, *from))
            }
            (Shape::Enum(to), Shape::Enum(from), Value::Symbol(symbol)) => {
                let named = to.name.short() == from.name.short()
                    || to.aliases.iter().any(|alias| alias.full() == from.name.full());
                let known = to.symbols.contains(symbol) || to.default.is_some();
                if named && known { Ok(()) } else { Err(format!("symbol {symbol}")) }
            }
            (Shape::Fixed(to), Shape::Fixed(from), Value::Plain) => {
                let same = to.size == from.size && to.name.short() == from.name.short();
                if same { Ok(()) } else { Err("fixed".to_owned()) }
            }
            (Shape::Record(to), Shape::Record(from), Value::Fields(values)) => {
                if to.name.short() != from.name.short()
                    && to.aliases.iter().all(|alias| alias.full() != from.name.full())
                {
                    return Err("record's name".to_owned());
                }
                to.fields.iter().try_for_each(|field| {
                    let names = |name: &String| *name == field.name || field.aliases.contains(name);
                    match from.fields.iter().position(|other| names(&other.name)) {
                        Some(at) => self.read(&values[at], field.node, from.fields[at].node),
                        None if field.default.is_some() => Ok(()),
                        None => Err(format!("field {}", field.name)),
                    }
                })
            }
            (to, from, Value::Plain) if promotes(from, to) => Ok(()),
            (to, from, value) => Err(format!("{} from {}: {value:?}", to.kind(), from.kind())),
        }
    }
}

fn promotes(from: &Shape, to: &Shape) -> bool {
    let to = to.kind();
    match from {
        Shape::Int => ["int", "long", "float", "double"].contains(&to),
        Shape::Long => ["long", "float", "double"].contains(&to),
        Shape::Float => ["float", "double"].contains(&to),
        Shape::String | Shape::Bytes => ["string", "bytes"].contains(&to),
        other => other.kind() == to && other.name().is_none(),
    }
}

fn schema() -> impl Strategy<Value = Json> {
    let primitive =
        prop::sample::select(vec!["null", "boolean", "int", "long", "float", "double", "bytes", "string"]);
    let symbols = prop::sample::subsequence(vec!["A", "B", "C"], 1..=3);
    let leaf = prop_oneof![
        4 => primitive.prop_map(|name| json!(name)),
        1 => (symbols, any::<bool>()).prop_map(|(symbols, default)| {
            let mut schema = json!({"type": "enum", "name": "E", "symbols": symbols});
            if default {
                schema["default"] = schema["symbols"][0].clone();
            }
            schema
        }),
        1 => (1..3u32).prop_map(|size| json!({"type": "fixed", "name": "F", "size": size})),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let field = ("[abc]", inner.clone(), any::<bool>(), any::<bool>());
        let record = prop::collection::vec(field, 0..3).prop_map(|fields| {
            let fields: Vec<Json> = fields
                .into_iter()
                .map(|(name, kind, default, alias)| {
                    let mut field = json!({"name": name, "type": kind});
                    if default && kind == "int" {
                        field["default"] = json!(1);
                    }
                    if alias {
                        field["aliases"] = json!(["d"]);
                    }
                    field
                })
                .collect();
            json!({"type": "record", "name": "R", "fields": fields})
        });
        prop_oneof![
            record,
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            inner.clone().prop_map(|values| json!({"type": "map", "values": values})),
            inner.prop_map(|branch| json!(["null", branch])),
        ]
    })
}

/// The schema after a change or two that people make.
fn changed(schema: &Json, how: u8) -> Json {
    match schema {
        Json::String(name) if name == "int" && how.is_multiple_of(2) => json!("long"),
        Json::Object(members) => {
            let mut members = members.clone();
            for key in ["items", "values", "type"] {
                if let Some(inner) = members.get(key).filter(|inner| !inner.is_string() || key != "type") {
                    let inner = changed(inner, how);
                    members.insert(key.to_owned(), inner);
                }
            }
            if let Some(Json::Array(fields)) = members.get("fields") {
                let kept = fields.iter().skip(usize::from(how.is_multiple_of(3)));
                let mut fields: Vec<Json> = kept.map(|field| changed(field, how)).collect();
                if how.is_multiple_of(5) {
                    fields.push(json!({"name": "z", "type": "int", "default": 1}));
                }
                members.insert("fields".to_owned(), json!(fields));
            }
            Json::Object(members)
        }
        Json::Array(branches) => Json::Array(branches.iter().map(|branch| changed(branch, how)).collect()),
        other if how.is_multiple_of(7) => json!(["null", other]),
        other => other.clone(),
    }
}

fn pair() -> impl Strategy<Value = (Json, Json)> {
    prop_oneof![
        1 => (schema(), schema()),
        3 => (schema(), any::<u8>()).prop_map(|(old, how)| { let new = changed(&old, how); (old, new) }),
        4 => (schema(), any::<u64>()).prop_map(|(old, chance)| { let new = poked(&old, chance); (old, new) }),
        1 => schema().prop_flat_map(|old| (Just(old.clone()), Just(json!(["null", old])))),
    ]
}

/// The schema with one place changed: what one rule alone decides on.
fn poked(schema: &Json, chance: u64) -> Json {
    fn places(value: &Json) -> u64 {
        let inside: u64 = match value {
            Json::Array(items) => items.iter().map(places).sum(),
            Json::Object(members) => members.values().map(places).sum(),
            _ => 0,
        };
        1 + inside
    }
    fn poke(value: &mut Json, at: &mut u64, dice: usize) -> bool {
        if *at == 0 {
            nudge(value, dice);
            return true;
        }
        *at -= 1;
        match value {
            Json::Array(items) => items.iter_mut().any(|item| poke(item, at, dice)),
            Json::Object(members) => members.values_mut().any(|member| poke(member, at, dice)),
            _ => false,
        }
    }
    let mut poked = schema.clone();
    let mut at = chance % places(schema);
    poke(&mut poked, &mut at, usize::try_from(chance >> 40).unwrap());
    poked
}

/// A type becomes another, a symbol another, a size larger; branches, symbols, fields and defaults come and go.
fn nudge(value: &mut Json, dice: usize) {
    const WORDS: [&str; 7] = ["int", "long", "float", "double", "bytes", "string", "D"];
    match value {
        Json::Number(size) => *value = json!(size.as_u64().unwrap_or(0) + 1),
        Json::String(text) => WORDS[dice % WORDS.len()].clone_into(text),
        Json::Array(items) if dice.is_multiple_of(2) && !items.is_empty() => {
            items.remove(dice / 2 % items.len());
        }
        Json::Array(items) if items.iter().any(|item| item.get("name").is_some()) => {
            items.push(json!({"name": "y", "type": "int"}));
        }
        Json::Array(items) => items.push(json!(WORDS[dice / 2 % WORDS.len()])),
        Json::Object(members) => {
            for name in ["default", "aliases"] {
                members.remove(name);
            }
        }
        Json::Null | Json::Bool(_) => {}
    }
}

#[test]
fn what_is_compatible_reads() {
    let (compatible, incompatible, read) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
    let cases = (pair(), any::<u64>());
    let mut runner = TestRunner::new(ProptestConfig::with_source_file(file!()));
    let ran = runner.run(&cases, |((old, new), mut chance)| {
        let parse = |schema: &Json| AvroSchema::parse(&schema.to_string(), &[], Defaults::Checked);
        // Names defined twice and unions in unions are no schemas.
        let (Ok(writer), Ok(reader)) = (parse(&old), parse(&new)) else { return Ok(()) };
        let Ok(differences) = reader.reads(&writer) else { return Ok(()) };
        if !differences.is_empty() {
            count(&incompatible);
            return Ok(());
        }
        // A schema reads itself: that is no news.
        if old != new {
            count(&compatible);
        }
        for _ in 0..20 {
            let Some(value) = some(&writer, writer.root(), &mut chance, 0) else { continue };
            let result =
                Reading { reader: &reader, writer: &writer }.read(&value, reader.root(), writer.root());
            prop_assert!(result.is_ok(), "{old} -> {new}: {value:?}: {result:?}");
            count(&read);
        }
        Ok(())
    });
    ran.unwrap_or_else(|failed| panic!("{failed}"));
    let counts = (compatible.get(), incompatible.get(), read.get());
    println!("compatible, incompatible, values read: {counts:?}");
    assert!(counts.0 > 20 && counts.1 > 10 && counts.2 > 800, "the test saw too little: {counts:?}");
}
