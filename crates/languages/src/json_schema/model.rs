//! A JSON Schema as what it demands of each kind of value, with its references followed.
//!
//! A schema is a conjunction: every part that says something narrows. What cannot be compared
//! (`if`, `propertyNames`, `contains`, `format`) is left out, as the Confluent registry leaves it out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use indexmap::IndexMap;

use crate::budget::Budget;
use crate::json::Json;
use crate::json_schema::JsonSchemaError;

/// A schema's number in its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(pub(super) usize);

/// One schema.
#[derive(Debug, Clone, Default)]
pub(super) struct Demands {
    /// Nothing is a value.
    pub(super) never: bool,
    /// The names in `type`; absent, every type.
    pub(super) types: Option<BTreeSet<String>>,
    /// The values of `enum`, or the one of `const`, printed.
    pub(super) values: Option<BTreeSet<String>>,
    /// Bounds by keyword.
    pub(super) bounds: BTreeMap<&'static str, f64>,
    pub(super) pattern: Option<String>,
    pub(super) unique_items: bool,
    pub(super) properties: IndexMap<String, Id>,
    pub(super) required: BTreeSet<String>,
    pub(super) pattern_properties: IndexMap<String, Id>,
    pub(super) additional: Option<Id>,
    pub(super) dependent_required: BTreeMap<String, BTreeSet<String>>,
    pub(super) dependent_schemas: BTreeMap<String, Id>,
    /// Schemas of the first items.
    pub(super) tuple: Vec<Id>,
    /// The schema of the items after those.
    pub(super) items: Option<Id>,
    pub(super) all_of: Vec<Id>,
    pub(super) any_of: Vec<Id>,
    pub(super) one_of: Vec<Id>,
    pub(super) not: Option<Id>,
    pub(super) has_default: bool,
    /// The one schema that this one is nothing but: a reference, or a list of one.
    pub(super) alias: Option<Id>,
}

impl Demands {
    /// Whether every value passes.
    pub(super) fn any(&self) -> bool {
        !self.never
            && self.alias.is_none()
            && self.types.is_none()
            && self.values.is_none()
            && self.bounds.is_empty()
            && self.pattern.is_none()
            && !self.unique_items
            && self.properties.is_empty()
            && self.required.is_empty()
            && self.pattern_properties.is_empty()
            && self.additional.is_none()
            && self.dependent_required.is_empty()
            && self.dependent_schemas.is_empty()
            && self.tuple.is_empty()
            && self.items.is_none()
            && self.all_of.is_empty()
            && self.any_of.is_empty()
            && self.one_of.is_empty()
            && self.not.is_none()
    }
}

/// A document and those that it refers to, as demands.
#[derive(Debug, Clone)]
pub(super) struct Model {
    demands: Vec<Demands>,
    pub(super) root: Id,
}

impl Model {
    pub(super) fn get(&self, id: Id) -> &Demands {
        &self.demands[id.0]
    }

    pub(super) fn build(document: &Json, references: &[(String, Json)]) -> Result<Self, JsonSchemaError> {
        let mut builder = Builder {
            documents: Documents::new(document, references),
            demands: Vec::new(),
            at: HashMap::new(),
            budget: Rc::default(),
        };
        let root = builder.schema(0, document)?;
        Ok(Self { demands: builder.demands, root })
    }
}

/// The documents, with every place that a reference may name.
struct Documents<'a> {
    all: Vec<&'a Json>,
    /// Document by name or `$id`.
    names: HashMap<String, usize>,
    /// Schemas by `$id` or `$anchor`, of each document.
    anchors: HashMap<(usize, String), &'a Json>,
}

impl<'a> Documents<'a> {
    fn new(document: &'a Json, references: &'a [(String, Json)]) -> Self {
        let all: Vec<&Json> =
            std::iter::once(document).chain(references.iter().map(|(_, json)| json)).collect();
        let mut found = Self { all: all.clone(), names: HashMap::new(), anchors: HashMap::new() };
        for (index, (name, _)) in references.iter().enumerate() {
            found.names.insert(name.clone(), index + 1);
        }
        for (index, json) in all.into_iter().enumerate() {
            for keyword in ["$id", "id"] {
                if let Some(id) = json.get(keyword).and_then(Json::as_str) {
                    found.names.entry(id.trim_end_matches('#').to_owned()).or_insert(index);
                }
            }
            found.collect(index, json);
        }
        found
    }

