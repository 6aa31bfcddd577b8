//! Whether values of an old schema are values of a new one, by the Confluent registry's rules.
//!
//! What is not known to be compatible is incompatible. A pair that is being looked at counts as
//! compatible until it is proven not to be.

mod objects;

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::budget::{Budget, TooComplex};
use crate::incompatibility::Incompatibility;
use crate::json_schema::model::{Demands, Id, Model};
use crate::language::Policy;

pub(super) type Found = Result<Rc<Vec<Incompatibility>>, TooComplex>;

pub(super) fn check(
    reader: &Model,
    writer: &Model,
    policy: Policy,
) -> Result<Vec<Incompatibility>, TooComplex> {
    let budget = Budget::default();
    let mut check = Check { old: writer, new: reader, policy, budget: &budget, known: HashMap::new() };
    Ok(check.pair("#", writer.root, reader.root)?.as_ref().clone())
}

pub(super) struct Check<'a> {
    old: &'a Model,
    new: &'a Model,
    policy: Policy,
    budget: &'a Budget,
    known: HashMap<(Id, Id), Option<Rc<Vec<Incompatibility>>>>,
}

impl<'a> Check<'a> {
    pub(super) fn pair(&mut self, path: &str, old: Id, new: Id) -> Found {
        self.budget.take(1 + path.len() / 64)?;
        if let Some(known) = self.known.get(&(old, new)) {
            return Ok(known.clone().unwrap_or_default());
        }
        self.known.insert((old, new), None);
        let budget = self.budget;
        let found = Rc::new(budget.deeper(|| self.compare(path, old, new))?);
        self.budget.take(found.len())?;
        self.known.insert((old, new), Some(Rc::clone(&found)));
        Ok(found)
    }

    fn fits(&mut self, path: &str, old: Id, new: Id) -> Result<bool, TooComplex> {
        Ok(self.pair(path, old, new)?.is_empty())
    }

    fn compare(&mut self, path: &str, old_id: Id, new_id: Id) -> Result<Vec<Incompatibility>, TooComplex> {
        let (old, new) = (self.old.get(old_id), self.new.get(new_id));
        if old.never || new.any() {
            return Ok(Vec::new());
        }
        if new.never {
            return Ok(vec![differs("TYPE_CHANGED", path, ("some values", "none at all"))]);
        }
        // A reference, and a list of one: what it leads to.
        if let Some(old) = old.alias {
            return Ok(self.pair(path, old, new_id)?.as_ref().clone());
        }
        if let Some(new) = new.alias {
            return Ok(self.pair(path, old_id, new)?.as_ref().clone());
        }
        let mut found = Vec::new();
        types(path, old, new, &mut found);
        values(path, old, new, &mut found);
        bounds(path, old, new, &mut found);
        self.objects(path, old, new, &mut found)?;
        self.arrays(path, old, new, &mut found)?;
        self.combined(path, old_id, new_id, &mut found)?;
        self.negated(path, old, new, &mut found)?;
        if found.is_empty() {
            return Ok(found);
        }
        // Each part of an `allOf` holds of every old value: one that fits is enough.
        for branch in &old.all_of {
            if self.fits(path, *branch, new_id)? {
                return Ok(Vec::new());
            }
        }
        Ok(found)
    }

    fn combined(
        &mut self,
        path: &str,
        old_id: Id,
        new_id: Id,
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), TooComplex> {
        let (old, new) = (self.old.get(old_id), self.new.get(new_id));
        if !new.all_of.is_empty() {
            let place = format!("{path}/allOf");
            let matched = self.matching(&place, &old.all_of, &new.all_of)?;
            if matched < new.all_of.len() {
                let rule = match (old.all_of.len(), new.all_of.len()) {
                    (0, _) => "COMBINED_TYPE_CHANGED",
                    (before, after) if after > before => "PRODUCT_TYPE_EXTENDED",
                    _ => "COMBINED_TYPE_SUBSCHEMAS_CHANGED",
                };
                found.push(differs(rule, &place, (&n(&old.all_of), &n(&new.all_of))));
            }
        }
        self.sum(path, old_id, ("anyOf", new), found)?;
        self.sum(path, old_id, ("oneOf", new), found)
    }

