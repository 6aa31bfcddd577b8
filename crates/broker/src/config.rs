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
    OneOf(&'static [&'static str]),
    /// A comma-separated list of these.
    Some(&'static [&'static str]),
    /// Means nothing here: another value than the default would be a promise that is not kept.
    Fixed,
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

/// Every topic configuration of Apache Kafka 3.9. Those that would have no effect here are described, and
/// refused where they are set to anything but the default.
pub(crate) const KNOWN: &[Known] = &[
    known("cleanup.policy", "delete", Kind::Some(&["compact", "delete"])),
    known("compression.type", "producer", Kind::Fixed),
    known("delete.retention.ms", "86400000", AT_LEAST_ZERO),
    // A file is deleted at once, which is within any delay; and no jitter within any bound.
    known("file.delete.delay.ms", "60000", AT_LEAST_ZERO),
    known("flush.messages", FOR_EVER, AT_LEAST_ONE),
    known("flush.ms", FOR_EVER, AT_LEAST_ZERO),
    known("follower.replication.throttled.replicas", "", Kind::Fixed),
    known("index.interval.bytes", "4096", Kind::Fixed),
    known("leader.replication.throttled.replicas", "", Kind::Fixed),
    known("local.retention.bytes", "-2", Kind::Fixed),
    known("local.retention.ms", "-2", Kind::Fixed),
    known("max.compaction.lag.ms", FOR_EVER, AT_LEAST_ONE),
    known("max.message.bytes", "1048588", AT_LEAST_ZERO),
    known("message.downconversion.enable", "true", Kind::Fixed),
    known("message.format.version", "3.0-IV1", Kind::Fixed),
    known("message.timestamp.after.max.ms", FOR_EVER, AT_LEAST_ZERO),
    known("message.timestamp.before.max.ms", FOR_EVER, AT_LEAST_ZERO),
    known("message.timestamp.difference.max.ms", FOR_EVER, AT_LEAST_ZERO),
    known("message.timestamp.type", "CreateTime", Kind::OneOf(&["CreateTime", "LogAppendTime"])),
    known("min.cleanable.dirty.ratio", "0.5", Kind::Ratio),
    known("min.compaction.lag.ms", "0", AT_LEAST_ZERO),
    known("min.insync.replicas", "1", Kind::Fixed),
    known("preallocate", "false", Kind::Fixed),
    known("remote.storage.enable", "false", Kind::Fixed),
    known("retention.bytes", "-1", OR_WITHOUT_BOUND),
    known("retention.ms", "604800000", OR_WITHOUT_BOUND),
    known("segment.bytes", "1073741824", Kind::Integer { min: 1_024 }),
    known("segment.index.bytes", "10485760", Kind::Fixed),
    known("segment.jitter.ms", "0", AT_LEAST_ZERO),
    known("segment.ms", "604800000", AT_LEAST_ONE),
    known("unclean.leader.election.enable", "false", Kind::Fixed),
];

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("topic configuration `{name}` is not known")]
    Unknown { name: String },
    #[error("topic configuration `{name}` cannot be `{value}`")]
    Value { name: String, value: String },
    #[error("topic configuration `{name}` has no effect on this broker, it stays `{default}`")]
    Fixed { name: String, default: &'static str },
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
            Self::OneOf(values) => values.contains(&value),
            Self::Some(values) => list(value).all(|value| values.contains(&value)),
            Self::Fixed => false,
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
        if matches!(known.kind, Kind::Fixed) {
            if value != known.default {
                return Err(ConfigError::Fixed { name: name.to_owned(), default: known.default });
            }
            self.overrides.remove(known.name);
            return Ok(());
        }
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

    fn timestamps(&self) -> TimestampBounds {
        let either = self.integer("message.timestamp.difference.max.ms");
        TimestampBounds {
            before_max: self.integer("message.timestamp.before.max.ms").min(either),
            after_max: self.integer("message.timestamp.after.max.ms").min(either),
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
            timestamps: self.timestamps(),
        }
    }
}

/// How far a record's timestamp may be from the broker's clock, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimestampBounds {
    pub(crate) before_max: i64,
    pub(crate) after_max: i64,
}

impl TimestampBounds {
    /// Whether there are any: to keep to them, records must be looked at.
    pub(crate) fn any(&self) -> bool {
        self.before_max.min(self.after_max) < i64::MAX
    }

    pub(crate) fn admit(&self, timestamp: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(timestamp) <= self.before_max
            && timestamp.saturating_sub(now_ms) <= self.after_max
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
    /// For timestamps that the producer sets.
    pub(crate) timestamps: TimestampBounds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid() {
        for known in KNOWN {
            let fixed = matches!(known.kind, Kind::Fixed);
            assert!(fixed || known.kind.admits(known.default), "{}", known.name);
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
    fn what_has_no_effect_keeps_its_default() {
        let mut config = TopicConfig::default();
        let refused = config.change("min.insync.replicas", Change::Set("2".into())).unwrap_err();
        let message = "topic configuration `min.insync.replicas` has no effect on this broker, it stays `1`";
        assert_eq!(refused.to_string(), message);
        config.change("min.insync.replicas", Change::Set("1".into())).unwrap();
        config.change("compression.type", Change::Delete).unwrap();
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn a_topic_may_be_flushed_more_often_than_the_broker_says_and_not_less() {
        let mut config = TopicConfig::default();
        let limits = Limits::default();
        config.change("flush.ms", Change::Set("5000".into())).unwrap();
        config.change("flush.messages", Change::Set("7".into())).unwrap();
        let flush = config.settings(Fsync::Never, &limits).flush;
        assert_eq!((flush.before_answer, flush.n_records_max, flush.interval_ms), (false, 7, 5_000));
        let every = config.settings(Fsync::Every(std::time::Duration::from_secs(1)), &limits).flush;
        assert_eq!(every.interval_ms, 1_000);
        assert!(config.settings(Fsync::EveryAppend, &limits).flush.before_answer);
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
