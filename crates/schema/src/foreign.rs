//! Rules that only the general validator can decide.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::graph::escape;
use crate::rules::{Violation, list};

/// A subschema that cannot be fused, compiled for the general validator. It is run on the JSON text of
/// the value alone.
#[derive(Clone)]
pub struct Foreign {
    validator: Arc<Validator>,
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Foreign")
    }
}

impl Foreign {
    pub(crate) fn new(validator: Validator) -> Self {
        Self { validator: Arc::new(validator) }
    }

    /// Checks the JSON text of one value.
    ///
    /// # Errors
    /// The first rule that it breaks. Text that is not JSON, or nests deeper than 127 levels, breaks
    /// a rule too.
    pub fn check(&self, json: &[u8]) -> Result<(), Box<Violation>> {
        let value: Value = serde_json::from_slice(json)
            .map_err(|_| Violation::new("$ref", "a JSON text of at most 127 levels"))?;
        self.validator.validate(&value).map_err(|error| Box::new(told(&error).swap_remove(0)))
    }

    /// The first `most` rules that a value breaks.
    #[must_use]
    pub fn violations(&self, value: &Value, most: usize) -> Vec<Violation> {
        self.validator.iter_errors(value).flat_map(|error| told(&error)).take(most).collect()
    }

    /// Whether a value passes.
    #[must_use]
    pub fn passes(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }
}

/// What is wrong, at the places where it is wrong: of alternatives that all refuse, what the one says
/// that came closest.
fn told(error: &ValidationError<'_>) -> Vec<Violation> {
    let closest = match error.kind() {
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            closest(context, &error.instance_path().to_string())
        }
        _ => None,
    };
    closest.unwrap_or_else(|| vec![plain(error)])
}

/// The violations of the alternative that came closest, the deepest first, if that can be told: one that
/// takes the value's type before one that does not, one whose listed values are right before one whose
/// are not, and then the one that has the least against the value.
fn closest(context: &[Vec<ValidationError<'static>>], place: &str) -> Option<Vec<Violation>> {
    let depth = |violation: &Violation| violation.path.matches('/').count();
    let wrong_type = |violation: &Violation| violation.keyword == "type" && violation.path == place;
    let listed = |violation: &Violation| ["enum", "const"].contains(&violation.keyword.as_str());
    let branches = context.iter().map(|errors| errors.iter().flat_map(told).collect::<Vec<_>>());
    let mut best = branches.filter(|violations| !violations.is_empty()).min_by_key(|violations| {
        let deepest = violations.iter().map(depth).max();
        let other_type = violations.iter().any(wrong_type);
        (other_type, violations.iter().any(listed), violations.len(), Reverse(deepest))
    })?;
    best.sort_by_key(|violation| Reverse(depth(violation)));
    // Where the value itself is wrong for all of them, one of them alone would not say what is expected.
    best.first().is_some_and(|violation| violation.path != place).then_some(best)
}

fn plain(error: &ValidationError<'_>) -> Violation {
    const BYTES_MAX: usize = 300;
    let keyword = error.kind().keyword();
    let mut path = error.instance_path().to_string();
    let expected = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            path.push_str(&format!("/{}", escape(name)));
            format!("a field `{name}`")
        }
        ValidationErrorKind::AdditionalProperties { unexpected } if !unexpected.is_empty() => {
            path.push_str(&format!("/{}", escape(&unexpected[0])));
            "no field of this name".to_owned()
        }
        ValidationErrorKind::Enum { options } => {
            let values: Vec<String> = options.as_array().into_iter().flatten().map(bare).collect();
            list(values.iter().map(String::as_str))
        }
        ValidationErrorKind::Constant { expected_value } => list([bare(expected_value).as_str()].into_iter()),
        _ => {
            let mut words = error.masked_with("the value").to_string();
            words.truncate(words.floor_char_boundary(BYTES_MAX));
            format!("rule `{keyword}`: {words}")
        }
    };
    Violation { keyword: keyword.to_owned(), path, expected }
}

/// A value as lists show it: a string without its quotes.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
