//! Topics and their partitions, and the file that lists them.
//!
//! Invariant: a topic exists exactly if `topics.json` lists it; a partition's directory is named by the
//! topic's id, so that a topic created again never sees the records of the one deleted.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{Change, TopicConfig, TopicSettings};
use crate::log::Reading;
use crate::options::{BrokerOptions, Fsync, Limits};
use crate::partition::Partition;
use crate::quota::Quota;
use crate::store;
use crate::sync::{lock, read, write};

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    config: RwLock<(TopicConfig, TopicSettings)>,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

impl Topic {
    pub(crate) fn settings(&self) -> TopicSettings {
        read(&self.config).1
    }

    pub(crate) fn config(&self) -> TopicConfig {
        read(&self.config).0.clone()
    }

    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        read(&self.partitions).get(usize::try_from(index).ok()?).cloned()
    }

    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        read(&self.partitions).clone()
    }

    pub(crate) fn n_partitions(&self) -> i32 {
        read(&self.partitions).len() as i32
    }
}

#[derive(Serialize, Deserialize)]
struct StoredTopic {
    name: String,
    id: Uuid,
    partitions: i32,
    config: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    cluster: String,
    topics: Vec<StoredTopic>,
}

/// All topics.
#[derive(Debug)]
pub(crate) struct Topics {
    directory: PathBuf,
    pub(crate) cluster: String,
    limits: Limits,
    fsync: Fsync,
    /// Of all logs together.
    pub(crate) quota: Arc<Quota>,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Held while topics are changed, so that changes reach the file in their order.
    changing: Mutex<()>,
}

