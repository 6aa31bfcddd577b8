use super::*;
use crate::load;

const CATALOG: &str = r#"
cdp: "1"
name: shop
envelope:
  event_id: {type: uuid, doc: Made by the producer}
  ts: {type: timestamp(ms)}
  user_id: {type: optional<string>}
enums:
  platform: {values: [ios, android, web]}
entities:
  user: {key: user_id, source: user_told, fields: [plan]}
events:
  page_viewed:
    doc: A page was shown.
    fields:
      page: {type: string}
      platform: {type: enum<platform>}
      load_ms: {type: u32}
      cached: {type: bool}
  order_placed:
    doc: An order.
    fields: {platform: {type: enum<platform>}, amount: {type: "decimal(12,2)"}}
  user_told: {doc: A user., fields: {plan: {type: string}}}
dimensions:
  platform: {field: platform}
  page: {field: page}
  cached: {field: cached}
  hour_of_day: {expr: toHour(ts)}
  plan: {via: user_id, entity: user, attribute: plan, missing: none}
  orders: {field: platform}
facts:
  pages: {event: page_viewed}
  orders: {event: order_placed}
  both: {events: [page_viewed, order_placed], columns: [user_id, platform]}
metrics:
  pages: {kind: count, fact: pages}
  visitors: {kind: count_distinct, fact: pages, expr: user_id}
  slow_pages: {kind: count, event: page_viewed, where: load_ms > 1000}
  load_p95: {kind: quantile, fact: pages, expr: load_ms, q: 0.95}
  orders: {kind: count, fact: orders}
  revenue: {kind: sum, fact: orders, expr: amount, unit: EUR}
  conversion: {kind: ratio, numerator: orders, denominator: pages}
  cached_share: {kind: ratio, numerator: {kind: count, fact: pages, where: cached}, denominator: pages}
  visitors_7d: {kind: cumulative, of: visitors, window: 7d}
  pages_mtd: {kind: cumulative, of: pages, reset: month}
  stickiness: {kind: derived, expr: visitors / visitors_7d}
  last_load: {kind: last, fact: pages, expr: load_ms, per: user_id}
  bought: {kind: conversion, fact: both, cohort: page_viewed, returns: order_placed, within: 1d, by: user_id}
  way: {kind: funnel, fact: both, steps: [page_viewed, order_placed], within: 1d, by: user_id}
  back: {kind: retention, fact: both, cohort: page_viewed, returns: page_viewed, period: week, periods: 4, by: user_id}
rollups:
  pages_hourly: {fact: pages, grain: hour, dims: [platform, page], metrics: [pages, visitors, load_p95, slow_pages]}
  pages_daily: {fact: pages, grain: day, dims: [platform], metrics: [pages, visitors]}
  orders_daily: {fact: orders, grain: day, dims: [platform], metrics: [orders], keep: 7d}
"#;

fn catalog() -> Catalog {
    load("cdp.yaml", &|_| Ok(CATALOG.as_bytes().to_vec())).unwrap_or_else(|wrong| panic!("{wrong}")).catalog
}

/// `metrics by dims grain G where W from F to T`, as a person would say it.
fn asked(metrics: &str, rest: &[(&str, &str)]) -> Asked {
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    let mut asked = Asked { metrics: list(metrics), ..Asked::default() };
    for (part, text) in rest {
        let text = Some((*text).to_owned());
        match *part {
            "by" => asked.by = list(text.as_deref().unwrap_or_default()),
            "grain" => asked.grain = text,
            "where" => asked.filter = text,
            "from" => asked.from = text,
            "to" => asked.to = text,
            "source" => asked.sources = Sources::Rows,
            other => panic!("{other}"),
        }
    }
    asked
}

fn compiled(metrics: &str, rest: &[(&str, &str)]) -> Compiled {
    let catalog = catalog();
    let lock = Lock::default().extended(&catalog);
    compile(&catalog, &lock, &asked(metrics, rest)).unwrap_or_else(|wrong| panic!("{metrics}: {wrong}"))
}

fn refused(metrics: &str, rest: &[(&str, &str)]) -> Vec<String> {
    let catalog = catalog();
    match compile(&catalog, &Lock::default(), &asked(metrics, rest)) {
        Ok(compiled) => panic!("{metrics} {rest:?}: {}", compiled.sql),
        Err(wrong) => wrong
            .as_slice()
            .iter()
            .map(|wrong| {
                let hint = wrong.hint.as_deref().unwrap_or("-");
                format!("{}:{} {} {}; {hint}", wrong.file, wrong.column, wrong.code.as_str(), wrong.message)
            })
            .collect(),
    }
}

