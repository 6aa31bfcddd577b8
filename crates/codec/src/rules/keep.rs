//! One row's decoded values against the rules of their column.

use std::borrow::Cow;

use ethnum::{I256, U256};
use hashbrown::HashMap;
use tidegate_native::{Column, Type, Value};
use tidegate_schema::{NumberRules, Rules, Types};

use super::{ColumnRules, number, unfit};
use crate::avro::decimal_text;
use crate::check::check_string;
use crate::compile::json_escaped;
use crate::plan::PlanError;
use crate::refusal::{Outcome, Refusal};

/// What the values of a type keep to. Lists, maps, NULLs and dictionaries have the rules of what is in them.
#[derive(Debug)]
pub(super) enum Keep {
    /// Texts.
    Text(Box<Rules>),
    /// Words of an enum, by their numbers.
    Word(Box<Rules>, HashMap<i16, String>),
    /// Numbers of so many places after the point.
    Number(Box<Rules>, u8),
    /// The elements of a Tuple: which one, and its name.
    Members(Vec<(usize, String, Keep)>),
}

impl Keep {
    /// `None` where nothing is said.
    pub(super) fn compile(rules: &ColumnRules, ty: &Type, column: &str) -> Result<Option<Self>, PlanError> {
        match ty.stored() {
            Type::Nullable(inner)
            | Type::LowCardinality(inner)
            | Type::Array(inner)
            | Type::Map(_, inner) => return Self::compile(rules, inner, column),
            Type::Tuple(elements) => {
                let elements = elements.iter().map(|element| (element.name.as_deref(), &element.ty));
                return Self::members(rules, elements, (ty, column));
            }
            Type::Nested(elements) => {
                let elements = elements.iter().map(|(name, ty)| (Some(name.as_str()), ty));
                return Self::members(rules, elements, (ty, column));
            }
            _ => {}
        }
        if let Some(member) = rules.members.keys().next() {
            return Err(unfit(column, ty, format!("rules on a member `{member}`")));
        }
        if *rules == ColumnRules::default() {
            return Ok(None);
        }
        let leaf = Leaf::of(ty.stored());
        let fits = match &leaf {
            Some(Leaf::Text | Leaf::Word(_)) => !rules.about_numbers(),
            Some(Leaf::Number(_)) => !rules.about_texts(),
            None => false,
        };
        let (Some(leaf), true) = (leaf, fits) else {
            let what = if rules.about_numbers() { "rules on numbers" } else { "rules on texts" };
            return Err(unfit(column, ty, what));
        };
        if !number(rules.min.as_ref()) || !number(rules.max.as_ref()) {
            return Err(unfit(column, ty, "a `min` or `max` that is no number"));
        }
        let compiled =
            rules.compiled().map_err(|source| PlanError::Rules { column: column.to_owned(), source })?;
        let compiled = Box::new(compiled);
        Ok(Some(match leaf {
            Leaf::Text => Self::Text(compiled),
            Leaf::Word(words) => Self::Word(compiled, words),
            Leaf::Number(places) => Self::Number(compiled, places),
        }))
    }

    fn members<'t>(
        rules: &ColumnRules,
        elements: impl Iterator<Item = (Option<&'t str>, &'t Type)>,
        (ty, column): (&Type, &str),
    ) -> Result<Option<Self>, PlanError> {
        if rules.about_numbers() || rules.about_texts() {
            return Err(unfit(column, ty, "rules on single values"));
        }
        let elements: Vec<_> = elements.collect();
        let mut members = Vec::new();
        for (name, rules) in &rules.members {
            let Some(at) = elements.iter().position(|(known, _)| *known == Some(name.as_str())) else {
                return Err(unfit(column, ty, format!("rules on a member `{name}`")));
            };
            let keep = Self::compile(rules, elements[at].1, column)?;
            members.extend(keep.map(|keep| (at, name.clone(), keep)));
        }
        Ok((!members.is_empty()).then_some(Self::Members(members)))
    }

    /// Goes through nulls, dictionaries, lists, maps and tuples.
    pub(super) fn check(&self, column: &Column, row: usize) -> Outcome {
        match column {
            Column::Nullable(inner) if inner.nulls().get(row) != Some(&0) => Ok(()),
            Column::Nullable(inner) => self.check(&inner.values, row),
            Column::LowCardinality(inner) => match inner.keys().get(row) {
                Some(0) if inner.nullable() => Ok(()),
                Some(key) => self.check(inner.dictionary(), *key as usize),
                None => Ok(()),
            },
            Column::Array(inner) => {
                inner.range(row).unwrap_or_default().zip(0..).try_for_each(|(item, at)| {
                    self.check(&inner.elements, item).map_err(|refusal| refusal.within_item(at))
                })
            }
            Column::Map(inner) => inner.range(row).unwrap_or_default().try_for_each(|item| {
                self.check(&inner.values, item).map_err(|refusal| refusal.within(&key(&inner.keys, item)))
            }),
            Column::Tuple(inner) => match self {
                Self::Members(members) => members.iter().try_for_each(|(at, name, keep)| {
                    keep.check(&inner.columns[*at], row).map_err(|refusal| refusal.within(name))
                }),
                Self::Text(_) | Self::Word(..) | Self::Number(..) => Ok(()),
            },
            leaf => self.leaf(leaf, row),
        }
    }

    fn leaf(&self, column: &Column, row: usize) -> Outcome {
        match (self, column) {
            (Self::Text(rules), Column::String(texts)) => text(rules, texts.get(row).unwrap_or_default()),
            (Self::Text(rules), Column::FixedString(texts)) => {
                text(rules, unpadded(texts.get(row).unwrap_or_default()))
            }
            (Self::Word(rules, words), column) => match word(column, row).and_then(|word| words.get(&word)) {
                Some(word) => text(rules, word.as_bytes()),
                None => Ok(()),
            },
            (Self::Number(rules, places), column) => match &rules.numbers {
                Some(numbers) => in_bounds(numbers, column, row, *places),
                None => Ok(()),
            },
            (Self::Text(_) | Self::Members(_), _) => Ok(()),
        }
    }
}

