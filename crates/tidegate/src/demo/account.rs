//! What ClickHouse and Kafka say became of the records.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use serde::Deserialize;
use tidegate_clickhouse::{quote_name, quote_text};
use tidegate_config::Connector;
use tidegate_kafka::dead_letter::DeadLetterRecord;
use tidegate_kafka::{BoundedReader, KafkaAdmin, ReadFrom};

use crate::report::DeadLetterExample;
use crate::sink::World;

/// Where a record stood: partition and offset.
type Place = (i32, i64);

/// The figures, each from the system that holds them.
#[derive(Debug)]
pub struct Account {
    /// Offsets that the topic holds.
    pub records: u64,
    /// Table to rows.
    pub rows: BTreeMap<String, u64>,
    /// Reason code to records in the dead-letter topic.
    pub dead_letters: BTreeMap<String, u64>,
    /// `topic/partition` to offsets not committed.
    pub lag: BTreeMap<String, u64>,
    /// One dead letter of each reason.
    pub examples: BTreeMap<String, DeadLetterExample>,
    /// How often each place is in a table or in the dead-letter topic, where that is not once.
    wrong_places: Vec<(Place, u64)>,
}

#[derive(Deserialize)]
struct TableName {
    name: String,
}

#[derive(Deserialize)]
struct PlaceRow {
    p: i32,
    o: i64,
}

impl Account {
    /// Asks both systems.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub async fn take(world: &World, connector: &Connector, topic: &str) -> anyhow::Result<Self> {
        let admin = KafkaAdmin::connect(&world.kafka)?;
        let mut expected = BTreeSet::new();
        for (source, marks) in admin.watermarks(&[topic]).await? {
            expected.extend((marks.low..marks.end).map(|offset| (source.partition, offset)));
        }
        let lag = admin.group_lag(&connector.group_name(), &[topic]).await?;
        let lag = lag.iter().map(|(source, lag)| (source.to_string(), u64::try_from(lag.lag()).unwrap_or(0)));
        let mut places: BTreeMap<Place, u64> = expected.iter().map(|place| (*place, 0)).collect();
        let mut account = Self {
            records: expected.len() as u64,
            rows: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
            lag: lag.collect(),
            examples: BTreeMap::new(),
            wrong_places: Vec::new(),
        };
        account.take_rows(world, connector, &mut places).await?;
        account.take_dead_letters(world, &connector.dead_letter_topic(), &mut places).await?;
        account.wrong_places = places.into_iter().filter(|(_, times)| *times != 1).collect();
        Ok(account)
    }

    /// Whether every record of the topic is one row or one dead letter.
    #[must_use]
    pub fn accounted(&self) -> bool {
        if let Some((place, times)) = self.wrong_places.first() {
            tracing::error!(
                ?place,
                times,
                others = self.wrong_places.len() - 1,
                "records are not accounted for"
            );
        }
        self.wrong_places.is_empty()
    }

    async fn take_rows(
        &mut self,
        world: &World,
        connector: &Connector,
        places: &mut BTreeMap<Place, u64>,
    ) -> anyhow::Result<()> {
        let database =
            connector.database.as_ref().map_or_else(|| world.database.clone(), ToString::to_string);
        let sql = format!(
            "SELECT name FROM system.tables WHERE database = {} AND startsWith(name, 'github_') ORDER BY name",
            quote_text(&database)
        );
        let tables: Vec<TableName> = world.clickhouse.rows(&sql).await.context("list the tables")?;
        for TableName { name } in tables {
            let table = format!("{}.{}", quote_name(&database), quote_name(&name));
            let sql = format!("SELECT _partition AS p, _offset AS o FROM {table}");
            let rows: Vec<PlaceRow> =
                world.clickhouse.rows(&sql).await.with_context(|| format!("read table {table}"))?;
            for PlaceRow { p, o } in &rows {
                *places.entry((*p, *o)).or_default() += 1;
            }
            self.rows.insert(name, rows.len() as u64);
        }
        Ok(())
    }

    async fn take_dead_letters(
        &mut self,
        world: &World,
        topic: &str,
        places: &mut BTreeMap<Place, u64>,
    ) -> anyhow::Result<()> {
        let mut reader = BoundedReader::open(&world.kafka, topic, ReadFrom::Beginning)?;
        while let Some(records) = reader.next().await {
            let records = records.with_context(|| format!("read topic `{topic}`"))?;
            for record in records.iter() {
                let letter = DeadLetterRecord::parse(record).context("read a dead letter")?;
                let place = (letter.provenance.source.partition, letter.provenance.offset);
                *places.entry(place).or_default() += 1;
                let code = letter.code.to_string();
                *self.dead_letters.entry(code.clone()).or_default() += 1;
                let example = crate::dlq::example(&letter);
                let earliest = self.examples.entry(code).or_insert_with(|| example.clone());
                if (example.partition, example.offset) < (earliest.partition, earliest.offset) {
                    *earliest = example;
                }
            }
        }
        Ok(())
    }
}
