//! What samples of all formats have in common: how large they grow, and their plain values.

use tidegate_languages::json::Json;
use tidegate_schema::Chance;

use crate::avro::base64_text;

/// How deep values may nest, and how many a sample may be made of.
const DEPTH_MAX: usize = 60;
const VALUES_MAX: usize = 20_000;
/// From here on only what must be there is drawn.
const DEPTH_PLENTY: usize = 6;
const VALUES_PLENTY: usize = 300;

/// How much of a sample has been drawn.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    n_values: usize,
}

impl Extent {
    /// Counts one more value; `None` if a sample would have too many, or nest too deep.
    pub(crate) const fn grow(&mut self, depth: usize) -> Option<()> {
        self.n_values += 1;
        if depth > DEPTH_MAX || self.n_values > VALUES_MAX { None } else { Some(()) }
    }

    /// Whether it is large enough.
    pub(crate) const fn is_plenty(&self, depth: usize) -> bool {
        depth > DEPTH_PLENTY || self.n_values > VALUES_PLENTY
    }
}

/// A whole number that every type of numbers holds, but those of 8 bits, which no format has.
pub(crate) const fn whole(chance: &mut Chance) -> Json {
    Json::Integer(chance.below(1_000) as i64)
}

/// A number of eighths, which floats of 32 and of 64 bits hold exactly.
pub(crate) const fn eighths(chance: &mut Chance) -> Json {
    Json::Double(chance.below(100_000) as f64 / 8.0)
}

/// Up to eight bytes, as Base64.
pub(crate) fn few_bytes(chance: &mut Chance) -> Json {
    let n = chance.below(9);
    Json::String(base64_text(&chance.bytes(n)))
}
