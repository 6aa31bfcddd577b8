//! Spreadsheets of wanted metrics against catalogs: one status a row, and what is proposed is right.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use tidegate_catalog::coverage::{
    Coverage, Match, Outcome, Proposal, Status, cover, history, markdown, sheet,
};
use tidegate_catalog::{Catalog, Lock, load};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/short-video/cdp.yaml")
}

fn catalog() -> Catalog {
    let root = example().display().to_string();
    load(&root, &|path| std::fs::read(path)).unwrap_or_else(|refused| panic!("{refused}")).catalog
}

/// The example with lines added to its metrics, and to a metric's aliases.
fn extended(proposals: &[Proposal]) -> Catalog {
    let root = example().display().to_string();
    let added: String = proposals
        .iter()
        .filter_map(|proposal| match proposal {
            Proposal::Metrics { metrics } => Some(metrics),
            Proposal::Alias { .. } => None,
        })
        .flatten()
        .map(|line| format!("  {line}\n"))
        .collect();
    let read = |path: &str| {
        let mut text = std::fs::read_to_string(path)?;
        if path.ends_with("metrics/growth.yaml") {
            text.push_str(&added);
        }
        for proposal in proposals {
            let Proposal::Alias { metric, alias } = proposal else { continue };
            let (old, new) = (format!("\n  {metric}: {{"), format!("\n  {metric}: {{alias: [{alias:?}], "));
            text = text.replace(&old, &new);
        }
        Ok(text.into_bytes())
    };
    load(&root, &read).unwrap_or_else(|refused| panic!("{refused}\n{added}")).catalog
}

fn covered(catalog: &Catalog, text: &str) -> Coverage {
    let sheet = sheet::read(text.as_bytes()).unwrap_or_else(|refused| panic!("{refused}"));
    cover(catalog, &Lock::default(), &sheet)
}

/// What becomes of one row of the reference catalog's sheet.
#[track_caller]
fn one(catalog: &Catalog, name: &str, formula: &str, description: &str) -> Outcome {
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let text =
        format!("name,formula,description\n{},{},{}\n", quote(name), quote(formula), quote(description));
    let mut coverage = covered(catalog, &text);
    assert_eq!(coverage.rows.len(), 1, "{coverage:?}");
    coverage.rows.remove(0).outcome
}

