//! What `up` says when it is ready, and what `status` shows.

use std::fmt::Write;

use super::Look;
use super::text::{Ink, count, cut, quoted};
use crate::report::{CatalogReport, Endpoints, UpReport};
use crate::status::{ConnectorLine, StatusReport};
use crate::up::machine::{Component, ComponentState, KafkaLogs, MachineStatus};

/// How many topics and tables are shown; JSON has more.
const LINES_MAX: usize = 15;

/// Where the stack listens, and the passwords that were made for this start.
#[must_use]
pub fn up(report: &UpReport, look: Look) -> String {
    let Endpoints { kafka, clickhouse, clickhouse_native, registry, api, data_dir, clickhouse_reader: _ } =
        &report.endpoints;
    let clickhouse = without_login(clickhouse);
    let lines = [
        ("Kafka", kafka.as_str()),
        ("ClickHouse, HTTP", &clickhouse),
        ("ClickHouse, native", clickhouse_native),
        ("Schema registry", registry),
        ("Tidegate", api),
        ("Files", data_dir),
    ];
    let mut text = look.heading("Tidegate is up.", "Ctrl-C stops it.");
    for (name, place) in lines.iter().filter(|(_, place)| !place.is_empty()) {
        let _ = writeln!(text, "  {name:<20}{}", look.ink(Ink::Command, place));
    }
    if let Some(catalog) = &report.catalog {
        text.push('\n');
        text.push_str(&rolled_out(catalog, look));
    }
    if report.logins.is_empty() {
        return text;
    }
    text.push('\n');
    text.push_str(&look.heading("Passwords", "shown this once; the files have them"));
    for login in &report.logins {
        let _ = writeln!(
            text,
            "  {:<24}{:<10}{}",
            login.what,
            login.user,
            look.ink(Ink::Command, &login.password)
        );
    }
    let mut files: Vec<&str> = report.logins.iter().map(|login| login.file.as_str()).collect();
    files.dedup();
    for file in files {
        let _ = writeln!(text, "  {}", look.ink(Ink::Dim, file));
    }
    text
}

fn rolled_out(catalog: &CatalogReport, look: Look) -> String {
    let CatalogReport {
        file,
        name,
        database,
        events,
        topics_created,
        schemas_registered,
        tables_created,
        ..
    } = catalog;
    let mut text = look.heading(&format!("Catalog {name}"), file);
    let _ = writeln!(text, "  {events} events, tables in database {}", look.ink(Ink::Command, database));
    let made = match topics_created + schemas_registered + tables_created {
        0 => "everything was there".to_owned(),
        _ => format!(
            "created {tables_created} tables and views, {topics_created} topics; registered {schemas_registered} schemas"
        ),
    };
    let _ = writeln!(text, "  {made}");
    if !catalog.stored_as_it_comes.is_empty() {
        let classes = catalog.stored_as_it_comes.join(", ");
        let _ = writeln!(text, "  personal data is stored as it comes: {classes}");
    }
    text
}

/// An address without its user and password.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

