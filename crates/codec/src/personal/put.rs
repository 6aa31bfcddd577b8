//! One row's clear value into the column of what is stored.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use hmac::{Hmac, KeyInit as _};
use sha2::Sha256;
use tidegate_native::{Column, Type};

use super::{Period, PersonalAction, PseudonymKey, Treatment, mac};
use crate::avro::civil;
use crate::instant::days;

/// What is kept from row to row, so that nothing is allocated for one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memo {
    text: Vec<u8>,
    /// The values that tell pseudonyms apart, each behind its length.
    apart: Vec<u8>,
    /// For each column, the key for the values of the last row: most often the next one's too.
    derived: Vec<Option<(Vec<u8>, Hmac<Sha256>)>>,
}

/// Types whose values have one text each, whatever format they came in.
pub(super) const fn texted(ty: &Type) -> bool {
    matches!(ty, Type::String | Type::FixedString(_) | Type::Uuid | Type::IPv4 | Type::IPv6) || whole(ty)
}

/// Whole numbers of at most 64 bits.
pub(super) const fn whole(ty: &Type) -> bool {
    matches!(
        ty,
        Type::UInt8
            | Type::UInt16
            | Type::UInt32
            | Type::UInt64
            | Type::Int8
            | Type::Int16
            | Type::Int32
            | Type::Int64
    )
}

impl Treatment {
    /// Puts what is stored of a row's value behind the rows that `stored` has.
    pub(crate) fn put(&self, columns: &[Column], row: usize, stored: &mut Column, memo: &mut Memo) {
        let mut apart = std::mem::take(&mut memo.apart);
        apart.clear();
        for (place, leaf) in &self.per {
            memo.text.clear();
            text_within(&columns[*place], row, leaf, &mut memo.text);
            apart.extend((memo.text.len() as u64).to_be_bytes());
            apart.extend(&memo.text);
        }
        memo.apart = apart;
        self.value(&columns[self.place], row, stored, memo);
    }

    /// Goes through nulls, dictionaries and lists.
    fn value(&self, clear: &Column, row: usize, stored: &mut Column, memo: &mut Memo) {
        match (clear, stored) {
            (Column::Nullable(clear), stored) if clear.nulls().get(row) != Some(&0) => nothing(stored),
            (Column::LowCardinality(clear), stored)
                if clear.nullable() && clear.keys().get(row).is_none_or(|key| *key == 0) =>
            {
                nothing(stored);
            }
            (Column::Nullable(clear), stored) => self.value(&clear.values, row, stored, memo),
            (Column::LowCardinality(clear), stored) => {
                let place = clear.keys().get(row).map_or(0, |key| *key as usize);
                self.value(clear.dictionary(), place, stored, memo);
            }
            (Column::Array(clear), Column::Array(stored)) => {
                for item in clear.range(row).unwrap_or_default() {
                    self.value(&clear.elements, item, &mut stored.elements, memo);
                }
                stored.end_row();
            }
            (clear, Column::Nullable(stored)) => {
                self.value(clear, row, &mut stored.values, memo);
                stored.end_value();
            }
            (clear, Column::LowCardinality(stored)) => {
                self.value(clear, row, stored.value_mut(), memo);
                stored.end_value();
            }
            (clear, stored) => self.leaf(clear, row, stored, memo),
        }
    }

    fn leaf(&self, clear: &Column, row: usize, stored: &mut Column, memo: &mut Memo) {
        let put = match &self.action {
            PersonalAction::Drop => false,
            PersonalAction::Pseudonymise { key, .. } => self.pseudonym(clear, row, (stored, key), memo),
            PersonalAction::Truncate { characters_max, ipv4_prefix, ipv6_prefix } => match self.leaf {
                Type::String => text(clear, row, stored, |text| beginning(text, characters_max.unwrap_or(0))),
                _ => network(clear, row, stored, (*ipv4_prefix, *ipv6_prefix)),
            },
            PersonalAction::Generalise { step, to } => match &self.leaf {
                Type::String => text(clear, row, stored, origin),
                leaf if whole(leaf) => multiple(clear, row, stored, step.unwrap_or(1)),
                leaf => start(clear, row, stored, (*to, leaf)),
            },
        };
        if !put {
            stored.push_default();
        }
    }

