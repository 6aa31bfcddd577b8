//! What this crate writes and reads, against the real engine. Skipped where its library is absent.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/http.rs"]
mod http;
#[path = "support/random.rs"]
mod random;

use std::net::{Ipv4Addr, Ipv6Addr};

use ethnum::I256;
use http::{send, with_engine};
use random::{Random, any_type, push};
use tidegate_engine::Engine;
use tidegate_native::{BlockColumn, Column, ReadColumn, Type, read_blocks, write_block};

/// Not a claim: the engine's process when these tests start one.
#[test]
#[ignore = "is the engine's process, started by the other tests"]
fn engine_child() {
    tidegate_engine::run_child_if_asked();
}

/// One insert of all columns into a table made for them, and what the table then gives.
#[track_caller]
fn through_the_engine(engine: &Engine, columns: &[(Type, Column)]) -> Vec<ReadColumn> {
    let names: Vec<String> = (0..columns.len()).map(|n| format!("c{n}")).collect();
    let types: Vec<String> = columns.iter().map(|(ty, _)| ty.to_string()).collect();
    let list: Vec<String> = names.iter().zip(&types).map(|(name, ty)| format!("{name} {ty}")).collect();
    let ddl = format!("CREATE OR REPLACE TABLE ev.t ({}) ENGINE = Memory", list.join(", "));
    send(engine, &ddl, b"").unwrap_or_else(|error| panic!("{ddl}: {error}"));
    let block_columns: Vec<BlockColumn<'_>> = names
        .iter()
        .zip(&types)
        .zip(columns)
        .map(|((name, ty), (_, column))| BlockColumn { name, ty, column })
        .collect();
    let mut body = Vec::new();
    let rows = columns[0].1.len();
    write_block(&block_columns, rows, &mut body).unwrap();
    if let Err(error) = send(engine, "INSERT INTO ev.t FORMAT Native", &body) {
        panic!("{error}\n{}", guilty(engine, &block_columns, rows));
    }
    let answer = send(engine, "SELECT * FROM ev.t FORMAT Native", b"").unwrap();
    let mut blocks = read_blocks(&answer).unwrap();
    assert_eq!(blocks.len(), 1, "a small table is one block");
    blocks.remove(0).columns
}

