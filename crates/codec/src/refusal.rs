//! Why a value is refused, as it travels up from where it was found.

use tidegate_core::{Reason, ReasonCode, Reject, Stage};
use tidegate_schema::Violation;

/// A reason on its way up; each level puts its field's name before the path.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) stage: Stage,
    pub(crate) reason: Reason,
}

/// Boxed, so that the success path moves one word.
pub(crate) type Outcome<T = ()> = Result<T, Box<Refusal>>;

impl Refusal {
    #[cold]
    pub(crate) fn decode(code: ReasonCode, expected: &str, found: &str) -> Box<Self> {
        Box::new(Self { stage: Stage::Decode, reason: Reason::new(code, expected, found) })
    }

    #[cold]
    pub(crate) fn encode(code: ReasonCode, rule: &str, expected: &str, found: &str) -> Box<Self> {
        let mut reason = Reason::new(code, expected, found);
        reason.rule = Some(rule.to_owned());
        Box::new(Self { stage: Stage::Encode, reason })
    }

    #[cold]
    pub(crate) fn validate(violation: Violation, found: &str) -> Box<Self> {
        Box::new(Self { stage: Stage::Validate, reason: reason_for(violation, found) })
    }

    /// A reject for this reason alone.
    #[cold]
    pub(crate) fn alone(self) -> Box<Reject> {
        Box::new(Reject::new(self.stage, self.reason))
    }

    /// Says that what was refused stands in this member.
    #[cold]
    pub(crate) fn within(mut self: Box<Self>, name: &str) -> Box<Self> {
        let segment = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        self.reason.path.insert_str(0, &segment);
        self
    }

    /// Says that what was refused stands in this item.
    #[cold]
    pub(crate) fn within_item(mut self: Box<Self>, index: u64) -> Box<Self> {
        self.reason.path.insert_str(0, &format!("/{index}"));
        self
    }

    /// Says which column the value was for.
    #[cold]
    pub(crate) fn in_column(mut self: Box<Self>, column: &str) -> Box<Self> {
        self.reason.column.get_or_insert_with(|| column.to_owned());
        self
    }
}

/// The reason that a broken rule of the schema is.
pub(crate) fn reason_for(violation: Violation, found: &str) -> Reason {
    let code = match violation.keyword.as_str() {
        "type" => ReasonCode::WrongType,
        "required" => ReasonCode::MissingRequired,
        "enum" | "const" => ReasonCode::BadEnum,
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
            ReasonCode::OutOfRange
        }
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
            ReasonCode::TooLong
        }
        "pattern" => ReasonCode::Pattern,
        "additionalProperties" | "unevaluatedProperties" => ReasonCode::ExtraField,
        "format" if names_time(&violation.expected) => ReasonCode::BadTimestamp,
        "format" => ReasonCode::BadFormat,
        _ => ReasonCode::SchemaViolation,
    };
    let mut reason = Reason::new(code, violation.expected, found);
    reason.path = violation.path;
    reason.rule = Some(violation.keyword);
    reason
}

/// Whether a quoted format's name in the text is one of dates and times.
fn names_time(expected: &str) -> bool {
    expected.split(['`', '"']).any(|part| ["date-time", "date", "time"].contains(&part))
}
