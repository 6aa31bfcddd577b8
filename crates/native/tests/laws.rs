//! What holds for every type, column and block.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/random.rs"]
mod random;

use proptest::prelude::*;
use random::{Random, any_type, push, push_part};
use tidegate_native::{BlockColumn, Column, JsonType, ReadProblem, Type, read_block, write_block};

fn filled(ty: &Type, rows: usize, seed: u64) -> Column {
    let mut column = Column::for_type(ty).unwrap();
    let mut random = Random(seed);
    (0..rows).for_each(|_| push(&mut column, &mut random));
    column
}

fn block(ty: &Type, column: &Column) -> Vec<u8> {
    let mut bytes = Vec::new();
    let columns = [BlockColumn { name: "c", ty: &ty.to_string(), column }];
    write_block(&columns, column.len(), &mut bytes).unwrap();
    bytes
}

/// Types that need not be the server's to be read and printed again.
fn odd_type(random: &mut Random) -> Type {
    let json = JsonType {
        max_dynamic_types: random.coin().then(|| random.next() % 200),
        max_dynamic_paths: random.coin().then(|| random.next() % 10_000),
        paths: vec![("a.b".to_owned(), any_type(random, 1)), ("skip".to_owned(), Type::String)],
        skip_paths: (0..random.below(3)).map(|n| format!("s.`{n}")).collect(),
        skip_regexps: (0..random.below(2)).map(|n| format!("'{n}\\d")).collect(),
    };
    let texts = [
        "AggregateFunction(uniq, String)",
        "MultiPolygon",
        "QBit(Float32, 8)",
        "SimpleAggregateFunction(groupArrayArray(5), Array(String))",
        "Tuple()",
        "Other(')', `)`, (x))",
    ];
    match random.below(3) {
        0 => Type::Json(Box::new(json)),
        1 => Type::parse(texts[random.below(texts.len())]).unwrap(),
        _ => any_type(random, 4),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_printed_type_parses_to_itself(seed: u64) {
        let ty = odd_type(&mut Random(seed));
        prop_assert_eq!(Type::parse(&ty.to_string()), Ok(ty));
    }

    #[test]
    fn no_text_makes_the_type_parser_panic(text in ".{0,40}", seed: u64, cut in 0usize..200) {
        let _ = Type::parse(&text);
        let real: String = odd_type(&mut Random(seed)).to_string().chars().take(cut).collect();
        let _ = Type::parse(&(real + &text));
    }

    #[test]
    fn a_truncated_column_equals_one_built_afresh(seed: u64, kept in 0usize..6, more in 0usize..6) {
        let ty = any_type(&mut Random(seed), 3);
        let mut column = filled(&ty, kept, seed);
        let mut random = Random(!seed);
        (0..more).for_each(|_| push(&mut column, &mut random));
        push_part(&mut column, &mut random);
        column.truncate(kept);
        prop_assert_eq!(column.len(), kept);
        prop_assert_eq!(&column, &filled(&ty, kept, seed));
        // What comes afterwards finds the column as if nothing had been taken back.
        let mut afresh = filled(&ty, kept, seed);
        push(&mut column, &mut Random(7));
        push(&mut afresh, &mut Random(7));
        prop_assert_eq!(&column, &afresh);
        prop_assert_eq!(read_block(&block(&ty, &column)).unwrap().0.columns[0].column.clone(), afresh);
    }

    #[test]
    fn a_cleared_column_writes_the_bytes_of_a_fresh_one(seed: u64, rows in 0usize..6) {
        let ty = any_type(&mut Random(seed), 3);
        let mut column = filled(&ty, 5, !seed);
        column.clear();
        let mut random = Random(seed);
        (0..rows).for_each(|_| push(&mut column, &mut random));
        prop_assert_eq!(block(&ty, &column), block(&ty, &filled(&ty, rows, seed)));
    }

    #[test]
    fn a_written_block_reads_back_equal(seed: u64, rows in 0usize..20) {
        let ty = any_type(&mut Random(seed), 3);
        let column = filled(&ty, rows, seed);
        let bytes = block(&ty, &column);
        let (read, length) = read_block(&bytes).unwrap();
        prop_assert_eq!(length, bytes.len());
        prop_assert_eq!(read.rows, rows);
        prop_assert_eq!(&read.columns[0].ty, &ty);
        prop_assert_eq!(&read.columns[0].column, &column);
        prop_assert_eq!((0..=rows).map(|row| read.columns[0].column.value(row)).collect::<Vec<_>>(),
            (0..=rows).map(|row| column.value(row)).collect::<Vec<_>>());
        prop_assert!(column.value(rows).is_none());
    }

    #[test]
    fn a_block_that_is_cut_or_spoilt_is_refused_or_read_and_never_panics(
        seed: u64, rows in 1usize..6, at: prop::sample::Index, byte: u8,
    ) {
        let ty = any_type(&mut Random(seed), 3);
        let mut bytes = block(&ty, &filled(&ty, rows, seed));
        let at = at.index(bytes.len());
        prop_assert!(read_block(&bytes[..at]).is_err());
        bytes[at] = byte;
        let _ = read_block(&bytes);
    }

    #[test]
    fn a_default_is_a_row(seed: u64) {
        let ty = any_type(&mut Random(seed), 3);
        let mut column = Column::for_type(&ty).unwrap();
        column.push_default();
        prop_assert_eq!(column.len(), 1);
        prop_assert_eq!(column.push_null(), ty.accepts_null());
        prop_assert_eq!(column.len(), 1 + usize::from(ty.accepts_null()));
        let bytes = block(&ty, &column);
        prop_assert_eq!(&read_block(&bytes).unwrap().0.columns[0].column, &column);
    }
}

/// A block of one column with these bytes after its type.
fn raw_block(ty: &str, rows: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![1, rows, 1, b'c', ty.len() as u8];
    bytes.extend_from_slice(ty.as_bytes());
    bytes.extend(parts.concat());
    bytes
}

#[test]
fn lengths_and_references_out_of_range_are_refused() {
    let problem = |ty, rows, parts: &[&[u8]]| read_block(&raw_block(ty, rows, parts)).unwrap_err().problem;
    let u64s = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(problem("Array(UInt8)", 2, &[&u64s(&[2, 1]), b"ab"]), ReadProblem::Reference);
    let huge = problem("Array(UInt64)", 1, &[&u64s(&[u64::MAX])]);
    assert_eq!(huge, ReadProblem::Length);
    let long = problem("String", 1, &[&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], b"abc"]);
    assert_eq!(long, ReadProblem::Short { left: 3, expected: 0xFFFF_FFFF });
    assert_eq!(problem("String", 1, &[&[0xFF; 10]]), ReadProblem::Length);
    assert_eq!(problem("Nullable(UInt8)", 1, &[&[2, 0]]), ReadProblem::Reference);
    assert_eq!(problem("Variant(UInt8)", 1, &[&u64s(&[0]), &[1, 0]]), ReadProblem::Reference);
    let low = [u64s(&[1, 1 << 9, 1]), b"\x01x".to_vec(), u64s(&[1]), vec![1]].concat();
    assert_eq!(problem("LowCardinality(String)", 1, &[&low]), ReadProblem::Reference);
    let shared = u64s(&[1, 1 << 8]);
    assert!(matches!(problem("LowCardinality(String)", 1, &[&shared]), ReadProblem::Version { .. }));
    assert!(matches!(problem("Object('json')", 1, &[]), ReadProblem::Column(_)));
}
