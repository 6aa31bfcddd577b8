//! Rules that only the general validator can decide.

use std::fmt;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;

use crate::rules::Violation;

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
        self.validator.validate(&value).map_err(|error| Box::new(violation(&error)))
    }

    /// The first `most` rules that a value breaks.
    #[must_use]
    pub fn violations(&self, value: &Value, most: usize) -> Vec<Violation> {
        self.validator.iter_errors(value).take(most).map(|error| violation(&error)).collect()
    }

    /// Whether a value passes.
    #[must_use]
    pub fn passes(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }
}

fn violation(error: &jsonschema::ValidationError<'_>) -> Violation {
    const BYTES_MAX: usize = 300;
    let keyword = error.kind().keyword();
    let mut expected = error.masked_with("the value").to_string();
    expected.truncate(expected.floor_char_boundary(BYTES_MAX));
    Violation {
        keyword: keyword.to_owned(),
        path: error.instance_path().to_string(),
        expected: format!("rule `{keyword}`: {expected}"),
    }
}
