//! A shop's clickstream: sessions, conversions, the funnel to an order, retention by week.

use std::collections::{BTreeMap, BTreeSet};

use super::independent::{
    Ask, Begin, Count, DAY, Lets, Row, counted, mean, millis, numbers, people, per_person, start,
};
use super::{Shop, Way, data, shares};

const EVENTS: [&str; 19] = [
    "home",
    "catalog",
    "search",
    "filter_results",
    "product_view",
    "add_to_cart",
    "cart",
    "shipping_details",
    "wishlist_add",
    "promo_page",
    "payment_details",
    "account_page",
    "purchase",
    "review_page",
    "support_chat",
    "error_page",
    "compare",
    "payment_error",
    "checkout_bug",
];

/// The clickstream, with some of it absent: nobody knows who is in sessions whose number ends with 7, and direct
/// visits have no channel.
async fn click_shop() -> Option<(Shop, Vec<Row>)> {
    let text = data("clickstream/ecom.csv")?;
    let (mut rows, mut sessions) = (Vec::new(), BTreeMap::new());
    let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (line, id) in text.lines().skip(1).zip(1..) {
        let fields: Vec<&str> = line.split(',').collect();
        let [user, session, event, time, platform, channel, _, lifecycle] = fields.as_slice() else {
            continue;
        };
        let event = *EVENTS.iter().find(|known| *known == event).unwrap();
        let known = !session.ends_with('7');
        let direct = *channel == "direct";
        let (user_text, channel_text) =
            (if known { *user } else { "\\N" }, if direct { "\\N" } else { *channel });
        lines.entry(event).or_default().push(format!(
            "00000000-0000-0000-0000-{id:012}\t{time}\t{user_text}\t{session}\t{platform}\t{channel_text}"
        ));
        sessions
            .insert(*session, format!("00000000-0000-0000-0000-{id:012}\t{time}\t{session}\tx\t{lifecycle}"));
        let at = millis(time);
        let hour = at / 3_600_000 % 24;
        let dims = BTreeMap::from([
            ("platform", (*platform).to_owned()),
            ("channel", if direct { "unknown".to_owned() } else { (*channel).to_owned() }),
            ("event", event.to_owned()),
            ("hour_of_day", hour.to_string()),
            ("lifecycle", (*lifecycle).to_owned()),
            ("session", (*session).to_owned()),
        ]);
        let numbers = BTreeMap::from([("hour", hour as f64)]);
        rows.push(Row { at, id, event, who: known.then(|| (*user).to_owned()), dims, numbers });
    }
    let shop = Shop::open("clickstream.yaml").await?;
    for (event, lines) in &lines {
        let into =
            format!("clicks.{event} (event_id, ts, user_id, session_id, platform, acquisition_channel)");
        shop.fill(&into, lines).await;
    }
    let told: Vec<String> = sessions.into_values().collect();
    shop.fill("clicks.session_told (event_id, ts, session_id, platform, user_lifecycle)", &told).await;
    Some((shop, rows))
}

fn distinct(rows: &[&Row], dim: &str) -> f64 {
    rows.iter().map(|row| row.dims[dim].as_str()).collect::<BTreeSet<_>>().len() as f64
}

fn of_event(rows: &[&Row], events: &[&str]) -> f64 {
    rows.iter().filter(|row| events.contains(&row.event)).count() as f64
}

const CLICK_KINDS: [(&str, Way); 11] = [
    ("clicks", Way::Exact(|rows| Some(rows.len() as f64))),
    ("views", Way::Exact(|rows| Some(of_event(rows, &["product_view", "catalog"])))),
    ("users", Way::Exact(|rows| Some(people(rows)))),
    ("users_approx", Way::Near(|rows| Some(people(rows)))),
    ("sessions", Way::Exact(|rows| Some(distinct(rows, "session")))),
    ("broken", Way::Exact(|rows| Some(of_event(rows, &["checkout_bug"]).min(1.0)))),
    ("last_click", Way::Exact(|rows| rows.iter().map(|row| row.at).max().map(|at| at as f64))),
    ("first_click", Way::Exact(|rows| rows.iter().map(|row| row.at).min().map(|at| at as f64))),
    (
        "night_clicks",
        Way::Exact(|rows| Some(numbers(rows, "hour").iter().filter(|hour| **hour < 6.0).count() as f64)),
    ),
    ("mean_hour", Way::Exact(|rows| mean(&numbers(rows, "hour")))),
    ("hour_p90", Way::Quantile(0.9, "hour")),
];

