//! A topic's configuration: Kafka's names, defaults and checks; and what the broker makes of it.

use std::collections::BTreeMap;

use crate::log::{AppendPolicy, Cleaning};
use crate::options::{Fsync, Limits};

#[derive(Debug, Clone, Copy)]
enum Kind {
    Integer {
        min: i64,
    },
    Ratio,
    Flag,
    OneOf(&'static [&'static str]),
    /// A comma-separated list of these.
    Some(&'static [&'static str]),
    Text,
}

/// A configuration that Kafka knows for topics.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    kind: Kind,
}

const fn known(name: &'static str, default: &'static str, kind: Kind) -> Known {
    Known { name, default, kind }
}

const AT_LEAST_ZERO: Kind = Kind::Integer { min: 0 };
const AT_LEAST_ONE: Kind = Kind::Integer { min: 1 };
const OR_WITHOUT_BOUND: Kind = Kind::Integer { min: -1 };
const FOR_EVER: &str = "9223372036854775807";
const CODECS: Kind = Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);

/// Every topic configuration of Apache Kafka 3.9. Those that mean nothing to a single node are stored and
/// described, and otherwise without effect.
pub(crate) const KNOWN: &[Known] = &[
    known("cleanup.policy", "delete", Kind::Some(&["compact", "delete"])),
    known("compression.type", "producer", CODECS),
    known("delete.retention.ms", "86400000", AT_LEAST_ZERO),
    known("file.delete.delay.ms", "60000", AT_LEAST_ZERO),
    known("flush.messages", FOR_EVER, AT_LEAST_ONE),
    known("flush.ms", FOR_EVER, AT_LEAST_ZERO),
    known("follower.replication.throttled.replicas", "", Kind::Text),
    known("index.interval.bytes", "4096", AT_LEAST_ZERO),
    known("leader.replication.throttled.replicas", "", Kind::Text),
    known("local.retention.bytes", "-2", Kind::Integer { min: -2 }),
    known("local.retention.ms", "-2", Kind::Integer { min: -2 }),
    known("max.compaction.lag.ms", FOR_EVER, AT_LEAST_ONE),
    known("max.message.bytes", "1048588", AT_LEAST_ZERO),
    known("message.downconversion.enable", "true", Kind::Flag),
    known("message.format.version", "3.0-IV1", Kind::Text),
    known("message.timestamp.after.max.ms", FOR_EVER, AT_LEAST_ZERO),
    known("message.timestamp.before.max.ms", FOR_EVER, AT_LEAST_ZERO),
    known("message.timestamp.difference.max.ms", FOR_EVER, AT_LEAST_ZERO),
    known("message.timestamp.type", "CreateTime", Kind::OneOf(&["CreateTime", "LogAppendTime"])),
    known("min.cleanable.dirty.ratio", "0.5", Kind::Ratio),
    known("min.compaction.lag.ms", "0", AT_LEAST_ZERO),
    known("min.insync.replicas", "1", AT_LEAST_ONE),
    known("preallocate", "false", Kind::Flag),
    known("remote.storage.enable", "false", Kind::Flag),
    known("retention.bytes", "-1", OR_WITHOUT_BOUND),
    known("retention.ms", "604800000", OR_WITHOUT_BOUND),
    known("segment.bytes", "1073741824", Kind::Integer { min: 1_024 }),
    known("segment.index.bytes", "10485760", Kind::Integer { min: 4 }),
    known("segment.jitter.ms", "0", AT_LEAST_ZERO),
    known("segment.ms", "604800000", AT_LEAST_ONE),
    known("unclean.leader.election.enable", "false", Kind::Flag),
];

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("topic configuration `{name}` is not known")]
    Unknown { name: String },
    #[error("topic configuration `{name}` cannot be `{value}`")]
    Value { name: String, value: String },
    #[error("topic configuration `{name}` is not a list")]
    NotAList { name: String },
}

/// One change to a configuration, as IncrementalAlterConfigs has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

/// A topic's configuration: what differs from the defaults. Every value in it is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicConfig {
    overrides: BTreeMap<&'static str, String>,
}

fn find(name: &str) -> Result<&'static Known, ConfigError> {
    let found = KNOWN.iter().find(|known| known.name == name);
    found.ok_or_else(|| ConfigError::Unknown { name: name.to_owned() })
}

impl Kind {
    fn admits(self, value: &str) -> bool {
        match self {
            Self::Integer { min } => value.parse::<i64>().is_ok_and(|value| value >= min),
            Self::Ratio => value.parse::<f64>().is_ok_and(|value| (0.0..=1.0).contains(&value)),
            Self::Flag => matches!(value, "true" | "false"),
            Self::OneOf(values) => values.contains(&value),
            Self::Some(values) => list(value).all(|value| values.contains(&value)),
            Self::Text => value.len() <= 10_000,
        }
    }
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|value| !value.is_empty())
}

