//! Decode, validate and encode, one core: events of 150 B, 754 B and 1.6 KB with a JSON Schema, beside
//! what one would write by hand (`serde_json` into a tree, then `jsonschema` on the tree; no columns).

use std::hint::black_box;

use divan::Bencher;
use divan::counter::BytesCount;
use serde_json::Value;
use tidegate_bench::Events;
use tidegate_codec::{Plan, PlanOptions};
use tidegate_core::{Records, TopicPartition};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};
use tidegate_schema::JsonSchema;

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [150, 754, 1600];
const N_RECORDS: usize = 1000;

struct Load {
    plan: Plan,
    schema: JsonSchema,
    source: TopicPartition,
    records: Records,
    bytes: usize,
}

fn load(size: usize) -> Load {
    let events = Events::of_size(size);
    let schema = events.schema().expect("the schema is valid");
    let columns = events.columns().map(|(name, ty)| TableColumn {
        name: name.to_owned(),
        ty: Type::parse(ty).expect("the type is valid"),
        default: ColumnDefault::None,
    });
    let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.collect() };
    let plan = Plan::compile(&table, Some(&schema), &PlanOptions::default()).expect("the table fits");
    let source = TopicPartition::new("events", 0);
    let mut records = Records::new(source.clone());
    for n in 0..N_RECORDS {
        records.push(n as i64, None, None, Some(events.json(n).as_bytes()), []);
    }
    Load { plan, schema, source, records, bytes: size * N_RECORDS }
}

#[divan::bench(args = SIZES)]
fn tidegate(bencher: Bencher<'_, '_>, size: usize) {
    let load = load(size);
    let mut block = load.plan.block();
    let mut native = Vec::new();
    bencher.counter(BytesCount::new(load.bytes)).bench_local(|| {
        block.clear();
        native.clear();
        for record in load.records.iter() {
            let appended = load.plan.append(&mut block, &load.source, &record);
            appended.expect("every event fits");
        }
        block.encode(&mut native);
        black_box(native.len())
    });
}

#[divan::bench(args = SIZES)]
fn serde_json_and_jsonschema(bencher: Bencher<'_, '_>, size: usize) {
    let load = load(size);
    bencher.counter(BytesCount::new(load.bytes)).bench_local(|| {
        for record in load.records.iter() {
            let value: Value =
                serde_json::from_slice(record.value.unwrap_or_default()).expect("every event is JSON");
            assert!(load.schema.passes(black_box(&value)));
        }
    });
}