impl Topics {
    /// Opens every topic's logs.
    pub(crate) fn open(options: &BrokerOptions) -> io::Result<Self> {
        let directory = options.data_dir.as_path();
        let stored = match fs::read(directory.join("topics.json")) {
            Ok(content) => serde_json::from_slice(&content).map_err(io::Error::from)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let cluster = Uuid::new_v4().simple().to_string()[..22].to_owned();
                Stored { cluster, topics: Vec::new() }
            }
            Err(error) => return Err(error),
        };
        let topics = Self {
            directory: directory.to_owned(),
            cluster: stored.cluster,
            limits: options.limits.clone(),
            fsync: options.fsync,
            quota: Quota::new(options.logs_bytes_max),
            by_name: RwLock::default(),
            changing: Mutex::new(()),
        };
        fs::create_dir_all(topics.logs())?;
        topics.remove_unlisted(&stored.topics)?;
        for stored in stored.topics {
            let mut config = TopicConfig::default();
            for (name, value) in stored.config {
                if let Err(error) = config.change(&name, Change::Set(value)) {
                    tracing::warn!(%error, topic = stored.name, "a stored configuration is left out");
                }
            }
            let partitions = topics.open_partitions(stored.id, 0..stored.partitions)?;
            let topic = topics.topic_of(stored.name, stored.id, config, partitions);
            write(&topics.by_name).insert(topic.name.clone(), topic);
        }
        topics.save()?;
        Ok(topics)
    }

    fn logs(&self) -> PathBuf {
        self.directory.join("topics")
    }

    /// A crash between listing and the file system leaves directories that no topic has.
    fn remove_unlisted(&self, listed: &[StoredTopic]) -> io::Result<()> {
        let listed: HashSet<String> = listed.iter().map(|topic| topic.id.to_string()).collect();
        for entry in fs::read_dir(self.logs())? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| listed.contains(name)) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn open_partitions(
        &self,
        id: Uuid,
        indexes: impl Iterator<Item = i32>,
    ) -> io::Result<Vec<Arc<Partition>>> {
        let directory = self.logs().join(id.to_string());
        let reading = match self.fsync {
            Fsync::Never | Fsync::Every(_) => Reading::Appended,
            Fsync::EveryAppend => Reading::Flushed,
        };
        if !directory.exists() {
            fs::create_dir(&directory).map_err(store::at("create", &directory))?;
            store::sync_parent(&directory)?;
        }
        let open = |index: i32| Partition::open(&directory.join(index.to_string()), reading, &self.quota);
        indexes.map(open).collect()
    }

    fn topic_of(
        &self,
        name: String,
        id: Uuid,
        config: TopicConfig,
        partitions: Vec<Arc<Partition>>,
    ) -> Arc<Topic> {
        let settings = config.settings(self.fsync, &self.limits);
        let config = RwLock::new((config, settings));
        Arc::new(Topic { name, id, config, partitions: RwLock::new(partitions) })
    }

    fn save(&self) -> io::Result<()> {
        let owned = |(name, value): (&&str, &String)| ((*name).to_owned(), value.clone());
        let topics = self.all().into_iter().map(|topic| StoredTopic {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.n_partitions(),
            config: topic.config().overrides().iter().map(owned).collect(),
        });
        let stored = Stored { cluster: self.cluster.clone(), topics: topics.collect() };
        let content = serde_json::to_vec(&stored).map_err(io::Error::from)?;
        store::replace(&self.directory.join("topics.json"), &content)
    }

    /// While this is held no topic comes or goes, nor comes back because its deletion was not stored.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        lock(&self.changing)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        read(&self.by_name).values().cloned().collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        read(&self.by_name).get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        read(&self.by_name).values().find(|topic| topic.id == id).cloned()
    }

    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        self.get(topic)?.partition(index)
    }

    /// Whether the topic could be created.
    pub(crate) fn check_new(&self, name: &str, n_partitions: i32) -> Result<(), ResponseError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > 249 || matches!(name, "." | "..") || !name.bytes().all(legal) {
            return Err(ResponseError::InvalidTopicException);
        }
        if !(1..=self.limits.topic_partitions_max).contains(&n_partitions) {
            return Err(ResponseError::InvalidPartitions);
        }
        let by_name = read(&self.by_name);
        if by_name.contains_key(name) {
            return Err(ResponseError::TopicAlreadyExists);
        }
        if by_name.len() >= self.limits.topics_max {
            return Err(ResponseError::PolicyViolation);
        }
        Ok(())
    }

    pub(crate) fn create(
        &self,
        name: &str,
        n_partitions: i32,
        config: TopicConfig,
    ) -> Result<Arc<Topic>, ResponseError> {
        let _changing = lock(&self.changing);
        self.check_new(name, n_partitions)?;
        let id = Uuid::new_v4();
        let partitions = self.open_partitions(id, 0..n_partitions).map_err(storage_error)?;
        let topic = self.topic_of(name.to_owned(), id, config, partitions);
        write(&self.by_name).insert(name.to_owned(), Arc::clone(&topic));
        match self.save() {
            Ok(()) => Ok(topic),
            Err(error) => {
                write(&self.by_name).remove(name);
                Err(storage_error(error))
            }
        }
    }

    pub(crate) fn delete(&self, name: &str) -> Result<Arc<Topic>, ResponseError> {
        let _changing = lock(&self.changing);
        let topic = write(&self.by_name).remove(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if let Err(error) = self.save() {
            write(&self.by_name).insert(name.to_owned(), topic);
            return Err(storage_error(error));
        }
        for partition in topic.partitions() {
            partition.grown();
        }
        if let Err(error) = fs::remove_dir_all(self.logs().join(topic.id.to_string())) {
            tracing::warn!(%error, topic = name, "a deleted topic's files stay until the next start");
        }
        Ok(topic)
    }

    pub(crate) fn check_growth(&self, name: &str, n_partitions: i32) -> Result<Arc<Topic>, ResponseError> {
        let topic = self.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if n_partitions <= topic.n_partitions() || n_partitions > self.limits.topic_partitions_max {
            return Err(ResponseError::InvalidPartitions);
        }
        Ok(topic)
    }

    pub(crate) fn grow(&self, name: &str, n_partitions: i32) -> Result<(), ResponseError> {
        let _changing = lock(&self.changing);
        let topic = self.check_growth(name, n_partitions)?;
        let n_before = topic.n_partitions();
        let more = self.open_partitions(topic.id, n_before..n_partitions).map_err(storage_error)?;
        write(&topic.partitions).extend(more);
        self.save().map_err(|error| {
            write(&topic.partitions).truncate(n_before as usize);
            storage_error(error)
        })
    }

    /// Puts a configuration in force.
    pub(crate) fn configure(&self, topic: &Topic, config: TopicConfig) -> Result<(), ResponseError> {
        let _changing = lock(&self.changing);
        let settings = config.settings(self.fsync, &self.limits);
        let before = std::mem::replace(&mut *write(&topic.config), (config, settings));
        self.save().map_err(|error| {
            *write(&topic.config) = before;
            storage_error(error)
        })
    }
}

fn storage_error(error: io::Error) -> ResponseError {
    tracing::error!(%error, "topics were not changed");
    ResponseError::KafkaStorageError
}