#[track_caller]
fn proposed(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Derivable { proposal: Proposal::Metrics { metrics } } => metrics.join("\n"),
        Outcome::Derivable { proposal: Proposal::Alias { metric, .. } } => format!("alias of {metric}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn missing(outcome: &Outcome) -> (Status, String) {
    match outcome {
        Outcome::Partial { missing } | Outcome::Blocked { missing } => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            (outcome.status(), missing.join(", "))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_or_alias_covers_and_a_likeness_does_not() {
    let catalog = catalog();
    for (name, metric, by) in [
        ("completion_rate", "completion_rate", Match::Name),
        ("GMV", "order_value", Match::Alias),
        ("Completion rate", "completion_rate", Match::Words),
        ("Unique viewer", "viewers", Match::Words),
    ] {
        assert_eq!(one(&catalog, name, "", ""), Outcome::Covered { metric: metric.to_owned(), by }, "{name}");
    }
    let coverage = covered(&catalog, "metric\nRate of completions\n");
    assert_eq!(coverage.rows[0].outcome.status(), Status::Unclear);
    assert!(coverage.rows[0].similar.contains(&"completion_rate".to_owned()), "{:?}", coverage.rows[0]);
}

#[test]
fn a_formula_of_what_is_there_is_proposed_as_the_catalogs_own_yaml() {
    let catalog = catalog();
    let check = |formula, expected: &str| {
        assert_eq!(proposed(&one(&catalog, "Wanted thing", formula, "")), expected, "{formula}");
    };
    check(
        "avg(video_viewed.position_ms) where muted",
        "wanted_thing: {kind: avg, fact: views, expr: \"position_ms\", where: \"muted\", alias: [\"Wanted thing\"]}",
    );
    check(
        "count(distinct sound_chosen.user_id)",
        "wanted_thing: {kind: count_distinct, event: sound_chosen, expr: \"user_id\", alias: [\"Wanted thing\"]}",
    );
    check(
        "sum(watch_ms) / count(video_viewed)",
        "wanted_thing: {kind: ratio, numerator: watch_time, denominator: views, alias: [\"Wanted thing\"]}",
    );
    check(
        "100 * count(video_pinned) / (upload_finished + 1)",
        "video_pinned_count: {kind: count, event: video_pinned}\n\
         wanted_thing: {kind: derived, expr: \"100 * video_pinned_count / (uploads + 1)\", alias: [\"Wanted thing\"]}",
    );
    check("SUM(\"order_placed\".money_usd)", "alias of order_value");
    check("completed_views / views", "alias of completion_rate");
}

#[test]
fn what_is_missing_is_named() {
    let catalog = catalog();
    let check = |formula, description, expected: (Status, &str)| {
        let outcome = one(&catalog, "Wanted thing", formula, description);
        assert_eq!(missing(&outcome), (expected.0, expected.1.to_owned()), "{formula}");
    };
    check("count(video_viewed where captions)", "", (Status::Partial, "video_viewed.captions"));
    check("avg(video_viewed.brightness)", "", (Status::Partial, "video_viewed.brightness"));
    check("count(picture_in_picture_opened)", "", (Status::Blocked, "picture_in_picture_opened"));
    check(
        "sum(tip_sent.amount) / sum(video_viewed.battery)",
        "",
        (Status::Blocked, "tip_sent, video_viewed.battery"),
    );
    check("", "Average battery_used of each video viewed", (Status::Partial, "video_viewed.battery_used"));
    check("number of filter_saved events", "", (Status::Blocked, "filter_saved"));
}

#[test]
fn what_cannot_be_matched_is_for_a_person_with_the_reason() {
    let catalog = catalog();
    let check = |formula, words: &str| match one(&catalog, "Wanted thing", formula, "") {
        Outcome::Unclear { reason } => assert!(reason.contains(words), "{formula}: {reason}"),
        other => panic!("{formula}: {other:?}"),
    };
    check("count(distinct user_id)", "`activity.user_id`");
    check("sum(video_viewed.quality)", "a number");
    check("watch_ms / 2", "`sum(watch_ms)`");
    check("how happy people are", "no event");
    check("sum(watch_mz)", "did you mean `watch_ms`?");
    check("compeltion_rate * 2", "did you mean `completion_rate`?");
}

#[test]
fn words_are_read_where_there_is_no_formula() {
    let catalog = catalog();
    let check = |text, expected: &str| {
        assert_eq!(proposed(&one(&catalog, "Wanted thing", "", text)), expected, "{text}");
    };
    check(
        "How many times a video pinned itself",
        "wanted_thing: {kind: count, event: video_pinned, doc: \"How many times a video pinned itself\", alias: [\"Wanted thing\"]}",
    );
    check("comments per video view", "alias of comment_rate");
}

#[test]
fn rows_that_want_the_same_are_one_metric() {
    let text = "name,formula\nViews,\nvideo views,\nPlays,count(video_viewed)\nPins,count(video_pinned)\n\
                Pinned videos,count(video_pinned)\npins,\n";
    let coverage = covered(&catalog(), text);
    let statuses: Vec<Status> = coverage.rows.iter().map(|row| row.outcome.status()).collect();
    let duplicate = Status::Duplicate;
    assert_eq!(
        statuses,
        [Status::Covered, duplicate, duplicate, Status::Derivable, duplicate, duplicate],
        "{coverage:#?}"
    );
    assert_eq!((coverage.figures.wanted, coverage.figures.percent()), (2, 50.0));
}

#[test]
fn a_name_covers_and_a_formula_that_says_otherwise_is_told() {
    let text = "name,formula\nviews,count(video_viewed)\ncompletion_rate,completed_views / views\n\
                playback_errors,count(playback_failed)\nstickiness,active_users / mau\n\
                comments,count(comment_posted where spam)\nfollows,how many\n";
    let coverage = covered(&catalog(), text);
    assert_eq!(coverage.figures.covered, 6, "{:?}", coverage.rows);
    let told: Vec<Option<&str>> = coverage.rows.iter().map(|row| row.differs.as_deref()).collect();
    let errors = "`playback_errors` does not compute `count(playback_failed)`";
    let spam = "its formula needs `comment_posted.spam`, which is not there";
    assert_eq!(told, [None, None, Some(errors), None, Some(spam), None]);
}

#[test]
fn what_unlocks_most_comes_first_and_what_is_not_counted_is_listed() {
    let text = "name,formula\nA,avg(video_viewed.battery)\nB,count(tip_sent)\nC,count(tip_sent where paid)\n\
                D,count(tip_sent)/sum(video_viewed.battery)\n";
    let coverage = covered(&catalog(), text);
    let shown: Vec<(String, usize, usize)> = coverage
        .missing
        .iter()
        .map(|lacking| (lacking.missing.to_string(), lacking.unlocks.len(), lacking.helps.len()))
        .collect();
    let expected = [("tip_sent", 2, 1), ("video_viewed.battery", 1, 1)];
    assert_eq!(shown, expected.map(|(name, unlocks, helps)| (name.to_owned(), unlocks, helps)));
    let unused = &coverage.unused;
    assert!(unused.events.contains(&"video_pinned".to_owned()), "{unused:?}");
    assert!(unused.fields["video_viewed"].contains(&"position_ms".to_owned()), "{unused:?}");
    assert!(!unused.fields["video_viewed"].contains(&"watch_ms".to_owned()), "{unused:?}");
    assert!(unused.shared.contains(&"device_model".to_owned()), "{unused:?}");
}

/// The example's own sheet has every status, and what is proposed for it makes it covered.
#[test]
fn what_is_proposed_for_the_example_covers_it_once_it_is_written() {
    let text = std::fs::read_to_string(example().with_file_name("wanted-metrics.csv")).unwrap();
    let before = covered(&catalog(), &text);
    assert!(before.rows.len() >= 60, "{} rows", before.rows.len());
    for status in Status::ALL {
        assert!(before.figures.count(status) > 1, "{status:?}: {:?}", before.figures);
    }
    let proposals: Vec<Proposal> = before
        .rows
        .iter()
        .filter_map(|row| match &row.outcome {
            Outcome::Derivable { proposal } => Some(proposal.clone()),
            _ => None,
        })
        .collect();
    let after = covered(&extended(&proposals), &text);
    for (before, after) in before.rows.iter().zip(&after.rows) {
        let expected = match before.outcome.status() {
            Status::Derivable => Status::Covered,
            status => status,
        };
        assert_eq!(after.outcome.status(), expected, "{before:?}\n{after:?}");
    }
    assert_eq!(after.figures.covered, before.figures.covered + before.figures.derivable);
}

#[test]
fn hundreds_of_metrics_are_matched_in_a_moment() {
    let catalog = catalog();
    let mut text = "name,formula,description,owner\n".to_owned();
    for number in 0..300 {
        text.push_str(&format!(
            "Thing {number} per user,sum(video_viewed.watch_ms) / count({number} + order_placed.missing_{number}),\
             How much of the thing {number} there is for each of them,team {number}\n"
        ));
    }
    let start = Instant::now();
    assert_eq!(covered(&catalog, &text).rows.len(), 300);
    // What is shipped is some times faster than what is tested.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

fn word() -> impl Strategy<Value = String> {
    let known = [
        "video_viewed",
        "watch_ms",
        "views",
        "user_id",
        "order_placed.money_usd",
        "completed",
        "sum(",
        "count(",
        "distinct",
        ")",
        "/",
        "per",
        "where",
        "'x'",
        "average",
        "number of",
        "__0",
        "tip_sent",
        ",",
        "\"",
        "\n",
        ";",
        "=",
        "1.5",
        "ä",
        "(",
        "p95(",
        "*",
        "not",
        "in",
    ];
    prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,6}", 1 => Just(" ".to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_row_has_one_status_and_shares_add_up(
        cells in prop::collection::vec(prop::collection::vec(word(), 0..10), 0..60),
        catalog in Just(std::sync::LazyLock::force(&CATALOG)),
    ) {
        let mut text = "name,formula,description,owner,priority\n".to_owned();
        for row in cells.chunks(5) {
            let row: Vec<String> =
                row.iter().map(|words| format!("\"{}\"", words.join(" ").replace('"', "\"\""))).collect();
            text.push_str(&row.join(","));
            text.push('\n');
        }
        let sheet = sheet::read(text.as_bytes()).unwrap();
        let coverage = cover(catalog, &Lock::default(), &sheet);
        assert_eq!(coverage.rows.len(), sheet.rows.len());
        let figures = coverage.figures;
        let n_rows: usize = Status::ALL.into_iter().map(|status| figures.count(status)).sum();
        assert_eq!(n_rows, coverage.rows.len());
        if figures.wanted > 0 {
            assert_eq!(figures.tenths().iter().map(|(_, tenths)| tenths).sum::<usize>(), 1_000);
        }
        for groups in [&coverage.owners, &coverage.priorities] {
            assert_eq!(groups.iter().map(|group| group.figures.covered).sum::<usize>(), figures.covered);
        }
        assert_eq!(coverage, cover(catalog, &Lock::default(), &sheet));
        assert!(!markdown(&coverage, "sheet.csv", &[]).is_empty());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = sheet::read(&bytes);
        let mut named = b"name;formula\n".to_vec();
        named.extend(bytes.iter().map(|byte| byte & 0x7f));
        let sheet = sheet::read(&named).unwrap();
        for row in sheet.malformed.iter().map(|row| row.line).chain(sheet.rows.iter().map(|row| row.line)) {
            assert!(row > 1);
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = history::read(text);
        }
    }
}

static CATALOG: std::sync::LazyLock<Catalog> = std::sync::LazyLock::new(catalog);
