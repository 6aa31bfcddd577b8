//! What becomes of a live database when the catalog changes: class, gate and statements, without a server.

use tidegate_catalog::change::{
    Action, Change, Class, Gate, Live, Permission, Plan, Situation, differences, plan,
};
use tidegate_catalog::{Catalog, Ddl, Given, Lock, load, statements};

const PLACE: [(&str, &str); 4] = [
    ("_topic", "LowCardinality(String)"),
    ("_partition", "Int32"),
    ("_offset", "Int64"),
    ("_timestamp", "DateTime64(3, 'UTC')"),
];

const SHOP: &str = r#"
cdp: "1"
name: shop
envelope:
  event_id: {type: uuid}
  ts: {type: timestamp(ms)}
  user_id: {type: optional<string>}
policies: {keep_events: 25mo}
enums: {platform: {values: [ios, android]}}
events:
  viewed:
    doc: A page was shown.
    fields:
      page: {type: string, doc: Which}
      load_ms: {type: u32, unit: ms}
      platform: {type: enum<platform>}
      size: {type: u16, default: 0}
  bought: {doc: An order., fields: {price: {type: "decimal(12,6)"}}}
dimensions: {platform: {field: platform}}
facts:
  pages: {event: viewed}
  all: {events: [viewed, bought], columns: [user_id]}
metrics:
  pages: {kind: count, fact: pages}
  visitors: {kind: count_distinct, fact: pages, expr: user_id}
  users: {kind: count_distinct, fact: all, expr: user_id}
entities: {visitor: {source: viewed, key: user_id, fields: [platform]}}
rollups:
  pages_hourly: {fact: pages, grain: hour, dims: [platform], metrics: [pages]}
  users_daily: {fact: all, grain: day, metrics: [users]}
"#;

fn given() -> Given<'static> {
    Given {
        dead_letter_ddl: |database, table| {
            format!(
                "CREATE TABLE IF NOT EXISTS `{database}`.`{table}` (`id` UUID) ENGINE = MergeTree ORDER BY (id)"
            )
        },
        place_columns: &PLACE,
        dedup_window: 100,
    }
}

fn catalog(text: &str) -> Catalog {
    load("cdp.yaml", &|_| Ok(text.as_bytes().to_vec())).unwrap_or_else(|found| panic!("{found}")).catalog
}

/// The database as the catalog makes it.
fn live(catalog: &Catalog, lock: &Lock) -> Vec<Live> {
    let all = statements(catalog, lock, given(), Ddl::Single);
    all.into_iter()
        .skip(1)
        .map(|statement| Live {
            name: statement.object,
            statement: statement.sql,
            uuid: "u".to_owned(),
            rows: 10,
            bytes: 1000,
        })
        .collect()
}

/// The plan from one catalog's database to another catalog.
#[track_caller]
fn planned(live: &[Live], catalog: &Catalog, lock: &Lock, permission: &Permission) -> Plan {
    let wanted = statements(catalog, lock, given(), Ddl::Single);
    let normal: Vec<String> = wanted.iter().map(|statement| statement.sql.clone()).collect();
    plan(&Situation {
        catalog,
        statements: &wanted,
        normal: &normal,
        database: !live.is_empty(),
        live,
        mode: Ddl::Single,
        servers: 1,
        permission,
    })
}

fn permission() -> Permission {
    Permission { deprecate_days: 90, today: "2026-11-22".to_owned(), ..Permission::default() }
}

/// The plan after the catalog's text was changed.
#[track_caller]
fn changed(from: &str, to: &str) -> Plan {
    changed_with(from, to, &permission())
}

#[track_caller]
fn changed_with(from: &str, to: &str, permission: &Permission) -> Plan {
    assert!(SHOP.contains(from), "{from}");
    let old = catalog(SHOP);
    let lock = Lock::default().extended(&old);
    let new = catalog(&SHOP.replace(from, to));
    planned(&live(&old, &lock), &new, &lock.extended(&new), permission)
}