impl TopicConfig {
    pub(crate) fn change(&mut self, name: &str, change: Change) -> Result<(), ConfigError> {
        let known = find(name)?;
        let value = match (change, known.kind) {
            (Change::Delete, _) => {
                self.overrides.remove(known.name);
                return Ok(());
            }
            (Change::Set(value), _) => value,
            (Change::Append(more), Kind::Some(_)) => {
                let mut values: Vec<&str> = list(self.get(known)).collect();
                values.extend(list(&more).filter(|value| !list(self.get(known)).any(|old| old == *value)));
                values.join(",")
            }
            (Change::Subtract(less), Kind::Some(_)) => {
                let values = list(self.get(known)).filter(|value| !list(&less).any(|gone| gone == *value));
                values.collect::<Vec<_>>().join(",")
            }
            (Change::Append(_) | Change::Subtract(_), _) => {
                return Err(ConfigError::NotAList { name: name.to_owned() });
            }
        };
        if !known.kind.admits(&value) {
            return Err(ConfigError::Value { name: name.to_owned(), value });
        }
        self.overrides.insert(known.name, value);
        Ok(())
    }

    /// What is stored of the configuration.
    pub(crate) fn overrides(&self) -> &BTreeMap<&'static str, String> {
        &self.overrides
    }

    fn get(&self, known: &Known) -> &str {
        self.overrides.get(known.name).map_or(known.default, String::as_str)
    }

    fn text(&self, name: &str) -> &str {
        find(name).map_or("", |known| self.get(known))
    }

    fn integer(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(-1)
    }

    /// A topic may want more flushes than the broker's policy has, never fewer.
    fn flush(&self, fsync: Fsync) -> Flushing {
        let interval_ms = self.integer("flush.ms");
        let n_records_max = self.integer("flush.messages");
        match fsync {
            Fsync::Never => Flushing { before_answer: false, n_records_max, interval_ms },
            Fsync::Every(interval) => {
                let every_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
                Flushing { before_answer: false, n_records_max, interval_ms: interval_ms.min(every_ms) }
            }
            Fsync::EveryAppend => Flushing { before_answer: true, n_records_max, interval_ms },
        }
    }

    /// What the configuration means for storing batches.
    pub(crate) fn settings(&self, fsync: Fsync, limits: &Limits) -> TopicSettings {
        let policy = self.text("cleanup.policy");
        TopicSettings {
            batch_bytes_max: usize::try_from(self.integer("max.message.bytes")).unwrap_or(0),
            append: AppendPolicy {
                append_time: self.text("message.timestamp.type") == "LogAppendTime",
                segment_bytes: self.integer("segment.bytes").unsigned_abs(),
                segment_ms: self.integer("segment.ms"),
            },
            cleaning: Cleaning {
                compact: list(policy).any(|policy| policy == "compact"),
                delete: list(policy).any(|policy| policy == "delete"),
                retention_ms: self.integer("retention.ms"),
                retention_bytes: self.integer("retention.bytes"),
                delete_retention_ms: self.integer("delete.retention.ms"),
                dirty_ratio: self.text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
                compaction_lag_ms: (
                    self.integer("min.compaction.lag.ms"),
                    self.integer("max.compaction.lag.ms"),
                ),
                segment_bytes: self.integer("segment.bytes").unsigned_abs(),
                producers_max: limits.partition_producers_max,
                unpacked_bytes_max: limits.unpacked_bytes_max,
            },
            flush: self.flush(fsync),
        }
    }
}

/// When a topic's records are flushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flushing {
    /// Before a batch is acknowledged.
    pub(crate) before_answer: bool,
    /// As soon as this many records are not; before the batch that fills it up is acknowledged.
    pub(crate) n_records_max: i64,
    /// As soon as some have not been for this long, in milliseconds.
    pub(crate) interval_ms: i64,
}

/// What a topic's configuration means for storing batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TopicSettings {
    pub(crate) batch_bytes_max: usize,
    pub(crate) append: AppendPolicy,
    pub(crate) cleaning: Cleaning,
    pub(crate) flush: Flushing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid() {
        for known in KNOWN {
            assert!(known.kind.admits(known.default), "{}", known.name);
        }
    }

    #[test]
    fn unknown_names_and_values_that_cannot_be_are_refused() {
        let mut config = TopicConfig::default();
        assert!(config.change("retention.mss", Change::Set("1".into())).is_err());
        assert!(config.change("retention.ms", Change::Set("soon".into())).is_err());
        assert!(config.change("retention.ms", Change::Append("1".into())).is_err());
        assert!(config.change("cleanup.policy", Change::Set("compact,burn".into())).is_err());
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn lists_grow_and_shrink() {
        let mut config = TopicConfig::default();
        config.change("cleanup.policy", Change::Append("compact".into())).unwrap();
        assert_eq!(config.text("cleanup.policy"), "delete,compact");
        config.change("cleanup.policy", Change::Subtract("delete".into())).unwrap();
        let settings = config.settings(Fsync::Never, &Limits::default());
        assert!(settings.cleaning.compact && !settings.cleaning.delete);
        config.change("cleanup.policy", Change::Delete).unwrap();
        assert_eq!(config.text("cleanup.policy"), "delete");
    }
}
