//! The schema's rules on the value at hand.

use tidegate_schema::{Decimal, Rules, Types, Violation};

use crate::node::Node;
use crate::reader::RawNumber;
use crate::refusal::{Outcome, Refusal};
use crate::scalar::quoted;

#[inline]
pub(crate) fn check_type(rules: Option<&Rules>, types: Types, found: &str) -> Outcome {
    match rules {
        Some(rules) if !rules.types.contains(types) => Err(wrong_type(rules, found)),
        Some(_) | None => Ok(()),
    }
}

#[cold]
fn wrong_type(rules: &Rules, found: &str) -> Box<Refusal> {
    Refusal::validate(*Violation::new("type", rules.types.to_string()), found)
}

#[inline]
pub(crate) fn check_string(rules: Option<&Rules>, text: &str) -> Outcome {
    let Some(rules) = rules else { return Ok(()) };
    if !rules.types.contains(Types::STRING) {
        return Err(wrong_type(rules, &quoted(text)));
    }
    match &rules.strings {
        Some(strings) => {
            strings.check(text).map_err(|violation| Refusal::validate(*violation, &quoted(text)))
        }
        None => Ok(()),
    }
}

#[inline]
pub(crate) fn check_number(rules: &Rules, number: &RawNumber<'_>) -> Outcome {
    if !rules.types.contains(Types::NUMBER) {
        let integral =
            number.small.is_some() || Decimal::parse(number.text).is_some_and(|value| value.integral());
        let types = if integral { Types::INTEGER } else { Types::FRACTION };
        check_type(Some(rules), types, number.text)?;
    }
    let Some(numbers) = &rules.numbers else { return Ok(()) };
    let checked = match number.small {
        Some(value) => numbers.check_integer(value),
        None => numbers.check(number.text),
    };
    checked.map_err(|violation| Refusal::validate(*violation, number.text))
}

pub(crate) fn check_items(node: &Node, count: u64) -> Outcome {
    match node.rules.as_ref().and_then(|rules| rules.arrays.as_ref()) {
        Some(arrays) => arrays
            .check_count(count)
            .map_err(|violation| Refusal::validate(*violation, &format!("{count} items"))),
        None => Ok(()),
    }
}