    fn collect(&mut self, document: usize, json: &'a Json) {
        match json {
            Json::Object(members) => {
                for keyword in ["$id", "id", "$anchor"] {
                    if let Some(id) = members.get(keyword).and_then(Json::as_str) {
                        let anchor = id.rsplit('#').next().unwrap_or_default();
                        self.anchors.entry((document, anchor.to_owned())).or_insert(json);
                        self.anchors.entry((document, id.to_owned())).or_insert(json);
                    }
                }
                members.values().for_each(|value| self.collect(document, value));
            }
            Json::Array(items) => items.iter().for_each(|item| self.collect(document, item)),
            _ => {}
        }
    }

    fn find(&self, from: usize, reference: &str) -> Option<(usize, &'a Json)> {
        let (name, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let document = match name {
            "" => from,
            name => match self.names.get(name).or_else(|| self.relative(name)) {
                Some(document) => *document,
                None => return self.anchors.get(&(from, reference.to_owned())).map(|json| (from, *json)),
            },
        };
        let json = self.all[document];
        if fragment.is_empty() {
            return Some((document, json));
        }
        let found = match fragment.strip_prefix('/') {
            Some(pointer) => point(json, pointer),
            None => self.anchors.get(&(document, fragment.to_owned())).copied(),
        };
        found.map(|json| (document, json))
    }

    /// A name relative to a document's `$id`, or with `./` before it.
    fn relative(&self, name: &str) -> Option<&usize> {
        let short = name.strip_prefix("./").unwrap_or(name);
        let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        self.names.get(short).or_else(|| {
            let mut matching = self.names.iter().filter(|(known, _)| last(known) == last(short));
            let found = matching.next();
            found.filter(|_| matching.next().is_none()).map(|(_, document)| document)
        })
    }
}

fn point<'a>(json: &'a Json, pointer: &str) -> Option<&'a Json> {
    pointer.split('/').try_fold(json, |json, token| {
        let token = token.replace("%25", "%").replace("%22", "\"").replace("%20", " ");
        let token = token.replace("~1", "/").replace("~0", "~");
        match json {
            Json::Object(members) => members.get(&token),
            Json::Array(items) => items.get(token.parse::<usize>().ok()?),
            _ => None,
        }
    })
}

const LOWER: [&str; 7] =
    ["minLength", "minProperties", "minItems", "minimum", "exclusiveMinimum", "minContains", "multipleOf"];
const UPPER: [&str; 6] =
    ["maxLength", "maxProperties", "maxItems", "maximum", "exclusiveMaximum", "maxContains"];

struct Builder<'a> {
    documents: Documents<'a>,
    demands: Vec<Demands>,
    /// Schemas that were met, by their address: a recursive one is met again.
    at: HashMap<*const Json, Id>,
    budget: Rc<Budget>,
}

impl<'a> Builder<'a> {
    fn schema(&mut self, document: usize, json: &'a Json) -> Result<Id, JsonSchemaError> {
        if let Some(known) = self.at.get(&std::ptr::from_ref(json)) {
            return Ok(*known);
        }
        let id = Id(self.demands.len());
        self.demands.push(Demands::default());
        self.at.insert(std::ptr::from_ref(json), id);
        let budget = Rc::clone(&self.budget);
        let demands = budget.deeper(|| self.demands_of(document, json))?;
        self.demands[id.0] = demands;
        Ok(id)
    }

