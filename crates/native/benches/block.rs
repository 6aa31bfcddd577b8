//! Building and writing one block of a ten-column event table: what the pushes cost, and what the
//! copy into Native costs. Bytes are those of the written block.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tidegate_native::{BlockColumn, Column, Type, write_block};

fn main() {
    divan::main();
}

const ROWS: usize = 10_000;

const TYPES: [&str; 10] = [
    "UInt64",
    "DateTime64(3)",
    "UInt32",
    "LowCardinality(String)",
    "LowCardinality(String)",
    "String",
    "String",
    "Float64",
    "Bool",
    "Nullable(Int32)",
];

const EVENTS: [&str; 6] = ["page_view", "add_to_cart", "checkout", "purchase", "sign_in", "search"];

fn columns() -> Vec<Column> {
    TYPES.iter().map(|ty| Column::for_type(&Type::parse(ty).expect("a type")).expect("a column")).collect()
}

/// The texts of the rows, made beforehand: a decoder has them as slices of the record.
fn texts() -> Vec<(String, String)> {
    let path = |n| format!("/products/{}/reviews?page={}", n * 7 % 5000, n % 13);
    (0..ROWS).map(|n| (path(n), format!("user-{:08x}@example.com", n * 2_654_435_761))).collect()
}

fn push_rows(columns: &mut [Column], texts: &[(String, String)]) {
    for (n, (path, user)) in texts.iter().enumerate() {
        for (index, column) in columns.iter_mut().enumerate() {
            match column {
                Column::UInt64(values) => values.push(n as u64),
                Column::Int64(values) => values.push(1_600_000_000_000 + n as i64),
                Column::UInt32(values) => values.push(n as u32 % 1000),
                Column::LowCardinality(values) => {
                    let name = EVENTS[(n * index) % EVENTS.len()];
                    values.push_str(black_box(name));
                }
                Column::String(values) => values.push_str(if index == 5 { path } else { user }),
                Column::Float64(values) => values.push(n as f64 / 8.0),
                Column::UInt8(values) => values.push(u8::from(n % 3 == 0)),
                Column::Nullable(column) if n % 4 == 0 => column.push_null(),
                Column::Nullable(column) => {
                    if let Column::Int32(values) = &mut column.values {
                        values.push(n as i32);
                        column.end_value();
                    }
                }
                _ => unreachable!("not among the types"),
            }
        }
    }
}

fn write(columns: &[Column], out: &mut Vec<u8>) {
    let block: Vec<BlockColumn<'_>> =
        columns.iter().zip(TYPES).map(|(column, ty)| BlockColumn { name: "column", ty, column }).collect();
    write_block(&block, ROWS, out).expect("the rows are finished");
}

#[divan::bench]
fn build_and_write(bencher: Bencher<'_, '_>) {
    let (texts, mut columns, mut out) = (texts(), columns(), Vec::new());
    push_rows(&mut columns, &texts);
    write(&columns, &mut out);
    bencher.counter(BytesCount::new(out.len())).counter(ItemsCount::new(ROWS)).bench_local(|| {
        columns.iter_mut().for_each(Column::clear);
        out.clear();
        push_rows(&mut columns, &texts);
        write(&columns, &mut out);
        black_box(out.len())
    });
}

#[divan::bench]
fn write_only(bencher: Bencher<'_, '_>) {
    let (mut columns, mut out) = (columns(), Vec::new());
    push_rows(&mut columns, &texts());
    write(&columns, &mut out);
    bencher.counter(BytesCount::new(out.len())).counter(ItemsCount::new(ROWS)).bench_local(|| {
        out.clear();
        write(&columns, &mut out);
        black_box(out.len())
    });
}

#[divan::bench(args = ["String", "LowCardinality(String)"])]
fn push_texts(bencher: Bencher<'_, '_>, ty: &str) {
    let mut column = Column::for_type(&Type::parse(ty).expect("a type")).expect("a column");
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        column.clear();
        match &mut column {
            Column::String(values) => {
                (0..ROWS).for_each(|n| values.push_str(black_box(EVENTS[n % EVENTS.len()])));
            }
            Column::LowCardinality(values) => {
                (0..ROWS).for_each(|n| {
                    values.push_str(black_box(EVENTS[n % EVENTS.len()]));
                });
            }
            _ => unreachable!("not among the types"),
        }
        black_box(column.len())
    });
}