/// What a running Tidegate is at.
#[must_use]
pub fn status(report: &StatusReport, look: Look) -> String {
    let mut parts = Vec::new();
    if let Some(machine) = &report.machine {
        parts.extend([components(machine, look), topics(machine, look), tables(machine, look)]);
    }
    parts.push(connectors(report, look));
    if let Some(machine) = &report.machine {
        for problem in &machine.problems {
            parts.push(format!("{}\n", look.ink(Ink::Bad, quoted(problem, look.width))));
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn components(machine: &MachineStatus, look: Look) -> String {
    let free = machine.disk_free_bytes.map_or_else(|| "?".to_owned(), bytes);
    let remark = format!("{}, {free} free; up for {}", machine.data_dir, span(machine.uptime_seconds));
    let mut text = look.heading("This machine", &remark);
    let head = format!(
        "  {:<11}{:<11}{:>8}  {:<11}{:>9}{:>9}{:>9}",
        "", "", "process", "version", "memory", "CPU", "disk"
    );
    let _ = writeln!(text, "{}", look.ink(Ink::Dim, head));
    for component in &machine.components {
        text.push_str(&self::component(component, look));
        if let ("kafka", Some(logs)) = (component.name.as_str(), &machine.kafka_logs) {
            let _ = writeln!(text, "  {:<11}{}", "", self::logs(logs, look));
        }
    }
    text
}

/// What Kafka's logs hold, and may hold.
fn logs(logs: &KafkaLogs, look: Look) -> String {
    let KafkaLogs { bytes: held, bytes_max, full, batches_refused: _ } = logs;
    let ink = if *full { Ink::Bad } else { Ink::Dim };
    match bytes_max {
        Some(bytes_max) => {
            let full = if *full { "; full" } else { "" };
            look.ink(ink, format_args!("logs {} of {}{full}", bytes(*held), bytes(*bytes_max))).to_string()
        }
        None => look.ink(ink, format_args!("logs {}", bytes(*held))).to_string(),
    }
}

fn component(component: &Component, look: Look) -> String {
    let Component {
        name,
        state,
        reason,
        pid,
        version,
        address,
        memory_bytes,
        cpu_percent,
        disk_bytes,
        restarts,
    } = component;
    let (state, ink) = match state {
        ComponentState::Up => ("up", Ink::Good),
        ComponentState::Down => ("down", Ink::Bad),
        ComponentState::Elsewhere => ("elsewhere", Ink::Dim),
    };
    let state = look.ink(ink, format_args!("{state:<11}"));
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut text = format!(
        "  {name:<11}{state}{:>8}  {:<11}",
        or_dash(pid.map(|pid| pid.to_string())),
        or_dash(version.clone())
    );
    let _ = writeln!(
        text,
        "{:>9}{:>9}{:>9}",
        or_dash(memory_bytes.map(bytes)),
        or_dash(cpu_percent.map(|share| format!("{share:.1} %"))),
        or_dash(disk_bytes.map(bytes)),
    );
    if !address.is_empty() {
        let _ = writeln!(text, "  {:<11}{}", "", look.ink(Ink::Command, quoted(address, look.width - 14)));
    }
    if *restarts > 0 {
        let _ = writeln!(
            text,
            "  {:<11}{}",
            "",
            look.ink(Ink::Warn, format_args!("started again {restarts} times"))
        );
    }
    if let Some(reason) = reason {
        let _ = writeln!(text, "  {:<11}{}", "", look.ink(Ink::Bad, quoted(reason, look.width - 14)));
    }
    text
}

fn topics(machine: &MachineStatus, look: Look) -> String {
    let lines = machine.topics.iter().map(|topic| {
        (
            topic.name.clone(),
            format!("{:>12} offsets in {} partitions", count(topic.records), topic.partitions),
        )
    });
    list("Topics", lines.collect(), look)
}

fn tables(machine: &MachineStatus, look: Look) -> String {
    let lines = machine.tables.iter().map(|table| {
        (
            format!("{}.{}", table.database, table.name),
            format!("{:>12} rows in {}", count(table.rows), bytes(table.bytes)),
        )
    });
    list("Tables", lines.collect(), look)
}

fn list(title: &str, lines: Vec<(String, String)>, look: Look) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut text = look.heading(title, &format!("{} in all", lines.len()));
    for (name, size) in lines.iter().take(LINES_MAX) {
        let _ = writeln!(text, "  {:<40}{}", quoted(name, 39), cut(size, look.width - 42));
    }
    if lines.len() > LINES_MAX {
        let _ = writeln!(text, "  {}", look.ink(Ink::Dim, "--output json lists the others"));
    }
    text
}

fn connectors(report: &StatusReport, look: Look) -> String {
    if report.connectors.is_empty() {
        return String::new();
    }
    let buffered =
        format!("{} of {} buffered", bytes(report.buffered_bytes), bytes(report.buffered_bytes_max));
    let mut text = look.heading("Connectors", &buffered);
    for ConnectorLine { name, phase, reason, partitions } in &report.connectors {
        let behind: i64 =
            partitions.values().map(|partition| (partition.end - partition.settled).max(0)).sum();
        let behind = count(u64::try_from(behind).unwrap_or(0));
        let ink = if phase == "running" { Ink::Good } else { Ink::Warn };
        let phase = look.ink(ink, format_args!("{phase:<11}"));
        let _ = writeln!(
            text,
            "  {:<40}{phase}{behind:>12} behind, {} partitions",
            quoted(name, 39),
            partitions.len()
        );
        if let Some(reason) = reason {
            let _ = writeln!(text, "    {}", look.ink(Ink::Warn, quoted(reason, look.width - 4)));
        }
    }
    text
}

/// `1.5 GiB`.
fn bytes(number: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, factor)| number >= *factor) {
        Some((unit, factor)) => {
            let whole = number / factor;
            // Three digits are enough to compare two of them.
            if whole >= 100 {
                format!("{whole} {unit}")
            } else {
                format!("{whole}.{} {unit}", number % factor * 10 / factor)
            }
        }
        None => format!("{number} B"),
    }
}

