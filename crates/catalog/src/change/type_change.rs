//! Whether every value of one type of ClickHouse's is a value of another.

use std::collections::BTreeMap;

use super::sql::{literal, parts, words};

/// What becomes of a column's values when its type changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TypeChange {
    /// The types are one.
    Same,
    /// Every value stays what it is; `MODIFY COLUMN` does it while rows are written.
    Wider,
    /// A value may be lost, or become another.
    Narrower,
}

/// What becomes of the values of a column of type `from` that is to be of type `to`.
#[must_use]
pub(super) fn type_change(from: &str, to: &str) -> TypeChange {
    let (mut from, mut to) = (from.trim(), to.trim());
    let mut at_least = TypeChange::Same;
    // A loop: rustc 1.95 (LLVM 22) makes one of a recursion whose result is raised by `max`, and its results are wrong.
    while from != to {
        let ((from_outer, from_inner), (to_outer, to_inner)) = (outer(from), outer(to));
        match (from_outer, to_outer) {
            // A dictionary is a way of storing.
            ("LowCardinality", _) => (from, at_least) = (from_inner.trim(), TypeChange::Wider),
            (_, "LowCardinality") => (to, at_least) = (to_inner.trim(), TypeChange::Wider),
            ("Nullable", "Nullable") | ("Array", "Array") => {
                (from, to) = (from_inner.trim(), to_inner.trim())
            }
            (_, "Nullable") => (to, at_least) = (to_inner.trim(), TypeChange::Wider),
            (_, _) => return at_least.max(of_different(from, to)),
        }
    }
    at_least
}

/// The same of two types that are not one and have nothing around them.
fn of_different(from: &str, to: &str) -> TypeChange {
    let ((from_outer, from_inner), (to_outer, to_inner)) = (outer(from), outer(to));
    match (from_outer, to_outer) {
        ("Map", "Map") => of_parts(from_inner, to_inner),
        ("Tuple", "Tuple") => of_members(from_inner, to_inner),
        ("Enum8" | "Enum16", "Enum8" | "Enum16") => {
            let to = enum_words(to_inner);
            let kept = enum_words(from_inner).iter().all(|(word, code)| to.get(word) == Some(code));
            if kept { TypeChange::Wider } else { TypeChange::Narrower }
        }
        ("Enum8" | "Enum16", "String") => TypeChange::Wider,
        ("Decimal", "Decimal") => match (digits(from_inner), digits(to_inner)) {
            (Some((whole, scale)), Some((to_whole, to_scale))) if to_whole >= whole && to_scale >= scale => {
                TypeChange::Wider
            }
            (_, _) => TypeChange::Narrower,
        },
        ("DateTime64", "DateTime64") => time(from_inner, to_inner),
        (_, _) => numbers(from, to),
    }
}

/// `Nullable(String)` as `Nullable` and `String`; a type without arguments has none.
fn outer(ty: &str) -> (&str, &str) {
    match ty.strip_suffix(')').and_then(|ty| ty.split_once('(')) {
        Some((name, inner)) => (name, inner),
        None => (ty, ""),
    }
}

/// The arguments between commas.
fn arguments(inner: &str) -> Vec<String> {
    let all = words(inner);
    parts(&all, 0).map(|part| super::sql::Sql::of(inner, part).as_str().to_owned()).collect()
}

fn of_parts(from: &str, to: &str) -> TypeChange {
    let (from, to) = (arguments(from), arguments(to));
    if from.len() != to.len() {
        return TypeChange::Narrower;
    }
    from.iter().zip(&to).map(|(from, to)| type_change(from, to)).max().unwrap_or(TypeChange::Same)
}

/// Tuples are read by their members' names: one that is added is empty in rows that stand there.
fn of_members(from: &str, to: &str) -> TypeChange {
    let members = |inner| -> BTreeMap<String, String> {
        arguments(inner)
            .iter()
            .filter_map(|member| {
                let (name, ty) = member.split_once(' ')?;
                Some((super::sql::unquoted(name), ty.to_owned()))
            })
            .collect()
    };
    let (from, to) = (members(from), members(to));
    let kept = from.iter().map(|(name, ty)| match to.get(name) {
        Some(to) => type_change(ty, to),
        None => TypeChange::Narrower,
    });
    kept.max().unwrap_or(TypeChange::Same).max(TypeChange::Wider)
}