    /// `anyOf` and `oneOf`.
    fn sum(
        &mut self,
        path: &str,
        old_id: Id,
        (keyword, new): (&str, &Demands),
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), TooComplex> {
        let old = self.old.get(old_id);
        let any = keyword == "anyOf";
        let after = if any { &new.any_of } else { &new.one_of };
        if after.is_empty() {
            return Ok(());
        }
        let place = format!("{path}/{keyword}");
        let before = match (any, old.any_of.is_empty(), old.one_of.is_empty()) {
            (true, false, _) => &old.any_of,
            (_, _, false) => &old.one_of,
            (false, false, true) if old.any_of.len() == 1 => &old.any_of,
            (false, false, true) => {
                found.push(differs("COMBINED_TYPE_CHANGED", &place, ("anyOf", "oneOf")));
                return Ok(());
            }
            (_, true, true) => {
                for branch in after {
                    if self.fits(&place, old_id, *branch)? {
                        return Ok(());
                    }
                }
                found.push(differs("TYPE_CHANGED", &place, ("one schema", &n(after))));
                return Ok(());
            }
        };
        if before.len() > after.len() {
            found.push(differs("SUM_TYPE_NARROWED", &place, (&n(before), &n(after))));
        } else if self.matching(&place, before, after)? < before.len() {
            found.push(differs("COMBINED_TYPE_SUBSCHEMAS_CHANGED", &place, (&n(before), &n(after))));
        }
        Ok(())
    }

    /// How many of the smaller side find a partner of their own on the other: a maximum matching.
    fn matching(&mut self, path: &str, old: &[Id], new: &[Id]) -> Result<usize, TooComplex> {
        let mut partners = vec![None; new.len()];
        let mut fits = Vec::with_capacity(old.len());
        for before in old {
            let mut row = Vec::with_capacity(new.len());
            for (index, after) in new.iter().enumerate() {
                row.push(self.fits(&format!("{path}/{index}"), *before, *after)?);
            }
            fits.push(row);
        }
        let mut matched = 0;
        for index in 0..old.len() {
            let mut seen = vec![false; new.len()];
            self.budget.take(new.len())?;
            matched += usize::from(self.augment(index, &fits, &mut seen, &mut partners)?);
        }
        Ok(matched)
    }