/// `2 h 3 min`.
fn span(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::Login;
    use crate::status::PartitionLine;
    use crate::up::machine::{TableSize, TopicSize};

    fn report() -> UpReport {
        let login = |what: &str, user: &str| Login {
            what: what.to_owned(),
            user: user.to_owned(),
            password: "0123456789abcdef".to_owned(),
            file: "/srv/data/clickhouse/credentials.json".to_owned(),
        };
        UpReport {
            endpoints: Endpoints {
                kafka: "127.0.0.1:19092".to_owned(),
                clickhouse: "http://tidegate:0123456789abcdef@127.0.0.1:8123".to_owned(),
                clickhouse_reader: "http://reader:0123456789abcdef@127.0.0.1:8123".to_owned(),
                clickhouse_native: "127.0.0.1:9000".to_owned(),
                registry: "http://127.0.0.1:8081".to_owned(),
                api: "http://127.0.0.1:8080".to_owned(),
                data_dir: "data".to_owned(),
            },
            catalog: None,
            logins: vec![login("ClickHouse, everything", "tidegate"), login("ClickHouse, reading", "reader")],
        }
    }

    #[test]
    fn up_says_where_everything_is() {
        insta::assert_snapshot!(up(&report(), Look::PLAIN));
    }

    #[test]
    fn up_says_what_it_has_made_of_a_catalog() {
        let catalog = CatalogReport {
            file: "cdp.yaml".to_owned(),
            name: "shop".to_owned(),
            database: "cdp".to_owned(),
            events: 2,
            topics_created: 2,
            schemas_registered: 3,
            tables_created: 5,
            stored_as_it_comes: vec!["direct".to_owned()],
        };
        let told = rolled_out(&catalog, Look::PLAIN);
        assert_eq!(
            told,
            "Catalog shop  cdp.yaml\n  2 events, tables in database cdp\n  \
             created 5 tables and views, 2 topics; registered 3 schemas\n  \
             personal data is stored as it comes: direct\n"
        );
        let again = CatalogReport { topics_created: 0, schemas_registered: 0, tables_created: 0, ..catalog };
        assert!(rolled_out(&again, Look::PLAIN).contains("everything was there"));
    }

    #[test]
    fn a_password_is_shown_at_the_first_start_only() {
        let later = UpReport { logins: Vec::new(), ..report() };
        assert!(up(&report(), Look::PLAIN).contains("0123456789abcdef"));
        assert!(!up(&later, Look::PLAIN).contains("0123456789abcdef"));
    }

    #[test]
    fn the_status_is_a_screenful() {
        let component = |name: &str, state, pid| Component {
            name: name.to_owned(),
            state,
            reason: None,
            pid,
            version: Some("26.7.2.1".to_owned()),
            address: "127.0.0.1:8123".to_owned(),
            memory_bytes: Some(220 << 20),
            cpu_percent: Some(1.25),
            disk_bytes: Some(3_500_000),
            restarts: 0,
        };
        let down = Component {
            reason: Some("ended by itself (signal: 9 (SIGKILL))".to_owned()),
            version: None,
            memory_bytes: None,
            cpu_percent: None,
            restarts: 2,
            ..component("clickhouse", ComponentState::Down, None)
        };
        let machine = MachineStatus {
            uptime_seconds: 7400,
            data_dir: "/srv/data".to_owned(),
            disk_free_bytes: Some(60 << 30),
            components: vec![
                Component { address: String::new(), ..component("tidegate", ComponentState::Up, Some(4711)) },
                Component {
                    memory_bytes: None,
                    cpu_percent: None,
                    ..component("kafka", ComponentState::Up, Some(4711))
                },
                down,
            ],
            kafka_logs: Some(KafkaLogs {
                bytes: 3_400_000,
                bytes_max: Some(20 << 30),
                full: false,
                batches_refused: 0,
            }),
            topics: vec![TopicSize { name: "events\x1b[2J".to_owned(), partitions: 3, records: 1_234_567 }],
            tables: (0..17)
                .map(|n| TableSize {
                    database: "ev".to_owned(),
                    name: format!("t{n}"),
                    rows: 10,
                    bytes: 2048,
                })
                .collect(),
            problems: vec!["tables: connection refused".to_owned()],
        };
        let partition = PartitionLine { settled: 10, end: 25 };
        let report = StatusReport {
            version: "0.1.0".to_owned(),
            buffered_bytes: 1 << 20,
            buffered_bytes_max: 512 << 20,
            connectors: vec![ConnectorLine {
                name: "c".to_owned(),
                phase: "waiting".to_owned(),
                reason: Some("connection refused".to_owned()),
                partitions: BTreeMap::from([("events/0".to_owned(), partition)]),
            }],
            machine: Some(machine),
        };
        let text = status(&report, Look::PLAIN);
        assert!(text.lines().all(|line| line.chars().count() <= Look::PLAIN.width), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn sizes_and_spans_are_short() {
        assert_eq!(
            [0, 1023, 1024, 1536, 220 << 20, 5 << 40].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "220 MiB", "5.0 TiB"]
        );
        assert_eq!([5, 65, 7400, 200_000].map(span), ["5 s", "1 min", "2 h 3 min", "2 d 7 h"]);
    }
}
