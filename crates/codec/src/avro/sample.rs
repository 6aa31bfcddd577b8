//! Values of a schema by chance, as the JSON texts that [`json_to_avro`](crate::json_to_avro) reads.

use tidegate_languages::avro::{AvroSchema, LogicalType, NodeId, Record, Shape};
use tidegate_languages::json::{Json, Members};
use tidegate_schema::Chance;

use super::encode::{bytes, long};
use super::text::base64_text;
use crate::sample::{Extent, eighths, few_bytes, whole};

/// The longest `fixed` that is drawn, in bytes.
const FIXED_MAX: u32 = 1 << 20;

/// A JSON text of a value of the schema; `None` if none was found: a type that needs itself has no value.
#[must_use]
pub fn sample_avro(schema: &AvroSchema, chance: &mut Chance) -> Option<String> {
    let mut drawing = Drawing { schema, chance, extent: Extent::default() };
    drawing.value(schema.root(), 0).map(|value| value.to_string())
}

struct Drawing<'s> {
    schema: &'s AvroSchema,
    chance: &'s mut Chance,
    extent: Extent,
}

impl Drawing<'_> {
    fn value(&mut self, id: NodeId, depth: usize) -> Option<Json> {
        self.extent.grow(depth)?;
        let node = self.schema.node(id);
        if let Some(logical) = node.logical {
            return Some(self.logical(logical));
        }
        Some(match &node.shape {
            Shape::Null => Json::Null,
            Shape::Boolean => Json::Bool(self.chance.one_in(2)),
            Shape::Int | Shape::Long => whole(self.chance),
            Shape::Float | Shape::Double => eighths(self.chance),
            Shape::String => Json::String(self.chance.word()),
            Shape::Bytes => few_bytes(self.chance),
            Shape::Fixed(fixed) if fixed.size <= FIXED_MAX => {
                Json::String(base64_text(&self.chance.bytes(fixed.size as usize)))
            }
            Shape::Fixed(_) | Shape::Pending(_) => return None,
            Shape::Enum(symbols) => Json::String(self.chance.of(&symbols.symbols)?.clone()),
            Shape::Array(item) => {
                let n = self.count(depth, 4);
                Json::Array((0..n).map(|_| self.value(*item, depth + 1)).collect::<Option<_>>()?)
            }
            Shape::Map(item) => {
                let n = self.count(depth, 3);
                let members = (0..n).map(|_| Some((self.chance.word(), self.value(*item, depth + 1)?)));
                Json::Object(members.collect::<Option<_>>()?)
            }
            Shape::Union(branches) => self.union(branches, depth)?,
            Shape::Record(record) => self.record(record, depth)?,
        })
    }

    const fn count(&mut self, depth: usize, below: usize) -> usize {
        if self.extent.is_plenty(depth) { 0 } else { self.chance.below(below) }
    }

    fn record(&mut self, record: &Record, depth: usize) -> Option<Json> {
        let mut members = Members::new();
        for field in &record.fields {
            members.insert(field.name.clone(), self.value(field.node, depth + 1)?);
        }
        Some(Json::Object(members))
    }

    /// A value of one branch. Where another branch could be meant, it says which one it is.
    fn union(&mut self, branches: &[NodeId], depth: usize) -> Option<Json> {
        let shape = |id: &NodeId| &self.schema.node(*id).shape;
        let simple = |id: &&NodeId| !matches!(shape(id), Shape::Record(_) | Shape::Union(_));
        let nulls = |id: &&NodeId| matches!(shape(id), Shape::Null);
        let others: Vec<NodeId> = branches.iter().filter(|id| !nulls(id)).copied().collect();
        let null = branches.iter().find(nulls).copied();
        let chosen = match null {
            Some(null) if others.is_empty() || self.extent.is_plenty(depth) || self.chance.one_in(4) => null,
            _ if self.extent.is_plenty(depth) => others.iter().find(simple).or(others.first()).copied()?,
            _ => *self.chance.of(&others)?,
        };
        let value = self.value(chosen, depth + 1)?;
        let alone = others.len() == 1 && value.as_object().is_none_or(|members| members.len() != 1);
        if Some(chosen) == null || alone {
            return Some(value);
        }
        let shape = &self.schema.node(chosen).shape;
        let name = shape.name().map_or_else(|| shape.kind().to_owned(), |name| name.full());
        Some(Json::Object(Members::from_iter([(name, value)])))
    }

    fn logical(&mut self, logical: LogicalType) -> Json {
        let chance = &mut *self.chance;
        let moment = |chance: &mut Chance, digits: u8, zone: &str| {
            format!("{}T{}{zone}", chance.date(), chance.time(digits))
        };
        Json::String(match logical {
            LogicalType::Decimal { precision, scale } => decimal(chance, precision, scale),
            LogicalType::BigDecimal => big_decimal(chance),
            LogicalType::Uuid => chance.uuid(),
            LogicalType::Duration => {
                let parts = ["months", "days", "milliseconds"];
                let parts = parts.map(|part| (part.to_owned(), Json::Integer(chance.below(30) as i64)));
                return Json::Object(Members::from_iter(parts));
            }
            LogicalType::Date => chance.date(),
            LogicalType::TimeMillis => chance.time(3),
            LogicalType::TimeMicros => chance.time(6),
            LogicalType::TimestampMillis => moment(chance, 3, "Z"),
            LogicalType::TimestampMicros => moment(chance, 6, "Z"),
            LogicalType::TimestampNanos => moment(chance, 9, "Z"),
            LogicalType::LocalTimestampMillis => moment(chance, 3, ""),
            LogicalType::LocalTimestampMicros => moment(chance, 6, ""),
            LogicalType::LocalTimestampNanos => moment(chance, 9, ""),
        })
    }
}

/// A number of at most six digits before the point and two behind it. Scales beyond what 256 bits hold have
/// zero alone.
fn decimal(chance: &mut Chance, precision: u32, scale: u32) -> String {
    const DIGITS_MAX: u32 = 70;
    let (whole, fraction) = ((precision - scale).min(6), scale.min(2));
    if scale + whole > DIGITS_MAX {
        return "0".to_owned();
    }
    let (whole, unit) = (chance.below(10_usize.pow(whole)), 10_usize.pow(fraction));
    match fraction {
        0 => whole.to_string(),
        width => format!("{whole}.{:0width$}", chance.below(unit), width = width as usize),
    }
}

/// Digits after their length, and how many of them stand behind the point (Avro 1.12).
fn big_decimal(chance: &mut Chance) -> String {
    let mut out = Vec::new();
    // Below 2^15, so that two bytes hold it and its sign.
    bytes(&(chance.below(1 << 15) as u16).to_be_bytes(), &mut out);
    long(2, &mut out);
    base64_text(&out)
}
