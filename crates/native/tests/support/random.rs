//! Random types, and random values for a column of a type.

use tidegate_native::{Column, TupleElement, Type};

/// A stream of numbers from a seed (splitmix64): a failing case is its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = [0, 1, 2, 5, 20, 127, 128, 300][self.below(8)];
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// A type that the server accepts for a column, with `depth` levels below it.
pub(crate) fn any_type(random: &mut Random, depth: usize) -> Type {
    if depth == 0 {
        return scalar(random);
    }
    match random.below(12) {
        0 | 1 => Type::Nullable(Box::new(scalar(random))),
        2 => Type::LowCardinality(Box::new(entry(random))),
        3 => Type::LowCardinality(Box::new(entry(random).nullable())),
        4 | 5 => any_type(random, depth - 1).array(),
        6 => Type::Map(Box::new(key(random)), Box::new(any_type(random, depth - 1))),
        7 => Type::Tuple(tuple(random, depth)),
        8 => Type::Nested(vec![
            ("a".to_owned(), scalar(random)),
            ("b c".to_owned(), any_type(random, depth - 1)),
        ]),
        9 => Type::variant(alternatives(random, depth)),
        10 => Type::Dynamic { max_types: [None, Some(0), Some(3), Some(254)][random.below(4)] },
        _ => Type::Json(Box::default()),
    }
}

fn tuple(random: &mut Random, depth: usize) -> Vec<TupleElement> {
    let named = random.coin();
    let names = ["a", "a b", "select", "é`\\", "_x1"];
    let element = |index: usize, ty: Type| TupleElement { name: named.then(|| names[index].to_owned()), ty };
    (0..1 + random.below(5)).map(|index| element(index, any_type(random, depth - 1))).collect()
}

/// What a Variant may have: no NULL, no Variant, no Dynamic of its own.
fn alternatives(random: &mut Random, depth: usize) -> Vec<Type> {
    let n = 1 + random.below(4);
    let mut types: Vec<Type> = (0..n).map(|_| scalar(random)).collect();
    if random.coin() {
        types.push(any_type(random, depth - 1).array());
    }
    if random.coin() {
        types.push(Type::LowCardinality(Box::new(Type::String)));
    }
    types
}

fn key(random: &mut Random) -> Type {
    let low = Type::LowCardinality(Box::new(Type::String));
    [Type::String, Type::UInt64, Type::Int8, Type::Uuid, Type::Date, low][random.below(6)].clone()
}

/// What LowCardinality may have.
fn entry(random: &mut Random) -> Type {
    let utc = Some("UTC".to_owned());
    [
        Type::String,
        Type::FixedString(3),
        Type::UInt16,
        Type::Int64,
        Type::UInt256,
        Type::Float64,
        Type::Date,
        Type::DateTime { timezone: utc },
        Type::Uuid,
    ][random.below(9)]
    .clone()
}

pub(crate) fn scalar(random: &mut Random) -> Type {
    let mut zone =
        || [None, Some("UTC".to_owned()), Some("Europe/Berlin".to_owned())][random.below(3)].clone();
    let (zone, zone64) = (zone(), zone());
    let precision = 1 + random.below(76) as u8;
    let mut all = vec![
        Type::Decimal { precision, scale: random.below(usize::from(precision) + 1) as u8 },
        Type::FixedString(1 + random.below(20)),
        Type::DateTime { timezone: zone },
        Type::DateTime64 { precision: random.below(10) as u8, timezone: zone64 },
        Type::Time64 { precision: random.below(10) as u8 },
        Type::Enum8(vec![("a".to_owned(), -3), ("it's \\ \n".to_owned(), 0), ("é".to_owned(), 127)]),
        Type::Enum16(vec![("x".to_owned(), -300), (String::new(), 5), ("(,'".to_owned(), 999)]),
        Type::parse("Point").unwrap(),
    ];
    let plain = "Bool Int8 Int16 Int32 Int64 Int128 Int256 UInt8 UInt16 UInt32 UInt64 UInt128 UInt256 Float32 \
                 Float64 BFloat16 String String String UUID IPv4 IPv6 Date Date32 Time";
    all.extend(plain.split_ascii_whitespace().map(|name| Type::parse(name).unwrap()));
    // A Point is a tuple, which Nullable and Variant don't take by default: as an array's element only.
    if random.below(20) > 0 {
        all.remove(7);
    }
    let chosen = random.below(all.len());
    match all.swap_remove(chosen) {
        Type::Alias { .. } => Type::String,
        other => other,
    }
}