/// What is read, and why.
fn read(metrics: &str, rest: &[(&str, &str)]) -> (String, String) {
    let mut reads = compiled(metrics, rest).reads;
    assert_eq!(reads.len(), 1, "{reads:?}");
    let read = reads.remove(0);
    (read.table, read.because)
}

#[test]
fn the_smallest_rollup_that_gives_the_same_answer_is_read() {
    for (metrics, rest, table) in [
        ("pages", &[][..], "pages_daily"),
        ("pages,visitors", &[("by", "platform"), ("grain", "week")], "pages_daily"),
        ("pages", &[("grain", "hour")], "pages_hourly"),
        ("pages", &[("by", "platform"), ("where", "page = '/'")], "pages_hourly"),
        ("slow_pages", &[], "pages_hourly"),
        ("visitors_7d", &[("grain", "day"), ("from", "2026-01-05")], "pages_daily"),
        ("pages", &[("from", "2026-01-05T10:00")], "pages_hourly"),
    ] {
        let (read, because) = read(metrics, rest);
        assert_eq!(read, table, "{metrics} {rest:?}: {because}");
    }
    let (_, because) = read("pages", &[]);
    assert_eq!(because, "it keeps what is asked for by day, by platform");
}

#[test]
fn where_no_rollup_gives_the_same_answer_rows_are_read_and_it_is_said_why() {
    for (metrics, rest, table, why) in [
        ("pages", &[("source", "rows")][..], "page_viewed", "only rows were to be read"),
        (
            "pages",
            &[("by", "cached")],
            "page_viewed",
            "`pages_hourly` is not split by `cached`; `pages_daily` is not split by `cached`",
        ),
        (
            "pages",
            &[("where", "cached")],
            "page_viewed",
            "`pages_hourly` is not split by `cached`; `pages_daily` is not split by `cached`",
        ),
        (
            "pages",
            &[("from", "2026-01-05T10:30")],
            "page_viewed",
            "`pages_hourly` is by hour, and the time asked for ends inside of one; `pages_daily` is by day, and the time asked for ends inside of one",
        ),
        (
            "cached_share",
            &[],
            "page_viewed",
            "`pages_hourly` cannot keep a metric that is told inside of another; `pages_daily` cannot keep a metric that is told inside of another",
        ),
        ("revenue", &[], "order_placed", "`orders_daily` does not keep `revenue`"),
        ("orders", &[], "order_placed", "`orders_daily` forgets after 7d, rows stay"),
        ("last_load", &[], "page_viewed", "the last value of each `user_id` cannot be kept summed up"),
        ("bought", &[], "both", "each `user_id` is followed from row to row, which no sum tells"),
    ] {
        assert_eq!(read(metrics, rest), (table.to_owned(), why.to_owned()), "{metrics} {rest:?}");
    }
}

#[test]
fn metrics_of_the_same_rows_are_read_in_one_go() {
    let compiled = compiled("pages,cached_share,slow_pages,revenue,conversion", &[("grain", "day")]);
    let tables: Vec<(&str, usize)> =
        compiled.reads.iter().map(|read| (read.table.as_str(), read.metrics.len())).collect();
    assert_eq!(tables, [("page_viewed", 3), ("order_placed", 2)]);
    let names: Vec<&str> = compiled.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["period", "pages", "cached_share", "slow_pages", "revenue", "conversion"]);
    assert_eq!(compiled.columns[4].unit.as_deref(), Some("EUR"));
}

#[test]
fn estimates_are_marked_also_where_they_are_inside() {
    let compiled = compiled("pages,visitors,load_p95,stickiness", &[("grain", "day")]);
    let estimates: Vec<bool> = compiled.columns.iter().map(|column| column.estimate).collect();
    assert_eq!(estimates, [false, false, true, true, true]);
}

#[test]
fn a_dimension_that_is_called_as_a_metric_keeps_out_of_its_way() {
    let compiled = compiled("orders", &[("by", "orders")]);
    let names: Vec<&str> = compiled.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["by_orders", "orders"]);
}