/// The columns that are refused on their own.
fn guilty(engine: &Engine, columns: &[BlockColumn<'_>], rows: usize) -> String {
    let refused = columns.iter().filter_map(|column| {
        let mut body = Vec::new();
        write_block(std::slice::from_ref(column), rows, &mut body).unwrap();
        let insert = format!("INSERT INTO ev.t ({}) FORMAT Native", column.name);
        let error = send(engine, &insert, &body).err()?;
        Some(format!("{}: {}\n", column.ty, error.chars().take(300).collect::<String>()))
    });
    refused.collect()
}

#[track_caller]
fn check(engine: &Engine, columns: &[(Type, Column)]) {
    let read = through_the_engine(engine, columns);
    for (read, (ty, column)) in read.iter().zip(columns) {
        // To a client of revision 0 the server gives a DateTime's type without its time zone.
        if !matches!(ty, Type::DateTime { .. }) {
            assert_eq!(read.ty, *ty);
            assert_eq!(read.ty.to_string(), ty.to_string());
        }
        for row in 0..column.len() {
            assert_eq!(read.column.value(row), column.value(row), "row {row} of {ty}");
        }
    }
}

#[test]
fn random_rows_of_random_types_come_back_equal() {
    with_engine(|engine| {
        send(engine, "CREATE DATABASE ev", b"").unwrap();
        for seed in 0..40 {
            let mut random = Random(seed);
            let columns: Vec<(Type, Column)> = (0..12)
                .map(|n| {
                    let ty = any_type(&mut random, n % 4);
                    let mut column = Column::for_type(&ty).unwrap();
                    (0..30).for_each(|_| push(&mut column, &mut random));
                    (ty, column)
                })
                .collect();
            check(engine, &columns);
        }
    });
}

/// Pushes into a column whose variant is known.
macro_rules! put {
    ($column:expr, $variant:ident, |$v:ident| $push:expr) => {{
        let Column::$variant($v) = $column else { panic!("the column is no {}", stringify!($variant)) };
        $push;
    }};
}

/// A type, how a value is pushed, and how the server prints it.
type Meaning = (&'static str, fn(&mut Column), &'static str);

const MEANINGS: [Meaning; 27] = [
    ("Bool", |c| put!(c, UInt8, |v| v.push(1)), "true"),
    ("Int128", |c| put!(c, Int128, |v| v.push(i128::MIN)), "-170141183460469231731687303715884105728"),
    ("UInt128", |c| put!(c, UInt128, |v| v.push(1 << 64)), "18446744073709551616"),
    ("Int256", |c| put!(c, Int256, |v| v.push([0xFF; 32])), "-1"),
    ("UInt256", |c| put!(c, UInt256, |v| v.push(I256::new(258).to_le_bytes())), "258"),
    ("Float32", |c| put!(c, Float32, |v| v.push(-0.5)), "-0.5"),
    ("BFloat16", |c| put!(c, UInt16, |v| v.push((1.5f32.to_bits() >> 16) as u16)), "1.5"),
    ("Decimal(9, 2)", |c| put!(c, Int32, |v| v.push(-1250)), "-12.5"),
    ("Decimal(18, 18)", |c| put!(c, Int64, |v| v.push(1)), "0.000000000000000001"),
    ("Decimal(38, 1)", |c| put!(c, Int128, |v| v.push(-15)), "-1.5"),
    ("Decimal(76, 3)", |c| put!(c, Int256, |v| v.push(I256::new(-1001).to_le_bytes())), "-1.001"),
    ("FixedString(3)", |c| put!(c, FixedString, |v| v.push(b"ab").unwrap()), "ab\\0"),
    (
        "UUID",
        |c| put!(c, Uuid, |v| v.push([0x0011_2233_4455_6677, 0x8899_AABB_CCDD_EEFF])),
        "00112233-4455-6677-8899-aabbccddeeff",
    ),
    ("IPv4", |c| put!(c, UInt32, |v| v.push(Ipv4Addr::new(10, 0, 0, 7).into())), "10.0.0.7"),
    (
        "IPv6",
        |c| put!(c, IPv6, |v| v.push(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets())),
        "2001:db8::7",
    ),
    ("Date", |c| put!(c, UInt16, |v| v.push(19_000)), "2022-01-08"),
    ("Date32", |c| put!(c, Date32, |v| v.push(-1)), "1969-12-31"),
    ("DateTime('UTC')", |c| put!(c, UInt32, |v| v.push(1_600_000_000)), "2020-09-13 12:26:40"),
    ("DateTime64(3, 'UTC')", |c| put!(c, Int64, |v| v.push(1_600_000_000_123)), "2020-09-13 12:26:40.123"),
    ("Time", |c| put!(c, Int32, |v| v.push(-3_661)), "-01:01:01"),
    ("Time64(3)", |c| put!(c, Int64, |v| v.push(3_661_005)), "01:01:01.005"),
    ("Enum8('a' = -1, 'b' = 2)", |c| put!(c, Enum8, |v| v.push(2)), "b"),
    ("Nullable(Int8)", |c| assert!(c.push_null()), "\\N"),
    ("LowCardinality(UInt16)", |c| put!(c, LowCardinality, |v| assert!(v.push(&[1, 2]))), "513"),
    (
        "JSON",
        |c| put!(c, Json, |v| v.push_str(r#"{"b":{"c":"x"},"a":[1,null]}"#)),
        r#"{"a":[1,null],"b":{"c":"x"}}"#,
    ),
    (
        "Variant(String, UInt8)",
        |c| {
            put!(c, Variant, |v| {
                put!(v.value_mut(0).unwrap(), String, |v| v.push_str("first by name"));
                v.end_value(0);
            })
        },
        "first by name",
    ),
    (
        "Map(String, UInt8)",
        |c| {
            put!(c, Map, |v| {
                put!(&mut v.keys, String, |v| v.push_str("k"));
                put!(&mut v.values, UInt8, |v| v.push(7));
                v.end_row();
            })
        },
        "{'k':7}",
    ),
];

#[test]
fn values_mean_to_the_server_what_they_mean_here() {
    with_engine(|engine| {
        send(engine, "CREATE DATABASE ev", b"").unwrap();
        let build = |(ty, push, _): &Meaning| {
            let ty = Type::parse(ty).unwrap();
            let mut column = Column::for_type(&ty).unwrap();
            push(&mut column);
            (ty, column)
        };
        let columns: Vec<(Type, Column)> = MEANINGS.iter().map(build).collect();
        through_the_engine(engine, &columns);
        let answer = send(engine, "SELECT * FROM ev.t FORMAT TSV", b"").unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let printed: Vec<&str> = answer.trim_end_matches('\n').split('\t').collect();
        assert_eq!(printed, MEANINGS.map(|(_, _, text)| text));
    });
}

#[test]
fn defaults_and_nulls_are_the_servers_own() {
    with_engine(|engine| {
        send(engine, "CREATE DATABASE ev", b"").unwrap();
        let mut random = Random(1);
        let columns: Vec<(Type, Column)> = (0..150)
            .map(|n| {
                let ty = any_type(&mut random, n % 3);
                let mut column = Column::for_type(&ty).unwrap();
                column.push_default();
                (ty, column)
            })
            .collect();
        check(engine, &columns);
        // The same row made by the server: every column left out.
        send(engine, "TRUNCATE TABLE ev.t", b"").unwrap();
        // Not as JSONEachRow, which has another zero value for Date32 than the rest of the server.
        send(engine, "INSERT INTO ev.t (c0) VALUES (DEFAULT)", b"").unwrap();
        let answer = send(engine, "SELECT * FROM ev.t FORMAT Native", b"").unwrap();
        for (read, (ty, column)) in read_blocks(&answer).unwrap()[0].columns.iter().zip(&columns) {
            assert_eq!(read.column.value(0), column.value(0), "{ty}");
        }
    });
}

#[test]
fn dictionaries_and_dynamic_types_of_every_width_come_back_equal() {
    with_engine(|engine| {
        send(engine, "CREATE DATABASE ev", b"").unwrap();
        for distinct in [1usize, 254, 255, 256, 257, 1000, 65_535, 65_536, 70_000] {
            let ty = Type::parse("LowCardinality(Nullable(String))").unwrap();
            let mut column = Column::for_type(&ty).unwrap();
            let Column::LowCardinality(low) = &mut column else { unreachable!() };
            (0..distinct).for_each(|n| assert!(low.push_str(&n.to_string())));
            check(engine, &[(ty, column)]);
        }
        for types in [1usize, 253, 254, 255, 256, 257, 300] {
            let mut column = Column::for_type(&Type::Dynamic { max_types: None }).unwrap();
            let Column::Dynamic(dynamic) = &mut column else { unreachable!() };
            for n in 0..types {
                let slot = dynamic.slot(&Type::parse(&format!("Tuple(x{n} UInt8)")).unwrap()).unwrap();
                let Some(Column::Tuple(tuple)) = dynamic.value_mut(slot) else { unreachable!() };
                tuple.columns[0].push_default();
                tuple.end_row();
                dynamic.end_value(slot);
                dynamic.push_null();
            }
            check(engine, &[(Type::Dynamic { max_types: None }, column)]);
        }
    });
}

#[test]
fn described_types_print_as_the_server_prints_them() {
    with_engine(|engine| {
        send(engine, "CREATE DATABASE ev", b"").unwrap();
        let ddl = r"CREATE TABLE ev.t (
            t Tuple(`table` Int8, `a b` String, `Distinct` Int8, `1a` Int8, `é` Int8, `a.b` Int8, `a\`b` Int8, `a\\b` Int8),
            n Nested(a Int8, b String), e Enum8('it''s' = -3, 'b\n\t\\x' = 2, 'é' = 5, '\a' = 6),
            j JSON(max_dynamic_paths=10, max_dynamic_types=3, a.b UInt32, `x y`.z String, `skip` Int8, SKIP a.c, SKIP REGEXP 'x''y'),
            v Variant(UInt64, String, Array(UInt64)), s SimpleAggregateFunction(sum, UInt64),
            sg SimpleAggregateFunction(groupArrayArray(5), Array(String)), ag AggregateFunction(uniq, String),
            p Point, mp MultiPolygon, mls MultiLineString, dc Decimal32(3), dd Decimal(50, 5), d Dynamic(max_types=5),
            dt DateTime('Europe/Berlin'), dt2 DateTime64(3, 'UTC'), t64 Time64, u Tuple(), i IntervalDay, g Geometry
        ) ENGINE = Memory";
        send(engine, ddl, b"").unwrap();
        let names = "SELECT type FROM system.columns WHERE database = 'ev' AND table = 't' FORMAT TSVRaw";
        let printed = String::from_utf8(send(engine, names, b"").unwrap()).unwrap();
        for text in printed.lines() {
            assert_eq!(Type::parse(text).map(|ty| ty.to_string()).as_deref(), Ok(text));
        }
        // DESCRIBE breaks long tuples into lines; they are the same types.
        let described = send(engine, "DESCRIBE TABLE ev.t FORMAT Native", b"").unwrap();
        let blocks = read_blocks(&described).unwrap();
        let Column::String(types) = &blocks[0].columns[1].column else { unreachable!() };
        for (row, text) in printed.lines().enumerate() {
            let described = std::str::from_utf8(types.get(row).unwrap()).unwrap();
            assert_eq!(Type::parse(described), Type::parse(text));
        }
    });
}