/// Pushes one random value and finishes it.
pub(crate) fn push(column: &mut Column, random: &mut Random) {
    match column {
        Column::UInt8(values) => values.push(random.coin().into()),
        Column::UInt16(values) => values.push(random.next() as u16),
        Column::UInt32(values) => values.push(random.next() as u32),
        Column::UInt64(values) => values.push(random.next()),
        Column::UInt128(values) => values.push(random.wide()),
        Column::Int8(values) => values.push(random.next() as i8),
        Column::Int16(values) => values.push(random.next() as i16),
        Column::Int32(values) => values.push(random.next() as i32 % 3_600_000),
        Column::Int64(values) => values.push(random.next() as i64),
        Column::Int128(values) => values.push(random.wide() as i128),
        Column::UInt256(values) | Column::Int256(values) => {
            let mut bytes = [0; 32];
            bytes[..16].copy_from_slice(&random.wide().to_le_bytes());
            values.push(bytes);
        }
        Column::Float32(values) => values.push(random.next() as i32 as f32 / 8.0),
        Column::Float64(values) => values.push(random.next() as i64 as f64 / 8.0),
        Column::Date32(column) => column.push(random.below(100_000) as i32 - 20_000),
        Column::Enum8(column) => column.push([-3, 0, 127][random.below(3)]),
        Column::Enum16(column) => column.push([-300, 5, 999][random.below(3)]),
        Column::Uuid(values) => values.push([random.next(), random.next()]),
        Column::IPv6(values) => values.push(random.wide().to_be_bytes()),
        Column::String(column) => column.push(&random.bytes()),
        Column::FixedString(column) => {
            let bytes = random.bytes();
            column.push(&bytes[..bytes.len().min(column.width())]).unwrap();
        }
        Column::Json(column) => {
            let n = random.below(100);
            column.push_str(["{}", &format!(r#"{{"a":{n},"b":{{"c":"x{n}"}}}}"#)][random.below(2)]);
        }
        Column::Nothing(rows) => *rows += 1,
        Column::Nullable(_)
        | Column::LowCardinality(_)
        | Column::Array(_)
        | Column::Map(_)
        | Column::Tuple(_)
        | Column::Variant(_)
        | Column::Dynamic(_) => push_compound(column, random, true),
    }
}

/// Pushes a part of a value, and does not finish it.
pub(crate) fn push_part(column: &mut Column, random: &mut Random) {
    match column {
        Column::Nullable(_)
        | Column::LowCardinality(_)
        | Column::Array(_)
        | Column::Map(_)
        | Column::Tuple(_)
        | Column::Variant(_)
        | Column::Dynamic(_) => push_compound(column, random, false),
        _ => push(column, random),
    }
}

fn push_compound(column: &mut Column, random: &mut Random, finished: bool) {
    if finished && random.below(4) == 0 && column.push_null() {
        return;
    }
    let part = if finished { push } else { push_part };
    match column {
        Column::Nullable(column) => {
            part(&mut column.values, random);
            finished.then(|| column.end_value());
        }
        Column::LowCardinality(column) => {
            part(column.value_mut(), random);
            finished.then(|| column.end_value());
        }
        Column::Array(column) => {
            (0..random.below(4)).for_each(|_| push(&mut column.elements, random));
            if finished { column.end_row() } else { push_part(&mut column.elements, random) }
        }
        Column::Map(column) => {
            for _ in 0..random.below(4) {
                push(&mut column.keys, random);
                push(&mut column.values, random);
            }
            if finished { column.end_row() } else { push_part(&mut column.keys, random) }
        }
        Column::Tuple(column) => {
            let n = if finished { column.columns.len() } else { random.below(column.columns.len() + 1) };
            column.columns[..n].iter_mut().for_each(|column| part(column, random));
            finished.then(|| column.end_row());
        }
        Column::Variant(column) => {
            let alternative = random.below(column.columns().len()) as u8;
            part(column.value_mut(alternative).unwrap(), random);
            finished.then(|| column.end_value(alternative));
        }
        Column::Dynamic(column) => {
            let names = "Bool Int64 UInt64 Float64 String Array(Nullable(Int64)) Array(Dynamic) JSON Date \
                         Array(Array(String)) LowCardinality(String)";
            let names: Vec<&str> = names.split_ascii_whitespace().collect();
            // Not ever deeper: Array(Dynamic) is one of eleven.
            let slot = column.slot(&Type::parse(names[random.below(names.len())]).unwrap()).unwrap();
            part(column.value_mut(slot).unwrap(), random);
            finished.then(|| column.end_value(slot));
        }
        other => push(other, random),
    }
}