#[test]
fn every_mistake_of_a_question_is_told_with_its_place_and_a_way_out() {
    let wrong = refused(
        "pages,visitor",
        &[("by", "platfrom"), ("grain", "days"), ("where", "page = '/' and contry = 'AT'"), ("from", "now")],
    );
    assert_eq!(
        wrong,
        [
            "metrics:7 unknown_name there is no metric `visitor`; did you mean `visitors`?",
            "by:1 unknown_name there is no dimension `platfrom`; did you mean `platform`?",
            "grain:1 unknown_choice expected one of `hour`, `day`, `week`, `month`, found `days`; did you mean `day`?",
            "where:16 unknown_name there is no dimension `contry`; there are `platform`, `page`, `cached`, `hour_of_day`, `plan`, `orders`",
            "from:1 bad_value `now` is no time; give a day or a time in UTC: `2026-01-31`, `2026-01-31T12:00:00Z`",
        ]
    );
}

#[test]
fn what_a_metric_cannot_be_asked_is_told_with_what_it_can() {
    for (metrics, rest, expected) in [
        ("", &[][..], "metrics:1 unknown_name there is no metric ``"),
        (
            "revenue",
            &[("by", "page")],
            "by:1 conflict `revenue` cannot be told apart by `page`: its rows lack what that is made of; its rows have `platform`, `hour_of_day`, `plan`, `orders`",
        ),
        (
            "pages",
            &[("where", "load_ms > 1")],
            "where:1 unknown_name `load_ms` is a field, and no dimension; give it a name under `dimensions`: `load_ms: {field: load_ms}`",
        ),
        ("pages", &[("where", "page > 1")], "where:6 bad_expression a text is compared with a number"),
        ("pages", &[("where", "page")], "where:1 bad_expression expected a condition, found a text"),
        (
            "pages",
            &[("where", "page = 'x'; DROP TABLE t")],
            "where:11 bad_expression `;` is not used in expressions",
        ),
        (
            "visitors_7d",
            &[],
            "metrics:1 missing_key `visitors_7d` is told period by period; say `grain`: hour, day, week or month",
        ),
        (
            "pages,way",
            &[],
            "metrics:7 conflict `way` is a `funnel` metric, which has no single number; ask for it alone",
        ),
        ("back", &[("grain", "day")], "grain:1 conflict `back` is told by week, not by day"),
        (
            "pages",
            &[("from", "2026-01-02"), ("to", "2026-01-02")],
            "to:1 conflict `to` is not later than `from`",
        ),
    ] {
        let wrong = refused(metrics, rest);
        assert!(wrong.len() == 1 && wrong[0].starts_with(expected), "{metrics} {rest:?}: {wrong:#?}");
    }
    assert_eq!(refused("pages,pages,way,back", &[]).len(), 2);
}

#[test]
fn a_metric_tells_what_it_can_be_split_by() {
    let catalog = catalog();
    assert_eq!(
        dimensions_of(&catalog, "pages"),
        ["platform", "page", "cached", "hour_of_day", "plan", "orders"]
    );
    assert_eq!(dimensions_of(&catalog, "conversion"), ["platform", "hour_of_day", "plan", "orders"]);
    assert_eq!(dimensions_of(&catalog, "nothing"), Vec::<&str>::new());
}

#[test]
fn texts_stay_texts_and_names_stay_names() {
    let sql = compiled("pages", &[("where", "page = 'it''s\n\\' or platform = 'x'")]).sql;
    assert!(sql.contains(r"((source.`page` = 'it\'s\n\\') OR (source.`platform` = 'x'))"), "{sql}");
    let sql = compiled("pages", &[("where", "hour_of_day >= 9 and cached")]).sql;
    assert!(sql.contains("(toFloat64OrNull(ifNull(toString(toHour(source.`ts`)), '')) >= 9)"), "{sql}");
    assert!(sql.contains("(ifNull(toString(source.`cached`), '') = 'true')"), "{sql}");
}

proptest::proptest! {
    #[test]
    fn no_question_makes_it_panic(
        metric in "(pages|visitors_7d|way|back|.{0,12})",
        by in "(platform|plan|.{0,12})",
        grain in "(hour|day|week|month|.{0,6})",
        filter in "(page = '.{0,8}'|.{0,40})",
        from in "([0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2})?|.{0,20})",
    ) {
        let catalog = catalog();
        let asked = Asked {
            metrics: vec![metric],
            by: vec![by],
            grain: Some(grain),
            filter: Some(filter),
            from: Some(from),
            ..Asked::default()
        };
        let _ = compile(&catalog, &Lock::default(), &asked);
    }
}