/// Things and their classes.
type Expected = &'static [(&'static str, Class)];

fn told(plan: &Plan) -> Vec<(&str, Class)> {
    plan.changes.iter().map(|change| (change.thing.as_str(), change.class)).collect()
}

fn sqls(change: &Change) -> String {
    let sql = change.actions.iter().filter_map(|action| match action {
        Action::Run { sql, .. } => Some(sql.as_str()),
        _ => None,
    });
    sql.collect::<Vec<_>>().join(";\n")
}

#[test]
fn a_database_that_is_as_the_catalog_says_needs_nothing() {
    assert_eq!(changed("cdp:", "cdp:"), Plan::default());
}

#[test]
fn an_empty_server_gets_what_generate_writes() {
    let catalog = catalog(SHOP);
    let lock = Lock::default().extended(&catalog);
    let plan = planned(&[], &catalog, &lock, &permission());
    let made: Vec<String> = plan
        .changes
        .iter()
        .flat_map(|change| &change.actions)
        .map(|action| match action {
            Action::Run { sql, .. } => sql.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let generated: Vec<String> = statements(&catalog, &lock, given(), Ddl::Single)
        .into_iter()
        .map(|statement| statement.sql)
        .collect();
    assert_eq!(made, generated);
    assert!(plan.changes.iter().all(|change| change.class == Class::New && change.gate == Gate::Open));
}

#[test]
fn each_change_has_the_class_of_the_table_of_evolution() {
    use Class::{Definition, Deprecate, Destructive, Documentation, Major, Minor, New, Rebuild};
    let old = "size: {type: u16, default: 0}";
    let cases: &[(&str, &str, Expected)] = &[
        (old, "size: {type: u16, default: 0}\n      tag: {type: optional<string>}", &[("viewed.tag", Minor)]),
        (
            old,
            "size: {type: u16, default: 0}\n      tag: {type: string, default: x}",
            &[("viewed.tag", Minor)],
        ),
        (old, "size: {type: u16, default: 0}\n      tag: {type: string}", &[("viewed.tag", Major)]),
        (
            old,
            "bulk: {type: u16, default: 0, renamed_from: size}",
            &[("viewed.bulk", Minor), ("viewed.size", Deprecate)],
        ),
        (old, "size: {type: u32, default: 0}", &[("viewed.size", Minor)]),
        (old, "size: {type: u16, default: 7}", &[("viewed.size", Minor)]),
        (old, "size: {type: optional<u16>}", &[("viewed.size", Minor), ("viewed.size", Minor)]),
        (old, "size: {type: u8, default: 0}", &[("viewed", Destructive)]),
        (old, "size: {type: string, default: \"\"}", &[("viewed", Destructive)]),
        ("doc: Which", "doc: Which one", &[("viewed.page", Documentation)]),
        ("doc: An order.", "doc: An order was placed.", &[("bought", Documentation)]),
        (
            "[ios, android]",
            "[ios, android, web]",
            &[("viewed.platform", Minor), ("entity_visitor", Definition)],
        ),
        ("      size: {type: u16, default: 0}\n", "", &[("viewed.size", Deprecate)]),
        ("25mo", "13mo", &[("viewed", Minor), ("bought", Minor), ("all", Minor)]),
        (
            "doc: A page was shown.",
            "doc: A page was shown.\n    clickhouse: {order_by: [page, ts]}",
            &[("viewed", Rebuild)],
        ),
        ("metrics: [pages]", "metrics: [pages, visitors]", &[("pages_hourly", Definition)]),
        ("grain: day", "grain: month", &[("users_daily", Definition)]),
        (
            "columns: [user_id]",
            "columns: [user_id], where: \"user_id is not null\"",
            &[("all", Definition), ("users_daily", Definition)],
        ),
        ("rollups:", "rollups:\n  extra: {fact: pages, grain: day, metrics: [pages]}", &[("extra", New)]),
        (
            "bought: {doc: An order., fields: {price: {type: \"decimal(12,6)\"}}}",
            "bought: {doc: An order., fields: {price: {type: \"decimal(18,6)\"}}}\n  left: {doc: Gone.}",
            &[("bought.price", Minor), ("left", New)],
        ),
    ];
    for (from, to, expected) in cases {
        let plan = changed(from, to);
        let mut found = told(&plan);
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{from} -> {to}\n{:#?}", plan.changes);
    }
}

#[test]
fn what_loses_a_value_must_be_asked_for_and_proved() {
    let narrower = ("size: {type: u16, default: 0}", "size: {type: u8, default: 0}");
    let plan = changed(narrower.0, narrower.1);
    let [change] = plan.changes.as_slice() else { panic!("{plan:?}") };
    assert_eq!(change.gate, Gate::Needs { flag: "--allow viewed".to_owned() });
    assert_eq!(change.proofs.len(), 1);
    assert!(change.proofs[0].sql.contains("accurateCastOrNull(`size`, 'UInt8')"), "{}", change.proofs[0].sql);
    let allowed = Permission { allow: ["viewed".to_owned()].into(), ..permission() };
    let plan = changed_with(narrower.0, narrower.1, &allowed);
    assert_eq!(plan.changes[0].gate, Gate::Asked { flag: "--allow viewed".to_owned() });
    let checked = plan.changes[0].actions.iter().any(|action| matches!(action, Action::Check(_)));
    assert!(checked, "the proof is asked again before the names are exchanged");
}

#[test]
fn a_column_is_dropped_in_two_steps() {
    let gone = ("      size: {type: u16, default: 0}\n", "");
    let first = changed(gone.0, gone.1);
    assert_eq!(
        sqls(&first.changes[0]),
        "ALTER TABLE `cdp`.`viewed` COMMENT COLUMN `size` 'not in the catalog since 2026-11-22'"
    );
    let old = catalog(
        &SHOP.replace("u16, default: 0", "u16, default: 0, doc: not in the catalog since 2026-08-01"),
    );
    let lock = Lock::default().extended(&old);
    let live = live(&old, &lock);
    let new = catalog(&SHOP.replace(gone.0, gone.1));
    let waits = planned(&live, &new, &lock, &permission());
    assert!(waits.changes.is_empty(), "{waits:?}");
    assert!(waits.notes[0].text.contains("--drop viewed.size"), "{:?}", waits.notes);
    let asked = Permission { drop: ["viewed.size".to_owned()].into(), ..permission() };
    let plan = planned(&live, &new, &lock, &asked);
    assert_eq!(told(&plan), [("viewed.size", Class::Destructive)]);
    assert!(
        plan.changes[0].proofs[0].claim.starts_with("rows since 2026-08-01"),
        "{:?}",
        plan.changes[0].proofs
    );
    let early = Permission { today: "2026-08-02".to_owned(), ..asked };
    let plan = planned(&live, &new, &lock, &early);
    assert!(
        plan.changes[0].proofs[0].claim.starts_with("rows that have a value"),
        "{:?}",
        plan.changes[0].proofs
    );
}

#[test]
fn a_renamed_fields_old_column_stays_and_feeds_the_new_one() {
    let plan = changed("size: {type: u16, default: 0}", "bulk: {type: u16, default: 0, renamed_from: size}");
    let added = plan.changes.iter().find(|change| change.thing == "viewed.bulk").unwrap();
    assert_eq!(
        sqls(added),
        "ALTER TABLE `cdp`.`viewed` ADD COLUMN IF NOT EXISTS `bulk` UInt16 DEFAULT `size` AFTER `platform`"
    );
    // As the table stands then, nothing is left to do.
    let old = catalog(SHOP);
    let lock = Lock::default().extended(&old);
    let mut live = live(&old, &lock);
    let viewed = live.iter_mut().find(|live| live.name == "viewed").unwrap();
    viewed.statement = viewed.statement.replace(
        "`size` UInt16 DEFAULT 0",
        "`bulk` UInt16 DEFAULT size,\n    `size` UInt16 DEFAULT 0 COMMENT 'not in the catalog since 2026-11-22'",
    );
    let new = catalog(
        &SHOP.replace("size: {type: u16, default: 0}", "bulk: {type: u16, default: 0, renamed_from: size}"),
    );
    assert_eq!(planned(&live, &new, &lock, &permission()).changes, []);
    let asked = Permission { drop: ["viewed.size".to_owned()].into(), ..permission() };
    let dropped = planned(&live, &new, &lock, &asked);
    assert!(sqls(&dropped.changes[0]).contains("UPDATE `bulk` = `bulk` WHERE true"), "{:?}", dropped.changes);
}

#[test]
fn rows_are_copied_on_one_server_only() {
    let old = catalog(SHOP);
    let lock = Lock::default().extended(&old);
    let live = live(&old, &lock);
    let new = catalog(&SHOP.replace("metrics: [pages]", "metrics: [pages, visitors]"));
    let wanted = statements(&new, &lock, given(), Ddl::Single);
    let normal: Vec<String> = wanted.iter().map(|statement| statement.sql.clone()).collect();
    let permission = permission();
    let plan = plan(&Situation {
        catalog: &new,
        statements: &wanted,
        normal: &normal,
        database: true,
        live: &live,
        mode: Ddl::Single,
        servers: 2,
        permission: &permission,
    });
    assert!(matches!(plan.changes[0].gate, Gate::Closed { .. }), "{:?}", plan.changes[0].gate);
}

#[test]
fn what_replicas_say_differently_is_told() {
    let old = catalog(SHOP);
    let lock = Lock::default().extended(&old);
    let one = live(&old, &lock);
    assert_eq!(differences(&one, &one), []);
    let new = catalog(&SHOP.replace("size: {type: u16", "size: {type: u32"));
    let mut two = live(&new, &lock);
    two.retain(|live| live.name != "bought");
    let found = differences(&one, &two);
    let things: Vec<&str> = found.iter().map(|note| note.thing.as_str()).collect();
    assert_eq!(things, ["bought", "viewed"]);
    assert!(found[1].text.contains("UInt32"), "{found:?}");
}

#[test]
fn more_that_is_done_to_personal_data_is_asked_for_and_says_what_rows_keep() {
    let class = "policies: {keep_events: 25mo, pii: {direct: {action: pseudonymise, key_ref: env:KEY}}}";
    let text = SHOP.replace("policies: {keep_events: 25mo}", class);
    let text =
        text.replace("user_id: {type: optional<string>}", "user_id: {type: optional<string>, pii: direct}");
    let (old, new) = (catalog(SHOP), catalog(&text));
    let lock = Lock::default().extended(&old);
    let raised = planned(&live(&old, &lock), &new, &lock, &permission());
    assert_eq!(told(&raised), [("viewed.user_id", Class::Policy), ("bought.user_id", Class::Policy)]);
    for change in &raised.changes {
        assert!(matches!(change.gate, Gate::Needs { .. }), "{change:?}");
        assert!(change.reason.contains("rows that are stored keep what they have"), "{}", change.reason);
    }
    // Once it has been asked for, the server's own words say that it is so.
    assert_eq!(planned(&live(&new, &lock), &new, &lock, &permission()), Plan::default());
    // A field that becomes a text is copied into a new table, and its rows keep what they had.
    let typed = text.replace("page: {type: string, doc: Which}", "page: {type: uuid, pii: direct}");
    let was = SHOP.replace("page: {type: string, doc: Which}", "page: {type: uuid}");
    let (old, new) = (catalog(&was), catalog(&typed));
    let plan = planned(&live(&old, &lock), &new, &lock, &permission());
    let change = plan.changes.iter().find(|change| change.reason.contains("`page`")).unwrap();
    assert!(change.reason.contains("type `UUID` -> `String`"), "{}", change.reason);
    assert!(change.reason.contains("rows that are stored keep"), "{}", change.reason);
    assert!(!matches!(change.gate, Gate::Open), "{change:?}");
}
