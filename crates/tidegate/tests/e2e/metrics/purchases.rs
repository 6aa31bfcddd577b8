//! The purchases of CDNOW: sums, distinct customers, quantiles, cohorts.

use std::collections::BTreeMap;

use tidegate_catalog::Sources;

use super::independent::{
    Ask, Begin, Count, DAY, Key, Lets, Row, civil, counted, mean, millis, next, numbers, people, per_person,
    start,
};
use super::{Shop, Way, column, data, shares};
use crate::process::{text, tidegate};

fn purchases(text: &str) -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for (line, id) in text.lines().skip(1).zip(1..) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [customer, date, cds, value] = fields.as_slice() else { continue };
        let date = format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]);
        let (n_cds, odd) = (cds.parse::<f64>().unwrap(), id % 2 == 1);
        let note = if odd { *cds } else { "\\N" };
        lines.push(format!("00000000-0000-0000-0000-{id:012}\t{date}\t{customer}\t{cds}\t{value}\t{note}"));
        let mut numbers = BTreeMap::from([("cds", n_cds), ("value", value.parse().unwrap())]);
        if odd {
            numbers.insert("note", n_cds);
        }
        let at = millis(&date);
        let weekday = civil(at).weekday().to_monday_one_offset().to_string();
        let size = if n_cds >= 3.0 { "many" } else { "few" };
        let dims =
            BTreeMap::from([("size", size.to_owned()), ("weekday", weekday), ("cds", (*cds).to_owned())]);
        rows.push(Row { at, id, event: "purchase", who: Some((*customer).to_owned()), dims, numbers });
    }
    (rows, lines)
}

async fn purchase_shop() -> Option<(Shop, Vec<Row>)> {
    let (rows, lines) = purchases(&data("purchases/CDNOW_master.txt")?);
    let shop = Shop::open("purchases.yaml").await?;
    shop.fill("cdnow.purchase (event_id, ts, customer_id, cds, value, note)", &lines).await;
    Some((shop, rows))
}

const PURCHASE_KINDS: [(&str, Way); 17] = [
    ("purchases", Way::Exact(|rows| Some(rows.len() as f64))),
    (
        "big_purchases",
        Way::Exact(|rows| Some(rows.iter().filter(|row| row.numbers["cds"] >= 3.0).count() as f64)),
    ),
    ("revenue", Way::Exact(|rows| Some(numbers(rows, "value").iter().sum()))),
    ("cds_sold", Way::Exact(|rows| Some(numbers(rows, "cds").iter().sum()))),
    ("noted", Way::Exact(|rows| Some(numbers(rows, "note").iter().sum()))),
    ("dollars", Way::Exact(|rows| Some(numbers(rows, "value").iter().sum()))),
    ("smallest", Way::Exact(|rows| numbers(rows, "value").into_iter().reduce(f64::min))),
    ("largest", Way::Exact(|rows| numbers(rows, "value").into_iter().reduce(f64::max))),
    ("first_at", Way::Exact(|rows| rows.iter().map(|row| row.at).min().map(|at| at as f64))),
    ("smallest_note", Way::Exact(|rows| numbers(rows, "note").into_iter().reduce(f64::min))),
    ("any_gift", Way::Exact(|rows| Some(f64::from(u8::from(numbers(rows, "value").contains(&0.0)))))),
    ("mean_cds", Way::Exact(|rows| mean(&numbers(rows, "cds")))),
    ("mean_note", Way::Exact(|rows| mean(&numbers(rows, "note")))),
    ("buyers", Way::Near(|rows| Some(people(rows)))),
    ("buyers_exact", Way::Exact(|rows| Some(people(rows)))),
    ("median_value", Way::Quantile(0.5, "value")),
    ("value_p95", Way::Quantile(0.95, "value")),
];

/// Metrics made of others, and of somebody's first or last value; with the table that they come from.
const PURCHASE_PARTS: [(&str, &str, Count); 6] = [
    ("basket", "purchases_", |rows| mean(&numbers(rows, "value"))),
    ("cds_per_buyer", "purchases_daily", |rows| {
        Some(numbers(rows, "cds").iter().sum::<f64>() / people(rows))
    }),
    ("big_share", "purchase", |rows| {
        Some(rows.iter().filter(|row| row.numbers["cds"] >= 3.0).count() as f64 / rows.len() as f64)
    }),
    ("paid_purchases", "purchase", |rows| {
        Some(rows.iter().filter(|row| row.numbers["value"] > 0.0).count() as f64)
    }),
    ("first_cds", "purchase", |rows| Some(per_person(rows, "cds", false))),
    ("last_cds", "purchase", |rows| Some(per_person(rows, "cds", true))),
];