/// What a value without parts is to its rules.
enum Leaf {
    Text,
    Word(HashMap<i16, String>),
    Number(u8),
}

impl Leaf {
    fn of(ty: &Type) -> Option<Self> {
        Some(match ty {
            Type::String | Type::FixedString(_) => Self::Text,
            Type::Enum8(words) => {
                Self::Word(words.iter().map(|(word, code)| (i16::from(*code), word.clone())).collect())
            }
            Type::Enum16(words) => {
                Self::Word(words.iter().map(|(word, code)| (*code, word.clone())).collect())
            }
            Type::Decimal { scale, .. } => Self::Number(*scale),
            Type::Float32 | Type::Float64 => Self::Number(0),
            ty if ty.is_integer() => Self::Number(0),
            _ => return None,
        })
    }
}

/// Characters are those of UTF-8; bytes that are none count as one that stands for them.
fn text(rules: &Rules, bytes: &[u8]) -> Outcome {
    let text = match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    };
    check_string(Some(rules), &text)?;
    let mut foreign = rules.foreign.iter().filter(|(types, _)| types.intersects(Types::STRING)).peekable();
    if foreign.peek().is_none() {
        return Ok(());
    }
    let json = format!("\"{}\"", json_escaped(&text));
    foreign.try_for_each(|(_, foreign)| {
        foreign.check(json.as_bytes()).map_err(|violation| Refusal::validate(*violation, &json))
    })
}

fn in_bounds(rules: &NumberRules, column: &Column, row: usize, places: u8) -> Outcome {
    let told = |text: &str| rules.check(text).map_err(|violation| Refusal::validate(*violation, text));
    match column {
        Column::Float64(values) => {
            float(rules, values.get(row).copied().unwrap_or_default(), |value| format!("{value:?}"))
        }
        // As it was written, and not as the double that is next to it.
        Column::Float32(values) => {
            let value = values.get(row).copied().unwrap_or_default();
            float(rules, f64::from(value), |_| format!("{value:?}"))
        }
        column => match small(column, row) {
            Some(value) if places == 0 => rules
                .check_integer(value)
                .map_err(|violation| Refusal::validate(*violation, &value.to_string())),
            Some(value) => told(&decimal_text(I256::from(value), i64::from(places))),
            None => big(column, row, places).map_or(Ok(()), |text| told(&text)),
        },
    }
}

/// Of numbers that JSON cannot write, the infinite ones are beyond every bound, and one that is none is within none.
fn float(rules: &NumberRules, value: f64, written: impl FnOnce(f64) -> String) -> Outcome {
    if let Some((low, high)) = rules.integers()
        && value > low as f64
        && value < high as f64
    {
        return Ok(());
    }
    let told =
        |text: &str, found: &str| rules.check(text).map_err(|violation| Refusal::validate(*violation, found));
    if value.is_finite() {
        let text = written(value);
        let text = text.strip_suffix(".0").unwrap_or(&text);
        return told(text, text);
    }
    let found = if value.is_nan() { "NaN" } else { "Infinity" };
    if value.is_nan() || value > 0.0 {
        told("1e999999", found)?;
    }
    if value.is_nan() || value < 0.0 {
        told("-1e999999", if value.is_nan() { found } else { "-Infinity" })?;
    }
    Ok(())
}

/// An integer, or the digits of a decimal, that fits into 64 bits.
fn small(column: &Column, row: usize) -> Option<i64> {
    Some(match column {
        Column::UInt8(values) => i64::from(*values.get(row)?),
        Column::UInt16(values) => i64::from(*values.get(row)?),
        Column::UInt32(values) => i64::from(*values.get(row)?),
        Column::UInt64(values) => i64::try_from(*values.get(row)?).ok()?,
        Column::UInt128(values) => i64::try_from(*values.get(row)?).ok()?,
        Column::Int8(values) => i64::from(*values.get(row)?),
        Column::Int16(values) => i64::from(*values.get(row)?),
        Column::Int32(values) => i64::from(*values.get(row)?),
        Column::Int64(values) => *values.get(row)?,
        Column::Int128(values) => i64::try_from(*values.get(row)?).ok()?,
        _ => return None,
    })
}

/// The text of any other.
fn big(column: &Column, row: usize, places: u8) -> Option<String> {
    let number = match column {
        Column::UInt64(values) => I256::from(*values.get(row)?),
        Column::UInt128(values) => I256::from(*values.get(row)?),
        Column::Int128(values) => I256::from(*values.get(row)?),
        Column::Int256(values) => I256::from_le_bytes(*values.get(row)?),
        Column::UInt256(values) => return Some(U256::from_le_bytes(*values.get(row)?).to_string()),
        _ => return None,
    };
    Some(decimal_text(number, i64::from(places)))
}

fn word(column: &Column, row: usize) -> Option<i16> {
    match column {
        Column::Enum8(column) => column.values.get(row).map(|code| i16::from(*code)),
        Column::Enum16(column) => column.values.get(row).copied(),
        _ => None,
    }
}

fn unpadded(text: &[u8]) -> &[u8] {
    &text[..text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
}

#[cold]
fn key(keys: &Column, row: usize) -> String {
    match keys.value(row) {
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::UInt(number)) => number.to_string(),
        _ => String::new(),
    }
}