    fn pseudonym(
        &self,
        clear: &Column,
        row: usize,
        (stored, key): (&mut Column, &PseudonymKey),
        memo: &mut Memo,
    ) -> bool {
        memo.text.clear();
        text_of(clear, row, &self.leaf, &mut memo.text);
        let Column::String(stored) = stored else { return false };
        // An empty text says that there is nobody, and so should what is stored.
        if memo.text.is_empty() {
            return false;
        }
        let made = if self.per.is_empty() {
            mac(&key.keyed, &memo.text)
        } else {
            mac(&derive(self.place, key, memo).clone(), &memo.text)
        };
        stored.push(&hexadecimal(made));
        true
    }
}

/// The key for the values that tell pseudonyms apart: what the column's key makes of them.
fn derive<'m>(place: usize, key: &PseudonymKey, memo: &'m mut Memo) -> &'m Hmac<Sha256> {
    if memo.derived.len() <= place {
        memo.derived.resize_with(place + 1, || None);
    }
    let known = memo.derived[place].take().filter(|(apart, _)| *apart == memo.apart);
    let derived = known.unwrap_or_else(|| {
        let made = mac(&key.keyed, &memo.apart);
        (memo.apart.clone(), Hmac::new_from_slice(&made).expect("HMAC takes keys of any length"))
    });
    &memo.derived[place].insert(derived).1
}

/// The first 16 bytes: half of the hash, as RFC 2104 asks for at least.
fn hexadecimal(made: [u8; 32]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(made) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xF)];
    }
    text
}

fn nothing(stored: &mut Column) {
    if !stored.push_null() {
        stored.push_default();
    }
}

/// The text of a single value; none of a NULL.
fn text_within(column: &Column, row: usize, leaf: &Type, out: &mut Vec<u8>) {
    match column {
        Column::Nullable(inner) if inner.nulls().get(row) != Some(&0) => {}
        Column::Nullable(inner) => text_of(&inner.values, row, leaf, out),
        Column::LowCardinality(inner) => match inner.keys().get(row) {
            Some(0) if inner.nullable() => {}
            Some(key) => text_of(inner.dictionary(), *key as usize, leaf, out),
            None => {}
        },
        other => text_of(other, row, leaf, out),
    }
}

/// The one text of a value, in every format that it may come in.
fn text_of(column: &Column, row: usize, leaf: &Type, out: &mut Vec<u8>) {
    // Writing into a `Vec` does not fail.
    let mut number = |number: i128| {
        let _ = write!(out, "{number}");
    };
    match column {
        Column::String(texts) => out.extend_from_slice(texts.get(row).unwrap_or_default()),
        Column::FixedString(texts) => {
            let padded = texts.get(row).unwrap_or_default();
            let length = padded.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            out.extend_from_slice(&padded[..length]);
        }
        Column::Uuid(values) => {
            let [high, low] = values.get(row).copied().unwrap_or_default();
            let (first, second) = (high >> 32, high >> 16 & 0xFFFF);
            let (third, fourth, last) = (high & 0xFFFF, low >> 48, low & 0xFFFF_FFFF_FFFF);
            let _ = write!(out, "{first:08x}-{second:04x}-{third:04x}-{fourth:04x}-{last:012x}");
        }
        Column::IPv6(values) => {
            let address = Ipv6Addr::from(values.get(row).copied().unwrap_or_default());
            let _ = write!(out, "{}", address.to_canonical());
        }
        Column::UInt32(values) if *leaf == Type::IPv4 => {
            let _ = write!(out, "{}", Ipv4Addr::from(values.get(row).copied().unwrap_or_default()));
        }
        other => {
            if let Some(value) = whole_number(other, row) {
                number(value);
            }
        }
    }
}