const CLICK_PARTS: [(&str, &str, Count); 4] = [
    ("order_rate", "orders_daily+clicks_daily", |rows| {
        Some(of_event(rows, &["purchase"]) / distinct(rows, "session"))
    }),
    ("clicks_per_user", "clicks_daily", |rows| {
        Some(rows.len() as f64 / people(rows)).filter(|share| share.is_finite())
    }),
    ("last_hours", "activity", |rows| Some(per_person(rows, "hour", true))),
    ("first_hours", "activity", |rows| Some(per_person(rows, "hour", false))),
];

/// Filters, in both languages.
const RETURNING: (&str, Lets) = ("lifecycle = 'returning'", |row| row.dims["lifecycle"] == "returning");
const EVENING: (&str, Lets) = ("hour_of_day >= 18 and not (channel = 'unknown')", |row| {
    row.numbers["hour"] >= 18.0 && row.dims["channel"] != "unknown"
});
const PHONES: (&str, Lets) = ("platform in ('mobile', 'tablet') or event = 'purchase'", |row| {
    row.dims["platform"] != "desktop" || row.event == "purchase"
});

const CHECKOUT: [&str; 6] =
    ["product_view", "add_to_cart", "cart", "shipping_details", "payment_details", "purchase"];

#[tokio::test(flavor = "multi_thread")]
async fn clicks_by_rollup_by_rows_and_by_hand_are_one_answer() {
    let Some((shop, rows)) = click_shop().await else { return };
    let all = Ask::default();
    let march = Ask { from: Some("2024-03-01"), to: Some("2024-04-01"), ..all };
    let days = Ask { from: Some("2024-03-01T07:00"), to: Some("2024-03-03T09:00"), ..all };
    for (ask, table) in [
        (all, "clicks_hourly"),
        (Ask { grain: Some("week"), by: &["channel"], ..all }, "clicks_hourly"),
        (Ask { grain: Some("hour"), ..days }, "clicks_hourly"),
        (Ask { by: &["event", "platform"], filter: Some(PHONES), ..all }, "clicks_hourly"),
        (Ask { by: &["hour_of_day"], ..march }, "activity"),
        (Ask { by: &["lifecycle"], grain: Some("month"), ..all }, "activity"),
        (Ask { by: &["platform"], filter: Some(EVENING), ..all }, "activity"),
        (Ask { from: Some("2024-03-01T07:30"), ..march }, "activity"),
    ] {
        shop.aggregates(&CLICK_KINDS, &rows, ask, table).await;
    }
    for ask in [all, Ask { grain: Some("day"), by: &["platform"], ..march }] {
        let groups = ask.groups(&rows);
        for (metric, table, count) in CLICK_PARTS {
            shop.same(metric, ask, table, &counted(&groups, count)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clicks_over_time_and_by_users_are_what_is_counted_by_hand() {
    let Some((shop, rows)) = click_shop().await else { return };
    let all = Ask::default();
    let march = Ask { from: Some("2024-03-01"), to: Some("2024-04-01"), ..all };
    let users: Count = |rows| Some(people(rows));
    let orders: Vec<Row> = rows.iter().filter(|row| row.event == "purchase").cloned().collect();
    let (week, half_a_day): (Begin, Begin) = (|_, last| last + 1 - 7 * DAY, |_, last| last + 1 - DAY / 2);
    for ask in [Ask { grain: Some("day"), ..march }, Ask { grain: Some("week"), by: &["platform"], ..all }] {
        shop.same("users_7d", ask, "clicks_daily", &ask.cumulative(&rows, week, users)).await;
        shop.same("users_12h", ask, "clicks_hourly", &ask.cumulative(&rows, half_a_day, users)).await;
        let since_monday =
            ask.cumulative(&orders, |_, last| start(last, "week"), |rows| Some(rows.len() as f64));
        shop.same("orders_wtd", ask, "orders_daily", &since_monday).await;
    }
    let hours = Ask { grain: Some("hour"), from: Some("2024-03-01T05:00"), to: Some("2024-03-04"), ..all };
    shop.same("users_12h", hours, "clicks_hourly", &hours.cumulative(&rows, half_a_day, users)).await;
    for ask in [
        all,
        Ask { grain: Some("month"), by: &["platform"], ..all },
        Ask { grain: Some("week"), filter: Some(RETURNING), ..march },
        Ask { by: &["lifecycle"], filter: Some(PHONES), ..all },
    ] {
        let bought = ask.journeys(&rows, &["add_to_cart", "purchase"], DAY, true);
        shop.same("cart_to_order", ask, "activity", &shares(&bought)).await;
        shop.funnel("checkout", ask, &ask.journeys(&rows, &CHECKOUT, DAY, true)).await;
        shop.funnel("checkout_loose", ask, &ask.journeys(&rows, &CHECKOUT[..3], DAY / 24, false)).await;
        let week = Ask { grain: ask.grain.map(|_| "week"), ..ask };
        shop.retention("back_weekly", week, &week.retention(&rows, ("home", "product_view"), ("week", 8)))
            .await;
    }
}
