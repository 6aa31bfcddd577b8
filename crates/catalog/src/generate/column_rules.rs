//! What the sink checks of columns, for what the schemas of records do not say.

use crate::catalog::{Catalog, Column};
use crate::field_type::{FieldType, Scalar};
use crate::language::{Field, RecordFormat};
use crate::proposal::quoted;

/// The rules of a column as the sink's configuration has them.
///
/// Avro knows neither bounds nor patterns nor formats. JSON Schema knows all of them, but no bounds of the numbers
/// that a text holds, as decimals may.
pub(super) fn rules(catalog: &Catalog, column: &Column<'_>) -> Option<String> {
    let writer = Writer { catalog, texts: column.ty != column.clear };
    writer.of_type(column.clear, column.field).map(|said| format!("rules: {{{said}}}"))
}

/// Writes the rules of one column.
struct Writer<'a> {
    catalog: &'a Catalog,
    /// Whether the column keeps texts of something else.
    texts: bool,
}

impl Writer<'_> {
    fn of_type(&self, ty: &FieldType, field: &Field) -> Option<String> {
        let said = match ty {
            FieldType::Optional(inner) | FieldType::Array(inner) | FieldType::Map(inner) => {
                return self.of_type(inner, field);
            }
            FieldType::Object => {
                let members = field.fields.iter().filter_map(|(name, member)| {
                    Some(format!("{name}: {{{}}}", self.of_type(&member.ty.value, member)?))
                });
                let members: Vec<String> = members.collect();
                return (!members.is_empty()).then(|| format!("members: {{{}}}", members.join(", ")));
            }
            FieldType::Scalar(scalar) => match self.catalog.file.defaults.kafka.format {
                RecordFormat::Avro => self.of_scalar(scalar, field),
                RecordFormat::Json | RecordFormat::JsonSchema => match scalar {
                    Scalar::Decimal { .. } => bounds(field),
                    Scalar::String
                    | Scalar::Enum(_)
                    | Scalar::Bool
                    | Scalar::Integer { .. }
                    | Scalar::Float { .. }
                    | Scalar::Timestamp(_)
                    | Scalar::Date
                    | Scalar::Duration
                    | Scalar::Uuid
                    | Scalar::Ip
                    | Scalar::Url
                    | Scalar::Email
                    | Scalar::Geohash { .. } => Vec::new(),
                },
            },
            FieldType::Json | FieldType::Any => Vec::new(),
        };
        (!said.is_empty()).then(|| said.join(", "))
    }

    /// What no type of Avro, and no column, says of the scalar.
    fn of_scalar(&self, scalar: &Scalar, field: &Field) -> Vec<String> {
        let mut said = bounds(field);
        said.extend(field.max_length.as_ref().map(|most| format!("max_length: {}", most.value)));
        said.extend(field.pattern.as_ref().map(|pattern| format!("pattern: {}", in_quotes(&pattern.value))));
        match scalar {
            Scalar::Url => said.push("format: uri".to_owned()),
            Scalar::Email => said.push("format: email".to_owned()),
            Scalar::Geohash { chars } => said.push(format!("pattern: {}", in_quotes(&geohash(*chars)))),
            // An `Enum8` takes the words of its own; texts that are kept of them do not.
            Scalar::Enum(name) if self.texts => {
                let closed = self.catalog.file.enums.get(name).filter(|source| !source.open);
                said.extend(closed.map(|source| {
                    let words: Vec<&str> = source.values.iter().map(|word| word.value.as_str()).collect();
                    format!("one_of: [{}]", words.join(", "))
                }));
            }
            Scalar::String
            | Scalar::Enum(_)
            | Scalar::Bool
            | Scalar::Integer { .. }
            | Scalar::Float { .. }
            | Scalar::Decimal { .. }
            | Scalar::Timestamp(_)
            | Scalar::Date
            | Scalar::Duration
            | Scalar::Uuid
            | Scalar::Ip => {}
        }
        said
    }
}

fn bounds(field: &Field) -> Vec<String> {
    let min = field.min.as_ref().map(|min| format!("min: {}", min.value.0));
    let max = field.max.as_ref().map(|max| format!("max: {}", max.value.0));
    min.into_iter().chain(max).collect()
}

/// The regular expression of a geohash's text.
pub(super) fn geohash(chars: u8) -> String {
    format!("^[0-9b-hjkmnp-z]{{1,{chars}}}$")
}

/// A text that the configuration's reader takes as it is, and names no variable of the environment by.
pub(super) fn in_quotes(text: &str) -> String {
    quoted(&text.replace("${", "$${"))
}