fn whole_number(column: &Column, row: usize) -> Option<i128> {
    Some(match column {
        Column::UInt8(values) => i128::from(*values.get(row)?),
        Column::UInt16(values) => i128::from(*values.get(row)?),
        Column::UInt32(values) => i128::from(*values.get(row)?),
        Column::UInt64(values) => i128::from(*values.get(row)?),
        Column::Int8(values) => i128::from(*values.get(row)?),
        Column::Int16(values) => i128::from(*values.get(row)?),
        Column::Int32(values) => i128::from(*values.get(row)?),
        Column::Int64(values) => i128::from(*values.get(row)?),
        Column::Date32(column) => i128::from(*column.values.get(row)?),
        _ => return None,
    })
}

fn text(clear: &Column, row: usize, stored: &mut Column, change: impl FnOnce(&[u8]) -> &[u8]) -> bool {
    let (Column::String(clear), Column::String(stored)) = (clear, stored) else { return false };
    stored.push(change(clear.get(row).unwrap_or_default()));
    true
}

fn beginning(text: &[u8], characters_max: usize) -> &[u8] {
    // A character begins at each byte that continues none.
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte & 0xC0 != 0x80);
    starts.map(|(at, _)| at).nth(characters_max).map_or(text, |end| &text[..end])
}

/// Scheme, host and port. Of what is no such URL nothing is left.
fn origin(url: &[u8]) -> &[u8] {
    let Some(scheme) = url.windows(3).position(|window| window == b"://") else { return &[] };
    let authority = scheme + 3;
    let end = url[authority..].iter().position(|byte| b"/?#\\".contains(byte));
    let end = end.map_or(url.len(), |length| authority + length);
    // A name and a password before the host would be more than the origin.
    if url[authority..end].contains(&b'@') { &url[..authority] } else { &url[..end] }
}

fn network(clear: &Column, row: usize, stored: &mut Column, (ipv4, ipv6): (u8, u8)) -> bool {
    let kept = |bits: u8| u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
    match (clear, stored) {
        (Column::UInt32(clear), Column::UInt32(stored)) => {
            stored.push(clear.get(row).copied().unwrap_or_default() & kept(ipv4));
        }
        (Column::IPv6(clear), Column::IPv6(stored)) => {
            let address = Ipv6Addr::from(clear.get(row).copied().unwrap_or_default());
            let truncated = match address.to_ipv4_mapped() {
                Some(address) => Ipv4Addr::from(u32::from(address) & kept(ipv4)).to_ipv6_mapped(),
                None => {
                    let mask = u128::MAX.checked_shl(128 - u32::from(ipv6.min(128))).unwrap_or(0);
                    Ipv6Addr::from(u128::from(address) & mask)
                }
            };
            stored.push(truncated.octets());
        }
        _ => return false,
    }
    true
}

fn multiple(clear: &Column, row: usize, stored: &mut Column, step: u64) -> bool {
    let Some(value) = whole_number(clear, row) else { return false };
    let below = value.div_euclid(i128::from(step)) * i128::from(step);
    // The multiple below the least number may be none of the type; then the number's own end is coarse enough.
    crate::scalar::push_integer(below, stored) || crate::scalar::push_integer(0, stored)
}

fn start(clear: &Column, row: usize, stored: &mut Column, (period, leaf): (Period, &Type)) -> bool {
    let ticks_a_day: i128 = match leaf {
        Type::Date | Type::Date32 => 1,
        Type::DateTime64 { precision, .. } => 86_400 * 10_i128.pow(u32::from(*precision)),
        _ => 86_400,
    };
    let Some(value) = whole_number(clear, row) else { return false };
    let begun = first_day(value.div_euclid(ticks_a_day), period) * ticks_a_day;
    match stored {
        Column::Date32(stored) => i32::try_from(begun).map(|begun| stored.push(begun)).is_ok(),
        stored => crate::scalar::push_integer(begun, stored),
    }
}

/// The first day of the period that the day is in.
fn first_day(day: i128, period: Period) -> i128 {
    // No column has days that far away.
    let (year, month, _) = civil(i64::try_from(day).unwrap_or(0));
    let first = |month: i64| {
        let (year, month) = (u32::try_from(year).ok()?, u32::try_from(month).ok()?);
        days(year, month, 1).map(i128::from)
    };
    match period {
        Period::Day => Some(day),
        Period::Month => first(month),
        Period::Year => first(1),
    }
    .unwrap_or(day)
}