fn enum_words(inner: &str) -> BTreeMap<String, String> {
    arguments(inner)
        .iter()
        .filter_map(|word| {
            let (word, code) = word.rsplit_once('=')?;
            Some((literal(word.trim())?, code.trim().to_owned()))
        })
        .collect()
}

/// Digits before and after the point.
fn digits(inner: &str) -> Option<(u8, u8)> {
    let (precision, scale) = inner.split_once(',')?;
    let (precision, scale): (u8, u8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    Some((precision.checked_sub(scale)?, scale))
}

/// More digits of a second; nanoseconds end in the year 2262, so that they do not take every time.
fn time(from: &str, to: &str) -> TypeChange {
    let (from, to) = (arguments(from), arguments(to));
    let digits = |of: &[String]| of.first().and_then(|digits| digits.parse::<u8>().ok());
    match (digits(&from), digits(&to)) {
        (Some(old), Some(new)) if old <= new && new < 9 && from.get(1) == to.get(1) => TypeChange::Wider,
        (_, _) => TypeChange::Narrower,
    }
}

fn numbers(from: &str, to: &str) -> TypeChange {
    let contained = match (integer(from), integer(to)) {
        (Some((true, old)), Some((true, new))) | (Some((false, old)), Some((false, new))) => old <= new,
        (Some((false, old)), Some((true, new))) => old < new,
        (Some((true, _)), Some((false, _))) => false,
        (_, _) => matches!((from, to), ("Float32", "Float64") | ("Date", "Date32")),
    };
    if contained { TypeChange::Wider } else { TypeChange::Narrower }
}

/// Whether it has a sign, and how many bits.
fn integer(ty: &str) -> Option<(bool, u16)> {
    let (signed, bits) = match ty.strip_prefix("UInt") {
        Some(bits) => (false, bits),
        None => (true, ty.strip_prefix("Int")?),
    };
    Some((signed, bits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_wider_if_it_has_every_value() {
        for (from, to) in [
            ("UInt8", "UInt32"),
            ("UInt8", "Int16"),
            ("Int32", "Nullable(Int64)"),
            ("String", "LowCardinality(Nullable(String))"),
            ("LowCardinality(String)", "String"),
            ("Enum8('a' = 1)", "Enum16('b' = 300, 'a' = 1)"),
            ("Enum8('a' = 1)", "LowCardinality(String)"),
            ("Decimal(12, 6)", "Decimal(18, 6)"),
            ("DateTime64(3, 'UTC')", "DateTime64(6, 'UTC')"),
            ("Float32", "Float64"),
            ("Array(UInt8)", "Array(UInt16)"),
            ("Map(String, UInt8)", "Map(String, UInt16)"),
            ("Array(Tuple(a UInt8))", "Array(Tuple(a UInt16, b Nullable(String)))"),
        ] {
            assert_eq!(type_change(from, to), TypeChange::Wider, "{from} to {to}");
            assert_eq!(type_change(from, from), TypeChange::Same);
            if !from.contains("String") {
                assert_eq!(type_change(to, from), TypeChange::Narrower, "{to} to {from}");
            }
        }
    }

    #[test]
    fn a_type_that_lacks_a_value_is_narrower() {
        for (from, to) in [
            ("UInt32", "Int32"),
            ("Int8", "UInt64"),
            ("Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1)"),
            ("Enum8('a' = 1)", "Enum8('a' = 2)"),
            ("Decimal(18, 6)", "Decimal(18, 8)"),
            ("DateTime64(3, 'UTC')", "DateTime64(9, 'UTC')"),
            ("DateTime64(3, 'UTC')", "DateTime64(3, 'Asia/Tokyo')"),
            ("String", "UUID"),
            ("Tuple(a UInt8, b UInt8)", "Tuple(a UInt8)"),
            ("String", "Enum8('a' = 1)"),
            ("Nullable(UInt8)", "UInt8"),
        ] {
            assert_eq!(type_change(from, to), TypeChange::Narrower, "{from} to {to}");
        }
    }
}
