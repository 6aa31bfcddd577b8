//! Objects: which members they may, must and must not have.

use regex::Regex;

use crate::budget::TooComplex;
use crate::incompatibility::Incompatibility;
use crate::json_schema::compatible::{Check, differs};
use crate::json_schema::model::{Demands, Id};
use crate::language::Policy;

/// What members besides the named ones an object may have.
enum Content {
    Open,
    Partial,
    Closed,
}

impl Check<'_> {
    pub(super) fn objects(
        &mut self,
        path: &str,
        old: &Demands,
        new: &Demands,
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), TooComplex> {
        for (name, after) in &new.properties {
            let place = format!("{path}/properties/{name}");
            match old.properties.get(name) {
                Some(before) => {
                    found.extend(self.pair(&place, *before, *after)?.iter().cloned());
                    self.required(&place, name, (old, new), found);
                }
                None => self.added(&place, name, (old, new), found)?,
            }
        }
        for (name, before) in &old.properties {
            if !new.properties.contains_key(name) {
                self.removed(&format!("{path}/properties/{name}"), (name, *before), new, found)?;
            }
        }
        for name in new.required.difference(&old.required) {
            if !new.properties.contains_key(name) {
                let place = format!("{path}/required/{name}");
                found.push(differs(
                    "REQUIRED_ATTRIBUTE_ADDED",
                    &place,
                    ("an optional property", "a required one"),
                ));
            }
        }
        self.additional(path, old, new, found)?;
        self.dependencies(path, old, new, found)
    }

    fn required(
        &self,
        path: &str,
        name: &String,
        (old, new): (&Demands, &Demands),
        found: &mut Vec<Incompatibility>,
    ) {
        let now = new.required.contains(name) && !old.required.contains(name);
        let default = new.properties.get(name).is_some_and(|id| self.new.get(*id).has_default);
        if now && !default {
            found.push(differs("REQUIRED_ATTRIBUTE_ADDED", path, ("an optional property", "a required one")));
        }
    }

    fn added(
        &mut self,
        path: &str,
        name: &String,
        (old, new): (&Demands, &Demands),
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), TooComplex> {
        let after = new.properties[name];
        let demands = self.new.get(after);
        let required = new.required.contains(name);
        let lenient = self.policy == Policy::Lenient;
        let now = if required { "a required property" } else { "a property" };
        match content(old, |id| self.old.get(id)) {
            Content::Open => {
                let rule = match (required, demands.has_default) {
                    (false, _) => "OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
                    (true, true) => "REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL",
                    (true, false) => "REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
                };
                let bare = required && !demands.has_default;
                if bare || !(lenient || demands.any()) {
                    found.push(differs(rule, path, ("any property", now)));
                }
                return Ok(());
            }
            Content::Partial => {
                let covered = match cover(old, name) {
                    Some(before) => self.pair(path, before, after)?.is_empty(),
                    None => demands.any(),
                };
                if !covered && !lenient {
                    let rule = "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL";
                    found.push(differs(rule, path, ("another schema for such properties", now)));
                }
            }
            Content::Closed => {}
        }
        if required && !demands.has_default {
            let rule = "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL";
            found.push(differs(rule, path, ("no such property", now)));
        }
        Ok(())
    }

    fn removed(
        &mut self,
        path: &str,
        (name, before): (&String, Id),
        new: &Demands,
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), TooComplex> {
        if self.old.get(before).never || self.policy == Policy::Lenient {
            return Ok(());
        }
        match content(new, |id| self.new.get(id)) {
            Content::Open => {}
            Content::Closed => {
                let rule = "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL";
                found.push(differs(rule, path, ("a property", "no such property")));
            }
            Content::Partial => {
                let covered = match cover(new, name) {
                    Some(after) => self.pair(path, before, after)?.is_empty(),
                    None => true,
                };
                if !covered {
                    let rule = "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL";
                    found.push(differs(rule, path, ("a property", "another schema for such properties")));
                }
            }
        }
        Ok(())
    }

    fn additional(
        &mut self,
        path: &str,
        old: &Demands,
        new: &Demands,
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), TooComplex> {
        if self.policy == Policy::Lenient {
            return Ok(());
        }
        let place = format!("{path}/additionalProperties");
        if let Some(after) = new.additional {
            let never = self.new.get(after).never;
            match old.additional {
                None if never => {
                    found.push(differs("ADDITIONAL_PROPERTIES_REMOVED", &place, ("any property", "none")));
                }
                None => {
                    found.push(differs(
                        "ADDITIONAL_PROPERTIES_NARROWED",
                        &place,
                        ("any property", "a schema"),
                    ));
                }
                Some(before) if self.old.get(before).never => {}
                Some(_) if never => {
                    found.push(differs("ADDITIONAL_PROPERTIES_REMOVED", &place, ("a schema", "none")));
                }
                Some(before) => found.extend(self.pair(&place, before, after)?.iter().cloned()),
            }
        }
        for (pattern, after) in &new.pattern_properties {
            let place = format!("{path}/patternProperties/{pattern}");
            match old.pattern_properties.get(pattern) {
                Some(before) => found.extend(self.pair(&place, *before, *after)?.iter().cloned()),
                None => {
                    let closed = matches!(content(old, |id| self.old.get(id)), Content::Closed);
                    if !closed && !self.new.get(*after).any() {
                        let rule = "ADDITIONAL_PROPERTIES_NARROWED";
                        found.push(differs(rule, &place, ("any such property", "a schema for them")));
                    }
                }
            }
        }
        self.patterns_removed(path, old, new, found)
    }

    /// Properties that a pattern let in fall to the rule for the others, once it is gone.
    fn patterns_removed(
        &mut self,
        path: &str,
        old: &Demands,
        new: &Demands,
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), TooComplex> {
        let Some(after) = new.additional else { return Ok(()) };
        for (pattern, before) in &old.pattern_properties {
            if new.pattern_properties.contains_key(pattern) || self.old.get(*before).never {
                continue;
            }
            let place = format!("{path}/patternProperties/{pattern}");
            if self.new.get(after).never {
                let rule = "ADDITIONAL_PROPERTIES_REMOVED";
                found.push(differs(rule, &place, ("such properties", "none")));
            } else {
                found.extend(self.pair(&place, *before, after)?.iter().cloned());
            }
        }
        Ok(())
    }

    fn dependencies(
        &mut self,
        path: &str,
        old: &Demands,
        new: &Demands,
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), TooComplex> {
        for (name, after) in &new.dependent_required {
            let place = format!("{path}/dependencies/{name}");
            match old.dependent_required.get(name) {
                Some(before) if after.is_subset(before) => {}
                Some(_) => {
                    let rule = "DEPENDENCY_ARRAY_EXTENDED";
                    found.push(differs(rule, &place, ("fewer properties", "more properties")));
                }
                None => found.push(differs("DEPENDENCY_ARRAY_ADDED", &place, ("none", "a dependency"))),
            }
        }
        for (name, after) in &new.dependent_schemas {
            let place = format!("{path}/dependencies/{name}");
            match old.dependent_schemas.get(name) {
                Some(before) => found.extend(self.pair(&place, *before, *after)?.iter().cloned()),
                None => found.push(differs("DEPENDENCY_SCHEMA_ADDED", &place, ("none", "a dependency"))),
            }
        }
        Ok(())
    }
}

fn content<'a>(demands: &Demands, get: impl Fn(Id) -> &'a Demands) -> Content {
    match demands.additional.map(get) {
        None if demands.pattern_properties.is_empty() => Content::Open,
        Some(additional) if additional.never && demands.pattern_properties.is_empty() => Content::Closed,
        None | Some(_) => Content::Partial,
    }
}

/// The schema that a partly open object has for a property that it does not name.
fn cover(demands: &Demands, name: &str) -> Option<Id> {
    let matching = demands.pattern_properties.iter().find(|(pattern, _)| {
        // The crate's automata take linear time; what it cannot read covers nothing.
        Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(name))
    });
    matching.map(|(_, id)| *id).or(demands.additional)
}