    fn demands_of(&mut self, document: usize, json: &'a Json) -> Result<Demands, JsonSchemaError> {
        let mut demands = Demands { never: *json == Json::Bool(false), ..Demands::default() };
        demands.has_default = json.get("default").is_some();
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let Some(reference) = json.get(keyword).and_then(Json::as_str) else { continue };
            // The drafts' own schemas: what they demand of a schema says little about an event.
            if reference.contains("json-schema.org/draft") {
                continue;
            }
            let found = self.documents.find(document, reference);
            let (of, target) =
                found.ok_or_else(|| JsonSchemaError::Unresolved { reference: reference.to_owned() })?;
            let target = self.schema(of, target)?;
            demands.all_of.push(target);
        }
        for (keyword, into) in [("allOf", 0), ("anyOf", 1), ("oneOf", 2)] {
            let branches = json.get(keyword).and_then(Json::as_array).unwrap_or_default();
            for branch in branches {
                let branch = self.schema(document, branch)?;
                match into {
                    0 => demands.all_of.push(branch),
                    1 => demands.any_of.push(branch),
                    _ => demands.one_of.push(branch),
                }
            }
        }
        demands.not = self.child(document, json, "not")?;
        leaf(json, &mut demands);
        self.object(document, json, &mut demands)?;
        self.array(document, json, &mut demands)?;
        demands.alias = alias(&mut demands);
        Ok(demands)
    }

    fn child(
        &mut self,
        document: usize,
        json: &'a Json,
        keyword: &str,
    ) -> Result<Option<Id>, JsonSchemaError> {
        match json.get(keyword) {
            Some(child @ (Json::Object(_) | Json::Bool(_))) => self.schema(document, child).map(Some),
            _ => Ok(None),
        }
    }

    fn object(
        &mut self,
        document: usize,
        json: &'a Json,
        demands: &mut Demands,
    ) -> Result<(), JsonSchemaError> {
        for (name, schema) in json.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let schema = self.schema(document, schema)?;
            demands.properties.insert(name.clone(), schema);
        }
        for (name, schema) in json.get("patternProperties").and_then(Json::as_object).into_iter().flatten() {
            let schema = self.schema(document, schema)?;
            demands.pattern_properties.insert(name.clone(), schema);
        }
        demands.required = texts(json.get("required"));
        let additional = self.child(document, json, "additionalProperties")?;
        let unevaluated = self.child(document, json, "unevaluatedProperties")?;
        demands.additional = additional.or(unevaluated).filter(|id| !self.demands[id.0].any());
        for keyword in ["dependencies", "dependentRequired", "dependentSchemas"] {
            for (name, dependent) in json.get(keyword).and_then(Json::as_object).into_iter().flatten() {
                if dependent.as_array().is_some() {
                    demands.dependent_required.insert(name.clone(), texts(Some(dependent)));
                } else {
                    let schema = self.schema(document, dependent)?;
                    demands.dependent_schemas.insert(name.clone(), schema);
                }
            }
        }
        Ok(())
    }

    fn array(
        &mut self,
        document: usize,
        json: &'a Json,
        demands: &mut Demands,
    ) -> Result<(), JsonSchemaError> {
        let tuple = json.get("prefixItems").or_else(|| json.get("items")).and_then(Json::as_array);
        for item in tuple.unwrap_or_default() {
            demands.tuple.push(self.schema(document, item)?);
        }
        let rest = match self.child(document, json, "items")? {
            Some(items) => Some(items),
            None if !demands.tuple.is_empty() => self.child(document, json, "additionalItems")?,
            None => None,
        };
        let rest = rest.or(self.child(document, json, "unevaluatedItems")?);
        demands.items = rest.filter(|id| !self.demands[id.0].any());
        Ok(())
    }
}

fn alias(demands: &mut Demands) -> Option<Id> {
    if demands.all_of.len() + demands.any_of.len() + demands.one_of.len() != 1 {
        return None;
    }
    let lists = [&mut demands.all_of, &mut demands.any_of, &mut demands.one_of];
    let list = lists.into_iter().find(|list| list.len() == 1)?;
    let taken = std::mem::take(list);
    let nothing_else = demands.any();
    let only = taken.first().copied();
    match (nothing_else, only) {
        (true, _) => only,
        // It says more: the list stays.
        (false, _) => {
            demands.all_of.extend(taken);
            None
        }
    }
}

/// What says something about values by itself.
fn leaf(json: &Json, demands: &mut Demands) {
    demands.types = match json.get("type") {
        Some(Json::String(name)) => Some(BTreeSet::from([name.clone()])),
        Some(names @ Json::Array(_)) => Some(texts(Some(names))),
        _ => None,
    };
    let values = match (json.get("const"), json.get("enum").and_then(Json::as_array)) {
        (Some(one), _) => Some(BTreeSet::from([one.sorted().to_string()])),
        (None, Some(several)) => Some(several.iter().map(|one| one.sorted().to_string()).collect()),
        (None, None) => None,
    };
    demands.values = values;
    for keyword in LOWER.into_iter().chain(UPPER) {
        if let Some(bound) = json.get(keyword).and_then(Json::as_f64) {
            demands.bounds.insert(keyword, bound);
        }
    }
    // Draft 4 says with a boolean that a bound is exclusive.
    for (flag, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if json.get(flag) == Some(&Json::Bool(true))
            && let Some(value) = demands.bounds.remove(bound)
        {
            demands.bounds.insert(flag, value);
        }
    }
    demands.pattern = json.get("pattern").and_then(Json::as_str).map(str::to_owned);
    demands.unique_items = json.get("uniqueItems") == Some(&Json::Bool(true));
}

fn texts(json: Option<&Json>) -> BTreeSet<String> {
    let items = json.and_then(Json::as_array).unwrap_or_default();
    items.iter().filter_map(Json::as_str).map(str::to_owned).collect()
}
