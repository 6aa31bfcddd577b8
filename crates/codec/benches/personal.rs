//! What personal data costs: records of four fields, as they come and with two of them changed before they are stored.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tidegate_codec::{ColumnOptions, PersonalAction, PersonalColumn, Plan, PlanOptions, PseudonymKey};
use tidegate_core::{Records, TopicPartition};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};

fn main() {
    divan::main();
}

const ROWS: usize = 2_000;

/// What happens to the user and the address.
#[derive(Debug, Clone, Copy)]
enum Way {
    Kept,
    Truncated,
    Pseudonymised,
    PseudonymisedPerTenant,
}

fn plan(way: Way) -> Plan {
    let key = || PseudonymKey::new(b"a key of thirty-two bytes, or so.").expect("the key is long enough");
    let network = PersonalAction::Truncate { characters_max: Some(3), ipv4_prefix: 24, ipv6_prefix: 48 };
    let of_user = match way {
        Way::Kept => None,
        Way::Truncated => Some(network.clone()),
        Way::Pseudonymised => Some(PersonalAction::Pseudonymise { key: key(), per: Vec::new() }),
        Way::PseudonymisedPerTenant => {
            Some(PersonalAction::Pseudonymise { key: key(), per: vec!["tenant".to_owned()] })
        }
    };
    let mut options = PlanOptions::default();
    if let Some(action) = of_user {
        let personal = |action| ColumnOptions {
            personal: Some(PersonalColumn { clear: None, action }),
            ..ColumnOptions::default()
        };
        options.columns.insert("user_id".to_owned(), personal(action));
        options.columns.insert("ip".to_owned(), personal(network));
    }
    let columns = [
        ("user_id", "Nullable(String)"),
        ("ip", "IPv6"),
        ("tenant", "LowCardinality(String)"),
        ("n", "UInt32"),
    ];
    let columns = columns.map(|(name, ty)| TableColumn {
        name: name.to_owned(),
        ty: Type::parse(ty).expect("the types above are ClickHouse's"),
        default: ColumnDefault::None,
    });
    let table = Table { database: "d".to_owned(), name: "t".to_owned(), columns: columns.to_vec() };
    Plan::compile(&table, None, &options).expect("the table takes the records")
}

#[divan::bench(args = [Way::Kept, Way::Truncated, Way::Pseudonymised, Way::PseudonymisedPerTenant])]
fn records(bencher: Bencher<'_, '_>, way: Way) {
    let source = TopicPartition::new("events", 0);
    let mut records = Records::new(source.clone());
    for n in 0..ROWS {
        let json = format!(
            r#"{{"user_id":"user-{n:08}","ip":"192.0.{}.{}","tenant":"t{}","n":{n}}}"#,
            n % 200,
            n % 250,
            n / 100 % 3
        );
        records.push(n as i64, None, None, Some(json.as_bytes()), []);
    }
    let plan = plan(way);
    let mut block = plan.block();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        block.clear();
        for at in 0..ROWS {
            let record = records.get(at).expect("the record has been pushed");
            plan.append(black_box(&mut block), &source, &record).expect("the record is a row");
        }
        block.rows()
    });
}