    fn augment(
        &self,
        from: usize,
        fits: &[Vec<bool>],
        seen: &mut [bool],
        partners: &mut [Option<usize>],
    ) -> Result<bool, TooComplex> {
        self.budget.take(seen.len())?;
        for to in 0..seen.len() {
            if !fits[from][to] || std::mem::replace(&mut seen[to], true) {
                continue;
            }
            let free = match partners[to] {
                None => true,
                Some(other) => self.augment(other, fits, seen, partners)?,
            };
            if free {
                partners[to] = Some(from);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn negated(
        &mut self,
        path: &str,
        old: &Demands,
        new: &Demands,
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), TooComplex> {
        let Some(after) = new.not else { return Ok(()) };
        let place = format!("{path}/not");
        let narrower = match old.not {
            // What is forbidden now must have been forbidden before: the comparison the other way round.
            Some(before) => {
                let (old, new, policy, budget) = (self.new, self.old, self.policy, self.budget);
                let mut reverse = Check { old, new, policy, budget, known: HashMap::new() };
                reverse.fits(&place, after, before)?
            }
            None => false,
        };
        if !narrower {
            let before = if old.not.is_some() { "another `not`" } else { "no `not`" };
            found.push(differs("NOT_TYPE_EXTENDED", &place, (before, "`not`")));
        }
        Ok(())
    }

    fn arrays(
        &mut self,
        path: &str,
        old: &Demands,
        new: &Demands,
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), TooComplex> {
        if new.unique_items && !old.unique_items {
            found.push(differs("UNIQUE_ITEMS_ADDED", &format!("{path}/uniqueItems"), ("absent", "true")));
        }
        for index in 0..old.tuple.len().max(new.tuple.len()) {
            let place = format!("{path}/items/{index}");
            let (before, after) = (old.tuple.get(index).copied(), new.tuple.get(index).copied());
            match (before.or(old.items), after.or(new.items)) {
                (Some(before), Some(after)) => {
                    found.extend(self.pair(&place, before, after)?.iter().cloned());
                }
                (None, Some(after)) if !self.new.get(after).any() => {
                    found.push(differs("ITEM_ADDED_TO_OPEN_CONTENT_MODEL", &place, ("any item", "a schema")));
                }
                (_, None) | (None, Some(_)) => {}
            }
        }
        let place = format!("{path}/items");
        match (old.items, new.items) {
            (Some(before), Some(after)) => found.extend(self.pair(&place, before, after)?.iter().cloned()),
            (None, Some(after)) => {
                let rule = if self.new.get(after).never {
                    "ADDITIONAL_ITEMS_REMOVED"
                } else {
                    "ADDITIONAL_ITEMS_NARROWED"
                };
                found.push(differs(rule, &place, ("any item", "a schema")));
            }
            (_, None) => {}
        }
        Ok(())
    }
}

fn n(branches: &[Id]) -> String {
    format!("{} schemas", branches.len())
}

fn types(path: &str, old: &Demands, new: &Demands, found: &mut Vec<Incompatibility>) {
    let Some(after) = &new.types else { return };
    let place = format!("{path}/type");
    let print = |types: &BTreeSet<String>| types.iter().cloned().collect::<Vec<_>>().join(", ");
    let of_values = || old.values.as_ref().map(|values| values.iter().map(|value| type_of(value)).collect());
    let before: Option<BTreeSet<String>> = old.types.clone().or_else(of_values);
    let Some(before) = before else {
        found.push(differs("TYPE_CHANGED", &place, ("any type", &print(after))));
        return;
    };
    let taken = |name: &String| after.contains(name) || (name == "integer" && after.contains("number"));
    if before.iter().all(taken) {
        return;
    }
    let narrowed = before.contains("number") && after.contains("integer") || before.iter().any(taken);
    let rule = if narrowed { "TYPE_NARROWED" } else { "TYPE_CHANGED" };
    found.push(differs(rule, &place, (&print(&before), &print(after))));
}

/// The type of a printed value.
fn type_of(value: &str) -> String {
    let name = match value.as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "boolean",
        Some(b'"') => "string",
        Some(b'[') => "array",
        Some(b'{') => "object",
        _ if value.contains(['.', 'E']) => "number",
        _ => "integer",
    };
    name.to_owned()
}

fn values(path: &str, old: &Demands, new: &Demands, found: &mut Vec<Incompatibility>) {
    let Some(after) = &new.values else { return };
    let place = format!("{path}/enum");
    let print = |values: &BTreeSet<String>| values.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
    match &old.values {
        Some(before) if before.is_subset(after) => {}
        Some(before) => {
            let rule = if after.is_subset(before) { "ENUM_ARRAY_NARROWED" } else { "ENUM_ARRAY_CHANGED" };
            found.push(differs(rule, &place, (&print(before), &print(after))));
        }
        None => found.push(differs("ENUM_ARRAY_CHANGED", &place, ("any value", &print(after)))),
    }
}

fn bounds(path: &str, old: &Demands, new: &Demands, found: &mut Vec<Incompatibility>) {
    for (keyword, after) in &new.bounds {
        let before = old.bounds.get(keyword);
        let (name, change) = names(keyword);
        let place = format!("{path}/{keyword}");
        let (fine, tighter) = match (*keyword, before) {
            (_, None) => (false, "ADDED"),
            // Beyond what a number can be, the rest of a division is none.
            (_, Some(before)) if before.total_cmp(after).is_eq() => (true, ""),
            // Multiples of 4 are multiples of 2.
            ("multipleOf", Some(before)) if (before % after).abs() < f64::EPSILON => (true, ""),
            ("multipleOf", Some(before)) if (after % before).abs() < f64::EPSILON => (false, "EXPANDED"),
            ("multipleOf", Some(_)) => (false, "CHANGED"),
            (_, Some(before)) if keyword.starts_with("max") || *keyword == "exclusiveMaximum" => {
                (before <= after, change)
            }
            (_, Some(before)) => (before >= after, change),
        };
        if !fine {
            let before = before.map_or_else(|| "no bound".to_owned(), f64::to_string);
            found.push(differs(rule_name(name, tighter), &place, (&before, &after.to_string())));
        }
    }
    if let Some(after) = &new.pattern
        && old.pattern.as_ref() != Some(after)
    {
        let rule = if old.pattern.is_some() { "PATTERN_CHANGED" } else { "PATTERN_ADDED" };
        let before = old.pattern.as_deref().unwrap_or("no pattern");
        found.push(differs(rule, &format!("{path}/pattern"), (before, after)));
    }
}

/// A bound's name in rules, and what its tightening is called.
fn names(keyword: &str) -> (&'static str, &'static str) {
    match keyword {
        "maxLength" => ("MAX_LENGTH", "DECREASED"),
        "minLength" => ("MIN_LENGTH", "INCREASED"),
        "maxProperties" => ("MAX_PROPERTIES", "DECREASED"),
        "minProperties" => ("MIN_PROPERTIES", "INCREASED"),
        "maxItems" => ("MAX_ITEMS", "DECREASED"),
        "minItems" => ("MIN_ITEMS", "INCREASED"),
        "maxContains" => ("MAX_CONTAINS", "DECREASED"),
        "minContains" => ("MIN_CONTAINS", "INCREASED"),
        "maximum" => ("MAXIMUM", "DECREASED"),
        "minimum" => ("MINIMUM", "INCREASED"),
        "exclusiveMaximum" => ("MAXIMUM_EXCLUSIVE", "DECREASED"),
        "exclusiveMinimum" => ("MINIMUM_EXCLUSIVE", "INCREASED"),
        _ => ("MULTIPLE_OF", "CHANGED"),
    }
}

fn rule_name(name: &str, change: &str) -> &'static str {
    const RULES: [&str; 28] = [
        "MAX_LENGTH_ADDED",
        "MAX_LENGTH_DECREASED",
        "MIN_LENGTH_ADDED",
        "MIN_LENGTH_INCREASED",
        "MAX_PROPERTIES_ADDED",
        "MAX_PROPERTIES_DECREASED",
        "MIN_PROPERTIES_ADDED",
        "MIN_PROPERTIES_INCREASED",
        "MAX_ITEMS_ADDED",
        "MAX_ITEMS_DECREASED",
        "MIN_ITEMS_ADDED",
        "MIN_ITEMS_INCREASED",
        "MAX_CONTAINS_ADDED",
        "MAX_CONTAINS_DECREASED",
        "MIN_CONTAINS_ADDED",
        "MIN_CONTAINS_INCREASED",
        "MAXIMUM_ADDED",
        "MAXIMUM_DECREASED",
        "MINIMUM_ADDED",
        "MINIMUM_INCREASED",
        "MAXIMUM_EXCLUSIVE_ADDED",
        "MAXIMUM_EXCLUSIVE_DECREASED",
        "MINIMUM_EXCLUSIVE_ADDED",
        "MINIMUM_EXCLUSIVE_INCREASED",
        "MULTIPLE_OF_ADDED",
        "MULTIPLE_OF_CHANGED",
        "MULTIPLE_OF_EXPANDED",
        "MULTIPLE_OF_REDUCED",
    ];
    let wanted = format!("{name}_{change}");
    RULES.into_iter().find(|rule| *rule == wanted).unwrap_or("MULTIPLE_OF_CHANGED")
}

/// A difference that breaks readers: what the old schema has there, and the new one.
pub(super) fn differs(rule: &'static str, path: &str, (old, new): (&str, &str)) -> Incompatibility {
    let description = format!("At path '{path}', the %s schema has {new} where the %s schema has {old}");
    Incompatibility {
        rule,
        path: path.to_owned(),
        reader: new.to_owned(),
        writer: old.to_owned(),
        remedy: remedy(rule).to_owned(),
        template: format!("{{errorType:\"{rule}\", description:\"{description}\"}}"),
    }
}

/// What would make a schema with this difference compatible.
fn remedy(rule: &str) -> &'static str {
    match rule {
        "OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL"
        | "REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL"
        | "REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL" => {
            "old values may have anything under this name: close the old schema with \
             `additionalProperties: false` before properties are added, or set `compatibilityPolicy` to LENIENT"
        }
        "REQUIRED_ATTRIBUTE_ADDED" | "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL" => {
            "leave the property optional, or give it a `default`"
        }
        "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"
        | "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL" => {
            "keep the property, or allow additional ones"
        }
        _ => "keep what the old schema allows, or put the new shape under a name of its own",
    }
}
