//! A connector's consumer group and one of its topics, as `offsets` and `ledger` look at them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use tidegate_clickhouse::Client;
use tidegate_config::{self as config, Connector};
use tidegate_core::{OffsetRange, TopicPartition};
use tidegate_kafka::{Committed, KafkaAdmin, KafkaOptions};

use crate::{dlq, wire};

/// Which group and topic.
#[derive(Debug, Clone, Args)]
pub struct GroupFlags {
    /// The sink's configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The connector; needed if the file has several
    #[arg(long, value_name = "NAME")]
    pub connector: Option<String>,
    /// The topic; needed if the connector reads several
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
}

/// A group and a topic, with the ways to ask about them.
pub struct Group {
    /// The consumer group.
    pub name: String,
    /// The topic.
    pub topic: String,
    /// The connector whose group it is.
    pub connector: Connector,
    /// The database of its tables.
    pub database: String,
    /// How to reach Kafka.
    pub kafka: KafkaOptions,
    /// Asks Kafka.
    pub admin: KafkaAdmin,
    /// Asks ClickHouse.
    pub clickhouse: Client,
}

impl Group {
    /// Reads the configuration. Asks nobody yet.
    ///
    /// # Errors
    /// When the file is wrong, or does not have what the flags name.
    pub fn open(flags: &GroupFlags) -> anyhow::Result<Self> {
        let file = config::load_sink(&flags.config)?;
        let connector = dlq::pick(&file.connectors, flags.connector.as_deref())?;
        let database = connector.database.as_ref().unwrap_or(&file.clickhouse.database);
        let kafka = wire::kafka(&file.kafka);
        Ok(Self {
            name: connector.group_name(),
            topic: topic(connector, flags.topic.as_deref())?,
            connector: connector.clone(),
            database: database.to_string(),
            admin: KafkaAdmin::connect(&kafka).context("set up the kafka client")?,
            clickhouse: wire::clickhouse(&file.clickhouse)?,
            kafka,
        })
    }

    /// What the group has committed, by partition.
    ///
    /// # Errors
    /// When Kafka does not answer.
    pub async fn committed(&self) -> anyhow::Result<BTreeMap<i32, Committed>> {
        let found = self.admin.committed(&self.name, &[&self.topic]).await?;
        Ok(found.into_iter().map(|(source, committed)| (source.partition, committed)).collect())
    }

    /// What the topic holds, by partition.
    ///
    /// # Errors
    /// When Kafka does not answer, or has no such topic.
    pub async fn log(&self) -> anyhow::Result<BTreeMap<i32, OffsetRange>> {
        let found = self.admin.watermarks(&[&self.topic]).await?;
        if found.is_empty() {
            bail!("topic `{}` does not exist", self.topic);
        }
        let range = |(source, marks): (TopicPartition, tidegate_kafka::Watermarks)| {
            Some((source.partition, OffsetRange::new(marks.low, marks.end.max(marks.low))?))
        };
        Ok(found.into_iter().filter_map(range).collect())
    }
}

fn topic(connector: &Connector, named: Option<&str>) -> anyhow::Result<String> {
    let topics = &connector.topics;
    let names = || topics.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ");
    match (named, topics.as_slice()) {
        (None, [only]) => Ok(only.to_string()),
        (None, _) => {
            bail!("connector `{}` reads several topics: {}; name one with --topic", connector.name, names())
        }
        (Some(name), _) => match topics.iter().find(|topic| topic.as_str() == name) {
            Some(topic) => Ok(topic.to_string()),
            None => {
                bail!("connector `{}` does not read topic `{name}`; it reads {}", connector.name, names())
            }
        },
    }
}