#[tokio::test(flavor = "multi_thread")]
async fn purchases_by_rollup_by_rows_and_by_hand_are_one_answer() {
    let Some((shop, rows)) = purchase_shop().await else { return };
    let all = Ask::default();
    let daily = "purchases_daily";
    let many = ("size = 'many'", (|row| row.dims["size"] == "many") as Lets);
    let weekend = (
        "weekday >= 6 or size = 'many'",
        (|row| row.dims["weekday"].as_str() >= "6" || row.dims["size"] == "many") as Lets,
    );
    for (ask, table) in [
        (all, daily),
        (Ask { grain: Some("month"), ..all }, daily),
        (Ask { grain: Some("week"), by: &["size"], ..all }, daily),
        (Ask { grain: Some("day"), from: Some("1997-12-30"), to: Some("1998-01-06"), ..all }, daily),
        (Ask { by: &["weekday"], filter: Some(many), ..all }, daily),
        (Ask { grain: Some("month"), filter: Some(weekend), ..all }, daily),
        (Ask { by: &["cds"], ..all }, "purchase"),
        (
            Ask {
                grain: Some("month"),
                from: Some("1997-03-31T12:00"),
                to: Some("1997-07-01T00:00:00.001Z"),
                ..all
            },
            "purchase",
        ),
    ] {
        shop.aggregates(&PURCHASE_KINDS, &rows, ask, table).await;
    }
    let monthly =
        shop.ask(&["purchases", "buyers_exact"], Ask { grain: Some("month"), ..all }, Sources::Best).await;
    assert_eq!(monthly.tables, ["purchases_monthly"]);
    // What is published of this data set.
    let known = shop.ask(&["buyers_exact", "purchases", "revenue"], all, Sources::Best).await;
    assert_eq!(column(&known.values, 0)[&Key::new()], Some(23_570.0));
    assert_eq!(column(&known.values, 1)[&Key::new()], Some(69_659.0));
    assert_eq!(column(&known.values, 2)[&Key::new()], Some(2_500_315.63));

    for ask in [all, Ask { grain: Some("month"), ..all }, Ask { by: &["size"], filter: Some(weekend), ..all }]
    {
        let groups = ask.groups(&rows);
        for (metric, table, count) in PURCHASE_PARTS {
            shop.same(metric, ask, table, &counted(&groups, count)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn purchases_over_time_and_by_customers_are_what_is_counted_by_hand() {
    let Some((shop, rows)) = purchase_shop().await else { return };
    let all = Ask::default();
    let by_size = Ask { by: &["size"], ..all };
    let spring = Ask { from: Some("1997-03-10"), to: Some("1997-05-20"), ..all };
    let few = ("size = 'few'", (|row| row.dims["size"] == "few") as Lets);
    over_time(&shop, &rows, Ask { grain: Some("day"), ..spring }).await;
    over_time(&shop, &rows, Ask { grain: Some("week"), ..by_size }).await;
    over_time(&shop, &rows, Ask { grain: Some("month"), filter: Some(few), ..all }).await;
    by_customers(&shop, &rows, all).await;
    by_customers(&shop, &rows, Ask { grain: Some("month"), ..by_size }).await;
    by_customers(&shop, &rows, Ask { grain: Some("week"), filter: Some(few), ..spring }).await;
    // Everybody of this data set bought first in the first quarter of 1997.
    let cohorts =
        Ask { grain: Some("month"), ..all }.retention(&rows, ("purchase", "purchase"), ("month", 17));
    let joined: Vec<u64> =
        cohorts.iter().filter(|(key, _)| key[1] == "000").map(|(_, (_, of))| *of).collect();
    assert_eq!(joined, [7_846, 8_476, 7_248]);
    assert_eq!(joined.iter().sum::<u64>(), 23_570);
    by_the_program(&shop).await;
}

async fn over_time(shop: &Shop, rows: &[Row], ask: Ask<'_>) {
    let buyers: Count = |rows| Some(people(rows));
    let in_28_days = ask.cumulative(rows, |_, last| last + 1 - 28 * DAY, buyers);
    let own = counted(&ask.groups(rows), buyers);
    let share = in_28_days.iter().map(|(key, window)| {
        let own = own.get(key).copied().flatten().unwrap_or(0.0);
        (key.clone(), window.map(|window| own / window))
    });
    let stickiness = share.collect();
    let quarter = ask.cumulative(rows, |_, last| next(last + 1, "month", -3), buyers);
    let month: Begin = |_, last| start(last, "month");
    let week: Begin = |_, last| last + 1 - 7 * DAY;
    let revenue = ask.cumulative(rows, month, |rows| Some(numbers(rows, "value").iter().sum()));
    let largest = ask.cumulative(rows, week, |rows| numbers(rows, "value").into_iter().reduce(f64::max));
    let mean_cds = ask.cumulative(rows, week, |rows| mean(&numbers(rows, "cds")));
    for (metric, expected) in [
        ("buyers_28d", &in_28_days),
        ("stickiness", &stickiness),
        ("buyers_3mo", &quarter),
        ("revenue_mtd", &revenue),
        ("largest_7d", &largest),
        ("mean_cds_7d", &mean_cds),
    ] {
        shop.same(metric, ask, "purchases_daily", expected).await;
    }
}

async fn by_customers(shop: &Shop, rows: &[Row], ask: Ask<'_>) {
    let twice = ask.journeys(rows, &["purchase"; 2], 90 * DAY, true);
    shop.same("again_90d", ask, "purchase", &shares(&twice)).await;
    shop.funnel("three_times", ask, &ask.journeys(rows, &["purchase"; 3], 90 * DAY, false)).await;
    let month = Ask { grain: ask.grain.map(|_| "month"), ..ask };
    shop.retention("back_monthly", month, &month.retention(rows, ("purchase", "purchase"), ("month", 17)))
        .await;
}

/// The program itself: a table, CSV, JSON, a plot, and what it says of mistakes.
async fn by_the_program(shop: &Shop) {
    let config = shop.world.file("metrics.yaml", "  - {name: a, topics: [a], table: a}");
    let base = ["metrics", "query", "--catalog", text(&shop.file), "--config", text(&config)];
    let run = async |rest: &[&'static str]| tidegate(base.into_iter().chain(rest.iter().copied())).await;
    let table = run(&["purchases,buyers", "--grain", "month", "--to", "1997-04-01"]).await;
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    for expected in [
        "  1997-02-01     11,272",
        "3 rows",
        "purchases, buyers from rollup `purchases_daily`: it keeps",
        "~ estimates: buyers",
    ] {
        assert!(table.stdout.contains(expected), "{expected}: {}", table.stdout);
    }
    let csv = run(&["purchases,first_at", "--by", "size", "--as", "csv"]).await;
    assert_eq!(
        csv.stdout,
        "size,purchases,first_at\nfew,47524,1997-01-01 00:00:00.000\nmany,22135,1997-01-01 00:00:00.000\n",
        "{}",
        csv.stderr
    );
    let json = run(&["revenue", "--where", "size = 'many' and weekday = 1", "--output", "json"]).await.json();
    assert_eq!(json["reads"][0]["table"], "purchases_daily");
    assert_eq!(json["columns"][0]["unit"], "USD");
    assert!(json["rows"][0]["revenue"].as_f64().unwrap() > 0.0, "{json}");
    let plot = run(&["three_times", "--as", "plot"]).await;
    assert!(plot.stdout.contains("23,570   100.0 %") && plot.stdout.contains('█'), "{}", plot.stdout);
    let more = run(&["purchases", "--by", "cds", "--limit", "2"]).await;
    assert!(more.stdout.contains("2 rows, and there are more"), "{}", more.stdout);
    let verified: [&str; 4] = ["purchases,revenue,median_value", "--grain", "month", "--verify"];
    let same = run(&verified).await;
    assert!(same.code == Some(0) && same.stdout.contains("the rows say the same"), "{}", same.stdout);
    let more = "INSERT INTO cdnow.purchases_daily (period, size, weekday, purchases) \
                VALUES ('1997-05-05', 'few', '1', 7)";
    shop.world.clickhouse.execute(more).await.unwrap();
    let differs = run(&["cds_sold,purchases", "--grain", "month", "--verify"]).await;
    let told = differs.stdout.contains("purchases at \"1997-05-01\": 2902, from rows 2895");
    assert!(differs.code == Some(1) && told, "{}{}", differs.stdout, differs.stderr);
    let wrong = run(&["purchasess", "--by", "sise", "--where", "x'"]).await;
    assert_eq!(wrong.code, Some(2));
    for expected in
        ["did you mean `purchases`?", "--> by:1:1 (unknown_name)", "--> where:1:2 (bad_expression)"]
    {
        assert!(wrong.stderr.contains(expected), "{expected}: {}", wrong.stderr);
    }
}
